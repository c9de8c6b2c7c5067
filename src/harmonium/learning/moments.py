"""The first two moments of data that are read piece by piece, in double precision."""

from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from harmonium.exponential_family.product import Product
from harmonium.families.normal import Normal
from harmonium.geometry.matrix import PositiveDefinite
from harmonium.harmoniums.condense import moment_sample
from harmonium.learning.scaling import Scaling, standardizing_columns

# Beyond as many columns, a whole covariance is not worth its memory, unless the model has one.
MAX_COLUMNS = 4096


class Moments(NamedTuple):
    """Moments of vectors.

    **Fields:** `weight`, the sum of weights; `mean`, (D,); and `scatter`, the weighted sum of
    squares about the mean: (D, D), or its diagonal, (D,).
    """

    weight: float
    mean: np.ndarray
    scatter: np.ndarray


def collect_moments(family: Any, xs: Any, weights: np.ndarray, whole: bool = False) -> Any:
    """The moments of those parts of a batch that are real vectors; `None` for others.

    **Arguments:**

    - `family`: of the observations.
    - `xs`: N observations, NumPy arrays.
    - `weights`: (N,), not all zero.
    - `whole`: whether to collect whole covariances, not only where the family has such.
    """
    match family:
        case Product():
            return family.map_parts(partial(collect_moments, weights=weights), xs)
        case Normal():
            weight = weights.sum()
            mean = weights @ xs / weight
            centred = xs - mean
            own = isinstance(family.covariance_structure, PositiveDefinite)
            if own or (whole and family.data_dim <= MAX_COLUMNS):
                return Moments(weight, mean, (centred * weights[:, None]).T @ centred)
            return Moments(weight, mean, weights @ centred**2)
    return None


def merge_moments(first: Any, second: Any) -> Any:
    r"""The moments of two batches together.

    Mathematically, sums of squares add up, and so does $\frac{w_1 w_2}{w_1 + w_2} (\mu_2 - \mu_1)
    (\mu_2 - \mu_1)^T$, which loses no digits wherever the data lie.

    **Source:** Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance (1983).
    """
    if isinstance(first, Moments):
        weight = first.weight + second.weight
        change = second.mean - first.mean
        scatter = first.scatter + second.scatter
        factor = first.weight * second.weight / weight
        square = np.outer(change, change) if scatter.ndim == 2 else change**2
        mean = first.mean + change * (second.weight / weight)
        return Moments(weight, mean, scatter + factor * square)
    if isinstance(first, tuple):
        return tuple(merge_moments(*pair) for pair in zip(first, second, strict=True))
    return None


def scaling_of(family: Any, moments: Any) -> Scaling:
    """What `standardization` returns, from the moments of the data."""
    if isinstance(moments, Moments):
        variances = moments.scatter / moments.weight
        if variances.ndim == 2:
            variances = np.diagonal(variances)
        return standardizing_columns(family, moments.mean, variances)
    if isinstance(moments, tuple):
        parts = family.map_parts(scaling_of, moments)
        return None if all(part is None for part in parts) else parts
    return None


def representatives(family: Any, moments: Any, scaling: Any, sample: Any, dtype: Any) -> Any:
    """Observations of equal weights with the moments of all data, standardised.

    **Arguments:**

    - `moments`: of the data.
    - `scaling`: the map from standardised data to the data.
    - `sample`: standardised observations, which represent those that have no moments.
    - `dtype`: the precision of what is returned.

    **Returns:** an observation of the family's form with a leading axis, which may differ in length
    between parts.
    """
    if isinstance(moments, Moments):
        mean, covariance = moments.mean, moments.scatter / moments.weight
        if scaling is not None:
            mean = mean - scaling.shift
            scale = np.ones(1) if scaling.scale is None else np.atleast_1d(scaling.scale)
            mean, covariance = mean / scale, covariance / scale
            covariance = covariance / (scale[:, None] if covariance.ndim == 2 else scale)
        if covariance.ndim == 2:
            return moment_sample(jnp.asarray(mean, dtype), jnp.asarray(covariance, dtype))
        spread = np.sqrt(covariance)
        return jnp.asarray(np.stack([mean + spread, mean - spread]), dtype)
    if isinstance(moments, tuple):
        return family.map_parts(partial(representatives, dtype=dtype), moments, scaling, sample)
    return sample
