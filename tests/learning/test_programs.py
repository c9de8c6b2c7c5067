"""How many programs fits and batched methods compile, first and with another number of rows."""

import contextlib

import jax
import jax.monitoring
import numpy as np
import pytest

import harmonium as hm
from tests.costs import COMPILED

RANDOM = np.random.default_rng(1)
XS = RANDOM.normal(size=(60, 3)) + 4 * RANDOM.integers(0, 2, (60, 1))
OBSERVED = np.ones((60, 3), bool)
OBSERVED[::3, 0] = False
WEIGHTS = np.linspace(1.0, 2.0, 60)
MODELS = {"mixture": hm.Mixture(hm.Normal(3), 2), "factors": hm.factor_analysis(3, 1)}
# What a first fit compiles at most.
FIRST = {"mixture": 9, "factors": 8}


@contextlib.contextmanager
def compilations():
    """The names of the programs that are compiled within, as they are."""
    names = []

    def add(event, duration_secs, **details):
        if event == COMPILED:
            names.append(details.get("fun_name"))

    jax.monitoring.register_event_duration_secs_listener(add)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(add)


@pytest.fixture(scope="module", params=MODELS)
def fitted(request):
    """A model that was fitted, its parameters, and what the fit compiled."""
    jax.clear_caches()
    model, key = MODELS[request.param], jax.random.key(0)
    with compilations() as names:
        params = hm.fit(model, XS, key=key, progress=False).params
    return request.param, model, params, names


def test_a_first_fit_compiles_few_programs(fitted):
    name, *_, names = fitted
    assert 0 < len(names) <= FIRST[name], names


def test_a_fit_to_another_number_of_rows_compiles_nothing(fitted):
    _, model, params, _ = fitted
    with compilations() as names:
        fit = hm.fit(model, XS[:-7], key=jax.random.key(0), progress=False)
    assert names == []
    # Of other data there is another fit.
    assert not np.allclose(*(p.observable.location for p in (fit.params, params)), rtol=1e-6)


CALLS = {
    "log_observable_densities": lambda model, p, n: model.log_observable_densities(p, XS[:n]),
    "average_log_observable_density": lambda model, p, n: model.average_log_observable_density(
        p, XS[:n]
    ),
    "with weights": lambda model, p, n: model.average_log_observable_density(
        p, XS[:n], WEIGHTS[:n]
    ),
    "mean_posterior_statistics": lambda model, p, n: model.mean_posterior_statistics(
        p, XS[:n], WEIGHTS[:n]
    ),
    "expected_latents": lambda model, p, n: model.expected_latents(p, XS[:n]),
    "expectation_maximization": lambda model, p, n: model.expectation_maximization(p, XS[:n]),
    # As long as the blocks of equal masks are as long, and their number is padded to the same.
    "with masks": lambda model, p, n: model.log_observable_densities(
        p, XS[:n], observed=OBSERVED[:n]
    ),
    "impute": lambda model, p, n: hm.impute(model, p, XS[:n], OBSERVED[:n]),
    "draws": lambda model, p, n: hm.impute(model, p, XS[:n], OBSERVED[:n], jax.random.key(2)),
}


@pytest.mark.parametrize("call", CALLS)
def test_batches_of_another_length_compile_nothing(fitted, call):
    _, model, params, _ = fitted
    lengths = {}
    for n in (21, 27):  # both are padded to 32
        with compilations() as names:
            jax.block_until_ready(CALLS[call](model, params, n))
        lengths[n] = list(names)
    assert lengths[27] == [], lengths


def test_assigning_another_number_of_rows_compiles_nothing():
    model = MODELS["mixture"]
    params = model.initialize(jax.random.key(3))
    assert model.assign(params, XS[:21]).shape == (21,)
    with compilations() as names:
        assert model.assign(params, XS[:27]).shape == (27,)
    assert names == []


def test_a_single_datum_is_one_program():
    model = MODELS["mixture"]
    params = model.initialize(jax.random.key(3))
    for call in (
        lambda x: model.log_observable_density(params, x),
        lambda x: model.posterior_probabilities(params, x),
    ):
        jax.clear_caches()
        with compilations() as names:
            call(XS[0])
            call(XS[1])
        assert len(names) == 1, names
