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


FACTORS = hm.factor_analysis(3, 1)
NOISE = hm.LocationEmbedding(FACTORS.obs_man)
# Models that version 1 wrote as others, and what they are now.
CHANGED = {
    "own": hm.Mixture(FACTORS, 3),
    "noise": hm.Mixture(FACTORS, 2, hm.free_parameters(FACTORS, NOISE)),
    "regression": hm.Mixture(FACTORS, 2, hm.free_parameters(FACTORS, NOISE, True)),
    "stacked": hm.stack(
        hm.factor_analysis(4, 2),
        hm.Mixture(hm.LinearGaussianModel(hm.Normal(2), hm.Normal(1)), 2),
    ),
}


@pytest.fixture(scope="module")
def mixtures():
    with jax.enable_x64(True):
        return hm.load(STORED / "version_1" / "mixtures.safetensors")


@pytest.mark.parametrize("name", [*CHANGED, "uneven"])
def test_models_of_version_1_that_are_others_now_mean_the_same(name, mixtures):
    stored = mixtures[name]
    model = stored["params"].manifold
    assert model == CHANGED.get(name, model)

    def look(params, xs):
        return model.log_observable_densities(params, xs), model.to_mean(params)

    densities, mean = compute(look, stored["params"], stored["xs"])
    np.testing.assert_allclose(densities, stored["densities"], rtol=1e-10)
    for ours, theirs in zip(jax.tree.leaves(mean), jax.tree.leaves(stored["mean"]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
