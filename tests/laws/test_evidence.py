"""The evidence: one function of what is observed, from nothing to everything."""

import jax
import jax.numpy as jnp

import harmonium as hm
from tests.laws.cases import CONJUGATED_KINDS, KINDS, over


def _one(tree):
    return jax.tree.map(lambda leaf: leaf[0], tree)


def _ends(given):
    """With nothing observed and with everything, beside what these are."""
    model, point, x = given.model, given.point, _one(given.xs)
    energy = hm.dot(point, model.sufficient_statistic(x))
    found = model.evidence(point), model.evidence(point, x)
    return found, (model.log_partition_function(point), energy)


@over(KINDS, _ends)
def test_evidence_goes_from_the_log_partition_function_to_the_energy(case, found):
    case.close(*found, 1e3)


def _masks(given):
    """By masks that show all, or nothing, and by saying so."""
    model, point = given.model, given.point
    family, x = model.obs_man, _one(given.xs.observable)
    masks = [jax.tree.map(lambda form, v=v: jnp.full(form.shape, v), family.mask) for v in (1, 0)]
    shown, hidden = (jax.tree.map(lambda leaf: leaf.astype(bool), mask) for mask in masks)
    own = point.observable
    found = [
        model.evidence(point, hm.Joint(x, None), hm.Joint(shown, None)),
        model.evidence(point, hm.Joint(x, None), hm.Joint(hidden, None)),
        family.evidence(own, x, shown),
        family.evidence(own, x, hidden),
    ]
    expected = [
        model.evidence(point, hm.Joint(x, None)),
        model.evidence(point),
        family.evidence(own, x),
        family.evidence(own),
    ]
    return found, expected


@over(CONJUGATED_KINDS, _masks)
def test_masks_that_show_all_or_nothing_say_so(case, found):
    case.close(*found, 1e3)


def _translated(given):
    """At the sum of a point and a shift, nothing and everything observed."""
    model, point, x = given.model, given.point, _one(given.xs)
    shift = given.other - point
    found = [model.translated_evidence(point, shift, own, None) for own in (None, x)]
    return found, [model.evidence(given.other), model.evidence(given.other, x)]


@over(KINDS, _translated)
def test_translated_evidence_is_that_at_the_sum(case, found):
    case.close(*found, 1e4)
