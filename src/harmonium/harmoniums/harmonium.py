"""Harmoniums: exponential families of an observable and a latent variable."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.checks import require
from harmonium.exponential_family.evidence import is_whole
from harmonium.exponential_family.generative import Gibbs
from harmonium.exponential_family.mask import check_mask
from harmonium.geometry.affine_map import AffineMap, AffinePoint
from harmonium.geometry.embedding import IdentityEmbedding, RestrictionEmbedding
from harmonium.geometry.linear_map import InteractionMap
from harmonium.geometry.manifold import Manifold
from harmonium.geometry.point import Coordinates, Mean, Natural, Point, gradient
from harmonium.geometry.product import check_parts, ravel_parts, unravel_parts
from harmonium.geometry.structure import AnyArray, Structure, cached_property

if TYPE_CHECKING:  # type checkers would take abstract variables for dataclass fields
    from typing import ClassVar as AbstractVar
else:
    from equinox import AbstractVar


class Joint(NamedTuple):
    """A joint observation of a harmonium: what is observed and what is latent.

    The latent of a hierarchy is itself a `Joint`.
    """

    observable: Any
    latent: Any


class HarmoniumPoint(Point):
    r"""A point of a harmonium.

    **Fields:** `observable`, `interaction` and `latent`, points of `obs_man`, `int_man` and
    `pst_man`, and the static `manifold` and `coordinates`. In natural coordinates they are
    $\theta_X$, $\Theta_{XZ}$ and $\theta_Z$; in mean coordinates the expectations of $s_X(x)$,
    $s_X(x) \otimes s_Z(z)$ and $s_Z(z)$.
    """

    observable: Point
    interaction: Point
    latent: Point
    manifold: Structure = eqx.field(static=True)
    coordinates: Coordinates = eqx.field(static=True)

    def __check_init__(self):
        harmonium: Any = self.manifold
        check_parts(self, (self.observable, self.interaction, self.latent), harmonium.parts)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading axes of the parts."""
        return self.observable.batch_shape


class Harmonium(Gibbs):
    r"""A joint exponential family of observables $x$ and latents $z$ with a linear interaction.

    $\log p(x, z) = \theta_X \cdot s_X(x) + \theta_Z \cdot s_Z(z) + s_X(x) \cdot \Theta_{XZ} \cdot
    s_Z(z) + \log h_X(x) + \log h_Z(z) - \psi(\theta)$, where $s_X$ and $s_Z$ are the sufficient
    statistics of `obs_man` and `pst_man`, $h_X$ and $h_Z$ their base measures, and
    $\Theta_{XZ}$ a linear map in `int_man`. Both conditionals are in these families: the likelihood
    $p(x|z)$ has natural parameters $\theta_X + \Theta_{XZ} s_Z(z)$, the posterior $p(z|x)$ has
    $\theta_Z + \Theta_{XZ}^T s_X(x)$.

    A joint observation is a [`harmonium.Joint`][].
    """

    obs_man: AbstractVar[Any]
    int_man: AbstractVar[InteractionMap]
    pst_man: AbstractVar[Any]

    @abstractmethod
    def message(
        self, likelihood: Natural, x: Any, observed: Any
    ) -> tuple[Natural, Float[Array, ""]]:
        r"""What an observation, of which parts may be hidden, says about the latent.

        Mathematically, the $(\rho, \chi)$ for which, for all $z$,

        $$\log \int \exp(s(x) \cdot (\theta_X + \Theta_{XZ} s_Z(z)))\, h(x_u \mid x_o)\, dx_u
        = \rho \cdot s_Z(z) + \chi.$$

        If all is observed, $\rho = \Theta_{XZ}^T s_X(x)$ and $\chi = \theta_X \cdot s_X(x)$; if
        nothing is, they are the conjugation parameters. Harmoniums that are not conjugated have the
        message of an observation of which all is observed only.

        **Arguments:**

        - `likelihood`: natural, as `likelihood_function` returns it.
        - `x`: one observation of `obs_man`; `None` where parts of it are hidden.
        - `observed`: what of the rest is observed, of the form `obs_man.mask`, `None` for all.

        **Returns:** $\rho$, a natural point of `pst_man`, or of `prr_man` if something is hidden;
        and $\chi$, a number.
        """

    @cached_property
    def pst_prr_emb(self) -> RestrictionEmbedding:
        """The embedding of the posterior's latent manifold in the prior's.

        A hook of models with a restricted posterior; the identity by default.
        """
        return IdentityEmbedding(self.pst_man)

    def condition(self, point: Natural, x: Any, observed: Any) -> tuple[Natural, Float[Array, ""]]:
        """The natural parameters of the latent given what is observed, without checks, and chi."""
        likelihood = self.make_likelihood(point.observable, point.interaction)
        rho, chi = self.message(likelihood, x, observed)
        latent = point.latent if is_whole(x, observed) else self.pst_prr_emb.embed(point.latent)
        return latent + rho, chi

    @cached_property
    def parts(self) -> tuple[Manifold, Manifold, Manifold]:
        """The observable, interaction and latent manifolds."""
        return (self.obs_man, self.int_man, self.pst_man)

    @cached_property
    def lkl_man(self) -> AffineMap:
        """The manifold of likelihoods."""
        return AffineMap(self.obs_man, self.int_man)

    @property
    def dim(self) -> int:
        """The sum of the dimensions of the parts."""
        return sum(part.dim for part in self.parts)

    def point(self, observable: Point, interaction: Point, latent: Point) -> Point:
        """The point with these parts, in their coordinates."""
        return HarmoniumPoint(observable, interaction, latent, self, observable.coordinates)

    def zeros(self, coordinates: Coordinates = Coordinates.NATURAL) -> Point:
        return self.point(*(part.zeros(coordinates) for part in self.parts))

    def ravel(self, point: Point) -> Float[Array, " {self.dim}"]:
        self.check_single(point)
        return ravel_parts(self.parts, (point.observable, point.interaction, point.latent))

    def unravel(
        self, vector: Float[AnyArray, " {self.dim}"], coordinates: Coordinates = Coordinates.NATURAL
    ) -> Point:
        return self.point(*unravel_parts(self.parts, vector, coordinates))

    @property
    def observation(self) -> Any:
        """A `Joint` of one observation of `obs_man` and one of `pst_man`."""
        return Joint(self.obs_man.observation, self.pst_man.observation)

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return self.obs_man.in_support(x.observable) & self.pst_man.in_support(x.latent)

    def sufficient_statistic(self, x: Any) -> Mean:
        x = self.check_form(x, batch=False)
        return gradient(lambda point: self.energy(point, x))(self.zeros())

    def energy(self, point: Natural, x: Any) -> Float[Array, ""]:
        latent, chi = self.condition(point, x.observable, None)
        return self.pst_man.energy(latent, x.latent) + chi

    def log_base_measure(self, x: Any) -> Float[Array, ""]:
        observable = self.obs_man.log_base_measure(x.observable)
        return observable + self.pst_man.log_base_measure(x.latent)

    def likelihood_function(self, point: Natural) -> Natural:
        """The likelihood as an affine map from latents to natural points of `obs_man`."""
        self.check_single(point)
        return self.make_likelihood(point.observable, point.interaction)

    def likelihood_at(self, point: Natural, latent: Any) -> Natural:
        r"""The natural parameters $\theta_X + \Theta_{XZ} s_Z(z)$ of $p(x|z)$ at one latent $z$."""
        latent = self.pst_man.check_form(latent, batch=False, like=point)
        latent = require(
            latent,
            self.pst_man.in_support(latent),
            f"this latent is outside the support of {self.pst_man}: NaN, infinite or out of range.",
        )
        return self.lkl_man.apply(self.likelihood_function(point), latent)

    def posterior_at(self, point: Natural, x: Any, observed: Any = None) -> Natural:
        r"""The natural parameters $\theta_Z + \Theta_{XZ}^T s_X(x)$ of $p(z|x)$ at one $x$.

        **Arguments:**

        - `point`: natural.
        - `x`: one observation of `obs_man`.
        - `observed`: what of it is observed, of the form `obs_man.mask`: truth values, one for each
            entry of a vector of reals, one for a category, a count, and so on, in the structure of
            the observation. All of it by default.

        **Returns:** a natural point of `pst_man`, or, given a mask, of `prr_man`.
        """
        self.check_single(point)
        x = self.obs_man.check_form(x, batch=False, like=point)
        if observed is not None:
            observed = check_mask(self.obs_man, observed, batch=False)
            x = self.obs_man.conceal(x, observed)
        return self.condition(point, x, observed)[0]

    def gibbs_step(self, key: PRNGKeyArray, point: Natural, x: Any) -> Joint:
        """One sweep of the Gibbs sampler: a new observable given the latent, then a new latent.

        **Arguments:**

        - `key`: a JAX random key.
        - `point`: natural.
        - `x`: a `Joint`, the state of the chain, of which only the latent is used.

        **Returns:** the next `Joint`.
        """
        observable_key, latent_key = jax.random.split(key)
        x = self.check_form(x, batch=False, like=point)
        likelihood = self.lkl_man.apply(self.likelihood_function(point), x.latent)
        observable = self.obs_man.sample_one(observable_key, likelihood)
        posterior = self.posterior_at(point, observable)
        return Joint(observable, self.pst_man.sample_one(latent_key, posterior))

    def substitute(self, point: Natural, scale: Any, shift: Any) -> Natural:
        r"""The model of $y$, where $x = B y + c$ is observed, with the same latents.

        Mathematically, $y$ is substituted in the observable and the interaction, and the new latent
        parameters are those of the posterior at $x = c$, as far as parts of it are shifted at all.
        """
        self.check_single(point)
        observable = self.obs_man.substitute(point.observable, scale, shift)
        interaction = self.int_man.substitute_codomain(point.interaction, scale, shift)
        return self.point(observable, interaction, self._latent_at(point, shift))

    def _latent_at(self, point: Natural, shift: Any) -> Natural:
        """The posterior at a shift of some parts of the observable, less what the others say."""
        if shift is None:
            return point.latent
        origin = self.obs_man.harmless  # at which real vectors are zero, and say nothing
        likelihood = self.likelihood_function(point)
        at_shift, at_origin = (
            self.message(likelihood, self.obs_man.check_form(x, False, point), None)[0]
            for x in (_replace(origin, shift), origin)
        )
        return point.latent + at_shift - at_origin

    def substitute_latent(self, point: Natural, scale: Any, shift: Any) -> Natural:
        r"""The model with latents $y$, where $z = B y + c$, and the same observables.

        Mathematically, $y$ is substituted in the latent and the interaction, and the new observable
        parameters are those of the likelihood at $z = c$. Where $z$ is the latent of a hierarchy,
        this concerns its interacting part.
        """
        self.check_single(point)
        latent = self.pst_man.substitute(point.latent, scale, shift)
        interaction = self.int_man.substitute_domain(point.interaction, scale)
        observable = self.int_man.translate_at(point.observable, point.interaction, shift)
        return self.point(observable, interaction, latent)

    def make_likelihood(self, observable: Point, interaction: Point) -> Point:
        """The likelihood with this offset and this linear part, a point of `lkl_man`."""
        return AffinePoint(observable, interaction, self.lkl_man, observable.coordinates)


def as_batch(tree: Any) -> Any:
    """A batch of one: every array with a leading axis of length 1."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree)


def first_of(tree: Any) -> Any:
    """The first of a batch."""
    return jax.tree.map(lambda leaf: leaf[0], tree)


def _replace(observation: Any, shift: Any) -> Any:
    """An observation with shifts in the place of those parts that have one."""
    if shift is None:
        return observation
    if isinstance(shift, tuple):
        return tuple(_replace(*pair) for pair in zip(observation, shift, strict=True))
    return shift
