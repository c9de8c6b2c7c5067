"""Fits reach the optima of other libraries, from anywhere, and say whether they did."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
import sklearn.datasets
import sklearn.decomposition
import sklearn.mixture

import harmonium as hm
from harmonium.exponential_family.chunks import chunk_length
from harmonium.learning import engine
from harmonium.learning.problem import ConjugatePrior, make_problem
from tests.catalogue import CATALOGUE
from tests.compiled import compute

# Fits of a model with the same settings, to as many observations, share their programs.
SHORT = {"prior": None, "max_steps": 6, "tolerance": 0.0}

IRIS = sklearn.datasets.load_iris().data
SPECIES = sklearn.datasets.load_iris().target
WINE = sklearn.datasets.load_wine().data
MIXTURE = hm.Mixture(hm.Normal(4), 3)
FACTORS = hm.factor_analysis(13, 3)
KEY = jax.random.key(0)


def assert_close(found, expected, rtol=1e-9):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-12)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def of_groups(model, labels):
    """A mixture of three groups of the iris data."""
    normal = model.obs_man
    statistics = [normal.average_sufficient_statistic(IRIS[labels == k]) for k in range(3)]
    return model.from_components(list(map(normal.to_natural, statistics)), np.full(3, 1 / 3))


@functools.cache
def by_species(model=MIXTURE):
    return compute(lambda: of_groups(model, SPECIES))


def moments(point):
    """The means and the covariances of components."""
    normal, components = point.manifold.obs_man, point.manifold.components(point)
    return jax.vmap(normal.mean)(components), jax.vmap(normal.covariance)(components)


def log_likelihood(point, xs):
    return point.manifold.average_log_observable_density(point, xs)


def values_of_em(observed=None):
    """The log-likelihoods before each of six steps of EM from the mixture of species."""

    def step(point, _):
        value = MIXTURE.average_log_observable_density(point, IRIS, observed=observed)
        return MIXTURE.expectation_maximization(point, IRIS, observed=observed), value

    return compute(lambda start: jax.lax.scan(step, start, length=6)[1], by_species())


def fit_iris(data=IRIS, **settings):
    settings = {"prior": None, "tolerance": 1e-11, "starts": by_species(), **settings}
    return hm.fit(MIXTURE, data, **settings)


@pytest.fixture(scope="module")
def iris_fit():
    with jax.enable_x64(True):
        return fit_iris()


# --- optima


def test_mixtures_reach_the_optimum_of_scikit_learn(iris_fit):
    means, covariances = compute(moments, by_species())
    theirs = sklearn.mixture.GaussianMixture(
        3,
        tol=1e-13,
        max_iter=10_000,
        reg_covar=0,
        means_init=means,
        precisions_init=np.linalg.inv(covariances),
        weights_init=np.full(3, 1 / 3),
    ).fit(IRIS)
    assert iris_fit.converged
    assert_close(iris_fit.log_likelihood, theirs.score(IRIS), rtol=1e-8)
    found, _ = compute(moments, iris_fit.params)
    order, expected = np.argsort(found[:, 0]), np.argsort(theirs.means_[:, 0])
    np.testing.assert_allclose(found[order], theirs.means_[expected], rtol=1e-4)


def fit_wine(tolerance, method):
    return hm.fit(FACTORS, WINE, key=KEY, method=method, tolerance=tolerance, max_steps=5000)


def test_factor_analysis_reaches_an_optimum_not_below_that_of_scikit_learn():
    ours = fit_wine(1e-12, hm.EM("squarem"))
    theirs = sklearn.decomposition.FactorAnalysis(3, tol=1e-9, max_iter=5000, svd_method="lapack")
    scaled = (WINE - WINE.mean(0)) / WINE.std(0)
    best = theirs.fit(scaled).score(scaled) - np.log(WINE.std(0)).sum()
    assert ours.converged
    assert float(ours.log_likelihood) > best - 1e-8


def test_principal_components_reach_the_closed_form():
    model = hm.principal_component_analysis(4, 2)
    ours = hm.fit(model, IRIS, key=KEY, method=hm.EM("squarem"), tolerance=1e-13)
    theirs = sklearn.decomposition.PCA(2).fit(IRIS)
    # scikit-learn divides by N - 1, not by N.
    values = np.linalg.eigvalsh(np.cov(IRIS.T, bias=True))[::-1]
    noise = values[2:].mean()
    assert_close(theirs.noise_variance_ * 149 / 150, noise, rtol=1e-9)
    closed = -0.5 * (4 * np.log(2 * np.pi) + np.log(values[:2]).sum() + 2 * np.log(noise) + 4)
    assert_close(ours.log_likelihood, closed, rtol=1e-9)


def test_families_without_latents_are_fitted_by_their_averages():
    xs = np.random.default_rng(0).gamma(3.0, 2.0, 200)
    family = hm.Gamma()
    fit = hm.fit(family, xs)
    assert fit.converged and fit.all_codes.shape == (1,)

    def by_averages(xs):
        best = family.to_natural(family.average_sufficient_statistic(xs))
        return best.values, family.average_log_density(fit.params, xs)

    values, log_density = compute(by_averages, xs)
    assert_close(fit.params.values, values, rtol=1e-8)
    assert_close(fit.log_likelihood, log_density)


# --- methods

METHODS = {
    "EM": hm.EM(),
    "SQUAREM": hm.EM("squarem"),
    "natural gradient": hm.NaturalGradient(0.5),
    "L-BFGS": hm.Gradient(optax.lbfgs()),
    "Adam": hm.Gradient(optax.adam(3e-2)),
}


@pytest.fixture(scope="module")
def fits_by_all():
    # Optax promotes integers.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        small, rng = hm.factor_analysis(4, 1), np.random.default_rng(0)
        loadings = np.array([[1.0, -0.8, 0.6, 0.9]])
        xs = rng.normal(size=(400, 1)) @ loadings + rng.normal(size=(400, 4)) * [1, 0.7, 0.5, 0.8]
        return xs, {
            name: hm.fit(small, xs, key=KEY, method=method, tolerance=1e-10, max_steps=3000)
            for name, method in METHODS.items()
        }


@pytest.mark.parametrize("name", METHODS)
def test_all_methods_reach_one_optimum(name, fits_by_all):
    xs, fits = fits_by_all
    fit, reference = fits[name], fits["EM"]
    assert fit.converged
    assert abs(float(fit.log_likelihood - reference.log_likelihood)) < 1e-6
    taken = np.asarray(fit.history)[: int(fit.n_steps)]
    assert np.all(np.isfinite(taken)) and np.all(np.isnan(fit.history[int(fit.n_steps) :]))
    assert np.all(np.diff(taken) >= 0)  # the best so far
    assert_close(fit.log_likelihood, compute(log_likelihood, fit.params, xs))


def test_accelerated_em_takes_at_most_half_the_steps():
    plain, fast = (fit_wine(1e-12, method) for method in (hm.EM(), hm.EM("squarem")))
    assert plain.converged and fast.converged
    assert float(fast.log_likelihood) > float(plain.log_likelihood) - 1e-8
    reached = np.nonzero(np.asarray(plain.history) > float(fast.log_likelihood) - 1e-7)[0][0]
    assert 2 * int(fast.n_steps) <= reached


def test_a_whole_step_of_the_natural_gradient_is_a_step_of_em():
    settings = {**SHORT, "starts": by_species(), "scale": False}
    em, natural = (
        hm.fit(MIXTURE, IRIS, method=method, **settings)
        for method in (hm.EM(), hm.NaturalGradient(1.0))
    )
    assert_close(natural.history, em.history, rtol=1e-9)
    assert_close(em.history, values_of_em(), rtol=1e-9)


def test_a_whole_step_of_the_natural_gradient_on_complete_data_is_maximum_likelihood():
    family = hm.Normal(4)
    start = compute(family.from_mean_covariance, np.full(4, 3.0), 2 * np.eye(4))
    fit = hm.fit(family, IRIS, starts=start, method=hm.NaturalGradient(), max_steps=2, scale=False)
    normal = scipy.stats.multivariate_normal(IRIS.mean(0), np.cov(IRIS.T, bias=True))
    assert_close(fit.history[1], normal.logpdf(IRIS).mean(), rtol=1e-9)


def test_the_gradient_is_that_of_the_objective():
    weights = np.arange(1.0, 151.0) / np.arange(1.0, 151.0).sum()

    def both(point):
        prior = ConjugatePrior(MIXTURE.to_mean(MIXTURE.initialize(KEY)), 0.3)
        problem = make_problem(MIXTURE, jnp.asarray(IRIS), jnp.asarray(weights), prior)

        def objective(point):
            complete = hm.dot(point, prior.mean) - MIXTURE.log_partition_function(point)
            return MIXTURE.average_log_observable_density(point, IRIS, weights) + 0.3 * complete

        mean, value = problem.expectation(point)
        found = value, problem.gradient(point, mean)
        return found, (objective(point), hm.gradient(objective)(point))

    (value, gradient), (expected_value, expected_gradient) = compute(both, by_species())
    assert_close(value, expected_value, rtol=1e-10)
    for a, b in zip(*map(jax.tree.leaves, (gradient, expected_gradient)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)


# --- numerics


def moved_mixture(point, shift):
    return MIXTURE.push_forward(point, None, shift)


@pytest.mark.parametrize("offset", [1e2, 1e6])
def test_where_the_data_lie_costs_no_accuracy(offset, iris_fit):
    shift = offset * IRIS.std(0)
    moved = fit_iris(IRIS + shift, starts=compute(moved_mixture, by_species(), shift))
    # Shifting the data rounds them, which is no fault of the fit.
    assert_close(moved.log_likelihood, iris_fit.log_likelihood, rtol=1e-6)
    means = [compute(moments, fit.params)[0] for fit in (moved, iris_fit)]
    np.testing.assert_allclose(means[0] - shift, means[1], rtol=1e-6, atol=1e-9 * offset)


def test_where_the_data_lie_costs_no_accuracy_in_single_precision():
    with jax.enable_x64(False):
        shift = 1e3 * IRIS.std(0)
        settings = {"key": KEY, "n_starts": 1, "n_candidates": 1}
        near, far = (hm.fit(MIXTURE, data, **settings) for data in (IRIS, IRIS + shift))
        assert near.log_likelihood.dtype == jnp.float32
        assert_close(far.log_likelihood, near.log_likelihood, rtol=1e-3)


STRUCTURES = [hm.PositiveDefinite(), hm.Diagonal(), hm.Scale(), hm.Identity()]


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: type(s).__name__)
def test_scaling_changes_nothing_but_rounding(structure):
    model = hm.Mixture(hm.Normal(4, structure), 3)
    settings = {**SHORT, "starts": by_species(model)}
    scaled, plain = (hm.fit(model, IRIS, scale=scale, **settings) for scale in (True, False))
    assert_close(scaled.history, plain.history, rtol=1e-8)
    for a, b in zip(*map(jax.tree.leaves, (scaled.params, plain.params)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_a_prior_is_pushed_along():
    prior = hm.ConjugatePrior(compute(MIXTURE.to_mean, by_species()), 5.0)
    settings = {**SHORT, "starts": by_species(), "prior": prior}
    scaled, plain = (hm.fit(MIXTURE, IRIS, scale=scale, **settings) for scale in (True, False))
    assert_close(scaled.log_likelihood, plain.log_likelihood, rtol=1e-8)
    # A constant of the prior depends on the scale.
    assert_close(np.diff(scaled.history), np.diff(plain.history), rtol=1e-5)


# --- priors


def test_more_components_than_points_do_not_collapse():
    xs = np.repeat([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], 10, axis=0)
    model = hm.Mixture(hm.Normal(2), 5)
    fit = hm.fit(model, xs, key=KEY)
    assert fit.converged
    _, covariances = compute(moments, fit.params)
    assert np.all(np.linalg.eigvalsh(covariances) > 1e-3)


def test_a_prior_counts_as_observations():
    """Complete pseudo-observations of a family are observations."""
    family, extra = hm.Normal(4, hm.Diagonal()), IRIS[:30]
    prior = hm.ConjugatePrior(compute(family.average_sufficient_statistic, extra), 30.0)
    with_prior = hm.fit(family, IRIS[30:], key=KEY, prior=prior)
    without = hm.fit(family, IRIS, key=KEY)
    for a, b in zip(*map(jax.tree.leaves, (with_prior.params, without.params)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7)
    assert float(with_prior.objective) < float(with_prior.log_likelihood)


def test_pseudo_observations_are_like_the_data_and_tell_components_nothing():
    prior = compute(lambda: hm.pseudo_observations(MIXTURE, IRIS, 2.5))
    assert float(prior.weight) == 2.5
    mean, covariance = IRIS.mean(axis=0), np.cov(IRIS.T, bias=True)
    # A thousandth of the covariance is that of independent columns.
    covariance = 0.999 * covariance + 0.001 * np.diag(np.diag(covariance))
    moments = mean, covariance + np.outer(mean, mean)
    found = prior.mean
    assert_close(found.latent.values, np.full(2, 1 / 3))
    for leaf, row, expected in zip(
        jax.tree.leaves(found.observable), jax.tree.leaves(found.interaction), moments, strict=True
    ):
        assert_close(leaf, expected)
        assert_close(row, np.stack([expected / 3] * 2))


def test_the_default_prior_is_a_tenth_of_an_observation_a_component():
    settings = {**SHORT, "starts": by_species(), "scale": False}
    prior = hm.pseudo_observations(MIXTURE, IRIS, 0.3)
    default, given = (
        hm.fit(MIXTURE, IRIS, **{**settings, "prior": own}) for own in ("default", prior)
    )
    assert_close(default.history, given.history)
    assert abs(float(default.objective) - float(default.log_likelihood)) > 1e-3


# --- weights and what is missing


def test_weights_are_repetitions():
    weights = np.random.default_rng(0).integers(0, 4, len(IRIS))
    settings = {**SHORT, "starts": by_species(), "prior": "default"}
    weighted = hm.fit(MIXTURE, IRIS, weights=weights, **settings)
    repeated = hm.fit(MIXTURE, np.repeat(IRIS, weights, axis=0), **settings)
    assert_close(weighted.log_likelihood, repeated.log_likelihood, rtol=1e-9)
    assert_close(weighted.objective, repeated.objective, rtol=1e-9)
    assert_close(weighted.bic, repeated.bic, rtol=1e-9)


def test_missing_entries_are_integrated_out():
    rng = np.random.default_rng(1)
    observed = rng.random(IRIS.shape) > 0.2
    holes = np.where(observed, IRIS, np.nan)
    settings = {**SHORT, "starts": by_species()}
    masked = hm.fit(MIXTURE, IRIS, observed=observed, **settings)
    from_nan = hm.fit(MIXTURE, holes, missing="nan", **settings)
    assert_close(masked.history, from_nan.history, rtol=1e-12)
    assert_close(masked.history, values_of_em(observed), rtol=1e-8)


# --- the engine


@pytest.fixture(scope="module")
def random_fits():
    """Three samples, their fits from random starts, and how often steps were traced for each."""
    traces, step = [], engine._step
    samples = np.random.default_rng(0).normal(size=(3, 40, 3))
    fits, n_traces = [], []
    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_step", lambda *args: traces.append(1) or step(*args))
        for seed, xs in enumerate(samples):
            # Each time an equal model, not the same one.
            settings = {"key": jax.random.key(seed), "tolerance": 10.0**-seed, "n_starts": 3}
            fits.append(hm.fit(hm.Mixture(hm.Normal(3), 2), xs, max_steps=30, **settings))
            n_traces.append(len(traces))
    return samples, fits, n_traces


def test_a_second_fit_is_not_compiled_again(random_fits):
    _, _, n_traces = random_fits
    assert n_traces[0] > 0 and n_traces[1:] == n_traces[:1] * 2


def test_the_best_of_all_starts_is_returned(random_fits):
    for xs, fit, _ in zip(*random_fits, strict=True):
        assert fit.all_histories.shape == (3, 30) and fit.all_params.batch_shape == (3,)
        assert_close(fit.objective, np.max(fit.all_objectives))
        densities = compute(jax.vmap(log_likelihood, (0, None)), fit.all_params, xs)
        assert_close(fit.log_likelihood, densities[np.argmax(fit.all_objectives)])
        d, n = fit.params.manifold.dim, 40
        assert_close(fit.aic, 2 * d - 2 * n * fit.log_likelihood)
        assert_close(fit.bic, d * np.log(n) - 2 * n * fit.log_likelihood)


def test_a_single_start_takes_the_steps_that_it_takes_among_others():
    other = compute(lambda: of_groups(MIXTURE, np.arange(150) // 10 % 3))
    starts = [by_species(), other]
    settings = {**SHORT, "prior": "default"}
    both = hm.fit(MIXTURE, IRIS, starts=starts, **settings)
    for row, start in enumerate(starts):
        alone = hm.fit(MIXTURE, IRIS, starts=start, **settings)
        assert_close(alone.history, both.all_histories[row], rtol=1e-10)
        among_others = jax.tree.map(lambda leaf: np.asarray(leaf)[row], both.all_params)  # noqa: B023
        for a, b in zip(*map(jax.tree.leaves, (alone.params, among_others)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)


def test_steps_process_the_data_in_batches_of_the_size_asked_for():
    def objective(point, batch_size):
        weights = jnp.full(150, 1 / 150)
        problem = make_problem(MIXTURE, jnp.asarray(IRIS), weights, batch_size=batch_size)
        return problem.objective(point)

    whole, parts = (
        jax.jit(functools.partial(objective, batch_size=size)).trace(by_species())
        for size in (150, 16)
    )
    assert "length=10" in str(parts.jaxpr) and "length=10" not in str(whole.jaxpr)
    value, expected = (one.lower().compile()(by_species()) for one in (parts, whole))
    assert_close(value, expected)


def test_chunks_are_shorter_for_models_with_many_parameters():
    large = hm.Mixture(hm.Normal(16), 10)
    assert chunk_length(MIXTURE.dim, 16_384) == 16_384
    assert chunk_length(large.dim, 16_384) == 4_096
    assert chunk_length(large.dim, 1_000) == 1_000
    xs = np.random.default_rng(0).normal(size=(9_000, 16))

    def both(xs):
        point = large.initialize(KEY)
        problem = make_problem(large, xs, jnp.full(9_000, 1 / 9_000))
        return problem.expectation(point)[1], log_likelihood(point, xs)

    assert_close(*compute(both, xs))


def test_fits_can_be_compiled_and_mapped():
    batches = IRIS[np.random.default_rng(0).integers(0, 150, (3, 150))]

    start = by_species()

    def fit(xs):
        settings = {**SHORT, "prior": "default"}
        return hm.fit(MIXTURE, xs, starts=start, **settings).log_likelihood

    assert_close(compute(jax.vmap(fit), batches), [fit(xs) for xs in batches], rtol=1e-8)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize(
    "mapped",
    [("weights",), ("starts",), ("weight",), ("weights", "starts", "weight")],
    ids="+".join,
)
def test_fits_are_mapped_over_any_of_their_arguments(mapped, scale):
    """Weights, starts and the weight of a prior, traced or not, beside data that are not."""
    random = np.random.default_rng(1)
    start = by_species()
    mean = MIXTURE.to_mean(start)
    given = {"weights": jnp.ones(150), "starts": start, "weight": jnp.asarray(2.0)}
    batches = {
        "weights": jnp.asarray(random.multinomial(150, [1 / 150] * 150, 3).astype(float)),
        "starts": jax.tree.map(lambda a: jnp.stack([a, 0.9 * a, 0.8 * a]), start),
        "weight": jnp.asarray([1.0, 2.0, 3.0]),
    }

    def fit(own):
        own = given | own
        prior = ConjugatePrior(mean, own["weight"])
        settings = {**SHORT, "prior": prior, "scale": scale, "weights": own["weights"]}
        return hm.fit(MIXTURE, IRIS, starts=own["starts"], **settings).log_likelihood

    batch = {name: batches[name] for name in mapped}
    one_by_one = [fit(jax.tree.map(lambda leaf, n=n: leaf[n], batch)) for n in range(3)]
    assert_close(compute(jax.vmap(fit), batch), one_by_one, rtol=1e-8)


def test_an_interrupt_returns_the_best_so_far():
    reports = []

    def interrupt(n_steps, objective):
        reports.append((n_steps, objective))
        raise KeyboardInterrupt

    fit = fit_iris(callback=interrupt, tolerance=0.0)
    assert fit.result is hm.Result.INTERRUPTED
    assert "best point so far" in fit.message
    assert 0 < int(fit.n_steps) < 1000
    ((n_steps, objective),) = reports
    assert n_steps == int(fit.n_steps)
    assert_close(objective, fit.objective)
    assert_close(fit.log_likelihood, fit.history[int(fit.n_steps) - 1], rtol=1e-9)


def test_ends_are_told(iris_fit):
    assert hm.fit(MIXTURE, IRIS, starts=by_species(), **SHORT).result is hm.Result.STEP_LIMIT
    constant = hm.fit(hm.Normal(2), np.ones((9, 2)), key=KEY)
    assert constant.result is hm.Result.DEGENERATE and "singular" in constant.message
    wild = hm.Gradient(optax.sgd(1e3))
    assert fit_iris(method=wild).result is hm.Result.DIVERGED
    assert "nats per observation, converged" in repr(iris_fit)


def test_a_progress_bar_shows_the_objective(capsys):
    fit = fit_iris(progress=True)
    assert f"{float(fit.objective):.6g} nats" in capsys.readouterr().err
    fit_iris(progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["normal", "mixture_tied", "linear_diagonal_full", "parallel"])
def test_data_in_single_precision_are_fitted_in_it(name, getkey):
    """Also where JAX computes in double precision, and from points that are."""
    xs = np.random.default_rng(0).normal(size=(60, 4)) + 2
    model = CATALOGUE[name]()
    observable = getattr(model, "obs_man", model)
    data = (
        xs[:, : observable.observation.shape[0]] if name != "parallel" else (xs[:, :2], xs[:, 2:])
    )
    single = jax.tree.map(lambda x: x.astype(np.float32), data)
    fits = [hm.fit(model, single, key=getkey(), n_starts=1, max_steps=3)]
    fits.append(hm.fit(model, single, starts=fits[0].params, max_steps=3))
    double = jax.tree.map(lambda leaf: leaf.astype(float), fits[0].params)
    fits.append(hm.fit(model, single, starts=double, max_steps=3))
    for fit in fits:
        leaves = jax.tree.leaves((fit.params, fit.log_likelihood, fit.history))
        assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float32)}
    expected = hm.fit(model, data, starts=fits[0].params, max_steps=3)
    np.testing.assert_allclose(fits[2].log_likelihood, expected.log_likelihood, rtol=1e-5)
