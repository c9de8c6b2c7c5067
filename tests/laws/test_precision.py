"""Everything is computed in the floating point type of JAX, whatever the model."""

import jax
import numpy as np
import pytest

from tests.catalogue import CATALOGUE
from tests.laws.cases import (
    CONJUGATED,
    IN_BOTH_PRECISIONS,
    MAIN_PRECISION,
    SOLVED_OR_KINDS,
    Given,
    start,
)


def _everything(name):
    model = CATALOGUE[name]()
    given = Given(model, start(model))
    found = [given.points, given.means, given.draws, given.log_densities]
    if name in CONJUGATED:
        found.append(given.log_observable_densities)
    if name in SOLVED_OR_KINDS:
        found.append(given.to_natural)
    if name in SOLVED_OR_KINDS and name in CONJUGATED:
        found.append(given.em_steps)
    return found


@pytest.mark.whole
@pytest.mark.parametrize("name", [name for name in CATALOGUE if name not in IN_BOTH_PRECISIONS])
def test_the_other_floating_point_type_is_kept(name):
    """The types are inferred: arrays of the wrong type do not combine, and warn in single."""
    other = 96 - MAIN_PRECISION
    with jax.enable_x64(other == 64):
        shapes = jax.eval_shape(lambda: _everything(name))
    types = {leaf.dtype for leaf in jax.tree.leaves(shapes)}
    assert {t for t in types if np.issubdtype(t, np.floating)} == {np.dtype(f"float{other}")}
