"""Rows of the benchmark on whole fits: compilation and starts included, and what a loop costs."""

from typing import Any

import jax
import numpy as np
from sklearn.datasets import load_wine
from sklearn.mixture import GaussianMixture

import harmonium as hm
from benchmarks import peers, problems
from benchmarks.contest import Row, Target
from benchmarks.timing import Workload

OURS = "harmonium"
FIRST = "harmonium, compilation included"
LOOP = "one compiled loop"
PLAIN = "harmonium, EM without acceleration"
TOLERANCE = 1e-5  # nats per observation
OVERLAP = 0.6  # deviation of the centres of clusters with unit variance
MAX_STEPS = 1000
LONG, SHORT = 60, 10
N_COMPONENTS, DIM = 10, 16
MODEL = hm.Mixture(hm.Normal(DIM), N_COMPONENTS)


def overlapping() -> np.ndarray:
    """Observations of clusters that overlap, where EM takes many steps."""
    random = np.random.default_rng(7)
    centres = OVERLAP * random.normal(size=(N_COMPONENTS, DIM))
    covariances = np.tile(np.eye(DIM), (N_COMPONENTS, 1, 1))
    return problems.draw_mixed(random, 100_000, centres, covariances)


def fit_row(title: str, xs: np.ndarray, settings: Any, peer_settings: Any) -> Row:
    """Whole fits to the same tolerance, beside scikit-learn's."""

    def ours() -> Any:
        """Stops at the same gain of a step; ours is relative to the objective."""
        return hm.fit(
            MODEL,
            xs,
            prior=None,
            max_steps=MAX_STEPS,
            tolerance=TOLERANCE / (1.42 * DIM),
            **settings,
        )

    def theirs() -> GaussianMixture:
        return GaussianMixture(
            N_COMPONENTS, tol=TOLERANCE, max_iter=MAX_STEPS, random_state=0, **peer_settings
        ).fit(xs)

    def disagreement() -> float:
        """How much lower the log-likelihood is that ours reaches."""
        fit, peer = ours(), theirs()
        print(f"{OURS}: {int(fit.n_steps)} steps, {peers.SKLEARN}: {peer.n_iter_} steps.")
        return max(0.0, float(peer.score(xs)) - float(fit.log_likelihood))

    return Row(
        f"A whole fit of a mixture of full Gaussians, N=100,000 D=16 K=10, {title}",
        (
            Workload(OURS, ours),
            Workload(FIRST, ours, prepare=jax.clear_caches),
            Workload(peers.SKLEARN, theirs),
        ),
        (Target(FIRST, 1 / 3, peers.SKLEARN), Target(OURS, 1 / 3, peers.SKLEARN)),
        disagreement,
        rounds=3,
        tolerance=1e-3,
    )


def fit_mixture() -> Row:
    """Both from the same start, so that both take the same steps."""
    xs = overlapping()
    means = xs[:N_COMPONENTS]
    covariance = np.cov(xs.T)
    components = [MODEL.obs_man.from_mean_covariance(mean, covariance) for mean in means]
    weights = np.full(N_COMPONENTS, 1 / N_COMPONENTS)
    precisions = np.tile(np.linalg.inv(covariance), (N_COMPONENTS, 1, 1))
    start = {"weights_init": weights, "means_init": means, "precisions_init": precisions}
    ours = {"starts": MODEL.from_components(components, weights)}
    return fit_row("from the same start", xs, ours, start)


def fit_from_own_start() -> Row:
    """Each from the start that its library makes; the peer's is by k-means on all data."""
    ours = {"key": jax.random.key(0), "n_starts": 1}
    return fit_row("each from its own start", overlapping(), ours, {})


def fit_overhead() -> Row:
    """What a step in `hm.fit` costs beside one in a compiled loop of EM steps."""
    problem = problems.mixture(20_000, 16, 10, seed=1)
    model = hm.Mixture(hm.Normal(16), 10)
    components = [
        hm.Normal(16).from_mean_covariance(mean, covariance)
        for mean, covariance in zip(problem.start.means, problem.start.covariances, strict=True)
    ]
    start = model.from_components(components, problem.start.weights)

    def fit(n_steps: int) -> Any:
        return hm.fit(model, problem.xs, starts=start, prior=None, max_steps=n_steps, tolerance=0.0)

    @jax.jit
    def loop(model: Any, start: Any, xs: Any, n_steps: Any) -> Any:
        def body(_: Any, point: Any) -> Any:
            mean, _ = model.expectation(point, xs)
            return model.maximization(mean, point)

        return jax.lax.fori_loop(0, n_steps, body, start)

    def disagreement() -> float:
        """Between the log-likelihoods of both after the same steps."""
        point = loop(model, start, problem.xs, LONG - 1)
        average = model.average_log_observable_density(point, problem.xs)
        return abs(float(fit(LONG).log_likelihood) - float(average))

    return Row(
        "A step of a fit of a mixture of full Gaussians, N=20,000 D=16 K=10",
        (
            Workload(OURS, lambda: fit(LONG), steps=LONG - SHORT, baseline=lambda: fit(SHORT)),
            Workload(
                LOOP,
                lambda: loop(model, start, problem.xs, LONG),
                steps=LONG - SHORT,
                baseline=lambda: loop(model, start, problem.xs, SHORT),
            ),
        ),
        (Target(OURS, 1.05, LOOP),),
        disagreement,
    )


def accelerated() -> Row:
    """Accelerated EM where EM converges slowly: the times of both to the same likelihood."""
    xs = load_wine().data
    model = hm.hierarchical_mixture_of_gaussians(xs.shape[1], 3, 3)

    def fit(method: Any) -> Any:
        return hm.fit(
            model,
            xs,
            key=jax.random.key(0),
            method=method,
            n_starts=1,
            prior=None,
            max_steps=20_000,
            tolerance=1e-12,
        )

    def disagreement() -> float:
        """How much lower the log-likelihood is that accelerated EM reaches."""
        plain, fast = fit(hm.EM()), fit(hm.EM("squarem"))
        print(f"steps: EM {int(plain.n_steps)}, accelerated {int(fast.n_steps)}")
        return max(0.0, float(plain.log_likelihood) - float(fast.log_likelihood))

    return Row(
        "A hierarchical mixture of Gaussians by accelerated EM to convergence, wine, L=3 K=3",
        (
            Workload(PLAIN, lambda: fit(hm.EM())),
            Workload(OURS, lambda: fit(hm.EM("squarem"))),
        ),
        (Target(OURS, 1 / 2, PLAIN),),
        disagreement,
    )
