"""Mixtures of counts, and of mixed records, by pomegranate and stepmix where they are installed."""

import warnings
from typing import Any

import jax
import numpy as np
from jax import Array
from sklearn.exceptions import ConvergenceWarning

from benchmarks.peers import per_iteration
from benchmarks.problems import MixedProblem, PoissonsProblem
from benchmarks.timing import Workload

try:
    import torch
    from pomegranate.distributions import Poisson
    from pomegranate.gmm import GeneralMixtureModel
except ImportError:
    torch = Poisson = GeneralMixtureModel = None

try:
    from stepmix import StepMix
except ImportError:
    StepMix = None

POMEGRANATE = "pomegranate"
STEPMIX = "stepmix"


def missing() -> list[str]:
    """Which of these peers cannot be imported here."""
    peers = {POMEGRANATE: GeneralMixtureModel, STEPMIX: StepMix}
    return [name for name, found in peers.items() if found is None]


# --- pomegranate


def pomegranate_step(problem: PoissonsProblem) -> Any:
    """pomegranate's mixture of Poissons after one EM iteration: all that `fit` does here.

    Data and parameters are float64, but it rounds responsibilities to float32 in the M-step. All in
    float32, which is its default, it takes about three quarters of the time.
    """
    weights, rates, xs = (torch.tensor(np.asarray(array)).double() for array in problem)
    model = GeneralMixtureModel([Poisson(rate) for rate in rates], priors=weights, max_iter=1)
    return model.fit(xs)


def pomegranate_average(problem: PoissonsProblem) -> float:
    """The average log density that pomegranate reaches in one iteration."""
    xs = torch.tensor(np.asarray(problem.xs)).double()
    return float(pomegranate_step(problem).log_probability(xs).mean())


def pomegranate_poissons(problem: PoissonsProblem) -> Workload:
    """One EM iteration of pomegranate's mixture of independent Poissons; it takes seconds."""
    if GeneralMixtureModel is None:
        return Workload(POMEGRANATE, None)
    return Workload(POMEGRANATE, lambda: pomegranate_step(problem))


# --- stepmix


class _Given(np.random.RandomState):
    """A random state that draws the given responsibilities (N, K), from which stepmix starts."""

    def __init__(self, responsibilities: Array):
        super().__init__(0)
        self.responsibilities = np.asarray(responsibilities)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        """A copy, as stepmix normalises in place what it draws."""
        if size != self.responsibilities.shape:
            return super().uniform(low, high, size)
        return self.responsibilities.copy()


def _stepmix_data(problem: MixedProblem) -> np.ndarray:
    """Reals and one-hot categories side by side, which stepmix takes faster than integers."""
    one_hot = np.asarray(jax.nn.one_hot(problem.categories, problem.n_categories))
    return np.hstack([problem.reals, one_hot.reshape(len(one_hot), -1)])


def stepmix_fit(problem: MixedProblem, data: np.ndarray, n_iterations: int) -> Any:
    """stepmix's mixture of reals and categories after so many EM iterations."""
    n_columns = problem.categories.shape[1] * problem.n_categories
    measurement = {
        "reals": {
            "model": "gaussian_diag",
            "n_columns": problem.reals.shape[1],
            "reg_covar": 0.0,
        },
        "categories": {
            "model": "categorical",
            "n_columns": n_columns,
            "integer_codes": False,
            "max_n_outcomes": problem.n_categories,
            "total_outcomes": n_columns,
        },
    }
    model = StepMix(
        problem.responsibilities.shape[1],
        measurement=measurement,
        max_iter=n_iterations,
        abs_tol=0.0,
        rel_tol=0.0,
        random_state=_Given(problem.responsibilities),
        progress_bar=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # so few iterations are what we want
        return model.fit(data)


def stepmix_average(problem: MixedProblem, n_iterations: int) -> float:
    """The average log density that stepmix reaches."""
    data = _stepmix_data(problem)
    return float(stepmix_fit(problem, data, n_iterations).score(data))


def stepmix_mixed(problem: MixedProblem) -> Workload:
    """One EM iteration of stepmix's mixture of reals and categories."""
    if StepMix is None:
        return Workload(STEPMIX, None)
    data = _stepmix_data(problem)
    return per_iteration(STEPMIX, lambda n: stepmix_fit(problem, data, n))
