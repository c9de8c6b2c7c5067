"""Models, points and data that the contract tests call, well and badly."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

import harmonium as hm

N_OBSERVATIONS = 8


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model with a point in each coordinate system, and things of another model."""

    model: Any
    natural: Any
    mean: Any
    stranger_natural: Any
    stranger_mean: Any

    def point(self, kind: hm.Coordinates) -> Any:
        return self.natural if kind is hm.Coordinates.NATURAL else self.mean

    def stranger(self, kind: hm.Coordinates) -> Any:
        if kind is hm.Coordinates.NATURAL:
            return self.stranger_natural
        return self.stranger_mean

    @functools.cached_property
    def data(self) -> Any:
        """One observation, and a batch of them."""
        return _sample(self.model, jax.random.key(1), self.natural)

    @property
    def x(self) -> Any:
        """One observation."""
        return self.data[0]

    @property
    def xs(self) -> Any:
        """A batch of observations."""
        return self.data[1]

    @functools.cached_property
    def observed(self) -> Any:
        """A batch of observations of the observable of a harmonium."""
        return self.xs.observable


MODELS = {
    "normal": lambda: hm.Normal(2),
    "diagonal normal": lambda: hm.Normal(2, hm.Diagonal()),
    "isotropic normal": lambda: hm.Normal(2, hm.Scale()),
    "unit normal": lambda: hm.Normal(2, hm.Identity()),
    "categorical": lambda: hm.Categorical(3),
    "product": lambda: hm.Product(hm.Normal(2), hm.Categorical(3)),
    "replicated": lambda: hm.Replicated(hm.Normal(2), 3),
    "factor analysis": lambda: hm.factor_analysis(4, 2),
    "restricted factor analysis": lambda: hm.LinearGaussianModel(
        hm.Normal(4, hm.Diagonal()), hm.Normal(2, hm.Diagonal())
    ),
    "mixture": lambda: hm.Mixture(hm.Normal(2), 3),
    "shared mixture": lambda: hm.Mixture(hm.Normal(2), 3, hm.LocationEmbedding(hm.Normal(2))),
    "mixture of diagonals": lambda: hm.Mixture(
        hm.Normal(2),
        3,
        hm.families.NormalCovarianceEmbedding(hm.Normal(2, hm.Diagonal()), hm.Normal(2)),
    ),
    "hierarchy": lambda: hm.hierarchical_mixture_of_gaussians(4, 2, 3),
    "restricted hierarchy": lambda: hm.hierarchical_mixture_of_gaussians(
        4, 2, 3, pst_covariance=hm.Diagonal()
    ),
}


@functools.cache
def subject(name: str) -> Subject:
    """The subject of this name, made once."""
    model = MODELS[name]()
    return Subject(model, *_points(model, jax.random.key(0)), *_strangers())


@jax.jit
def _points(model: Any, key: Any) -> Any:
    """A point in natural coordinates, and in mean coordinates."""
    natural = model.initialize(key)
    return natural, model.to_mean(natural)


@functools.cache
def _strangers() -> Any:
    """A point of another model in both coordinates."""
    stranger = hm.Normal(7)

    def points() -> Any:
        natural = stranger.from_mean_covariance(jnp.zeros(7), jnp.eye(7))
        return natural, stranger.to_mean(natural)

    return jax.jit(points)()


@jax.jit
def _sample(model: Any, key: Any, natural: Any) -> Any:
    xs = model.sample(key, natural, (N_OBSERVATIONS,))
    return jax.tree.map(lambda leaf: leaf[0], xs), xs


@functools.partial(jax.jit, static_argnames="n")
def batch_of(point: Any, n: int = 3) -> Any:
    """The point n times, as a batch."""
    return jax.tree.map(lambda leaf: jnp.stack([leaf] * n), point)


def message_of(error: BaseException) -> str:
    """The message of an error on one line, however it was wrapped."""
    return " ".join(str(error).split())
