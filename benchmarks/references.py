"""Hand-written whole-batch JAX: what is reachable for one model, when nothing has to be general.

Nothing here uses the library. Every function takes plain arrays (float64 when JAX runs in 64 bit)
and is meant to be jitted; `benchmarks.verify` compares them with dense Gaussians from scipy.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import cho_solve


class Factors(NamedTuple):
    """x = loadings y + offset + noise, y standard normal: (D, L), (D,) and noise variances (D,)."""

    loadings: Array
    offset: Array
    noise: Array


class Hierarchy(NamedTuple):
    """x = loadings y + offset + noise, y from a mixture of K Gaussians.

    `loadings` (D, L), `offset` (D,), `noise` (D,) variances, `weights` (K,), `means` (K, L),
    `covariances` (K, L, L).
    """

    loadings: Array
    offset: Array
    noise: Array
    weights: Array
    means: Array
    covariances: Array


class Analysers(NamedTuple):
    """A mixture of K factor analyses: `weights` (K,), and `factors` with a leading axis K."""

    weights: Array
    factors: Factors


class Components(NamedTuple):
    """What a batch needs to know of the K posteriors p(y | x, k): only their means depend on x.

    With u = W^T V^-1 (x - b), the posterior mean is `covariances`_k u + `intercepts`_k and the log
    weight of component k, up to a term common to all of them, is `constants`_k +
    `intercepts`_k . u + u^T `covariances`_k u / 2. Shapes (K, L, L), (K, L) and (K,).
    """

    covariances: Array
    intercepts: Array
    constants: Array


def _inverse(matrix: Array) -> tuple[Array, Array]:
    """Inverse (n, n) and log determinant of one positive definite matrix (n, n)."""
    factor = jnp.linalg.cholesky(matrix)
    inverse = cho_solve((factor, True), jnp.eye(matrix.shape[0]))
    return inverse, 2.0 * jnp.sum(jnp.log(jnp.diagonal(factor)))


def _outer_products(us: Array) -> Array:
    """Flattened outer products (N, L * L) of the rows of `us` (N, L), where L is small."""
    return (us[:, :, None] * us[:, None, :]).reshape(us.shape[0], -1)


# --- mixtures of full-covariance Gaussians


def mixture_products(matrices: Array, responsibilities: Array, xs: Array) -> tuple[Array, Array]:
    """The dense matrix products of one EM step of a Gaussian mixture, and nothing else.

    Takes one symmetric matrix A_k a component (K, D, D), weights w_k of the observations (N, K) and
    the observations (N, D). Returns the quadratic forms x_n^T A_k x_n (N, K), as the product
    X [A_1 .. A_K] times X, summed; and the weighted second moments (X w_k)^T X (K, D, D).
    """
    n_components, dim, _ = matrices.shape
    products = xs @ jnp.moveaxis(matrices, 0, 1).reshape(dim, n_components * dim)
    quadratics = jnp.einsum("nkd,nd->nk", products.reshape(-1, n_components, dim), xs)
    moments = [(xs * responsibilities[:, k, None]).T @ xs for k in range(n_components)]
    return quadratics, jnp.stack(moments)


# --- factor analysis


def _factor_posterior(params: Factors) -> tuple[Array, Array]:
    """Gain B (L, D) and covariance C (L, L) of p(y | x) = N(B (x - offset), C)."""
    scaled = params.loadings / params.noise[:, None]
    precision = jnp.eye(params.loadings.shape[1]) + params.loadings.T @ scaled
    covariance, _ = _inverse(precision)
    return covariance @ scaled.T, covariance


def _regress(cross: Array, latent: Array, variances: Array) -> tuple[Array, Array]:
    """Loadings (D, L) and noise (D,) from central moments xy (D, L), yy (L, L) and xx (D,)."""
    loadings = cho_solve((jnp.linalg.cholesky(latent), True), cross.T).T
    return loadings, variances - jnp.sum(loadings * cross, axis=1)


def _factors_from_moments(mean: Array, cross: Array, latent: Array, variances: Array) -> Factors:
    """M-step of factor analysis from central moments xy (D, L), yy (L, L) and xx (D,).

    Maximising over the prior of y too and then rescaling y to be standard normal is the expanded EM
    of Liu, Rubin and Wu (1998): p(x) is as free as before, the steps are longer.
    """
    loadings, noise = _regress(cross, latent, variances)
    return Factors(loadings @ jnp.linalg.cholesky(latent), mean, noise)


def factor_analysis_step(params: Factors, xs: Array) -> Factors:
    """One EM step of factor analysis on observations (N, D)."""
    n_observations = xs.shape[0]
    gain, covariance = _factor_posterior(params)
    ys = xs @ gain.T - gain @ params.offset
    mean = jnp.sum(xs, axis=0) / n_observations
    latent_mean = jnp.sum(ys, axis=0) / n_observations
    cross = xs.T @ ys / n_observations - jnp.outer(mean, latent_mean)
    latent = covariance + ys.T @ ys / n_observations - jnp.outer(latent_mean, latent_mean)
    variances = jnp.sum(xs * xs, axis=0) / n_observations - mean**2
    return _factors_from_moments(mean, cross, latent, variances)


def factor_analysis_moments_step(params: Factors, mean: Array, covariance: Array) -> Factors:
    """The same step from the mean (D,) and covariance (D, D) of the data, whatever their number."""
    gain, posterior = _factor_posterior(params)
    cross = covariance @ gain.T
    latent = posterior + gain @ cross
    return _factors_from_moments(mean, cross, latent, jnp.diagonal(covariance))


def factor_analysis_moments(xs: Array) -> tuple[Array, Array]:
    """Mean (D,) and covariance (D, D) of observations (N, D)."""
    mean = jnp.mean(xs, axis=0)
    centred = xs - mean
    return mean, centred.T @ centred / xs.shape[0]


def factor_analysis_log_density(params: Factors, xs: Array) -> Array:
    """Log density (N,) of observations (N, D) under N(offset, W W^T + diag(noise))."""
    gain, covariance = _factor_posterior(params)
    centred = xs - params.offset
    scaled = centred / params.noise
    explained = jnp.sum((scaled @ params.loadings) * (centred @ gain.T), axis=1)
    _, log_determinant = _inverse(covariance)
    constant = jnp.sum(jnp.log(2.0 * jnp.pi * params.noise)) - log_determinant
    return -0.5 * (jnp.sum(scaled * centred, axis=1) - explained + constant)


# --- mixture of factor analyses


def _analyser_logits(params: Analysers, xs: Array) -> tuple[Array, Array, Array]:
    """What the posteriors p(y, k | x) of observations (N, D) are made of.

    Their means (N, K, L), their covariances (K, L, L), and log p(x, k), (N, K).
    """
    weights, (loadings, offset, noise) = params
    _, covariances = jax.vmap(_factor_posterior)(params.factors)
    scaled = loadings / noise[:, :, None]
    us = jnp.einsum("nd,kdl->nkl", xs, scaled) - jnp.einsum("kd,kdl->kl", offset, scaled)
    ys = jnp.einsum("nkl,klm->nkm", us, covariances)
    shifts = offset / noise
    distances = (xs * xs) @ (1.0 / noise).T - 2.0 * xs @ shifts.T + jnp.sum(offset * shifts, axis=1)
    _, log_determinants = jax.vmap(_inverse)(covariances)
    constants = jnp.sum(jnp.log(2.0 * jnp.pi * noise), axis=1) - log_determinants
    explained = jnp.sum(us * ys, axis=2)
    return ys, covariances, jnp.log(weights) - 0.5 * (distances - explained + constants)


def analysers_log_density(params: Analysers, xs: Array) -> Array:
    """Log density (N,) of observations (N, D)."""
    return jax.nn.logsumexp(_analyser_logits(params, xs)[2], axis=1)


def analysers_step(params: Analysers, xs: Array) -> Analysers:
    """One EM step on observations (N, D), the M-step of each component that of factor analysis."""
    ys, covariances, logits = _analyser_logits(params, xs)
    responsibilities = jax.nn.softmax(logits, axis=1)
    totals = jnp.sum(responsibilities, axis=0)
    shares = responsibilities / totals
    weighted = shares[:, :, None] * ys
    means, latent_means = shares.T @ xs, jnp.sum(weighted, axis=0)
    cross = jnp.einsum("nd,nkl->kdl", xs, weighted) - means[:, :, None] * latent_means[:, None]
    squares = jnp.einsum("nkl,nkm->klm", weighted, ys)
    latents = covariances + squares - latent_means[:, :, None] * latent_means[:, None]
    variances = shares.T @ (xs * xs) - means**2
    factors = jax.vmap(_factors_from_moments)(means, cross, latents, variances)
    return Analysers(totals / len(xs), factors)


# --- hierarchical mixture of Gaussians


def _component_posteriors(params: Hierarchy) -> Components:
    """The K posteriors over y that belong to the parameters; see `Components`."""
    shared = params.loadings.T @ (params.loadings / params.noise[:, None])

    def one(weight: Array, mean: Array, covariance: Array) -> Components:
        """Scalar weight, mean (L,) and covariance (L, L) of one component of p(y)."""
        precision, log_prior = _inverse(covariance)
        posterior, log_posterior = _inverse(precision + shared)
        shift = precision @ mean
        intercept = posterior @ shift
        constant = jnp.log(weight) + 0.5 * (
            shift @ intercept - mean @ shift - log_prior - log_posterior
        )
        return Components(posterior, intercept, constant)

    return jax.vmap(one)(params.weights, params.means, params.covariances)


def _component_logits(
    params: Hierarchy, components: Components, xs: Array
) -> tuple[Array, Array, Array]:
    """u (N, L), its outer products (N, L * L) and the components' log weights (N, K)."""
    scaled = params.loadings / params.noise[:, None]
    us = xs @ scaled - params.offset @ scaled
    outers = _outer_products(us)
    quadratics = outers @ components.covariances.reshape(-1, outers.shape[1]).T
    return us, outers, components.constants + us @ components.intercepts.T + 0.5 * quadratics


def hierarchy_log_density(params: Hierarchy, xs: Array) -> Array:
    """Log density (N,) of observations (N, D), the latents summed and integrated out."""
    _, _, logits = _component_logits(params, _component_posteriors(params), xs)
    centred = xs - params.offset
    distances = (centred * centred) @ (1.0 / params.noise)
    constant = jnp.sum(jnp.log(2.0 * jnp.pi * params.noise))
    return jax.nn.logsumexp(logits, axis=1) - 0.5 * (distances + constant)


def hierarchy_step(params: Hierarchy, xs: Array) -> Hierarchy:
    """One EM step on observations (N, D).

    The posterior means are affine in u, so all second moments of y follow from the K weighted
    moments of u; two matrix products touch the (N, D) data.
    """
    n_observations, lat_dim = xs.shape[0], params.loadings.shape[1]
    components = _component_posteriors(params)
    us, outers, logits = _component_logits(params, components, xs)
    responsibilities = jax.nn.softmax(logits, axis=1)

    slopes = (responsibilities @ components.covariances.reshape(-1, lat_dim**2)).reshape(
        -1, lat_dim, lat_dim
    )
    ys = responsibilities @ components.intercepts + jnp.sum(slopes * us[:, None, :], axis=2)
    mean = jnp.sum(xs, axis=0) / n_observations
    variances = jnp.sum(xs * xs, axis=0) / n_observations - mean**2

    weights = jnp.sum(responsibilities, axis=0) / n_observations
    firsts = responsibilities.T @ us / n_observations
    seconds = (responsibilities.T @ outers).reshape(-1, lat_dim, lat_dim) / n_observations
    means, covariances = jax.vmap(_component_moments)(components, weights, firsts, seconds)

    latent_mean = weights @ means
    spread = means - latent_mean
    latent = jnp.tensordot(weights, covariances, axes=1) + (spread * weights[:, None]).T @ spread
    cross = xs.T @ ys / n_observations - jnp.outer(mean, latent_mean)
    loadings, noise = _regress(cross, latent, variances)
    return Hierarchy(loadings, mean - loadings @ latent_mean, noise, weights, means, covariances)


def _component_moments(
    component: Components, weight: Array, first: Array, second: Array
) -> tuple[Array, Array]:
    """Expected mean (L,) and covariance (L, L) of y within one component.

    From its posterior (one entry of `Components`) and the moments of u under its responsibilities:
    scalar, (L,) and (L, L).
    """
    centre = first / weight
    spread = second / weight - jnp.outer(centre, centre)
    slope = component.covariances
    return slope @ centre + component.intercepts, slope + slope @ spread @ slope


def _hidden_logits(
    params: Hierarchy, xs: Array, observed: Array
) -> tuple[Array, Array, Array, Array]:
    """The posteriors p(y, k | x_o) of observations (N, D) of which a mask (N, D) is observed.

    Their means (N, K, L) and covariances (N, K, L, L), log p(x_o, k) up to a term common to all k,
    (N, K), and that term (N,). Noise is diagonal, so what is hidden adds nothing to u = W^T V^-1
    (x - b) and to W^T V^-1 W, which is another for each observation.
    """
    lat_dim = params.loadings.shape[1]
    scaled = params.loadings / params.noise[:, None]
    centred = jnp.where(observed, xs - params.offset, 0.0)
    products = (scaled[:, :, None] * params.loadings[:, None]).reshape(-1, lat_dim**2)
    seen = observed.astype(xs.dtype)
    shared = (seen @ products).reshape(-1, 1, lat_dim, lat_dim)
    priors, log_priors = jax.vmap(_inverse)(params.covariances)
    shifts = jnp.einsum("klm,km->kl", priors, params.means)
    forces = shifts + (centred @ scaled)[:, None]
    covariances, log_posteriors = jax.vmap(jax.vmap(_inverse))(priors + shared)
    means = jnp.einsum("nklm,nkm->nkl", covariances, forces)
    quadratics = jnp.sum(forces * means, axis=2) - jnp.sum(shifts * params.means, axis=1)
    logits = jnp.log(params.weights) + 0.5 * (quadratics - log_priors - log_posteriors)
    common = centred**2 @ (1.0 / params.noise) + seen @ jnp.log(2.0 * jnp.pi * params.noise)
    return means, covariances, logits, -0.5 * common


def hidden_log_density(params: Hierarchy, xs: Array, observed: Array) -> Array:
    """Log density (N,) of what a mask (N, D) says is observed of the observations (N, D)."""
    _, _, logits, common = _hidden_logits(params, xs, observed)
    return jax.nn.logsumexp(logits, axis=1) + common


def hidden_step(params: Hierarchy, xs: Array, observed: Array) -> Hierarchy:
    """One EM step on observations (N, D) of which a mask (N, D) is observed."""
    ys, spreads, logits, _ = _hidden_logits(params, xs, observed)
    shares = jax.nn.softmax(logits, axis=1) / len(xs)
    seconds = spreads + ys[:, :, :, None] * ys[:, :, None]
    weights = jnp.sum(shares, axis=0)
    means = jnp.einsum("nk,nkl->kl", shares, ys) / weights[:, None]
    outers = jnp.einsum("nk,nklm->klm", shares, seconds) / weights[:, None, None]
    covariances = outers - means[:, :, None] * means[:, None]

    # Moments of y for each observation, and of x given y where it is hidden: W y + b and noise.
    first = len(xs) * jnp.einsum("nk,nkl->nl", shares, ys)
    second = len(xs) * jnp.einsum("nk,nklm->nlm", shares, seconds)
    loadings, offset, noise = params.loadings, params.offset, params.noise
    centred = jnp.where(observed, xs - offset, first @ loadings.T)
    flat = (loadings[:, :, None] * loadings[:, None]).reshape(len(noise), -1)
    squares = second.reshape(len(xs), -1) @ flat.T + noise
    squares = jnp.mean(jnp.where(observed, centred**2, squares), axis=0)
    seen = jnp.where(observed, centred, 0.0)
    hidden = jnp.einsum("nd,nlm->dlm", (~observed).astype(xs.dtype), second)
    cross = (seen.T @ first + jnp.einsum("dlm,dm->dl", hidden, loadings)) / len(xs)

    mean, latent_mean = jnp.mean(centred, axis=0), weights @ means
    latent = jnp.mean(second, axis=0) - jnp.outer(latent_mean, latent_mean)
    cross = cross - jnp.outer(mean, latent_mean)
    loadings, noise = _regress(cross, latent, squares - mean**2)
    offset = offset + mean - loadings @ latent_mean
    return Hierarchy(loadings, offset, noise, weights, means, covariances)


def poissons_step(weights: Array, rates: Array, xs: Array) -> tuple[Array, Array]:
    """One EM step of a mixture of independent Poissons, on all counts at once.

    Weights (K,) and rates (K, D), of counts (N, D); the factorials cancel.
    """
    counts = xs.astype(rates.dtype)
    scores = counts @ jnp.log(rates).T + (jnp.log(weights) - jnp.sum(rates, axis=1))[None]
    responsibilities = jax.nn.softmax(scores, axis=1)
    totals = jnp.sum(responsibilities, axis=0)
    return totals / len(counts), (responsibilities.T @ counts) / totals[:, None]
