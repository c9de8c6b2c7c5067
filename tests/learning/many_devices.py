"""Fits on eight devices are those on one; `test_devices.py` runs this where there are eight."""

import functools
import os
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import harmonium as hm
from harmonium.learning import devices
from harmonium.learning.problem import make_problem
from tests.compiled import compute

KEY = jax.random.key(0)
RANDOM = np.random.default_rng(0)
XS = RANDOM.normal(size=(83, 2)) @ [[1.0, 0.5], [0.0, 2.0]] + [3.0, -1.0]
WEIGHTS = RANDOM.integers(0, 3, 83)
OBSERVED = RANDOM.random(XS.shape) > 0.2
MIXTURE = hm.Mixture(hm.Normal(2, hm.Diagonal()), 2)
RECORDS = hm.Mixture(hm.Product(hm.Normal(2, hm.Diagonal()), hm.Poisson()), 2)
SETTINGS = {"key": KEY, "n_candidates": 1, "max_steps": 8, "tolerance": 0.0}
COLLECTIVES = r"= (.+?) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)\S*\("


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def collectives():
    """A function that returns what devices sent each other in programs compiled since the last."""
    directory = Path(os.environ["HARMONIUM_DUMP"])

    def since_the_last():
        found = []
        for file in directory.glob("*after_optimizations.txt"):
            function = re.search(r"\.jit_(\w+)\.", file.name)
            for shapes, kind in re.findall(COLLECTIVES, file.read_text()):
                sizes = [
                    int(np.prod([int(n) for n in dims.split(",") if n]))
                    for dims in re.findall(r"\w+\[([\d,]*)\]", shapes)
                ]
                found.append((function and function[1], kind, sum(sizes)))
            file.unlink()
        return found

    since_the_last()
    return since_the_last


@pytest.fixture(autouse=True)
def small_samples(monkeypatch):
    """Starts see less than the data, which all devices would get otherwise."""
    monkeypatch.setattr("harmonium.learning.source.sample_size", lambda family, batch_size: 10)


def mesh():
    return Mesh(np.array(jax.devices()), ("devices",))


def mesh_of_two_axes():
    return jax.make_mesh((4, 2), ("some", "others"), axis_types=(AxisType.Explicit,) * 2)


def assert_same(one, many):
    np.testing.assert_array_equal(one.n_steps, many.n_steps)
    np.testing.assert_allclose(many.all_histories, one.all_histories, rtol=1e-10)
    np.testing.assert_allclose(many.log_likelihood, one.log_likelihood, rtol=1e-10)
    np.testing.assert_allclose(many.bic, one.bic, rtol=1e-10)
    for a, b in zip(*map(jax.tree.leaves, (many.params, one.params)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)
        assert len(a.devices()) == 1  # ordinary arrays


CASES = {
    "weights": (MIXTURE, XS[:80], {"weights": WEIGHTS[:80], "method": hm.EM("squarem")}),
    "masks": (MIXTURE, np.where(OBSERVED, XS, np.nan), {"missing": "nan", "batch_size": 4}),
    "condensed": (hm.factor_analysis(2, 1), XS, {"weights": WEIGHTS}),
    "no latents": (hm.Exponential(), np.exp(XS[:, 0]), {}),
    "few": (hm.hierarchical_mixture_of_gaussians(2, 1, 2), XS[:5], {"weights": [2, 0, 1, 1, 1]}),
}


@functools.cache
def on_one_device(name):
    model, xs, settings = CASES[name]
    return hm.fit(model, xs, **SETTINGS | settings)


@pytest.mark.parametrize("name", CASES)
def test_fits_over_a_mesh_are_those_on_one_device(name, collectives):
    model, xs, settings = CASES[name]
    one = on_one_device(name)
    collectives()
    over = mesh() if name in ("few", "condensed") else mesh_of_two_axes()
    assert_same(one, hm.fit(model, xs, mesh=over, **SETTINGS | settings))
    found = collectives()
    assert {kind for _, kind, _ in found} == {"all-reduce"}
    if name != "few":
        assert max(size for _, _, size in found) < 80  # fewer than there are observations
    in_steps = [size for function, _, size in found if function == "advance_all"]
    # One all-reduce a step, of the statistics and the objective for each of the starts; none where
    # the average statistic or two moments are enough.
    if name in ("condensed", "no latents"):
        assert in_steps == []
    else:
        leaves = jax.tree.leaves(model.zeros(hm.Coordinates.MEAN))
        assert in_steps == [4 * (1 + sum(leaf.size for leaf in leaves))]


def test_data_that_are_sharded_stay_where_they_are():
    model, xs, settings = CASES["weights"]
    spread = jax.device_put(xs, NamedSharding(mesh_of_two_axes(), PartitionSpec("some", None)))
    assert_same(on_one_device("weights"), hm.fit(model, spread, **SETTINGS | settings))


def test_the_objective_has_the_gradient_that_it_has_on_one_device():
    weights = np.full(83, 1 / 83)
    xs, shares, _, spread = devices.spread_data(MIXTURE.obs_man, XS, weights, None, mesh())

    def gradient(xs, weights, devices):
        problem = make_problem(MIXTURE, xs, weights, devices=devices)
        return jax.grad(problem.objective)(MIXTURE.initialize(KEY))

    found = compute(functools.partial(gradient, devices=spread), xs, shares)
    expected = compute(functools.partial(gradient, devices=None), XS, weights)
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


# --- samples


def test_samples_are_the_same_on_one_device_and_on_many():
    weights = WEIGHTS / WEIGHTS.sum()
    xs, shares, _, spread = devices.spread_data(MIXTURE.obs_man, XS, weights, None, mesh())
    for size in (7, 50, 83, 200):
        many, one = (
            devices.take_sample(where, a, b, size)
            for where, a, b in ((spread, xs, shares), (None, jnp.asarray(XS), jnp.asarray(weights)))
        )
        np.testing.assert_array_equal(many[0], one[0])
        np.testing.assert_allclose(many[1], one[1], rtol=1e-14)
        np.testing.assert_allclose(np.sum(one[1]), 1)
    kept = {tuple(x) for x in XS[WEIGHTS > 0]}
    assert {tuple(x) for x in np.asarray(devices.take_sample(None, *one, 50)[0])} <= kept


def test_samples_take_observations_in_proportion_to_their_weights():
    weights = np.repeat([1.0, 0.0, 3.0], 100)
    sample, shares = devices.take_sample(None, jnp.arange(300), jnp.asarray(weights / 400), 40)
    assert len(sample) == 40 and np.all(np.diff(sample) >= 0)
    assert np.sum(np.asarray(sample) < 100) == 10 and np.sum(np.asarray(sample) >= 200) == 30
    np.testing.assert_allclose(shares, 1 / 40)


def test_what_is_spread_can_be_made_local():
    spread = jax.device_put(np.arange(16.0), NamedSharding(mesh(), PartitionSpec("devices")))
    local = devices.localized(spread)
    assert len(local.devices()) == 1
    np.testing.assert_array_equal(local, np.arange(16.0))


# --- what is refused


def by_columns():
    return jax.device_put(
        np.tile(XS, (1, 4)), NamedSharding(mesh(), PartitionSpec(None, "devices"))
    )


def by_rows():
    return jax.device_put(XS[:80], NamedSharding(mesh(), PartitionSpec("devices")))


REFUSED = {
    "no mesh": (lambda: hm.fit(MIXTURE, XS, key=KEY, mesh=8), TypeError, "jax.sharding.Mesh"),
    "columns": (
        lambda: hm.fit(hm.Normal(8), by_columns(), key=KEY),
        ValueError,
        "along their first axis",
    ),
    "another mesh": (
        lambda: hm.fit(MIXTURE, by_rows(), key=KEY, mesh=Mesh(np.array(jax.devices()[:4]), "d")),
        ValueError,
        "Omit mesh=",
    ),
    "weights": (
        lambda: hm.fit(MIXTURE, by_rows(), key=KEY, weights=np.ones(9)),
        ValueError,
        "one weight for each of 80",
    ),
    "masks": (
        lambda: hm.fit(MIXTURE, XS, key=KEY, mesh=mesh(), observed=OBSERVED[:9]),
        ValueError,
        "83 rows",
    ),
    "form": (
        lambda: hm.fit(RECORDS, XS, key=KEY, mesh=mesh()),
        TypeError,
        "expected a batch",
    ),
    "shape": (
        lambda: hm.fit(MIXTURE, np.ones((16, 3)), key=KEY, mesh=mesh()),
        ValueError,
        "real numbers of shape",
    ),
    "empty": (lambda: hm.fit(MIXTURE, XS[:0], key=KEY, mesh=mesh()), ValueError, "at least one"),
    "NaN": (
        lambda: hm.fit(MIXTURE, np.full((16, 2), np.nan), key=KEY, mesh=mesh()),
        ValueError,
        "outside the support",
    ),
    "compiled": (
        lambda: jax.jit(lambda xs: hm.fit(MIXTURE, xs, key=KEY, mesh=mesh()).objective)(XS),
        TypeError,
        "arguments of compiled functions",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_spread_is_refused(name):
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()


# --- entries spread over devices

LONG = 48


def test_steps_on_entries_spread_over_devices_send_nothing_of_their_length(collectives):
    model = hm.factor_analysis(LONG, 2)
    xs = jnp.asarray(RANDOM.normal(size=(5, LONG)))
    params = jax.jit(model.initialize)(KEY)
    spread = hm.shard_observable(params, mesh(), "devices")
    columns = jax.device_put(xs, NamedSharding(mesh(), PartitionSpec(None, "devices")))
    assert spread.interaction.rows[0].values.sharding.spec == PartitionSpec(None, "devices")
    shardings = jax.tree.map(lambda leaf: leaf.sharding, spread)
    step = model.expectation_maximization
    expected = jax.jit(step)(params, xs), jax.jit(model.expectation)(params, xs)
    jax.block_until_ready((spread, columns, expected))
    collectives()
    found = jax.jit(step, out_shardings=shardings)(spread, columns)
    expectations = jax.jit(model.expectation)(spread, columns)
    jax.block_until_ready((found, expectations))
    sent = collectives()
    assert {kind for _, kind, _ in sent} == {"all-reduce"}
    assert max(size for _, _, size in sent) < LONG
    for a, b in zip(*map(jax.tree.leaves, ((found, expectations), expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
    for leaf, sharding in zip(*map(jax.tree.leaves, (found, shardings)), strict=True):
        assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim)


REFUSED_POINTS = {
    "mesh": (hm.factor_analysis(16, 2), None, "devices", TypeError, "jax.sharding.Mesh"),
    "axis": (hm.factor_analysis(16, 2), mesh, "rows", ValueError, "none is called 'rows'"),
    "length": (hm.factor_analysis(12, 2), mesh, "devices", ValueError, "12 entries"),
    "covariance": (hm.Mixture(hm.Normal(8), 2), mesh, "devices", TypeError, "full covariance"),
    "family": (hm.Normal(8), mesh, "devices", TypeError, "conjugated model"),
    "record": (
        hm.Mixture(hm.Product(hm.Poisson(), hm.Poisson()), 2),
        mesh,
        "devices",
        TypeError,
        "observations are vectors",
    ),
}


@pytest.mark.parametrize("name", REFUSED_POINTS)
def test_points_whose_entries_cannot_be_spread_are_refused(name):
    model, make, axis, error, message = REFUSED_POINTS[name]
    with pytest.raises(error, match=message):
        hm.shard_observable(jax.jit(model.initialize)(KEY), make and make(), axis)


def test_the_page_on_scaling_runs_on_many_devices():
    page = (Path(__file__).parent.parent.parent / "docs" / "scaling.md").read_text()
    namespace = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)), namespace)
    assert namespace["fit"].converged
    assert len(namespace["params"].interaction.rows[0].values.sharding.device_set) == 8
