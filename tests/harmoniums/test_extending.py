"""The conjugated model of `docs/extending.md` is one: it passes the laws, alone and composed.

All is held against sums over the states of its bits, each of which has a joint normal.
"""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

import harmonium as hm
from docs.tools.blocks import find_blocks
from docs.tools.places import DOCS
from tests.compiled import compute
from tests.numbers import assert_close, eps

BLOCKS = find_blocks((DOCS / "extending.md").read_text())
PAGE: dict[str, Any] = {"__name__": __name__}
for block in BLOCKS:
    if "class " in block.source or "substitute_likelihood" in block.source:
        exec(compile(block.source, "docs/extending.md", "exec"), PAGE)
CoupledBits, BinaryFactors = PAGE["CoupledBits"], PAGE["BinaryFactors"]

BITS = CoupledBits(2)


def _factors(structure):
    return BinaryFactors(hm.Normal(3, structure), BITS)


MODELS = {
    "alone": _factors(hm.PositiveDefinite()),
    "under a mixture": hm.Mixture(_factors(hm.Diagonal()), 2),
    "under a mixture of bits": hm.stack(_factors(hm.Diagonal()), hm.Mixture(BITS, 2)),
    "over factor analysis": hm.stack(hm.factor_analysis(3, 2), BinaryFactors(hm.Normal(2), BITS)),
}
# Where the moments of the bits are in the mean points of these.
BITS_OF = {
    "alone": lambda mean: mean.latent.values,
    "under a mixture": lambda mean: mean.observable.latent.values,
    "under a mixture of bits": lambda mean: mean.latent.observable.values,
    "over factor analysis": lambda mean: mean.latent.latent.values,
}
OTHER_STRUCTURES = {
    "diagonal noise": _factors(hm.Diagonal()),
    "noise of one variance": _factors(hm.Scale()),
    "unit noise": _factors(hm.Identity()),
}
ALL = MODELS | OTHER_STRUCTURES

XS = np.random.default_rng(0).normal(size=(9, 3))
WEIGHTS = np.linspace(0.5, 2, len(XS))
# The first of them observed as a whole, in parts, and not at all.
MASKS = np.array([[True] * 3, [False, True, True], [True, False, False], [False] * 3])
N_STEPS = 4


class State(NamedTuple):
    """One state of all latent categories and bits: its unnormalised weight, and normal vectors.

    **Fields:** `log_weight`; `bits`; the natural `location` and the `precision` of the vector that
    has the observables first.
    """

    log_weight: float
    bits: np.ndarray
    location: np.ndarray
    precision: np.ndarray

    @property
    def covariance(self):
        return np.linalg.inv(self.precision)

    @property
    def mean(self):
        return self.covariance @ self.location

    @property
    def total(self):
        """The log of the integral over the vector."""
        _, determinant = np.linalg.slogdet(self.precision)
        return self.log_weight + (self.location @ self.mean - determinant) / 2


def _states(model, point):
    """The states of a model, by the formulas of its energy."""
    if isinstance(model, hm.Mixture):
        second = jax.tree.map(lambda a, b: a + b[0], point.observable, point.interaction.rows[0])
        states = _states(model.obs_man, second)
        states = [s._replace(log_weight=s.log_weight + point.latent.values[0]) for s in states]
        return _states(model.obs_man, point.observable) + states
    if isinstance(model.pst_man, BinaryFactors):
        return [_below(model, point, state) for state in _states(model.pst_man, point.latent)]
    return [
        State(log_weight, bits, *_normal(model, point, bits))
        for log_weight, bits in _weights(model.pst_man, point.latent)
    ]


def _statistic(bits):
    return np.array([bits[0], bits[0] * bits[1], bits[1]])


def _weights(family, point):
    """Log weights and bits: of a mixture the bits once for each of its two components."""
    states = [np.array(bits) for bits in itertools.product([0, 1], repeat=2)]
    if family == BITS:
        return [(_statistic(bits) @ point.values, bits) for bits in states]
    first, log_odds = point.observable.values, point.latent.values[0]
    second = first + point.interaction.rows[0].values[0]
    return [
        (_statistic(bits) @ own + extra, bits)
        for own, extra in ((first, 0.0), (second, log_odds))
        for bits in states
    ]


def _normal(model, point, bits):
    location, shape = point.observable.location, point.observable.shape
    n, structure = model.obs_man.data_dim, model.obs_man.covariance_structure
    if structure == hm.Identity():
        precision = np.eye(n)
    else:
        precision = -2 * (shape if shape.ndim == 2 else np.diag(np.broadcast_to(shape, n)))
    return location + bits @ point.interaction.rows[0].values, precision


def _below(model, point, state):
    """The joint normal of the observables and the latents of a linear Gaussian model."""
    rows = point.interaction.rows[0].values
    location, precision = _normal(model, point, np.zeros(len(rows)))
    joint = np.block([[precision, -rows.T], [-rows, state.precision]])
    return state._replace(location=np.concatenate([location, state.location]), precision=joint)


def _enumerated(model, point, x, mask):
    """The log density of what is observed, and the posterior probabilities of the states."""
    states = _states(model, point)
    totals = np.array([state.total for state in states])
    priors = totals - scipy.special.logsumexp(totals)
    terms = priors + [_log_normal(state, x, mask) for state in states]
    density = scipy.special.logsumexp(terms)
    return density, np.exp(terms - density), states


def _log_normal(state, x, mask):
    if not mask.any():
        return 0.0
    shown = np.flatnonzero(mask)
    covariance = state.covariance[np.ix_(shown, shown)]
    return scipy.stats.multivariate_normal(state.mean[shown], covariance).logpdf(x[shown])


def _conditioned(state, x, mask):
    """Mean and second moment of the observables, given those that are observed."""
    shown, hidden = np.flatnonzero(mask), np.flatnonzero(~mask)
    mean, covariance = np.where(mask, x, 0), np.zeros((len(x), len(x)))
    gain = state.covariance[np.ix_(hidden, shown)] @ np.linalg.inv(
        state.covariance[np.ix_(shown, shown)]
    )
    mean[hidden] = state.mean[hidden] + gain @ (x - state.mean[: len(x)])[shown]
    rest = state.covariance[np.ix_(shown, hidden)]
    covariance[np.ix_(hidden, hidden)] = state.covariance[np.ix_(hidden, hidden)] - gain @ rest
    return mean, covariance + np.outer(mean, mean)


# --- what is computed, by one program


def _of_model(model, point):
    def density(x, mask=None):
        return model.log_observable_density(point, x, mask)

    def partial(mask):
        return density(XS[0], mask), model.posterior_statistics(point, XS[0], mask)

    mean = model.to_mean(point)
    return {
        "densities": jax.vmap(density)(XS),
        "whole": (density(XS[0]), model.posterior_statistics(point, XS[0])),
        "partial": jax.vmap(partial)(jnp.asarray(MASKS)),
        "mean": mean,
    }


def _em_steps(model, point):
    def step(point, _):
        value = model.average_log_observable_density(point, XS, WEIGHTS)
        point = model.expectation_maximization(point, XS, WEIGHTS)
        return point, (point, value)

    return jax.lax.scan(step, point, length=N_STEPS)[1]


def _both_sides(model, point):
    likelihood = model.likelihood_function(point)
    rho, chi = model.conjugation_parameters(likelihood)

    def one(bits):
        left = model.obs_man.log_partition_function(model.likelihood_at(point, bits))
        return left, hm.dot(rho, model.prr_man.sufficient_statistic(bits)) + chi

    return jax.vmap(one)(BITS.states)


@functools.cache
def _found(name):
    """A random point of a model, and what is computed of it: one program."""
    model = ALL[name]

    def run():
        point = model.initialize(jax.random.key(3))
        found = _of_model(model, point)
        if name in MODELS:
            found["again"] = model.to_natural(found["mean"])
            found["points"], found["likelihoods"] = _em_steps(model, point)
        if model.pst_man == BITS:
            found["sides"] = _both_sides(model, point)
        return point, found

    return compute(run)


def _row(tree, i):
    return jax.tree.map(lambda leaf: leaf[i], tree)


@pytest.fixture
def case(name):
    return ALL[name], *_found(name)


# --- the laws


def test_the_model_is_at_most_40_lines_of_code():
    (source,) = (block.source for block in BLOCKS if "class BinaryFactors(" in block.source)
    assert len([line for line in source.splitlines() if line.strip()]) <= 40


@pytest.mark.parametrize("name", ALL)
def test_densities_are_sums_over_the_states(name, case):
    model, point, found = case
    everything = np.ones(3, bool)
    expected = [_enumerated(model, point, x, everything)[0] for x in XS]
    np.testing.assert_allclose(found["densities"], expected, rtol=units())
    expected = [_enumerated(model, point, XS[0], mask)[0] for mask in MASKS]
    np.testing.assert_allclose(found["partial"][0], expected, rtol=units(), atol=units())


@pytest.mark.parametrize("name", ALL)
def test_posterior_statistics_are_averages_over_the_states(name, case):
    model, point, found = case
    for i, mask in enumerate(MASKS):
        _, shares, states = _enumerated(model, point, XS[0], mask)
        bits = shares @ [_statistic(state.bits) for state in states]
        statistics = _row(found["partial"][1], i)
        assert_close(BITS_OF.get(name, BITS_OF["alone"])(statistics), bits)
        means, moments = zip(*(_conditioned(state, XS[0], mask) for state in states), strict=True)
        if name == "alone":
            assert_close(statistics.observable.location, shares @ np.array(means))
            assert_close(statistics.observable.shape, np.tensordot(shares, moments, axes=1))
            products = [np.outer(s.bits, m) for s, m in zip(states, means, strict=True)]
            rows = statistics.interaction.rows[0].values
            assert_close(rows, np.tensordot(shares, products, axes=1))
    assert_close(_row(found["partial"], 0), found["whole"])
    assert_close(_row(found["partial"][1], len(MASKS) - 1), found["mean"])


@pytest.mark.parametrize("name", ["alone", *OTHER_STRUCTURES])
def test_the_log_partition_of_the_likelihood_is_an_energy_of_the_bits(name, case):
    left, right = case[2]["sides"]
    assert np.ptp(left) > 1e-3
    assert_close(left, right)


@pytest.mark.parametrize("name", MODELS)
def test_to_natural_undoes_to_mean(name, case):
    _, point, found = case
    assert_close(found["again"], point, 1e2, power=0.5)


@pytest.mark.parametrize("name", MODELS)
def test_em_never_lowers_the_likelihood(name, case):
    history = case[2]["likelihoods"]
    assert np.all(np.diff(history) > 0)
    assert history[-1] > history[0] + 1e-2


@pytest.mark.parametrize("name", ["alone"])
def test_a_step_of_em_is_a_regression_on_the_states(name, case):
    model, point, found = case
    result, everything = _row(found["points"], 0), np.ones(3, bool)
    shares = np.array([_enumerated(model, point, x, everything)[1] for x in XS])
    shares = shares * (WEIGHTS / WEIGHTS.sum())[:, None]
    bits = np.array([state.bits for state in _states(model, point)])
    # Every observation with every state, weighted: ordinary least squares.
    roots = np.sqrt(shares.reshape(-1, 1))
    causes = np.tile(np.column_stack([bits, np.ones(len(bits))]), (len(XS), 1))
    effects = np.repeat(XS, len(bits), axis=0)
    coefficients, *_ = np.linalg.lstsq(roots * causes, roots * effects)
    rest = roots * (effects - causes @ coefficients)
    noise = np.linalg.inv(-2 * result.observable.shape)
    assert_close(noise, rest.T @ rest)
    rows = np.vstack([result.interaction.rows[0].values, result.observable.location[None]])
    assert_close(rows @ noise, coefficients)
    _, prior, states = _enumerated(model, result, XS[0], np.zeros(3, bool))
    assert_close(prior @ [_statistic(s.bits) for s in states], _moments(shares, bits), power=0.5)


def _moments(shares, bits):
    return shares.sum(axis=0) @ [_statistic(own) for own in bits]


def units():
    """How far numbers that are computed directly may be off."""
    return 1e4 * eps()
