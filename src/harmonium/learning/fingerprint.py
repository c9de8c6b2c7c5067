"""Short texts that tell the arguments of a run apart, the same in every process."""

import dataclasses
import functools
import hashlib
import types
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

MAX_TEXT = 120
# Functions may close over themselves.
MAX_DEPTH = 20
# Odd numbers with irregular bits: fractional parts of square roots, as in SHA-2.
MULTIPLIERS = (0x6A09E667, 0xBB67AE85, 0x3C6EF373, 0xA54FF53B)
WORDS_A_CHUNK = 1 << 22


def describe(value: Any) -> str:
    """A short text that tells an argument of a run from others.

    Arrays are described by shape, type and a checksum of their numbers, which costs one pass over
    them, where they are, in whatever way they are distributed; functions by their code and what
    they close over, as the step sizes of optimisers; other objects by their class only.
    """
    text = _describe(value, 0)
    if len(text) <= MAX_TEXT:
        return text
    return f"{text[:MAX_TEXT]}... #{_digest(text.encode())}"


def _describe(value: Any, depth: int) -> str:
    if depth > MAX_DEPTH:
        return "..."

    def join(values: Any) -> str:
        return ", ".join(_describe(item, depth + 1) for item in values)

    match value:
        case None | bool() | int() | float() | str():
            return repr(value)
        case functools.partial():
            return f"partial({join((value.func, value.args, value.keywords))})"
        case types.MethodType():
            return f"method({join((value.__self__, value.__func__))})"
        case dict():
            return f"dict({join(value.items())})"
        case list() | tuple():
            return f"{type(value).__name__}({join(value)})"
        case eqx.Module():
            fields = dataclasses.fields(value)
            return f"{type(value).__name__}({join(getattr(value, f.name) for f in fields)})"
    if hasattr(value, "__array__"):
        return _describe_array(value)
    function = getattr(value, "__wrapped__", value)
    if isinstance(function, types.FunctionType):
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        inner = join([function.__defaults__, *cells])
        return f"{function.__qualname__}({inner}) #{_digest(_code(function.__code__))}"
    return getattr(function, "__qualname__", type(value).__qualname__)


def _code(code: types.CodeType) -> bytes:
    """The instructions and constants of a function and those in it."""

    def text(constant: Any) -> Any:
        if isinstance(constant, types.CodeType):
            return _code(constant)
        # Sets of strings have another order in each process.
        return sorted(map(repr, constant)) if isinstance(constant, frozenset) else repr(constant)

    return repr((code.co_code, code.co_names, [text(c) for c in code.co_consts])).encode()


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]


# --- arrays


def _describe_array(array: Any) -> str:
    if not isinstance(array, jax.Array):
        array = np.asarray(array)
    elif jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    form = f"{array.dtype}[{', '.join(map(str, array.shape))}]"
    if array.dtype.kind not in "biuf":
        return f"{form} #{_digest(repr(array.tolist()).encode())}"
    sums = _device_sums(array) if isinstance(array, jax.Array) else _host_sums(array)
    return f"{form} #{''.join(f'{int(own):08x}' for own in sums)}"


def _scramble(words: Any) -> Any:
    """A map of 32 bits onto themselves by which each bit that differs changes about half of them.

    **Source:** Appleby, MurmurHash3 (2011), the final mix.
    """
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        words = (words ^ (words >> np.uint32(shift))) * np.uint32(factor)
    return words ^ (words >> np.uint32(16))


def _weigh(words: Any, index: Any, library: Any) -> Any:
    r"""Sums of words, scrambled together with their positions, modulo $2^{32}$.

    Whole numbers are added exactly, in any order and wherever they are.
    """
    keys = [_scramble(index * np.uint32(own) + np.uint32(own)) for own in MULTIPLIERS]
    return library.stack([library.sum(_scramble(words ^ key), dtype=np.uint32) for key in keys])


@jax.jit
def _device_sums(array: jax.Array) -> jax.Array:
    size = array.dtype.itemsize
    if array.dtype == bool:
        words = array.astype(np.uint8)
    else:
        words = jax.lax.bitcast_convert_type(array, jnp.dtype(f"uint{min(8 * size, 32)}"))
    words = words.astype(np.uint32)
    index = jax.lax.iota(np.uint32, words.size).reshape(words.shape)
    return _weigh(words, index, jnp)


def _host_sums(array: np.ndarray) -> Any:
    flat = np.ascontiguousarray(array).reshape(-1)
    step = max(1, WORDS_A_CHUNK // max(1, array.dtype.itemsize // 4))
    total, done = np.zeros(len(MULTIPLIERS), np.uint32), 0
    for start in range(0, flat.size, step):
        part = flat[start : start + step]
        words = part.view(f"uint{min(8 * part.dtype.itemsize, 32)}").astype(np.uint32)
        index = np.arange(done, done + words.size).astype(np.uint32)
        total, done = total + _weigh(words, index, np), done + words.size
    return total
