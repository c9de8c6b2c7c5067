"""Densities are what the exponential family says, factor as Bayes says, and are normalised."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.compiled import compute
from tests.laws.cases import (
    CONJUGATED,
    CONJUGATED_KINDS,
    KINDS,
    N_DATA,
    is_conjugated,
    names_where,
    over,
)


def _densities(given):
    """By the definition, one by one, in a batch, and their average."""
    model, point, xs = given.model, given.point, given.xs
    potential = model.log_partition_kernel(point)

    def by_definition(x):
        return hm.dot(point, model.sufficient_statistic(x)) - potential + model.log_base_measure(x)

    expected = jax.vmap(by_definition)(xs)
    one_by_one = jax.vmap(lambda x: given.call("log_density", point, x))(xs)
    return expected, one_by_one, given.log_densities, model.average_log_density(point, xs)


@over(KINDS, _densities)
def test_log_density_is_energy_minus_log_partition_plus_base_measure(case, found):
    expected, one_by_one, batch, average = found
    # The energy of an observation is a sum of a few dozen terms, some of them large.
    case.close(one_by_one, expected, 1e3)
    case.close(batch, expected, 1e3)
    case.close(average, np.mean(expected), 1e3)


def _factors(given):
    model, point = given.model, given.point

    def one(x):
        likelihood = model.obs_man.log_density(model.likelihood_at(point, x.latent), x.observable)
        prior = model.prr_man.log_density(model.prior(point), x.latent)
        # Of an observation that is a joint itself all is given here.
        given_all, _ = model.condition(point, x.observable, None)
        posterior = model.pst_man.log_density(given_all, x.latent)
        evidence = model.evidence(point, hm.Joint(x.observable, None))
        measure = model.obs_man.log_base_measure(x.observable)
        marginal = evidence - model.log_partition_function(point) + measure
        return likelihood + prior, marginal + posterior

    return given.log_densities, *jax.vmap(one)(given.xs)


@over(CONJUGATED, _factors)
def test_joint_densities_factor_both_ways(case, found):
    joint, forwards, backwards = found
    case.close(forwards, joint, 3e3)
    case.close(backwards, joint, 3e3)


def _hypercube(dim, step, limit):
    axis = np.arange(-limit, limit + step / 2, step)
    return np.stack([a.ravel() for a in np.meshgrid(*[axis] * dim)], axis=1)


def _admitted(family, draws, place):
    """Which of these values one array of an observation may consist of."""
    values = np.asarray([-1e3, -3.0, 1e3, 1e6])
    leaves, structure = jax.tree.flatten(jax.tree.map(lambda leaf: leaf[0], draws))

    def admits(leaves, value):
        changed = [*leaves]
        changed[place] = jnp.full_like(leaves[place], value)
        return family.in_support(jax.tree.unflatten(structure, changed))

    found = compute(jax.vmap(admits, (None, 0)), leaves, values)
    return dict(zip(values.tolist(), found.tolist(), strict=True))


def _counts(flat, unbounded):
    """All integers that matter, in as many dimensions as there are columns."""
    largest = int(flat.max())
    levels = range(2 * largest + 20 if unbounded else largest + 1)
    return np.array(list(itertools.product(levels, repeat=flat.shape[1])))


def _half_line(draws):
    """Positive numbers by the trapezoid rule in their logarithms, far into the tails."""
    logs = np.log(draws)
    nodes = np.exp(np.mean(logs) + np.std(logs) * np.arange(-30.0, 30.0, 0.02))
    return nodes, nodes * np.std(logs) * 0.02


def _circle(n_nodes=200):
    """Angles by the trapezoid rule, which on a circle is exact up to high frequencies."""
    nodes = np.linspace(-np.pi, np.pi, n_nodes, endpoint=False)
    return nodes, np.full(n_nodes, 2 * np.pi / n_nodes)


def _unit_interval():
    """Numbers between 0 and 1 by the trapezoid rule in their log odds."""
    odds = np.arange(-60.0, 60.0, 0.05)
    nodes = 1 / (1 + np.exp(-odds))
    return nodes, 0.05 * nodes / (1 + np.exp(odds))


def _chart(admitted, column):
    """A rule for one number of a support that is not the whole line."""
    if admitted[1e3]:
        return _half_line(column)
    return _circle() if admitted[-3.0] else _unit_interval()


def _product(rules):
    """The product of rules in one dimension each: nodes in rows, and their weights."""
    nodes = np.meshgrid(*[nodes for nodes, _ in rules], indexing="ij")
    weights = np.meshgrid(*[weights for _, weights in rules], indexing="ij")
    return np.stack([n.ravel() for n in nodes], axis=1), np.prod(weights, axis=0).ravel()


def _grid_of(family, draws, place, step):
    """Nodes and weights of a rule that sums over one array of an observation.

    Integers are enumerated. For real vectors it is the trapezoid rule, which converges faster than
    any power of the step for smooth densities on the whole space, in coordinates in which the
    sample has unit covariance; other supports are mapped from the line or the circle.
    """
    form, leaf = jax.tree.leaves(family.observation)[place], jax.tree.leaves(draws)[place]
    flat, admitted = np.asarray(leaf, float).reshape(len(leaf), -1), _admitted(family, draws, place)
    if jnp.issubdtype(form.dtype, jnp.integer):
        nodes = _counts(flat, admitted[1e6])
        return nodes.reshape(-1, *form.shape), np.ones(len(nodes))
    if not admitted[-1e3]:
        nodes, weights = _product([_chart(admitted, column) for column in flat.T])
        return nodes.reshape(-1, *form.shape), weights
    root = np.linalg.cholesky(np.atleast_2d(np.cov(flat.T)))
    cube = _hypercube(flat.shape[1], step, 6.5)
    weight = np.prod(np.diagonal(root)) * step ** flat.shape[1]
    nodes = flat.mean(axis=0) + cube @ root.T
    return nodes.reshape(-1, *form.shape), np.full(len(nodes), weight)


def _grid(family, draws, step):
    """Observations of a family, and their weights in sums or integrals over all of them."""
    forms, structure = jax.tree.flatten(family.observation)
    rules = [_grid_of(family, draws, place, step) for place in range(len(forms))]
    places = np.meshgrid(*[np.arange(len(weights)) for _, weights in rules], indexing="ij")
    leaves, total = [], 1.0
    for (nodes, weights), place in zip(rules, places, strict=True):
        leaves.append(nodes[place.ravel()].astype(_dtype_of(nodes)))
        total = total * weights[place.ravel()]
    return jax.tree.unflatten(structure, leaves), total


def _dtype_of(nodes):
    kind = int if np.issubdtype(nodes.dtype, np.integer) else float
    return jax.dtypes.canonicalize_dtype(kind)


def _numbers(family):
    """How many real numbers an observation consists of."""
    forms = jax.tree.leaves(family.observation)
    return sum(int(np.prod(f.shape)) for f in forms if jnp.issubdtype(f.dtype, jnp.floating))


# Densities with a kink and densities on a simplex want other rules; oracles test these two.
def _is_suited(model):
    return _numbers(model) <= 3 and not isinstance(model, hm.Laplace | hm.Dirichlet)


def _joint_grid(case):
    # Half a standard deviation a step is exact to 1e-8 for a normal; mixtures, whose components
    # are narrower than the whole, get half of that where the grid allows it.
    step = 0.25 if _numbers(case.model) <= 2 else 0.4
    return _grid(case.model, case.draws, step)


def _joint_densities(given, nodes, weights):
    return given.model.log_densities(given.point, nodes), weights


@over(
    names_where(_is_suited, KINDS),
    _joint_densities,
    inputs=_joint_grid,
)
def test_densities_integrate_to_one(case, found):
    _assert_total(case, *found)


def _assert_total(case, log_densities, weights):
    total = float(np.sum(weights * np.exp(log_densities.astype(float))))
    assert total == pytest.approx(1, abs=max(1e-6, 1e4 * case.eps))


def _observable_grid(case):
    family, data = case.model.data_man, case.model.data_of(case.draws)
    return _grid(family, data, 0.25 if _numbers(family) <= 2 else 0.4)


def _observable_densities(given, nodes, weights):
    return given.model.log_observable_densities(given.point, nodes), weights


@over(
    names_where(lambda model: is_conjugated(model) and _numbers(model.data_man) <= 3),
    _observable_densities,
    inputs=_observable_grid,
)
def test_observable_densities_integrate_to_one(case, found):
    _assert_total(case, *found)


def _batch_and_one_by_one(given):
    point, xs = given.point, given.data
    one_by_one = jax.vmap(lambda x: given.call("log_observable_density", point, x))(xs)
    average = given.call("average_log_observable_density", point, xs, given.weights)
    return given.log_observable_densities, one_by_one, average


@over(CONJUGATED_KINDS, _batch_and_one_by_one)
def test_observable_densities_are_the_same_one_by_one_and_in_a_batch(case, found):
    batch, one_by_one, average = found
    assert batch.shape == (N_DATA,)
    case.close(one_by_one, batch, 1e3)
    case.close(average, case.weights @ batch / np.sum(case.weights), 1e3)
