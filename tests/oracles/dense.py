"""Dense Gaussian mixtures written down from the leaves of a point, with NumPy and SciPy only.

Whatever a model made of normals and mixtures is, its joint distribution given the category at the
top is one Gaussian over all its real vectors, side by side. Its precision and location are read off
the natural parameters of the point, block by block; no conjugation, no recursion over priors, and
no function of the library takes part in it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import harmonium as hm
from tests.compiled import compute


class Information(NamedTuple):
    """Unnormalised Gaussians: log weights (K,), precisions (K, D, D) and locations (K, D)."""

    log_weights: np.ndarray
    precisions: np.ndarray
    locations: np.ndarray


class Gaussians(NamedTuple):
    """A Gaussian mixture: weights (K,), means (K, D) and covariances (K, D, D)."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def log_densities(self, xs: Any) -> np.ndarray:
        """The log densities of a batch of vectors."""
        return logsumexp(self.component_log_densities(xs), axis=1)

    def component_log_densities(self, xs: Any) -> np.ndarray:
        """The log densities (N, K) of vectors together with components."""
        columns = [
            np.log(w) + np.reshape(multivariate_normal(m, c).logpdf(np.asarray(xs)), len(xs))
            for w, m, c in zip(*self, strict=True)
        ]
        return np.stack(columns, axis=1)

    def marginal(self, where: slice) -> "Gaussians":
        """The mixture of a part of the vector."""
        return Gaussians(self.weights, self.means[:, where], self.covariances[:, where, where])

    def condition(self, x: np.ndarray) -> "Gaussians":
        """The mixture of the rest of the vector, given its first entries."""
        n = len(x)
        logs = self.marginal(slice(0, n)).component_log_densities(x[None])[0]
        means, covariances = [], []
        for mean, covariance in zip(self.means, self.covariances, strict=True):
            gain = np.linalg.solve(covariance[:n, :n], covariance[:n, n:]).T
            means.append(mean[n:] + gain @ (x - mean[:n]))
            covariances.append(covariance[n:, n:] - gain @ covariance[:n, n:])
        weights = np.exp(logs - logsumexp(logs))
        return Gaussians(weights, np.stack(means), np.stack(covariances))

    def mean(self) -> np.ndarray:
        """The mean of the mixture."""
        return self.weights @ self.means

    def covariance(self) -> np.ndarray:
        """The covariance of the mixture."""
        centred = self.means - self.mean()
        between = np.einsum("k,ki,kj->ij", self.weights, centred, centred)
        return np.einsum("k,kij->ij", self.weights, self.covariances) + between


def full_matrix(normal: hm.Normal, leaf: Any) -> np.ndarray:
    """The full matrix of which a covariance, variances or one variance was stored."""
    n = normal.data_dim
    if leaf is None:
        return np.eye(n)
    leaf = np.asarray(leaf)
    return leaf if leaf.ndim == 2 else leaf * np.eye(n)


def information(model: Any, point: Any) -> Information:
    """The Gaussians of all real vectors of a model, observables first, up to one constant."""
    point = jax.device_get(point)
    if isinstance(model, hm.Normal):
        return _of_normal(model, point)
    if isinstance(model, hm.families.Euclidean):
        n = model.data_dim
        return Information(np.zeros(1), np.zeros((1, n, n)), point.values[None])
    if isinstance(model, hm.Mixture):
        return _of_mixture(model, point)
    return _of_linear_gaussian(model, point)


def gaussians(model: Any, point: Any) -> Gaussians:
    """The Gaussian mixture over all real vectors of a model, observables first."""
    return normalise(information(model, point))


def normalise(info: Information) -> Gaussians:
    """The mixture with these natural parameters, if there is one."""
    np.linalg.cholesky(info.precisions)
    covariances = np.linalg.inv(info.precisions)
    covariances = (covariances + np.swapaxes(covariances, 1, 2)) / 2
    means = np.einsum("kij,kj->ki", covariances, info.locations)
    logs = info.log_weights + 0.5 * np.einsum("ki,ki->k", info.locations, means)
    logs = logs - 0.5 * np.linalg.slogdet(info.precisions)[1]
    return Gaussians(np.exp(logs - logsumexp(logs)), means, covariances)


def observable(model: Any, point: Any) -> Gaussians:
    """The Gaussian mixture over the observables of a model."""
    return gaussians(model, point).marginal(slice(0, model.obs_man.data_dim))


def _of_normal(normal: hm.Normal, point: Any) -> Information:
    if normal.covariance_structure == hm.Identity():
        precision = np.eye(normal.data_dim)
    else:
        precision = full_matrix(normal, -2 * point.shape)
    return Information(np.zeros(1), precision[None], point.location[None])


def _of_mixture(model: hm.Mixture, point: Any) -> Information:
    base = information(model.obs_man, point.observable)
    log_weights, precisions, locations = [base.log_weights], [base.precisions], [base.locations]
    (differences,) = point.interaction.rows
    for k, log_odds in enumerate(point.latent.values):
        row = differences[k]
        difference = information(row.manifold, row)
        shift = difference.precisions
        if isinstance(row.manifold, hm.Normal) and row.manifold.covariance_structure == (
            hm.Identity()
        ):
            shift = np.zeros_like(shift)
        log_weights.append(base.log_weights + log_odds)
        precisions.append(base.precisions + shift)
        locations.append(base.locations + difference.locations)
    return Information(*map(np.concatenate, (log_weights, precisions, locations)))


def _of_linear_gaussian(model: Any, point: Any) -> Information:
    below = information(model.obs_man, point.observable)
    above = information(model.pst_man, point.latent)
    cross = point.interaction.rows[0].values.T
    n, size = cross.shape[0], cross.shape[0] + above.locations.shape[1]
    precisions = np.zeros((len(above.log_weights), size, size))
    precisions[:, :n, :n] = below.precisions
    precisions[:, n:, n:] = above.precisions
    precisions[:, :n, n : n + cross.shape[1]] = -cross
    precisions[:, n : n + cross.shape[1], :n] = -cross.T
    repeated = np.repeat(below.locations, len(precisions), axis=0)
    locations = np.concatenate([repeated, above.locations], axis=1)
    return Information(below.log_weights + above.log_weights, precisions, locations)


class Chain(NamedTuple):
    """Linear Gaussian levels (loadings, offset, noise) from the bottom, and a mixture on top."""

    levels: list
    top: Gaussians

    def joint(self) -> Gaussians:
        """The Gaussian mixture over all levels, observables first."""
        means, covariances = self.top.means, self.top.covariances
        for loadings, offset, noise in reversed(self.levels):
            reach = np.zeros((len(loadings), means.shape[1]))
            reach[:, : loadings.shape[1]] = loadings
            cross = reach @ covariances
            below = cross @ reach.T + noise
            upper = np.concatenate([below, cross], axis=2)
            lower = np.concatenate([np.swapaxes(cross, 1, 2), covariances], axis=2)
            covariances = np.concatenate([upper, lower], axis=1)
            means = np.concatenate([means @ reach.T + offset, means], axis=1)
        return Gaussians(self.top.weights, means, covariances)


def read_chain(model: Any, point: Any) -> Chain:
    """The levels of a point, by the public accessors and the library's own priors."""
    models = [model]
    while isinstance(models[-1], hm.Hierarchical):
        models.append(models[-1].prr_man)

    def read(point: Any) -> Any:
        levels = []
        for own in models[:-1]:
            lower = own.lwr_hrm
            interaction = point.interaction
            lower_point = lower.point(point.observable, interaction, lower.pst_man.zeros())
            noise = lower.obs_man.covariance(point.observable)
            offset = lower.obs_man.mean(point.observable)
            levels.append((lower.loadings(lower_point), offset, noise))
            point = own.prior(point)
        return levels, point

    found, top = compute(read, point)
    levels = [
        (loadings, offset, full_matrix(own.lwr_hrm.obs_man, noise))
        for own, (loadings, offset, noise) in zip(models[:-1], found, strict=True)
    ]
    return Chain(levels, gaussians(models[-1], top))


def random_point(model: Any, seed: int) -> Any:
    """A valid natural point of a model, nothing of which is zero.

    Precisions exceed three and interactions are small, so that the joint precision of all levels is
    positive definite, which is asserted where it is inverted.
    """
    rng = np.random.default_rng(seed)

    def fill(path: Any, leaf: Any) -> Any:
        name = path[-1].name
        interacts = any(getattr(entry, "name", None) == "rows" for entry in path)
        if name != "shape":
            size = 0.3 if interacts and name == "values" else 1.0
            return jnp.asarray(size * rng.normal(size=leaf.shape), float)
        if len(leaf.shape) - interacts == 2:
            root = rng.normal(size=leaf.shape) * 0.7
            precision = root @ np.swapaxes(root, -1, -2) + 0.1 * np.eye(leaf.shape[-1])
            precision = precision + (0 if interacts else 3) * np.eye(leaf.shape[-1])
        else:
            precision = rng.uniform(0.2, 2, leaf.shape) + (0 if interacts else 3)
        return jnp.asarray(-0.5 * precision, float)

    return jax.tree_util.tree_map_with_path(fill, model.template())


def assert_moments(
    samples: Any, mean: np.ndarray, covariance: np.ndarray, bound: float = 5
) -> None:
    """The first two moments of independent samples lie within `bound` standard errors."""
    samples = np.asarray(samples)
    centred = samples - mean
    products = np.einsum("ni,nj->nij", centred, centred) - covariance
    for values in (centred, products.reshape(len(samples), -1)):
        error = values.std(axis=0) / np.sqrt(len(samples))
        np.testing.assert_array_less(np.abs(values.mean(axis=0)), bound * error)
