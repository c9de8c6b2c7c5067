"""Compiled programs where users call: one for each form of the arguments, whatever N is.

Each operation that runs by itself is compiled by itself, for each new shape of its arguments. What
is called outside of compiled functions therefore is one program, and batches are padded to few
lengths, so that another number of observations finds the program of the last.
"""

import contextvars
import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax._src import core  # JAX says nowhere else whether a function is being traced
from jax._src.interpreters.batching import BatchTrace, BatchTracer
from jaxtyping import Array, Bool

# Arguments with these annotations are part of the program; all others are data.
STATIC = (int, bool, str, tuple[int, ...])
# Batches are padded to this length at least; up to `COARSE` to powers of two, then by at most a
# sixteenth.
SHORTEST = 16
COARSE = 1024
FINE = 16
# Up to JAX 0.10 a CPU can do without these: programs compile in 0.6 to 0.8 of the time, and are no
# slower, see `benchmarks.compiler_options`.
OPTIONS = {"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < (0, 11) else {}


def padded_length(length: int, shortest: int = SHORTEST) -> int:
    """The length to which a batch is padded: one of few, at most a sixteenth longer if it is long.

    Chunks of a padded batch have few lengths, too.
    """
    step = _step(length)
    return max(shortest, -(-length // step) * step)


def few_rows(length: int) -> int:
    """The largest length to which batches are padded that is not above this one."""
    step = _step(length)
    return length if length % step == 0 else max(step // 2, length // step * step)


def _step(length: int) -> int:
    above = 1 << max(0, length - 1).bit_length()
    return above if above <= COARSE else above // (2 * FINE)


def is_traced() -> bool:
    """Whether the caller is being traced: by `jax.jit`, `jax.vmap`, `jax.grad` and so on."""
    return not core.trace_state_clean()


class _Flags(NamedTuple):
    """The checks of a program: whether they hold, and what to say where they don't."""

    trace: Any
    valid: list[Bool[Array, ""]]
    messages: list[str]


_flags: contextvars.ContextVar[_Flags | None] = contextvars.ContextVar("flags", default=None)


def add_flag(valid: Bool[Array, ""], message: str) -> bool:
    """Leaves a check to the program that is being traced, which raises after it has run.

    Within `jax.vmap` all must hold. Not where its value is part of a loop or a gradient within:
    these know of no values but their own.
    """
    flags = _flags.get()
    if flags is None:
        return False
    trace = core.trace_ctx.trace
    while isinstance(trace, BatchTrace) and trace is not flags.trace:
        if isinstance(valid, BatchTracer) and valid._trace is trace:
            valid = valid.val
        trace = trace.parent_trace
    if trace is not flags.trace:
        return False
    with core.set_current_trace(trace):
        flags.valid.append(jnp.all(valid))
    flags.messages.append(message)
    return True


class _Outcome(eqx.Module):
    value: Any
    valid: Bool[Array, " checks"]
    messages: tuple[str, ...] = eqx.field(static=True)


class _Layout(NamedTuple):
    """All of a call that is no array."""

    static: tuple[tuple[str, Any], ...]
    structure: Any
    others: tuple[Any, ...]


def compiled(function: Callable) -> Callable:
    """A function that is one program when it is called outside of compiled functions.

    Nothing changes where it is traced. Arguments annotated as integers, truth values, text or
    shapes are part of the program.

    **Raises:** what `require` raises, as `ValueError`.
    """
    bind = _binder(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if is_traced():
            return function(*args, **kwargs)
        return _run(function, *bind(*args, **kwargs))

    return call


def batched(function: Callable) -> Callable:
    """A function of a batch `xs` that is one program for many lengths of the batch.

    As `compiled`, with the batch padded by repetitions of its last observation. The result has a
    row for each observation, unless the function takes `weights`, which are zero for repetitions.
    """
    bind, weighted = _binder(function), "weights" in inspect.signature(function).parameters

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if is_traced():
            return function(*args, **kwargs)
        fixed, given = bind(*args, **kwargs)
        length, given = _padded(given, weighted)
        value = _run(function, fixed, given)
        if weighted or length is None:
            return value
        return jax.tree.map(lambda leaf: _first_rows(leaf, length), value)

    return call


def _binder(function: Callable) -> Callable:
    """What tells the arguments of a call that are part of the program from those that are data."""
    signature = inspect.signature(function)
    static = {name for name, own in signature.parameters.items() if own.annotation in STATIC}

    def bind(*args: Any, **kwargs: Any) -> tuple[tuple, dict[str, Any]]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        pairs = bound.arguments.items()
        fixed = tuple((name, value) for name, value in pairs if name in static)
        return fixed, {name: _as_data(value) for name, value in pairs if name not in static}

    return bind


def _run(function: Callable, fixed: tuple, given: dict[str, Any]) -> Any:
    leaves, structure = jax.tree.flatten(given)
    arrays = [leaf if _is_data(leaf) else None for leaf in leaves]
    others = tuple(None if _is_data(leaf) else leaf for leaf in leaves)
    outcome = _program(function)(_Layout(fixed, structure, others), arrays)
    if outcome.messages:
        held = np.asarray(outcome.valid)
        if not held.all():
            raise ValueError(outcome.messages[int(np.argmin(held))])
    return outcome.value


@functools.cache
def _program(function: Callable) -> Callable:
    """The compiled function of a layout and arrays, by the name of the function in profiles."""

    def program(layout: _Layout, arrays: list[Any]) -> _Outcome:
        pairs = zip(arrays, layout.others, strict=True)
        given = layout.structure.unflatten([a if a is not None else b for a, b in pairs])
        flags = _Flags(core.trace_ctx.trace, [], [])
        token = _flags.set(flags)
        try:
            value = function(**dict(layout.static), **given)
        finally:
            _flags.reset(token)
        valid = jnp.stack(flags.valid) if flags.valid else jnp.ones(0, bool)
        return _Outcome(value, valid, tuple(flags.messages))

    program.__name__ = getattr(function, "__name__", "program")
    return jax.jit(program, static_argnums=0, compiler_options=OPTIONS)


def _is_data(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | float | int | complex)


def _as_data(value: Any) -> Any:
    """Lists of numbers, and tables, as NumPy arrays; all else as it is."""
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(map(_as_data, value))
    is_table = hasattr(value, "__array__") and not _is_data(value)
    if isinstance(value, list) or is_table:
        try:
            array = np.asarray(value)
        except ValueError:  # lists of several lengths, which the function may understand
            return value
        return array if array.dtype.kind in "biuf" else value
    return value


def _padded(given: dict[str, Any], weighted: bool) -> tuple[int | None, dict[str, Any]]:
    """The arguments with their batch padded, and how long it was, if that is another length now.

    A weighted batch always gets weights, so that all batches find one program.
    """
    xs, weights = given["xs"], given.get("weights")
    grouped = hasattr(xs, "pad")
    length = len(xs) if grouped else len(jax.tree.leaves(xs)[0])
    fits = length == padded_length(length) and not grouped
    if _is_spread((xs, weights)) or (fits and not weighted):
        return None, given
    if weights is None:
        weights = np.ones(length)
    elif np.shape(weights) != (length,):
        return None, given  # which the function refuses
    xs, weights = pad_rows(xs, weights)
    return length, given | ({"xs": xs, "weights": weights} if weighted else {"xs": xs})


def _first_rows(leaf: Array, length: int) -> Array:
    return leaf[:length] if on_accelerator(leaf) else jax.device_put(np.asarray(leaf)[:length])


def pad_rows(xs: Any, weights: Any) -> tuple[Any, Any]:
    """A batch and its weights, padded with repetitions of weight zero.

    As they are if they are traced, or spread over devices.
    """
    if is_traced() or _is_spread((xs, weights)):
        return xs, weights
    length = len(weights)
    size = padded_length(length)
    if hasattr(xs, "pad"):
        xs = xs.pad(size)
    else:
        xs = jax.tree.map(lambda leaf: repeat_last(leaf, size), xs)
    library = jnp if on_accelerator(weights) else np
    zeros = library.zeros(size - length, weights.dtype)
    return jax.device_put((xs, library.concatenate([library.asarray(weights), zeros])))


def on_accelerator(leaf: Any) -> bool:
    """Whether an array lies where moving it to the host and back takes longer than compiling."""
    return isinstance(leaf, jax.Array) and all(own.platform != "cpu" for own in leaf.devices())


def _is_spread(tree: Any) -> bool:
    return any(
        isinstance(leaf, jax.Array) and len(leaf.sharding.device_set) > 1
        for leaf in jax.tree.leaves(tree)
    )


def repeat_last(leaf: Any, size: int) -> Any:
    """An array whose last row is repeated until there are so many, where the array lies."""
    library: Any = jnp if on_accelerator(leaf) else np
    leaf = library.asarray(leaf)
    if len(leaf) == size:
        return leaf
    rest = library.broadcast_to(leaf[-1:], (size - len(leaf), *leaf.shape[1:]))
    return library.concatenate([leaf, rest])
