"""The Fisher metric is the derivative of the mean: symmetric, positive, equal to differences."""

import jax
import jax.numpy as jnp
import numpy as np

import harmonium as hm
from tests.laws.cases import GENERIC, over


def _differences(model, step, point):
    """Central differences of `to_mean` along each minimal coordinate: the columns of the matrix."""
    vector = model.ravel(point)

    def along(direction):
        ahead = model.to_mean(model.unravel(vector + step * direction))
        behind = model.to_mean(model.unravel(vector - step * direction))
        return (model.ravel(ahead) - model.ravel(behind)) / (2 * step)

    return jax.vmap(along)(jnp.eye(model.dim, dtype=vector.dtype))


@over(GENERIC)
def test_the_fisher_matrix_is_the_symmetric_positive_derivative_of_the_mean(case):
    matrix = np.asarray(case.jit("fisher_matrix")(case.point), float)
    case.close(matrix, matrix.T, 1e3)
    smallest = np.min(np.linalg.eigvalsh((matrix + matrix.T) / 2))
    assert smallest > -1e2 * case.eps * np.max(matrix)
    columns = case.jit(_differences, case.eps ** (1 / 3))(case.point)
    case.close(columns, matrix, 3e2, power=2 / 3)


@over(GENERIC)
def test_fisher_products_are_those_of_the_matrix(case):
    # Any natural point is a tangent, that of the other point too.
    product = case.jit("fisher_product")(case.point, case.other)
    assert isinstance(product, hm.Mean)
    matrix = case.jit("fisher_matrix")(case.point)
    case.close(case.model.ravel(product), matrix @ case.model.ravel(case.other), 1e3)
