"""Candidates for starts, beside steps of EM by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.datasets
import sklearn.decomposition

import harmonium as hm
from harmonium.learning import starts
from harmonium.learning.problem import make_problem
from tests.compiled import compute

DIABETES = 20 * sklearn.datasets.load_diabetes().data[:, [2, 3, 4, 8]]
MODEL = hm.Mixture(hm.Normal(4), 3)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("n_rows, n_steps", [(442, 100), (4500, 18)])
def test_candidates_are_as_good_as_their_steps_of_em_make_them(n_rows, n_steps):
    """More steps on a small sample, as far as the observations seen allow."""
    xs = np.resize(DIABETES, (n_rows, 4))
    keys = jax.random.split(jax.random.key(2), 4)

    def step(_, point):
        return MODEL.expectation_maximization(point, xs)

    def improved(point):
        # The value of the last point counts for nothing: the last step is not evaluated.
        before = jax.lax.fori_loop(0, n_steps - 1, step, point)
        return MODEL.average_log_observable_density(before, xs), step(0, before)

    def all_ends(xs):
        candidates = jax.vmap(lambda key: MODEL.initialize_from_sample(key, xs))(keys)
        return candidates, *jax.vmap(improved)(candidates)

    candidates, values, points = compute(all_ends, xs)
    problem = make_problem(MODEL, jnp.asarray(xs), jnp.full(n_rows, 1 / n_rows))
    found = starts.best_candidates(problem, candidates, 2, 10)
    for group in range(2):
        own = values[2 * group : 2 * group + 2]
        assert abs(own[0] - own[1]) > 1e-4  # a choice that rounding does not make
        best = 2 * group + np.argmax(own)
        for a, b in zip(*map(jax.tree.leaves, (found, points)), strict=True):
            np.testing.assert_allclose(a[group], b[best], rtol=1e-6, atol=1e-8)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # Heywood cases
@pytest.mark.parametrize("seed", [0, 3])
def test_factor_analyses_with_several_optima_end_at_the_best_that_is_known(seed):
    """Three pairs of variables and two factors: each optimum drops another pair."""
    random = np.random.default_rng(seed)
    pairs = np.kron(np.eye(3), np.full((1, 2), 0.8))
    xs = random.normal(size=(200, 3)) @ pairs + 0.6 * random.normal(size=(200, 6))
    model, key = hm.factor_analysis(6, 2), jax.random.key(0)
    fit = hm.fit(model, xs, key=key, tolerance=1e-10, max_steps=2000, progress=False)
    peer = sklearn.decomposition.FactorAnalysis(2, tol=1e-10, max_iter=2000, svd_method="lapack")
    assert float(fit.log_likelihood) >= peer.fit(xs).score(xs) - 1e-6
    assert len(fit.all_objectives) == 4


def test_principal_components_have_one_optimum():
    model = hm.principal_component_analysis(4, 2)
    fit = hm.fit(model, DIABETES, key=jax.random.key(0), max_steps=3, progress=False)
    assert len(fit.all_objectives) == 1
