"""Whole computations as one program each: what a test computes with JAX, it compiles once."""

from collections.abc import Callable
from typing import Any

import jax


def compute(function: Callable, *arguments: Any) -> Any:
    """What a function returns, computed by one program and fetched: the leaves are of NumPy.

    An operation on arrays of JAX outside of `jax.jit` is a program of its own, and compiling it
    takes longer than computing most tests: tests compute with JAX in here, compare in NumPy.
    """
    return jax.device_get(jax.jit(function)(*arguments))
