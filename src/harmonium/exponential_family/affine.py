"""The affine action on observations: the distribution of scaled and shifted real vectors."""

import functools
from typing import Any

from harmonium.exponential_family.checks import all_finite, require
from harmonium.geometry.matrix import invert_affine
from harmonium.geometry.point import Natural


@functools.singledispatch
def substitute(family: Any, point: Natural, scale: Any, shift: Any) -> Natural:
    r"""The natural point of $y$, where $x = B y + c$ and the given point is that of $x$.

    The affine action on natural parameters: linear in them, and free of inverses.

    **Arguments:**

    - `family`: of real vectors, or a model whose data they are.
    - `point`: natural, the distribution of $x$.
    - `scale`: $B$, of a shape that the covariance structure admits; `None` for the identity.
    - `shift`: $c$; `None` for zero.

    **Raises:** `TypeError` if observations are not real vectors, `ValueError` for a scale that
    would leave the family.
    """
    raise TypeError(f"observations of {family} cannot be scaled and shifted.")


def push_forward(family: Any, point: Natural, scale: Any, shift: Any) -> Natural:
    r"""The natural point of $x' = A x + b$; see the method `push_forward`."""
    result = substitute(family, point, *invert_affine(scale, shift))
    return require(
        result,
        all_finite(result),
        f"{family} can't be pushed forward by this map: the scale must be invertible, and it and "
        "the shift finite.",
    )
