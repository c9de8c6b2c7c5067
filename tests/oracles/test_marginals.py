"""Marginals, conditionals, transposed models and divergences, against dense matrices and sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, linalg, special, stats

import harmonium as hm
from harmonium.harmoniums.latents import top_marginal
from tests.catalogue import CATALOGUE
from tests.compiled import compute
from tests.oracles import dense

KEY = jax.random.key(0)


def observable_moments(model, point):
    """Weights, means and covariances of the marginal, a normal or a mixture of normals."""
    family, marginal = hm.observable_distribution(model, point)
    if isinstance(family, hm.Normal):
        return jnp.ones(1), family.mean(marginal)[None], family.covariance(marginal)[None]
    components, normal = family.components(marginal), family.obs_man
    moments = jax.vmap(normal.mean)(components), jax.vmap(normal.covariance)(components)
    return family.weights(marginal), *moments


CHAINS = (
    "linear_diagonal_full",
    "linear_identity_full",
    "linear_full_diagonal",
    "linear_scale_scale",
    "hierarchy_gaussian",
    "hierarchy_2_tied",
    "hierarchy_2_posterior_scale",
    "hierarchy_3_posterior_diagonal",
)


@pytest.mark.parametrize("name", CHAINS)
def test_marginals_of_chains_are_those_of_the_dense_joint(name):
    model = CATALOGUE[name]()
    point = dense.random_point(model, 7)
    found = compute(observable_moments, model, point)
    for actual, expected in zip(found, dense.observable(model, point), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", [n for n in CHAINS if n.startswith("hierarchy") and n[10] != "g"])
def test_a_chain_given_its_category_is_one_component_of_the_dense_joint(name):
    model = CATALOGUE[name]()
    point = dense.random_point(model, 8)
    xs = np.random.default_rng(1).normal(size=(6, 3))
    joint = dense.observable(model, point)
    expected = joint.component_log_densities(xs) - np.log(joint.weights)

    def density(point, component):
        conditioned, own = hm.condition_on(model, point, component)
        assert top_marginal(conditioned, own) is None
        return conditioned.log_observable_densities(own, xs)

    found = compute(jax.vmap(density, (None, 0)), point, np.arange(expected.shape[1]))
    np.testing.assert_allclose(found, expected.T, rtol=1e-9)


def trees():
    """Two views with known parameters of one latent, and the joined matrices of both."""
    rng = np.random.default_rng(2)
    loadings = [rng.normal(size=(3, 2)), rng.normal(size=(2, 2))]
    offsets, noises = [rng.normal(size=3), rng.normal(size=2)], [rng.uniform(1, 2, 3), np.eye(2)]
    parts = [hm.factor_analysis(3, 2), hm.LinearGaussianModel(hm.Normal(2), hm.Normal(2))]

    def likelihoods():
        parameters = zip(parts, loadings, offsets, noises, strict=True)
        return [own.likelihood_function(own.from_loadings(*rest)) for own, *rest in parameters]

    noise = linalg.block_diag(np.diag(noises[0]), noises[1])
    return parts, likelihoods, loadings, np.concatenate(offsets), noise


def joined(side_by_side, own):
    """The likelihood of harmoniums side by side, from those of the parts."""
    return side_by_side.make_likelihood(
        hm.geometry.ProductPoint(
            tuple(o.observable for o in own), side_by_side.obs_man, hm.Coordinates.NATURAL
        ),
        hm.geometry.ProductPoint(
            tuple(o.interaction for o in own), side_by_side.int_man, hm.Coordinates.NATURAL
        ),
    )


def test_the_marginal_of_views_is_normal_in_the_joined_vector():
    parts, likelihoods, loadings, offset, noise = trees()
    model = hm.Parallel(*parts)
    mean, covariance = np.array([0.5, -1.0]), np.array([[2.0, 0.3], [0.3, 1.0]])

    def marginal_moments():
        prior = hm.Normal(2).from_mean_covariance(mean, covariance)
        point = model.join_conjugated(joined(model, likelihoods()), prior)
        assert hm.observable_distribution(model, point)[0] == hm.Normal(5)
        return observable_moments(model, point)

    _, found_mean, found_covariance = compute(marginal_moments)
    stacked = np.concatenate(loadings)
    np.testing.assert_allclose(found_mean[0], stacked @ mean + offset, rtol=1e-9)
    expected = stacked @ covariance @ stacked.T + noise
    np.testing.assert_allclose(found_covariance[0], expected, rtol=1e-9)


def test_the_marginal_of_a_tree_is_a_mixture_of_normals_in_the_joined_vector():
    parts, likelihoods, loadings, offset, noise = trees()
    branches = hm.Beside(*parts)
    views = hm.Parallel(*(hm.Mixture(hm.Normal(2), 2) for _ in parts))
    model = hm.stack(branches, views)
    rng = np.random.default_rng(3)
    means, weights = rng.normal(size=(2, 2, 2)), np.array([0.3, 0.7])  # view, category
    covariances = np.array([[[1.0, 0.2], [0.2, 2.0]], [[1.5, -0.4], [-0.4, 1.0]]])

    def marginal_moments():
        roots = [
            view.likelihood_function(
                view.from_components(
                    [hm.Normal(2).from_mean_covariance(m, c) for m in own_means], weights
                )
            )
            for view, own_means, c in zip(views.harmoniums, means, covariances, strict=True)
        ]
        prior = hm.Categorical(2).from_probabilities(weights)
        upper = views.join_conjugated(joined(views, roots), prior)
        likelihood = joined(branches, likelihoods())
        interaction = likelihood.interaction
        likelihood = model.make_likelihood(likelihood.observable, interaction)
        point = model.join_conjugated(likelihood, upper)
        assert hm.observable_distribution(model, point)[0] == hm.Mixture(hm.Normal(5), 2)
        # Given the category, the branches are independent.
        conditioned, given = hm.condition_on(model, point, 1)
        assert conditioned == branches
        second = conditioned.prior(given).components[1]
        return observable_moments(model, point), conditioned.pst_man.parts[1].mean(second)

    found, mean_of_second = compute(marginal_moments)
    np.testing.assert_allclose(found[0], weights, rtol=1e-9)
    stacked = linalg.block_diag(*loadings)
    for k in range(2):
        expected = stacked @ np.concatenate(means[:, k]) + offset
        np.testing.assert_allclose(found[1][k], expected, rtol=1e-9)
        expected = stacked @ linalg.block_diag(*covariances) @ stacked.T + noise
        np.testing.assert_allclose(found[2][k], expected, rtol=1e-9)
    np.testing.assert_allclose(mean_of_second, means[1, 1], rtol=1e-9)


@pytest.mark.parametrize(
    "name", ["linear_diagonal_full", "linear_full_diagonal", "linear_identity_scale"]
)
def test_the_transposed_model_regresses_latents_on_observables(name):
    model = CATALOGUE[name]()
    point = dense.random_point(model, 9)
    ((mean,), (covariance,)) = dense.gaussians(model, point)[1:]

    def transpose(point):
        transposed, other = model.transpose(point)
        assert transposed.obs_man == model.pst_man
        prior = transposed.prior(other)
        return (
            transposed.loadings(other),
            model.pst_man.covariance(other.observable),
            transposed.prr_man.mean(prior),
            transposed.prr_man.covariance(prior),
        )

    loadings, noise, prior_mean, prior_covariance = compute(transpose, point)
    n = model.obs_man.data_dim
    gain = np.linalg.solve(covariance[:n, :n], covariance[:n, n:]).T
    np.testing.assert_allclose(loadings, gain, rtol=1e-9)
    noise = dense.full_matrix(model.pst_man, noise)
    expected = covariance[n:, n:] - gain @ covariance[:n, n:]
    np.testing.assert_allclose(noise, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(prior_mean, mean[:n], rtol=1e-9)
    np.testing.assert_allclose(prior_covariance, covariance[:n, :n], rtol=1e-9, atol=1e-12)


def test_transposing_twice_gives_the_point_itself():
    model = hm.LinearGaussianModel(hm.Normal(3, hm.Diagonal()), hm.Normal(2, hm.Scale()))
    point = dense.random_point(model, 10)

    def transpose_twice(point):
        transposed, other = model.transpose(point)
        return transposed.transpose(other)

    again, back = compute(transpose_twice, point)
    assert again == model
    jax.tree.map(np.testing.assert_array_equal, back, point)


# --- divergences


def normal_divergence(first, second):
    """Between two dense normals, by the textbook formula."""
    (_, (m,), (c,)), (_, (n,), (d,)) = first, second
    mixed = np.trace(np.linalg.solve(d, c)) + (n - m) @ np.linalg.solve(d, n - m)
    return 0.5 * (mixed - len(m) + np.linalg.slogdet(d)[1] - np.linalg.slogdet(c)[1])


def test_the_divergence_of_linear_gaussian_models_is_that_of_dense_normals():
    small, large = hm.factor_analysis(3, 1), CATALOGUE["hierarchy_gaussian"]()
    first, second = dense.random_point(small, 1), dense.random_point(large, 2)
    other = dense.random_point(small, 3)

    def divergences(first, second, other):
        estimate = hm.estimate_observable_relative_entropy(KEY, small, first, other, 4000)
        return (
            hm.observable_relative_entropy(small, first, second, large),
            hm.observable_relative_entropy(small, first, other),
            estimate,
        )

    to_large, to_small, (estimate, error) = compute(divergences, first, second, other)
    marginals = dense.observable(small, first), dense.observable(large, second)
    np.testing.assert_allclose(to_large, normal_divergence(*marginals), rtol=1e-9)
    marginals = dense.observable(small, first), dense.observable(small, other)
    np.testing.assert_allclose(to_small, normal_divergence(*marginals), rtol=1e-9)
    assert abs(estimate - to_small) < 5 * error


def _normals(means, variances, weights):
    model = hm.Mixture(hm.Normal(1), len(weights))
    points = [
        model.obs_man.from_mean_covariance([m], [[v]])
        for m, v in zip(means, variances, strict=True)
    ]
    return model, model.from_components(points, weights)


def _log_densities(means, variances, weights, xs):
    logs = stats.norm(means, np.sqrt(variances)).logpdf(xs[:, None])
    return special.logsumexp(np.log(weights) + logs, axis=1)


FIRST = (np.array([-1.0, 2.0]), np.array([0.5, 1.0]), np.array([0.4, 0.6]))
SECOND = (np.array([-2.0, 0.0, 2.5]), np.array([1.0, 2.0, 1.5]), np.array([0.2, 0.5, 0.3]))


def _quadrature_divergence(first, second):
    xs = np.linspace(-12, 14, 4001)
    p, q = _log_densities(*first, xs), _log_densities(*second, xs)
    return integrate.trapezoid(np.exp(p) * (p - q), xs)


def test_the_estimated_divergence_of_mixtures_is_that_of_quadrature():
    def estimate(key):
        (model, first), (other, second) = _normals(*FIRST), _normals(*SECOND)
        return hm.estimate_observable_relative_entropy(key, model, first, second, 500, other)

    found, errors = compute(lambda: jax.vmap(estimate)(jax.random.split(KEY, 400)))
    expected = _quadrature_divergence(FIRST, SECOND)
    # Of 200,000 samples in all; the reported error is the spread of the 400 estimates.
    assert abs(found.mean() - expected) < 5 * found.std() / 20
    np.testing.assert_allclose(errors.mean(), found.std(), rtol=0.2)
    assert errors.mean() / 20 < 0.01 * expected


def test_gradients_of_the_estimated_divergence_are_those_of_quadrature():
    """By the means of the first mixture and of the second, at once."""

    def estimate(means, key):
        model, first = _normals(means[:2], FIRST[1], FIRST[2])
        other, second = _normals(means[2:], *SECOND[1:])
        return hm.estimate_observable_relative_entropy(
            key, model, first, second, 500, other
        ).estimate

    means = np.concatenate([FIRST[0], SECOND[0]])

    def gradients(means):
        return jax.vmap(jax.grad(estimate), (None, 0))(means, jax.random.split(KEY, 400))

    found = compute(gradients, means)
    step = 1e-5
    for i, direction in enumerate(np.eye(5) * step):
        ahead, behind = (
            _quadrature_divergence((m[:2], *FIRST[1:]), (m[2:], *SECOND[1:]))
            for m in (means + direction, means - direction)
        )
        expected, error = (ahead - behind) / (2 * step), found[:, i].std() / 20
        assert abs(found[:, i].mean() - expected) < 5 * error
        assert error < 0.02


def test_the_estimated_divergence_of_counts_is_that_of_enumeration():
    model, other = hm.Mixture(hm.Poisson(), 2), hm.Mixture(hm.NegativeBinomial(2.5), 1)
    counts = np.arange(200)
    ours = np.log(0.3 * stats.poisson(1).pmf(counts) + 0.7 * stats.poisson(5).pmf(counts))
    theirs = stats.nbinom(2.5, 1 - np.exp(-0.4)).logpmf(counts)
    inside = np.isfinite(ours)
    expected = np.sum(np.exp(ours[inside]) * (ours[inside] - theirs[inside]))

    def estimated():
        rates = jax.vmap(hm.Poisson().unravel)(jnp.log(jnp.array([[1.0], [5.0]])))
        first = model.from_components(rates, [0.3, 0.7])
        second = other.from_components([other.obs_man.unravel(jnp.array([-0.4]))], [1.0])
        return hm.estimate_observable_relative_entropy(KEY, model, first, second, 20_000, other)

    estimate, error = compute(estimated)
    assert abs(estimate - expected) < 5 * error
    assert 0 < error < 0.05 * expected


def test_a_divergence_from_what_is_impossible_is_infinite():
    model, other = (hm.Mixture(hm.Binomial(n), 2) for n in (9, 3))

    def estimated():
        first, second = model.initialize(KEY), other.initialize(KEY)
        return hm.estimate_observable_relative_entropy(KEY, model, first, second, 500, other)

    assert compute(estimated) == hm.Estimate(np.inf, np.inf)
