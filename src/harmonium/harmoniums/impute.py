"""Filling in what was not observed."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from harmonium.exponential_family.chunks import batch_length, map_chunks
from harmonium.exponential_family.compiled import batched
from harmonium.exponential_family.evidence import value_and_mean
from harmonium.exponential_family.generative import sample_many
from harmonium.exponential_family.partial import (
    check_masks,
    expected_observation,
    fill,
    mask_out,
    placeholder,
    sample_hidden,
)
from harmonium.geometry.point import Mean, Natural
from harmonium.harmoniums.batch_inference import evidence_of
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.grouped import GroupedObservations, group_alike
from harmonium.harmoniums.harmonium import Joint
from harmonium.harmoniums.labelled import Labelled

# As many rows as are filled in at once: each has the mean parameters of its whole observable.
ROWS_AT_ONCE = 1024


def impute(
    model: Conjugated,
    params: Natural,
    xs: Any,
    observed: Any,
    key: PRNGKeyArray | None = None,
    shape: tuple[int, ...] = (),
) -> Any:
    r"""Observations whose hidden parts are filled in, given the observed parts.

    Without a key by their conditional expectations $E[x_u | x_o]$: the mean of reals and of counts
    (which then are real numbers), the most probable category. With a key by draws from
    $p(x_u | x_o)$: latents from their posterior given $x_o$, hidden parts given latents and $x_o$.

    **Arguments:**

    - `model`: a conjugated harmonium.
    - `params`: natural, its parameters.
    - `xs`: one observation of `model.data_man`, or a batch of N. What is not observed may be NaN.
    - `observed`: one mask, of the form `model.data_man.mask`, or N: truth values, one for each
        entry of a vector of reals, one for a category, a count, and so on.
    - `key`: a JAX random key, for draws.
    - `shape`: how many draws, the leading axes of the result.

    **Returns:** observations with axes `(*shape, N, ...)`, or `(*shape, ...)` for a single one.

    **Raises:** `TypeError` where the mean parameters of a part, hidden or not, do not tell what to
    expect of it; draws always exist.
    """
    if not isinstance(model, Conjugated):
        raise TypeError(f"impute takes a conjugated harmonium, got {model!r}.")
    model.check_single(params)
    leaves, forms = jax.tree.leaves(xs), jax.tree.leaves(model.data_man.observation)
    single = bool(leaves) and jnp.ndim(leaves[0]) == len(forms[0].shape)
    if single:
        xs, observed = _as_batch(xs), _as_batch(observed)
    if key is not None:
        rows = model.data_man.check_form(xs, like=params)
        masks = check_masks(model.data_man, observed, batch_length(rows))
        drawn = _draw(model, params, (rows, masks), key, shape)
        if single:
            return jax.tree.map(lambda leaf: leaf[0], drawn)
        if shape == ():
            return drawn
        return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, len(shape)), drawn)
    if shape != ():
        raise ValueError(f"expectations have no shape, got {shape}. Pass a key to draw instead.")
    filled = _expect(model, params, group_alike(model, xs, observed, params))
    return jax.tree.map(lambda leaf: leaf[0], filled) if single else filled


@batched
def _expect(model: Conjugated, params: Natural, xs: GroupedObservations) -> Any:
    def complete(row: Any, mask: Any) -> Any:
        def evidence(observable: Natural) -> Array:
            point = model.point(observable, params.interaction, params.latent)
            return evidence_of(model, point, row, mask)

        if isinstance(model, Labelled):
            mean = model.posterior_statistics(params, row, mask)
            return fill(mask, row, model.data_of(expected_observation(model, mean)))
        _, mean = value_and_mean(evidence, params.observable)
        expected = model.obs_man.data_of(expected_observation(model.obs_man, mean))
        return fill(mask, row, expected)

    over_blocks = jax.vmap(jax.vmap(complete, (0, None)))
    size = max(1, ROWS_AT_ONCE // xs.shape[1])
    return xs.gather(map_chunks(lambda chunk: over_blocks(*chunk), (xs.xs, xs.observed), size))


@batched
def _draw(
    model: Conjugated, params: Natural, xs: Any, key: PRNGKeyArray, shape: tuple[int, ...]
) -> Any:
    """Draws for N observations and their masks, with axes (N, *shape, ...)."""
    xs, observed = xs
    length = batch_length(xs)

    def complete(row: Any, mask: Any, key: PRNGKeyArray) -> Any:
        hidden = jax.tree.map(lambda form: jnp.zeros(form.shape, form.dtype), model.mask)
        nothing = model.check_form(placeholder(model), batch=False, like=params)
        joint = _completed(model, row, nothing), _completed(model, mask, hidden)
        return model.data_of(sample_hidden(model, key, params, *joint))

    def fill_all(key: PRNGKeyArray) -> Any:
        rows = xs, observed, jax.random.split(key, length)
        return map_chunks(lambda chunk: jax.vmap(complete)(*chunk), rows, ROWS_AT_ONCE)

    draws = sample_many(fill_all, key, shape, max(1, ROWS_AT_ONCE // length))
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, len(shape), 0), draws)


def _completed(model: Conjugated, data: Any, other: Any) -> Any:
    """The joint observation (or mask) with these data, and the latents of another one."""

    def is_hidden(node: Any) -> bool:
        return node is None

    def choose(own: Any, rest: Any) -> Any:
        return rest if own is None else own

    return jax.tree.map(choose, model.as_observation(data), other, is_leaf=is_hidden)


def _as_batch(tree: Any) -> Any:
    """A batch of one: every array with a leading axis of length 1."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree)


# --- joint observations that are observed in part


@placeholder.register
def _(model: Conjugated) -> Joint:
    return Joint(placeholder(model.obs_man), placeholder(model.pst_man))


@expected_observation.register
def _(model: Conjugated, point: Mean) -> Joint:
    observable = expected_observation(model.obs_man, point.observable)
    return Joint(observable, expected_observation(model.pst_man, point.latent))


@sample_hidden.register
def _(model: Conjugated, key: PRNGKeyArray, point: Natural, x: Joint, observed: Joint) -> Joint:
    """First what is hidden of the latent, given what is observed, then of the observable."""
    latent_key, observable_key = jax.random.split(key)
    shown = mask_out(model.obs_man, x.observable, observed.observable)
    posterior, _ = model.condition(point, shown, observed.observable)
    latent = sample_hidden(model.prr_man, latent_key, posterior, x.latent, observed.latent)
    likelihood = model.observable_at(model.likelihood_function(point), latent)
    observable = sample_hidden(
        model.obs_man, observable_key, likelihood, x.observable, observed.observable
    )
    return Joint(observable, latent)
