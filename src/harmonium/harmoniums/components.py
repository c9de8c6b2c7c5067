"""The components that mixtures are made of."""

from typing import Any

from harmonium.geometry.point import (
    Coordinates,
    Natural,
    Point,
    stack_points,
)


def stack_components(mixture: Any, family: Any, components: Any) -> Natural:
    """The components that a mixture is made of, as one batch.

    **Arguments:**

    - `mixture`: the mixture, which has `n_components`.
    - `family`: the manifold of its components.
    - `components`: a batch of natural points, or a sequence of such points.

    **Raises:** `TypeError` or `ValueError` for other points, and for another number of them.
    """
    if not isinstance(components, Point):
        components = stack_points(components)
    family.check_point(components)
    if components.coordinates is not Coordinates.NATURAL:
        raise TypeError("from_components takes natural points, got mean points. Use to_natural.")
    if components.batch_shape != (mixture.n_components,):
        raise ValueError(
            f"{mixture} has {mixture.n_components} components, got a batch of shape "
            f"{components.batch_shape}."
        )
    return components
