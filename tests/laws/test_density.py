"""Densities are what the exponential family says, factor as Bayes says, and are normalised."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.catalogue import CATALOGUE
from tests.laws.cases import CONJUGATED, N_DATA, is_conjugated, names_where, over


def _by_definition(model, point, xs):
    def one(x):
        energy = hm.dot(point, model.sufficient_statistic(x))
        return energy - model.log_partition_kernel(point) + model.log_base_measure(x)

    return jax.vmap(one)(xs)


def _one_by_one(model, point, xs):
    return jax.vmap(lambda x: model.log_density(point, x))(xs)


@over(CATALOGUE, both=CATALOGUE)
def test_log_density_is_energy_minus_log_partition_plus_base_measure(case):
    expected = case.jit(_by_definition)(case.point, case.xs)
    # The energy of an observation is a sum of a few dozen terms, some of them large.
    case.close(case.jit(_one_by_one)(case.point, case.xs), expected, 1e3)
    case.close(case.jit("log_densities")(case.point, case.xs), expected, 1e3)
    average = case.jit("average_log_density")(case.point, case.xs)
    case.close(average, jnp.mean(expected), 1e3)


def _factors(model, point, xs):
    def one(x):
        likelihood = model.obs_man.log_density(model.likelihood_at(point, x.latent), x.observable)
        prior = model.prr_man.log_density(model.prior(point), x.latent)
        posterior = model.pst_man.log_density(model.posterior_at(point, x.observable), x.latent)
        return likelihood + prior, model.log_observable_density(point, x.observable) + posterior

    return jax.vmap(one)(xs)


@over(CONJUGATED)
def test_joint_densities_factor_both_ways(case):
    joint = case.jit("log_densities")(case.point, case.xs)
    forwards, backwards = case.jit(_factors)(case.point, case.xs)
    case.close(forwards, joint, 3e3)
    case.close(backwards, joint, 3e3)


def _hypercube(dim, step, limit):
    axis = np.arange(-limit, limit + step / 2, step)
    return np.stack([a.ravel() for a in np.meshgrid(*[axis] * dim)], axis=1)


def _admits(family, draws, place, value):
    """Whether one array of an observation may consist of this value."""
    leaves, structure = jax.tree.flatten(jax.tree.map(lambda leaf: leaf[0], draws))
    leaves[place] = jnp.full_like(leaves[place], value)
    return bool(family.in_support(jax.tree.unflatten(structure, leaves)))


def _counts(flat, unbounded):
    """All integers that matter, in as many dimensions as there are columns."""
    largest = int(flat.max())
    levels = range(3 * largest + 30 if unbounded else largest + 1)
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


def _chart(family, draws, place, column):
    """A rule for one number of a support that is not the whole line."""
    if _admits(family, draws, place, 1e3):
        return _half_line(column)
    return _circle() if _admits(family, draws, place, -3.0) else _unit_interval()


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
    flat = np.asarray(leaf, float).reshape(len(leaf), -1)
    if jnp.issubdtype(form.dtype, jnp.integer):
        nodes = _counts(flat, _admits(family, draws, place, 10**6))
        return nodes.reshape(-1, *form.shape), np.ones(len(nodes))
    if not _admits(family, draws, place, -1e3):
        nodes, weights = _product([_chart(family, draws, place, column) for column in flat.T])
        return nodes.reshape(-1, *form.shape), weights
    root = np.linalg.cholesky(np.atleast_2d(np.cov(flat.T)))
    cube = _hypercube(flat.shape[1], step, 8.0)
    weight = np.prod(np.diagonal(root)) * step ** flat.shape[1]
    nodes = flat.mean(axis=0) + cube @ root.T
    return nodes.reshape(-1, *form.shape), np.full(len(nodes), weight)


def _total(family, draws, densities, step):
    """The sum or integral of a density over all observations of a family."""
    forms, structure = jax.tree.flatten(family.observation)
    rules = [_grid_of(family, draws, place, step) for place in range(len(forms))]
    places = np.meshgrid(*[np.arange(len(weights)) for _, weights in rules], indexing="ij")
    leaves, total = [], 1.0
    for (nodes, weights), place in zip(rules, places, strict=True):
        leaves.append(jnp.asarray(nodes[place.ravel()]).astype(_dtype_of(nodes)))
        total = total * weights[place.ravel()]
    values = densities(jax.tree.unflatten(structure, leaves))
    return float(np.sum(total * np.exp(np.asarray(values, float))))


def _dtype_of(nodes):
    return int if np.issubdtype(nodes.dtype, np.integer) else float


def _numbers(family):
    """How many real numbers an observation consists of."""
    forms = jax.tree.leaves(family.observation)
    return sum(int(np.prod(f.shape)) for f in forms if jnp.issubdtype(f.dtype, jnp.floating))


# Densities with a kink and densities on a simplex want other rules; oracles test these two.
UNSUITED = (hm.Laplace, hm.Dirichlet)


@over(names_where(lambda model: _numbers(model) <= 3 and not isinstance(model, UNSUITED)))
def test_densities_integrate_to_one(case):
    densities = lambda xs: case.jit("log_densities")(case.point, xs)  # noqa: E731
    # Half a standard deviation a step is exact to 1e-8 for a normal; mixtures, whose components
    # are narrower than the whole, get half of that where the grid allows it.
    step = 0.25 if _numbers(case.model) <= 2 else 0.4
    total = _total(case.model, case.draws, densities, step)
    assert total == pytest.approx(1, abs=max(1e-6, 1e4 * case.eps))


@over(names_where(lambda model: is_conjugated(model) and _numbers(model.obs_man) <= 3))
def test_observable_densities_integrate_to_one(case):
    densities = lambda xs: case.jit("log_observable_densities")(case.point, xs)  # noqa: E731
    step = 0.25 if _numbers(case.model.obs_man) <= 2 else 0.4
    total = _total(case.model.obs_man, case.draws.observable, densities, step)
    assert total == pytest.approx(1, abs=max(1e-6, 1e4 * case.eps))


@over(CONJUGATED, both=CONJUGATED)
def test_observable_densities_are_the_same_one_by_one_and_in_a_batch(case):
    xs = case.xs.observable
    batch = case.jit("log_observable_densities")(case.point, xs)
    assert batch.shape == (N_DATA,)
    case.close(case.jit(_observable_one_by_one)(case.point, xs), batch, 1e3)
    average = case.jit("average_log_observable_density")(case.point, xs, case.weights)
    case.close(average, case.weights @ batch / jnp.sum(case.weights), 1e3)


def _observable_one_by_one(model, point, xs):
    return jax.vmap(lambda x: model.log_observable_density(point, x))(xs)
