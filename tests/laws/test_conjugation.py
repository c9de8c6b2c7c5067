"""Conjugation, and what follows from it: joins, standard latents, affine maps, small samples."""

import jax
import jax.numpy as jnp
import numpy as np

import harmonium as hm
from tests.laws.cases import CONJUGATED, N_DATA, SOLVED, is_conjugated, names_where, over


def _both_sides(model, point, latents):
    rho, chi = model.conjugation_parameters(model.likelihood_function(point))

    def one(latent):
        left = model.obs_man.log_partition_function(model.likelihood_at(point, latent))
        return left, hm.dot(rho, model.prr_man.sufficient_statistic(latent)) + chi

    return jax.vmap(one)(latents)


@over(CONJUGATED, both=CONJUGATED)
def test_the_log_partition_of_the_likelihood_is_linear_in_the_latent_statistic(case):
    left, right = case.jit(_both_sides)(case.point, case.xs.latent)
    assert float(jnp.ptp(left)) > 1e-3
    case.close(right, left, 3e2)


def _rejoined(model, point):
    return model.join_conjugated(model.likelihood_function(point), model.prior(point))


@over(CONJUGATED)
def test_a_model_is_its_likelihood_and_its_prior(case):
    case.close(case.jit(_rejoined)(case.point), case.point, 1e3)


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


def _standard_moments(model, point):
    """Mean and covariance of each real latent of a hierarchy, in the standardised prior."""
    point = model.standardize(point)
    moments = []
    for level, marginal in _levels(model, point):
        stacked = isinstance(level, hm.Hierarchical)
        prior = level.prr_man.to_mean(level.prior(marginal))
        lower, latent = (level.lwr_hrm, prior.observable) if stacked else (level, prior)
        for _, own in _normals(lower, latent):
            structure, n = own.manifold.covariance_structure, own.manifold.data_dim
            second = structure.dense(structure.matrix_from_moment(own.shape, n), n)
            moments.append((own.location, second - jnp.outer(own.location, own.location)))
    return point, moments


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


@over(names_where(_has_real_latents))
def test_standardised_latents_have_zero_mean_and_unit_covariance(case):
    _, moments = case.jit(_standard_moments)(case.point)
    structures = _posterior_structures(case.model)
    assert len(moments) == len(structures)
    for (mean, covariance), structure in zip(moments, structures, strict=True):
        case.close(mean, jnp.zeros_like(mean), 3e3)
        found, expected = _standard_part(np.asarray(covariance, float), structure)
        case.close(found, expected, 3e3)


@over(CONJUGATED)
def test_standardising_leaves_the_observables_as_they_are(case):
    standard = case.jit("standardize")(case.point)
    densities = case.jit("log_observable_densities")
    xs = case.xs.observable
    case.close(densities(standard, xs), densities(case.point, xs), 3e3)
    case.close(case.jit("standardize")(standard), standard, 3e3)


QUADRATIC = names_where(lambda model: is_conjugated(model) and model.is_quadratic)


@over([name for name in QUADRATIC if name in SOLVED])
def test_a_condensed_sample_has_the_same_likelihood_and_the_same_em_step(case):
    xs, weights = case.observables, case.weights
    few, their_weights = case.jit("condense")(xs, weights)
    assert few.shape[0] == 2 * xs.shape[1] < N_DATA
    average = case.jit("average_log_observable_density")
    for point in (case.point, case.other):
        expected = average(point, xs, weights)
        case.close(average(point, few, their_weights), expected, 1e3)
    step = case.jit("expectation_maximization")
    expected = step(case.point, xs, weights)
    case.close(step(case.point, few, their_weights), expected, 1e4)


@over(names_where(lambda model: is_conjugated(model) and not model.is_quadratic))
def test_other_models_condense_to_the_data_themselves(case):
    xs, weights = case.jit("condense")(case.observables, case.weights)
    jax.tree.map(np.testing.assert_array_equal, xs, case.observables)
    case.close(weights, case.weights / jnp.sum(case.weights), 1e1)


def _observable_normal(model):
    """The normal on which affine maps of a model act, if they do."""
    while is_conjugated(model):
        model = model.obs_man
    return model if isinstance(model, hm.Normal) else None


def _scales(model):
    """Each kind of matrix under which images of the observable stay in the model."""
    normal = _observable_normal(model)
    n, structure = normal.data_dim, normal.covariance_structure
    if isinstance(model, hm.Mixture) and isinstance(model.obs_emb, hm.NormalCovarianceEmbedding):
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
    return xs * scale, log_determinant


def _density(case):
    model = case.model
    return case.jit("log_observable_densities" if is_conjugated(model) else "log_densities")


def _is_nested(model):
    """Mixtures of harmoniums observe joints."""
    return is_conjugated(model) and is_conjugated(model.obs_man)


@over(names_where(lambda m: _observable_normal(m) is not None and not _is_nested(m)))
def test_densities_follow_affine_maps_of_the_observables(case):
    xs = np.asarray(case.xs.observable if is_conjugated(case.model) else case.xs, float)
    shift = np.linspace(-1.0, 0.7, xs.shape[1])
    before = np.asarray(_density(case)(case.point, jnp.asarray(xs, case.dtype)), float)
    for scale in _scales(case.model):
        for moved in (shift, None):
            arrays = [None if a is None else jnp.asarray(a, case.dtype) for a in (scale, moved)]
            pushed = case.jit("push_forward")(case.point, *arrays)
            images, log_determinant = _apply_scale(scale, xs)
            images = images if moved is None else images + moved
            after = _density(case)(pushed, jnp.asarray(images, case.dtype))
            case.close(np.asarray(after, float) + log_determinant, before, 3e3)
