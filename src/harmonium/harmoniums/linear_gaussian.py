"""Linear Gaussian models: factor analysis, probabilistic principal components, and relatives."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from harmonium.exponential_family.affine import substitute
from harmonium.exponential_family.checks import all_finite, real_array, require
from harmonium.families.euclidean import Euclidean
from harmonium.families.normal import LocationShape, Normal
from harmonium.families.normal_embedding import NormalCovarianceEmbedding
from harmonium.geometry.diagonal import Diagonal, Identity, Scale
from harmonium.geometry.embedding import (
    IdentityEmbedding,
    LinearEmbedding,
    RestrictionEmbedding,
    zeros_like,
)
from harmonium.geometry.linear_map import LinearMap, LinearMapPoint
from harmonium.geometry.matrix import CovarianceStructure, PositiveDefinite, scale_location
from harmonium.geometry.point import Coordinates, Mean, Natural, VectorPoint
from harmonium.geometry.structure import cached_property
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.embedding import embed_observable
from harmonium.harmoniums.marginals import Channel, channel, joined_moments
from harmonium.harmoniums.standardize import (
    standardizing_map,
    substitute_cause,
    substitute_likelihood,
)


class LinearGaussianModel(Conjugated):
    r"""A normal observable whose mean is an affine function of a normal latent.

    $\log p(x, z) = \theta_X \cdot s(x) + \theta_Z \cdot s(z) + x^T \Theta z + \dots$: only the
    locations interact, so $x = W z + b + \epsilon$ with loadings $W = \Sigma \Theta$, offset $b$
    and noise covariance $\Sigma$ in the observable's structure. Conjugation parameters, with
    $\Theta_2$ the observable's natural matrix: $\rho = (\Theta^T \Sigma \theta_1,\;
    \frac12 \Theta^T \Sigma \Theta)$, $\chi = \psi_X(\theta_X)$.

    A posterior with a restricted covariance structure embeds into a prior with a full one.

    **Fields:** `obs_man`, a `Normal` with any covariance structure, and `pst_man`, a `Normal` with
    any but `Identity()`.
    """

    obs_man: Normal = eqx.field(static=True)
    pst_man: Normal = eqx.field(static=True)

    def __check_init__(self):
        if self.pst_man.covariance_structure == Identity():
            raise TypeError(
                "a posterior with Identity() covariance is not offered: its precision is fixed, "
                "and cannot follow the data. Use Scale(), Diagonal() or PositiveDefinite()."
            )

    @cached_property
    def int_man(self) -> LinearMap:
        """A linear map from latent to observable locations."""
        return LinearMap(Euclidean(self.pst_man.data_dim), Euclidean(self.obs_man.data_dim))

    @cached_property
    def pst_prr_emb(self) -> RestrictionEmbedding:
        """The identity for full posteriors, an embedding of covariance structures for others."""
        if self.pst_man.covariance_structure == PositiveDefinite():
            return IdentityEmbedding(self.pst_man)
        return NormalCovarianceEmbedding(self.pst_man, Normal(self.pst_man.data_dim))

    @property
    def is_jointly_gaussian(self) -> bool:
        """Always: observable and latent are jointly normal."""
        return True

    def message(
        self, likelihood: Natural, x: Any, observed: Any
    ) -> tuple[Natural, Float[Array, ""]]:
        r"""$\rho = (\Theta^T \hat x, \frac12 \Theta^T H \Theta)$ for the conditioned observable.

        Mathematically, $\hat x$ is $x$ where it is observed and its expectation at $z = 0$ where it
        is hidden, and $H$ the covariance of its hidden entries: zero if all are observed, and
        $\Sigma$ if none is.
        """
        family, offset = self.obs_man, likelihood.observable
        rows, structure = likelihood.interaction.rows[0].values, family.covariance_structure
        if x is not None and observed is None:
            shape = zeros_like(self.pst_man, offset).shape
            rho = LocationShape(rows @ x, shape, self.pst_man, Coordinates.NATURAL)
            return rho, family.energy(offset, x)
        if x is None:
            mean, covariance = family.mean_and_covariance(offset)
            scaled = structure.apply(covariance, rows)
            chi = family.log_partition_kernel(offset)
        else:
            mean, covariance, chi = family.condition(offset, x, observed)
            scaled = rows * covariance[None] if covariance.ndim == 1 else rows @ covariance
        shape = 0.5 * scaled @ rows.T
        return LocationShape(rows @ mean, shape, self.prr_man, Coordinates.NATURAL), chi

    def observable_at(self, likelihood: Natural, latent: Any) -> Natural:
        offset, rows = likelihood.observable, likelihood.interaction.rows[0].values
        location = offset.location + latent @ rows
        return LocationShape(location, offset.shape, self.obs_man, Coordinates.NATURAL)

    def likelihood_to_natural(self, point: Mean, start: Natural | None = None) -> Natural:
        r"""The regression of $x$ on $z$: $W = C_{xz} C_{zz}^{-1}$, and its residual covariance."""
        structure, latent_structure = self._structures
        n_obs, n_lat = self.obs_man.data_dim, self.pst_man.data_dim
        mean_x, mean_z = point.observable.location, point.latent.location
        moment_z = point.latent.shape - latent_structure.cross_moment(mean_z[None], mean_z[None])
        covariance_z = latent_structure.matrix_from_moment(moment_z, n_lat)
        covariance_zx = point.interaction.rows[0].values - jnp.outer(mean_z, mean_x)
        factor = latent_structure.factor(covariance_z, n_lat)
        transposed_loadings = solve_wide(latent_structure, factor, covariance_zx)
        offset = mean_x - mean_z @ transposed_loadings
        residual = (
            point.observable.shape
            - structure.cross_moment(mean_x[None], mean_x[None])
            - structure.cross_moment(transposed_loadings, covariance_zx)
        )
        noise = structure.matrix_from_moment(residual, n_obs)
        return self.regression(transposed_loadings, offset, noise)

    def transpose(self, point: Natural) -> tuple["LinearGaussianModel", Natural]:
        r"""The same joint distribution with observable and latent exchanged.

        The posterior of one is the likelihood of the other, and so are their covariance structures;
        `Identity()` noise becomes `Scale()`, which a posterior may have.

        **Returns:** the model that observes $z$ and has the latent $x$, and its natural point.
        """
        self.check_single(point)
        latent: Any = point.observable
        if self.obs_man.covariance_structure == Identity():
            free, shape = Normal(self.obs_man.data_dim, Scale()), latent.location.dtype.type(-0.5)
            latent = LocationShape(latent.location, shape, free, Coordinates.NATURAL)
        transposed = LinearGaussianModel(self.pst_man, latent.manifold)
        likelihood = transposed.likelihood_from_rows(
            point.latent, point.interaction.rows[0].values.T
        )
        return transposed, transposed.point(point.latent, likelihood.interaction, latent)

    # --- starts

    def initialize(self, key: PRNGKeyArray) -> Natural:
        """Random loadings, a random observable, and a standard normal prior."""
        loading_key, noise_key = jax.random.split(key)
        shape = (self.obs_man.data_dim, self.pst_man.data_dim)
        loadings = jax.random.normal(loading_key, (math.prod(shape),)).reshape(shape)
        loadings = loadings / jnp.sqrt(shape[1])
        observable = self.obs_man.initialize(noise_key)
        return self._from_parts(loadings, observable)

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        """Loadings along random combinations of the centred data, which explain about half of it.

        They lie mostly in the directions in which the data vary most, since they are random
        vectors with the covariance of the data.
        """
        xs = self.obs_man.check_data(xs)
        loading_key, noise_key = jax.random.split(key)
        centred = xs - jnp.mean(xs, axis=0)[None]
        shape = (len(xs), self.pst_man.data_dim)
        # Drawn flat: under vmap, XLA takes seconds to compile a draw of two axes.
        mixing = jax.random.normal(loading_key, (math.prod(shape),), xs.dtype).reshape(shape)
        loadings = centred.T @ mixing / jnp.sqrt(2.0 * shape[0] * shape[1])
        observable = self.obs_man.initialize_from_sample(noise_key, xs)
        if self.obs_man.covariance_structure != Identity():
            observable = observable * 2.0
        return self._from_parts(loadings, observable)

    # --- standard parameters

    def from_loadings(
        self, loadings: Any, offset: Any, noise: Any = None, prior: Natural | None = None
    ) -> Natural:
        """The model x = loadings z + offset + noise.

        **Arguments:**

        - `loadings`: (observable dimension, latent dimension).
        - `offset`: (observable dimension,).
        - `noise`: the noise covariance, in the form that `obs_man.from_mean_covariance` takes.
        - `prior`: a natural point of `prr_man`, the distribution of z. By default standard normal;
            with a restricted posterior the latents are then rotated (and for `Scale()` scaled) such
            that the posterior fits, which leaves the distribution of x as it is.

        **Raises:** an error for other shapes, for noise that is not positive definite, and for a
        prior that a restricted posterior cannot accommodate.
        """
        name = f"the loadings (observable x latent) of {self}"
        loadings = real_array(loadings, (self.obs_man.data_dim, self.pst_man.data_dim), name)
        loadings = require(loadings, all_finite(loadings), f"{name} must be finite.")
        observable = self.obs_man.from_mean_covariance(offset, noise)
        loadings = loadings.astype(observable.location.dtype)
        return self._from_parts(loadings, observable, prior)

    def loadings(self, point: Natural) -> Float[Array, "obs lat"]:
        """The loadings W, (observable dimension, latent dimension), of a natural point."""
        return self.loadings_of(self.likelihood_function(point))

    def loadings_of(self, likelihood: Natural) -> Float[Array, "obs lat"]:
        """The loadings of a likelihood, without checks."""
        structure, n = self.obs_man.covariance_structure, self.obs_man.data_dim
        factor = structure.factor(-2 * likelihood.observable.shape, n)
        return structure.solve(factor, likelihood.interaction.rows[0].values.T)

    def _from_parts(
        self, loadings: Array, observable: Natural, prior: Natural | None = None
    ) -> Natural:
        likelihood = self._scaled_likelihood(loadings, observable)
        if prior is not None:
            return self.join_conjugated(likelihood, prior)
        if self.is_symmetric:
            n = self.pst_man.data_dim
            standard = LocationShape(
                jnp.zeros(n, loadings.dtype),
                -0.5 * jnp.eye(n, dtype=loadings.dtype),
                self.prr_man,
                Coordinates.NATURAL,
            )
            return self.join_conjugated(likelihood, standard)
        return self._rotated(loadings, observable, likelihood)

    def _rotated(self, loadings: Array, observable: Natural, likelihood: Natural) -> Natural:
        r"""The latents rotated so that the posterior precision is diagonal, or isotropic.

        With eigenvalues $m$ and eigenvectors $U$ of $\Theta^T \Sigma \Theta$, latents with prior
        precision $p = a^2$ and loadings $W U \mathrm{diag}(a)$ have the same $p(x)$, and posterior
        precision $a^2 (1 + m)$: $a = 1$ will do for `Diagonal`, and
        $a^2 = \lambda / (1 + m)$ for `Scale`, here with unit prior variance on average.
        """
        rho, _ = self.conjugation_parameters(likelihood)
        values, vectors = jnp.linalg.eigh(2 * rho.shape)
        scales = jnp.ones_like(values)
        if self.pst_man.covariance_structure == Scale():
            scales = jnp.sqrt(jnp.mean(1 + values) / (1 + values))
        likelihood = self._scaled_likelihood(loadings @ vectors * scales[None], observable)
        prior = LocationShape(
            jnp.zeros_like(scales),
            -0.5 * jnp.diag(scales**2),
            self.prr_man,
            Coordinates.NATURAL,
        )
        return self.join_conjugated(likelihood, prior)

    def _scaled_likelihood(self, loadings: Array, observable: Natural) -> Natural:
        structure = self.obs_man.covariance_structure
        rows = structure.apply(-2 * observable.shape, loadings.T)
        return self.likelihood_from_rows(observable, rows)

    def regression(self, transposed_loadings: Array, offset: Array, noise: Array) -> Natural:
        """The likelihood with these standard parameters, of arrays of the right shapes."""
        observable = self.obs_man.from_moments(offset, noise)
        precision = -2 * observable.shape
        rows = self.obs_man.covariance_structure.apply(precision, transposed_loadings)
        return self.likelihood_from_rows(observable, rows)

    def likelihood_from_rows(self, observable: Natural, rows: Array) -> Natural:
        """The likelihood with this offset, and this (latent x observable) interaction."""
        columns = VectorPoint(rows, self.int_man.cod_man, Coordinates.NATURAL)
        interaction = LinearMapPoint((columns,), self.int_man, Coordinates.NATURAL)
        return self.make_likelihood(observable, interaction)

    @property
    def _structures(self) -> Any:
        return self.obs_man.covariance_structure, self.pst_man.covariance_structure


@substitute_likelihood.register
def _(
    model: LinearGaussianModel, likelihood: Natural, scale: Any, shift: Any
) -> tuple[Natural, Natural]:
    rows = likelihood.interaction.rows[0].values
    observable = substitute(model.obs_man, likelihood.observable, scale, shift)
    scaled = jax.vmap(lambda row: scale_location(row, scale))(rows)
    rho = zeros_like(model.pst_man, likelihood.observable)
    if shift is not None:
        location = rows @ jnp.asarray(shift, rows.dtype)
        rho = LocationShape(location, rho.shape, model.pst_man, Coordinates.NATURAL)
    return model.likelihood_from_rows(observable, scaled), rho


@substitute_cause.register
def _(model: LinearGaussianModel, likelihood: Natural, scale: Any, shift: Any) -> Natural:
    rows = likelihood.interaction.rows[0].values
    columns = jax.vmap(lambda column: scale_location(column, scale), 1, 1)(rows)
    observable = likelihood.observable
    if shift is not None:
        observable = model.observable_at(likelihood, jnp.asarray(shift, rows.dtype))
    return model.likelihood_from_rows(observable, columns)


@standardizing_map.register
def _(model: LinearGaussianModel, marginal: Mean) -> tuple[Array, Array]:
    """The mean, and the factor of the covariance that the posterior's structure admits."""
    structure, mean = model.pst_man.covariance_structure, marginal.location
    moment = marginal.shape - structure.cross_moment(mean[None], mean[None])
    covariance = structure.matrix_from_moment(moment, model.pst_man.data_dim)
    return structure.standardizing_scale(covariance), mean


@channel.register
def _(model: LinearGaussianModel, likelihood: Natural) -> Channel:
    offset, noise = joined_moments(model.obs_man, likelihood.observable)
    return Channel(model.loadings_of(likelihood), offset, noise)


@embed_observable.register
def _(model: LinearGaussianModel, embedding: LinearEmbedding) -> LinearGaussianModel:
    if embedding.sub_man != model.obs_man:
        raise TypeError(
            f"embed_observable takes an embedding of {model.obs_man}, got one of "
            f"{embedding.sub_man}."
        )
    family: Any = embedding.amb_man
    return LinearGaussianModel(family, model.pst_man)


def solve_wide(structure: CovarianceStructure, factor: Array, right: Array) -> Array:
    """`solve` by a product, whose columns may lie on several devices; a solve would gather them."""
    return structure.solve(factor, jnp.eye(len(right), dtype=right.dtype)) @ right


def factor_analysis(obs_dim: int, lat_dim: int) -> LinearGaussianModel:
    """Factor analysis: a linear Gaussian model with diagonal noise and a full posterior."""
    return LinearGaussianModel(Normal(obs_dim, Diagonal()), Normal(lat_dim))


def principal_component_analysis(obs_dim: int, lat_dim: int) -> LinearGaussianModel:
    """Probabilistic principal component analysis: isotropic noise and a full posterior.

    **Source:** Tipping and Bishop, Probabilistic Principal Component Analysis (1999).
    """
    return LinearGaussianModel(Normal(obs_dim, Scale()), Normal(lat_dim))
