"""How well models fit: beside each other on held-out data, and how sure their parameters are."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.checks import check_weights, require
from harmonium.exponential_family.chunks import batch_length
from harmonium.exponential_family.compiled import batched, compiled
from harmonium.geometry.point import Coordinates, Natural
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.grouped import GroupedObservations, group_observations
from harmonium.learning.fit import Fit


class Row(NamedTuple):
    """One model of a `Comparison`.

    `log_likelihood` is the average log density of the data, `difference` how far it is below that
    of the best model, and `standard_error` that of this difference: observations are compared one
    by one. All are in nats per observation.
    """

    name: str
    n_parameters: int
    log_likelihood: float
    difference: float
    standard_error: float
    aic: float
    bic: float
    converged: bool


class Comparison(tuple[Row, ...]):
    """The rows of `compare`, best first; shows as a table."""

    def __repr__(self) -> str:
        width = max([len("model"), *(len(row.name) for row in self)])
        columns = (
            f"{'parameters':>11}{'nats':>12}{'below best':>12}{'+-':>10}{'AIC':>13}{'BIC':>13}"
        )
        lines = [f"{'model':<{width}}{columns}"]
        lines.append("-" * len(lines[0]))
        for row in self:
            numbers = f"{row.n_parameters:>11,}{row.log_likelihood:>12.5g}"
            behind = f"{row.difference:>12.4g}{row.standard_error:>10.2g}"
            criteria = f"{row.aic:>13,.1f}{row.bic:>13,.1f}"
            mark = "" if row.converged else "  not converged"
            lines.append(f"{row.name:<{width}}{numbers}{behind}{criteria}{mark}")
        return "\n".join(lines)


def compare(
    fits: Mapping[str, Fit], data: Any, *, weights: Any = None, observed: Any = None
) -> Comparison:
    """Compares fitted models on data, best held out beside those they were fitted to.

    **Arguments:**

    - `fits`: fits of models of the same kind of observations, by name.
    - `data`: a batch of N observations.
    - `weights`: (N,), not negative; weight 2 is the same as an observation repeated.
    - `observed`: N masks of what is observed, see `posterior_at`.

    **Returns:** a row for each model with its average log density of these data, the difference to
    the best with its standard error, and AIC and BIC on the data that it was fitted to.

    **Raises:** `ValueError` if there are no fits, and errors for data of another form.
    """
    if not fits:
        raise ValueError("compare takes at least one fit, got none.")
    densities = {
        name: np.asarray(_densities(fit.params, data, observed), float)
        for name, fit in fits.items()
    }
    length = len(next(iter(densities.values())))
    shares = np.asarray(check_weights(weights, length, float))
    total = length if weights is None else np.sum(np.asarray(weights))
    averages = {name: float(shares @ own) for name, own in densities.items()}
    names = sorted(fits, key=lambda name: -averages[name])
    best = densities[names[0]]
    rows = []
    for name in names:
        fit, behind = fits[name], best - densities[name]
        difference = float(shares @ behind)
        error = float(np.sqrt(shares @ (behind - difference) ** 2 / total))
        model: Any = fit.params.manifold
        criteria = float(fit.aic), float(fit.bic)
        rows.append(
            Row(name, model.dim, averages[name], difference, error, *criteria, fit.converged)
        )
    return Comparison(rows)


def _densities(params: Natural, data: Any, observed: Any) -> Array:
    model: Any = params.manifold
    if isinstance(model, Conjugated):
        return model.log_observable_densities(params, data, observed=observed)
    if observed is not None:
        raise TypeError(f"{model} has no latents; of observations all has to be observed.")
    return model.log_densities(params, data)


def observed_information(
    model: Differentiable, params: Natural, data: Any, *, weights: Any = None, observed: Any = None
) -> Float[Array, "{model.dim} {model.dim}"]:
    r"""The observed Fisher information, in minimal natural coordinates.

    Mathematically, $-\nabla^2 \sum_n w_n \log p(x_n)$, the derivative of $N (\nabla\psi(\theta) -
    \hat\eta(\theta))$, where $\hat\eta$ are the average posterior statistics.

    **Arguments:**

    - `model`: a conjugated harmonium, or a family without latents.
    - `params`: natural.
    - `data`: a batch of N observations.
    - `weights`: (N,), how often each was observed; once by default.
    - `observed`: N masks of what is observed, see `posterior_at`.
    """
    model.check_single(params)
    if observed is not None:
        data = group_observations(model, data, observed)
    return _information(model, params, data, weights)


@batched
def _information(model: Any, params: Natural, xs: Any, weights: Any) -> Array:
    """`observed_information` of a batch, which may be grouped."""
    statistics: Any = None
    if not isinstance(model, Conjugated):
        statistics = model.average_sufficient_statistic(xs, weights)

    def ascent(vector: Array) -> Array:
        point = model.unravel(vector, Coordinates.NATURAL)
        mean = statistics
        if isinstance(model, Conjugated):
            mean = model.mean_posterior_statistics(point, xs, weights)
        return model.ravel(mean) - model.ravel(model.to_mean(point))

    vector = model.ravel(params)
    return -_total_weight(xs, weights).astype(vector.dtype) * jax.jacfwd(ascent)(vector)


def _total_weight(xs: Any, weights: Any) -> Array:
    if weights is None:
        length = len(xs) if isinstance(xs, GroupedObservations) else batch_length(xs)
        return jnp.asarray(length)
    return jnp.sum(jnp.asarray(weights))


def standard_errors(
    model: Differentiable, params: Natural, data: Any, *, weights: Any = None, observed: Any = None
) -> Float[Array, " {model.dim}"]:
    """Standard errors of natural parameters, from the observed Fisher information.

    They hold at a maximum of the likelihood, for many observations.

    **Arguments:** as `observed_information`.

    **Returns:** (dim,), in the minimal coordinates of `model.ravel(params)`.

    **Raises:** an error if the information is singular: if parameters are not identifiable, as
    latents are only up to rotation, or if the point is no maximum.
    """
    information = observed_information(model, params, data, weights=weights, observed=observed)
    return _errors(model, information)


@compiled
def _errors(model: Any, information: Array) -> Array:
    values, vectors = jnp.linalg.eigh(information)
    smallest = model.dim * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))
    variances = jnp.sum(vectors**2 / values[None], axis=1)
    return require(
        jnp.sqrt(variances),
        jnp.min(values) > smallest,
        f"the observed information of {model} is singular here: it is no maximum of the "
        "likelihood, or its parameters are not identifiable, as latents are only up to rotation. "
        "Fit with a smaller tolerance, or ask for observed_information.",
    )
