"""Small samples that stand for large ones."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def two_moment_sample(
    xs: Float[Array, "n d"], weights: Float[Array, " n"]
) -> tuple[Float[Array, "2*d d"], Float[Array, " 2*d"]]:
    """Pseudo-observations with the first two moments of a weighted sample.

    **Arguments:**

    - `xs`: (N, D).
    - `weights`: (N,), summing to one.

    **Returns:** 2D observations, and equal weights that sum to one.
    """
    mean = weights @ xs
    centred = xs - mean[None]
    pseudo = moment_sample(mean, (centred * weights[:, None]).T @ centred)
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
