"""Products of families: independent observations of several kinds, or many of one kind."""

import functools
import math
import operator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.generative import Generative
from harmonium.exponential_family.outline import Dependence
from harmonium.geometry.point import Coordinates, Mean, Natural, Point, flatten_rows
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

    def variables(self, is_latent: bool = False) -> Any:
        """Those of the parts."""
        return self._map(lambda part: part.variables(is_latent))

    def dependences(self, variables: Any) -> tuple[Dependence, ...]:
        """Those of the parts, which are independent of each other."""
        return sum(self._map(lambda part, own: part.dependences(own), variables), ())

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

    @property
    def is_flat(self) -> bool:
        """If all parts are."""
        return all(part.is_flat for part in self.parts)

    def _flat_rows(self, xs: Any, dtype: Any) -> Float[Array, "n k"]:
        """The statistics of all flat parts side by side."""
        pairs = zip(self.parts, xs, strict=True)
        rows = [part.flat_statistics(own, dtype) for part, own in pairs if part.is_flat]
        return jnp.concatenate(rows, axis=1)

    def sum_statistics(self, xs: Any, weights: Float[Array, "n m"]) -> Mean:
        flat = [part.is_flat for part in self.parts]
        if sum(flat) < 2:
            return self._mean(self._map(lambda part, xi: part.sum_statistics(xi, weights), xs))
        sums, start = weights.T @ self._flat_rows(xs, weights.dtype), 0
        components = []
        for part, own, is_flat in zip(self.parts, xs, flat, strict=True):
            if not is_flat:
                components.append(part.sum_statistics(own, weights))
                continue
            leaves, structure = jax.tree.flatten(part.template(Coordinates.MEAN))
            found = []
            for leaf in leaves:
                stop = start + math.prod(leaf.shape)
                found.append(sums[:, start:stop].reshape(-1, *leaf.shape))
                start = stop
            components.append(structure.unflatten(found))
        return self._mean(tuple(components))

    def pair_statistics(self, points: Natural, xs: Any) -> Float[Array, "n m"]:
        triples = list(zip(self.parts, points.components, xs, strict=True))
        flat = [flatten_rows(own) for part, own, _ in triples if part.is_flat]
        if len(flat) < 2:
            return functools.reduce(
                operator.add, [part.pair_statistics(own, x) for part, own, x in triples]
            )
        columns = jnp.concatenate(flat, axis=1)
        pairs = [part.pair_statistics(own, x) for part, own, x in triples if not part.is_flat]
        product = self._flat_rows(xs, columns.dtype) @ columns.T
        return functools.reduce(operator.add, pairs, product)

    def features(self, xs: Any, dtype: Any) -> Float[Array, "n d"]:
        """Those of the parts side by side."""
        return jnp.concatenate(self._map(lambda part, x: part.features(x, dtype), xs), axis=1)

    @property
    def mask(self) -> Any:
        """A tuple of those of the parts."""
        return tuple(part.mask for part in self.parts)

    @property
    def harmless(self) -> Any:
        """A tuple of those of the parts."""
        return tuple(part.harmless for part in self.parts)

    def fill(self, x: Any, observed: Any, other: Any) -> Any:
        return self._map(lambda part, *own: part.fill(*own), x, observed, other)

    def log_partial_measure(self, x: Any, observed: Any) -> Float[Array, ""]:
        measures = self._map(lambda f, xi, own: f.log_partial_measure(xi, own), x, observed)
        return functools.reduce(operator.add, measures)

    def marginalize(self, point: Natural, observed: Any) -> tuple[Natural, Float[Array, ""]]:
        """Part by part."""
        pairs = self._map(lambda f, p, own: f.marginalize(p, own), point.components, observed)
        points, constants = zip(*pairs, strict=True)
        total = functools.reduce(operator.add, constants)
        return ProductPoint(points, self, Coordinates.NATURAL), total

    def expected_observation(self, point: Mean) -> Any:
        return self._map(lambda part, p: part.expected_observation(p), point.components)

    def sample_hidden(self, key: PRNGKeyArray, point: Natural, x: Any, observed: Any) -> Any:
        keys = tuple(jax.random.split(key, len(self.parts)))
        quadruples = keys, point.components, x, observed
        return self._map(lambda f, k, p, xi, own: f.sample_hidden(k, p, xi, own), *quadruples)

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        parts = self._map(lambda part, p: part.log_partition_function(p), point.components)
        return functools.reduce(operator.add, parts)

    def to_mean(self, point: Natural) -> Mean:
        self.check_single(point)
        return self._mean(self._map(lambda part, p: part.to_mean(p), point.components))

    def to_natural(self, point: Mean, start: Natural | None = None) -> Natural:
        self.check_single(point, start)
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

    def joined_moments(self, point: Natural) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
        """Those of the parts: means side by side, and a block diagonal covariance."""
        self.check_single(point)
        means, covariances = zip(
            *self._map(lambda f, p: f.joined_moments(p), point.components), strict=True
        )
        return jnp.concatenate(means), jax.scipy.linalg.block_diag(*covariances)

    def initialize(self, key: PRNGKeyArray) -> Natural:
        keys = tuple(jax.random.split(key, len(self.parts)))
        components = self._map(lambda f, k: f.initialize(k), keys)
        return ProductPoint(components, self, Coordinates.NATURAL)

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        xs = self.check_form(xs)
        keys = tuple(jax.random.split(key, len(self.parts)))
        components = self._map(lambda f, k, xi: f.initialize_from_sample(k, xi), keys, xs)
        return ProductPoint(components, self, Coordinates.NATURAL)

    def substitute(self, point: Natural, scale: Any, shift: Any) -> Natural:
        """Part by part, with tuples of scales and of shifts, or `None` for none at all."""

        def replace(part: Any, point: Natural, scale: Any, shift: Any) -> Natural:
            moves = scale is not None or shift is not None
            return part.substitute(point, scale, shift) if moves else point

        self.check_single(point)
        scales = (None,) * len(self.parts) if scale is None else scale
        shifts = (None,) * len(self.parts) if shift is None else shift
        components = self._map(replace, point.components, scales, shifts)
        return ProductPoint(components, self, Coordinates.NATURAL)


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
    def observation(self) -> Any:
        """An observation of the family with a leading axis."""

        def repeat(form: Any) -> Any:
            return jax.ShapeDtypeStruct((self.n_replicas, *form.shape), form.dtype)

        return jax.tree.map(repeat, self.family.observation)

    @property
    def is_flat(self) -> bool:
        """If the family is."""
        return self.family.is_flat

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return jnp.all(jax.vmap(self.family.in_support)(x))

    def sufficient_statistic(self, x: Any) -> Mean:
        return self._point(jax.vmap(self.family.sufficient_statistic)(x), Coordinates.MEAN)

    def log_base_measure(self, x: Any) -> Float[Array, ""]:
        return jnp.sum(jax.vmap(self.family.log_base_measure)(x))

    def sum_statistics(self, xs: Any, weights: Float[Array, "n m"]) -> Mean:
        if self.family.is_flat:  # one product for all replicas
            return super().sum_statistics(xs, weights)
        sums = jax.vmap(self.family.sum_statistics, (1, None), 1)(xs, weights)
        return self._point(sums, Coordinates.MEAN)

    def pair_statistics(self, points: Natural, xs: Any) -> Float[Array, "n m"]:
        if self.family.is_flat:
            return super().pair_statistics(points, xs)
        pairs = jax.vmap(self.family.pair_statistics, (1, 1), 0)(points.replicas, xs)
        return jnp.sum(pairs, axis=0)

    def features(self, xs: Any, dtype: Any) -> Float[Array, "n d"]:
        """Those of the replicas side by side."""
        columns = jax.vmap(lambda x: self.family.features(x, dtype), 1, 1)(xs)
        return columns.reshape(len(columns), -1)

    @property
    def mask(self) -> Any:
        """That of the family with a leading axis."""

        def repeat(form: Any) -> Any:
            return jax.ShapeDtypeStruct((self.n_replicas, *form.shape), form.dtype)

        return jax.tree.map(repeat, self.family.mask)

    @property
    def harmless(self) -> Any:
        """That of the family, repeated."""

        def repeat(leaf: Any) -> Any:
            return jnp.broadcast_to(leaf, (self.n_replicas, *jnp.shape(leaf)))

        return jax.tree.map(repeat, self.family.harmless)

    def fill(self, x: Any, observed: Any, other: Any) -> Any:
        return jax.vmap(self.family.fill)(x, observed, other)

    def log_partial_measure(self, x: Any, observed: Any) -> Float[Array, ""]:
        return jnp.sum(jax.vmap(self.family.log_partial_measure)(x, observed))

    def marginalize(self, point: Natural, observed: Any) -> tuple[Natural, Float[Array, ""]]:
        """Replica by replica."""
        replicas, constants = jax.vmap(self.family.marginalize)(point.replicas, observed)
        return self._point(replicas, Coordinates.NATURAL), jnp.sum(constants)

    def expected_observation(self, point: Mean) -> Any:
        return jax.vmap(self.family.expected_observation)(point.replicas)

    def sample_hidden(self, key: PRNGKeyArray, point: Natural, x: Any, observed: Any) -> Any:
        family: Any = self.family
        keys = jax.random.split(key, self.n_replicas)
        return jax.vmap(family.sample_hidden)(keys, point.replicas, x, observed)

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return jnp.sum(jax.vmap(self.family.log_partition_function)(point.replicas))

    def to_mean(self, point: Natural) -> Mean:
        self.check_single(point)
        return self._point(jax.vmap(self.family.to_mean)(point.replicas), Coordinates.MEAN)

    def to_natural(self, point: Mean, start: Natural | None = None) -> Natural:
        self.check_single(point, start)
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
