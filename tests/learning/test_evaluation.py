"""Comparisons and standard errors, beside NumPy's and closed forms."""

import jax
import numpy as np
import pytest
import sklearn.datasets

import harmonium as hm
from tests.compiled import compute

IRIS = sklearn.datasets.load_iris().data
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def test_models_are_compared_observation_by_observation():
    train, held_out = IRIS[::2], IRIS[1::2]
    models = {
        "one normal": hm.Normal(4),
        "independent columns": hm.Normal(4, hm.Diagonal()),
        "a mixture": hm.Mixture(hm.Normal(4, hm.Diagonal()), 2),
    }
    settings = {"key": KEY, "n_starts": 1, "n_candidates": 1}
    fits = {name: hm.fit(model, train, **settings) for name, model in models.items()}
    table = hm.compare(fits, held_out)
    assert [row.name for row in table] == ["one normal", "a mixture", "independent columns"]
    normal, mixture = models["one normal"], models["a mixture"]

    def densities(normal_params, mixture_params):
        by_normal = normal.log_densities(normal_params, held_out)
        return by_normal, mixture.log_observable_densities(mixture_params, held_out)

    best, second = compute(densities, fits["one normal"].params, fits["a mixture"].params)
    behind = best - second
    row = table[1]
    np.testing.assert_allclose(row.log_likelihood, second.mean())
    np.testing.assert_allclose(row.difference, behind.mean())
    np.testing.assert_allclose(row.standard_error, behind.std() / np.sqrt(len(behind)))
    assert row.n_parameters == mixture.dim == 17
    np.testing.assert_allclose(row.bic, fits["a mixture"].bic)
    assert "a mixture" in repr(table) and "not converged" not in repr(table)
    weights = np.random.default_rng(0).integers(0, 3, len(held_out))
    weighted = hm.compare(fits, held_out, weights=weights)
    repeated = hm.compare(fits, np.repeat(held_out, weights, axis=0))
    for one, other in zip(weighted, repeated, strict=True):
        np.testing.assert_allclose(one.log_likelihood, other.log_likelihood)
        np.testing.assert_allclose(one.standard_error, other.standard_error, atol=1e-12)


def test_comparisons_of_nothing_and_of_other_data_are_refused():
    with pytest.raises(ValueError, match="at least one fit"):
        hm.compare({}, IRIS)
    fit = hm.fit(hm.Normal(4), IRIS, key=KEY)
    with pytest.raises(ValueError, match="real numbers of shape"):
        hm.compare({"normal": fit}, IRIS[:, :2])


def test_standard_errors_of_a_poisson_are_known():
    xs = np.random.default_rng(0).poisson(3.0, 400)
    family = hm.Poisson()
    params = hm.fit(family, xs, key=KEY).params

    def once_and_twice(params):
        weights = np.full(400, 2.0)
        once = hm.standard_errors(family, params, xs)
        return once, hm.standard_errors(family, params, xs, weights=weights)

    found, twice = compute(once_and_twice, params)
    np.testing.assert_allclose(found, [1 / np.sqrt(xs.sum())], rtol=1e-6)
    np.testing.assert_allclose(twice, found / np.sqrt(2), rtol=1e-9)


def test_the_information_of_a_family_is_its_fisher_matrix():
    family = hm.Normal(2)

    def both():
        params = family.initialize(KEY)
        found = hm.observed_information(family, params, IRIS[:, :2])
        return found, family.fisher_matrix(params)

    found, fisher = compute(both)
    np.testing.assert_allclose(found, 150 * fisher, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("masked", [False, True])
def test_the_information_of_a_mixture_is_the_curvature_of_its_likelihood(masked):
    model = hm.Mixture(hm.Normal(2, hm.Diagonal()), 2)
    xs = IRIS[:, :2]
    settings = {"prior": None, "n_starts": 1, "n_candidates": 1}
    params = hm.fit(model, xs, key=KEY, tolerance=1e-12, max_steps=5000, **settings).params
    observed = np.random.default_rng(0).random(xs.shape) < 0.8 if masked else None
    step = 1e-5

    def log_likelihood(vector):
        point = model.unravel(vector, hm.Coordinates.NATURAL)
        return 150 * model.average_log_observable_density(point, xs, observed=observed)

    def information(params):
        found = hm.observed_information(model, params, xs, observed=observed)
        slope, vector = jax.vmap(jax.grad(log_likelihood)), model.ravel(params)[None]
        steps = step * np.eye(model.dim)
        differences = slope(vector - steps) - slope(vector + steps)
        errors = None if masked else hm.standard_errors(model, params, xs)
        return found, differences / (2 * step), errors

    found, expected, errors = compute(information, params)
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7 * scale)
    if not masked:
        np.testing.assert_allclose(errors, np.sqrt(np.diag(np.linalg.inv(expected))), rtol=1e-3)


def test_parameters_that_are_not_identifiable_have_no_standard_errors():
    model = hm.factor_analysis(4, 2)
    params = hm.fit(model, IRIS, key=KEY).params
    with pytest.raises(ValueError, match="singular"):
        hm.standard_errors(model, params, IRIS)
