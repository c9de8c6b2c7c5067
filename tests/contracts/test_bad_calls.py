"""A table of bad calls: the error's type, and the phrase that says what is wrong or what to do."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from harmonium.harmoniums.embedding import embed_observable
from harmonium.harmoniums.marginals import joined_moments, select_component
from tests.contracts.subjects import batch_of, message_of, subject

NATURAL, MEAN = hm.Coordinates.NATURAL, hm.Coordinates.MEAN


class Bad(NamedTuple):
    """A bad call, its error and a pattern that the message contains, on one line."""

    name: str
    call: Callable[[], Any]
    error: type[Exception]
    phrase: str


def _key() -> Any:
    return jax.random.key(3)


def _natural(name: str) -> Any:
    return subject(name).natural


def _model(name: str) -> Any:
    return subject(name).model


def _normal() -> hm.Normal:
    return hm.Normal(2)


def _components(n: int) -> Any:
    return batch_of(_natural("normal"), n)


def _posterior(n: int, covariance: Any = None) -> hm.LinearGaussianModel:
    return hm.LinearGaussianModel(hm.Normal(4, hm.Diagonal()), hm.Normal(n, covariance))


def _vector(
    values: Any, manifold: Any, coordinates: hm.Coordinates = NATURAL
) -> hm.geometry.VectorPoint:
    return hm.geometry.VectorPoint(jnp.asarray(values), manifold, coordinates)


CONSTRUCTORS = [
    Bad("categorical of a float", lambda: hm.Categorical(2.5), TypeError, "n_categories.*2.5.*int"),
    Bad("categorical of nothing", lambda: hm.Categorical(0), ValueError, "at least one category"),
    Bad("normal of nothing", lambda: hm.Normal(0), ValueError, "at least one dimension, got 0"),
    Bad("normal of a string", lambda: hm.Normal("3"), TypeError, "data_dim.*'3'.*int"),
    Bad("normal of -1", lambda: hm.Normal(-1), ValueError, "at least one dimension, got -1"),
    Bad(
        "vectors of -1",
        lambda: hm.families.Euclidean(-1),
        ValueError,
        "at least one dimension, got -1",
    ),
    Bad(
        "covariance by name",
        lambda: hm.Normal(2, "diagonal"),
        TypeError,
        "covariance.*'diagonal'.*CovarianceStructure",
    ),
    Bad(
        "covariance class",
        lambda: hm.Normal(2, hm.Diagonal),
        TypeError,
        "covariance.*Expected type.*CovarianceStructure",
    ),
    Bad("no replicas", lambda: hm.Replicated(_normal(), 0), ValueError, "at least one replica"),
    Bad("empty product", lambda: hm.Product(), ValueError, "at least one family"),
    Bad(
        "product of a vector space",
        lambda: hm.Product(_normal(), hm.families.Euclidean(2)),
        TypeError,
        r"Euclidean\(2\).*Expected type.*Differentiable",
    ),
    Bad("no components", lambda: hm.Mixture(_normal(), 0), ValueError, "at least one component"),
    Bad("float components", lambda: hm.Mixture(_normal(), 2.0), TypeError, "n_components.*2.0"),
    Bad("mixture of a number", lambda: hm.Mixture(3, 3), TypeError, "obs_man.*Differentiable"),
    Bad(
        "mixed part of another family",
        lambda: hm.Mixture(_normal(), 3, hm.LocationEmbedding(hm.Normal(3))),
        TypeError,
        r"obs_emb embeds into Normal\(3.*components are in Normal\(2.*must be the same",
    ),
    Bad(
        "unit posterior",
        lambda: _posterior(2, hm.Identity()),
        TypeError,
        r"Identity\(\) covariance is not offered.*Use Scale\(\), Diagonal\(\)",
    ),
    Bad(
        "unit posterior of a hierarchy",
        lambda: hm.hierarchical_mixture_of_gaussians(4, 2, 3, pst_covariance=hm.Identity()),
        TypeError,
        r"Identity\(\) covariance is not offered",
    ),
    Bad("empty stack", lambda: hm.stack(), ValueError, "at least one harmonium"),
    Bad("stack of families", lambda: hm.stack(_normal()), TypeError, r"Normal\(2.*Conjugated"),
    Bad(
        "levels of different dimensions",
        lambda: hm.Hierarchical(_posterior(2), hm.Mixture(hm.Normal(3), 5)),
        TypeError,
        r"levels do not fit.*Normal\(2.*Normal\(3.*same dimension",
    ),
    Bad(
        "levels of different covariances",
        lambda: hm.stack(_posterior(2, hm.Diagonal()), hm.Mixture(hm.Normal(2), 5)),
        TypeError,
        r"Normal\(2, Diagonal\(\)\).*Normal\(2, PositiveDefinite\(\)\).*"
        r"posterior with PositiveDefinite\(\) covariance.*observable with Diagonal\(\)",
    ),
    Bad(
        "levels of different families",
        lambda: hm.stack(hm.Mixture(hm.Normal(4), 3), hm.Mixture(hm.Normal(3), 2)),
        TypeError,
        r"Categorical\(3\).*Normal\(3.*Use an upper harmonium over Categorical\(3\)",
    ),
    Bad(
        "levels upside down",
        lambda: hm.Hierarchical(hm.Mixture(hm.Normal(2), 5), _posterior(2)),
        TypeError,
        r"levels do not fit.*Categorical\(5\).*Normal\(4",
    ),
]

EMBEDDINGS = [
    Bad(
        "fuller into sparser",
        lambda: hm.families.NormalCovarianceEmbedding(hm.Normal(2), hm.Normal(2, hm.Scale())),
        TypeError,
        r"cannot embed Normal\(2, PositiveDefinite\(\)\) into Normal\(2, Scale\(\)\).*from Scale",
    ),
    Bad(
        "unit normals are no linear submanifold",
        lambda: hm.families.NormalCovarianceEmbedding(hm.Normal(2, hm.Identity()), hm.Normal(2)),
        TypeError,
        r"cannot embed Normal\(2, Identity\(\)\)",
    ),
    Bad(
        "normals of different lengths",
        lambda: hm.families.NormalCovarianceEmbedding(hm.Normal(2, hm.Diagonal()), hm.Normal(3)),
        TypeError,
        "different lengths",
    ),
    Bad(
        "composition that does not meet",
        lambda: hm.geometry.ComposedEmbedding(
            hm.LocationEmbedding(hm.Normal(2)), hm.LocationEmbedding(hm.Normal(3))
        ),
        TypeError,
        r"cannot compose.*Normal\(3.*Euclidean\(2\).*same manifold",
    ),
    Bad(
        "component out of range",
        lambda: hm.geometry.ComponentEmbedding(hm.geometry.Pair(_normal(), _normal()), 2),
        IndexError,
        "has 2 components.*no component 2",
    ),
    Bad(
        "harmonium embedding with another submanifold",
        lambda: hm.harmoniums.LatentHarmoniumEmbedding(
            hm.geometry.IdentityEmbedding(hm.Normal(3)), _model("mixture"), _model("mixture")
        ),
        TypeError,
        r"pst_obs_emb embeds Normal\(3.*pst_hrm is Normal\(2",
    ),
    Bad(
        "harmonium embedding with another ambient manifold",
        lambda: hm.harmoniums.LatentHarmoniumEmbedding(
            hm.families.NormalCovarianceEmbedding(hm.Normal(2, hm.Diagonal()), hm.Normal(2)),
            hm.Mixture(hm.Normal(2, hm.Diagonal()), 3),
            hm.Mixture(hm.Normal(2, hm.Diagonal()), 3),
        ),
        TypeError,
        r"pst_obs_emb embeds into Normal\(2, Pos.*prr_hrm is Normal\(2, Diag",
    ),
    Bad(
        "harmonium embedding with other latents",
        lambda: hm.harmoniums.LatentHarmoniumEmbedding(
            hm.geometry.IdentityEmbedding(_normal()),
            hm.Mixture(_normal(), 3),
            hm.Mixture(_normal(), 4),
        ),
        TypeError,
        r"same latent manifold, got Categorical\(3\) and Categorical\(4\)",
    ),
    Bad(
        "harmonium embedding with other interactions",
        lambda: hm.harmoniums.LatentHarmoniumEmbedding(
            hm.geometry.IdentityEmbedding(_normal()), _model("mixture"), _model("shared mixture")
        ),
        TypeError,
        "interactions between the same statistics",
    ),
    Bad(
        "project a natural point",
        lambda: hm.harmoniums.ObservableEmbedding(_model("mixture")).project(_natural("mixture")),
        TypeError,
        r"natural point of Mixture.*Mean",
    ),
    Bad(
        "embed a mean point",
        lambda: hm.harmoniums.ObservableEmbedding(_model("mixture")).embed(
            subject("mixture").mean.observable
        ),
        TypeError,
        r"mean point of Normal\(2.*Natural",
    ),
    Bad(
        "embed a point of another manifold",
        lambda: hm.LocationEmbedding(_normal()).embed(_natural("categorical")),
        TypeError,
        r"expected a point of Euclidean\(2\).*natural point of Categorical\(3\)",
    ),
    Bad(
        "embed an observable that does not fit",
        lambda: embed_observable(
            _model("factor analysis"),
            hm.families.NormalCovarianceEmbedding(hm.Normal(3, hm.Diagonal()), hm.Normal(3)),
        ),
        TypeError,
        r"embedding of Normal\(4, Diagonal\(\)\), got one of Normal\(3, Diagonal",
    ),
    Bad(
        "embed a mixture's observable that does not fit",
        lambda: embed_observable(
            _model("mixture"),
            hm.families.NormalCovarianceEmbedding(hm.Normal(3, hm.Diagonal()), hm.Normal(3)),
        ),
        TypeError,
        r"Normal\(2.*Normal\(3",
    ),
]

POINTS = [
    Bad(
        "vector of the wrong length",
        lambda: _vector([0.0, 1.0, 2.0], hm.Categorical(3)),
        ValueError,
        r"the values of a point of Categorical\(3\) must have .*\(\*batch, 2\), got \(3,\)",
    ),
    Bad(
        "vector without axes",
        lambda: _vector(1.0, hm.Categorical(2)),
        ValueError,
        r"the values of .* must have the shape \(\*batch, 1\), got \(\)",
    ),
    Bad(
        "location of the wrong length",
        lambda: hm.families.LocationShape(jnp.zeros(3), jnp.eye(2), _normal(), NATURAL),
        ValueError,
        r"the location of .* must have the shape \(\*batch, 2\), got \(3,\)",
    ),
    Bad(
        "shape of another structure",
        lambda: hm.families.LocationShape(jnp.zeros(2), jnp.ones(2), _normal(), NATURAL),
        ValueError,
        r"the shape of .* must have the shape \(\*batch, 2, 2\), got \(2,\)",
    ),
    Bad(
        "inconsistent batch axes of a normal",
        lambda: hm.families.LocationShape(
            jnp.zeros((5, 2)), jnp.zeros((4, 2, 2)), _normal(), NATURAL
        ),
        ValueError,
        "same batch axes",
    ),
    Bad(
        "complex leaves",
        lambda: _vector([0j, 1j], hm.Categorical(3)),
        TypeError,
        "leaves of a point are real numbers, got complex",
    ),
    Bad(
        "coordinates by name",
        lambda: hm.geometry.VectorPoint(jnp.zeros(2), hm.Categorical(3), "natural"),
        TypeError,
        "coordinates.*'natural'.*Coordinates",
    ),
    Bad(
        "inconsistent batch axes of a harmonium",
        lambda: _model("mixture").point(
            batch_of(_natural("mixture").observable),
            _natural("mixture").interaction,
            _natural("mixture").latent,
        ),
        ValueError,
        "different batch axes",
    ),
    Bad(
        "parts of other manifolds",
        lambda: _model("mixture").point(
            _natural("mixture").observable,
            _natural("mixture").interaction,
            hm.Categorical(4).zeros(),
        ),
        TypeError,
        r"consists of points of .*Categorical\(3\); got points of .*Categorical\(4\)",
    ),
    Bad(
        "parts in other coordinates",
        lambda: _model("mixture").point(
            _natural("mixture").observable,
            _natural("mixture").interaction,
            subject("mixture").mean.latent,
        ),
        TypeError,
        r"consists of natural points, got \['natural', 'natural', 'mean'\]",
    ),
    Bad(
        "too few components of a product",
        lambda: hm.geometry.ProductPoint((_natural("normal"),), _model("product"), NATURAL),
        TypeError,
        r"consists of points of Normal\(2.*Categorical\(3\); got points of Normal\(2",
    ),
    Bad(
        "replicas of another number",
        lambda: hm.exponential_family.ReplicatedPoint(
            _components(4), _model("replicated"), NATURAL
        ),
        ValueError,
        r"3.*got.*\(4,\)",
    ),
    Bad(
        "rows of another number",
        lambda: hm.geometry.LinearMapPoint((_components(4),), _model("mixture").int_man, NATURAL),
        ValueError,
        r"rows with batch axes \(\*batch, 2\), got \(4,\)",
    ),
    Bad(
        "natural + mean",
        lambda: _natural("normal") + subject("normal").mean,
        TypeError,
        r"cannot add a natural and a mean point of Normal\(2.*to_mean or to_natural",
    ),
    Bad(
        "points of different manifolds",
        lambda: _natural("normal") - _natural("categorical"),
        TypeError,
        r"cannot subtract points of different manifolds: Normal\(2.*Categorical\(3\).*Embed",
    ),
    Bad(
        "points of different covariance structures",
        lambda: _natural("normal") + _natural("diagonal normal"),
        TypeError,
        r"PositiveDefinite\(\).*Diagonal\(\).*Embed",
    ),
    Bad(
        "a batch plus a point",
        lambda: _components(3) + _natural("normal"),
        ValueError,
        r"batch axes, \(3,\) and \(\).*jax\.vmap",
    ),
    Bad("point + number", lambda: _natural("normal") + 1, TypeError, "only add a point and a p"),
    Bad("number + point", lambda: 1 + _natural("normal"), TypeError, "only add a point and a p"),
    Bad("number - point", lambda: 1 - _natural("normal"), TypeError, "only subtract a point"),
    Bad("sum of points", lambda: sum(_components(3)), TypeError, "functools.reduce"),
    Bad(
        "point * point",
        lambda: _natural("normal") * _natural("normal"),
        TypeError,
        "multiplied or divided by a scalar, got natural point of Normal",
    ),
    Bad(
        "point * vector",
        lambda: _components(3) * jnp.ones(3),
        TypeError,
        r"scalar, got f\w*\[3\].*jax\.vmap\(lambda p, c: p \* c\)",
    ),
    Bad(
        "dot of two naturals",
        lambda: hm.dot(_natural("normal"), _natural("normal")),
        TypeError,
        r"natural with a mean point, got two natural points of Normal\(2.*to_mean or to_nat",
    ),
    Bad(
        "dot of different manifolds",
        lambda: hm.dot(_natural("normal"), subject("categorical").mean),
        TypeError,
        r"one manifold, got points of Normal\(2.*Categorical\(3\)",
    ),
    Bad(
        "dot of batches",
        lambda: hm.dot(_components(3), batch_of(subject("normal").mean)),
        ValueError,
        r"single points, got batches of shape \(3,\). Use jax\.vmap\(hm\.dot\)",
    ),
    Bad("dot of arrays", lambda: hm.dot(jnp.ones(2), jnp.ones(2)), TypeError, "first.*Point"),
    Bad("index of a single point", lambda: _natural("normal")[0], TypeError, "not a batch"),
    Bad("index out of range", lambda: _components(3)[3], IndexError, "index 3 is out of bounds"),
    Bad(
        "NumPy index out of range",
        lambda: _components(3)[np.int64(-4)],
        IndexError,
        "index -4 is out of bounds",
    ),
    Bad(
        "array index out of range",
        lambda: _components(3)[jnp.array([0, 5])],
        IndexError,
        "index 5 is out of bounds",
    ),
    Bad("index into a leaf", lambda: _components(3)[0, 0], IndexError, "along its batch axes"),
    Bad("ellipsis", lambda: _components(3)[..., 0], IndexError, "along its batch axes"),
    Bad("index by name", lambda: _components(3)["a"], IndexError, "integers, slices or arrays"),
    Bad(
        "unravel with coordinates by name",
        lambda: _normal().unravel(jnp.ones(5), "mean"),
        TypeError,
        "coordinates.*'mean'.*Coordinates",
    ),
    Bad(
        "unravel of another length",
        lambda: _normal().unravel(jnp.ones(4)),
        (TypeError, ValueError),
        r"vector.*f\w*\[4\].*Float\[.*self\.dim",
    ),
    Bad("unravel of a list", lambda: _normal().unravel([1.0] * 5), TypeError, "vector.*Float"),
    Bad(
        "zeros with coordinates by name",
        lambda: _normal().zeros("natural"),
        TypeError,
        "coordinates.*'natural'.*Coordinates",
    ),
    Bad("a number for a point", lambda: _normal().to_mean(3.0), TypeError, "point.*3.0.*Natural"),
    Bad(
        "a vector for a point",
        lambda: _normal().to_mean(jnp.ones(5)),
        TypeError,
        r"point.*f\w*\[5\].*Natural",
    ),
]


def _xs(*shape: int) -> Any:
    return jnp.asarray(np.ones(shape))


@jax.jit
def _initialize(model: Any, key: Any) -> Any:
    return model.initialize(key)


def _start(model: Any) -> Any:
    """A random point, made by one program."""
    return _initialize(model, _key())


def _average(xs: Any, *args: Any) -> Any:
    return _normal().average_sufficient_statistic(xs, *args)


def _em(name: str, xs: Any, *args: Any) -> Any:
    return _model(name).expectation_maximization(_natural(name), xs, *args)


DATA = [
    Bad("too wide", lambda: _average(_xs(5, 3)), ValueError, r"shape \(N, 2\); got.*\(5, 3\)"),
    Bad("one observation", lambda: _average(_xs(2)), ValueError, r"single one.*x\[None\]"),
    Bad("rank 3", lambda: _average(_xs(1, 5, 2)), ValueError, r"\(N, 2\); got.*\(1, 5, 2\)"),
    Bad("empty", lambda: _average(_xs(0, 2)), ValueError, r"at least one observation.*N = 0"),
    Bad("no data", lambda: _average(None), TypeError, "real numbers.*got NoneType"),
    Bad("text", lambda: _average("data"), TypeError, "real numbers.*got str 'data'"),
    Bad("text array", lambda: _average(np.array([["a", "b"]])), TypeError, "real.*got ndarray"),
    Bad("objects", lambda: _average(np.array([[1, None]])), TypeError, "real.*object"),
    Bad("ragged lists", lambda: _average([[1.0, 2.0], [3.0]]), TypeError, r"got list \[\[1.0"),
    Bad("booleans", lambda: _average(_xs(5, 2) > 0), TypeError, r"got bool.*astype\(float\)"),
    Bad(
        "complex",
        lambda: _average(_xs(5, 2).astype(complex)),
        TypeError,
        "real numbers.*got complex",
    ),
    Bad(
        "a batch where one belongs",
        lambda: _normal().log_density(_natural("normal"), _xs(5, 2)),
        ValueError,
        r"an observation.*\(2,\); got.*\(5, 2\).*jax\.vmap",
    ),
    Bad(
        "an observation of another length",
        lambda: _normal().sufficient_statistic(_xs(3)),
        ValueError,
        r"shape \(2,\); got.*\(3,\)",
    ),
    Bad(
        "density of data too wide",
        lambda: _model("mixture").log_observable_densities(_natural("mixture"), _xs(5, 4)),
        ValueError,
        r"Normal\(2.*shape \(N, 2\); got.*\(5, 4\)",
    ),
    Bad(
        "density of a batch",
        lambda: _model("hierarchy").log_observable_density(_natural("hierarchy"), _xs(5, 4)),
        ValueError,
        r"\(4,\); got.*\(5, 4\).*jax\.vmap",
    ),
    Bad(
        "posterior of data too wide",
        lambda: _model("hierarchy").posterior_at(_natural("hierarchy"), _xs(3)),
        ValueError,
        r"\(4,\); got.*\(3,\)",
    ),
    Bad(
        "posterior probabilities of a batch",
        lambda: _model("hierarchy").posterior_probabilities(_natural("hierarchy"), _xs(5, 4)),
        ValueError,
        r"\(4,\); got.*\(5, 4\).*jax\.vmap",
    ),
    Bad("EM of data too wide", lambda: _em("mixture", _xs(5, 3)), ValueError, r"got.*\(5, 3\)"),
    Bad("EM of no data", lambda: _em("mixture", _xs(0, 2)), ValueError, "at least one observ"),
    Bad(
        "start from data too wide",
        lambda: _model("hierarchy").initialize_from_sample(_key(), _xs(5, 3)),
        ValueError,
        r"\(N, 4\); got.*\(5, 3\)",
    ),
    Bad(
        "float categories",
        lambda: _model("categorical").average_sufficient_statistic(jnp.ones(4)),
        TypeError,
        r"Categorical\(3\): integers of shape \(N,\); got float.*astype\(int\)",
    ),
    Bad(
        "one float category",
        lambda: _model("categorical").log_density(_natural("categorical"), 1.0),
        TypeError,
        r"integers of shape \(\); got float.*astype\(int\)",
    ),
    Bad(
        "one-hot categories",
        lambda: _model("categorical").initialize_from_sample(_key(), jnp.eye(3, dtype=int)),
        ValueError,
        r"integers of shape \(N,\); got int.*\(3, 3\)",
    ),
    Bad(
        "float latent category",
        lambda: _model("mixture").likelihood_at(_natural("mixture"), 1.0),
        TypeError,
        "integers",
    ),
    Bad(
        "joint sample that is none",
        lambda: _model("mixture").log_density(_natural("mixture"), _xs(2)),
        TypeError,
        r"Mixture.*Joint\(observable=real numbers of shape \(2,\), latent=integers of shape \(\)\)",
    ),
    Bad(
        "joint sample as a plain tuple",
        lambda: _model("mixture").log_density(_natural("mixture"), (_xs(2), 0)),
        TypeError,
        r"Joint\(observable=.*got tuple",
    ),
    Bad(
        "joint sample with parts exchanged",
        lambda: _model("mixture").sufficient_statistic(hm.Joint(0, _xs(2))),
        ValueError,
        r"Joint\(observable=.*got int",
    ),
    Bad(
        "joint sample too shallow",
        lambda: _model("hierarchy").log_density(_natural("hierarchy"), hm.Joint(_xs(4), _xs(2))),
        TypeError,
        r"latent=Joint\(observable=real numbers of shape \(2,\), latent=integers.*got Joint",
    ),
    Bad(
        "joint batch of different lengths",
        lambda: _model("mixture").average_sufficient_statistic(
            hm.Joint(_xs(5, 2), jnp.zeros(4, int))
        ),
        ValueError,
        r"one leading axis of length N in all its arrays, got shapes \[\(5, 2\), \(4,\)\]",
    ),
    Bad(
        "Gibbs step from a latent alone",
        lambda: _model("mixture").gibbs_step(_key(), _natural("mixture"), 0),
        TypeError,
        r"Joint\(observable=",
    ),
    Bad(
        "product sample with a part missing",
        lambda: _model("product").log_density(_natural("product"), (_xs(2),)),
        TypeError,
        r"\(real numbers of shape \(2,\), integers of shape \(\)\); got tuple",
    ),
    Bad(
        "replicas of another number in data",
        lambda: _model("replicated").average_sufficient_statistic(_xs(5, 2, 2)),
        ValueError,
        r"\(N, 3, 2\); got.*\(5, 2, 2\)",
    ),
    Bad("too few weights", lambda: _average(_xs(5, 2), _xs(4)), ValueError, "each of 5 observ"),
    Bad("column of weights", lambda: _average(_xs(5, 2), _xs(5, 1)), ValueError, r"\(5, 1\)"),
    Bad("batch size 0", lambda: _average(_xs(5, 2), None, 0), ValueError, "batch_size of at least"),
    Bad("float batch size", lambda: _average(_xs(5, 2), None, 2.5), TypeError, "batch_size.*2.5"),
    Bad(
        "condense data too wide",
        lambda: hm.condense(_model("factor analysis"), _xs(5, 3)),
        ValueError,
        r"\(N, 4\); got.*\(5, 3\)",
    ),
]

STANDARD = [
    Bad(
        "mean of another length",
        lambda: _normal().from_mean_covariance(_xs(3), jnp.eye(2)),
        ValueError,
        r"the mean of Normal\(2.*shape \(2,\), got one of \(3,\)",
    ),
    Bad(
        "variances for a full covariance",
        lambda: _normal().from_mean_covariance(_xs(2), _xs(2)),
        ValueError,
        r"the covariance of Normal\(2.*shape \(2, 2\), got one of \(2,\)",
    ),
    Bad(
        "matrix for variances",
        lambda: hm.Normal(2, hm.Diagonal()).from_mean_covariance(_xs(2), jnp.eye(2)),
        ValueError,
        r"Diagonal\(\)\) must be.*shape \(2,\), got one of \(2, 2\)",
    ),
    Bad(
        "no covariance",
        lambda: _normal().from_mean_covariance(_xs(2)),
        TypeError,
        r"covariance.*\(2, 2\), got None",
    ),
    Bad(
        "covariance of unit normals",
        lambda: hm.Normal(2, hm.Identity()).from_mean_covariance(_xs(2), jnp.eye(2)),
        ValueError,
        r"unit covariance: pass None",
    ),
    Bad(
        "text for a mean",
        lambda: _normal().from_mean_covariance("ab", jnp.eye(2)),
        TypeError,
        "the mean.*real numbers.*got 'ab'",
    ),
    Bad(
        "too few probabilities",
        lambda: hm.Categorical(3).from_probabilities([0.5, 0.5]),
        ValueError,
        r"probabilities of Categorical\(3\).*\(3,\), got one of \(2,\)",
    ),
    Bad(
        "loadings transposed",
        lambda: _model("factor analysis").from_loadings(_xs(2, 4), _xs(4), _xs(4)),
        ValueError,
        r"loadings \(observable x latent\).*\(4, 2\), got one of \(2, 4\)",
    ),
    Bad(
        "noise of another shape",
        lambda: _model("factor analysis").from_loadings(_xs(4, 2), _xs(4), jnp.eye(4)),
        ValueError,
        r"covariance of Normal\(4, Diagonal.*\(4,\), got one of \(4, 4\)",
    ),
    Bad(
        "components of another number",
        lambda: _model("mixture").from_components(_components(2), [0.2, 0.3, 0.5]),
        ValueError,
        r"3 components, got a batch of shape \(2,\)",
    ),
    Bad(
        "mean components",
        lambda: _model("mixture").from_components(
            batch_of(subject("normal").mean), [0.2, 0.3, 0.5]
        ),
        TypeError,
        "natural points, not mean points: to_natural",
    ),
    Bad(
        "components of another family",
        lambda: _model("mixture").from_components(
            batch_of(_natural("categorical")), [0.2, 0.3, 0.5]
        ),
        TypeError,
        r"expected a point of Normal\(2.*Categorical\(3\)",
    ),
    Bad(
        "components that are arrays",
        lambda: _model("mixture").from_components(_xs(3, 2), [0.2, 0.3, 0.5]),
        TypeError,
        "expected points, got",
    ),
    Bad(
        "no components given",
        lambda: _model("mixture").from_components([], [0.2, 0.3, 0.5]),
        ValueError,
        "at least one point, got none",
    ),
    Bad(
        "components of different families",
        lambda: _model("mixture").from_components(
            [_natural("normal"), _natural("diagonal normal"), _natural("normal")], [0.2, 0.3, 0.5]
        ),
        TypeError,
        r"cannot stack points of different manifolds: .*Normal\(2, Diagonal",
    ),
    Bad(
        "levels of other models",
        lambda: _model("hierarchy").from_levels(_natural("mixture"), _natural("mixture")),
        TypeError,
        r"expected a point of LinearGaussianModel.*natural point of Mixture",
    ),
    Bad(
        "scale of a diagonal normal by a matrix",
        lambda: hm.Normal(2, hm.Diagonal()).push_forward(
            _natural("diagonal normal"), jnp.eye(2), None
        ),
        ValueError,
        r"Diagonal\(\) covariance admits scales of shape \(\) or \(2,\), got \(2, 2\).*fuller",
    ),
    Bad(
        "scale of an isotropic normal by a vector",
        lambda: hm.Normal(2, hm.Scale()).push_forward(_natural("isotropic normal"), _xs(2), None),
        ValueError,
        r"Scale\(\) covariance admits scales of shape \(\), got \(2,\)",
    ),
    Bad(
        "scale of a unit normal",
        lambda: hm.Normal(2, hm.Identity()).push_forward(_natural("unit normal"), 2.0, None),
        ValueError,
        r"shifts only.*Pass scale=None, or use Scale",
    ),
    Bad(
        "scale of factor analysis by a matrix",
        lambda: _model("factor analysis").push_forward(
            _natural("factor analysis"), jnp.eye(4), None
        ),
        ValueError,
        r"Diagonal\(\) covariance admits scales",
    ),
    Bad(
        "scale of a normal by a matrix of another size",
        lambda: _normal().push_forward(_natural("normal"), jnp.eye(3), None),
        ValueError,
        r"admits scales of shape .*\(2, 2\), got \(3, 3\)",
    ),
    Bad(
        "shift of another length",
        lambda: _normal().push_forward(_natural("normal"), None, _xs(3)),
        ValueError,
        r"a shift of Normal\(2.*shape \(2,\), got one of \(3,\)",
    ),
    Bad(
        "scale by zero",
        lambda: _normal().push_forward(_natural("normal"), 0.0, None),
        ValueError,
        "scale must be invertible",
    ),
    Bad(
        "shift by NaN",
        lambda: _normal().push_forward(_natural("normal"), None, [0.0, jnp.nan]),
        ValueError,
        "the shift finite",
    ),
    Bad(
        "scale of categories",
        lambda: _model("categorical").push_forward(_natural("categorical"), 2.0, None),
        TypeError,
        r"Categorical\(3\) cannot be scaled and shifted",
    ),
    Bad(
        "posterior probabilities without a mixture",
        lambda: _model("factor analysis").posterior_probabilities(
            _natural("factor analysis"), _xs(4)
        ),
        TypeError,
        r"no categorical latent variable at its top.*Put a hm\.Mixture on top",
    ),
    Bad(
        "assignments without a mixture",
        lambda: _model("factor analysis").assign(_natural("factor analysis"), _xs(5, 4)),
        TypeError,
        r"Put a hm\.Mixture on top",
    ),
    Bad(
        "latent manifold of an asymmetric model",
        lambda: _model("restricted hierarchy").lat_man,
        TypeError,
        "differ: ask for pst_man or prr_man",
    ),
    Bad("sample of 5.0", lambda: _sample(5.0), TypeError, r"shape.*5.0.*tuple\[int"),
    Bad("sample of [5.0]", lambda: _sample([5.0]), TypeError, r"shape.*5.0.*tuple\[int"),
    Bad("sample of (-1,)", lambda: _sample((-1,)), ValueError, r"not negative, got \(-1,\)"),
    Bad("number for a key", lambda: _normal().initialize(0.5), TypeError, "key.*Actual value: 0.5"),
    Bad(
        "keys for a key",
        lambda: _normal().initialize(jax.random.split(_key(), 3)),
        TypeError,
        r"key.*key<fry>\[3\]",
    ),
]


def _two_tops() -> Any:
    return hm.stack(hm.Mixture(_normal(), 3), hm.Mixture(hm.Categorical(3), 2))


def _divergence(first: str, second: str, estimate: bool = False) -> Any:
    model, other = _model(first), _model(second)
    if estimate:
        return hm.estimate_observable_relative_entropy(
            _key(), model, _natural(first), _natural(second), 4, other
        )
    return hm.observable_relative_entropy(model, _natural(first), _natural(second), other)


MARGINALS = [
    Bad(
        "component of a model without a mixture",
        lambda: hm.condition_on(_model("factor analysis"), _natural("factor analysis"), 0),
        TypeError,
        r"no categorical latent variable at its top.*Put a hm\.Mixture on top",
    ),
    Bad(
        "select a component of a model without a mixture",
        lambda: select_component(_model("factor analysis"), _natural("factor analysis"), 0),
        TypeError,
        "no categorical latent variable at its top",
    ),
    Bad(
        "component 1.0",
        lambda: hm.condition_on(_model("mixture"), _natural("mixture"), 1.0),
        TypeError,
        r"Categorical\(3\).*integers",
    ),
    Bad(
        "several components at once",
        lambda: hm.condition_on(_model("mixture"), _natural("mixture"), jnp.arange(2)),
        ValueError,
        r"Categorical\(3\)",
    ),
    Bad(
        "marginal of counts beside vectors",
        lambda: _marginal(hm.Beside(_posterior(2), hm.Mixture(hm.Poisson(), 2))),
        TypeError,
        r"likelihood of Mixture\(Poisson.*not linear.*log_observable_density and.*are exact",
    ),
    Bad(
        "marginal of a mixture of categories",
        lambda: _marginal(_two_tops()),
        TypeError,
        "the observables have a mixture again.*log_observable_density and.*are exact",
    ),
    Bad(
        "counts joined with vectors",
        lambda: joined_moments(
            hm.Product(_normal(), hm.Poisson()), _start(hm.Product(_normal(), hm.Poisson()))
        ),
        TypeError,
        r"Poisson\(\) is neither a normal nor made of normals",
    ),
    Bad(
        "exact divergence of mixtures",
        lambda: _divergence("mixture", "mixture"),
        TypeError,
        "no closed form, as they are mixtures. Use estimate_observable_relative_entropy",
    ),
    Bad(
        "exact divergence from a mixture",
        lambda: _divergence("factor analysis", "hierarchy"),
        TypeError,
        "no closed form, as they are mixtures. Use estimate_observable_relative_entropy",
    ),
    Bad(
        "divergence of vectors of different lengths",
        lambda: hm.observable_relative_entropy(
            hm.factor_analysis(3, 1),
            _start(hm.factor_analysis(3, 1)),
            _natural("factor analysis"),
            _model("factor analysis"),
        ),
        TypeError,
        r"models of the same observables.*Normal\(3.*Normal\(4",
    ),
    Bad(
        "estimated divergence of vectors of different lengths",
        lambda: _divergence("mixture", "hierarchy", estimate=True),
        TypeError,
        r"models of the same observables.*Normal\(2.*Normal\(4",
    ),
    Bad(
        "divergence from a family",
        lambda: hm.observable_relative_entropy(
            _model("mixture"), _natural("mixture"), _natural("normal"), _normal()
        ),
        TypeError,
        r"another conjugated harmonium.*got Normal\(2.*A family is one as hm\.Mixture",
    ),
    Bad(
        "estimate of one sample",
        lambda: hm.estimate_observable_relative_entropy(
            _key(), _model("mixture"), _natural("mixture"), _natural("mixture"), 1
        ),
        ValueError,
        "at least two samples, got 1",
    ),
]


def _marginal(model: Any) -> Any:
    return hm.observable_distribution(model, _start(model))


def _sample(shape: Any) -> Any:
    return _normal().sample(_key(), _natural("normal"), shape)


def _records() -> hm.Mixture:
    return hm.Mixture(hm.Product(_normal(), hm.Categorical(3)), 2)


def _partial(observed: Any) -> Any:
    """Vectors of length 2, three of them, under a mixture."""
    model = _model("mixture")
    return model.log_observable_densities(_natural("mixture"), np.ones((3, 2)), observed=observed)


def _partial_records(observed: Any) -> Any:
    return hm.group_observations(_records(), (np.ones((3, 2)), np.zeros(3, int)), observed)


def _impute(xs: Any, observed: Any, *args: Any) -> Any:
    return hm.impute(_model("mixture"), _natural("mixture"), xs, observed, *args)


PARTIAL = [
    Bad(
        "mask of numbers",
        lambda: _partial(np.ones((3, 2))),
        TypeError,
        r"truth values.*\(N, 2\).*got float64.*for NaN as missing pass ~numpy\.isnan",
    ),
    Bad(
        "one mask for many observations",
        lambda: _partial(np.ones(2, bool)),
        ValueError,
        r"truth values of shapes.*of Normal\(2.*got shape \(2,\)",
    ),
    Bad(
        "mask of whole observations",
        lambda: _partial(np.ones(3, bool)),
        ValueError,
        r"got shape \(3,\)",
    ),
    Bad(
        "mask of longer vectors",
        lambda: _partial(np.ones((3, 4), bool)),
        ValueError,
        r"got shape \(3, 4\)",
    ),
    Bad(
        "fewer masks than observations",
        lambda: _partial(np.ones((2, 2), bool)),
        ValueError,
        "a mask for each of 3 observations, got 2",
    ),
    Bad("mask of text", lambda: _partial("all"), TypeError, "truth values.*got str"),
    Bad(
        "one mask for a product",
        lambda: _partial_records(np.ones((3, 2), bool)),
        TypeError,
        r"truth values of shapes \('\(N, 2\)', '\(N\)'\).*got ndarray",
    ),
    Bad(
        "masks of too many parts",
        lambda: _partial_records((np.ones((3, 2), bool), np.ones(3, bool), np.ones(3, bool))),
        TypeError,
        "truth values.*got tuple",
    ),
    Bad(
        "mask of categories one by one",
        lambda: _partial_records((np.ones((3, 2), bool), np.ones((3, 3), bool))),
        ValueError,
        r"got shape \(3, 3\)",
    ),
    Bad(
        "batch of masks for one observation",
        lambda: _model("mixture").posterior_at(
            _natural("mixture"), np.ones(2), observed=np.ones((1, 2), bool)
        ),
        ValueError,
        r"got shape \(1, 2\)",
    ),
    Bad(
        "imputation by a family",
        lambda: hm.impute(_normal(), _natural("normal"), np.ones((3, 2)), np.ones((3, 2), bool)),
        TypeError,
        r"impute.*Normal\(2.*Conjugated",
    ),
    Bad(
        "several expectations",
        lambda: _impute(np.ones((3, 2)), np.ones((3, 2), bool), None, (4,)),
        ValueError,
        r"expectations have no shape, got \(4,\)\. Pass a key",
    ),
    Bad(
        "imputation with one mask",
        lambda: _impute(np.ones((3, 2)), np.ones(2, bool)),
        ValueError,
        r"got shape \(2,\)",
    ),
    Bad(
        "draws with one mask",
        lambda: _impute(np.ones((3, 2)), np.ones(2, bool), _key()),
        ValueError,
        r"got shape \(2,\)",
    ),
    Bad(
        "draws with fewer masks",
        lambda: _impute(np.ones((3, 2)), np.ones((2, 2), bool), _key()),
        ValueError,
        "a mask for each of 3 observations, got 2",
    ),
    Bad(
        "imputation of longer vectors",
        lambda: _impute(np.ones((3, 4)), np.ones((3, 4), bool)),
        ValueError,
        r"expected a batch of observations of Normal\(2.*\(3, 4\)",
    ),
    Bad(
        "draws of longer vectors",
        lambda: _impute(np.ones((3, 4)), np.ones((3, 4), bool), _key()),
        ValueError,
        r"expected a batch of observations of Normal\(2.*\(3, 4\)",
    ),
]

TABLE = CONSTRUCTORS + EMBEDDINGS + POINTS + DATA + STANDARD + MARGINALS + PARTIAL


@pytest.mark.parametrize("bad", TABLE, ids=[bad.name for bad in TABLE])
def test_bad_call(bad):
    with pytest.raises(bad.error) as caught:
        bad.call()
    assert isinstance(caught.value, bad.error)
    assert _contains(message_of(caught.value), bad.phrase)


def _contains(message: str, phrase: str) -> bool:
    return re.search(phrase, message) is not None


def test_names_of_bad_calls_are_unique():
    names = [bad.name for bad in TABLE]
    assert len(set(names)) == len(names)
