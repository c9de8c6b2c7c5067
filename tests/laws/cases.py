"""One entry of the catalogue in one floating point type, with what most laws need of it.

Everything that takes compiling is computed once a case and kept; laws run case by case.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.catalogue import CATALOGUE, FAMILIES

N_DRAWS = 4000
N_DATA = 23


class Case:
    """A model of the catalogue, two points of it, and samples of the first."""

    def __init__(self, name: str, precision: int):
        self.name = name
        self.model = CATALOGUE[name]()
        self.dtype = jnp.dtype(f"float{precision}")
        self.eps = float(jnp.finfo(self.dtype).eps)
        self._compiled: dict[Any, Callable] = {}

    def jit(self, function: Any, *statics: Any) -> Callable:
        """A compiled function, the same one whenever asked for again.

        A function takes the model and `statics` first; a string names a method of the model.
        """
        label = (function, statics)
        if label not in self._compiled:
            if isinstance(function, str):
                bound = functools.partial(getattr(self.model, function), *statics)
            else:
                bound = functools.partial(function, self.model, *statics)
            self._compiled[label] = jax.jit(bound)
        return self._compiled[label]

    @functools.cached_property
    def points(self) -> hm.Natural:
        """A batch of two natural points."""
        keys = jax.random.split(jax.random.key(1), 2)
        return self.jit(_initialize_all)(keys)

    @functools.cached_property
    def point(self) -> hm.Natural:
        return self.points[0]

    @functools.cached_property
    def other(self) -> hm.Natural:
        return self.points[1]

    @functools.cached_property
    def mean(self) -> hm.Mean:
        return self.jit("to_mean")(self.point)

    @functools.cached_property
    def other_mean(self) -> hm.Mean:
        return self.jit("to_mean")(self.other)

    def draw(self, seed: int, point: hm.Natural) -> Any:
        """Samples of a point, the same for the same seed."""
        return self.jit(_sample)(jax.random.key(seed), point)

    @functools.cached_property
    def draws(self) -> Any:
        """Many samples of the first point."""
        return self.draw(2, self.point)

    @functools.cached_property
    def xs(self) -> Any:
        """A few observations of the model."""
        return jax.tree.map(lambda leaf: leaf[:N_DATA], self.draws)

    @functools.cached_property
    def observables(self) -> Any:
        """A few observations of the observable of a harmonium, drawn from the second point."""
        draws = self.draw(3, self.other)
        return jax.tree.map(lambda leaf: leaf[:N_DATA], draws.observable)

    @functools.cached_property
    def weights(self) -> jax.Array:
        """Positive weights of `observables` that do not sum to one."""
        return jnp.linspace(0.5, 2.0, N_DATA, dtype=self.dtype)

    def close(self, actual: Any, expected: Any, units: float, power: float = 1.0) -> None:
        """Asserts agreement within `units * eps**power`, relative to the largest number.

        `power` is 1 for what is computed directly, 2/3 for central differences with a step of
        `eps**(1/3)`, 1/2 for what iterations stop at.
        """
        assert_close(actual, expected, units * self.eps**power)


def _initialize_all(model: Any, keys: Any) -> Any:
    return jax.vmap(model.initialize)(keys)


def _sample(model: Any, key: Any, point: Any) -> Any:
    return model.sample(key, point, (N_DRAWS,))


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
    """The case in use; what was compiled for the one before it is given up."""
    jax.clear_caches()
    return Case(name, precision)


MAIN_PRECISION = 64 if jax.config.jax_enable_x64 else 32


def names_where(predicate: Callable[[Any], bool]) -> list[str]:
    """The entries of the catalogue whose model satisfies the predicate."""
    return [name for name, build in CATALOGUE.items() if predicate(build())]


def is_conjugated(model: Any) -> bool:
    return isinstance(model, hm.Conjugated)


# Every law holds in both floating point types, but not every law takes as long in both: laws that a
# wrong dtype or tolerance would break run in both for every entry, others for these entries.
REPRESENTATIVES = (
    "normal",
    "categorical_4",
    "linear_diagonal_full",
    "linear_full_diagonal",
    "mixture_full",
    "hierarchy_2",
)

# Where `to_natural` is numerical it is the same code, which takes long to compile: laws of what is
# built on it run for these, and for all models in closed form.
NUMERICAL = (
    "linear_full_diagonal",
    "mixture_of_diagonal_differences",
    "hierarchy_2_posterior_scale",
)
SOLVED = (
    *names_where(lambda m: not is_conjugated(m) or (m.is_closed_form and m.is_symmetric)),
    *NUMERICAL,
)

# Laws of code that is written once for all models run on these.
GENERIC = (
    *FAMILIES,
    *REPRESENTATIVES[2:],
    "mixture_product",
    "mixture_tied",
    "hierarchy_gaussian",
    "hierarchy_3",
    "hierarchy_2_posterior_scale",
)
CONJUGATED = tuple(names_where(is_conjugated))
GENERIC_CONJUGATED = tuple(name for name in GENERIC if name in CONJUGATED)


def over(names: Any, both: Any = REPRESENTATIVES) -> Any:
    """Runs a law once for each of these entries of the catalogue.

    In the floating point type of the suite, and for the names in `both` in the other one, too.
    """
    params = [
        pytest.param(
            (name, precision),
            id=f"{name}-float{precision}",
            marks=pytest.mark.xdist_group(f"{name}-{precision}"),
        )
        for name in names
        for precision in (64, 32)
        if precision == MAIN_PRECISION or name in both
    ]
    return pytest.mark.parametrize("case", params, indirect=True)


def unlabelled(point: Any) -> list[Any]:
    return jax.tree.leaves(point)
