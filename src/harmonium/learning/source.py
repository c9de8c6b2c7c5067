"""Where data of a fit come from: in memory, read once a step, or minibatch by minibatch."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from harmonium.exponential_family.checks import check_weights
from harmonium.exponential_family.chunks import batch_length
from harmonium.exponential_family.compiled import is_traced, pad_rows
from harmonium.exponential_family.form import float_dtype
from harmonium.harmoniums.condense import condense
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.grouped import mask_rows
from harmonium.learning.devices import Devices, group_by_device, localized, take_sample
from harmonium.learning.engine import Run, advance_all
from harmonium.learning.labels import without_labels
from harmonium.learning.missing import check_marked
from harmonium.learning.problem import ConjugatePrior, Problem, make_problem, relative_prior
from harmonium.learning.scaling import (
    Scaling,
    as_arrays,
    as_numbers,
    density_ceiling,
    log_volumes,
    standardization,
    standardize_data,
)
from harmonium.learning.survey import sample_size


class Prepared(NamedTuple):
    """What is known of data before a fit begins.

    **Fields:**

    - `scaling`: the map from standardised data to the data.
    - `sample`: standardised observations to make starts from, and their weights, summing to one.
    - `typical`: standardised observations like the data, to make a prior from, and their weights,
        or `None`.
    - `volume`: what to subtract from log densities of standardised data.
    - `ceiling`: a log density that only singular densities reach.
    - `total`: the sum of weights, or that of a sample.
    - `dtype`: the precision of real numbers.
    """

    scaling: Scaling
    sample: tuple[Any, Any]
    typical: tuple[Any, Any]
    volume: Float[Array, ""]
    ceiling: float
    total: Any
    dtype: Any


class Source(ABC):
    """The data of a fit.

    **Arguments:**

    - `prepared`: what is known of them.
    - `size`: how many observations are processed at once.
    """

    def __init__(self, prepared: Prepared, size: int):
        self.prepared, self.size = prepared, size

    @property
    def total(self) -> Any:
        """The sum of all weights."""
        return self.prepared.total

    @abstractmethod
    def problem(
        self, model: Any, prior: ConjugatePrior | None
    ) -> tuple[Problem, Callable[..., Run]]:
        """What to maximise, and what takes the steps.

        **Arguments:**

        - `model`: what is to be fitted.
        - `prior`: for standardised data, with its weight as a number of observations.
        """

    def trial(self, problem: Problem, prior: ConjugatePrior | None) -> Problem:
        """The problem of fitting to the sample, where starts are tried."""
        prior = relative_prior(prior, self.prepared.total)
        rows, weights = pad_rows(*self.prepared.sample)
        return make_problem(problem.model, rows, weights, prior, self.prepared.ceiling, self.size)


def _has_tracers(tree: Any) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


class Arrays(Source):
    """Data in memory, perhaps of many devices, of which a mask may say what is observed.

    **Arguments:**

    - `model`: what is to be fitted.
    - `data`, `weights`, `observed`, `scale`: as those of `fit`.
    - `devices`: over which the data are spread, or `None`.
    - `size`: how many observations are processed at once, on each device.
    """

    def __init__(
        self,
        model: Any,
        data: Any,
        weights: Any,
        observed: Any,
        devices: Devices | None,
        scale: bool,
        size: int,
    ):
        family = model.data_man
        checked = check_marked(family, data, observed)
        length, dtype = batch_length(checked), float_dtype(checked)
        if devices is None and not is_traced() and weights is not None:
            weights = np.asarray(weights)
        shares = check_weights(weights, length, dtype)
        total = np.asarray(length, dtype) if weights is None else weights.sum().astype(dtype)
        on_host = devices is None and not _has_tracers((checked, shares, observed))
        numbers = as_numbers(data, checked) if on_host else checked
        scaling = standardization(family, numbers, observed, shares) if scale else None
        scaling = without_labels(model, scaling)
        volume = (shares * log_volumes(scaling, observed, numbers)).sum().astype(dtype)
        xs = as_arrays(standardize_data(scaling, numbers), dtype)
        if observed is not None:
            xs, _ = mask_rows(family, (xs, observed))
        ceiling = density_ceiling(scaling, xs, dtype)
        scaling, volume, total = localized((as_arrays(scaling, dtype), volume, total))
        sample = take_sample(devices, xs, shares, sample_size(family, size))
        typical = pad_rows(*sample)
        super().__init__(Prepared(scaling, sample, typical, volume, ceiling, total, dtype), size)
        self.xs, self.shares, self.observed, self.devices = xs, shares, observed, devices

    def problem(
        self, model: Any, prior: ConjugatePrior | None
    ) -> tuple[Problem, Callable[..., Run]]:
        rows, shares, devices = self._reduced(model)
        if devices is None:
            rows, shares = pad_rows(rows, shares)
        prior, ceiling = relative_prior(prior, self.total), self.prepared.ceiling
        return make_problem(model, rows, shares, prior, ceiling, self.size, devices), advance_all

    def _reduced(self, model: Any) -> tuple[Any, Any, Devices | None]:
        """What steps look at, its weights, and the devices over which it is spread."""
        xs, shares, devices = self.xs, self.shares, self.devices
        if self.observed is not None:
            return group_by_device(devices, model.data_man, xs, self.observed), shares, devices
        if not isinstance(model, Conjugated):
            return xs, shares, devices
        rows, row_shares = condense(model, xs, shares)
        if devices is not None and batch_length(rows) < batch_length(xs):
            return *localized((rows, row_shares)), None
        return rows, row_shares, devices

    def trial(self, problem: Problem, prior: ConjugatePrior | None) -> Problem:
        whole = len(self.prepared.sample[1]) == len(self.shares) and problem.devices is None
        return problem if whole else super().trial(problem, prior)
