"""Data that are read batch by batch are fitted as arrays are."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import harmonium as hm
from harmonium.learning.moments import collect_moments, merge_moments
from harmonium.learning.survey import Reservoir
from tests.numbers import assert_close

# Fits of the mixture to as many observations in blocks as long share their programs.
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
XS = np.concatenate([RNG.normal(size=(50, 2)) * [1, 3] + [5, 0], RNG.normal(size=(70, 2)) - 4])
COUNTS = RNG.poisson(3, 120)
WEIGHTS = RNG.integers(0, 3, 120).astype(float)
MIXTURE = hm.Mixture(hm.Normal(2), 2)
SETTINGS = {"key": KEY, "n_starts": 2, "max_steps": 12}
BLOCKS = {**SETTINGS, "batch_size": 32}


def cut(xs):
    """Batches of irregular lengths, one of them empty, that fill neither blocks nor each other."""
    return [xs[:50], xs[50:53], xs[53:53], xs[53:]]


def assert_same_fits(first, second):
    """Whether two fits took the same steps to the same parameters."""
    for name in ("all_histories", "all_params", "log_likelihood", "objective", "bic"):
        pair = (jax.tree.leaves(getattr(fit, name)) for fit in (first, second))
        for a, b in zip(*pair, strict=True):
            scale = np.nanmax(np.abs(b))
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * scale)
    for name in ("all_steps", "all_codes"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


METHODS = {
    "EM": hm.EM(),
    "SQUAREM": hm.EM("squarem"),
    "natural gradient": hm.NaturalGradient(0.5),
    # With this eps its steps shrink with the gradient; else they are as long where it is rounding.
    "Adam": hm.Gradient(optax.adam(3e-2, eps=1e-3)),
}


@pytest.mark.parametrize("name", METHODS)
def test_streams_are_fitted_as_arrays_are(name):
    settings, promotion = {**BLOCKS, "method": METHODS[name]}, "strict"
    if name == "Adam":
        settings["n_candidates"] = 1
        promotion = "standard"  # optax promotes integers
    with jax.numpy_dtype_promotion(promotion):
        array = hm.fit(MIXTURE, XS, **settings)
        stream = hm.fit(MIXTURE, hm.Batches(cut(XS)), **settings)
    assert_same_fits(stream, array)


MODELS = {
    "factor analysis, of moments": (hm.factor_analysis(2, 1), XS),
    "normal, of statistics": (hm.Normal(2, hm.Scale()), XS),
    "gamma": (hm.Gamma(), np.exp(XS[:, 0] / 5)),
    "hierarchy": (
        hm.stack(hm.factor_analysis(2, 1), hm.Mixture(hm.Normal(1), 2)),
        XS,
    ),
    "records": (
        hm.Mixture(hm.Product(hm.Normal(2, hm.Diagonal()), hm.Poisson()), 2),
        (XS, COUNTS),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_are_fitted_to_streams_as_to_arrays(name):
    model, data = MODELS[name]
    parts = cut(data) if not isinstance(data, tuple) else list(zip(*map(cut, data), strict=True))
    stream = hm.fit(model, hm.Batches(lambda: iter(parts)), **SETTINGS)
    assert_same_fits(stream, hm.fit(model, data, **SETTINGS))


def test_memory_maps_are_read_in_parts(tmp_path):
    path = tmp_path / "xs.npy"
    np.save(path, XS)
    mapped = np.load(path, mmap_mode="r")
    stream = hm.fit(MIXTURE, mapped, weights=WEIGHTS, **BLOCKS)
    array = hm.fit(MIXTURE, XS, weights=WEIGHTS, **BLOCKS)
    assert_same_fits(stream, array)
    assert_close(stream.total_weight, WEIGHTS.sum())


def test_batches_may_be_pairs_with_weights():
    pairs = list(zip(cut(XS), cut(WEIGHTS), strict=True))
    stream = hm.fit(MIXTURE, hm.Batches(pairs, weighted=True), **BLOCKS)
    assert_same_fits(stream, hm.fit(MIXTURE, XS, weights=WEIGHTS, **BLOCKS))


class Tensor:
    """What is known of the tensors of other libraries: NumPy can make arrays of them."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)


def test_loaders_of_tensors_are_read():
    loader = [Tensor(batch) for batch in cut(XS)]
    fit = hm.fit(MIXTURE, hm.Batches(loader), **BLOCKS)
    assert_same_fits(fit, hm.fit(MIXTURE, XS, **BLOCKS))


def test_streams_keep_double_precision_until_they_are_standardised():
    with jax.enable_x64(False):
        moved = XS + 1e5
        settings = {"key": KEY, "n_starts": 1, "n_candidates": 1, "max_steps": 5, "prior": None}
        far, near = (hm.fit(MIXTURE, hm.Batches(cut(xs)), **settings) for xs in (moved, XS))
        assert far.log_likelihood.dtype == jnp.float32
        np.testing.assert_allclose(far.history, near.history, rtol=1e-4)


def test_interrupts_between_passes_return_the_best_so_far():
    def interrupt(n_steps, objective):
        raise KeyboardInterrupt

    fit = hm.fit(MIXTURE, hm.Batches(cut(XS)), callback=interrupt, **BLOCKS)
    assert fit.result is hm.Result.INTERRUPTED and int(fit.n_steps) == 1


def test_interrupts_before_anything_is_known_are_passed_on():
    passes = []

    def source():
        passes.append(None)
        if len(passes) > 1:
            raise KeyboardInterrupt
        return iter(cut(XS))

    with pytest.raises(KeyboardInterrupt):
        hm.fit(MIXTURE, hm.Batches(source), **BLOCKS)


def test_bars_show_passes_and_the_objective(capsys):
    fit = hm.fit(MIXTURE, hm.Batches(cut(XS)), progress=True, **BLOCKS)
    shown = capsys.readouterr().err
    assert f"{float(fit.objective):.6g} nats" in shown
    assert "moments" in shown and "pass 2" in shown


def test_a_monitor_sees_parameters_of_the_users_data():
    seen = []
    settings = {**BLOCKS, "monitor": lambda n_steps, point: seen.append((n_steps, point))}
    fit = hm.fit(MIXTURE, hm.Batches(cut(XS)), **settings)
    n_steps, point = seen[-1]
    assert n_steps == np.max(fit.all_steps)
    assert_close(point, fit.params)


# --- what is refused


def spoilt(row, value):
    xs = XS.copy()
    xs[row, 1] = value
    return xs


def generator():
    yield XS


def read_once():
    fresh = generator()
    return hm.Batches(lambda: fresh)


BAD = {
    "NaN": (
        ValueError,
        "row 1 of batch 1, column",
        lambda: hm.Batches(cut(spoilt(51, np.nan))),
    ),
    "infinite": (ValueError, "row 100 of the data", lambda: hm.Batches(spoilt(100, np.inf))),
    "another form": (ValueError, r"batch 1 of the data: .*\(N, 2\)", lambda: [XS, XS[:, :1]]),
    "parts": (TypeError, "batch 0 of the data", lambda: [(XS, COUNTS)]),
    "no pairs": (TypeError, "expected a pair", lambda: hm.Batches([XS], weighted=True)),
    "no pair": (TypeError, "pair", lambda: hm.Batches(XS, weighted=True)),
    "negative weights": (
        ValueError,
        "batch 0 of the data: weights",
        lambda: hm.Batches([(XS, -WEIGHTS)], weighted=True),
    ),
    "zero weights": (ValueError, "all zero", lambda: hm.Batches((XS, 0 * COUNTS), weighted=True)),
    "unequal lengths": (ValueError, "one leading axis", lambda: hm.Batches((XS, COUNTS[1:]))),
    "nothing": (ValueError, "at least one observation", lambda: []),
    "a generator": (TypeError, "read once only", lambda: hm.Batches(generator())),
    "a number": (TypeError, "iterate", lambda: hm.Batches(3)),
    "read once": (ValueError, "again and again", read_once),
}


@pytest.mark.parametrize("name", BAD)
def test_what_can_not_be_read_is_refused(name):
    error, phrase, make = BAD[name]
    with pytest.raises(error, match=phrase):
        data = make()
        data = hm.Batches(data) if isinstance(data, list) else data
        hm.fit(MIXTURE, data, **BLOCKS)


def test_what_may_be_batches_is_not_guessed():
    with pytest.raises(TypeError, match=r"hm\.Batches"):
        hm.fit(MIXTURE, generator, key=KEY)
    with pytest.raises(TypeError, match="weighted=True"):
        hm.fit(MIXTURE, hm.Batches([XS]), key=KEY, weights=WEIGHTS)
    with pytest.raises(TypeError, match="missing values"):
        hm.fit(MIXTURE, hm.Batches([XS]), key=KEY, missing="nan")
    with pytest.raises(TypeError, match="compiled"):
        jax.jit(lambda key: hm.fit(MIXTURE, hm.Batches([XS]), key=key).log_likelihood)(KEY)


def test_line_searches_are_refused():
    settings = {**BLOCKS, "n_candidates": 1}
    with jax.numpy_dtype_promotion("standard"), pytest.raises(TypeError, match="line search"):
        hm.fit(MIXTURE, hm.Batches([XS]), method=hm.Gradient(optax.lbfgs()), **settings)


# --- parts


def test_moments_are_merged_without_losing_digits():
    xs = XS + 1e8
    pair = [collect_moments(hm.Normal(2), part, np.ones(len(part))) for part in (xs[:9], xs[9:])]
    merged = merge_moments(*pair)
    np.testing.assert_allclose(merged.mean - 1e8, XS.mean(0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(merged.scatter / 120, np.cov(XS.T, bias=True), rtol=1e-6)


def test_reservoirs_sample_evenly_and_keep_the_order_of_few():
    few = Reservoir(10, seed=0)
    for part in (np.arange(4), np.arange(4, 10)):
        few.add(part)
    np.testing.assert_array_equal(few.rows, np.arange(10))
    counts = np.zeros(40)
    for seed in range(400):
        reservoir = Reservoir(10, seed)
        for start in range(0, 40, 8):
            reservoir.add(np.arange(start, start + 8))
        assert len(set(reservoir.rows.tolist())) == 10
        counts[reservoir.rows] += 1
    # Binomial counts of mean 100 and deviation 8.7.
    assert np.all(np.abs(counts - 100) < 5 * 8.7)
