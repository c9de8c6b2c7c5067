"""The same work by other libraries: scikit-learn, scipy and, where it can be imported, goal-jax."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from benchmarks.problems import (
    AnalysersProblem,
    FactorProblem,
    HierarchyProblem,
    MixtureProblem,
)
from benchmarks.references import Analysers, Hierarchy
from benchmarks.timing import Workload

try:
    import goal.geometry as goal_geometry
    import goal.models as goal_models
except (
    ImportError,
    SyntaxError,
):  # not installed, or installed under a Python too old for its syntax
    goal_geometry = goal_models = None

GOAL = "goal-jax"
SKLEARN = "scikit-learn"
SCIPY = "scipy dense Gaussians"
SHORT, LONG = (
    2,
    12,
)  # EM iterations of the two fits whose difference is the time of the iterations alone


def goal_available() -> bool:
    """Whether goal-jax can be imported here; it needs Python 3.12 or newer."""
    return goal_models is not None


def per_iteration(name: str, fit: Callable[[int], Any]) -> Workload:
    """Time of one iteration of `fit(number of iterations)`, without what it does besides."""
    return Workload(name, lambda: fit(LONG), steps=LONG - SHORT, baseline=lambda: fit(SHORT))


# --- scikit-learn and scipy


def sklearn_mixture_fit(problem: MixtureProblem, n_iterations: int) -> GaussianMixture:
    """scikit-learn's mixture after exactly so many EM iterations, nothing added to covariances."""
    model = GaussianMixture(
        len(problem.start.weights),
        tol=0.0,
        reg_covar=0.0,
        max_iter=n_iterations,
        weights_init=np.asarray(problem.start.weights),
        means_init=np.asarray(problem.start.means),
        precisions_init=np.linalg.inv(problem.start.covariances),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # so few iterations are what we want
        return model.fit(np.asarray(problem.xs))


def sklearn_mixture(problem: MixtureProblem) -> Workload:
    """One EM iteration of scikit-learn's full-covariance mixture."""
    return per_iteration(SKLEARN, lambda n: sklearn_mixture_fit(problem, n))


def sklearn_factor_analysis(problem: FactorProblem) -> Workload:
    """One iteration of scikit-learn's factor analysis with its exact ('lapack') decomposition."""
    xs, lat_dim = np.asarray(problem.xs), problem.start.loadings.shape[1]

    def fit(n_iterations: int) -> FactorAnalysis:
        """The model after so many iterations."""
        model = FactorAnalysis(lat_dim, tol=0.0, max_iter=n_iterations, svd_method="lapack")
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", ConvergenceWarning
            )  # so few iterations are what we want
            return model.fit(xs)

    return per_iteration(SKLEARN, fit)


def scipy_log_density(params: Hierarchy, xs: Array) -> Workload:
    """Average log density of observations (N, D) under the marginal mixture of dense Gaussians."""
    weights, means, covariances, loadings, offset, noise, data = map(
        np.asarray,
        (
            params.weights,
            params.means,
            params.covariances,
            params.loadings,
            params.offset,
            params.noise,
            xs,
        ),
    )

    def average() -> float:
        """Marginal means and covariances, then one dense density a component."""
        columns = [
            np.log(weight)
            + multivariate_normal.logpdf(
                data, loadings @ mean + offset, loadings @ covariance @ loadings.T + np.diag(noise)
            )
            for weight, mean, covariance in zip(weights, means, covariances, strict=True)
        ]
        return float(np.mean(logsumexp(np.stack(columns, axis=1), axis=1)))

    return Workload(SCIPY, average)


# --- goal-jax


def _goal_workload(build: Callable[[], Callable[[], Any]]) -> Workload:
    """The workload that `build` makes, or an absent one where goal-jax can't be imported."""
    return Workload(GOAL, build() if goal_available() else None)


def _goal_mixture_point(weights: Array, means: Array, covariances: Array) -> tuple[Any, Any]:
    """goal-jax's mixture of full Gaussians and its natural point: (K,), (K, n) and (K, n, n)."""
    n_components, dim = means.shape
    normal = goal_models.Normal(dim, goal_geometry.PositiveDefinite)
    model = goal_models.AnalyticMixture(normal, n_components)

    def component(mean: Array, covariance: Array) -> Array:
        """Natural coordinates of one component."""
        location = normal.loc_man.mean_point(mean)
        shape = normal.cov_man.from_dense(covariance)
        return normal.to_natural(normal.join_mean_covariance(location, shape)).array

    components = model.cmp_man.natural_point(jax.vmap(component)(means, covariances))
    prior = model.lat_man.to_natural(model.lat_man.from_probs(weights))
    return model, model.join_natural_mixture(components, prior)


def _goal_hierarchy_point(params: Hierarchy) -> tuple[Any, Any]:
    """goal-jax's hierarchical mixture of Gaussians and its natural point."""
    obs_dim, lat_dim = params.loadings.shape
    diagonal = goal_geometry.Diagonal
    model = goal_models.analytic_hmog(obs_dim, diagonal, lat_dim, len(params.weights))
    lower = goal_models.FactorAnalysis(obs_dim, lat_dim)
    point = lower.from_loadings(params.loadings, params.offset, params.noise)
    _, prior = _goal_mixture_point(params.weights, params.means, params.covariances)
    return model, model.join_conjugated(lower.likelihood_function(point), prior)


def _goal_step(model: Any, point: Any, xs: Array) -> Callable[[], Any]:
    """A jitted EM step of any goal-jax model."""
    step = jax.jit(model.expectation_maximization)
    return lambda: step(point, xs)


def goal_mixture(problem: MixtureProblem) -> Workload:
    """One EM step of goal-jax's full-covariance mixture."""
    return _goal_workload(lambda: _goal_step(*_goal_mixture_point(*problem.start), problem.xs))


def goal_factor_analysis(problem: FactorProblem) -> Workload:
    """One EM step of goal-jax's factor analysis."""

    def build() -> Callable[[], Any]:
        """Model, point and jitted step."""
        model = goal_models.FactorAnalysis(*problem.start.loadings.shape)
        return _goal_step(model, model.from_loadings(*problem.start), problem.xs)

    return _goal_workload(build)


def goal_analysers_start(start: Analysers) -> tuple[Array, Array]:
    """Log weights (K,) and natural coordinates (K, n) of goal-jax's factor analyses."""
    model = goal_models.FactorAnalysis(*start.factors.loadings.shape[1:])
    points = jax.vmap(lambda factors: model.from_loadings(*factors).array)(start.factors)
    return jnp.log(start.weights), points


def goal_analysers_step(start: Analysers) -> Callable[[Array, Array, Array], tuple]:
    """An EM step of a mixture of goal-jax's factor analyses, made of their public methods.

    Its release has no such mixture. As in its own E-step, observations are mapped over in batches,
    here of about 256. The step takes log weights, points and observations (N, D), and returns new
    log weights and points, and the average log density under the old ones.
    """
    model = goal_models.FactorAnalysis(*start.factors.loadings.shape[1:])

    def expectations(log_weights: Array, points: Array, x: Array) -> tuple:
        """Log density, responsibilities (K,), and expected statistics times these (K, n)."""

        def component(point: Array) -> tuple[Array, Array]:
            """Log density and expected joint statistics (n,)."""
            point = model.natural_point(point)
            density = model.log_observable_density(point, x)
            return density, model.infer_missing_expectations(point, x).array

        densities, means = jax.vmap(component)(points)
        scores = log_weights + densities
        responsibilities = jax.nn.softmax(scores)
        return jax.nn.logsumexp(scores), responsibilities, responsibilities[:, None] * means

    def step(log_weights: Array, points: Array, xs: Array) -> tuple[Array, Array, Array]:
        """The step."""
        over_batch = jax.vmap(expectations, (None, None, 0))

        def add(totals: tuple, batch: Array) -> tuple[tuple, None]:
            """The sums with those of a batch."""
            new = over_batch(log_weights, points, batch)
            return jax.tree.map(
                lambda total, part: total + jnp.sum(part, axis=0), totals, new
            ), None

        n_batches = max(n for n in range(1, len(xs) // 256 + 2) if len(xs) % n == 0)
        zeros = jnp.zeros(()), jnp.zeros_like(log_weights), jnp.zeros_like(points)
        batches = xs.reshape(n_batches, -1, xs.shape[1])
        (density, weights, sums), _ = jax.lax.scan(add, zeros, batches)

        def maximize(total: Array, weight: Array) -> Array:
            """Natural coordinates of one component."""
            return model.to_natural(model.mean_point(total / weight)).array

        new_points = jax.vmap(maximize)(sums, weights)
        return jnp.log(weights / len(xs)), new_points, density / len(xs)

    return step


def goal_analysers(problem: AnalysersProblem) -> Workload:
    """One EM step of a mixture of goal-jax's factor analyses."""

    def build() -> Callable[[], Any]:
        """The jitted step, at the start."""
        step = jax.jit(goal_analysers_step(problem.start))
        log_weights, points = goal_analysers_start(problem.start)
        return lambda: step(log_weights, points, problem.xs)

    return _goal_workload(build)


def goal_analysers_average(problem: AnalysersProblem) -> float:
    """The average log density that goal-jax reaches in one step."""
    step = jax.jit(goal_analysers_step(problem.start))
    log_weights, points, _ = step(*goal_analysers_start(problem.start), problem.xs)
    return float(step(log_weights, points, problem.xs)[2])


def goal_hierarchy(problem: HierarchyProblem) -> Workload:
    """One EM step of goal-jax's hierarchical mixture of Gaussians."""
    return _goal_workload(lambda: _goal_step(*_goal_hierarchy_point(problem.start), problem.xs))


def goal_log_density(problem: HierarchyProblem) -> Workload:
    """Average log density of the batch by goal-jax."""

    def build() -> Callable[[], Any]:
        """Model, point and jitted average."""
        model, point = _goal_hierarchy_point(problem.start)
        # As many observations at a time as its EM takes: a larger batch of factorisations makes a
        # deadlock in some releases of jaxlib more likely.
        average = jax.jit(lambda p, xs: model.average_log_observable_density(p, xs, 256))
        return lambda: average(point, problem.xs)

    return _goal_workload(build)


def goal_compilation(problem: HierarchyProblem) -> Workload:
    """Tracing and compiling goal-jax's EM step of the hierarchical mixture of Gaussians."""

    def build() -> Callable[[], Any]:
        """A function that compiles the step anew."""
        model, point = _goal_hierarchy_point(problem.start)

        def compile_step() -> None:
            """Trace, lower and compile; the result is dropped."""
            jax.jit(lambda p, xs: model.expectation_maximization(p, xs)).lower(
                point, problem.xs
            ).compile()

        return compile_step

    workload = _goal_workload(build)
    return Workload(GOAL, workload.call, prepare=jax.clear_caches)
