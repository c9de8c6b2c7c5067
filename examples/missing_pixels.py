"""Filling in what is missing: digits without half of their pixels, tables without some entries.

Mixtures of factor analysers and hierarchical mixtures of Gaussians are fitted by EM to data that
are incomplete themselves: of every training image half is missing, random pixels or a half of the
square. Held-out images are then filled in by what the models expect there, and compared with what
was there; so are scikit-learn's imputers, fitted to the same incomplete data. The same is done with
a fifth of the entries of two tables. Draws show how much the observed part leaves open.

    python examples/missing_pixels.py [--picture PATH]
"""

import argparse
import os
import time
from pathlib import Path
from typing import NamedTuple

import digits
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from charts import plt, save
from fitting import Pseudo, em_step, random_starts
from matplotlib import colormaps
from sklearn.datasets import load_diabetes, load_digits, load_wine
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # it enables the import below
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.model_selection import train_test_split

import harmonium as hm

jax.config.update("jax_enable_x64", True)

PICTURE = Path(__file__).parent / "output" / "missing_pixels.png"
CMAP = colormaps["gray_r"].with_extremes(bad="white", under="#f2b880")  # missing pixels: orange
HIDDEN = -1.0
N_PIXELS = 64
MISSING = 0.25  # of the entries of a table
N_VALIDATION = 5  # every fifth row chooses between models
NEIGHBOURS = (5, 10, 20)


class Incomplete(NamedTuple):
    """Rows with holes: what they are, and what of them is observed."""

    xs: np.ndarray
    observed: np.ndarray

    @property
    def holed(self):
        """The rows with NaN where nothing is observed."""
        return np.where(self.observed, self.xs, np.nan)

    def error(self, filled):
        """The root of the mean squared error of what is filled in."""
        return float(np.sqrt(np.mean((np.asarray(filled) - self.xs)[~self.observed] ** 2)))


class Candidate(NamedTuple):
    """Numbers of components and of factors, and pseudo-observations from the factor analysis."""

    kind: str
    n_components: int
    n_factors: int
    n_pseudo: int

    @property
    def name(self):
        return f"{self.kind}, {self.n_components} x {self.n_factors}"


class Fitted(NamedTuple):
    """A model fitted from several starts, and how well it predicts validation rows."""

    name: str
    model: hm.Conjugated
    params: hm.Natural
    validation: float

    def fill(self, rows):
        """Expectations of what is missing, averaged over starts."""
        filled = [hm.impute(self.model, p, rows.xs, rows.observed) for p in self.params]
        return np.mean(filled, axis=0)

    def draw(self, rows, key, n):
        """Draws of what is missing, each from the next of the starts; (n, rows, columns)."""
        keys = jax.random.split(key, n)
        chosen = (self.params[i % len(self.params)] for i in range(n))
        pairs = zip(chosen, keys, strict=True)
        return np.stack([hm.impute(self.model, p, *rows, key=k) for p, k in pairs])


ANALYSERS, HIERARCHY = "mixture of factor analysers", "hierarchical mixture"
IMAGES = (
    Candidate(ANALYSERS, 40, 4, 300),
    Candidate(ANALYSERS, 20, 6, 300),
    Candidate(HIERARCHY, 20, 12, 100),
)
TABLES = (
    Candidate(ANALYSERS, 1, 3, 20),
    Candidate(ANALYSERS, 3, 3, 50),
    Candidate(HIERARCHY, 3, 4, 20),
)


# --- data


def load_images(rng):
    """The digits with noise in [0, 1) that makes up for the rounding of grey levels.

    Of training images random pixels are missing, or a half of the square, by turns.
    """
    images, _ = load_digits(return_X_y=True)
    images = images + rng.uniform(size=images.shape)
    train, held_out = train_test_split(images, random_state=0)
    by_turns = (np.arange(len(train)) % 2 == 0)[:, None]
    masks = np.where(by_turns, halves(rng, len(train)), random_pixels(rng, len(train)))
    return Incomplete(train, masks), {
        "random half": Incomplete(held_out, random_pixels(rng, len(held_out))),
        "contiguous half": Incomplete(held_out, halves(rng, len(held_out))),
    }


def random_pixels(rng, n):
    """Masks of which half of the pixels are observed, (n, 64)."""
    return np.argsort(rng.uniform(size=(n, N_PIXELS)), axis=1) < N_PIXELS // 2


def halves(rng, n):
    """Masks of which the upper, lower, left or right half is observed, (n, 64)."""
    upper = np.repeat([True, False], 4)[:, None] & np.ones((8, 8), bool)
    four = np.stack([upper, ~upper, upper.T, ~upper.T]).reshape(4, N_PIXELS)
    return four[rng.integers(4, size=n)]


def load_table(load, seed):
    """A table with standardised columns of which a quarter of the entries is missing."""
    table = load().data
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    rng = np.random.default_rng(seed)
    parts = train_test_split(table, random_state=seed)
    return tuple(Incomplete(xs, rng.uniform(size=xs.shape) > MISSING) for xs in parts)


# --- fits


@eqx.filter_jit
def run_em(model, starts, xs, observed, weights, pseudo, n_steps):
    """EM from each of the starts, and the log densities that it reaches: (starts, rows)."""
    patterns = model.group_patterns(xs, observed)

    def step(params, _):
        return em_step(model, params, patterns, weights, pseudo), None

    def run(params):
        params, _ = jax.lax.scan(step, params, length=n_steps)
        return params, model.log_observable_densities(params, patterns)

    return jax.lax.map(run, starts)


def share(n_pseudo, weights):
    """The share of pseudo-observations in the total weight."""
    return n_pseudo / (n_pseudo + jnp.sum(weights))


def fit_factors(n_factors, rows, weights, n_steps):
    """Factor analysis, from a start for which columns are filled in by their means."""
    model = hm.factor_analysis(rows.xs.shape[1], n_factors)
    means, variances = np.nanmean(rows.holed, axis=0), np.nanvar(rows.holed, axis=0)
    filled = jnp.asarray(np.where(rows.observed, rows.xs, means))
    typical = digits.isotropic(model.obs_man, jnp.asarray(means), jnp.mean(variances))
    pseudo = Pseudo(digits.blank_statistics(model, typical), share(10, weights))
    starts = random_starts(model, jax.random.key(0), filled, 1)
    params, _ = run_em(model, starts, *map(jnp.asarray, rows), weights, pseudo, n_steps)
    return model, model.standardize(params[0])


def build(candidate, factors, params):
    """A model, and its parameters with which it says just what the factor analysis says."""
    k = candidate.n_components
    if candidate.kind == ANALYSERS:
        model = hm.MixtureOf(factors, k)
        return model, model.from_components([params] * k, jnp.full(k, 1 / k))
    clusters = hm.Mixture(factors.pst_man, k)
    model = hm.stack(factors, clusters)
    latents = digits.blank(clusters, digits.standard(clusters.obs_man))
    return model, model.from_levels(params, latents)


def fit(candidate, rows, n_starts, n_steps):
    """EM in two stages: factor analysis, and the model in which components differ.

    The first fills in the data that the second starts from, and is what its components are drawn
    towards, by pseudo-observations: a component alone has too few data to tell its covariance.
    """
    training = np.arange(len(rows.xs)) % N_VALIDATION != 0
    weights = jnp.asarray(training, float)
    factors, params = fit_factors(candidate.n_factors, rows, weights, 2 * n_steps)
    model, same = build(candidate, factors, params)
    statistics = eqx.filter_jit(model.to_mean)(same)
    pseudo = Pseudo(statistics, share(candidate.n_pseudo, weights))
    filled = hm.impute(factors, params, *rows, key=jax.random.key(1))
    starts = random_starts(model, jax.random.key(0), filled, n_starts)
    data = *map(jnp.asarray, rows), weights, pseudo
    params, densities = run_em(model, starts, *data, n_steps)
    return Fitted(candidate.name, model, params, float(jnp.mean(densities[:, ~training])))


# --- comparisons


def imputers(**limits):
    """Those of scikit-learn; of nearest neighbours, three."""
    return {
        "column means": SimpleImputer(keep_empty_features=True),
        "IterativeImputer": IterativeImputer(random_state=0, **limits),
        **{
            f"KNNImputer, {k} neighbours": KNNImputer(n_neighbors=k, weights="distance")
            for k in NEIGHBOURS
        },
    }


def compare_images(candidates, n_starts, n_steps, limits):
    """Errors by names and kinds of holes, and what the picture shows."""
    rng = np.random.default_rng(0)
    train, held_out = load_images(rng)
    fits = [fit(candidate, train, n_starts, n_steps) for candidate in candidates]
    filled = {}
    for name, imputer in imputers(**limits).items():
        imputer.fit(train.holed)
        filled[name] = {k: imputer.transform(rows.holed) for k, rows in held_out.items()}
    for own in fits:
        filled[own.name] = {k: own.fill(rows) for k, rows in held_out.items()}
    errors = {
        name: [held_out[k].error(values) for k, values in own.items()]
        for name, own in filled.items()
    }
    return fits, errors, held_out, filled


def compare_table(load, candidates, n_starts, n_steps, n_splits):
    """Validation densities of the candidates, and errors of all; averages over splits."""
    validation, errors = {}, {}
    for seed in range(n_splits):
        train, held_out = load_table(load, seed)
        for name, imputer in imputers(max_iter=30, tol=1e-2).items():
            values = imputer.fit(train.holed).transform(held_out.holed)
            errors.setdefault(name, []).append(held_out.error(values))
        for candidate in candidates:
            own = fit(candidate, train, n_starts, n_steps)
            validation.setdefault(own.name, []).append(own.validation)
            errors.setdefault(own.name, []).append(held_out.error(own.fill(held_out)))
    return ({k: float(np.mean(v)) for k, v in own.items()} for own in (validation, errors))
