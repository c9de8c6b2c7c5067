"""Faults of values, not of shapes: the same phrase outside and inside compiled functions."""

import contextlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.contracts.subjects import MODELS, batch_of, message_of, subject


class BadValue(NamedTuple):
    """A function with arguments whose values are at fault, and what the message contains."""

    name: str
    function: Callable
    arguments: Callable[[], tuple]
    phrase: str


def _model(name: str) -> Any:
    return MODELS[name]()  # not the kept subject: functions under test call this while traced


def _natural(name: str) -> Any:
    return subject(name).natural


def _key() -> Any:
    return jax.random.key(5)


def _data(width: int) -> Any:
    return jnp.asarray(np.random.default_rng(5).normal(size=(12, width)), float)


def _spoilt(width: int, value: float) -> Any:
    xs = np.array(_data(width))
    xs[3, 1] = value
    return jnp.asarray(xs)


def _average(xs: Any, weights: Any = None) -> Any:
    return hm.Normal(2).average_sufficient_statistic(xs, weights)


def _em(name: str) -> Callable:
    def step(xs: Any, weights: Any = None) -> Any:
        return _model(name).expectation_maximization(_natural(name), xs, weights)

    return step


def _start(name: str) -> Callable:
    return lambda xs: _model(name).initialize_from_sample(_key(), xs)


def _mixture_of(weights: Any) -> Any:
    return _model("mixture").from_components(batch_of(_natural("normal")), weights)


def _restricted() -> hm.LinearGaussianModel:
    return _model("restricted factor analysis")


CORRELATED = ((1.0, 0.8), (0.8, 1.0))
COVARIANCE = r"covariance of Normal\(2.*symmetric and positive definite; add a small multiple"
PROBABILITIES = r"probabilities of Categorical\(3\) must be positive and sum to 1. Divide"
SUPPORT = "outside the support of {}: (got .*, and )?[a-z]+ are .*Remove or repair such"
WEIGHTS = "weights must be finite, not negative, and not all zero. Give weight 0"
NORMAL_DATA = SUPPORT.format(r"Normal\(2, PositiveDefinite\(\)\)")
CATEGORY_DATA = SUPPORT.format(r"Categorical\(3\)")

STANDARD = [
    BadValue(
        "indefinite covariance",
        hm.Normal(2).from_mean_covariance,
        lambda: (jnp.zeros(2), jnp.array([[1.0, 2.0], [2.0, 1.0]])),
        COVARIANCE,
    ),
    BadValue(
        "singular covariance",
        hm.Normal(2).from_mean_covariance,
        lambda: (jnp.zeros(2), jnp.zeros((2, 2))),
        COVARIANCE,
    ),
    BadValue(
        "asymmetric covariance",
        hm.Normal(2).from_mean_covariance,
        lambda: (jnp.zeros(2), jnp.array([[1.0, 0.5], [0.0, 1.0]])),
        COVARIANCE,
    ),
    BadValue(
        "NaN covariance",
        hm.Normal(2).from_mean_covariance,
        lambda: (jnp.zeros(2), jnp.full((2, 2), jnp.nan)),
        COVARIANCE,
    ),
    BadValue(
        "infinite covariance",
        hm.Normal(2).from_mean_covariance,
        lambda: (jnp.zeros(2), jnp.diag(jnp.array([1.0, jnp.inf]))),
        COVARIANCE,
    ),
    BadValue(
        "negative variance",
        hm.Normal(2, hm.Diagonal()).from_mean_covariance,
        lambda: (jnp.zeros(2), jnp.array([1.0, -1.0])),
        COVARIANCE,
    ),
    BadValue(
        "zero variance",
        hm.Normal(2, hm.Scale()).from_mean_covariance,
        lambda: (jnp.zeros(2), jnp.zeros(())),
        COVARIANCE,
    ),
    BadValue(
        "NaN mean",
        hm.Normal(2).from_mean_covariance,
        lambda: (jnp.array([0.0, jnp.nan]), jnp.eye(2)),
        r"the mean of Normal\(2.*must be finite",
    ),
    BadValue(
        "infinite mean of a unit normal",
        hm.Normal(2, hm.Identity()).from_mean_covariance,
        lambda: (jnp.array([0.0, jnp.inf]),),
        r"the mean of Normal\(2, Identity\(\)\) must be finite",
    ),
    BadValue(
        "probabilities that do not sum to 1",
        hm.Categorical(3).from_probabilities,
        lambda: (jnp.array([0.5, 0.5, 0.5]),),
        PROBABILITIES,
    ),
    BadValue(
        "a probability of zero",
        hm.Categorical(3).from_probabilities,
        lambda: (jnp.array([0.0, 0.5, 0.5]),),
        PROBABILITIES + ".*leave out categories that never occur",
    ),
    BadValue(
        "a negative probability",
        hm.Categorical(3).from_probabilities,
        lambda: (jnp.array([-0.5, 0.75, 0.75]),),
        PROBABILITIES,
    ),
    BadValue(
        "a NaN probability",
        hm.Categorical(3).from_probabilities,
        lambda: (jnp.array([jnp.nan, 0.5, 0.5]),),
        PROBABILITIES,
    ),
    BadValue(
        "weights of components that do not sum to 1",
        _mixture_of,
        lambda: (jnp.array([1.0, 1.0, 1.0]),),
        PROBABILITIES,
    ),
    BadValue(
        "components that differ beyond their embedding",
        lambda scales: _model("shared mixture").from_components(
            jax.vmap(lambda scale: _natural("normal") * scale)(scales), [0.2, 0.3, 0.5]
        ),
        lambda: (jnp.array([1.0, 2.0, 3.0]),),
        "may differ in the parameters that obs_emb embeds only",
    ),
    BadValue(
        "NaN loadings",
        lambda loadings: _model("factor analysis").from_loadings(
            loadings, jnp.zeros(4), jnp.ones(4)
        ),
        lambda: (jnp.full((4, 2), jnp.nan),),
        r"the loadings \(observable x latent\) of .* must be finite",
    ),
    BadValue(
        "NaN offset",
        lambda offset: _model("factor analysis").from_loadings(
            jnp.ones((4, 2)), offset, jnp.ones(4)
        ),
        lambda: (jnp.full(4, jnp.nan),),
        r"the mean of Normal\(4.*must be finite",
    ),
    BadValue(
        "negative noise",
        lambda noise: _model("factor analysis").from_loadings(
            jnp.ones((4, 2)), jnp.zeros(4), noise
        ),
        lambda: (-jnp.ones(4),),
        r"covariance of Normal\(4.*positive definite",
    ),
    BadValue(
        "scale by zero",
        lambda scale: hm.Normal(2).push_forward(_natural("normal"), scale, None),
        lambda: (jnp.zeros(()),),
        "the scale must be invertible",
    ),
    BadValue(
        "scale of a hierarchy by a singular matrix",
        lambda scale: _model("mixture").push_forward(_natural("mixture"), scale, None),
        lambda: (jnp.ones((2, 2)),),
        "the scale must be invertible",
    ),
    BadValue(
        "latent category out of range",
        lambda z: _model("mixture").likelihood_at(_natural("mixture"), z),
        lambda: (jnp.array(3),),
        r"latent is outside the support of Categorical\(3\)",
    ),
    BadValue(
        "negative latent category",
        lambda z: _model("mixture").likelihood_at(_natural("mixture"), z),
        lambda: (jnp.array(-1),),
        r"latent is outside the support of Categorical\(3\)",
    ),
    BadValue(
        "component out of range",
        lambda k: hm.condition_on(_model("mixture"), _natural("mixture"), k)[1],
        lambda: (jnp.array(3),),
        "has components 0 to 2, there is no other",
    ),
    BadValue(
        "negative component",
        lambda k: hm.condition_on(_model("hierarchy"), _natural("hierarchy"), k)[1],
        lambda: (jnp.array(-1),),
        "has components 0 to 2, there is no other",
    ),
    BadValue(
        "NaN latent",
        lambda z: _model("factor analysis").likelihood_at(_natural("factor analysis"), z),
        lambda: (jnp.array([jnp.nan, 0.0]),),
        r"latent is outside the support of Normal\(2",
    ),
]

JOINING = [
    BadValue(
        "join with a prior that a restricted posterior cannot accommodate",
        lambda prior: _restricted().join_conjugated(
            _restricted().likelihood_function(_natural("restricted factor analysis")),
            hm.Normal(2).from_mean_covariance(jnp.zeros(2), prior),
        ),
        lambda: (jnp.array(CORRELATED),),
        r"prior cannot be joined.*leave Normal\(2, Diagonal\(\)\). Use a fuller posterior",
    ),
    BadValue(
        "loadings with a prior that a restricted posterior cannot accommodate",
        lambda loadings: _restricted().from_loadings(
            loadings,
            jnp.zeros(4),
            jnp.ones(4),
            hm.Normal(2).from_mean_covariance(jnp.zeros(2), jnp.eye(2)),
        ),
        lambda: (jnp.ones((4, 2)),),
        "prior cannot be joined",
    ),
    BadValue(
        "levels of which the lower cannot accommodate the upper",
        lambda covariance: _model("restricted hierarchy").from_levels(
            _model("restricted hierarchy").lwr_hrm.initialize(_key()),
            _model("restricted hierarchy").prr_upr_hrm.from_components(
                batch_of(hm.Normal(2).from_mean_covariance(jnp.zeros(2), covariance)),
                [0.2, 0.3, 0.5],
            ),
        ),
        lambda: (jnp.array(CORRELATED),),
        "prior cannot be joined",
    ),
]

DATA = [
    BadValue("NaN data", _average, lambda: (_spoilt(2, jnp.nan),), NORMAL_DATA),
    BadValue("infinite data", _average, lambda: (_spoilt(2, -jnp.inf),), NORMAL_DATA),
    BadValue(
        "category out of range",
        hm.Categorical(3).average_sufficient_statistic,
        lambda: (jnp.array([0, 1, 3]),),
        CATEGORY_DATA,
    ),
    BadValue(
        "negative category",
        hm.Categorical(3).average_sufficient_statistic,
        lambda: (jnp.array([0, -1, 2]),),
        CATEGORY_DATA,
    ),
    BadValue(
        "joint data with a category out of range",
        lambda x, z: _model("mixture").average_sufficient_statistic(hm.Joint(x, z)),
        lambda: (_data(2), jnp.full(12, 3)),
        SUPPORT.format(r"Mixture\(Normal\(2, PositiveDefinite\(\)\), 3\)"),
    ),
    BadValue(
        "product data with NaN",
        lambda x, z: _model("product").initialize_from_sample(_key(), (x, z)),
        lambda: (_spoilt(2, jnp.nan), jnp.zeros(12, int)),
        NORMAL_DATA,
    ),
    BadValue("normal from NaN", _start("normal"), lambda: (_spoilt(2, jnp.nan),), NORMAL_DATA),
    BadValue(
        "categorical from categories out of range",
        _start("categorical"),
        lambda: (jnp.array([0, 1, 7]),),
        CATEGORY_DATA,
    ),
    BadValue(
        "replicated from NaN",
        _start("replicated"),
        lambda: (jnp.full((4, 3, 2), jnp.nan),),
        SUPPORT.format(r"Replicated\(Normal\(2.*3\)"),
    ),
    BadValue(
        "factor analysis from infinity",
        _start("factor analysis"),
        lambda: (_spoilt(4, jnp.inf),),
        SUPPORT.format(r"Normal\(4, Diagonal\(\)\)"),
    ),
    BadValue("mixture from NaN", _start("mixture"), lambda: (_spoilt(2, jnp.nan),), NORMAL_DATA),
    BadValue(
        "hierarchy from NaN",
        _start("hierarchy"),
        lambda: (_spoilt(4, jnp.nan),),
        SUPPORT.format(r"Normal\(4, Diagonal\(\)\)"),
    ),
    BadValue("EM on NaN", _em("mixture"), lambda: (_spoilt(2, jnp.nan),), NORMAL_DATA),
    BadValue(
        "EM of a hierarchy on infinity",
        _em("hierarchy"),
        lambda: (_spoilt(4, jnp.inf),),
        SUPPORT.format(r"Normal\(4, Diagonal\(\)\)"),
    ),
    BadValue(
        "condense NaN",
        lambda xs: hm.condense(_model("factor analysis"), xs),
        lambda: (_spoilt(4, jnp.nan),),
        SUPPORT.format(r"Normal\(4, Diagonal\(\)\)"),
    ),
    BadValue(
        "assign NaN",
        lambda xs: _model("mixture").assign(_natural("mixture"), xs),
        lambda: (_spoilt(2, jnp.nan),),
        NORMAL_DATA,
    ),
    BadValue("negative weights", _average, lambda: (_data(2), -jnp.ones(12)), WEIGHTS),
    BadValue("zero weights", _average, lambda: (_data(2), jnp.zeros(12)), WEIGHTS),
    BadValue("NaN weights", _average, lambda: (_data(2), jnp.full(12, jnp.nan)), WEIGHTS),
    BadValue("infinite weights", _average, lambda: (_data(2), jnp.full(12, jnp.inf)), WEIGHTS),
    BadValue(
        "EM with negative weights", _em("mixture"), lambda: (_data(2), -jnp.ones(12)), WEIGHTS
    ),
    BadValue(
        "density with zero weights",
        lambda xs, w: _model("mixture").average_log_observable_density(_natural("mixture"), xs, w),
        lambda: (_data(2), jnp.zeros(12)),
        WEIGHTS,
    ),
    BadValue(
        "condense with negative weights",
        lambda xs, w: hm.condense(_model("factor analysis"), xs, w),
        lambda: (_data(4), -jnp.ones(12)),
        WEIGHTS,
    ),
    BadValue(
        "EM on constant data",
        _em("mixture"),
        lambda: (jnp.ones((12, 2)),),
        "is degenerate: a covariance is singular.*Remove constant columns",
    ),
]


def _outside_domain(name: str) -> Any:
    """A mean point outside the mean domain: its second moments are negative."""
    mean = subject(name).mean
    location = mean.observable.location
    return eqx.tree_at(lambda m: m.observable.location, mean, 100 + location)


DUALITY = [
    BadValue(
        "numerical to_natural outside the domain of a restricted model",
        lambda mean: _restricted().to_natural(mean),
        lambda: (_outside_domain("restricted factor analysis"),),
        r"to_natural of LinearGaussianModel.*did not converge.*outside the mean domain.*Mix it",
    ),
    BadValue(
        "numerical to_natural outside the domain of a mixture",
        lambda mean: _model("mixture of diagonals").to_natural(mean),
        lambda: (_outside_domain("mixture of diagonals"),),
        r"to_natural of Mixture.*did not converge",
    ),
    BadValue(
        "numerical to_natural of NaN",
        lambda mean: _restricted().to_natural(mean),
        lambda: (subject("restricted factor analysis").mean * jnp.nan,),
        "did not converge",
    ),
]

TABLE = STANDARD + JOINING + DATA + DUALITY


@pytest.fixture(scope="module", autouse=True)
def kept_points():
    """Makes all points before any function is traced, as what is made in a trace can't be kept."""
    for name in MODELS:
        subject(name)


@pytest.mark.parametrize("bad", TABLE, ids=[bad.name for bad in TABLE])
def test_outside_of_compiled_functions(bad):
    arguments = bad.arguments()
    with pytest.raises(ValueError) as caught:
        bad.function(*arguments)
    assert re.search(bad.phrase, message_of(caught.value))


@pytest.mark.parametrize("bad", TABLE, ids=[bad.name for bad in TABLE])
def test_inside_compiled_functions(bad):
    arguments = bad.arguments()
    with pytest.raises(RuntimeError) as caught:
        eqx.filter_jit(bad.function)(*arguments)
    assert re.search(bad.phrase, message_of(caught.value))


@pytest.mark.parametrize("name", ["NaN data", "indefinite covariance", "negative weights"])
def test_inside_functions_compiled_by_jax_alone(name):
    """JAX wraps the error in a traceback, but the phrase is in it."""
    (bad,) = (bad for bad in TABLE if bad.name == name)
    with pytest.raises(RuntimeError) as caught:
        jax.block_until_ready(jax.jit(bad.function)(*bad.arguments()))
    with contextlib.suppress(RuntimeError):  # JAX would raise it once more when Python ends
        jax.effects_barrier()
    assert re.search(bad.phrase, message_of(caught.value))


def test_names_of_bad_values_are_unique():
    names = [bad.name for bad in TABLE]
    assert len(set(names)) == len(names)
