"""Evidence, densities and expected statistics of batches, whole or grouped by what is observed."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from harmonium.exponential_family.checks import check_no_nan, check_support, check_weights
from harmonium.exponential_family.chunks import batch_length, chunk_length, map_chunks
from harmonium.exponential_family.compiled import batched, is_traced
from harmonium.exponential_family.evidence import expected_statistics
from harmonium.exponential_family.form import float_dtype
from harmonium.exponential_family.partial import check_masks, log_partial_measure
from harmonium.geometry.point import Mean, Natural
from harmonium.harmoniums.grouped import (
    GroupedObservations,
    check_groups,
    group_alike,
    mask_rows,
)

MAX_BLOCKS = 1024


def check_batch(model: Any, point: Natural, xs: Any, observed: Any, scored: bool = False) -> Any:
    """A batch of data, checked; grouped if there are masks.

    Within functions that users compile only forms are checked. Outside of the support densities
    are zero, so that of what is scored only NaN is refused.
    """
    family = model.data_man
    if isinstance(xs, GroupedObservations):
        xs = check_groups(family, xs, observed, point)
    elif observed is not None:
        xs = group_alike(family, xs, observed, point)
    else:
        xs = family.check_form(xs, like=point)
        batch_length(xs)
    if not is_traced():
        rows = xs.in_order if isinstance(xs, GroupedObservations) else xs
        if scored:
            check_no_nan(family, rows)
        else:
            check_support(family, None, rows)
    return xs


def check_rows(
    model: Any, point: Natural, xs: Any, observed: Any, always: bool = False
) -> tuple[Any, Any]:
    """A batch of data and masks, or `None`, checked and masked out row by row.

    Within functions that users compile values are checked on demand, where results can't be NaN.
    """
    family = model.data_man
    xs = family.check_form(xs, like=point)
    if observed is not None:
        observed = check_masks(family, observed, batch_length(xs))
        xs, observed = mask_rows(family, (xs, observed))
    if always or not is_traced():
        xs = check_support(family, xs, xs)
    return xs, observed


def evidence_of(model: Any, point: Natural, x: Any, observed: Any = None) -> Float[Array, ""]:
    """The evidence of one datum, of which a mask tells what is observed."""
    mask = None if observed is None else model.as_observation(observed)
    return model.evidence_kernel(point, model.as_observation(x), mask)


def log_density_of(model: Any, point: Natural, x: Any, observed: Any) -> Float[Array, ""]:
    """The log density of what is observed of one datum, plus the log partition function."""
    family = model.data_man
    if observed is None:
        return evidence_of(model, point, x) + family.log_base_measure(x)
    return evidence_of(model, point, x, observed) + log_partial_measure(family, x, observed)


@batched
def log_densities_of(model: Any, point: Natural, xs: Any, batch_size: int) -> Float[Array, " n"]:
    """The log densities of N data, or of those that are grouped."""
    log_partition = model.log_partition_function(point)
    density = jax.vmap(lambda x, mask: log_density_of(model, point, x, mask), (0, None))
    if not isinstance(xs, GroupedObservations):
        return map_chunks(lambda chunk: density(chunk, None), xs, batch_size) - log_partition
    blocks = map_chunks(
        lambda chunk: jax.vmap(density)(*chunk),
        (xs.xs, xs.observed),
        _blocks_at_once(xs, batch_size),
    )
    return xs.gather(blocks) - log_partition


@batched
def average_expectations(
    model: Any, point: Natural, xs: Any, weights: Any, batch_size: int
) -> tuple[Mean, Float[Array, ""]]:
    """The weighted averages of expected statistics and of log densities: the E-step.

    The latter without base measures, on which parameters have no effect.
    """
    mean, evidence = _average_evidence(model, point, xs, weights, batch_size)
    return mean, evidence - model.log_partition_function(point)


def _average_evidence(
    model: Any, point: Natural, xs: Any, weights: Any, batch_size: int
) -> tuple[Mean, Float[Array, ""]]:
    dtype, batch_size = float_dtype(point), chunk_length(model.dim, batch_size)

    def total(point: Natural, xs: Any, weights: Array) -> Array:
        return weights @ jax.vmap(lambda x: evidence_of(model, point, x))(xs)

    def total_of_blocks(point: Natural, blocks: Any, weights: Array) -> Array:
        def sum_of(xs: Any, mask: Any, own: Array) -> Array:
            return own @ jax.vmap(lambda x: evidence_of(model, point, x, mask))(xs)

        xs, masks = blocks
        return jnp.sum(jax.vmap(sum_of)(xs, masks, weights))

    if not isinstance(xs, GroupedObservations):
        weights = check_weights(weights, batch_length(xs), dtype)
        return expected_statistics(total, point, xs, weights, batch_size)
    weights = xs.spread(check_weights(weights, len(xs), dtype))
    size = _blocks_at_once(xs, batch_size)
    return expected_statistics(total_of_blocks, point, (xs.xs, xs.observed), weights, size)


def _blocks_at_once(xs: GroupedObservations, batch_size: int) -> int:
    """How many blocks of partly observed data are processed at once."""
    return max(1, min(MAX_BLOCKS, batch_size // xs.shape[1]))
