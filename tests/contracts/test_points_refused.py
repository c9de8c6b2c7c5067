"""Every public method refuses points in the wrong coordinates, of another manifold, and batches."""

import inspect
from typing import Any, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.contracts.subjects import MODELS, Subject, batch_of, message_of, subject

NATURAL, MEAN = hm.Coordinates.NATURAL, hm.Coordinates.MEAN
# Storage layouts and capabilities, each once; other covariance structures add nothing here.
POINTED = (
    "normal",
    "categorical",
    "product",
    "replicated",
    "factor analysis",
    "mixture",
    "hierarchy",
    "restricted hierarchy",
)


def _key() -> Any:
    return jax.random.key(0)


@jax.jit
def _initialize(model: Any, key: Any) -> Any:
    return model.initialize(key)


def _mask(family: Any) -> Any:
    """Everything is observed."""
    return jax.tree.map(lambda form: jnp.asarray(np.ones(form.shape, bool)), family.mask)


# For each public method that takes a point: the coordinates it wants, and a call with a point.
# The first table is what users call: it also refuses points of other manifolds, and batches.
CHECKED = {
    "ravel": (None, lambda s, p: s.model.ravel(p)),
    "check_single": (None, lambda s, p: s.model.check_single(p)),
    "log_partition_function": (NATURAL, lambda s, p: s.model.log_partition_function(p)),
    "to_mean": (NATURAL, lambda s, p: s.model.to_mean(p)),
    "to_natural": (MEAN, lambda s, p: s.model.to_natural(p)),
    "to_natural start": (NATURAL, lambda s, p: s.model.to_natural(s.mean, p)),
    "improve": (MEAN, lambda s, p: s.model.improve(p, s.natural)),
    "log_density": (NATURAL, lambda s, p: s.model.log_density(p, s.x)),
    "log_densities": (NATURAL, lambda s, p: s.model.log_densities(p, s.xs)),
    "average_log_density": (NATURAL, lambda s, p: s.model.average_log_density(p, s.xs)),
    "negative_entropy": (MEAN, lambda s, p: s.model.negative_entropy(p)),
    "relative_entropy first": (NATURAL, lambda s, p: s.model.relative_entropy(p, s.natural)),
    "relative_entropy second": (NATURAL, lambda s, p: s.model.relative_entropy(s.natural, p)),
    "fisher_product point": (NATURAL, lambda s, p: s.model.fisher_product(p, s.natural)),
    "fisher_product tangent": (NATURAL, lambda s, p: s.model.fisher_product(s.natural, p)),
    "fisher_matrix": (NATURAL, lambda s, p: s.model.fisher_matrix(p)),
    "check": (None, lambda s, p: s.model.check(p)),
    "evidence": (NATURAL, lambda s, p: s.model.evidence(p)),
    "in_domain": (NATURAL, lambda s, p: s.model.in_domain(p)),
    "sample": (NATURAL, lambda s, p: s.model.sample(_key(), p, (2,))),
    # normals and categoricals
    "mean": (NATURAL, lambda s, p: s.model.mean(p)),
    "covariance": (NATURAL, lambda s, p: s.model.covariance(p)),
    "probabilities": (NATURAL, lambda s, p: s.model.probabilities(p)),
    # harmoniums
    "likelihood_function": (NATURAL, lambda s, p: s.model.likelihood_function(p)),
    "likelihood_at": (NATURAL, lambda s, p: s.model.likelihood_at(p, s.x.latent)),
    "posterior_at": (NATURAL, lambda s, p: s.model.posterior_at(p, s.x.observable)),
    "gibbs_step": (NATURAL, lambda s, p: s.model.gibbs_step(_key(), p, s.x)),
    "prior": (NATURAL, lambda s, p: s.model.prior(p)),
    "join_conjugated likelihood": (
        NATURAL,
        lambda s, p: s.model.join_conjugated(p, s.model.prior(s.natural)),
    ),
    "join_conjugated prior": (
        NATURAL,
        lambda s, p: s.model.join_conjugated(s.model.likelihood_function(s.natural), p),
    ),
    "join_dominated likelihood": (
        NATURAL,
        lambda s, p: s.model.join_dominated(p, s.natural.latent),
    ),
    "join_dominated latent": (
        NATURAL,
        lambda s, p: s.model.join_dominated(s.model.likelihood_function(s.natural), p),
    ),
    "conjugation_parameters": (NATURAL, lambda s, p: s.model.conjugation_parameters(p)),
    "log_observable_density": (
        NATURAL,
        lambda s, p: s.model.log_observable_density(p, s.x.observable),
    ),
    "log_observable_densities": (
        NATURAL,
        lambda s, p: s.model.log_observable_densities(p, s.observed),
    ),
    "average_log_observable_density": (
        NATURAL,
        lambda s, p: s.model.average_log_observable_density(p, s.observed),
    ),
    "observable_sample": (NATURAL, lambda s, p: s.model.observable_sample(_key(), p)),
    "posterior_statistics": (
        NATURAL,
        lambda s, p: s.model.posterior_statistics(p, s.x.observable),
    ),
    "mean_posterior_statistics": (
        NATURAL,
        lambda s, p: s.model.mean_posterior_statistics(p, s.observed),
    ),
    "expectation": (NATURAL, lambda s, p: s.model.expectation(p, s.observed)),
    "maximization": (MEAN, lambda s, p: s.model.maximization(p, s.natural)),
    "expectation_maximization": (
        NATURAL,
        lambda s, p: s.model.expectation_maximization(p, s.observed),
    ),
    "expected_latents": (NATURAL, lambda s, p: s.model.expected_latents(p, s.observed)),
    "posterior_probabilities": (
        NATURAL,
        lambda s, p: s.model.posterior_probabilities(p, s.x.observable),
    ),
    "assign": (NATURAL, lambda s, p: s.model.assign(p, s.observed)),
    "standardize": (NATURAL, lambda s, p: s.model.standardize(p)),
    "push_forward": (NATURAL, lambda s, p: s.model.push_forward(p, None, None)),
    # partly observed data
    # models with standard parameters
    "transpose": (NATURAL, lambda s, p: s.model.transpose(p)),
    "loadings": (NATURAL, lambda s, p: s.model.loadings(p)),
    "from_loadings prior": (
        NATURAL,
        lambda s, p: s.model.from_loadings(jnp.ones((4, 2)), jnp.zeros(4), jnp.ones(4), p),
    ),
    "components": (NATURAL, lambda s, p: s.model.components(p)),
    "weights": (NATURAL, lambda s, p: s.model.weights(p)),
    "from_levels lower": (
        NATURAL,
        lambda s, p: s.model.from_levels(p, s.model.prior(s.natural)),
    ),
    "from_levels upper": (
        NATURAL,
        lambda s, p: s.model.from_levels(_initialize(s.model.lwr_hrm, _key()), p),
    ),
}
# Hooks that families implement and the methods above call: the annotations refuse the wrong
# coordinates, and the callers have checked the rest.
HOOKS = {
    "improve start": (NATURAL, lambda s, p: s.model.improve(s.mean, p)),
    "natural_start": (MEAN, lambda s, p: s.model.natural_start(p)),
    "start_near": (MEAN, lambda s, p: s.model.start_near(_key(), p)),
    "admits": (NATURAL, lambda s, p: s.model.admits(p)),
    "admits_mean": (MEAN, lambda s, p: s.model.admits_mean(p)),
    "log_partition_kernel": (NATURAL, lambda s, p: s.model.log_partition_kernel(p)),
    "sample_one": (NATURAL, lambda s, p: s.model.sample_one(_key(), p)),
    "likelihood_to_natural": (MEAN, lambda s, p: s.model.likelihood_to_natural(p)),
    "observable_at": (NATURAL, lambda s, p: s.model.observable_at(p, s.x.latent)),
    "components_of": (NATURAL, lambda s, p: s.model.components_of(p)),
    "loadings_of": (NATURAL, lambda s, p: s.model.loadings_of(p)),
    "mean_kernel": (NATURAL, lambda s, p: s.model.mean_kernel(p)),
    "natural_kernel": (MEAN, lambda s, p: s.model.natural_kernel(p)),
    "energy": (NATURAL, lambda s, p: s.model.energy(p, s.x)),
    "evidence_kernel": (NATURAL, lambda s, p: s.model.evidence_kernel(p, None, None)),
    "translated_evidence": (
        NATURAL,
        lambda s, p: s.model.translated_evidence(p, p, None, None),
    ),
    "message": (NATURAL, lambda s, p: s.model.message(p, None, None)),
    "condition": (NATURAL, lambda s, p: s.model.condition(p, None, None)),
    "mean_and_covariance": (NATURAL, lambda s, p: s.model.mean_and_covariance(p)),
    "join_components": (NATURAL, lambda s, p: s.model.join_components(p)),
    "component_sums": (MEAN, lambda s, p: s.model.component_sums(p)),
    "from_component_sums": (MEAN, lambda s, p: s.model.from_component_sums(p, jnp.ones(3) / 3)),
    "check_point": (None, lambda s, p: s.model.check_point(p)),
}
# Methods that assemble points from parts, which check them, or that take the dtype of any point.
ANY_POINT = {
    *("point", "make_likelihood", "check_form", "check_data"),
    "likelihood_from_rows",
}
# Observations of these can't be scaled or shifted, which is what their `push_forward` says.
UNSCALABLE = {
    (model, name) for model in ("categorical", "replicated") for name in ("push_forward",)
}
ALL = CHECKED | HOOKS


def _method(name: str) -> str:
    return name.split()[0]


def _cases(table: dict, *, coordinates: bool = False) -> list[Any]:
    return [
        pytest.param(model, name, id=f"{model}-{name}")
        for model in POINTED
        for name, (kind, _) in table.items()
        if hasattr(MODELS[model](), _method(name)) and not (coordinates and kind is None)
        if (model, name) not in UNSCALABLE or table is ALL
    ]


def _takes_points(function: Any) -> bool:
    kinds = (hm.Natural, hm.Mean, hm.geometry.Point)
    annotations = [p.annotation for p in inspect.signature(function).parameters.values()]
    return any(a in kinds or any(arg in kinds for arg in get_args(a)) for a in annotations)


@pytest.mark.parametrize("model", MODELS)
def test_tables_cover_every_public_method_that_takes_points(model):
    """A new method must be added to one of the tables above."""
    methods = inspect.getmembers(type(MODELS[model]()), inspect.isfunction)
    taking = {n for n, f in methods if not n.startswith("_") and _takes_points(f)}
    covered = {_method(name) for name in ALL} | ANY_POINT
    assert taking - covered == set()


def test_tables_name_no_method_that_does_not_exist():
    existing = {name for model in MODELS for name in dir(MODELS[model]())}
    assert {_method(name) for name in ALL} - existing == set()


@pytest.mark.parametrize(("model", "name"), _cases(ALL, coordinates=True))
def test_wrong_coordinates(model, name):
    s = subject(model)
    kind, call = ALL[name]
    wrong = s.point(kind.dual)
    with pytest.raises(TypeError) as caught:
        call(s, wrong)
    message = message_of(caught.value)
    assert {NATURAL: "Natural", MEAN: "Mean"}[kind] in message
    assert f"{kind.dual.value} point of {wrong.manifold}" in message


@pytest.mark.parametrize(("model", "name"), _cases(CHECKED))
def test_point_of_another_manifold(model, name):
    s = subject(model)
    kind, call = CHECKED[name]
    with pytest.raises(TypeError) as caught:
        call(s, s.stranger(kind or NATURAL))
    message = message_of(caught.value)
    assert "Normal(7" in message
    assert _expected_manifold(s, name) in message


def _expected_manifold(s: Subject, name: str) -> str:
    """The manifold that the message should name beside the stranger's."""
    own = {
        "join_conjugated likelihood": lambda m: m.lkl_man,
        "join_conjugated prior": lambda m: m.prr_man,
        "join_dominated likelihood": lambda m: m.lkl_man,
        "join_dominated latent": lambda m: m.pst_man,
        "conjugation_parameters": lambda m: m.lkl_man,
        "from_loadings prior": lambda m: m.prr_man,
        "from_levels lower": lambda m: m.lwr_hrm,
        "from_levels upper": lambda m: m.prr_upr_hrm,
    }.get(name, lambda m: m)
    return str(own(s.model))


@pytest.mark.parametrize(("model", "name"), _cases(CHECKED))
def test_batch_instead_of_a_single_point(model, name):
    s = subject(model)
    kind, call = CHECKED[name]
    point = {
        "join_conjugated likelihood": lambda: s.model.likelihood_function(s.natural),
        "join_conjugated prior": lambda: s.model.prior(s.natural),
        "join_dominated likelihood": lambda: s.model.likelihood_function(s.natural),
        "join_dominated latent": lambda: s.natural.latent,
        "conjugation_parameters": lambda: s.model.likelihood_function(s.natural),
        "from_loadings prior": lambda: s.model.prior(s.natural),
        "from_levels lower": lambda: _initialize(s.model.lwr_hrm, _key()),
        "from_levels upper": lambda: s.model.prior(s.natural),
    }.get(name, lambda: s.point(kind or NATURAL))()
    with pytest.raises(ValueError, match=r"(?s)batch.*\(3,\).*jax\.vmap"):
        call(s, batch_of(point))


@pytest.mark.parametrize("name", ["to_mean", "log_partition_function", "sample"])
def test_compiled_calls_refuse_the_same_points(name):
    s = subject("hierarchy")
    kind, call = CHECKED[name]
    compiled = eqx.filter_jit(lambda p: call(s, p))
    with pytest.raises(TypeError, match="mean point of Hierarchical"):
        compiled(s.point(kind.dual))
    with pytest.raises(TypeError, match="expected a point of Hierarchical"):
        compiled(s.stranger(kind))
