"""Optima beside those of other libraries: `python -m benchmarks.optima [--rows iris,wine]`.

Fits each model to real data by harmonium and by a peer, from equally many random starts, for many
seeds, and prints how much better or worse the log-likelihood is that each reaches. The peer starts
from k-means where it has that. Both maximise the likelihood alone, to the same tight tolerance.

The likelihood of mixtures of normals has no bound: a component on few observations, or on some that
agree in a column, may become singular. So optima count for neither side, as spurious, that have a
component of fewer than two observations a dimension, or with a variance, along any axis, of less
than 1e-5 times the data's (McLachlan and Peel, Finite Mixture Models, 2000, section 3.10). One
covariance for all components bounds the likelihood, and there all optima count.
"""

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
import statsmodels.api as sm
from sklearn import datasets
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from stepmix import StepMix

import harmonium as hm
from benchmarks.timing import table
from harmonium.harmoniums.marginals import joined_moments

N_SEEDS = 20
N_STARTS = 10
TOLERANCE = 1e-10  # in nats per observation, for the gain of a step
MAX_STEPS = 10_000
HEADER = (
    "data and model",
    "peer",
    "ours",
    "theirs",
    "better",
    "same",
    "worse",
    "least",
    "most",
    "seconds",
)
SMALLEST_VARIANCE = 1e-5  # of standardised data
SAME = 1e-6  # nats per observation within which two optima are the same


class Contest(NamedTuple):
    """A model, its data, and the log-likelihood that a peer reaches for a seed.

    `is_sound` tells whether a natural point counts. `pseudo_weight`, a millionth of an observation,
    keeps probabilities from being zero, which no natural parameters have; the peer replaces zeros
    by 1e-15.
    """

    title: str
    peer: str
    model: Any
    xs: Any
    peer_fit: Callable[[int], float]
    is_sound: Callable[[Any], Any] = lambda point: jnp.asarray(True)
    pseudo_weight: float = 0.0


def standardized(xs: Any) -> np.ndarray:
    """Columns with zero mean and unit variance; constant ones are left out."""
    xs = np.asarray(xs, float)
    xs = xs[:, xs.std(axis=0) > 0]
    return (xs - xs.mean(axis=0)) / xs.std(axis=0)


def mixture(title: str, xs: np.ndarray, n_components: int, kind: str) -> Contest:
    """A mixture of normals beside scikit-learn's, of one of its covariance types."""
    dim = xs.shape[1]
    structures = {"diag": hm.Diagonal(), "spherical": hm.Scale()}
    normal = hm.Normal(dim, structures.get(kind, hm.PositiveDefinite()))
    shared = (hm.LocationEmbedding(normal),) if kind == "tied" else ()
    model = hm.Mixture(normal, n_components, *shared)

    def is_proper(weights: Any, covariances: Any) -> Any:
        if kind == "tied":
            return jnp.asarray(True)
        smallest = jnp.min(jnp.linalg.eigvalsh(covariances))
        return (jnp.min(weights) * len(xs) >= 2 * dim) & (smallest > SMALLEST_VARIANCE)

    def is_sound(point: Any) -> Any:
        moments = jax.vmap(lambda own: joined_moments(normal, own))
        _, covariances = moments(model.components(point))
        return is_proper(model.weights(point), covariances)

    def peer_start(state: int) -> float:
        fit = GaussianMixture(
            n_components,
            covariance_type=kind,
            tol=TOLERANCE,
            max_iter=MAX_STEPS,
            random_state=state,
        ).fit(xs)
        proper = is_proper(fit.weights_, dense_covariances(fit, dim))
        return float(fit.score(xs)) if proper else -np.inf

    def peer_fit(seed: int) -> float:
        return max(peer_start(seed * N_STARTS + start) for start in range(N_STARTS))

    title = f"{title}: {kind}, K={n_components}"
    return Contest(title, "GaussianMixture", model, xs, peer_fit, is_sound)


def dense_covariances(fit: GaussianMixture, dim: int) -> np.ndarray:
    """Those of the components of scikit-learn's mixture as full matrices, a single one if tied."""
    covariances = fit.covariances_
    match fit.covariance_type:
        case "diag":
            return covariances[:, :, None] * np.eye(dim)
        case "spherical":
            return covariances[:, None, None] * np.eye(dim)
        case _:
            return covariances.reshape(-1, dim, dim)


def linear(title: str, xs: np.ndarray, n_latents: int) -> list[Contest]:
    """Factor analysis and PCA beside scikit-learn's."""
    dim = xs.shape[1]

    def factors(seed: int) -> float:
        fit = FactorAnalysis(n_latents, tol=TOLERANCE, max_iter=MAX_STEPS, svd_method="lapack")
        return float(fit.fit(xs).score(xs))

    def components(seed: int) -> float:
        return float(PCA(n_latents, svd_solver="full").fit(xs).score(xs))

    analysis = hm.factor_analysis(dim, n_latents)
    pca = hm.principal_component_analysis(dim, n_latents)
    return [
        Contest(f"{title}: {n_latents} factors", "FactorAnalysis", analysis, xs, factors),
        Contest(f"{title}: {n_latents} components", "PCA", pca, xs, components),
    ]


def classes(title: str, xs: np.ndarray, n_components: int) -> Contest:
    """Latent classes of categories, with equally many values each, beside stepmix."""
    n_values = int(xs.max()) + 1
    family = hm.Replicated(hm.Categorical(n_values), xs.shape[1])
    model = hm.Mixture(family, n_components)

    def peer_fit(seed: int) -> float:
        fit = StepMix(
            n_components,
            measurement="categorical",
            n_init=N_STARTS,
            abs_tol=TOLERANCE,
            rel_tol=0.0,
            max_iter=MAX_STEPS,
            random_state=seed,
            progress_bar=0,
        ).fit(xs)
        return float(fit.score(xs))

    return Contest(
        f"{title}: latent classes, K={n_components}",
        "stepmix",
        model,
        xs,
        peer_fit,
        pseudo_weight=1e-6,
    )


def terciles(columns: np.ndarray) -> np.ndarray:
    """Each column cut into three categories of about the same size."""
    cuts = np.quantile(columns, [1 / 3, 2 / 3], axis=0)
    return (columns[None] > cuts[:, None]).sum(axis=0)


def contests() -> dict[str, list[Contest]]:
    """All rows, by the name of their data."""
    iris, wine = datasets.load_iris().data, datasets.load_wine().data
    cancer, digits = datasets.load_breast_cancer().data, datasets.load_digits().data
    diabetes = datasets.load_diabetes().data
    macro = sm.datasets.macrodata.load_pandas().data.iloc[:, 2:].to_numpy()
    changes = np.diff(np.log(np.abs(macro[:, [0, 1, 2, 5, 6]])), axis=0)
    fair = sm.datasets.fair.load_pandas().data.iloc[:, :8].to_numpy()
    scores = PCA(6, random_state=0).fit_transform(digits)
    iris, wine, diabetes = map(standardized, (iris, wine, diabetes))
    return {
        "iris": [mixture("iris", iris, 3, kind) for kind in ("full", "tied", "diag")],
        "wine": [
            mixture("wine", wine, 3, "diag"),
            mixture("wine, 6 columns", wine[:, :6], 3, "full"),
            *linear("wine", wine, 2),
        ],
        "cancer": [mixture("breast cancer, 5 columns", standardized(cancer[:, :5]), 4, "full")],
        "diabetes": [
            mixture("diabetes", diabetes, 4, "spherical"),
            mixture("diabetes", np.delete(diabetes, 1, axis=1), 4, "tied"),
        ],
        "digits": [
            mixture("digits, 6 components", standardized(scores), 10, "full"),
            *linear("digits", standardized(digits[:, digits.std(axis=0) > 0.5]), 8),
        ],
        "macro": [mixture("macroeconomic changes", standardized(changes), 2, "full")],
        "fair": [classes("affairs", terciles(fair)[::4], 3)],
    }


def ours(contest: Contest, n_seeds: int) -> np.ndarray:
    """The log-likelihoods that harmonium reaches, all starts of all seeds at once."""
    prior = None
    if contest.pseudo_weight:
        prior = hm.pseudo_observations(contest.model, contest.xs, contest.pseudo_weight)
    fit = hm.fit(
        contest.model,
        contest.xs,
        key=jax.random.key(0),
        method=hm.EM("squarem"),
        n_starts=n_seeds * N_STARTS,
        prior=prior,
        max_steps=MAX_STEPS,
        tolerance=TOLERANCE,
    )
    sound = jax.jit(jax.vmap(contest.is_sound))(fit.all_params)
    values = np.where(sound, fit.all_objectives, -np.inf)
    return values.reshape(n_seeds, N_STARTS).max(axis=1)


def judge(contest: Contest, n_seeds: int) -> tuple[str, ...]:
    """One line of the table."""
    started = time.perf_counter()
    own = ours(contest, n_seeds)
    between = time.perf_counter()
    theirs = np.array([contest.peer_fit(seed) for seed in range(n_seeds)])
    took = f"{between - started:.0f} / {time.perf_counter() - between:.0f}"
    gains = own - theirs
    counts = [np.sum(gains > SAME), np.sum(np.abs(gains) <= SAME), np.sum(gains < -SAME)]
    numbers = [f"{value:.6f}" for value in (np.median(own), np.median(theirs))]
    return (
        contest.title,
        contest.peer,
        *numbers,
        *map(str, counts),
        f"{gains.min():+.1e}",
        f"{gains.max():+.1e}",
        took,
    )


def main(arguments: list[str]) -> int:
    """Prints the table, and returns 1 if any optimum is worse than the peer's."""
    rows = contests()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optima", description=__doc__)
    parser.add_argument("--rows", default=",".join(rows), help="data sets, separated by commas")
    parser.add_argument("--seeds", type=int, default=N_SEEDS)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", ConvergenceWarning)
    lines = []
    for name in options.rows.split(","):
        for contest in rows[name]:
            lines.append(judge(contest, options.seeds))
            print(*lines[-1], sep="  ", flush=True)
    print(f"\n{options.seeds} seeds, {N_STARTS} starts each; nats per observation\n")
    print(table(HEADER, lines, labels=2))
    return int(any(line[6] != "0" for line in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
