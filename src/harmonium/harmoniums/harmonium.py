"""Harmoniums: exponential families of an observable and a latent variable."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.base import ExponentialFamily
from harmonium.exponential_family.checks import (
    describe_support,
    find_outside,
    flag_support,
    require,
)
from harmonium.exponential_family.evidence import is_whole
from harmonium.exponential_family.outline import (
    Dependence,
    dependences,
    interactions,
    variables,
)
from harmonium.exponential_family.partial import check_partial
from harmonium.geometry.affine_map import AffineMap, AffinePoint
from harmonium.geometry.embedding import IdentityEmbedding, RestrictionEmbedding
from harmonium.geometry.manifold import Manifold
from harmonium.geometry.point import Coordinates, Mean, Natural, Point, gradient
from harmonium.geometry.product import Composite, CompositePoint
from harmonium.geometry.structure import Structure, cached_property

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


class HarmoniumPoint(CompositePoint):
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

    @property
    def parts(self) -> tuple[Point, Point, Point]:
        """The three points."""
        return (self.observable, self.interaction, self.latent)


class Harmonium(Composite, ExponentialFamily):
    r"""A joint exponential family of observables $x$ and latents $z$ with a linear interaction.

    $\log p(x, z) = \theta_X \cdot s_X(x) + \theta_Z \cdot s_Z(z) + s_X(x) \cdot \Theta_{XZ} \cdot
    s_Z(z) + \log h_X(x) + \log h_Z(z) - \psi(\theta)$, where $s_X$ and $s_Z$ are the sufficient
    statistics of `obs_man` and `pst_man`, $h_X$ and $h_Z$ their base measures, and
    $\Theta_{XZ}$ a linear map in `int_man`. Both conditionals are in these families: the likelihood
    $p(x|z)$ has natural parameters $\theta_X + \Theta_{XZ} s_Z(z)$, the posterior $p(z|x)$ has
    $\theta_Z + \Theta_{XZ}^T s_X(x)$.

    A joint observation is a [`harmonium.Joint`][]. The data are its leaves that are no latents: an
    observation of `obs_man`, or, where that is a harmonium itself, the data of that.
    """

    obs_man: AbstractVar[Any]
    int_man: AbstractVar[Manifold]
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

    @abstractmethod
    def observable_at(self, likelihood: Natural, latent: Any) -> Natural:
        r"""The natural parameters $\theta_X + \Theta_{XZ} s_Z(z)$ of $p(x|z)$.

        **Arguments:**

        - `likelihood`: natural, as `likelihood_function` returns it.
        - `latent`: one observation of `pst_man`.
        """

    @cached_property
    def pst_prr_emb(self) -> RestrictionEmbedding:
        """The embedding of the posterior's latent manifold in the prior's.

        A hook of models with a restricted posterior; the identity by default.
        """
        return IdentityEmbedding(self.pst_man)

    # --- points

    @cached_property
    def parts(self) -> tuple[Manifold, Manifold, Manifold]:
        """The observable, interaction and latent manifolds."""
        return (self.obs_man, self.int_man, self.pst_man)

    @cached_property
    def lkl_man(self) -> AffineMap:
        """The manifold of likelihoods."""
        return AffineMap(self.obs_man, self.int_man)

    def point(self, observable: Point, interaction: Point, latent: Point) -> Point:
        """The point with these parts, in their coordinates."""
        return HarmoniumPoint(observable, interaction, latent, self, observable.coordinates)

    def _assemble(self, points: tuple[Point, Point, Point], coordinates: Coordinates) -> Point:
        return HarmoniumPoint(*points, self, coordinates)

    # --- observations

    @property
    def observation(self) -> Any:
        """A `Joint` of one observation of `obs_man` and one of `pst_man`."""
        return Joint(self.obs_man.observation, self.pst_man.observation)

    @property
    def data_man(self) -> Any:
        """That of `obs_man`."""
        return self.obs_man.data_man

    def as_observation(self, data: Any) -> Joint:
        """A `Joint` with a hidden latent."""
        return Joint(self.obs_man.as_observation(data), None)

    def data_of(self, x: Joint) -> Any:
        return self.obs_man.data_of(x.observable)

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

    @property
    def mask(self) -> Joint:
        """A `Joint` of those of `obs_man` and `pst_man`: latents may be observed, too."""
        return Joint(self.obs_man.mask, self.pst_man.mask)

    # --- conditionals

    def likelihood_function(self, point: Natural) -> Natural:
        """The likelihood as an affine map from latents to natural points of `obs_man`."""
        self.check_single(point)
        return self.make_likelihood(point.observable, point.interaction)

    def make_likelihood(self, observable: Point, interaction: Point) -> Point:
        """The likelihood with this offset and this linear part, a point of `lkl_man`."""
        return AffinePoint(observable, interaction, self.lkl_man, observable.coordinates)

    def likelihood_at(self, point: Natural, latent: Any) -> Natural:
        r"""The natural parameters $\theta_X + \Theta_{XZ} s_Z(z)$ of $p(x|z)$ at one latent $z$."""
        latent = self.pst_man.check_form(latent, batch=False, like=point)
        rule = describe_support(self.pst_man)
        message = f"this latent is outside the support of {self.pst_man}: {rule}."
        latent = require(latent, self.pst_man.in_support(latent), message)
        return self.observable_at(self.likelihood_function(point), latent)

    def condition(self, point: Natural, x: Any, observed: Any) -> tuple[Natural, Float[Array, ""]]:
        """The natural parameters of the latent given what is observed, and chi, without checks.

        **Arguments:** `x` and `observed` as `message` takes them.
        """
        latent, rho, chi = self._latent_and_message(point, x, observed)
        return latent + rho, chi

    def _latent_and_message(
        self, point: Natural, x: Any, observed: Any
    ) -> tuple[Natural, Natural, Float[Array, ""]]:
        """The latent's parameters, on the manifold of the message about it; and the message."""
        likelihood = self.make_likelihood(point.observable, point.interaction)
        rho, chi = self.message(likelihood, x, observed)
        latent = point.latent if is_whole(x, observed) else self.pst_prr_emb.embed(point.latent)
        return latent, rho, chi

    def posterior_at(self, point: Natural, x: Any, observed: Any = None) -> Natural:
        r"""The natural parameters $\theta_Z + \Theta_{XZ}^T s_X(x)$ of $p(z|x)$ at one $x$.

        **Arguments:**

        - `point`: natural.
        - `x`: one observation of `data_man`.
        - `observed`: what of it is observed, of the form `data_man.mask`: truth values, one for
            each entry of a vector of reals, one for a category, a count, and so on, in the
            structure of the observation. All of it by default.

        **Returns:** a natural point of `pst_man`, or, where something is hidden, of `prr_man`.
        """
        self.check_single(point)
        x, observed = _check_datum(self, point, x, observed)
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
        likelihood = self.observable_at(self.likelihood_function(point), x.latent)
        observable = self.obs_man.sample_one(observable_key, likelihood)
        posterior, _ = self.condition(point, observable, None)
        return Joint(observable, self.pst_man.sample_one(latent_key, posterior))


def _check_datum(model: Any, point: Natural, x: Any, observed: Any) -> tuple[Any, Any]:
    """The observation of `obs_man` that one datum is, and its mask, checked."""
    x, observed = check_partial(model.data_man, x, observed, like=point)
    flag_support(model.data_man, x)
    shown = model.as_observation(x)
    if jax.tree.leaves(shown.latent):
        raise TypeError(
            f"given labels, what is known of other latents is no point of {model.pst_man}. Ask "
            "for posterior_statistics or posterior_probabilities."
        )
    mask = None if observed is None else model.as_observation(observed).observable
    return shown.observable, mask


@variables.register
def _(family: Harmonium, is_latent: bool = False) -> Joint:
    return Joint(variables(family.obs_man, is_latent), variables(family.pst_man, True))


@dependences.register
def _(family: Harmonium, tree: Joint) -> tuple[Dependence, ...]:
    """What is within the observables, these on the latents, and what is within the latents."""
    observables, latents = tree
    below, above = dependences(family.obs_man, observables), dependences(family.pst_man, latents)
    return below + interactions(family, latents, observables) + above


@describe_support.register
def _(family: Harmonium) -> str:
    return f"{describe_support(family.obs_man)}; {describe_support(family.pst_man)}"


@find_outside.register
def _(family: Harmonium, x: Any) -> tuple[str, Any, Any]:
    inside = bool(family.obs_man.in_support(x.observable))
    own = (family.pst_man, x.latent) if inside else (family.obs_man, x.observable)
    where, value, part = find_outside(*own)
    return f", {'latent' if inside else 'observable'}{where}", value, part
