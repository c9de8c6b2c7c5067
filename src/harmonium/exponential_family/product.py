"""Products of families: independent observations of several kinds, or many of one kind."""

import functools
import operator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.affine import substitute
from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.generative import Generative
from harmonium.exponential_family.outline import Dependence, dependences, variables
from harmonium.exponential_family.partial import (
    expected_observation,
    log_partial_measure,
    placeholder,
    sample_hidden,
)
from harmonium.exponential_family.vector import VectorFamily
from harmonium.geometry.point import Coordinates, Mean, Natural, Point, VectorPoint
from harmonium.geometry.product import AbstractProduct, ProductPoint
from harmonium.geometry.structure import AnyArray, Structure


class Product(AbstractProduct, Differentiable, Generative):
    r"""Independent observations from several families, side by side.

    An observation is a tuple with one entry a family. Mathematically,
    $p(x_1, \dots, x_k) = \prod_i p_i(x_i; \theta_i)$: statistics are joined, log partition
    functions and log base measures add.

    **Arguments:**

    - `*parts`: differentiable exponential families.
    """

    parts: tuple = eqx.field(static=True)

    def __init__(self, *parts: Differentiable):
        for part in parts:
            if not isinstance(part, Differentiable):
                raise TypeError(
                    f"a product is made of differentiable exponential families, got {part!r}. "
                    "For other manifolds use harmonium.geometry.product.Pair."
                )
        if not parts:
            raise ValueError("a product needs at least one family.")
        self.parts = parts

    def __str__(self) -> str:
        return f"Product({', '.join(map(str, self.parts))})"

    def _map(self, function: Any, *tuples: tuple) -> tuple:
        return tuple(function(*args) for args in zip(self.parts, *tuples, strict=True))

    def _mean(self, components: tuple) -> Mean:
        return ProductPoint(components, self, Coordinates.MEAN)

    @property
    def data_man(self) -> "Product":
        """The product of those of the parts."""
        own = tuple(part.data_man for part in self.parts)
        return self if own == self.parts else Product(*own)

    def as_observation(self, data: Any) -> Any:
        return self._map(lambda part, own: part.as_observation(own), data)

    def data_of(self, x: Any) -> Any:
        return self._map(lambda part, own: part.data_of(own), x)

    @property
    def observation(self) -> Any:
        """A tuple with one observation of each part."""
        return tuple(part.observation for part in self.parts)

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return jnp.all(jnp.stack(self._map(lambda part, xi: part.in_support(xi), x)))

    def sufficient_statistic(self, x: Any) -> Mean:
        return self._mean(self._map(lambda part, xi: part.sufficient_statistic(xi), x))

    def log_base_measure(self, x: Any) -> Float[Array, ""]:
        return sum(self._map(lambda part, xi: part.log_base_measure(xi), x), jnp.zeros(()))

    def energy(self, point: Natural, x: Any) -> Float[Array, ""]:
        return self.evidence_kernel(point, x, None)

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return self.evidence_kernel(point, None, None)

    def evidence_kernel(self, point: Natural, x: Any, observed: Any) -> Float[Array, ""]:
        """The sum of those of the parts.

        The observed parts whose parameters are vectors share one product with their statistics:
        records of many columns are else many small products.
        """
        nothing = (None,) * len(self.parts)
        xs, masks = nothing if x is None else x, nothing if observed is None else observed
        terms, vectors, statistics = [], [], []
        for part, own, xi, mask in zip(self.parts, point.components, xs, masks, strict=True):
            if xi is None or not isinstance(part, VectorFamily):
                terms.append(part.evidence_kernel(own, xi, mask))
                continue
            if mask is not None:
                hidden = part.evidence_kernel(own, None, None)
                terms.append(jnp.where(mask, 0, hidden))
                own = jax.tree.map(lambda leaf, mask=mask: jnp.where(mask, leaf, 0), own)
            vectors.append(own.values)
            statistics.append(part.sufficient_statistic(xi).values.astype(own.values.dtype))
        if vectors:
            terms.append(jnp.concatenate(vectors) @ jnp.concatenate(statistics))
        return functools.reduce(operator.add, terms)

    @property
    def mask(self) -> Any:
        """A tuple of those of the parts."""
        return tuple(part.mask for part in self.parts)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        starts = (None,) * len(self.parts) if start is None else start.components
        components = self._map(lambda f, p, s: f.to_natural(p, s), point.components, starts)
        return ProductPoint(components, self, Coordinates.NATURAL)

    @property
    def is_exact(self) -> bool:
        """If all parts are."""
        return all(part.is_exact for part in self.parts)

    def improve(self, point: Mean, start: Natural) -> Natural:
        """Part by part."""
        self.check_single(point, start)
        components = self._map(lambda f, p, s: f.improve(p, s), point.components, start.components)
        return ProductPoint(components, self, Coordinates.NATURAL)

    def admits(self, point: Natural) -> Bool[Array, ""]:
        return jnp.all(jnp.stack(self._map(lambda f, p: f.admits(p), point.components)))

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return jnp.all(jnp.stack(self._map(lambda f, p: f.admits_mean(p), point.components)))

    def natural_start(self, point: Mean) -> Natural:
        components = self._map(lambda f, p: f.natural_start(p), point.components)
        return ProductPoint(components, self, Coordinates.NATURAL)

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Any:
        keys = tuple(jax.random.split(key, len(self.parts)))
        return self._map(lambda f, k, p: f.sample_one(k, p), keys, point.components)

    def initialize(self, key: PRNGKeyArray) -> Natural:
        keys = tuple(jax.random.split(key, len(self.parts)))
        components = self._map(lambda f, k: f.initialize(k), keys)
        return ProductPoint(components, self, Coordinates.NATURAL)

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        xs = self.check_form(xs)
        keys = tuple(jax.random.split(key, len(self.parts)))
        components = self._map(lambda f, k, xi: f.initialize_from_sample(k, xi), keys, xs)
        return ProductPoint(components, self, Coordinates.NATURAL)


@variables.register
def _(family: Product, is_latent: bool = False) -> Any:
    return tuple(variables(part, is_latent) for part in family.parts)


@dependences.register
def _(family: Product, tree: Any) -> tuple[Dependence, ...]:
    """Those of the parts, which are independent of each other."""
    pairs = zip(family.parts, tree, strict=True)
    return sum((dependences(part, own) for part, own in pairs), ())


@substitute.register
def _(family: Product, point: Natural, scale: Any, shift: Any) -> Natural:
    """Part by part, with tuples of scales and of shifts, or `None` for none at all."""
    family.check_single(point)
    nothing = (None,) * len(family.parts)
    scales, shifts = nothing if scale is None else scale, nothing if shift is None else shift
    components = tuple(
        own if b is None and c is None else substitute(part, own, b, c)
        for part, own, b, c in zip(family.parts, point.components, scales, shifts, strict=True)
    )
    return ProductPoint(components, family, Coordinates.NATURAL)


@placeholder.register
def _(family: Product) -> tuple:
    return tuple(placeholder(part) for part in family.parts)


@log_partial_measure.register
def _(family: Product, x: Any, observed: Any) -> Float[Array, ""]:
    measures = family._map(log_partial_measure, x, observed)
    return functools.reduce(operator.add, measures)


@expected_observation.register
def _(family: Product, point: Mean) -> tuple:
    return family._map(expected_observation, point.components)


@sample_hidden.register
def _(family: Product, key: PRNGKeyArray, point: Natural, x: Any, observed: Any) -> tuple:
    keys = tuple(jax.random.split(key, len(family.parts)))
    return family._map(sample_hidden, keys, point.components, x, observed)


class ReplicatedPoint(Point):
    """A point of a replicated family: a batch of points of the family.

    **Fields:** `replicas`, points whose last batch axis counts the replicas, and the static
    `manifold` and `coordinates`.
    """

    replicas: Point
    manifold: Structure = eqx.field(static=True)
    coordinates: Coordinates = eqx.field(static=True)

    def __check_init__(self):
        whole: Any = self.manifold
        if self.replicas.manifold != whole.family:
            raise TypeError(
                f"a point of {whole} consists of points of {whole.family}, got points of "
                f"{self.replicas.manifold}."
            )
        if self.replicas.coordinates is not self.coordinates:
            raise TypeError(
                f"a {self.coordinates.value} point of {whole} consists of such points, got "
                f"{self.replicas.coordinates.value} ones."
            )
        if self.replicas.batch_shape[-1:] != (whole.n_replicas,):
            raise ValueError(
                f"a point of {whole} has replicas with batch axes (*batch, {whole.n_replicas}), "
                f"got {self.replicas.batch_shape}."
            )

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading axes of the replicas, without the one that counts them."""
        return self.replicas.batch_shape[:-1]


class Replicated(Differentiable, Generative):
    r"""Independent observations from `n_replicas` distributions of one family.

    An observation is one array (or pytree) with a leading axis of that length. Mathematically,
    $p(x_1, \dots, x_n) = \prod_i p(x_i; \theta_i)$, each with its own parameters.

    **Fields:** `family`, a differentiable exponential family, and `n_replicas`.
    """

    family: Differentiable = eqx.field(static=True)
    n_replicas: int = eqx.field(static=True)

    def __check_init__(self):
        if self.n_replicas < 1:
            raise ValueError(f"expected at least one replica, got n_replicas={self.n_replicas}.")

    def _point(self, replicas: Point, coordinates: Coordinates) -> Point:
        return ReplicatedPoint(replicas, self, coordinates)

    @property
    def dim(self) -> int:
        """The dimension of the family times the number of replicas."""
        return self.family.dim * self.n_replicas

    def zeros(self, coordinates: Coordinates = Coordinates.NATURAL) -> Point:
        def repeat(leaf: Array) -> Array:
            return jnp.zeros((self.n_replicas, *leaf.shape), leaf.dtype)

        return self._point(jax.tree.map(repeat, self.family.zeros(coordinates)), coordinates)

    def ravel(self, point: Point) -> Float[Array, " {self.dim}"]:
        self.check_single(point)
        return jax.vmap(self.family.ravel)(point.replicas).reshape(-1)

    def unravel(
        self, vector: Float[AnyArray, " {self.dim}"], coordinates: Coordinates = Coordinates.NATURAL
    ) -> Point:
        rows = jnp.asarray(vector).reshape(self.n_replicas, self.family.dim)
        return self._point(
            jax.vmap(lambda row: self.family.unravel(row, coordinates))(rows), coordinates
        )

    @property
    def data_man(self) -> "Replicated":
        """As many replicas of that of the family."""
        own = self.family.data_man
        return self if own == self.family else Replicated(own, self.n_replicas)

    def as_observation(self, data: Any) -> Any:
        return jax.vmap(self.family.as_observation)(data)

    def data_of(self, x: Any) -> Any:
        return jax.vmap(self.family.data_of)(x)

    @property
    def observation(self) -> Any:
        """An observation of the family with a leading axis."""

        def repeat(form: Any) -> Any:
            return jax.ShapeDtypeStruct((self.n_replicas, *form.shape), form.dtype)

        return jax.tree.map(repeat, self.family.observation)

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return jnp.all(jax.vmap(self.family.in_support)(x))

    def sufficient_statistic(self, x: Any) -> Mean:
        return self._point(jax.vmap(self.family.sufficient_statistic)(x), Coordinates.MEAN)

    def log_base_measure(self, x: Any) -> Float[Array, ""]:
        return jnp.sum(jax.vmap(self.family.log_base_measure)(x))

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return self.evidence_kernel(point, None, None)

    def evidence_kernel(self, point: Natural, x: Any, observed: Any) -> Float[Array, ""]:
        """The sum of those of the replicas.

        Where the parameters of the family are a vector, those of all observed replicas make one
        product with their statistics.
        """
        family: Any = self.family
        log_partition = jax.vmap(lambda replica: family.evidence_kernel(replica, None, None))
        if x is None:
            return jnp.sum(log_partition(point.replicas))
        if not isinstance(family, VectorFamily):
            mapped = jax.vmap(family.evidence_kernel, (0, 0, None if observed is None else 0))
            return jnp.sum(mapped(point.replicas, x, observed))
        if observed is None:
            return self.energy(point, x)
        hidden = log_partition(point.replicas)
        values = jnp.where(observed[:, None], point.replicas.values, 0)
        shown = self._point(VectorPoint(values, family, Coordinates.NATURAL), Coordinates.NATURAL)
        return self.energy(shown, x) + jnp.sum(jnp.where(observed, 0, hidden))

    @property
    def mask(self) -> Any:
        """That of the family with a leading axis."""

        def repeat(form: Any) -> Any:
            return jax.ShapeDtypeStruct((self.n_replicas, *form.shape), form.dtype)

        return jax.tree.map(repeat, self.family.mask)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        if start is None:
            replicas = jax.vmap(self.family.to_natural)(point.replicas)
        else:
            replicas = jax.vmap(self.family.to_natural)(point.replicas, start.replicas)
        return self._point(replicas, Coordinates.NATURAL)

    @property
    def is_exact(self) -> bool:
        """If the family is."""
        return self.family.is_exact

    def improve(self, point: Mean, start: Natural) -> Natural:
        """Replica by replica."""
        self.check_single(point, start)
        replicas = jax.vmap(self.family.improve)(point.replicas, start.replicas)
        return self._point(replicas, Coordinates.NATURAL)

    def admits(self, point: Natural) -> Bool[Array, ""]:
        return jnp.all(jax.vmap(self.family.admits)(point.replicas))

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return jnp.all(jax.vmap(self.family.admits_mean)(point.replicas))

    def natural_start(self, point: Mean) -> Natural:
        return self._point(jax.vmap(self.family.natural_start)(point.replicas), Coordinates.NATURAL)

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Any:
        family: Any = self.family
        return jax.vmap(family.sample_one)(jax.random.split(key, self.n_replicas), point.replicas)

    def initialize(self, key: PRNGKeyArray) -> Natural:
        keys = jax.random.split(key, self.n_replicas)
        return self._point(jax.vmap(self.family.initialize)(keys), Coordinates.NATURAL)

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        xs = self.check_data(xs)
        keys = jax.random.split(key, self.n_replicas)
        replicas = jax.vmap(self.family.initialize_from_sample, (0, 1))(keys, xs)
        return self._point(replicas, Coordinates.NATURAL)


@placeholder.register
def _(family: Replicated) -> Any:
    def repeat(leaf: Any) -> Any:
        return jnp.broadcast_to(leaf, (family.n_replicas, *jnp.shape(leaf)))

    return jax.tree.map(repeat, placeholder(family.family))


@log_partial_measure.register
def _(family: Replicated, x: Any, observed: Any) -> Float[Array, ""]:
    own = family.family
    return jnp.sum(jax.vmap(lambda x, mask: log_partial_measure(own, x, mask))(x, observed))


@expected_observation.register
def _(family: Replicated, point: Mean) -> Any:
    return jax.vmap(lambda own: expected_observation(family.family, own))(point.replicas)


@sample_hidden.register
def _(family: Replicated, key: PRNGKeyArray, point: Natural, x: Any, observed: Any) -> Any:
    keys = jax.random.split(key, family.n_replicas)

    def sample(*own: Any) -> Any:
        return sample_hidden(family.family, *own)

    return jax.vmap(sample)(keys, point.replicas, x, observed)
