"""Families made for tests: no closed form of `to_natural`, and a natural domain to stay inside."""

import equinox as eqx
import jax
import jax.numpy as jnp

import harmonium as hm

NATURAL = hm.Coordinates.NATURAL


class Grid(hm.Differentiable):
    """Points of a grid on [-1, 1] with density exp(sum of theta_k x^k): any theta is valid."""

    n_nodes: int = eqx.field(static=True)
    degree: int = eqx.field(static=True)

    @property
    def dim(self):
        return self.degree

    def _powers(self):
        nodes = jnp.linspace(-1, 1, self.n_nodes)
        return jnp.stack([nodes**k for k in range(1, self.degree + 1)], axis=1)

    def zeros(self, coordinates=NATURAL):
        return hm.geometry.VectorPoint(jnp.zeros(self.degree), self, coordinates)

    def ravel(self, point):
        self.check_single(point)
        return point.values

    def unravel(self, vector, coordinates=NATURAL):
        return hm.geometry.VectorPoint(vector, self, coordinates)

    @property
    def observation(self):
        return jax.ShapeDtypeStruct((), int)

    def in_support(self, x):
        return (x >= 0) & (x < self.n_nodes)

    def sufficient_statistic(self, x):
        return hm.geometry.VectorPoint(self._powers()[x], self, hm.Coordinates.MEAN)

    def log_base_measure(self, x):
        return jnp.where(self.in_support(x), 0.0, -jnp.inf)

    def log_partition_kernel(self, point):
        return jax.nn.logsumexp(self._powers() @ point.values)

    def initialize(self, key):
        return self.unravel(jax.random.normal(key, (self.degree,)))

    def initialize_from_sample(self, key, xs):
        return self.to_natural(self.average_sufficient_statistic(xs))


class Gamma(hm.Differentiable):
    """The gamma distribution, s(x) = (log x, x): theta_1 > -1 and theta_2 < 0.

    The formula of the log partition function is finite for many theta_1 below -1, too.
    """

    @property
    def dim(self):
        return 2

    def zeros(self, coordinates=NATURAL):
        return hm.geometry.VectorPoint(jnp.zeros(2), self, coordinates)

    def ravel(self, point):
        self.check_single(point)
        return point.values

    def unravel(self, vector, coordinates=NATURAL):
        return hm.geometry.VectorPoint(vector, self, coordinates)

    @property
    def observation(self):
        return jax.ShapeDtypeStruct((), float)

    def in_support(self, x):
        return x > 0

    def sufficient_statistic(self, x):
        return hm.geometry.VectorPoint(jnp.stack([jnp.log(x), x]), self, hm.Coordinates.MEAN)

    def log_base_measure(self, x):
        return jnp.where(self.in_support(x), 0.0, -jnp.inf)

    def log_partition_kernel(self, point):
        shape, rate = point.values[0] + 1, -point.values[1]
        return jax.scipy.special.gammaln(shape) - shape * jnp.log(rate)

    def natural_start(self, point):
        return self.unravel(jnp.asarray([0.0, -1.0], point.values.dtype))

    def admits(self, point):
        return (point.values[0] > -1) & (point.values[1] < 0)

    def initialize(self, key):
        return self.unravel(jnp.stack([1.0, -1.0]) * jax.random.exponential(key, (2,)))

    def initialize_from_sample(self, key, xs):
        return self.to_natural(self.average_sufficient_statistic(xs))
