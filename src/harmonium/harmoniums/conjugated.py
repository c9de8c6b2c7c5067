"""Conjugated harmoniums: everything that follows from messages, for all models at once."""

from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from harmonium.exponential_family import duality
from harmonium.exponential_family.base import Differentiable, average_of_rows
from harmonium.exponential_family.checks import (
    all_close,
    all_finite,
    check_support,
    flag_nan,
    flag_support,
    require,
)
from harmonium.exponential_family.chunks import BATCH_SIZE, map_chunks
from harmonium.exponential_family.compiled import batched
from harmonium.exponential_family.evidence import is_whole, value_and_mean
from harmonium.exponential_family.generative import Generative
from harmonium.exponential_family.outline import describe
from harmonium.exponential_family.partial import check_partial
from harmonium.geometry.embedding import IdentityEmbedding
from harmonium.geometry.point import Coordinates, Mean, Natural
from harmonium.harmoniums.batch_inference import (
    average_expectations,
    check_batch,
    check_rows,
    evidence_of,
    log_densities_of,
    log_density_of,
)
from harmonium.harmoniums.grouped import GroupedObservations
from harmonium.harmoniums.harmonium import Harmonium, Joint
from harmonium.harmoniums.latents import expected_vectors, posterior_top
from harmonium.harmoniums.standardize import standardize_under


class Conjugated(Harmonium, Differentiable, Generative):
    r"""A harmonium whose prior has the form of its posterior, so that all inference is exact.

    Mathematically, conjugation means that there are parameters $\rho$ and $\chi$ with
    $\psi_X(\theta_X + \Theta_{XZ} s_Z(z)) = \rho \cdot s_Z(z) + \chi$ for all $z$: the `message` of
    an observation of which nothing is observed. With the message of what is, and the embedding $e$
    of the posterior's latent manifold into the prior's, the evidence is, at any depth,

    $$f(\theta, x_o, z_o) = f_Z(e(\theta_Z) + \rho, z_o) + \chi,$$

    on the posterior's manifold (without $e$) if all of $x$ is observed. Hence

    - the prior $p(z)$ has natural parameters $e(\theta_Z) + \rho$ with $\rho$ of nothing observed,
    - $\psi(\theta) = \psi_Z(e(\theta_Z) + \rho) + \chi$,
    - $\log p(x_o) = f(\theta, x_o) - \psi(\theta) + \log h(x_o)$,
    - expected statistics given $x_o$, the E-step, are the gradient of $f(\theta, x_o)$.

    A model supplies `obs_man`, `int_man`, `pst_man`, the `message`, `observable_at`, which is the
    likelihood at one latent, the M-step `likelihood_to_natural`, and random starts; everything else
    follows here, as `pst_man` may be a conjugated harmonium itself.

    **Source:** Sokoloski, A Unified Theory of Exact Inference and Learning in Exponential Family
    Latent Variable Models (arXiv 2404.19501).
    """

    @abstractmethod
    def likelihood_to_natural(self, point: Mean, start: Natural | None = None) -> Natural:
        """The likelihood that fits the mean parameters best: the M-step for $p(x|z)$.

        Only called where `has_closed_form_likelihood`. With a likelihood to start from, one that
        fits at least as well, by `obs_man.improve` where it would be by `obs_man.to_natural`.
        """

    @property
    def has_closed_form_likelihood(self) -> bool:
        """Whether the M-step for $p(x|z)$ is one of `obs_man`, or a formula; a hook, yes."""
        return True

    @property
    def is_jointly_gaussian(self) -> bool:
        """Whether two moments of the data are all that matters; a hook, no by default."""
        return False

    def __repr__(self) -> str:
        return describe(self)

    # --- evidence

    def evidence_kernel(self, point: Natural, x: Any, observed: Any) -> Float[Array, ""]:
        x, z = (None, None) if x is None else x
        x_mask, z_mask = (None, None) if observed is None else observed
        latent, rho, chi = self._latent_and_message(point, x, x_mask)
        family: Any = latent.manifold
        if is_whole(x, x_mask):
            return family.translated_evidence(latent, rho, z, z_mask) + chi
        # Of hidden parts precisions depend on the mask, so that nothing is shared by expanding.
        return family.evidence_kernel(latent + rho, z, z_mask) + chi

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return self.evidence_kernel(point, None, None)

    # --- priors

    @property
    def prr_man(self) -> Any:
        """The manifold of the prior over latents."""
        return self.pst_prr_emb.amb_man

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

    def conjugation_parameters(self, likelihood: Natural) -> tuple[Natural, Float[Array, ""]]:
        r"""The conjugation parameters $(\rho, \chi)$ of a likelihood: the message of nothing.

        **Arguments:**

        - `likelihood`: an affine map, as `likelihood_function` returns it.

        **Returns:** $\rho$, a natural point of `prr_man`, and the scalar $\chi$.
        """
        self.lkl_man.check_single(likelihood)
        return self.message(likelihood, None, None)

    def prior(self, point: Natural) -> Natural:
        r"""The natural parameters $e(\theta_Z) + \rho$ of the prior $p(z)$, on `prr_man`."""
        self.check_single(point)
        return self.condition(point, None, None)[0]

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

    @property
    def is_exact(self) -> bool:
        """Whether the M-step has a closed form at every level."""
        closed_form = self.is_symmetric and self.has_closed_form_likelihood
        return closed_form and self.obs_man.is_exact and self.pst_man.is_exact

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        r"""The natural parameters of a mean point: the maximum likelihood of complete data.

        In closed form where the model has one at each level, otherwise by the numerical dual.
        """
        if not (self.is_symmetric and self.has_closed_form_likelihood):
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
        if self.is_exact:
            return self.to_natural(point)
        if not (self.is_symmetric and self.has_closed_form_likelihood):
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
        likelihood = self.observable_at(self.likelihood_function(point), latent)
        return Joint(self.obs_man.sample_one(observable_key, likelihood), latent)

    def observable_sample(
        self, key: PRNGKeyArray, point: Natural, shape: tuple[int, ...] = ()
    ) -> Any:
        """Independent observations of `data_man`; see `sample`."""
        return self.data_of(self.sample(key, point, shape))

    # --- densities of data

    def log_observable_density(
        self, point: Natural, x: Any, observed: Any = None
    ) -> Float[Array, ""]:
        r"""The exact log density $\log p(x)$ of one observation, the latents summed out.

        **Arguments:**

        - `point`: natural.
        - `x`: one observation of `data_man`.
        - `observed`: what of it is observed, see `posterior_at`; the density is that of this part.
        """
        self.check_single(point)
        x, observed = check_partial(self.data_man, x, observed, like=point)
        flag_nan(x)
        return log_density_of(self, point, x, observed) - self.log_partition_function(point)

    def log_observable_densities(
        self, point: Natural, xs: Any, batch_size: int = BATCH_SIZE, observed: Any = None
    ) -> Float[Array, " n"]:
        """The exact log densities of a batch of N observations.

        **Arguments:**

        - `point`: natural.
        - `xs`: a batch of N observations of `data_man`, or what `group_observations` makes of one.
        - `batch_size`: how many are processed at once.
        - `observed`: N masks of what is observed, see `posterior_at`; all of it by default.

        **Returns:** an array (N,), in nats.
        """
        self.check_single(point)
        xs = check_batch(self, point, xs, observed, scored=True)
        return log_densities_of(self, point, xs, batch_size)

    def average_log_observable_density(
        self,
        point: Natural,
        xs: Any,
        weights: Any = None,
        batch_size: int = BATCH_SIZE,
        observed: Any = None,
    ) -> Float[Array, ""]:
        """The (weighted) average of the log densities of a batch, in nats per observation."""
        self.check_single(point)
        xs = check_batch(self, point, xs, observed, scored=True)
        return average_of_rows(log_densities_of, self, point, xs, weights, batch_size)

    # --- posterior statistics and EM

    def posterior_statistics(self, point: Natural, x: Any, observed: Any = None) -> Mean:
        r"""Expected joint statistics given one observation: $s_X(x)$, $s_X(x) \otimes E[s_Z|x]$,
        $E[s_Z|x]$, as a mean point; with a mask, expectations of what is not observed, too.
        """
        self.check_single(point)
        x, observed = check_partial(self.data_man, x, observed, like=point)
        flag_support(self.data_man, x)
        return value_and_mean(lambda p: evidence_of(self, p, x, observed), point)[1]

    def mean_posterior_statistics(
        self,
        point: Natural,
        xs: Any,
        weights: Any = None,
        batch_size: int = BATCH_SIZE,
        observed: Any = None,
    ) -> Mean:
        """The (weighted) average of `posterior_statistics` over a batch: the E-step.

        **Arguments:**

        - `point`: natural.
        - `xs`: a batch of N observations of `data_man`, or what `group_observations` makes of one.
        - `weights`: (N,), not negative, need not be normalised; equal ones by default.
        - `batch_size`: how many observations are processed at once.
        - `observed`: N masks of what is observed, see `posterior_at`; all of it by default.

        **Returns:** a mean point of the model.
        """
        self.check_single(point)
        xs = check_batch(self, point, xs, observed)
        return average_expectations(self, point, xs, weights, batch_size)[0]

    def expectation(
        self,
        point: Natural,
        xs: Any,
        weights: Any = None,
        batch_size: int = BATCH_SIZE,
        observed: Any = None,
    ) -> tuple[Mean, Float[Array, ""]]:
        r"""The E-step, `mean_posterior_statistics`, and the average log density it comes with.

        **Arguments:** as `mean_posterior_statistics`.

        **Returns:** a mean point of the model, and the average of $\log p(x) - \log h(x)$, that is
        without the base measure, on which parameters have no effect.
        """
        self.check_single(point)
        xs = check_batch(self, point, xs, observed)
        return average_expectations(self, point, xs, weights, batch_size)

    def expectation_maximization(
        self,
        point: Natural,
        xs: Any,
        weights: Any = None,
        batch_size: int = BATCH_SIZE,
        observed: Any = None,
    ) -> Natural:
        r"""One step of EM, which never lowers the likelihood of what is observed.

        Mathematically, `to_natural` of the average posterior statistics, or a few damped steps
        towards it where it has no closed form. Latents are then standardised.

        **Arguments:** a natural point, and the data as `mean_posterior_statistics` takes them.

        **Returns:** a natural point of the model.

        **Raises:** an error for observations outside the support, bad weights, and where the result
        is degenerate: not finite, as when a component loses all its data.
        """
        self.check_single(point)
        xs = check_batch(self, point, xs, observed)
        rows = xs.rows if isinstance(xs, GroupedObservations) else xs
        point = check_support(self.data_man, point, rows)
        return _em_step(self, point, xs, weights, batch_size)

    def maximization(self, mean: Mean, start: Natural) -> Natural:
        """The M-step with standardised latents; see `improve`, which leaves them as they are.

        **Arguments:**

        - `mean`: the result of the E-step.
        - `start`: natural, the point that it was made with.
        """
        result = self.improve(mean, start)
        return standardize_under(self, result, mean if self.is_exact else self.to_mean(result))

    # --- latents

    def standardize(self, point: Natural) -> Natural:
        """The same distribution of observables with standardised latents.

        Latents of linear Gaussian levels are identifiable up to affine maps that keep `pst_man`
        only. This picks the representative whose prior latent marginals have zero mean and, as far
        as these maps allow, unit covariance, at every level.
        """
        return standardize_under(self, point, self.to_mean(point))

    def expected_latents(
        self, point: Natural, xs: Any, batch_size: int = BATCH_SIZE, observed: Any = None
    ) -> Any:
        """What a batch of observations says about the lowest latents, on average.

        **Arguments:** as `log_observable_densities`.

        **Returns:** for linear Gaussian lower levels an array (N, latent dimension) of expected
        positions; for categories the probabilities of all but the first; for latents side by side
        a tuple.
        """
        self.check_single(point)
        rows = check_rows(self, point, xs, observed)
        return _expected_vectors(self, point, rows, batch_size)

    def posterior_probabilities(
        self, point: Natural, x: Any, observed: Any = None
    ) -> Float[Array, " k"]:
        """The probabilities of the categories at the top of the hierarchy, given one observation.

        **Arguments:** as `posterior_at`.

        **Raises:** `TypeError` if there is no categorical at the top.
        """
        return posterior_top(self, point, x, observed)

    def assign(
        self, point: Natural, xs: Any, batch_size: int = BATCH_SIZE, observed: Any = None
    ) -> Int[Array, " n"]:
        """The most probable category at the top of the hierarchy, for each of N observations.

        **Arguments:** as `log_observable_densities`.
        """
        self.check_single(point)
        rows = check_rows(self, point, xs, observed, always=True)
        return _assignments(self, point, rows, batch_size)


@batched
def _em_step(model: Any, point: Natural, xs: Any, weights: Any, batch_size: int) -> Natural:
    mean, _ = average_expectations(model, point, xs, weights, batch_size)
    result = model.maximization(mean, point)
    return require(
        result,
        all_finite(result),
        f"the EM step of {model} is degenerate: a covariance is singular or a component has no "
        "data left. Remove constant columns, use fewer components, or add weighted "
        "pseudo-observations.",
    )


@batched
def _expected_vectors(model: Any, point: Natural, xs: Any, batch_size: int) -> Any:
    expected = jax.vmap(lambda row: expected_vectors(model, point, *row))
    return map_chunks(expected, xs, batch_size)


@batched
def _assignments(model: Any, point: Natural, xs: Any, batch_size: int) -> Int[Array, " n"]:
    def assign(row: Any) -> Array:
        return jnp.argmax(posterior_top(model, point, *row))

    return map_chunks(jax.vmap(assign), xs, batch_size)
