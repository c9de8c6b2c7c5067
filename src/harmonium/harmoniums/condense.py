"""Small samples that stand for large ones."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def two_moment_sample(
    xs: Float[Array, "n d"], weights: Float[Array, " n"]
) -> tuple[Float[Array, "2*d d"], Float[Array, " 2*d"]]:
    r"""Pseudo-observations with the first two moments of a weighted sample.

    Mathematically, for eigenvalues $\lambda_i$ and eigenvectors $v_i$ of the covariance, the points
    $\mu \pm \sqrt{D \lambda_i}\, v_i$ with equal weights have mean $\mu$ and that covariance.

    **Arguments:**

    - `xs`: (N, D).
    - `weights`: (N,), summing to one.

    **Returns:** 2D observations, and equal weights that sum to one.
    """
    dim = xs.shape[1]
    mean = weights @ xs
    centred = xs - mean[None]
    covariance = (centred * weights[:, None]).T @ centred
    values, vectors = jnp.linalg.eigh(covariance)
    spread = (vectors * jnp.sqrt(jnp.maximum(values, 0) * dim)[None]).T
    pseudo = jnp.concatenate([mean[None] + spread, mean[None] - spread])
    return pseudo, jnp.full(2 * dim, 1 / (2 * dim), xs.dtype)
