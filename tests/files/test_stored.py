"""Files that were written once are read for ever; `write_stored.py` wrote them."""

import jax
import numpy as np
import pytest

import harmonium as hm
from harmonium.files.container import FORMAT_VERSION
from tests.compiled import compute
from tests.files.write_stored import HIERARCHY, STORED, VIEWS, X

VERSIONS = sorted(STORED.iterdir())


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def test_there_are_files_of_every_version():
    expected = {f"version_{i}" for i in range(1, FORMAT_VERSION + 1)}
    assert {folder.name for folder in VERSIONS} == expected


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)
def test_a_model(folder):
    assert hm.load(folder / "model.safetensors") == VIEWS


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)
def test_a_point_still_means_the_same(folder):
    stored = hm.load(folder / "point.safetensors")
    HIERARCHY.check_single(stored["params"])
    density = compute(lambda params: HIERARCHY.log_observable_density(params, X), stored["params"])
    np.testing.assert_allclose(density, stored["density"], rtol=1e-10)
    assert jax.random.key_data(stored["key"]).tolist() == [0, 3]


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)
def test_a_fit(folder):
    fit = hm.load(folder / "fit.safetensors")
    assert fit.result is hm.Result.STEP_LIMIT and int(fit.n_steps) == 5
    assert fit.params.manifold == HIERARCHY and fit.all_params.batch_shape == (2,)
    assert float(fit.total_weight) == 50
    np.testing.assert_array_equal(fit.history[-1], fit.objective)
    assert np.isfinite(float(fit.bic))
