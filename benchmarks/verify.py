"""The hand-written references against dense Gaussians from scipy: `python -m benchmarks.verify`.

A fast reference that computes something else would be a wrong yardstick. Each check raises
AssertionError on a difference.
"""

import os
from typing import Any, NamedTuple

os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, poisson

from benchmarks import problems, references


class Component(NamedTuple):
    """A Gaussian over x and y: its weight, mean (D + L,) and covariance (D + L, D + L)."""

    weight: float
    mean: np.ndarray
    covariance: np.ndarray


def dense_component(
    weight: float, loadings: Any, offset: Any, noise: Any, mean: Any, covariance: Any
) -> Component:
    """The joint of x = loadings y + offset + noise and of y with this mean and covariance."""
    loadings, mean = np.asarray(loadings), np.asarray(mean)
    cross = loadings @ np.asarray(covariance)
    observable = cross @ loadings.T + np.diag(noise)
    whole = np.block([[observable, cross], [cross.T, np.asarray(covariance)]])
    return Component(float(weight), np.concatenate([loadings @ mean + offset, mean]), whole)


def dense_hierarchy(params: references.Hierarchy) -> list[Component]:
    """The components of a hierarchy."""
    return [
        dense_component(weight, params.loadings, params.offset, params.noise, mean, covariance)
        for weight, mean, covariance in zip(
            params.weights, params.means, params.covariances, strict=True
        )
    ]


def dense_analysers(params: references.Analysers) -> list[Component]:
    """The components of a mixture of factor analyses."""
    lat_dim = params.factors.loadings.shape[2]
    return [
        dense_component(weight, *factors, np.zeros(lat_dim), np.eye(lat_dim))
        for weight, *factors in zip(params.weights, *params.factors, strict=True)
    ]


def dense_log_joint(joint: list[Component], xs: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Log density of what is observed, together with every component, (N, K), by scipy."""
    rows = []
    for x, mask in zip(xs, observed, strict=True):
        seen = np.flatnonzero(mask)
        rows.append(
            [
                np.log(weight)
                + multivariate_normal.logpdf(x[seen], mean[seen], covariance[np.ix_(seen, seen)])
                for weight, mean, covariance in joint
            ]
        )
    return np.array(rows)


def dense_expectations(
    joint: list[Component], xs: np.ndarray, observed: np.ndarray
) -> list[Component]:
    """What is expected of x and y given what is observed, and of each component's share.

    By conditioning the dense joints on every observation (N, D); slow and plain.
    """
    log_joint = dense_log_joint(joint, xs, observed)
    responsibilities = np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True))
    result = []
    for shares, (_, mean, covariance) in zip(responsibilities.T, joint, strict=True):
        first, second = np.zeros_like(mean), np.zeros_like(covariance)
        for share, x, mask in zip(shares, xs, observed, strict=True):
            seen = np.flatnonzero(mask)
            gain = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[seen]).T
            z = mean + gain @ (x[seen] - mean[seen])
            first += share * z
            second += share * (np.outer(z, z) + covariance - gain @ covariance[seen])
        centre = first / shares.sum()
        spread = second / shares.sum() - np.outer(centre, centre)
        result.append(Component(shares.mean(), centre, spread))
    return result


def dense_regression(mean: np.ndarray, covariance: np.ndarray, dim: int) -> tuple:
    """Loadings, offset and noise of the first `dim` of jointly normal numbers given the others."""
    loadings = covariance[:dim, dim:] @ np.linalg.inv(covariance[dim:, dim:])
    noise = np.diagonal(covariance)[:dim] - np.sum(loadings * covariance[:dim, dim:], axis=1)
    return loadings, mean[:dim] - loadings @ mean[dim:], noise


def dense_step(
    params: references.Hierarchy, xs: np.ndarray, observed: np.ndarray
) -> references.Hierarchy:
    """One EM step of a hierarchy on what is observed of the observations (N, D)."""
    dim = xs.shape[1]
    weights, means, covariances = map(
        np.stack, zip(*dense_expectations(dense_hierarchy(params), xs, observed), strict=True)
    )
    mean = weights @ means
    spread = means - mean
    covariance = np.tensordot(weights, covariances, axes=1) + (spread.T * weights) @ spread
    factors = dense_regression(mean, covariance, dim)
    return references.Hierarchy(*factors, weights, means[:, dim:], covariances[:, dim:, dim:])


def dense_analysers_step(params: references.Analysers, xs: np.ndarray) -> references.Analysers:
    """One EM step of a mixture of factor analyses, with y rescaled to be standard normal."""
    dim, components = xs.shape[1], []
    expected = dense_expectations(dense_analysers(params), xs, np.ones(xs.shape, bool))
    for _, mean, covariance in expected:
        loadings, _, noise = dense_regression(mean, covariance, dim)
        root = np.linalg.cholesky(covariance[dim:, dim:])
        components.append(references.Factors(loadings @ root, mean[:dim], noise))
    factors = references.Factors(*map(np.stack, zip(*components, strict=True)))
    return references.Analysers(np.array([weight for weight, *_ in expected]), factors)


def assert_close(name: str, actual: object, expected: object, tolerance: float = 1e-9) -> None:
    """Compare two pytrees of arrays leaf by leaf, relative to each leaf's largest entry."""
    for left, right in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        error = np.max(np.abs(np.asarray(left) - right)) / max(1.0, np.max(np.abs(right)))
        assert error < tolerance, f"{name}: differs from the dense computation by {error:.1e}"
    print(f"{name}: agrees")


def assert_increasing(name: str, values: list[float]) -> None:
    """Average log densities after successive EM steps must not fall, and must rise in all."""
    gains = np.diff(values)
    assert np.all(gains > -1e-10) and values[-1] > values[0] + 1e-3, f"{name}: {values}"
    print(f"{name}: rises from {values[0]:.4f} to {values[-1]:.4f}")


def check_hierarchy() -> None:
    """Log density, one step and twenty steps of the hierarchical mixture of Gaussians."""
    problem = problems.hierarchy(n_observations=400, obs_dim=7, lat_dim=3, n_components=4, seed=1)
    params, xs = problem.start, problem.xs
    data, whole = np.asarray(xs), np.ones(xs.shape, bool)
    density, step = jax.jit(references.hierarchy_log_density), jax.jit(references.hierarchy_step)
    expected = logsumexp(dense_log_joint(dense_hierarchy(params), data, whole), axis=1)
    assert_close("hierarchy, log density", density(params, xs), expected)
    assert_close("hierarchy, EM step", step(params, xs), dense_step(params, data, whole))
    values = []
    for _ in range(20):
        values.append(float(density(params, xs).mean()))
        params = step(params, xs)
    assert_increasing("hierarchy, EM", values)


def check_missing() -> None:
    """Log density, one step and twenty steps of that model where entries are missing."""
    complete = problems.hierarchy(n_observations=300, obs_dim=7, lat_dim=3, n_components=4, seed=5)
    problem = problems.missing(complete, 0.3, 4, seed=6)
    params, xs = complete.start, complete.xs
    density, step = jax.jit(references.hidden_log_density), jax.jit(references.hidden_step)
    for name, masks in {"all masks differ": problem.each, "few masks": problem.few}.items():
        expected = logsumexp(dense_log_joint(dense_hierarchy(params), np.asarray(xs), masks), 1)
        assert_close(f"missing entries, {name}, log density", density(params, xs, masks), expected)
        stepped = dense_step(params, np.asarray(xs), masks)
        assert_close(f"missing entries, {name}, EM step", step(params, xs, masks), stepped)
    values = []
    for _ in range(20):
        values.append(float(density(params, xs, problem.each).mean()))
        params = step(params, xs, problem.each)
    assert_increasing("missing entries, EM", values)


def check_analysers() -> None:
    """Log density, one step and twenty steps of a mixture of factor analyses."""
    problem = problems.analysers(n_observations=300, obs_dim=7, lat_dim=3, n_components=4, seed=7)
    params, xs = problem.start, problem.xs
    density, step = jax.jit(references.analysers_log_density), jax.jit(references.analysers_step)
    whole = np.ones(xs.shape, bool)
    expected = logsumexp(dense_log_joint(dense_analysers(params), np.asarray(xs), whole), axis=1)
    assert_close("factor analysers, log density", density(params, xs), expected)
    stepped = dense_analysers_step(params, np.asarray(xs))
    assert_close("factor analysers, EM step", step(params, xs), stepped)
    values = []
    for _ in range(20):
        values.append(float(density(params, xs).mean()))
        params = step(params, xs)
    assert_increasing("factor analysers, EM", values)


def check_factors() -> None:
    """Log density, the two forms of one step and twenty steps of factor analysis."""
    problem = problems.factors(n_observations=400, obs_dim=7, lat_dim=3, seed=2)
    params, xs = problem.start, problem.xs
    density, step = (
        jax.jit(references.factor_analysis_log_density),
        jax.jit(references.factor_analysis_step),
    )
    covariance = np.asarray(params.loadings @ params.loadings.T) + np.diag(params.noise)
    expected = multivariate_normal.logpdf(np.asarray(xs), np.asarray(params.offset), covariance)
    assert_close("factor analysis, log density", density(params, xs), expected)
    values = []
    for _ in range(20):
        values.append(float(density(params, xs).mean()))
        condensed = references.factor_analysis_moments_step(
            params, *references.factor_analysis_moments(xs)
        )
        params = step(params, xs)
        np.testing.assert_allclose(condensed.noise, params.noise, rtol=1e-8)
        np.testing.assert_allclose(condensed.loadings, params.loadings, rtol=1e-6, atol=1e-8)
    assert_increasing("factor analysis, EM on data and on the covariance", values)


def check_mixture_products() -> None:
    """The matrix products of a mixture's step against a plain sum."""
    problem = problems.mixture(n_observations=60, obs_dim=4, n_components=3, seed=3)
    xs = np.asarray(problem.xs)
    weights = np.asarray(problem.responsibilities)
    matrices = np.asarray(problem.start.covariances)
    expected = (
        np.einsum("kde,nd,ne->nk", matrices, xs, xs),
        np.einsum("nk,nd,ne->kde", weights, xs, xs),
    )
    actual = references.mixture_products(
        problem.start.covariances, problem.responsibilities, problem.xs
    )
    assert_close("mixture, matrix products", actual, expected)


def check_poissons() -> None:
    """One step of a mixture of Poissons by scipy's log probabilities."""
    weights, rates, xs = problems.poissons(n_observations=300, obs_dim=6, n_components=4, seed=4)
    counts = np.asarray(xs)
    log_joint = np.log(weights) + poisson.logpmf(counts[:, None], rates[None]).sum(axis=2)
    responsibilities = np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True))
    means = responsibilities.T @ counts / responsibilities.sum(axis=0)[:, None]
    expected = responsibilities.mean(axis=0), means
    assert_close("Poissons, EM step", references.poissons_step(weights, rates, xs), expected)


if __name__ == "__main__":
    check_mixture_products()
    check_factors()
    check_hierarchy()
    check_missing()
    check_analysers()
    check_poissons()
