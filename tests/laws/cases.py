"""One entry of the catalogue in one floating point type, and what the laws compute of it.

A law is a test with a computation. Compiling is what takes long: the computations of a file of laws
are one program a case, what all of them start from is another, and the tests compare in NumPy. One
program for all laws would take longer, as the time of compiling grows faster than programs do.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.catalogue import CATALOGUE, FAMILIES, REPRESENTATIVES, VARIATIONS
from tests.compiled import compute

N_DRAWS = 4000
N_DATA = 23
N_STEPS = 6


class Given:
    """What laws start from: two points of a model with their means, and samples.

    While the program of the laws is traced the arrays are tracers, and what several laws need is
    traced once; the tests see the same arrays in NumPy.
    """

    def __init__(self, model: Any, arrays: tuple):
        points, means, draws, observables, weights = arrays
        self.model = model
        self.points, self.means = points, means
        self.point, self.other = (_row(points, i) for i in range(2))
        self.mean, self.other_mean = (_row(means, i) for i in range(2))
        # Many samples of the first point, and a few of them as observations.
        self.draws = draws
        self.xs = jax.tree.map(lambda leaf: leaf[:N_DATA], draws)
        # A few observations of the observable of a harmonium, drawn from the second point, with
        # positive weights that do not sum to one.
        self.observables = observables
        self.dtype = jax.tree.leaves(points)[0].dtype
        self.eps = float(jnp.finfo(self.dtype).eps)
        self.weights = weights
        # Coefficients of a linear function of minimal coordinates.
        self.direction = np.cos(1.3 * np.arange(model.dim)).astype(self.dtype)

    def call(self, method: str, *arguments: Any) -> Any:
        """What a method of the model returns, traced once for all laws of a case."""
        return _call(self.model, method, *arguments)

    @property
    def data(self) -> Any:
        """The data of the first few samples of a harmonium."""
        return self.model.data_of(self.xs)

    @functools.cached_property
    def log_densities(self) -> Any:
        return self.call("log_densities", self.point, self.xs)

    @functools.cached_property
    def log_observable_densities(self) -> Any:
        return self.call("log_observable_densities", self.point, self.data)

    @functools.cached_property
    def to_natural(self) -> Any:
        """The natural points of the means, and of the mean half way between them."""
        halfway = jax.tree.map(lambda leaf: (leaf[0] + leaf[1]) / 2, self.means)
        means = jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), self.means, halfway)
        return means, jax.vmap(lambda mean: self.call("to_natural", mean))(means)

    @functools.cached_property
    def fisher_matrix(self) -> Any:
        return self.call("fisher_matrix", self.point)

    @functools.cached_property
    def relative_entropies(self) -> Any:
        """From the first point to the second, back, and to itself."""
        first = _rows(self.points, [0, 1, 0])
        second = _rows(self.points, [1, 0, 0])
        return jax.vmap(lambda p, q: self.call("relative_entropy", p, q))(first, second)

    @functools.cached_property
    def standard(self) -> Any:
        return self.call("standardize", self.point)

    @functools.cached_property
    def em_steps(self) -> tuple[Any, Any]:
        """Where the first step of EM leads both points, and the likelihoods before each step."""
        data = self.observables, self.weights

        def one(point: Any) -> tuple[Any, Any]:
            value = self.call("average_log_observable_density", point, *data)
            return self.call("expectation_maximization", point, *data), value

        def step(points: Any, _: None) -> tuple[Any, Any]:
            points, values = jax.vmap(one)(points)
            return points, (points, values)

        _, (points, values) = jax.lax.scan(step, self.points, length=N_STEPS)
        return jax.tree.map(lambda leaf: leaf[0], points), values


@functools.partial(jax.jit, static_argnums=(0, 1))
def _call(model: Any, method: str, *arguments: Any) -> Any:
    return getattr(model, method)(*arguments)


def _row(tree: Any, i: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[i], tree)


def _rows(tree: Any, places: list[int]) -> Any:
    return jax.tree.map(lambda leaf: leaf[np.asarray(places)], tree)


def start(model: Any) -> tuple:
    """The arrays of `Given`."""
    points = jax.vmap(model.initialize)(jax.random.split(jax.random.key(1), 2))
    draws = sample(model, 2, _row(points, 0))
    observables = None
    if is_conjugated(model):
        others = sample(model, 3, _row(points, 1))
        observables = jax.tree.map(lambda leaf: leaf[:N_DATA], model.data_of(others))
    weights = jnp.linspace(0.5, 2.0, N_DATA)
    return points, jax.vmap(model.to_mean)(points), draws, observables, weights


def sample(model: Any, seed: int, point: Any) -> Any:
    """Samples of a point, the same ones for the same seed."""
    return model.sample(jax.random.key(seed), point, (N_DRAWS,))


def is_conjugated(model: Any) -> bool:
    return isinstance(model, hm.Conjugated)


# What the tests that were collected compute of each case, and from what besides `Given`.
COMPUTATIONS: dict[tuple[str, int], dict[Callable, Callable | None]] = {}


class Case(Given):
    """What the laws of a case start from, in NumPy, and what they found."""

    def __init__(self, name: str, precision: int):
        model = CATALOGUE[name]()
        self._label, self._found = (name, precision), {}
        self._arrays = compute(lambda: start(model))
        super().__init__(model, self._arrays)

    def found(self, computation: Callable) -> Any:
        """What the computation of a law returns, with leaves of NumPy."""
        if computation not in self._found:
            self._compute_all_of(computation.__module__)
        return self._found[computation]

    def _compute_all_of(self, module: str) -> None:
        """What the laws of a file compute, by one program."""
        functions = [f for f in COMPUTATIONS[self._label] if f.__module__ == module]
        make = [COMPUTATIONS[self._label][function] for function in functions]
        inputs = [() if function is None else function(self) for function in make]

        def run(arrays: tuple, inputs: list) -> list[Any]:
            given = Given(self.model, arrays)
            return [function(given, *own) for function, own in zip(functions, inputs, strict=True)]

        found = compute(run, self._arrays, inputs)
        self._found |= dict(zip(functions, found, strict=True))

    def close(self, actual: Any, expected: Any, units: float, power: float = 1.0) -> None:
        """Asserts agreement within `units * eps**power`, relative to the largest number.

        `power` is 1 for what is computed directly, 2/3 for central differences with a step of
        `eps**(1/3)`, 1/2 for what iterations stop at.
        """
        assert_close(actual, expected, units * self.eps**power)


def leaves(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf, float) for leaf in jax.tree.leaves(tree)]


def assert_close(actual: Any, expected: Any, tolerance: float) -> None:
    """Asserts that all numbers agree, relative to one plus the largest one."""
    found, wanted = leaves(actual), leaves(expected)
    assert [a.shape for a in found] == [b.shape for b in wanted]
    size = 1 + max((float(np.max(np.abs(b), initial=0)) for b in wanted), default=0)
    for a, b in zip(found, wanted, strict=True):
        assert np.all(np.isfinite(a))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * size)


@functools.lru_cache(maxsize=1)
def case_of(name: str, precision: int) -> Case:
    """The case in use: laws run case by case, and what was traced for one is of no use for others.

    Kept, it would slow down all that follows, as Python's garbage collector looks through it.
    """
    jax.clear_caches()
    return Case(name, precision)


MAIN_PRECISION = 64 if jax.config.jax_enable_x64 else 32


def names_where(predicate: Callable[[Any], bool], among: Any = CATALOGUE) -> list[str]:
    """The entries of the catalogue whose model satisfies the predicate."""
    return [name for name in among if predicate(CATALOGUE[name]())]


# The laws of everything but variations, and those that a variation could break.
KINDS = [name for name in CATALOGUE if name not in VARIATIONS]
CONJUGATED = names_where(is_conjugated)
CONJUGATED_KINDS = names_where(is_conjugated, KINDS)

# Families whose parts are other families.
OF_FAMILIES = "poissons", "von_mises_product", "replicated_normal"

# Every law holds in both floating point types: numbers are compared in both for these, and the
# types of everything else are inferred, which takes no compiling; see `test_precision.py`.
IN_BOTH_PRECISIONS = [
    *(name for name in KINDS if name in FAMILIES and name not in OF_FAMILIES),
    "mixture_full",
    "hierarchy_2",
]

# Where `to_natural` is numerical it is the same code, which takes long to compile: laws of what is
# built on it run for these, and for all models in closed form.
NUMERICAL = (
    "linear_full_diagonal",
    "mixture_of_diagonal_differences",
    "hierarchy_2_posterior_scale",
)
SOLVED = (
    *names_where(
        lambda m: not is_conjugated(m) or (m.has_closed_form_likelihood and m.is_symmetric)
    ),
    *NUMERICAL,
)
SOLVED_KINDS = [name for name in SOLVED if name not in VARIATIONS]
SOLVED_OR_KINDS = [name for name in CATALOGUE if name in KINDS or name in SOLVED]

# Laws of code that is written once for all models run on these.
GENERIC = [
    *(name for name in KINDS if name in FAMILIES),
    "linear_diagonal_full",
    "mixture_full",
    "mixture_product",
    "mixture_tied",
    "hierarchy_2",
]
GENERIC_CONJUGATED = [name for name in GENERIC if name in CONJUGATED]


def over(
    names: Any,
    computation: Callable[..., Any],
    inputs: Callable[[Case], tuple] | None = None,
) -> Any:
    """Runs a law once for each of these entries of the catalogue.

    In the floating point type of the suite, and for `IN_BOTH_PRECISIONS` in the other one, too.

    **Arguments:**

    - `computation`: a function of `Given`, and of `inputs`, traced with those of the same file.
    - `inputs`: more arrays for it, made of the case in NumPy.
    """
    params = [
        pytest.param(
            (name, precision), id=f"{name}-float{precision}", marks=_marks(name, precision)
        )
        for name in names
        for precision in (64, 32)
        if precision == MAIN_PRECISION or name in IN_BOTH_PRECISIONS
    ]

    def decorate(test: Callable) -> Callable:
        test = pytest.mark.computes(computation, inputs)(test)
        return pytest.mark.parametrize("case", params, indirect=True)(test)

    return decorate


def _marks(name: str, precision: int) -> list:
    quick = name in REPRESENTATIVES and precision == MAIN_PRECISION
    return [] if quick else [pytest.mark.whole]
