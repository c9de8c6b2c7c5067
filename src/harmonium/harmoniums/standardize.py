"""Affine maps of observables and latents: harmoniums of scaled variables, and standard latents."""

import functools
from typing import Any

from harmonium.exponential_family.affine import substitute
from harmonium.geometry.point import Mean, Natural
from harmonium.harmoniums.harmonium import Harmonium


@functools.singledispatch
def substitute_likelihood(
    model: Any, likelihood: Natural, scale: Any, shift: Any
) -> tuple[Natural, Natural]:
    r"""The likelihood of $y$, where $x = B y + c$ is observed, and what it adds to the latent.

    **Arguments:**

    - `model`: a harmonium.
    - `likelihood`: natural, that of $x$.
    - `scale`, `shift`: $B$ and $c$, as `substitute` takes them.

    **Returns:** a likelihood, and a natural point of `pst_man`, the message of $x = c$.
    """
    raise TypeError(
        f"observations of {model} cannot be scaled and shifted. Fit with scale=False, or register "
        f"hm.harmoniums.substitute_likelihood for {type(model).__name__}."
    )


@substitute.register
def _(model: Harmonium, point: Natural, scale: Any, shift: Any) -> Natural:
    """The model of $y$ with the same latents, of which parameters are those of the posterior."""
    model.check_single(point)
    if scale is None and shift is None:
        return point
    likelihood = model.likelihood_function(point)
    likelihood, rho = substitute_likelihood(model, likelihood, scale, shift)
    return model.point(likelihood.observable, likelihood.interaction, point.latent + rho)


@functools.singledispatch
def substitute_cause(model: Any, likelihood: Natural, scale: Any, shift: Any) -> Natural:
    r"""The likelihood given $y$, where $z = B y + c$ is the latent of the given one.

    Mathematically, the new offset is that of the likelihood at $z = c$. Where $z$ is the latent of
    a hierarchy, this concerns its interacting part.
    """
    raise TypeError(f"latents of {model} cannot be scaled and shifted.")


def substitute_latent(model: Any, point: Natural, scale: Any, shift: Any) -> Natural:
    r"""The model with latents $y$, where $z = B y + c$, and the same observables."""
    model.check_single(point)
    likelihood = substitute_cause(model, model.likelihood_function(point), scale, shift)
    latent = substitute(model.pst_man, point.latent, scale, shift)
    return model.point(likelihood.observable, likelihood.interaction, latent)


@functools.singledispatch
def standardizing_map(model: Any, marginal: Mean) -> tuple[Any, Any] | None:
    """The $B$ and $c$ for which $y$ in $z = B y + c$ is standardised, if there is such a map.

    **Arguments:**

    - `model`: a harmonium, whose interacting latents are real vectors, if there is one.
    - `marginal`: mean, the interacting latent's marginal in the prior, on `pst_man`.

    **Returns:** what `substitute_latent` takes, or `None` where there is no such map.
    """
    return None


@functools.singledispatch
def standardize_under(model: Any, point: Natural, mean: Mean) -> Natural:
    """`standardize` of a model whose expected statistics are known.

    **Arguments:**

    - `model`: a conjugated harmonium.
    - `point`: natural.
    - `mean`: what `to_mean` returns; of the observables it is not used.
    """
    standardizing = standardizing_map(model, mean.latent)
    return point if standardizing is None else substitute_latent(model, point, *standardizing)
