"""Comparisons that know the floating point type in which the suite runs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def eps() -> float:
    """The rounding unit of the default floating point type."""
    return float(jnp.finfo(jnp.zeros(()).dtype).eps)


def assert_close(actual: Any, expected: Any, units: float = 1e3, power: float = 1.0) -> None:
    """Asserts that two pytrees agree within `units * eps**power`, relative to the largest number.

    `power` is 1 for what is computed directly, 2/3 for central differences with a step of
    `eps**(1/3)`, 1/2 for what iterations stop at.
    """
    found = [np.asarray(leaf, float) for leaf in jax.tree.leaves(actual)]
    wanted = [np.asarray(leaf, float) for leaf in jax.tree.leaves(expected)]
    assert [a.shape for a in found] == [b.shape for b in wanted]
    size = 1 + max((float(np.max(np.abs(b), initial=0)) for b in wanted), default=0)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=units * eps() ** power * size)
