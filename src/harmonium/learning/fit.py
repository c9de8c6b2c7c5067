"""Fitting models to data."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PRNGKeyArray

from harmonium.exponential_family.base import BATCH_SIZE, Differentiable
from harmonium.exponential_family.checks import check_weights
from harmonium.exponential_family.chunks import batch_length
from harmonium.exponential_family.form import float_dtype
from harmonium.geometry.point import Natural, Point, stack_points
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.patterns import Patterns, check_masks
from harmonium.learning.devices import (
    Devices,
    group_by_device,
    localized,
    spread_data,
    take_sample,
)
from harmonium.learning.engine import Run, is_valid, run_fit
from harmonium.learning.methods import EM, Method, Result
from harmonium.learning.prior import default_prior
from harmonium.learning.problem import ConjugatePrior, Problem, make_problem
from harmonium.learning.scaling import (
    Scaling,
    as_numbers,
    density_ceiling,
    log_volumes,
    push_back,
    push_into,
    standardization,
    standardize_data,
)

# How many observations starts and default priors look at, at most.
SAMPLE_SIZE = 16_384

MESSAGES = {
    Result.CONVERGED: "converged: a step gained less than the tolerance.",
    Result.STEP_LIMIT: (
        "not converged: the steps ran out. Raise max_steps, loosen the tolerance, or use "
        "EM('squarem')."
    ),
    Result.DIVERGED: (
        "diverged: the objective is not finite any more, and the best point before is returned. "
        "Lower the learning rate, or use EM."
    ),
    Result.DEGENERATE: (
        "degenerate: a covariance became singular, or a component lost all its data. Use a prior, "
        "fewer components, or a simpler covariance; remove constant columns."
    ),
    Result.INTERRUPTED: "interrupted: the best point so far is returned.",
}


class Fit(eqx.Module):
    """The result of `fit`.

    Log-likelihoods and objectives are averages over observations, in nats. Values of a single fit
    are those of the best start; `all_...` have a leading axis for starts.

    **Fields:**

    - `params`: natural, the fitted parameters.
    - `log_likelihood`: the average log density of the data.
    - `objective`: what was maximised: the same, and the log prior if there is one.
    - `history`: (max_steps,), the best objective after each step, NaN for steps not taken.
    - `n_steps`: how many steps were taken.
    - `code`: a `Result`, as an integer.
    - `all_params`, `all_objectives`, `all_histories`, `all_steps`, `all_codes`: of all starts.
    - `total_weight`: the number of observations, or the sum of their weights.
    """

    params: Natural
    log_likelihood: Float[Array, ""]
    objective: Float[Array, ""]
    history: Float[Array, " steps"]
    n_steps: Int[Array, ""]
    code: Int[Array, ""]
    all_params: Natural
    all_objectives: Float[Array, " starts"]
    all_histories: Float[Array, "starts steps"]
    all_steps: Int[Array, " starts"]
    all_codes: Int[Array, " starts"]
    total_weight: Float[Array, ""]

    @property
    def result(self) -> Result:
        """How the best start ended."""
        return Result(int(self.code))

    @property
    def converged(self) -> bool:
        """Whether the best start converged."""
        return self.result is Result.CONVERGED

    @property
    def message(self) -> str:
        """How the best start ended, and what to do about it."""
        return f"{MESSAGES[self.result]} Steps: {int(self.n_steps)}."

    @property
    def aic(self) -> Float[Array, ""]:
        r"""Akaike's information criterion, $2 d - 2 \log L$; smaller is better."""
        return 2 * self._dim - 2 * self.total_weight * self.log_likelihood

    @property
    def bic(self) -> Float[Array, ""]:
        r"""The Bayesian information criterion, $d \log N - 2 \log L$; smaller is better."""
        dim = self._dim * jnp.log(self.total_weight)
        return dim - 2 * self.total_weight * self.log_likelihood

    @property
    def _dim(self) -> int:
        model: Any = self.params.manifold
        return model.dim

    def __repr__(self) -> str:
        if isinstance(self.code, Tracer):
            return f"Fit({self.params.manifold})"
        value = float(self.log_likelihood)
        return f"Fit({self.params.manifold}: {value:.6g} nats per observation, {self.message})"


def fit(
    model: Differentiable,
    data: Any,
    *,
    key: PRNGKeyArray | None = None,
    method: Method = EM(),  # noqa: B008 (it has no state)
    n_starts: int | None = None,
    starts: Any = None,
    weights: Any = None,
    observed: Any = None,
    missing: str = "error",
    prior: ConjugatePrior | str | None = "default",
    scale: bool = True,
    max_steps: int = 1000,
    tolerance: float = 1e-6,
    progress: bool | None = None,
    callback: Callable[[int, float], None] | None = None,
    batch_size: int = BATCH_SIZE,
    mesh: Any = None,
) -> Fit:
    r"""Fits a model to data, from several starts at once, and returns the best.

    Maximises the average log density of the data, plus $\frac{\kappa}{N} (\theta \cdot \eta_0 -
    \psi(\theta))$ if there is a prior. Inside, real vectors are centred and scaled, and the result
    is pushed back, so that data may lie anywhere.

    **Arguments:**

    - `model`: a conjugated harmonium, or a family without latents.
    - `data`: a batch of N observations of the model's observable.
    - `key`: a JAX random key for the starts; not needed where `starts` are given.
    - `method`: `EM()`, `EM("squarem")`, `Gradient(optimiser)` or `NaturalGradient(learning_rate)`.
    - `n_starts`: how many random starts near the data; by default 4 where there are several
        optima, one where there is one.
    - `starts`: natural points to start from instead: one, a batch, or a sequence of them.
    - `weights`: (N,), not negative; weight 2 is the same as an observation repeated.
    - `observed`: N masks of what is observed, see `posterior_at`.
    - `missing`: `"error"`, or `"nan"` to take NaN among reals for not observed.
    - `prior`: `"default"` for a weak one of mixtures that keeps components from collapsing, see
        `default_prior`; a `ConjugatePrior`; or `None` for maximum likelihood.
    - `scale`: whether to centre and scale real vectors inside.
    - `max_steps`: the largest number of steps.
    - `tolerance`: a start has converged when a step gains less than this, relative to the objective
        or to 1, whichever is larger.
    - `progress`: whether to show a progress bar; by default at a terminal, after a second.
    - `callback`: called now and then with the number of steps taken and the best objective.
    - `batch_size`: how many observations are processed at once, on each device.
    - `mesh`: a `jax.sharding.Mesh` over all of whose devices the data are to be spread. Data that
        are sharded along their first axis stay as they are, and need none.

    **Returns:** a `Fit`; its `message` says whether it converged and what to do otherwise.

    **Raises:** `TypeError` or `ValueError` for data of another form or outside the support, for bad
    weights, and if every start fails at once.
    """
    if not isinstance(model, Differentiable):
        raise TypeError(f"fit takes a model, got {type(model).__name__}.")
    if max_steps < 1 or not tolerance >= 0:
        raise ValueError(
            "fit takes at least one step and a tolerance that is not negative, got max_steps = "
            f"{max_steps}, tolerance = {tolerance}."
        )
    family: Any = _observable(model)
    data, weights, observed, devices = spread_data(family, data, weights, observed, mesh)
    data, observed = _check_data(model, data, observed, missing)
    checked = _checked(family, data, observed)
    length, dtype = batch_length(checked), float_dtype(checked)
    shares = check_weights(weights, length, dtype)
    total = jnp.asarray(length if weights is None else jnp.sum(jnp.asarray(weights)), dtype)
    numbers = as_numbers(data, checked) if devices is None else checked
    scaling = standardization(family, numbers, observed, shares) if scale else None
    xs = _as_arrays(standardize_data(scaling, numbers), dtype)
    if observed is not None:
        xs = jax.vmap(family.conceal)(xs, observed)
    volumes = jnp.asarray(log_volumes(scaling, observed, xs), dtype)
    volume = jnp.sum(shares * volumes)
    ceiling = density_ceiling(scaling, xs, dtype)
    origin = _check_starts(model, key, n_starts, starts)
    scaling = jax.tree.map(jnp.asarray, scaling)
    rows, row_shares, spread = _reduced(model, devices, xs, shares, observed)
    prior = _check_prior(model, prior)
    sample, sample_shares = take_sample(devices, xs, shares, SAMPLE_SIZE)
    if devices is not None:
        scaling, volume, total = localized((scaling, volume, total))
    starting = _starting_points(model, origin, scaling, sample)
    prior = _standard_prior(model, prior, scaling, sample, sample_shares, total)
    problem = _make_problem(model, rows, row_shares, prior, ceiling, batch_size, spread)

    def report(n_steps: int, objectives: Array) -> str:
        best = float(jnp.nanmax(objectives) - volume)
        if callback is not None:
            callback(n_steps, best)
        return f"{best:.6g} nats"

    if devices is not None and jax.process_index() > 0:
        progress = False
    run = run_fit(method, problem, starting, max_steps, tolerance, progress, report, devices)
    result, succeeded = _finish(model, problem, run, scaling, volume, total)
    if devices is not None:
        result, succeeded = localized((result, succeeded))
    if not isinstance(succeeded, Tracer) and not bool(succeeded):
        raise ValueError(
            f"{model} can't be fitted: from every start the objective is not finite. "
            f"{MESSAGES[Result.DEGENERATE]}"
        )
    return result


def _observable(model: Any) -> Any:
    return model.obs_man if isinstance(model, Conjugated) else model


def _check_data(model: Any, data: Any, observed: Any, missing: str) -> tuple[Any, Any]:
    """The data, and masks of what is observed, for NaN if asked for."""
    if isinstance(data, Patterns):
        raise TypeError("fit takes observations and masks, `data` and `observed`, not patterns.")
    if missing not in ("error", "nan"):
        raise ValueError(f"missing is 'error' or 'nan', got {missing!r}.")
    if (observed is not None or missing == "nan") and not isinstance(model, Conjugated):
        raise TypeError(f"{model} has no latents; of observations all has to be observed.")
    if missing == "error" or observed is not None:
        return data, observed
    family = _observable(model)
    forms, masks = jax.tree.leaves(family.observation), jax.tree.leaves(family.mask)
    shapes = [form.shape for form in forms]
    if shapes != [mask.shape for mask in masks]:
        raise TypeError(
            f"NaN does not tell what of {family} is missing. Pass masks of the form "
            f"{family.mask} as `observed`."
        )
    parts = jax.tree.structure(family.observation).flatten_up_to(data)
    seen = [~jnp.isnan(jnp.asarray(part)) for part in parts]
    return data, jax.tree.structure(family.mask).unflatten(seen)


def _checked(family: Any, data: Any, observed: Any) -> Any:
    """The data as JAX arrays, with something harmless where nothing is observed."""
    if observed is None:
        return family.check_data(data)
    xs = family.check_form(data)
    masks = check_masks(family, observed, batch_length(xs))
    xs = jax.vmap(family.conceal)(xs, masks)
    return family.check_data(xs)


def _reduced(
    model: Any, devices: Devices | None, xs: Any, shares: Array, observed: Any
) -> tuple[Any, Array, Devices | None]:
    """What the steps of a fit look at, its weights, and the devices over which it is spread."""
    if observed is not None:
        return group_by_device(devices, _observable(model), xs, observed), shares, devices
    if not isinstance(model, Conjugated):
        return xs, shares, devices
    rows, row_shares = model.condense(xs, shares)
    if devices is not None and batch_length(rows) < batch_length(xs):
        return *localized((rows, row_shares)), None
    return rows, row_shares, devices


def _as_arrays(xs: Any, dtype: Any) -> Any:
    def convert(leaf: Any) -> Array:
        array = jnp.asarray(leaf)
        return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array

    return jax.tree.map(convert, xs)


def _check_prior(model: Any, prior: Any) -> Any:
    if isinstance(prior, ConjugatePrior):
        model.check_single(prior.mean)
    elif prior not in (None, "default"):
        raise ValueError(f"a prior is 'default', a ConjugatePrior or None, got {prior!r}.")
    return prior


@eqx.filter_jit
def _standard_prior(
    model: Any, prior: Any, scaling: Scaling, xs: Any, shares: Array, total: Array
) -> ConjugatePrior | None:
    """The prior for standardised data, with its weight relative to that of the data."""
    if isinstance(prior, ConjugatePrior):
        natural = push_into(scaling, model, model.to_natural(prior.mean))
        prior = ConjugatePrior(model.to_mean(natural), prior.weight)
    elif prior is not None:
        prior = default_prior(model, xs, shares)
    if prior is None:
        return None
    mean = jax.tree.map(lambda leaf: jnp.asarray(leaf, total.dtype), prior.mean)
    return ConjugatePrior(mean, jnp.asarray(prior.weight, total.dtype) / total)


_make_problem = eqx.filter_jit(make_problem)


def _check_starts(model: Any, key: Any, n_starts: int | None, starts: Any) -> Any:
    """A batch of given points, or random keys for starts."""
    if starts is not None:
        if not hasattr(starts, "batch_shape"):
            return stack_points(starts)
        return starts if starts.batch_shape else stack_points([starts])
    if key is None:
        raise ValueError("fit needs a random key for its starts: key=jax.random.key(0).")
    if n_starts is None:
        unique = not isinstance(model, Conjugated) or model.is_quadratic
        n_starts = 1 if unique else 4
    if n_starts < 1:
        raise ValueError(f"expected at least one start, got n_starts = {n_starts}.")
    return jax.random.split(key, n_starts)


@eqx.filter_jit
def _starting_points(model: Any, origin: Any, scaling: Scaling, xs: Any) -> Natural:
    """A batch of points for standardised data, pushed there or from random keys."""
    if isinstance(origin, Point):
        return jax.vmap(lambda start: push_into(scaling, model, start))(origin)
    return jax.vmap(lambda key: model.initialize_from_sample(key, xs))(origin)


@eqx.filter_jit
def _finish(
    model: Any, problem: Problem, run: Run, scaling: Scaling, volume: Array, total: Array
) -> tuple[Fit, Array]:
    """The best start in the user's coordinates, and whether there is one."""
    valid = is_valid(run)
    best = jnp.argmax(jnp.where(valid, run.value, -jnp.inf))
    params = jax.vmap(lambda point: push_back(scaling, model, point))(run.best)
    log_priors = jax.vmap(problem.log_prior)(run.best)
    objectives = run.value - volume

    def pick(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[best], tree)

    fit = Fit(
        pick(params),
        pick(objectives - log_priors),
        pick(objectives),
        pick(run.history) - volume,
        pick(run.n_steps),
        pick(run.code),
        params,
        objectives,
        run.history - volume,
        run.n_steps,
        run.code,
        total,
    )
    return fit, jnp.any(valid)
