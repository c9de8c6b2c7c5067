"""Online EM reaches what EM reaches, in fewer passes over the data."""

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import harmonium as hm
from tests.compiled import compute
from tests.numbers import assert_close

# Fits with the same method, that read as many observations at once, share their programs.
KEY = jax.random.key(0)
MIXTURE = hm.Mixture(hm.Normal(2), 2)
METHOD = hm.OnlineEM(50)
SETTINGS = {"key": KEY, "n_starts": 1, "n_candidates": 1, "batch_size": 600}


def sample(seed, n):
    rng = np.random.default_rng(seed)
    first = rng.random(n) < 0.3
    xs = rng.normal(size=(n, 2)) * [1.0, 0.5]
    return np.where(first[:, None], xs + 2, xs @ [[1, 0.5], [0, 1]] - 1)


def true_density(xs):
    """That of the distribution of samples."""
    mix = np.array([[1, 0.5], [0, 1]])
    first = multivariate_normal([2, 2], np.diag([1, 0.25]))
    second = multivariate_normal([-1, -1], mix.T @ np.diag([1, 0.25]) @ mix)
    return np.log(0.3 * first.pdf(xs) + 0.7 * second.pdf(xs))


HELD_OUT = sample(1, 4000)
BEST = true_density(HELD_OUT).mean()


def log_likelihood(params, xs, weights=None):
    return params.manifold.average_log_observable_density(params, xs, weights)


def held_out(params):
    return float(compute(log_likelihood, params, HELD_OUT))


def test_one_pass_over_a_stream_is_as_good_as_em():
    """Batches are made as they are read, and no fit sees one twice."""
    n_batches, passes = 200, []

    def stream():
        passes.append(None)
        return (sample(seed + 2, 61) for seed in range(n_batches))

    settings = {**SETTINGS, "n_candidates": 8, "max_steps": 1}
    online = hm.fit(MIXTURE, hm.Batches(stream), method=METHOD, **settings)
    assert len(passes) == 2  # the first of them reads the first block only
    assert online.result is hm.Result.COMPLETED and "completed" in online.message
    assert_close(online.total_weight, 61.0 * n_batches)
    # No fit is better than the truth, on average.
    assert held_out(online.params) > BEST - 1e-2
    # What is predicted before it is learnt from is held out.
    assert abs(float(online.log_likelihood) - held_out(online.params)) < 0.1


@pytest.mark.parametrize("precision", [32, 64])
def test_several_passes_over_an_array_reach_em(precision):
    with jax.enable_x64(precision == 64):
        xs = sample(0, 600)
        full = hm.fit(MIXTURE, xs, **SETTINGS)
        online = hm.fit(MIXTURE, xs, method=METHOD, max_steps=60, **SETTINGS)
        assert abs(held_out(online.params) - held_out(full.params)) < 1e-2
        assert online.history.shape == (60,)
        history = np.asarray(online.history)
        assert history[0] < history[int(online.n_steps) - 1]


def test_latents_of_online_fits_are_standardised():
    model, xs = hm.factor_analysis(3, 1), np.random.default_rng(0).normal(size=(500, 3))
    xs[:, 1] += xs[:, 0]
    method = hm.OnlineEM(batch_size=100)
    fit = hm.fit(model, xs, key=KEY, method=method, max_steps=30)

    def prior_and_value(params):
        return model.prr_man.to_mean(model.prior(params)), log_likelihood(params, xs)

    prior, value = compute(prior_and_value, fit.params)
    assert_close(prior.location, np.zeros(1))
    full = hm.fit(model, xs, key=KEY)
    assert abs(value - float(full.log_likelihood)) < 5e-3


def test_an_online_step_is_that_of_cappe_and_moulines():
    xs = sample(0, 40)

    def by_hand():
        start = point = MIXTURE.initialize(KEY)
        statistics = MIXTURE.to_mean(start)
        for time in (1, 2):
            rate = (time + 3.0) ** -0.7
            fresh = MIXTURE.mean_posterior_statistics(point, xs)
            statistics = statistics * (1 - rate) + fresh * rate
            point = MIXTURE.to_natural(statistics)
        return start, MIXTURE.standardize(point)

    start, expected = compute(by_hand)
    method = hm.OnlineEM(batch_size=40, power=0.7, delay=3.0, averaging=False)
    settings = {"starts": start, "method": method, "prior": None, "scale": False, "tolerance": 0.0}
    fit = hm.fit(MIXTURE, xs, max_steps=2, **settings)
    assert_close(fit.params, expected, 1e5)


def test_a_prior_counts_as_in_em():
    family, xs = hm.Normal(2), sample(0, 100)
    prior = hm.ConjugatePrior(compute(family.average_sufficient_statistic, xs[:20] + 3), 50.0)
    settings = {"key": KEY, "prior": prior}
    method = hm.OnlineEM(batch_size=100, averaging=False, delay=0.1)
    online = hm.fit(family, xs, method=method, max_steps=200, **settings)
    full = hm.fit(family, xs, **settings)
    assert_close(online.params, full.params, power=0.25)


def test_minibatches_of_one_observation_are_not_degenerate():
    settings = {**SETTINGS, "prior": None, "max_steps": 2}
    fit = hm.fit(MIXTURE, sample(0, 600), method=hm.OnlineEM(1), **settings)
    assert fit.result is hm.Result.COMPLETED
    assert np.all(np.isfinite(fit.all_objectives))


def test_endless_streams_are_read_by_intervals():
    def endless():
        seed = 0
        while True:
            yield sample(seed, 100)
            seed += 1

    seen = []
    fit = hm.fit(
        MIXTURE,
        hm.Batches(endless),
        method=hm.OnlineEM(50, interval=600),
        max_steps=5,
        monitor=lambda n_steps, point: seen.append(held_out(point)),
        **SETTINGS,
    )
    assert_close(fit.total_weight, 3000.0)
    assert len(seen) == 5 and seen[-1] > seen[0]


def test_memory_maps_are_read_in_random_order(tmp_path):
    """Sorted as they are here, they would be forgotten one end after the other."""
    xs = sample(0, 3000)
    np.save(tmp_path / "xs.npy", xs[np.argsort(xs[:, 0])].astype(np.float32))
    mapped = np.load(tmp_path / "xs.npy", mmap_mode="r")
    # Read in order, the first pass ends two nats below the best.
    for n_passes, loss in ((1, 1.0), (20, 5e-2)):
        online = hm.fit(MIXTURE, mapped, method=METHOD, max_steps=n_passes, **SETTINGS)
        assert held_out(online.params) > BEST - loss


def test_bad_data_are_named_wherever_they_are():
    def stream():
        for seed in range(30):
            xs = sample(seed, 100)
            xs[7] = np.nan if seed == 23 else xs[7]
            yield xs

    with pytest.raises(ValueError, match="row 7 of batch 23, column 0 is outside"):
        hm.fit(MIXTURE, hm.Batches(stream), method=METHOD, **SETTINGS)


def test_sources_that_end_are_told():
    xs = sample(0, 600)
    once = iter([xs])
    source = hm.Batches(lambda: iter([xs]) if next(once, None) is not None else once)
    with pytest.raises(ValueError, match="no observations any more"):
        hm.fit(MIXTURE, source, method=METHOD, **SETTINGS)


@pytest.mark.parametrize(
    "settings", [{"batch_size": 0}, {"interval": 0}, {"power": 0.5}, {"power": 2.0}, {"delay": 0.0}]
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match="OnlineEM"):
        hm.OnlineEM(**settings)


def test_arrays_may_be_weighted():
    xs, weights = sample(0, 600), np.arange(600.0)
    online, full = (
        hm.fit(MIXTURE, xs, weights=weights, method=method, max_steps=60, **SETTINGS)
        for method in (METHOD, hm.EM())
    )
    value = compute(log_likelihood, online.params, xs, weights)
    assert value > float(full.log_likelihood) - 2e-2


def test_minibatches_are_not_read_in_compiled_functions():
    def fit(xs):
        return hm.fit(MIXTURE, xs, key=KEY, method=hm.OnlineEM()).log_likelihood

    with pytest.raises(TypeError, match="outside of compiled"):
        jax.jit(fit)(sample(0, 20))
