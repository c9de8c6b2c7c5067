"""Exact marginals of harmoniums as distributions, conditionals on a category, and divergences."""

from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from harmonium.exponential_family.base import BATCH_SIZE, Differentiable
from harmonium.exponential_family.checks import require
from harmonium.exponential_family.generative import Generative
from harmonium.exponential_family.latent import find_top
from harmonium.exponential_family.outline import Dependence, all_pairs, describe
from harmonium.geometry.point import Natural
from harmonium.harmoniums.harmonium import Harmonium, Joint


class Channel(eqx.Module):
    """A linear Gaussian likelihood: `x = loadings y + offset + noise` for joined vectors.

    **Fields:** `loadings`, (n, m); `offset`, (n,); `noise`, (n, n), the covariance of the noise.
    """

    loadings: Float[Array, "n m"]
    offset: Float[Array, " n"]
    noise: Float[Array, "n n"]


class Estimate(NamedTuple):
    """A Monte Carlo estimate, and the standard deviation of its error."""

    estimate: Float[Array, ""]
    standard_error: Float[Array, ""]


class ExactMarginals(Harmonium, Differentiable, Generative):
    """A harmonium whose marginals over observables and latents are known exactly.

    What is observed side by side, as by `hm.Parallel`, is a tuple of vectors. Where its marginal is
    normal it is that of one vector, in which these are joined in their order.
    """

    # --- which variables there are

    def __repr__(self) -> str:
        return describe(self)

    def variables(self, is_latent: bool = False) -> Joint:
        """A `Joint` of the variables of `obs_man` and `pst_man`."""
        return Joint(self.obs_man.variables(is_latent), self.pst_man.variables(True))

    def dependences(self, variables: Joint) -> tuple[Dependence, ...]:
        """Of the observables on the latents, and what is within each."""
        observables, latents = variables
        within = self.obs_man.dependences(observables) + self.pst_man.dependences(latents)
        return self.interactions(latents, observables) + within

    def interactions(self, latents: Any, observables: Any) -> tuple[Dependence, ...]:
        """Which observables depend on which latents directly; a hook, by default all on all."""
        return all_pairs(latents, observables)

    # --- what conjugation supplies

    @property
    @abstractmethod
    def prr_man(self) -> Any:
        """The manifold of the prior over latents."""

    @abstractmethod
    def prior(self, point: Natural) -> Natural:
        """The natural parameters of the prior $p(z)$, on `prr_man`."""

    @abstractmethod
    def log_observable_densities(
        self, point: Natural, xs: Any, batch_size: int = BATCH_SIZE, observed: Any = None
    ) -> Float[Array, " n"]:
        """The exact log densities of a batch of N observations."""

    @abstractmethod
    def observable_sample(
        self, key: PRNGKeyArray, point: Natural, shape: tuple[int, ...] = ()
    ) -> Any:
        """Independent observations of `obs_man`."""

    # --- marginals and conditionals

    @abstractmethod
    def observable_distribution(self, point: Natural) -> tuple[Differentiable, Natural]:
        r"""The exact marginal $p(x)$ over the observables, as a distribution of its own.

        - Without a categorical at the top, for linear Gaussian models and whatever is built of
          them: a `hm.Normal` with full covariance. Its `log_density` is that of `x`.
        - With one, a `hm.Mixture` of the distributions of `x` given each category: normals for
          mixtures over linear Gaussian levels, a `hm.Product` of the parts for mixtures in
          parallel. Its `log_observable_density` is that of `x`. A mixture is its own answer.

        Where `x` is a tuple of vectors and (given the category) normal over linear Gaussian levels,
        the normal is that of one vector, in which they are joined in their order.

        **Arguments:**

        - `point`: natural.

        **Returns:** the family, and its natural point.

        **Raises:** `TypeError` if the marginal is in no such family. `log_observable_density` and
        `observable_sample` are exact nevertheless.
        """

    def condition_on(self, point: Natural, component: Any) -> tuple[Differentiable, Natural]:
        r"""The model given the category at the top: $p(x, y | k)$ of $p(x, y, k)$.

        For a mixture this is a component, for mixtures in parallel the product of their components,
        and for a hierarchy with one on top the levels below it, the component being the prior of
        the highest of them. With weights `top_probabilities`, the observable densities of all of
        these add up to that of the model.

        **Arguments:**

        - `point`: natural.
        - `component`: $k$, an integer from 0.

        **Returns:** the family or harmonium of what is left, and its natural point.

        **Raises:** `TypeError` if there is no categorical at the top or `component` is no integer,
        and an error if it is out of range.
        """
        self.check_single(point)
        family: Any = find_top(self, point).manifold
        component = family.check_form(component, batch=False)
        component = require(
            component,
            family.in_support(component),
            f"{self} has components 0 to {family.n_categories - 1}, there is no other.",
        )
        return self.select_component(point, component)

    def select_component(self, point: Natural, component: Any) -> tuple[Differentiable, Natural]:
        """`condition_on` without checks; a hook of models with a categorical at the top."""
        raise TypeError(f"{self} has no categorical latent variable at its top.")

    def transpose(self, point: Natural) -> tuple["ExactMarginals", Natural]:
        r"""The same joint distribution with observable and latent exchanged.

        A hook of linear Gaussian models, whose observable and latent are jointly normal. The
        posterior of one is the likelihood of the other, and so are their covariance structures;
        `Identity()` noise becomes `Scale()`, which a posterior may have.

        **Returns:** the model that observes $z$ and has the latent $x$, and its natural point.

        **Raises:** `TypeError` for other models: there is none in which $x$ would be conjugated.
        """
        self.check_single(point)
        raise TypeError(
            f"{self} can't be transposed: with its observable as latent, it would not be a "
            "conjugated harmonium. Linear Gaussian models can."
        )

    def channel(self, likelihood: Natural) -> Channel:
        """The likelihood in standard parameters; a hook of linear Gaussian models and their like.

        **Raises:** `TypeError` if it is not linear Gaussian.
        """
        raise TypeError(
            f"the likelihood of {self} is not linear in real latents with normal noise, so the "
            "marginal over the observables is in no family at hand. log_observable_density and "
            "observable_sample are exact nevertheless."
        )

    def joined_moments(self, point: Natural) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
        r"""Those of the observables: $W \mu + b$ and $W C W^T + \Sigma$."""
        self.check_single(point)
        channel = self.channel(self.likelihood_function(point))
        mean, covariance = self.prr_man.joined_moments(self.prior(point))
        spread = channel.loadings @ covariance @ channel.loadings.T
        return channel.loadings @ mean + channel.offset, spread + channel.noise

    # --- divergences between marginals

    def observable_relative_entropy(
        self, first: Natural, second: Natural, other: Any = None
    ) -> Float[Array, ""]:
        r"""The Kullback-Leibler divergence $D(p_1(x) \| p_2(x))$ of the observables, in nats.

        Mathematically, $\int p_1(x) \log (p_1(x) / p_2(x))\, dx$, in closed form, where the
        marginals are normal. It is at most `relative_entropy`, the divergence of the joints.

        **Arguments:**

        - `first`: natural, on this model.
        - `second`: natural, on the other one.
        - `other`: a conjugated harmonium of the same observables, by default this one.

        **Raises:** `TypeError` if a marginal is not normal (use
        `estimate_observable_relative_entropy`), or if they are of different dimensions.
        """
        other = self._check_pair(first, second, other)
        family, point = self._normal_marginal(first)
        other_family, other_point = other._normal_marginal(second)
        if family != other_family:
            raise TypeError(
                f"expected two models of the same observables, but their marginals are in {family} "
                f"and {other_family}."
            )
        return family.relative_entropy(point, other_point)

    def _check_pair(self, first: Natural, second: Natural, other: Any) -> "ExactMarginals":
        """The model of the second point."""
        other = self if other is None else other
        if not isinstance(other, ExactMarginals):
            raise TypeError(
                f"expected another conjugated harmonium of the same observables, got {other!r}. "
                "A family is one as hm.Mixture(family, 1)."
            )
        self.check_single(first)
        other.check_single(second)
        return other

    def _normal_marginal(self, point: Natural) -> tuple[Differentiable, Natural]:
        family, marginal = self.observable_distribution(point)
        if family.top_marginal(marginal) is not None:
            raise TypeError(
                f"the divergence between marginals of {self} has no closed form, as they are "
                "mixtures. Use estimate_observable_relative_entropy."
            )
        return family, marginal

    def estimate_observable_relative_entropy(
        self,
        key: PRNGKeyArray,
        first: Natural,
        second: Natural,
        n_samples: int,
        other: Any = None,
    ) -> Estimate:
        r"""A Monte Carlo estimate of $D(p_1(x) \| p_2(x))$, unbiased, for all models.

        Mathematically, the average of $\log p_1(x) - \log p_2(x)$, of which both are exact, over
        samples of $p_1$. Its gradients are unbiased estimates, too: samples are held fixed, and
        their weights follow the first point.

        **Arguments:**

        - `key`: a JAX random key.
        - `first`: natural, on this model.
        - `second`: natural, on the other one.
        - `n_samples`: the number of samples, at least two.
        - `other`: a conjugated harmonium of the same observables, by default this one.

        **Returns:** an `Estimate`, in nats. Where $p_2$ excludes a sample, both numbers are
        infinite.

        **Raises:** `TypeError` if observations of the two models have different forms, `ValueError`
        for less than two samples.
        """
        other = self._check_pair(first, second, other)
        if other.obs_man.observation != self.obs_man.observation:
            raise TypeError(
                f"expected two models of the same observables, but one is of {self.obs_man} and "
                f"one of {other.obs_man}."
            )
        if n_samples < 2:
            raise ValueError(f"a standard error needs at least two samples, got {n_samples}.")
        xs = jax.lax.stop_gradient(self.observable_sample(key, first, (n_samples,)))
        densities = self.log_observable_densities(first, xs)
        ratios = densities - other.log_observable_densities(second, xs)
        weights = jnp.exp(densities - jax.lax.stop_gradient(densities))  # ones, whose gradient acts
        estimate = jnp.mean(weights * ratios)
        error = jnp.std(ratios, ddof=1) / n_samples**0.5
        return Estimate(estimate, jnp.where(jnp.isfinite(estimate), error, jnp.inf))
