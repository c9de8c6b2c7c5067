"""Online EM reaches what EM reaches, in fewer passes over the data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.numbers import assert_close

KEY = jax.random.key(0)
MIXTURE = hm.Mixture(hm.Normal(2), 2)


def sample(seed, n):
    rng = np.random.default_rng(seed)
    first = rng.random(n) < 0.3
    xs = rng.normal(size=(n, 2)) * [1.0, 0.5]
    return np.where(first[:, None], xs + 2, xs @ [[1, 0.5], [0, 1]] - 1)


HELD_OUT = sample(1, 4000)


def held_out(params, model=MIXTURE, xs=HELD_OUT):
    return float(model.average_log_observable_density(params, xs))


def test_one_pass_over_a_stream_is_as_good_as_em():
    """Batches are made as they are read, and no fit sees one twice."""
    n_batches, passes = 200, []

    def stream():
        passes.append(None)
        return (sample(seed + 2, 300) for seed in range(n_batches))

    method = hm.OnlineEM(batch_size=250)
    online = hm.fit(MIXTURE, hm.Batches(stream), key=KEY, method=method, max_steps=1, n_starts=2)
    assert len(passes) == 2  # the first of them reads the first block only
    assert online.result is hm.Result.COMPLETED and "completed" in online.message
    assert_close(online.total_weight, 300.0 * n_batches)
    full = hm.fit(MIXTURE, np.concatenate(list(stream())), starts=online.params)
    assert held_out(online.params) > held_out(full.params) - 1e-2
    # What is predicted before it is learnt from is held out.
    assert abs(float(online.log_likelihood) - held_out(online.params)) < 0.1


@pytest.mark.parametrize("precision", [32, 64])
def test_several_passes_over_an_array_reach_em(precision):
    with jax.enable_x64(precision == 64):
        xs = sample(0, 600)
        settings = {"key": KEY, "n_starts": 1}
        full = hm.fit(MIXTURE, xs, **settings)
        online = hm.fit(MIXTURE, xs, method=hm.OnlineEM(50), max_steps=60, **settings)
        assert abs(held_out(online.params) - held_out(full.params)) < 1e-2
        assert online.history.shape == (60,)
        assert float(online.history[0]) < float(online.history[int(online.n_steps) - 1])


def test_latents_of_online_fits_are_standardised():
    model, xs = hm.factor_analysis(3, 1), np.random.default_rng(0).normal(size=(500, 3))
    xs[:, 1] += xs[:, 0]
    method = hm.OnlineEM(batch_size=100)
    fit = hm.fit(model, xs, key=KEY, method=method, max_steps=30)
    prior = model.prr_man.to_mean(model.prior(fit.params))
    assert_close(prior.location, np.zeros(1))
    full = hm.fit(model, xs, key=KEY)
    assert abs(held_out(fit.params, model, xs) - float(full.log_likelihood)) < 5e-3


def test_an_online_step_is_that_of_cappe_and_moulines():
    xs = sample(0, 40)
    start = MIXTURE.initialize_from_sample(KEY, xs)
    method = hm.OnlineEM(batch_size=40, power=0.7, delay=3.0, averaging=False)
    settings = {"starts": start, "method": method, "prior": None, "scale": False, "tolerance": 0.0}
    fit = hm.fit(MIXTURE, xs, max_steps=2, **settings)
    statistics, point = MIXTURE.to_mean(start), start
    for time in (1, 2):
        rate = (time + 3.0) ** -0.7
        fresh = MIXTURE.mean_posterior_statistics(point, xs)
        statistics = statistics * (1 - rate) + fresh * rate
        point = MIXTURE.to_natural(statistics)
    assert_close(MIXTURE.ravel(fit.params), MIXTURE.ravel(MIXTURE.standardize(point)), 1e5)


def test_a_prior_counts_as_in_em():
    family, xs = hm.Normal(2), sample(0, 100)
    prior = hm.ConjugatePrior(family.average_sufficient_statistic(xs[:20] + 3), 50.0)
    settings = {"key": KEY, "prior": prior}
    method = hm.OnlineEM(batch_size=100, averaging=False, delay=0.1)
    online = hm.fit(family, xs, method=method, max_steps=200, **settings)
    full = hm.fit(family, xs, **settings)
    assert_close(family.ravel(online.params), family.ravel(full.params), power=0.25)


def test_minibatches_of_one_observation_are_not_degenerate():
    fit = hm.fit(
        MIXTURE, sample(0, 64), key=KEY, n_starts=2, max_steps=2, prior=None, method=hm.OnlineEM(1)
    )
    assert fit.result is hm.Result.COMPLETED
    assert np.all(np.isfinite(fit.all_objectives))


def test_endless_streams_are_read_by_intervals():
    def endless():
        seed = 0
        while True:
            yield sample(seed, 100)
            seed += 1

    seen = []
    method = hm.OnlineEM(batch_size=100, interval=1000)
    fit = hm.fit(
        MIXTURE,
        hm.Batches(endless),
        key=KEY,
        method=method,
        max_steps=5,
        n_starts=1,
        monitor=lambda n_steps, point: seen.append(held_out(point)),
    )
    assert_close(fit.total_weight, 5000.0)
    assert len(seen) == 5 and seen[-1] > seen[0]


def test_memory_maps_are_read_in_random_order(tmp_path):
    """Sorted as they are here, they would be forgotten one end after the other."""
    xs = sample(0, 3000)
    np.save(tmp_path / "xs.npy", xs[np.argsort(xs[:, 0])].astype(np.float32))
    mapped = np.load(tmp_path / "xs.npy", mmap_mode="r")
    method = hm.OnlineEM(batch_size=30)
    settings = {"key": KEY, "n_starts": 1, "batch_size": 900}
    online = hm.fit(MIXTURE, mapped, method=method, max_steps=20, **settings)
    full = hm.fit(MIXTURE, xs, **settings)
    assert held_out(online.params) > held_out(full.params) - 5e-2


def test_bad_data_are_named_wherever_they_are():
    def stream():
        for seed in range(30):
            xs = sample(seed, 100)
            xs[7] = np.nan if seed == 23 else xs[7]
            yield xs

    with pytest.raises(ValueError, match="row 7 of batch 23 is outside"):
        hm.fit(MIXTURE, hm.Batches(stream), key=KEY, method=hm.OnlineEM(100), batch_size=200)


def test_sources_that_end_are_told():
    once = iter([sample(0, 100)])
    source = hm.Batches(lambda: iter([sample(0, 100)]) if next(once, None) is not None else once)
    with pytest.raises(ValueError, match="no observations any more"):
        hm.fit(MIXTURE, source, key=KEY, method=hm.OnlineEM(10))


@pytest.mark.parametrize(
    "settings", [{"batch_size": 0}, {"interval": 0}, {"power": 0.5}, {"power": 2.0}, {"delay": 0.0}]
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match="OnlineEM"):
        hm.OnlineEM(**settings)


def test_arrays_may_be_weighted():
    xs, weights = sample(0, 300), np.arange(300.0)
    method = hm.OnlineEM(batch_size=50)
    settings = {"key": KEY, "n_starts": 1, "weights": weights}
    online = hm.fit(MIXTURE, jnp.asarray(xs), method=method, max_steps=400, **settings)
    full = hm.fit(MIXTURE, xs, **settings)
    densities = MIXTURE.log_observable_densities(online.params, xs)
    value = float(weights @ np.asarray(densities) / weights.sum())
    assert value > float(full.log_likelihood) - 2e-2


def test_minibatches_are_not_read_in_compiled_functions():
    def fit(xs):
        return hm.fit(MIXTURE, xs, key=KEY, method=hm.OnlineEM()).log_likelihood

    with pytest.raises(TypeError, match="outside of compiled"):
        jax.jit(fit)(jnp.asarray(sample(0, 20)))
