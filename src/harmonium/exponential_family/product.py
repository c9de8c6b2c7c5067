"""Products of families: independent observations of several kinds, or many of one kind."""

import functools
import operator
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.affine import substitute
from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.checks import describe_support, find_outside
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
from harmonium.geometry.product import AbstractProduct, check_kinds, zip_parts
from harmonium.geometry.structure import AnyArray, Structure


class IndependentParts(Differentiable, Generative):
    """A family of several independent observations, each from a family of its own: its parts.

    What it does is done part by part, and numbers add up.
    """

    @property
    @abstractmethod
    def n_parts(self) -> int:
        """The number of parts."""

    @abstractmethod
    def map_parts(self, function: Callable, *trees: Any) -> Any:
        """The results of a function of each part and of what belongs to it in each of `trees`.

        **Arguments:**

        - `function`: of a family, and one argument for each of `trees`.
        - `*trees`: points, observations, masks, or anything else with one entry a part; `None`
            stands for nothing in all parts.

        **Returns:** the results with one entry a part, as observations have.
        """

    @abstractmethod
    def add_parts(self, numbers: Any) -> Float[Array, ""]:
        """The sum of the numbers that `map_parts` returned."""

    @abstractmethod
    def _assemble(self, points: Any, coordinates: Coordinates) -> Point:
        """The point that consists of the points that `map_parts` returned."""

    def map_to_natural(self, function: Callable, *trees: Any) -> Natural:
        """The point that consists of the natural points that `map_parts` returns."""
        return self._assemble(self.map_parts(function, *trees), Coordinates.NATURAL)

    def split_key(self, key: PRNGKeyArray) -> Array:
        """A random key for each part."""
        return jax.random.split(key, self.n_parts)

    def _all_parts(self, function: Callable, *trees: Any) -> Bool[Array, ""]:
        return jnp.all(jnp.stack(jax.tree.leaves(self.map_parts(function, *trees))))

    def as_observation(self, data: Any) -> Any:
        return self.map_parts(lambda part, own: part.as_observation(own), data)

    def data_of(self, x: Any) -> Any:
        return self.map_parts(lambda part, own: part.data_of(own), x)

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return self._all_parts(lambda part, own: part.in_support(own), x)

    def sufficient_statistic(self, x: Any) -> Mean:
        statistics = self.map_parts(lambda part, own: part.sufficient_statistic(own), x)
        return self._assemble(statistics, Coordinates.MEAN)

    def log_base_measure(self, x: Any) -> Float[Array, ""]:
        return self.add_parts(self.map_parts(lambda part, own: part.log_base_measure(own), x))

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return self.evidence_kernel(point, None, None)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        return self.map_to_natural(lambda part, *own: part.to_natural(*own), point, start)

    def improve(self, point: Mean, start: Natural) -> Natural:
        """Part by part."""
        self.check_single(point, start)
        return self.map_to_natural(lambda part, *own: part.improve(*own), point, start)

    def admits(self, point: Natural) -> Bool[Array, ""]:
        return self._all_parts(lambda part, own: part.admits(own), point)

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return self._all_parts(lambda part, own: part.admits_mean(own), point)

    def natural_start(self, point: Mean) -> Natural:
        return self.map_to_natural(lambda part, own: part.natural_start(own), point)

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Any:
        return self.map_parts(lambda part, *own: part.sample_one(*own), self.split_key(key), point)

    def initialize(self, key: PRNGKeyArray) -> Natural:
        return self.map_to_natural(lambda part, own: part.initialize(own), self.split_key(key))


@log_partial_measure.register
def _(family: IndependentParts, x: Any, observed: Any) -> Float[Array, ""]:
    return family.add_parts(family.map_parts(log_partial_measure, x, observed))


@expected_observation.register
def _(family: IndependentParts, point: Mean) -> Any:
    return family.map_parts(expected_observation, point)


@sample_hidden.register
def _(family: IndependentParts, key: PRNGKeyArray, point: Natural, x: Any, observed: Any) -> Any:
    return family.map_parts(sample_hidden, family.split_key(key), point, x, observed)


class Product(AbstractProduct, IndependentParts):
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

    @property
    def n_parts(self) -> int:
        """The number of families."""
        return len(self.parts)

    def map_parts(self, function: Callable, *trees: Any) -> tuple:
        return tuple(function(*own) for own in zip_parts(self.parts, *trees))

    def add_parts(self, numbers: tuple) -> Float[Array, ""]:
        return functools.reduce(operator.add, numbers)

    @property
    def data_man(self) -> "Product":
        """The product of those of the parts."""
        own = tuple(part.data_man for part in self.parts)
        return self if own == self.parts else Product(*own)

    @property
    def observation(self) -> Any:
        """A tuple with one observation of each part."""
        return tuple(part.observation for part in self.parts)

    @property
    def mask(self) -> Any:
        """A tuple of those of the parts."""
        return tuple(part.mask for part in self.parts)

    @property
    def is_exact(self) -> bool:
        """If all parts are."""
        return all(part.is_exact for part in self.parts)

    def energy(self, point: Natural, x: Any) -> Float[Array, ""]:
        return self.evidence_kernel(point, x, None)

    def evidence_kernel(self, point: Natural, x: Any, observed: Any) -> Float[Array, ""]:
        """The sum of those of the parts.

        The observed parts whose parameters are vectors share one product with their statistics:
        records of many columns are else many small products.
        """
        terms, vectors, statistics = [], [], []
        for part, own, xi, mask in zip_parts(self.parts, point, x, observed):
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

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        keys, xs = self.split_key(key), self.check_form(xs)
        return self.map_to_natural(lambda part, *own: part.initialize_from_sample(*own), keys, xs)


@variables.register
def _(family: Product, is_latent: bool = False) -> Any:
    return tuple(variables(part, is_latent) for part in family.parts)


@dependences.register
def _(family: Product, tree: Any) -> tuple[Dependence, ...]:
    """Those of the parts, which are independent of each other."""
    return sum(family.map_parts(dependences, tree), ())


@substitute.register
def _(family: Product, point: Natural, scale: Any, shift: Any) -> Natural:
    """Part by part, with tuples of scales and of shifts, or `None` for none at all."""
    family.check_single(point)

    def move(part: Differentiable, own: Natural, b: Any, c: Any) -> Natural:
        return own if b is None and c is None else substitute(part, own, b, c)

    return family.map_to_natural(move, point, scale, shift)


@placeholder.register
def _(family: Product) -> tuple:
    return tuple(placeholder(part) for part in family.parts)


@find_outside.register
def _(family: Product, x: Any) -> tuple[str, Any, Differentiable]:
    for number, (part, own) in enumerate(zip(family.parts, x, strict=True)):
        if not bool(part.in_support(own)):
            where, value, inner = find_outside(part, own)
            return f", part {number}{where}", value, inner
    return "", x, family


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
        check_kinds(self, (self.replicas,), (whole.family,))
        if self.replicas.batch_shape[-1:] != (whole.n_replicas,):
            raise ValueError(
                f"a point of {whole} has replicas with batch axes (*batch, {whole.n_replicas}), "
                f"got {self.replicas.batch_shape}."
            )

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading axes of the replicas, without the one that counts them."""
        return self.replicas.batch_shape[:-1]


class Replicated(IndependentParts):
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

    @property
    def n_parts(self) -> int:
        """The number of replicas."""
        return self.n_replicas

    def map_parts(self, function: Callable, *trees: Any) -> Any:
        own = (tree.replicas if isinstance(tree, ReplicatedPoint) else tree for tree in trees)
        return jax.vmap(functools.partial(function, self.family))(*own)

    def add_parts(self, numbers: Float[Array, " n"]) -> Float[Array, ""]:
        return jnp.sum(numbers)

    def _assemble(self, points: Point, coordinates: Coordinates) -> Point:
        return ReplicatedPoint(points, self, coordinates)

    @property
    def dim(self) -> int:
        """The dimension of the family times the number of replicas."""
        return self.family.dim * self.n_replicas

    def zeros(self, coordinates: Coordinates = Coordinates.NATURAL) -> Point:
        def repeat(leaf: Array) -> Array:
            return jnp.zeros((self.n_replicas, *leaf.shape), leaf.dtype)

        return self._assemble(jax.tree.map(repeat, self.family.zeros(coordinates)), coordinates)

    def ravel(self, point: Point) -> Float[Array, " {self.dim}"]:
        self.check_single(point)
        return jax.vmap(self.family.ravel)(point.replicas).reshape(-1)

    def unravel(
        self, vector: Float[AnyArray, " {self.dim}"], coordinates: Coordinates = Coordinates.NATURAL
    ) -> Point:
        rows = jnp.asarray(vector).reshape(self.n_replicas, self.family.dim)
        points = self.map_parts(lambda part, row: part.unravel(row, coordinates), rows)
        return self._assemble(points, coordinates)

    @property
    def data_man(self) -> "Replicated":
        """As many replicas of that of the family."""
        own = self.family.data_man
        return self if own == self.family else Replicated(own, self.n_replicas)

    def _repeat(self, form: Any) -> Any:
        return jax.ShapeDtypeStruct((self.n_replicas, *form.shape), form.dtype)

    @property
    def observation(self) -> Any:
        """An observation of the family with a leading axis."""
        return jax.tree.map(self._repeat, self.family.observation)

    @property
    def mask(self) -> Any:
        """That of the family with a leading axis."""
        return jax.tree.map(self._repeat, self.family.mask)

    @property
    def is_exact(self) -> bool:
        """If the family is."""
        return self.family.is_exact

    def evidence_kernel(self, point: Natural, x: Any, observed: Any) -> Float[Array, ""]:
        """The sum of those of the replicas.

        Where the parameters of the family are a vector, those of all observed replicas make one
        product with their statistics.
        """
        if x is None or not isinstance(self.family, VectorFamily):
            own = point, x, observed
            return self.add_parts(self.map_parts(lambda part, *o: part.evidence_kernel(*o), *own))
        if observed is None:
            return self.energy(point, x)
        hidden = self.map_parts(lambda part, own: part.evidence_kernel(own, None, None), point)
        values = jnp.where(observed[:, None], point.replicas.values, 0)
        replicas = VectorPoint(values, self.family, Coordinates.NATURAL)
        shown = self._assemble(replicas, Coordinates.NATURAL)
        return self.energy(shown, x) + jnp.sum(jnp.where(observed, 0, hidden))

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        keys, xs = self.split_key(key), self.check_data(xs)
        replicas = jax.vmap(self.family.initialize_from_sample, (0, 1))(keys, xs)
        return self._assemble(replicas, Coordinates.NATURAL)


@placeholder.register
def _(family: Replicated) -> Any:
    def repeat(leaf: Any) -> Any:
        return jnp.broadcast_to(leaf, (family.n_replicas, *jnp.shape(leaf)))

    return jax.tree.map(repeat, placeholder(family.family))


@find_outside.register
def _(family: Replicated, x: Any) -> tuple[str, Any, Differentiable]:
    for number in range(family.n_replicas):
        own = jax.tree.map(lambda leaf, n=number: leaf[n], x)
        if not bool(family.family.in_support(own)):
            where, value, inner = find_outside(family.family, own)
            return f", column {number}{where}", value, inner
    return "", x, family


@describe_support.register
def _(family: Product) -> str:
    return "; ".join(dict.fromkeys(map(describe_support, family.parts)))


@describe_support.register
def _(family: Replicated) -> str:
    return describe_support(family.family)
