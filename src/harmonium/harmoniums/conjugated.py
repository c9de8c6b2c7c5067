"""Conjugated harmoniums: priors, duality, sampling and M-steps, derived once for all models."""

from abc import abstractmethod
from typing import Any

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from harmonium.exponential_family import duality
from harmonium.exponential_family.checks import all_close, require
from harmonium.geometry.embedding import (
    IdentityEmbedding,
    LinearEmbedding,
)
from harmonium.geometry.point import Coordinates, Mean, Natural
from harmonium.harmoniums.harmonium import Joint
from harmonium.harmoniums.inference import ExactInference


class Conjugated(ExactInference):
    r"""A harmonium whose prior has the form of its posterior, so that all inference is exact.

    Mathematically, conjugation means that there are parameters $\rho$ and $\chi$ with
    $\psi_X(\theta_X + \Theta_{XZ} s_Z(z)) = \rho \cdot s_Z(z) + \chi$ for all $z$. With the
    embedding $e$ of the posterior's latent manifold into the prior's, then

    - the prior $p(z)$ has natural parameters $e(\theta_Z) + \rho$,
    - $\psi(\theta) = \psi_Z(e(\theta_Z) + \rho) + \chi$,
    - $\log p(x) = \theta_X \cdot s_X(x) + \log h_X(x) + \psi_{Z|X}(\theta_Z + \Theta_{XZ}^T
      s_X(x)) - \psi(\theta)$.

    A model supplies `obs_man`, `int_man`, `pst_man`, the `message` of an observation of which all,
    parts or nothing may be observed, and `likelihood_to_natural`; everything else follows here, at
    any depth, as `pst_man` may be a conjugated harmonium itself.

    **Source:** Sokoloski, A Unified Theory of Exact Inference and Learning in Exponential Family
    Latent Variable Models (arXiv 2404.19501).
    """

    # --- what a model supplies

    def conjugation_parameters(self, likelihood: Natural) -> tuple[Natural, Float[Array, ""]]:
        r"""The conjugation parameters $(\rho, \chi)$ of a likelihood: the message of nothing.

        **Arguments:**

        - `likelihood`: an affine map, as `likelihood_function` returns it.

        **Returns:** $\rho$, a natural point of `prr_man`, and the scalar $\chi$.
        """
        self.lkl_man.check_single(likelihood)
        return self.message(likelihood, None, None)

    @abstractmethod
    def likelihood_to_natural(self, point: Mean, start: Natural | None = None) -> Natural:
        """The likelihood that fits the mean parameters best: the M-step for $p(x|z)$.

        Only called where `is_closed_form`. With a likelihood to start from, one that fits at least
        as well as it, by `obs_man.improve` where it would be by `obs_man.to_natural`.
        """

    @property
    @abstractmethod
    def is_closed_form(self) -> bool:
        """Whether the M-step for $p(x|z)$ is one of `obs_man`, or a formula."""

    @property
    def is_exact(self) -> bool:
        """Whether the M-step has a closed form at every level."""
        closed_form = self.is_symmetric and self.is_closed_form
        return closed_form and self.obs_man.is_exact and self.pst_man.is_exact

    @abstractmethod
    def embed_observable(self, embedding: LinearEmbedding) -> "Conjugated":
        """The same model with its observable manifold embedded in a fuller one.

        **Arguments:**

        - `embedding`: of `obs_man` into the fuller manifold.
        """

    def standardizing_map(self, marginal: Mean) -> tuple[Any, Any] | None:
        """The $B$ and $c$ for which $y$ in $z = B y + c$ is standardised, if there is such a map.

        A performance hook of models whose interacting latents are real vectors or categories.

        **Arguments:**

        - `marginal`: mean, the interacting latent's marginal in the prior, on `pst_man`.

        **Returns:** what `substitute_latent` takes, or `None` where there is no such map.
        """
        return None

    # --- priors

    @property
    def is_symmetric(self) -> bool:
        """Whether posterior and prior have the same latent manifold."""
        return isinstance(self.pst_prr_emb, IdentityEmbedding)

    @property
    def lat_man(self) -> Any:
        """The latent manifold of posterior and prior; `TypeError` where they differ."""
        if not self.is_symmetric:
            raise TypeError(
                f"the posterior's latent manifold {self.pst_man} and the prior's {self.prr_man} "
                "differ: ask for pst_man or prr_man."
            )
        return self.pst_man

    def prior(self, point: Natural) -> Natural:
        r"""The natural parameters $e(\theta_Z) + \rho$ of the prior $p(z)$, on `prr_man`."""
        rho, _ = self.conjugation_parameters(self.likelihood_function(point))
        return self.pst_prr_emb.embed(point.latent) + rho

    def join_conjugated(self, likelihood: Natural, prior: Natural) -> Natural:
        r"""The model with this likelihood and this prior: $e(\theta_Z) = prior - \rho$.

        **Arguments:**

        - `likelihood`: natural, as `likelihood_function` returns it.
        - `prior`: natural, on `prr_man`.

        **Raises:** an error if the posterior's manifold is restricted and `prior` minus $\rho$ does
        not lie in it.
        """
        self.prr_man.check_single(prior)
        rho, _ = self.conjugation_parameters(likelihood)
        latent = self.pst_prr_emb.restrict(prior - rho)
        if not self.is_symmetric:
            latent = require(
                latent,
                all_close(self.pst_prr_emb.embed(latent) + rho, prior, rho),
                f"this prior cannot be joined with this likelihood: the posterior would leave "
                f"{self.pst_man}. Use a fuller posterior manifold, rotate the latents, or let an "
                "initialiser choose the prior.",
            )
        return self.point(likelihood.observable, likelihood.interaction, latent)

    def join_dominated(self, likelihood: Natural, latent: Natural) -> Natural:
        r"""The model with this likelihood and a prior near $e$(`latent`), always valid.

        The prior is $e(latent) + \rho - e(d)$ for the smallest $d$ known to dominate $\rho$;
        where posterior and prior have one manifold, it is the given point.

        **Arguments:**

        - `likelihood`: natural, as `likelihood_function` returns it.
        - `latent`: natural, on `pst_man`.
        """
        self.pst_man.check_single(latent)
        rho, _ = self.conjugation_parameters(likelihood)
        latent = latent - self.pst_prr_emb.dominate(rho)
        return self.point(likelihood.observable, likelihood.interaction, latent)

    # --- duality

    def to_natural(self, point: Mean, start: Natural | None = None) -> Natural:
        r"""The natural parameters of a mean point: the maximum likelihood of complete data.

        In closed form where the model has one at each level, otherwise by the numerical dual.
        """
        self.check_single(point)
        if not (self.is_symmetric and self.is_closed_form):
            return duality.solve_dual(self, point, start)
        prior = None if start is None else self.prior(start)
        latent = self.pst_man.to_natural(point.latent, prior)
        return self.join_conjugated(self.likelihood_to_natural(point), latent)

    def improve(self, point: Mean, start: Natural) -> Natural:
        r"""A natural point for which $\theta \cdot \eta - \psi(\theta)$ is not below the start's.

        The M-step of EM: `to_natural` in closed form where there is one, and elsewhere a few damped
        steps from `start`.
        """
        self.check_single(point)
        if not (self.is_symmetric and self.is_closed_form):
            return duality.improve_dual(self, point, start)
        latent = self.pst_man.improve(point.latent, self.prior(start))
        likelihood = self.likelihood_to_natural(point, self.likelihood_function(start))
        return self.join_conjugated(likelihood, latent)

    def natural_start(self, point: Mean) -> Natural:
        """Independent observables and latents with these means: no interaction."""
        observable = self.obs_man.to_natural(point.observable)
        interaction = self.int_man.zeros(Coordinates.NATURAL)
        return self.point(observable, interaction, self.pst_man.to_natural(point.latent))

    # --- sampling

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Joint:
        """Ancestral sampling: the latent from the prior, the observable from the likelihood."""
        latent_key, observable_key = jax.random.split(key)
        latent = self.prr_man.sample_one(latent_key, self.prior(point))
        likelihood = self.lkl_man.apply(self.likelihood_function(point), latent)
        return Joint(self.obs_man.sample_one(observable_key, likelihood), latent)

    def observable_sample(
        self, key: PRNGKeyArray, point: Natural, shape: tuple[int, ...] = ()
    ) -> Any:
        """Independent observations of `obs_man`; see `sample`."""
        return self.sample(key, point, shape).observable

    # --- latents, up to affine maps

    def standardize(self, point: Natural) -> Natural:
        """The same distribution of observables with standardised latents.

        Latents of linear Gaussian levels are identifiable up to affine maps that keep `pst_man`
        only. This picks the representative whose prior latent marginals have zero mean and, as far
        as these maps allow, unit covariance, at every level.
        """
        return self.standardize_under(point, self.to_mean(point).latent)
