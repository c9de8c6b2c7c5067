"""One function a row of the benchmark: data, workloads, what to reach, and a check of agreement."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

import harmonium as hm
from benchmarks import fits, mixture_peers, peers, problems, references
from benchmarks.contest import Row, Target
from benchmarks.devices import SIZES, Remote
from benchmarks.problems import HierarchyProblem
from benchmarks.references import Hierarchy
from benchmarks.timing import Workload

OURS = "harmonium"
CONDENSED = "harmonium, condensed"
CONDENSED_LONG = "harmonium, condensed from 10 N"
REFERENCE = "reference"
FEW_MASKS = "harmonium, 10 masks"
ALL_DIFFER = "harmonium, all masks differ"
LOOP = (
    100  # EM steps in one compiled loop, where a single one is too short to be called from Python
)


# --- harmonium through its public names


def em_step(model: Any, params: Any, xs: Any) -> Any:
    """One EM step of any conjugated model."""
    return model.expectation_maximization(params, xs)


@jax.jit
def em_loop(model: Any, params: Any, xs: Array, weights: Array) -> Any:
    """`LOOP` EM steps on a weighted sample, in one compiled loop."""

    def body(_: int, current: Any) -> Any:
        """One step."""
        return model.expectation_maximization(current, xs, weights)

    return jax.lax.fori_loop(0, LOOP, body, params)


@jax.jit
def average_log_density(model: Any, params: Any, xs: Any) -> Array:
    """Average log density of a batch, a scalar."""
    return model.average_log_observable_density(params, xs)


@jax.jit
def condense(model: Any, xs: Any) -> Any:
    """The smaller weighted sample that stands for `xs`."""
    return hm.condense(model, xs)


@jax.jit
def moments_loop(params: references.Factors, mean: Array, covariance: Array) -> references.Factors:
    """`LOOP` hand-written factor analysis steps on the data's mean (D,) and covariance (D, D)."""

    def body(_: int, current: references.Factors) -> references.Factors:
        """One step."""
        return references.factor_analysis_moments_step(current, mean, covariance)

    return jax.lax.fori_loop(0, LOOP, body, params)


def normals(means: Array, covariances: Array) -> Any:
    """A batch of full-covariance normals from means (K, n) and covariances (K, n, n)."""
    return jax.vmap(hm.Normal(means.shape[1]).from_mean_covariance)(means, covariances)


def mixture_point(weights: Array, means: Array, covariances: Array) -> tuple[Any, Any]:
    """A mixture of full-covariance normals and its point: (K,), (K, n) and (K, n, n)."""
    model = hm.Mixture(hm.Normal(means.shape[1]), len(weights))
    return model, model.from_components(normals(means, covariances), weights)


def hierarchy_point(params: Hierarchy) -> tuple[Any, Any]:
    """A hierarchical mixture of Gaussians, diagonal noise and full posteriors, and its point."""
    obs_dim, lat_dim = params.loadings.shape
    model = hm.hierarchical_mixture_of_gaussians(
        obs_dim,
        lat_dim,
        len(params.weights),
        obs_covariance=hm.Diagonal(),
        pst_covariance=hm.PositiveDefinite(),
    )
    lower = model.lwr_hrm.from_loadings(params.loadings, params.offset, params.noise)
    _, upper = mixture_point(params.weights, params.means, params.covariances)
    return model, model.from_levels(lower, upper)


# --- rows


def _mixture_row(n_observations: int, obs_dim: int, n_components: int, seed: int) -> Row:
    """EM of a full-covariance mixture of the given size."""
    problem = problems.mixture(n_observations, obs_dim, n_components, seed)
    start = problem.start
    model, params = mixture_point(*start)
    step, products = jax.jit(em_step), jax.jit(references.mixture_products)

    def disagreement() -> float:
        """After one step, ours against scikit-learn's."""
        ours = average_log_density(model, step(model, params, problem.xs), problem.xs)
        return abs(float(ours) - peers.sklearn_mixture_fit(problem, 1).score(problem.xs))

    return Row(
        f"EM of a mixture of full Gaussians, N={n_observations:,} D={obs_dim} K={n_components}",
        (
            Workload(OURS, lambda: step(model, params, problem.xs)),
            peers.goal_mixture(problem),
            peers.sklearn_mixture(problem),
            Workload(
                "matrix products alone",
                lambda: products(start.covariances, problem.responsibilities, problem.xs),
            ),
        ),
        (
            Target(OURS, 1 / 5, peers.SKLEARN),
            Target(OURS, 2.0, "matrix products alone"),
        ),
        disagreement,
    )


def gmm() -> Row:
    """EM of a mixture with many dimensions and components."""
    return _mixture_row(20_000, 16, 10, seed=1)


def gmm_large() -> Row:
    """EM of a mixture with many observations."""
    return _mixture_row(100_000, 8, 5, seed=2)


def fa() -> Row:
    """EM of factor analysis, on the data and on a condensed sample."""
    problem = problems.factors(10_000, 50, 5, seed=3)
    longer = problems.factors(100_000, 50, 5, seed=3)
    start = problem.start
    model = hm.factor_analysis(*start.loadings.shape)
    params = model.from_loadings(*start)
    step, on_data = jax.jit(em_step), jax.jit(references.factor_analysis_step)
    condensed, condensed_long = condense(model, problem.xs), condense(model, longer.xs)
    moments = references.factor_analysis_moments(problem.xs)

    def disagreement() -> float:
        """After one step on the data, and after many on the moments, ours against the reference."""
        density = jax.jit(references.factor_analysis_log_density)
        pairs = (
            (step(model, params, problem.xs), on_data(start, problem.xs)),
            (em_loop(model, params, *condensed), moments_loop(start, *moments)),
        )
        return max(
            abs(
                float(
                    average_log_density(model, ours, problem.xs)
                    - jnp.mean(density(reference, problem.xs))
                )
            )
            for ours, reference in pairs
        )

    return Row(
        "EM of factor analysis, N=10,000 D=50 L=5",
        (
            Workload(OURS, lambda: step(model, params, problem.xs)),
            Workload(CONDENSED, lambda: em_loop(model, params, *condensed), steps=LOOP),
            Workload(CONDENSED_LONG, lambda: em_loop(model, params, *condensed_long), steps=LOOP),
            Workload("harmonium, condense once", lambda: condense(model, problem.xs)),
            peers.goal_factor_analysis(problem),
            peers.sklearn_factor_analysis(problem),
            Workload(REFERENCE, lambda: on_data(start, problem.xs)),
            Workload("reference, on moments", lambda: moments_loop(start, *moments), steps=LOOP),
        ),
        (
            Target(OURS, 1 / 10, peers.SKLEARN),
            Target(CONDENSED, 1 / 100, peers.SKLEARN),
            Target(CONDENSED_LONG, 1.5, CONDENSED),  # independent of N, but for noise
        ),
        disagreement,
    )


def _hierarchy_problem() -> tuple[HierarchyProblem, str]:
    """The data that the three rows about hierarchies share, and their size in words."""
    return problems.hierarchy(5_000, 50, 5, 8, seed=4), "N=5,000 D=50 L=5 K=8"


def hmog() -> Row:
    """EM of a hierarchical mixture of Gaussians."""
    problem, size = _hierarchy_problem()
    model, params = hierarchy_point(problem.start)
    step, reference = jax.jit(em_step), jax.jit(references.hierarchy_step)

    def disagreement() -> float:
        """After one step, ours against the reference."""
        ours = average_log_density(model, step(model, params, problem.xs), problem.xs)
        other = references.hierarchy_log_density(reference(problem.start, problem.xs), problem.xs)
        return abs(float(ours - jnp.mean(other)))

    return Row(
        f"EM of a hierarchical mixture of Gaussians, {size}",
        (
            Workload(OURS, lambda: step(model, params, problem.xs)),
            peers.goal_hierarchy(problem),
            Workload(REFERENCE, lambda: reference(problem.start, problem.xs)),
        ),
        (Target(OURS, 2.0, REFERENCE),),
        disagreement,
    )


def hmog_density() -> Row:
    """Average log density of a batch under a hierarchical mixture of Gaussians."""
    problem, size = _hierarchy_problem()
    model, params = hierarchy_point(problem.start)
    reference = jax.jit(lambda p, xs: jnp.mean(references.hierarchy_log_density(p, xs)))
    dense = peers.scipy_log_density(problem.start, problem.xs)

    def disagreement() -> float:
        """Ours against scipy."""
        return abs(float(average_log_density(model, params, problem.xs)) - dense.call())

    return Row(
        f"Log density of a hierarchical mixture of Gaussians, {size}",
        (
            Workload(OURS, lambda: average_log_density(model, params, problem.xs)),
            peers.goal_log_density(problem),
            dense,
            Workload(REFERENCE, lambda: reference(problem.start, problem.xs)),
        ),
        (Target(OURS, 2.0, REFERENCE),),
        disagreement,
    )


def hmog_compile() -> Row:
    """Tracing and compiling the EM step of a hierarchical mixture of Gaussians, caches empty."""
    problem, size = _hierarchy_problem()
    model, params = hierarchy_point(problem.start)

    def ours() -> None:
        """Trace, lower and compile; a new function each time, so that no cache can know it."""
        jax.jit(lambda m, p, xs: em_step(m, p, xs)).lower(model, params, problem.xs).compile()

    def reference() -> None:
        """The same for the hand-written step."""
        jax.jit(lambda p, xs: references.hierarchy_step(p, xs)).lower(
            problem.start, problem.xs
        ).compile()

    return Row(
        f"Compiling that EM step, {size}",
        (
            Workload(OURS, ours, prepare=jax.clear_caches),
            peers.goal_compilation(problem),
            Workload(REFERENCE, reference, prepare=jax.clear_caches),
        ),
        (Target(OURS, 1.5),),
        lambda: 0.0,
        rounds=5,
    )


def analysers() -> Row:
    """EM of a mixture of factor analysers."""
    problem = problems.analysers(20_000, 64, 5, 10, seed=7)
    weights, factors = problem.start
    lower = hm.factor_analysis(*factors.loadings.shape[1:])
    model = hm.Mixture(lower, len(weights))
    params = model.from_components(jax.vmap(lower.from_loadings)(*factors), weights)
    step, reference = jax.jit(em_step), jax.jit(references.analysers_step)

    def disagreement() -> float:
        """After one step, ours against the reference, and goal-jax where it is at hand."""
        ours = average_log_density(model, step(model, params, problem.xs), problem.xs)
        stepped = reference(problem.start, problem.xs)
        others = [float(jnp.mean(references.analysers_log_density(stepped, problem.xs)))]
        if peers.goal_available():
            others.append(peers.goal_analysers_average(problem))
        return max(abs(float(ours) - other) for other in others)

    return Row(
        "EM of a mixture of factor analysers, N=20,000 D=64 L=5 K=10",
        (
            Workload(OURS, lambda: step(model, params, problem.xs)),
            peers.goal_analysers(problem),
            Workload(REFERENCE, lambda: reference(problem.start, problem.xs)),
        ),
        (Target(OURS, 1 / 10, peers.GOAL),),
        disagreement,
    )


def _missing_row(
    work: str, ours: Callable, reference: Callable, averages: tuple[Callable, Callable], most: float
) -> Row:
    """Work on data with holes beside the same on complete data.

    **Arguments:**

    - `work`: what is done, in words.
    - `ours`: what is timed, of model, parameters and data.
    - `reference`: the same by hand, of parameters, observations and masks.
    - `averages`: the average log density that a result of either stands for, of the result.
    - `most`: how many times as long it may take where all masks differ.
    """
    complete, size = _hierarchy_problem()
    problem = problems.missing(complete, 0.2, 10, seed=8)
    model, params = hierarchy_point(complete.start)
    timed, by_hand = jax.jit(ours), jax.jit(reference)
    masks = (jnp.ones_like(problem.each), problem.few, problem.each)
    _, few, each = data = (
        complete.xs,
        *(hm.group_observations(model, complete.xs, m) for m in masks[1:]),
    )

    def disagreement() -> float:
        """Ours against the reference, for all masks."""
        pairs = [
            (timed(model, params, own), by_hand(complete.start, complete.xs, mask))
            for own, mask in zip(data, masks, strict=True)
        ]
        mine, other = averages
        return max(abs(float(mine(model, a) - other(b))) for a, b in pairs)

    return Row(
        f"{work} of a hierarchical mixture of Gaussians, 20% of entries missing, {size}",
        (
            Workload(OURS, lambda: timed(model, params, complete.xs)),
            Workload(FEW_MASKS, lambda: timed(model, params, few)),
            Workload(ALL_DIFFER, lambda: timed(model, params, each)),
            Workload(
                f"{REFERENCE}, all masks differ",
                lambda: by_hand(complete.start, complete.xs, problem.each),
            ),
        ),
        (Target(FEW_MASKS, 2.0, OURS), Target(ALL_DIFFER, most, OURS)),
        disagreement,
    )


def missing() -> Row:
    """EM where entries are missing."""
    xs = _hierarchy_problem()[0].xs
    averages = (
        lambda model, params: average_log_density(model, params, xs),
        lambda params: jnp.mean(references.hierarchy_log_density(params, xs)),
    )
    return _missing_row("EM", em_step, references.hidden_step, averages, 15.0)


def missing_density() -> Row:
    """Average log density where entries are missing."""

    def reference(params: Hierarchy, xs: Array, observed: Array) -> Array:
        """The average."""
        return jnp.mean(references.hidden_log_density(params, xs, observed))

    averages = (lambda model, average: average, lambda average: average)
    return _missing_row("Log density", average_log_density, reference, averages, 20.0)


def poissons() -> Row:
    """EM of a mixture of many independent Poisson counts."""
    problem = problems.poissons(50_000, 100, 20, seed=5)
    weights, rates, xs = problem
    model = hm.Mixture(hm.Poissons(rates.shape[1]), len(weights))
    step, reference = jax.jit(em_step), jax.jit(references.poissons_step)

    def point(weights: Array, rates: Array) -> Any:
        """The mixture with weights (K,) and rates (K, D)."""
        return model.from_components(jax.vmap(model.obs_man.unravel)(jnp.log(rates)), weights)

    params = point(weights, rates)

    def disagreement() -> float:
        """After one step, ours against the reference's parameters and pomegranate."""
        ours = average_log_density(model, step(model, params, xs), xs)
        others = [average_log_density(model, point(*reference(weights, rates, xs)), xs)]
        if mixture_peers.POMEGRANATE not in mixture_peers.missing():
            others.append(mixture_peers.pomegranate_average(problem))
        return max(abs(float(ours) - float(other)) for other in others)

    return Row(
        "EM of a mixture of independent Poissons, N=50,000 D=100 K=20",
        (
            Workload(OURS, lambda: step(model, params, xs)),
            mixture_peers.pomegranate_poissons(problem),
            Workload(REFERENCE, lambda: reference(weights, rates, xs)),
        ),
        (Target(OURS, 1 / 5, mixture_peers.POMEGRANATE), Target(OURS, 2.0, REFERENCE)),
        disagreement,
        rounds=3,  # an iteration of pomegranate takes seconds
        tolerance=1e-6,  # and rounds responsibilities to float32
    )


def mixed() -> Row:
    """EM of a mixture of records with columns of several types."""
    problem = problems.mixed(50_000, 10, 5, 10, seed=6)
    reals, categories, counts, responsibilities, n_categories = problem
    n_columns, n_components = counts.shape[1], responsibilities.shape[1]
    two_types = (
        hm.Normal(n_columns, hm.Diagonal()),
        hm.Replicated(hm.Categorical(n_categories), n_columns),
    )

    def start(family: Any, xs: Any) -> tuple[Any, Any, Any]:
        """A mixture whose components have the statistics that the responsibilities give them."""
        model = hm.Mixture(family, n_components)
        means = [family.average_sufficient_statistic(xs, w) for w in responsibilities.T]
        components = [family.to_natural(mean) for mean in means]
        equal = jnp.full(n_components, 1.0 / n_components)
        return model, model.from_components(components, equal), xs

    ours = start(hm.Product(*two_types), (reals, categories))
    with_counts = start(hm.Product(*two_types, hm.Poissons(n_columns)), problem[:3])
    step = jax.jit(em_step)

    def disagreement() -> float:
        """After one step, ours against stepmix's; none where it is missing."""
        if mixture_peers.STEPMIX in mixture_peers.missing():
            return 0.0
        model, _, xs = ours
        average = average_log_density(model, step(*ours), xs)
        return abs(float(average) - mixture_peers.stepmix_average(problem, 1))

    return Row(
        "EM of a mixture of mixed records, N=50,000 K=10: 10 reals, 10 categories of 5",
        (
            Workload(OURS, lambda: step(*ours)),
            Workload(f"{OURS}, and 10 counts", lambda: step(*with_counts)),
            mixture_peers.stepmix_mixed(problem),
        ),
        (Target(OURS, 1 / 5, mixture_peers.STEPMIX),),
        disagreement,
    )


def devices() -> Row:
    """EM on two devices, which are the two halves of this machine, beside one, which is all of it.

    How many devices there are is fixed when JAX starts, so that other processes do the work.
    """
    one, two = Remote(1), Remote(2)
    name = "hierarchy"
    size = SIZES[name]

    def disagreement() -> float:
        """Between the objectives on one device and on two."""
        return abs(one.ask("step", name)[-1] - two.ask("step", name)[-1])

    return Row(
        "EM of a hierarchical mixture of Gaussians on devices of this machine, "
        f"N={size[0]:,} D={size[1]} L={size[2]} K={size[3]}",
        (
            Workload(f"{OURS}, two devices", lambda: two.ask("step", name)),
            Workload(OURS, lambda: one.ask("step", name)),
        ),
        (Target(f"{OURS}, two devices", 1.05, OURS),),  # no slower, but for noise
        disagreement,
    )


ROWS: dict[str, Callable[[], Row]] = {
    "gmm": gmm,
    "gmm-large": gmm_large,
    "fa": fa,
    "hmog": hmog,
    "hmog-density": hmog_density,
    "hmog-compile": hmog_compile,
    "analysers": analysers,
    "missing": missing,
    "missing-density": missing_density,
    "poissons": poissons,
    "mixed": mixed,
    "devices": devices,
    "fit": fits.fit_mixture,
    "fit-starts": fits.fit_from_own_start,
    "fit-overhead": fits.fit_overhead,
    "fit-accelerated": fits.accelerated,
}
