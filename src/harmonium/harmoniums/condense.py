"""Small samples that stand for large ones."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from harmonium.exponential_family.checks import check_weights
from harmonium.exponential_family.chunks import batch_length
from harmonium.exponential_family.compiled import batched
from harmonium.exponential_family.form import float_dtype
from harmonium.geometry.manifold import AnyArray


def condense(model: Any, xs: Any, weights: Any = None) -> tuple[Any, Any]:
    """A smaller weighted sample with the same average log density for every parameter.

    Jointly Gaussian models depend on the data through two moments only, which 2D
    pseudo-observations reproduce; for others this returns the data as they are.

    **Arguments:**

    - `model`: a conjugated harmonium.
    - `xs`: a batch of N observations.
    - `weights`: (N,), not negative; equal ones by default.

    **Returns:** the observations, and their weights, which sum to one.
    """
    xs = model.data_man.check_data(xs)
    length = batch_length(xs)
    weights = check_weights(weights, length, float_dtype(xs))
    if not model.is_jointly_gaussian or 2 * xs.shape[1] >= length:
        return xs, weights
    return two_moment_sample(xs, weights)


@batched
def two_moment_sample(
    xs: Float[AnyArray, "n d"], weights: Float[AnyArray, " n"]
) -> tuple[Float[Array, "2*d d"], Float[Array, " 2*d"]]:
    """Pseudo-observations with the first two moments of a weighted sample.

    **Arguments:**

    - `xs`: (N, D).
    - `weights`: (N,), summing to one.

    **Returns:** 2D observations, and equal weights that sum to one.
    """
    mean: Any = weights @ xs
    centred = xs - mean[None]
    pseudo = moment_sample(mean, jnp.asarray((centred * weights[:, None]).T @ centred))
    return pseudo, jnp.full(len(pseudo), 1 / len(pseudo), xs.dtype)


def moment_sample(
    mean: Float[Array, " d"], covariance: Float[Array, "d d"]
) -> Float[Array, "2*d d"]:
    r"""Pseudo-observations of equal weights with this mean and covariance.

    Mathematically, for eigenvalues $\lambda_i$ and eigenvectors $v_i$ of the covariance, the points
    $\mu \pm \sqrt{D \lambda_i}\, v_i$.
    """
    values, vectors = jnp.linalg.eigh(covariance)
    spread = (vectors * jnp.sqrt(jnp.maximum(values, 0) * len(mean))[None]).T
    return jnp.concatenate([mean[None] + spread, mean[None] - spread])
