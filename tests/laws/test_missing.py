"""What is not observed is integrated out: densities, posteriors and expected statistics."""

import jax
import jax.numpy as jnp
import numpy as np

import harmonium as hm
from harmonium.exponential_family.partial import log_partial_measure, mask_out
from tests.laws.cases import CONJUGATED_KINDS, over


def _constant(family, value):
    return jax.tree.map(lambda form: jnp.full(form.shape, value), family.mask)


def _alternatives(family, x):
    """What the first part of an observation may be, log weights of an integral, and a mask."""
    if isinstance(family, hm.Product):
        first, weights, mask = _alternatives(family.parts[0], x[0])
        rest = jax.tree.map(lambda a: jnp.broadcast_to(a, (len(weights), *a.shape)), x[1:])
        others = tuple(_constant(part, True) for part in family.parts[1:])
        return (first, *rest), weights, (mask, *others)
    if isinstance(family, hm.Replicated):
        first, weights, mask = _alternatives(family.family, x[0])
        values = jnp.repeat(x[None], len(weights), axis=0).at[:, 0].set(first)
        return values, weights, _constant(family, True).at[0].set(mask)
    if isinstance(family, hm.Normal):
        # The trapezoidal rule is exact to rounding for normals this much wider than its step.
        grid, step = np.linspace(-60, 60, 801, retstep=True)
        values = jnp.repeat(x[None], len(grid), axis=0).at[:, 0].set(grid)
        return values, np.full(len(grid), np.log(step)), _constant(family, True).at[0].set(False)
    if isinstance(family, hm.VonMises):
        angles = np.linspace(-np.pi, np.pi, 256, endpoint=False)
        return angles, np.full(256, np.log(2 * np.pi / 256)), np.array(False)
    if isinstance(family, hm.exponential_family.Positive):
        logs, step = np.linspace(-80, 8, 1601, retstep=True)
        return np.exp(logs), np.log(step) + logs, np.array(False)
    n = family.n_categories if isinstance(family, hm.Categorical) else 300
    return np.arange(n), np.zeros(n), np.array(False)


def _masks(family, x):
    """Everything observed, nothing, and all but the first part, which can be integrated."""
    masks = _constant(family, True), _constant(family, False), _alternatives(family, x)[2]
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *masks)


def _of_masks(model, point, x):
    """Densities, posteriors and statistics for each of the masks."""

    def one(mask):
        rows, masks = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], (x, mask))
        statistics, evidence = model.expectation(point, rows, observed=masks)
        shown = mask_out(model.data_man, x, mask)
        measure = log_partial_measure(model.data_man, shown, mask)
        density = model.log_observable_density(point, x, mask)
        return density, model.posterior_at(point, x, mask), statistics, evidence + measure

    return jax.vmap(one)(_masks(model.data_man, x))


def _expected(given, x):
    model, point = given.model, given.point
    density = given.call("log_observable_density", point, x)
    posterior = model.pst_prr_emb.embed(model.posterior_at(point, x))
    complete = density, posterior, given.call("posterior_statistics", point, x)
    results = [complete, (jnp.zeros_like(density), model.prior(point), given.mean)]
    values, weights, _ = _alternatives(model.data_man, x)
    logs = model.log_observable_densities(point, values)
    logs = logs + jnp.asarray(weights, logs.dtype)
    total = jax.nn.logsumexp(logs)
    return [
        *results,
        (total, model.mean_posterior_statistics(point, values, jnp.exp(logs - total))),
    ]


def _found_and_expected(given):
    x = jax.tree.map(lambda leaf: leaf[0], given.observables)
    return _of_masks(given.model, given.point, x), _expected(given, x)


@over(CONJUGATED_KINDS, _found_and_expected)
def test_what_is_hidden_is_integrated_out(case, found):
    (densities, posteriors, statistics, again), expected = found
    case.close(again, densities, 1e4)
    for i, wanted in enumerate(expected):
        case.close(_row((densities, statistics), i), (wanted[0], wanted[-1]), 1e4)
    for i, (_, wanted, _) in enumerate(expected[:2]):
        case.close(_row(posteriors, i), wanted, 1e4)


def _row(tree, i):
    return jax.tree.map(lambda leaf: leaf[i], tree)
