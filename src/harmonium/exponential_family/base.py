"""The ladder of exponential families: what each rung can do, derived once for all families."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family import duality
from harmonium.exponential_family.affine import push_forward
from harmonium.exponential_family.checks import (
    all_finite,
    check_no_nan,
    check_support,
    check_weights,
    flag_nan,
)
from harmonium.exponential_family.chunks import BATCH_SIZE, batch_length, map_chunks, sum_chunks
from harmonium.exponential_family.compiled import batched, is_traced
from harmonium.exponential_family.evidence import sum_statistics, value_and_mean
from harmonium.exponential_family.form import check_form, float_dtype
from harmonium.geometry.manifold import Manifold
from harmonium.geometry.point import Coordinates, Mean, Natural, Point, dot, gradient


class ExponentialFamily(Manifold):
    r"""A family of distributions given by a sufficient statistic and a base measure.

    Mathematically, $p(x; \theta) = \exp(\theta \cdot s(x) - \psi(\theta))\, h(x)$ with sufficient
    statistic $s$, base measure $h$ and log partition function $\psi$.
    """

    @property
    @abstractmethod
    def observation(self) -> Any:
        """The form of one observation: a pytree of `jax.ShapeDtypeStruct`.

        Its dtypes say whether numbers are real (`float`) or integers (`int`), no more.
        """

    @property
    def data_man(self) -> Any:
        """The manifold of the data: of what is no latent in an observation. A hook, itself."""
        return self

    def as_observation(self, data: Any) -> Any:
        """The observation with these data (or masks), and `None` for latents; a hook."""
        return data

    def data_of(self, x: Any) -> Any:
        """What of an observation is no latent; a hook."""
        return x

    @abstractmethod
    def in_support(self, x: Any) -> Bool[Array, ""]:
        """Whether an observation can occur at all."""

    @abstractmethod
    def sufficient_statistic(self, x: Any) -> Mean:
        r"""The sufficient statistic $s(x)$ of one observation, a point in mean coordinates."""

    def energy(self, point: Natural, x: Any) -> Float[Array, ""]:
        r"""The pairing $\theta \cdot s(x)$ with the statistic of one observation.

        The point may be a difference of natural parameters, hence outside the natural domain. A
        performance hook: families of matrices need not write their statistic down.
        """
        statistic = self.sufficient_statistic(x)
        pairs = zip(jax.tree.leaves(point), jax.tree.leaves(statistic), strict=True)
        # Statistics of integers have the default floating point type, whatever that of the point.
        products = [jnp.vdot(a, b.astype(a.dtype)) for a, b in pairs]
        return sum(products[1:], products[0])

    @abstractmethod
    def log_base_measure(self, x: Any) -> Float[Array, ""]:
        r"""The log base measure $\log h(x)$ of one observation; -inf outside the support."""

    def push_forward(self, point: Natural, scale: Any, shift: Any) -> Natural:
        r"""The natural point of $x' = A x + b$, where the given point is that of $x$.

        **Arguments:**

        - `point`: natural, the distribution of $x$.
        - `scale`: $A$: a scalar, the diagonal, or a matrix, of a kind that the covariance structure
            admits; `None` for the identity. For products, a tuple with one of them a part.
        - `shift`: $b$, `None` for zero; for products, a tuple.

        **Raises:** `TypeError` if observations are not real vectors, `ValueError` for a scale that
        would leave the family.
        """
        return push_forward(self, point, scale, shift)

    def average_sufficient_statistic(
        self, xs: Any, weights: Any = None, batch_size: int = BATCH_SIZE
    ) -> Mean:
        r"""The weighted average of the sufficient statistics of a batch.

        Mathematically, $\sum_n w_n s(x_n) / \sum_n w_n$: the maximum likelihood estimate in mean
        coordinates.

        **Arguments:**

        - `xs`: a batch of N observations.
        - `weights`: (N,), not negative, need not be normalised; equal ones by default.
        - `batch_size`: how many observations are processed at once.

        **Returns:** a mean point.

        **Raises:** an error for observations of another form or outside the support, and for
        negative or missing weights.
        """
        return average_statistics(self, self.check_data(xs), weights, batch_size)

    def check_form(self, xs: Any, batch: bool = True, like: Point | None = None) -> Any:
        """Checks the shapes and dtypes of observations, and makes JAX arrays of them.

        **Arguments:**

        - `xs`: one observation, or a batch of them.
        - `batch`: whether it is a batch, with a leading axis.
        - `like`: a point, the parameters that the observations are used with.

        **Returns:** the same with JAX arrays for NumPy arrays, lists and numbers. Real numbers, for
        which integers may stand, get the floating point type of `like`, or keep theirs.

        **Raises:** `TypeError` for another structure or dtype, `ValueError` for another shape.
        """
        return check_form(self, xs, batch, None if like is None else float_dtype(like))

    def check_data(self, xs: Any, like: Point | None = None) -> Any:
        """Checks a batch of observations, its values too; see `check_form`.

        **Raises:** an error that names the first observation outside the support and what
        observations are: NaN or infinite numbers, categories out of range, and so on.
        """
        xs = self.check_form(xs, like=like)
        batch_length(xs)
        return check_support(self, xs, xs)


class Differentiable(ExponentialFamily):
    r"""A family whose log partition function is at hand, so that densities and duality are, too.

    All else is derived from one function, the *evidence* of what is observed of a variable,

    $$f(\theta, x_o) = \log \int \exp(\theta \cdot s(x_o, x_u))\, h(x_u \mid x_o)\, dx_u,$$

    where $x_u$ is hidden. With nothing observed it is $\psi(\theta)$, with everything
    $\theta \cdot s(x)$, and $\log p(x_o) = f(\theta, x_o) - \psi(\theta) + \log h(x_o)$. Its
    gradient are the expected statistics given what is observed: $\eta = \nabla \psi(\theta)$. A
    family defines `log_partition_kernel`; `mean_kernel` and `natural_kernel` are performance hooks
    for closed forms.
    """

    def evidence(self, point: Natural, x: Any = None, observed: Any = None) -> Float[Array, ""]:
        r"""The log of the integral of $\exp(\theta \cdot s(x)) h(x_u | x_o)$ over what is hidden.

        **Arguments:**

        - `point`: natural.
        - `x`: one observation; `None` where parts of it are hidden, as a whole by default.
        - `observed`: what of the rest is observed, of the form `mask`, `None` for all of it.

        **Returns:** a number; less the log partition function it is a log density without the base
        measure of what is observed, on which parameters have no effect.
        """
        self.check_single(point)
        return self.evidence_kernel(point, x, observed)

    def evidence_kernel(self, point: Natural, x: Any, observed: Any) -> Float[Array, ""]:
        """`evidence` without checks; by default all of an observation is hidden or nothing.

        A hook of families of several variables, some of which may be observed.
        """
        if x is None:
            return self.log_partition_kernel(point)
        energy = self.energy(point, x)
        if observed is None:
            return energy
        return jnp.where(observed, energy, self.log_partition_kernel(point))

    def translated_evidence(
        self, point: Natural, shift: Natural, x: Any, observed: Any
    ) -> Float[Array, ""]:
        """`evidence_kernel` at `point + shift`, where the shift is what an observation says.

        A performance hook: what is linear in the sum can be done to both, of which one is the same
        for all observations and the other for all components of a mixture.
        """
        return self.evidence_kernel(point + shift, x, observed)

    @abstractmethod
    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        r"""The formula for $\psi(\theta)$. Users call `log_partition_function`."""

    def log_partition_function(self, point: Natural) -> Float[Array, ""]:
        r"""The log partition function $\psi(\theta) = \log \int \exp(\theta \cdot s(x)) h(x) dx$.

        Its derivative is `to_mean`.
        """
        self.check_single(point)
        return self.evidence_kernel(point, None, None)

    def to_mean(self, point: Natural) -> Mean:
        r"""The mean parameters $\eta = \nabla \psi(\theta)$ of a natural point."""
        self.check_single(point)
        return self.mean_kernel(point)

    def mean_kernel(self, point: Natural) -> Mean:
        """`to_mean` without checks; a performance hook, for closed forms."""
        return gradient(self.log_partition_kernel)(point)

    def to_natural(self, point: Mean, start: Natural | None = None) -> Natural:
        r"""The natural parameters of a mean point, the inverse of `to_mean`.

        Mathematically, $\theta = \arg\max_\theta \theta \cdot \eta - \psi(\theta)$.

        **Arguments:**

        - `point`: mean, inside the mean domain.
        - `start`: where a numerical solution starts, by default `natural_start(point)`; unused by
            closed forms.

        **Raises:** an error if the numerical solution does not converge.
        """
        self.check_single(point, start)
        return self.natural_kernel(point, start)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        """`to_natural` without checks; a performance hook, for closed forms.

        By default the convex dual is solved numerically, see `exponential_family.duality`.
        """
        return duality.solve_dual(self, point, start)

    @property
    def is_exact(self) -> bool:
        """Whether `improve` attains the mean that it is given; a performance hook, as `improve`."""
        return True

    def improve(self, point: Mean, start: Natural) -> Natural:
        r"""A natural point for which $\theta \cdot \eta - \psi(\theta)$ is not below the start's.

        A performance hook: by default `to_natural`, the largest value; models whose `to_natural` is
        numerical take a few steps from the start.
        """
        return self.to_natural(point, start)

    def natural_start(self, point: Mean) -> Natural:
        """Where the numerical `to_natural` starts; a performance hook, the origin by default."""
        return self.zeros(Coordinates.NATURAL)

    def admits(self, point: Natural) -> Bool[Array, ""]:
        """What the natural domain demands beyond a finite log partition function and mean.

        A performance hook: nothing by default.
        """
        return jnp.asarray(True)

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        """Whether a mean point is inside the mean domain.

        A performance hook: by default, whether the numerical `to_natural` finds a solution.
        """
        return duality.has_solution(self, point)

    def check(self, point: Point) -> Bool[Array, ""]:
        """Whether a point, natural or mean, is inside the domain of its coordinates."""
        self.check_single(point)
        if point.coordinates is Coordinates.NATURAL:
            return self.in_domain(point)
        return all_finite(point) & self.admits_mean(point)

    def in_domain(self, point: Natural) -> Bool[Array, ""]:
        """Whether a natural point is inside the natural domain.

        That is where the log partition function and its gradient are finite, and the family
        `admits` the point.
        """
        self.check_single(point)
        log_partition, mean = value_and_mean(self.log_partition_function, point)
        finite = jnp.isfinite(log_partition) & jnp.all(jnp.isfinite(self.ravel(mean)))
        return finite & self.admits(point)

    def log_density(self, point: Natural, x: Any) -> Float[Array, ""]:
        r"""The log density $\theta \cdot s(x) - \psi(\theta) + \log h(x)$ of one observation."""
        self.check_single(point)
        x = self.check_form(x, batch=False, like=point)
        flag_nan(x)
        energy = self.energy(point, x)
        return energy - self.log_partition_function(point) + self.log_base_measure(x)

    def log_densities(
        self, point: Natural, xs: Any, batch_size: int = BATCH_SIZE
    ) -> Float[Array, " n"]:
        """The log densities of a batch of observations, in chunks."""
        self.check_single(point)
        return log_densities(self, point, self._check_scored(xs, point), batch_size)

    def average_log_density(
        self, point: Natural, xs: Any, weights: Any = None, batch_size: int = BATCH_SIZE
    ) -> Float[Array, ""]:
        """The (weighted) average of the log densities of a batch of observations."""
        self.check_single(point)
        xs = self._check_scored(xs, point)
        return average_of_rows(log_densities, self, point, xs, weights, batch_size)

    def _check_scored(self, xs: Any, like: Point) -> Any:
        """A batch of observations without NaN; those outside the support have the density zero."""
        xs = self.check_form(xs, like=like)
        if not is_traced():
            check_no_nan(self, xs)
        return xs

    def negative_entropy(self, point: Mean) -> Float[Array, ""]:
        r"""The convex conjugate $\phi(\eta) = \theta \cdot \eta - \psi(\theta)$ of $\psi$.

        It is the negative entropy relative to the base measure: $E[\log p(x) - \log h(x)]$.
        """
        natural = self.to_natural(point)
        return dot(natural, point) - self.log_partition_function(natural)

    def relative_entropy(self, first: Natural, second: Natural) -> Float[Array, ""]:
        r"""The Kullback-Leibler divergence $D(p_1 \| p_2)$ from the first to the second point.

        Mathematically, $(\theta_1 - \theta_2) \cdot \eta_1 - \psi(\theta_1) + \psi(\theta_2)$.
        """
        difference = dot(first - second, self.to_mean(first))
        return difference - self.log_partition_function(first) + self.log_partition_function(second)

    def fisher_product(self, point: Natural, tangent: Natural) -> Mean:
        r"""The Fisher metric at a natural point applied to a tangent: $\nabla^2\psi(\theta) v$.

        **Arguments:**

        - `point`: natural, where the metric is taken.
        - `tangent`: natural, a direction $v$ in natural coordinates.

        **Returns:** a mean point, the direction in mean coordinates.
        """
        return duality.fisher_product(self, point, tangent)

    def fisher_matrix(self, point: Natural) -> Float[Array, "{self.dim} {self.dim}"]:
        r"""The Fisher information $\nabla^2\psi(\theta)$ in minimal natural coordinates."""
        return duality.fisher_matrix(self, point)

    @abstractmethod
    def initialize(self, key: PRNGKeyArray) -> Natural:
        """A random natural point, always inside the domain, of unit scale."""

    @abstractmethod
    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        """A random natural point near the data, always inside the domain: a start for fitting.

        **Arguments:**

        - `key`: a JAX random key; different keys give different starts.
        - `xs`: a batch of N observations.

        **Raises:** an error for observations of another form or outside the support.
        """

    @property
    def mask(self) -> Any:
        """The form of what says which parts of an observation are observed.

        A performance hook: one truth value by default, all or nothing.
        """
        return jax.ShapeDtypeStruct((), bool)


# --- batches, as one program whatever their length


@batched
def average_statistics(family: Any, xs: Any, weights: Any, batch_size: int) -> Mean:
    """The weighted average of the sufficient statistics of checked observations."""
    weights = check_weights(weights, batch_length(xs), float_dtype(xs))
    return sum_chunks(lambda xs, w: sum_statistics(family, xs, w), xs, weights, batch_size)


@batched
def log_densities(family: Any, point: Natural, xs: Any, batch_size: int) -> Float[Array, " n"]:
    """The log densities of checked observations."""
    log_partition = family.log_partition_function(point)

    def density(x: Any) -> Array:
        return family.energy(point, x) - log_partition + family.log_base_measure(x)

    return map_chunks(jax.vmap(density), xs, batch_size)


@batched
def average_of_rows(
    rows: Callable, model: Any, point: Natural, xs: Any, weights: Any, batch_size: int
) -> Float[Array, ""]:
    """The weighted average of what a function as `log_densities` says of checked observations."""
    densities = rows(model, point, xs, batch_size)
    return check_weights(weights, len(densities), densities.dtype) @ densities
