"""Small fits to small tables: what `benchmarks.cold_start` measures."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets

import harmonium as hm


class SmallFit(NamedTuple):
    """A model, its data, and which of its methods tells a posterior.

    `peer` is the class of scikit-learn beside it, and its method, if there is one.
    """

    title: str
    load: Callable[[], Any]
    make: Callable[[], Any]
    ask: str = "posterior_probabilities"
    peer: tuple[str, str] | None = None


def records() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two reals, a category and a count each, of three clusters."""
    random = np.random.default_rng(0)
    clusters = random.integers(0, 3, 300)
    reals = random.normal(size=(300, 2)) + 3 * clusters[:, None]
    categories = (clusters + random.integers(0, 2, 300)) % 4
    return reals.astype(np.float32), categories, random.poisson(1 + 3 * clusters)


def wine() -> np.ndarray:
    """Chemical measurements in very different units, each with unit variance."""
    xs = datasets.load_wine().data
    return ((xs - xs.mean(axis=0)) / xs.std(axis=0)).astype(np.float32)


def iris() -> np.ndarray:
    """Lengths and widths of flowers."""
    return datasets.load_iris().data.astype(np.float32)


SMALL_FITS = {
    "iris": SmallFit(
        "mixture of 3 normals, iris",
        iris,
        lambda: hm.Mixture(hm.Normal(4), 3),
        peer=("GaussianMixture", "predict_proba"),
    ),
    "wine": SmallFit(
        "factor analysis 13 to 3, wine",
        wine,
        lambda: hm.factor_analysis(13, 3),
        "posterior_at",
        ("FactorAnalysis", "transform"),
    ),
    "hierarchy": SmallFit(
        "hierarchical mixture 13, 3, 3, wine",
        wine,
        lambda: hm.hierarchical_mixture_of_gaussians(13, 3, 3),
    ),
    "mixed": SmallFit(
        "mixture of 3, mixed records",
        records,
        lambda: hm.Mixture(hm.Product(hm.Normal(2), hm.Categorical(4), hm.Poisson()), 3),
    ),
}
