"""The Fisher metric is the derivative of the mean: symmetric, positive, equal to differences."""

import jax
import jax.numpy as jnp
import numpy as np

import harmonium as hm
from tests.laws.cases import GENERIC, over


def _matrix_and_differences(given):
    """The matrix, and its columns by differences of `to_mean` along minimal coordinates."""
    model, step = given.model, given.eps ** (1 / 3)
    vector = model.ravel(given.point)

    def along(direction):
        ahead = given.call("to_mean", model.unravel(vector + step * direction))
        behind = given.call("to_mean", model.unravel(vector - step * direction))
        return (model.ravel(ahead) - model.ravel(behind)) / (2 * step)

    return given.fisher_matrix, jax.vmap(along)(jnp.eye(model.dim, dtype=given.dtype))


@over(GENERIC, _matrix_and_differences)
def test_the_fisher_matrix_is_the_symmetric_positive_derivative_of_the_mean(case, found):
    matrix, columns = found[0].astype(float), found[1]
    case.close(matrix, matrix.T, 1e3)
    smallest = np.min(np.linalg.eigvalsh((matrix + matrix.T) / 2))
    assert smallest > -1e2 * case.eps * np.max(matrix)
    case.close(columns, matrix, 3e2, power=2 / 3)


def _product(given):
    # Any natural point is a tangent, that of the other point too.
    product = given.model.fisher_product(given.point, given.other)
    expected = given.fisher_matrix @ given.model.ravel(given.other)
    return product, given.model.ravel(product), expected


@over(GENERIC, _product)
def test_fisher_products_are_those_of_the_matrix(case, found):
    product, vector, expected = found
    assert isinstance(product, hm.Mean)
    case.close(vector, expected, 1e3)
