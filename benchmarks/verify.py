"""The hand-written references against dense Gaussians from scipy: `python -m benchmarks.verify`.

A fast reference that computes something else would be a wrong yardstick. Each check raises
AssertionError on a difference.
"""

import os

os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, poisson

from benchmarks import problems, references


def dense_joint(params: references.Hierarchy) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """For each component its weight, and mean (D + L,) and covariance of the joint of x and y."""
    joint = []
    for weight, mean, covariance in zip(
        params.weights, params.means, params.covariances, strict=True
    ):
        loadings = np.asarray(params.loadings)
        centre = np.concatenate([loadings @ mean + params.offset, mean])
        cross = loadings @ covariance
        observable = cross @ loadings.T + np.diag(params.noise)
        joint.append(
            (float(weight), centre, np.block([[observable, cross], [cross.T, covariance]]))
        )
    return joint


def dense_log_joint(params: references.Hierarchy, xs: np.ndarray) -> np.ndarray:
    """Log density of every observation together with every component, (N, K), by scipy."""
    dim = xs.shape[1]
    columns = [
        np.log(weight) + multivariate_normal.logpdf(xs, centre[:dim], covariance[:dim, :dim])
        for weight, centre, covariance in dense_joint(params)
    ]
    return np.stack(columns, axis=1)


def dense_step(params: references.Hierarchy, xs: np.ndarray) -> references.Hierarchy:
    """One EM step by conditioning the dense joints on every observation (N, D); slow and plain."""
    n_observations, dim = xs.shape
    log_joint = dense_log_joint(params, xs)
    responsibilities = np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True))
    means, seconds, cross = [], [], 0.0
    for k, (_, centre, covariance) in enumerate(dense_joint(params)):
        gain = np.linalg.solve(covariance[:dim, :dim], covariance[:dim, dim:]).T
        posterior = covariance[dim:, dim:] - gain @ covariance[:dim, dim:]
        ys = centre[dim:] + (xs - centre[:dim]) @ gain.T
        weighted = ys * responsibilities[:, k, None]
        total = responsibilities[:, k].sum()
        means.append(weighted.sum(axis=0) / total)
        seconds.append(posterior + weighted.T @ ys / total)
        cross = cross + xs.T @ weighted / n_observations
    weights, means, seconds = responsibilities.mean(axis=0), np.stack(means), np.stack(seconds)
    mean, latent_mean = xs.mean(axis=0), weights @ means
    latent = np.tensordot(weights, seconds, axes=1) - np.outer(latent_mean, latent_mean)
    cross = cross - np.outer(mean, latent_mean)
    loadings = cross @ np.linalg.inv(latent)
    noise = xs.var(axis=0) - np.sum(loadings * cross, axis=1)
    covariances = seconds - np.einsum("ki,kj->kij", means, means)
    return references.Hierarchy(
        loadings, mean - loadings @ latent_mean, noise, weights, means, covariances
    )


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
    density, step = jax.jit(references.hierarchy_log_density), jax.jit(references.hierarchy_step)
    expected = logsumexp(dense_log_joint(params, np.asarray(xs)), axis=1)
    assert_close("hierarchy, log density", density(params, xs), expected)
    assert_close("hierarchy, EM step", step(params, xs), dense_step(params, np.asarray(xs)))
    values = []
    for _ in range(20):
        values.append(float(density(params, xs).mean()))
        params = step(params, xs)
    assert_increasing("hierarchy, EM", values)


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
    check_poissons()
