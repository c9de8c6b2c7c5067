"""Starts that are worth a whole fit: the best of several after a few steps on a sample."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from harmonium.exponential_family.checks import all_finite
from harmonium.exponential_family.chunks import batch_length
from harmonium.geometry.point import Natural
from harmonium.harmoniums.mixture_starts import SAMPLE_SIZE
from harmonium.learning.engine import advance, begin
from harmonium.learning.methods import EM, Result
from harmonium.learning.problem import ConjugatePrior, make_problem

# How many steps of EM candidates take: few on a large sample, for their cost, more on a small one.
FEWEST_STEPS, MOST_STEPS = 5, 100
OBSERVATIONS_SEEN = 5 * SAMPLE_SIZE
# Relative differences of objectives that tell nothing about candidates.
SAME = 1e-6


@eqx.filter_jit
def best_candidates(
    model: Any,
    candidates: Natural,
    n_candidates: int,
    xs: Any,
    weights: Float[Array, " n"],
    prior: ConjugatePrior | None,
) -> Natural:
    """Of each group of candidates the one that EM improves most in a few steps, thus improved.

    **Arguments:**

    - `model`: a conjugated harmonium whose M-step has a closed form.
    - `candidates`: a batch of natural points, the groups one after the other.
    - `n_candidates`: how many make a group.
    - `xs`: a batch of N observations, the data or a sample of them.
    - `weights`: (N,), summing to one.
    - `prior`: with its weight relative to that of the data.

    **Source:** Biernacki, Celeux and Govaert, Choosing Starting Values for the EM Algorithm for
    Getting the Highest Likelihood in Multivariate Gaussian Mixture Models (2003): short runs of EM.
    """
    problem = make_problem(model, xs, weights, prior)
    n_steps = min(MOST_STEPS, max(FEWEST_STEPS, OBSERVATIONS_SEEN // batch_length(xs)))
    method, until = EM(), jnp.asarray(n_steps)
    never = jnp.full((), -1, weights.dtype)  # a tolerance below any gain

    def trial(candidate: Natural) -> tuple[Natural, Array]:
        start = begin(method, problem, candidate, n_steps)
        run = advance(method, problem, start, until, never)
        # After all steps the last point, as which of them is the best may be a matter of rounding.
        took_all = (run.code == int(Result.STEP_LIMIT)) & all_finite(run.params)
        pair = run.params, run.best
        return jax.tree.map(lambda last, best: jnp.where(took_all, last, best), *pair), run.value

    points, values = jax.vmap(trial)(candidates)
    groups = values.reshape(-1, n_candidates)
    highest = jnp.max(groups, axis=1, keepdims=True)
    # Of equals the first, whatever the rounding.
    as_good = groups >= highest - SAME * jnp.maximum(1.0, jnp.abs(highest))
    best = jnp.argmax(as_good, axis=1) + n_candidates * jnp.arange(len(groups))
    return points[best]
