"""Conjugation, and what follows from it: joins, standard latents, affine maps, small samples."""

import jax
import jax.numpy as jnp
import numpy as np

import harmonium as hm
from tests.laws.cases import (
    CONJUGATED,
    CONJUGATED_KINDS,
    KINDS,
    N_DATA,
    SOLVED_KINDS,
    is_conjugated,
    names_where,
    over,
)


def _both_sides(given):
    model, point = given.model, given.point
    rho, chi = model.conjugation_parameters(model.likelihood_function(point))

    def one(latent):
        left = model.obs_man.log_partition_function(model.likelihood_at(point, latent))
        return left, hm.dot(rho, model.prr_man.sufficient_statistic(latent)) + chi

    return jax.vmap(one)(given.xs.latent)


@over(CONJUGATED, _both_sides)
def test_the_log_partition_of_the_likelihood_is_linear_in_the_latent_statistic(case, found):
    left, right = found
    assert np.ptp(left) > 1e-3
    case.close(right, left, 3e2)


def _rejoined(given):
    model, point = given.model, given.point
    return model.join_conjugated(model.likelihood_function(point), model.prior(point))


@over(CONJUGATED, _rejoined)
def test_a_model_is_its_likelihood_and_its_prior(case, found):
    case.close(found, case.point, 1e3)


def _levels(model, point):
    """The conjugated harmoniums of a hierarchy from the bottom up, each with its marginal."""
    while True:
        yield model, point
        if not isinstance(model, hm.Hierarchical):
            return
        model, point = model.prr_man, model.prior(point)


def _normals(lower, latent):
    """The linear Gaussian parts of a level, of views the first, and their parts of the latent."""
    if isinstance(lower, hm.Beside):
        parts = getattr(latent, "components", (None,) * len(lower.harmoniums))
        pairs = zip(lower.harmoniums, parts, strict=True)
        return [found for part, own in pairs for found in _normals(part, own)]
    first = lower.harmoniums[0] if isinstance(lower, hm.Parallel) else lower
    return [(first, latent)] if isinstance(first, hm.LinearGaussianModel) else []


def _standard_moments(given):
    """Mean and covariance of each real latent of a hierarchy, in the standardised prior."""
    moments = []
    for level, marginal in _levels(given.model, given.standard):
        stacked = isinstance(level, hm.Hierarchical)
        prior = level.prr_man.to_mean(level.prior(marginal))
        lower, latent = level, prior
        if stacked:
            lower, latent = level.lwr_hrm, level.prr_lens.project(prior)
        for _, own in _normals(lower, latent):
            structure, n = own.manifold.covariance_structure, own.manifold.data_dim
            second = structure.dense(structure.matrix_from_moment(own.shape, n), n)
            moments.append((own.location, second - jnp.outer(own.location, own.location)))
    return moments


def _has_real_latents(model):
    return is_conjugated(model) and len(_posterior_structures(model)) > 0


def _standard_part(covariance, structure):
    """What the structure of the posterior allows to be standardised, as one array of ones."""
    if structure == hm.PositiveDefinite():
        return covariance, np.eye(len(covariance))
    if structure == hm.Diagonal():
        return np.diagonal(covariance), np.ones(len(covariance))
    return np.mean(np.diagonal(covariance)), np.ones(())


def _posterior_structures(model):
    levels = []
    while isinstance(model, hm.Hierarchical):
        levels.append(model.lwr_hrm)
        model = model.upr_hrm
    parts = [part for level in [*levels, model] for part, _ in _normals(level, None)]
    return [part.pst_man.covariance_structure for part in parts]


@over(names_where(_has_real_latents), _standard_moments)
def test_standardised_latents_have_zero_mean_and_unit_covariance(case, found):
    structures = _posterior_structures(case.model)
    assert len(found) == len(structures)
    for (mean, covariance), structure in zip(found, structures, strict=True):
        case.close(mean, np.zeros_like(mean), 3e3)
        case.close(*_standard_part(covariance.astype(float), structure), 3e3)


def _standardised(given):
    densities = given.call("log_observable_densities", given.standard, given.data)
    again = given.call("standardize", given.standard)
    return densities, given.log_observable_densities, again, given.standard


@over(CONJUGATED_KINDS, _standardised)
def test_standardising_leaves_the_observables_as_they_are(case, found):
    densities, expected, again, standard = found
    case.close(densities, expected, 3e3)
    case.close(again, standard, 3e3)


QUADRATIC = names_where(lambda model: is_conjugated(model) and model.is_jointly_gaussian)


def _with_condensed(given):
    """Densities and a step of EM with the data themselves, and with fewer in their place."""
    whole = given.observables, given.weights
    few = hm.condense(given.model, *whole)

    def both(method, *points):
        return [[given.call(method, p, *data) for p in points] for data in (few, whole)]

    densities = both("average_log_observable_density", given.point, given.other)
    return few, densities, both("expectation_maximization", given.point)


@over([name for name in QUADRATIC if name in SOLVED_KINDS], _with_condensed)
def test_a_condensed_sample_has_the_same_likelihood_and_the_same_em_step(case, found):
    (few, _), densities, steps = found
    assert len(few) == 2 * case.observables.shape[1] < N_DATA
    case.close(*densities, 1e3)
    case.close(*steps, 1e4)


def _condensed(given):
    return hm.condense(given.model, given.observables, given.weights)


@over([name for name in CONJUGATED_KINDS if name not in QUADRATIC], _condensed)
def test_other_models_condense_to_the_data_themselves(case, found):
    xs, weights = found
    jax.tree.map(np.testing.assert_array_equal, xs, case.observables)
    case.close(weights, case.weights / np.sum(case.weights), 1e1)


def _observable_normal(model):
    """The normal on which affine maps of a model act, if they do."""
    while is_conjugated(model):
        model = model.obs_man
    return model if isinstance(model, hm.Normal) else None


def _scales(model):
    """Each kind of matrix under which images of the observable stay in the model."""
    normal = _observable_normal(model)
    n, structure = normal.data_dim, normal.covariance_structure
    if isinstance(model, hm.Mixture) and isinstance(
        model.obs_emb, hm.families.NormalCovarianceEmbedding
    ):
        structure = model.obs_emb.sub_man.covariance_structure
    diagonal = np.linspace(0.5, 2.0, n)
    dense = np.diag(diagonal) + 0.3 * np.tri(n, k=-1) - 0.2 * np.tri(n, k=-1).T
    kinds = [None]
    if structure.contains(hm.Scale()):
        kinds.append(np.asarray(1.7))
    if structure.contains(hm.Diagonal()):
        kinds.append(diagonal)
    if structure == hm.PositiveDefinite():
        kinds.append(dense)
    return kinds


def _apply_scale(scale, xs):
    if scale is None:
        return xs, 0.0
    if scale.ndim == 2:
        return xs @ scale.T, np.linalg.slogdet(scale)[1]
    log_determinant = np.sum(np.log(np.broadcast_to(scale, xs.shape[1:])))
    return xs * np.broadcast_to(scale, xs.shape), log_determinant


def _images(given):
    """Log densities before and after affine maps, with the logs of what these do to volumes."""
    model = given.model
    harmonium = is_conjugated(model)
    method = "log_observable_densities" if harmonium else "log_densities"
    xs = given.data if harmonium else given.xs
    before = given.log_observable_densities if harmonium else given.log_densities
    shift = np.linspace(-1.0, 0.7, xs.shape[1]).astype(given.dtype)
    scales = [None if a is None else a.astype(given.dtype) for a in _scales(model)]
    found = []
    for scale, moved in [*((scale, shift) for scale in scales), (scales[-1], None)]:
        images, log_determinant = _apply_scale(scale, xs)
        images = images if moved is None else images + moved[None]
        pushed = model.push_forward(given.point, scale, moved)
        found.append((given.call(method, pushed, images), log_determinant))
    return before, found


def _can_be_scaled(model):
    return _observable_normal(model) is not None


@over(names_where(_can_be_scaled, KINDS), _images)
def test_densities_follow_affine_maps_of_the_observables(case, found):
    before, images = found
    for after, log_determinant in images:
        case.close(after + log_determinant, before, 3e3)
