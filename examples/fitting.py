"""A loop that the examples share: EM from several starts at once, in compiled chunks of steps."""

from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
import optax
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import harmonium as hm

# XLA leaves small factorisations to SciPy's BLAS, whose threads mostly wait for each other: on busy
# cores, a hundred times longer than the work takes.
threadpool_limits(1, user_api="blas")

CHUNK = 10


class Fit(NamedTuple):
    """The best parameters, those of all starts, and log-likelihoods: (chunks, starts)."""

    params: hm.Natural
    all_params: hm.Natural
    history: np.ndarray


class Pseudo(NamedTuple):
    """Pseudo-observations: their mean statistics, and their share of the total weight."""

    statistics: hm.Mean
    share: float


@eqx.filter_jit
def random_starts(model, key, xs, n_starts):
    """A batch of random starts: the initialiser mapped over keys."""
    keys = jax.random.split(key, n_starts)
    return jax.vmap(lambda key: model.initialize_from_sample(key, xs))(keys)


@eqx.filter_jit
def mean_log_likelihood(model, params, xs, weights=None):
    """In nats per observation, the latents summed out exactly."""
    return model.average_log_observable_density(params, xs, weights)


@eqx.filter_jit
def expected_latents(model, params, xs):
    """Where observations lie in the latent space of the lowest level."""
    return model.expected_latents(params, xs)


@eqx.filter_jit
def clusters(model, params, xs):
    """The most probable component of each observation."""
    return model.assign(params, xs)


def em_step(model, params, xs, weights=None, pseudo=None):
    """One step of EM, with or without pseudo-observations.

    The E-step averages the statistics of data completed by their latents: mean coordinates. So
    pseudo-observations that are complete already, latents included, simply enter the average.
    Without them, this is `expectation_maximization`.
    """
    if pseudo is None:
        return model.expectation_maximization(params, xs, weights)
    data = model.mean_posterior_statistics(params, xs, weights)
    return model.improve((1 - pseudo.share) * data + pseudo.share * pseudo.statistics, params)


@eqx.filter_jit
def em_chunk(model, batch, xs, weights, pseudo):
    """A few EM steps from each of a batch of points, and the log-likelihoods that they reach."""

    def step(batch, _):
        return jax.vmap(lambda params: em_step(model, params, xs, weights, pseudo))(batch), None

    batch, _ = jax.lax.scan(step, batch, length=CHUNK)
    return batch, jax.vmap(lambda p: mean_log_likelihood(model, p, xs, weights))(batch)


@eqx.filter_jit
def gradient_ascent(model, params, xs, pseudo, n_steps, learning_rate=1e-3):
    """Adam on what EM climbs: the exact log-likelihood, and that of the pseudo-observations."""

    def loss(params):
        data = model.average_log_observable_density(params, xs)
        complete = hm.dot(params, pseudo.statistics) - model.log_partition_function(params)
        return -(1 - pseudo.share) * data - pseudo.share * complete

    def step(state, _):
        params, optimizer_state = state
        updates, optimizer_state = optimizer.update(jax.grad(loss)(params), optimizer_state)
        return (optax.apply_updates(params, updates), optimizer_state), None

    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, n_steps))
    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), length=n_steps)
    return params


def fit_em(model, starts, xs, pseudo=None, n_steps=400, tolerance=2e-6, name="EM", weights=None):
    """Fits a model by EM from several starts at once, and keeps the best.

    **Arguments:**

    - `starts`: a batch of natural points.
    - `xs`: a batch of observations.
    - `pseudo`: pseudo-observations, or none.
    - `n_steps`: the largest number of steps.
    - `tolerance`: the fit ends when no start gains more, relative to its log-likelihood, in a step.
    - `name`: what the progress display says.
    - `weights`: of the observations, equal ones by default.
    """
    xs, weights = model.condense(xs, weights)
    history = []
    with tqdm(total=n_steps, desc=name, unit="step") as progress:
        while progress.n < n_steps and not converged(history, tolerance):
            starts, values = em_chunk(model, starts, xs, weights, pseudo)
            if not np.isfinite(values).any():
                raise FloatingPointError(f"{name}: EM is degenerate from every start.")
            history.append(np.asarray(values))
            progress.update(CHUNK)
            progress.set_postfix_str(f"mean log-likelihood {np.nanmax(values):.2f}")
        progress.total = progress.n
    best = starts[int(np.nanargmax(values))]
    return Fit(model.standardize(best), starts, np.stack(history))


def converged(history, tolerance):
    """Whether no start has gained much in the last chunk."""
    if len(history) < 2:
        return False
    gains = (history[-1] - history[-2]) / np.abs(history[-1])
    return np.nanmax(gains) < CHUNK * tolerance
