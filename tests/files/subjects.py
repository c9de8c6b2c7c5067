"""What the tests of files write: points of random bits, and fits without fitting."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import harmonium as hm


def random_point(manifold: Any, coordinates: hm.Coordinates, dtype: Any, batch: tuple = ()) -> Any:
    """A point of any numbers: files know nothing about domains."""
    rng = np.random.default_rng(0)

    def fill(leaf):
        numbers = rng.standard_normal((*batch, *leaf.shape)) * 10.0 ** rng.integers(-30, 30)
        return jnp.asarray(numbers.astype(dtype))

    return jax.tree.map(fill, manifold.template(coordinates))


def some_fit(model: Any, dtype: Any = np.float64) -> hm.Fit:
    """A fit of two starts and four steps, of which three were taken."""
    starts = random_point(model, hm.Coordinates.NATURAL, dtype, (2,))
    histories = np.asarray([[-3, -2, -1, np.nan], [-3.5, -2.5, -2, np.nan]], dtype)
    values, steps, codes = histories[:, 2], np.asarray([3, 3]), np.asarray([1, 5])
    first = [jax.tree.map(lambda leaf: leaf[0], a) for a in (starts, values, histories)]
    best = first[0], first[1], first[1], first[2], steps[0], codes[0]
    fit = *best, starts, values, histories, steps, codes, np.asarray(150, dtype)
    return hm.Fit(*jax.tree.map(jnp.asarray, fit))


def bits(tree: Any) -> tuple:
    """All that a tree of arrays consists of, so that equal bits compare equal, NaN too."""

    def look(leaf):
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return str(leaf.dtype), look(jax.random.key_data(leaf))
        if isinstance(leaf, jax.Array | np.ndarray | np.generic):
            kind = jax.Array if isinstance(leaf, jax.Array) else type(leaf)
            return kind, str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes()
        return type(leaf), repr(leaf)

    leaves, structure = jax.tree.flatten(tree)
    return structure, [look(leaf) for leaf in leaves]
