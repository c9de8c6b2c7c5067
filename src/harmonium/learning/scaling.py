"""Data centred and scaled for fitting, and the result pushed back into the user's coordinates.

Natural parameters and raw second moments lose digits when data lie far from zero, so that fitting
works on standardised data. Which maps are admitted depends on the observable's covariance
structure: a scale for each column, one for all, or none.
"""

import math
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from harmonium.exponential_family.affine import substitute
from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.product import Product
from harmonium.families.normal import Normal
from harmonium.geometry.diagonal import Diagonal
from harmonium.geometry.point import Natural


class Affine(eqx.Module):
    """The map from standardised vectors to a user's, `scale * x + shift`.

    **Fields:** `scale`, (n,), a scalar, or `None` where no scaling is admitted; `shift`, (n,).
    """

    scale: Any
    shift: Any


# An affine map, `None` for observations that stay as they are, or a tuple of them for a product.
Scaling = Affine | tuple | None


def standardization(family: Differentiable, xs: Any, observed: Any, weights: Any) -> Scaling:
    """The map to data from data with zero mean and, if admitted, unit variance.

    **Arguments:**

    - `family`: of the observations.
    - `xs`: a batch of N observations, of NumPy or JAX arrays, which decides where it is computed.
    - `observed`: N masks, or `None`.
    - `weights`: (N,), summing to one.
    """
    match family:
        case Product():
            parts = family.map_parts(partial(standardization, weights=weights), xs, observed)
            return None if all(part is None for part in parts) else parts
        case Normal():
            return _standardize_columns(family, xs, observed, weights)
    return None


def _standardize_columns(family: Normal, xs: Any, observed: Any, weights: Any) -> Affine:
    library: Any = jnp if isinstance(xs, jax.Array) else np
    shown = library.ones(xs.shape, bool) if observed is None else library.asarray(observed)
    shares = library.where(shown, library.asarray(weights)[:, None], 0)
    totals = shares.sum(0)
    shares = shares / library.where(totals > 0, totals, 1)[None]
    shift = library.where(shown, xs * shares, 0).sum(0)
    centred = library.where(shown, xs - shift[None], 0)
    variances = (shares * centred**2).sum(0)
    return standardizing_columns(family, shift, variances)


def standardizing_columns(family: Normal, shift: Any, variances: Any) -> Affine:
    """The map to vectors of these means and variances from standardised ones.

    **Arguments:**

    - `family`: of the vectors, which decides about the scale.
    - `shift`: (n,), their means.
    - `variances`: (n,).
    """
    library: Any = jnp if isinstance(shift, jax.Array) else np
    # What is left of a constant column is rounding.
    rounding = (library.finfo(shift.dtype).eps * library.abs(shift) * 10) ** 2
    variances = library.where(variances > rounding, variances, 0)
    structure = family.covariance_structure
    if structure.contains(Diagonal()):
        scale = library.where(variances > 0, variances, 1) ** 0.5
    elif structure.is_linear:
        average = variances.mean()
        scale = library.where(average > 0, average, 1) ** 0.5
    else:
        scale = None
    return Affine(scale, shift)


def standardize_data(scaling: Scaling, xs: Any) -> Any:
    """The data in standardised coordinates."""
    if scaling is None:
        return xs
    if isinstance(scaling, tuple):
        return tuple(standardize_data(*pair) for pair in zip(scaling, xs, strict=True))
    centred = xs - scaling.shift[None]
    if scaling.scale is None:
        return centred
    return centred / (scaling.scale if scaling.scale.ndim == 0 else scaling.scale[None])


def log_volumes(scaling: Scaling, observed: Any, xs: Any) -> Any:
    """The logarithm by which densities of each observation differ between coordinates.

    What is to be subtracted from log densities in standardised coordinates.
    """
    if isinstance(scaling, tuple):
        masks = (None,) * len(scaling) if observed is None else observed
        triples = zip(scaling, masks, xs, strict=True)
        return sum((log_volumes(*triple) for triple in triples), 0.0)
    if scaling is None or scaling.scale is None:
        return 0.0
    library: Any = jnp if isinstance(xs, jax.Array) else np
    shown = library.ones(xs.shape, bool) if observed is None else library.asarray(observed)
    logs = library.broadcast_to(library.log(library.asarray(scaling.scale)), xs.shape)
    return library.sum(library.where(shown, logs, 0), axis=1)


def density_ceiling(scaling: Scaling, xs: Any, dtype: Any) -> float:
    """A log density of standardised data beyond which covariances are singular up to rounding.

    That of variances of the relative rounding error; none where real numbers are not standardised.
    """
    if isinstance(scaling, tuple):
        pairs = zip(scaling, xs, strict=True)
        return sum(density_ceiling(own, x, dtype) for own, x in pairs)
    if scaling is not None and scaling.scale is not None:
        return -0.5 * math.log(jnp.finfo(dtype).eps) * xs.shape[1]
    leaves = jax.tree.leaves(xs)
    real = any(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves)
    return math.inf if real else 0.0


def push_back(scaling: Scaling, model: Any, params: Natural) -> Natural:
    """Parameters for standardised data as those for the data."""
    scale, shift = _parts(scaling)
    return params if scaling is None else model.push_forward(params, scale, shift)


def push_into(scaling: Scaling, model: Any, params: Natural) -> Natural:
    """Parameters for the data as those for standardised data: the inverse of `push_back`."""
    scale, shift = _parts(scaling)
    return params if scaling is None else substitute(model, params, scale, shift)


def _parts(scaling: Scaling) -> tuple[Any, Any]:
    if scaling is None:
        return None, None
    if isinstance(scaling, tuple):
        pairs = [_parts(own) for own in scaling]
        return tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
    return scaling.scale, scaling.shift


def as_numbers(xs: Any, like: Any) -> Any:
    """The data as NumPy arrays in double precision, given the checked JAX arrays."""
    structure = jax.tree.structure(like)
    arrays = [np.asarray(leaf) for leaf in structure.flatten_up_to(xs)]
    return structure.unflatten(
        [
            own.astype(np.float64) if jnp.issubdtype(form.dtype, jnp.floating) else np.asarray(form)
            for own, form in zip(arrays, jax.tree.leaves(like), strict=True)
        ]
    )


def as_arrays(xs: Any, dtype: Any) -> Any:
    """Arrays of which real ones have this precision."""

    def convert(leaf: Any) -> Any:
        array = leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
        real = jnp.issubdtype(array.dtype, jnp.floating)
        return array.astype(dtype) if real and array.dtype != dtype else array

    return jax.tree.map(convert, xs)
