"""What comes of a fit."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from harmonium.exponential_family.compiled import compiled
from harmonium.geometry.point import Natural
from harmonium.learning.devices import localized
from harmonium.learning.engine import Run, is_valid
from harmonium.learning.methods import Result
from harmonium.learning.problem import Problem
from harmonium.learning.scaling import Scaling, push_back

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
    Result.COMPLETED: (
        "completed: all the steps of max_steps were taken. Compare held-out data to see whether "
        "more passes over the data help."
    ),
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


@compiled
def best_point(model: Any, scaling: Scaling, run: Run) -> Natural:
    """The best parameters so far, in the user's coordinates."""
    best = jnp.argmax(jnp.where(is_valid(run), run.value, -jnp.inf))
    return push_back(scaling, model, jax.tree.map(lambda leaf: leaf[best], run.best))


def finish(
    model: Any, problem: Problem, run: Run, scaling: Scaling, volume: Array, total: Array
) -> Fit:
    """The best start of a run, and all others, in the user's coordinates.

    **Arguments:**

    - `model`, `problem`: what was fitted.
    - `run`: of a batch of starts.
    - `scaling`: the map from standardised data to the data.
    - `volume`: what to subtract from log densities of standardised data.
    - `total`: the sum of weights.

    **Raises:** `ValueError` if every start failed at once.
    """
    nothing = (None, None)
    problem = eqx.tree_at(
        lambda p: (p.xs, p.weights), problem, nothing, is_leaf=lambda x: x is None
    )
    result, succeeded = _outcome(model, localized(problem), run, scaling, volume, total)
    if not isinstance(succeeded, Tracer) and not bool(succeeded):
        raise ValueError(
            f"{model} can't be fitted: from every start the objective is not finite. "
            f"{MESSAGES[Result.DEGENERATE]}"
        )
    return result


@compiled
def _outcome(
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
        jnp.asarray(total),
    )
    return fit, jnp.any(valid)
