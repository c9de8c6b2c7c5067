"""Trees of linear Gaussian models and mixtures against the dense Gaussians that they equal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, special, stats

import harmonium as hm

KEY = jax.random.key(0)


def read_views(model, point):
    """Loadings, offset and noise of each view of a common latent."""
    views = []
    for i, part in enumerate(model.harmoniums):
        own = part.point(
            point.observable.components[i],
            part.int_man.adopt(point.interaction.blocks[i]),
            point.latent,
        )
        offset = part.obs_man.mean(part.likelihood_at(own, jnp.zeros(part.pst_man.data_dim)))
        noise = part.obs_man.covariance(point.observable.components[i])
        dense = np.asarray(noise) if np.ndim(noise) == 2 else np.diag(np.asarray(noise))
        views.append((np.asarray(part.loadings(own)), np.asarray(offset), dense))
    return views


def test_views_of_one_normal_latent_are_a_dense_normal():
    model = hm.Parallel(
        hm.factor_analysis(3, 2), hm.LinearGaussianModel(hm.Normal(2), hm.Normal(2))
    )
    point = model.initialize(KEY)
    views = read_views(model, point)
    prior = model.prior(point)
    mean, covariance = model.pst_man.mean(prior), np.asarray(model.pst_man.covariance(prior))
    loadings = np.concatenate([w for w, _, _ in views])
    offset = np.concatenate([b for _, b, _ in views]) + loadings @ np.asarray(mean)
    dense = linalg.block_diag(*(n for _, _, n in views)) + loadings @ covariance @ loadings.T
    xs = model.observable_sample(jax.random.key(1), point, (6,))
    expected = stats.multivariate_normal(offset, dense).logpdf(np.concatenate(xs, axis=1))
    np.testing.assert_allclose(model.log_observable_densities(point, xs), expected, rtol=1e-9)
    # The posterior by conditioning the dense joint.
    gain = covariance @ loadings.T @ np.linalg.inv(dense)
    posterior = model.posterior_at(point, (xs[0][0], xs[1][0]))
    centred = np.concatenate([xs[0][0], xs[1][0]]) - offset
    np.testing.assert_allclose(model.pst_man.mean(posterior), mean + gain @ centred, rtol=1e-9)
    np.testing.assert_allclose(
        model.pst_man.covariance(posterior), covariance - gain @ loadings @ covariance, rtol=1e-9
    )


def test_the_order_of_the_views_is_arbitrary():
    first, second = hm.factor_analysis(3, 2), hm.principal_component_analysis(2, 2)
    model, swapped = hm.Parallel(first, second), hm.Parallel(second, first)
    point = model.initialize(KEY)
    mirrored = swapped.point(
        hm.ProductPoint(point.observable.components[::-1], swapped.obs_man, hm.Coordinates.NATURAL),
        hm.BlockMapPoint(
            tuple(
                block.adopt(own)
                for block, own in zip(
                    swapped.int_man.maps, point.interaction.blocks[::-1], strict=True
                )
            ),
            swapped.int_man,
            hm.Coordinates.NATURAL,
        ),
        point.latent,
    )
    xs = model.observable_sample(jax.random.key(1), point, (6,))
    np.testing.assert_allclose(
        swapped.log_observable_densities(mirrored, xs[::-1]),
        model.log_observable_densities(point, xs),
        rtol=1e-12,
    )


@pytest.mark.parametrize("posterior", [hm.PositiveDefinite(), hm.Diagonal()], ids=repr)
def test_a_tree_of_depth_three_is_a_mixture_of_dense_normals(posterior):
    """Three leaves, each linear Gaussian in its own latent; the latents are views of a mixture."""
    dims, lat_dims, k = (3, 2, 2), (2, 1, 1), 2
    latents = [hm.Normal(n, posterior) for n in lat_dims]
    leaves = [
        hm.LinearGaussianModel(hm.Normal(d, hm.Diagonal()), z)
        for d, z in zip(dims, latents, strict=True)
    ]
    mixtures = [hm.Mixture(z, k) for z in latents]
    model = hm.stack(hm.Beside(*leaves), hm.Parallel(*mixtures))
    point = model.initialize(KEY)
    upper, prior = model.prr_upr_hrm, model.prior(point)
    weights = np.asarray(upper.pst_man.probabilities(upper.prior(prior)))
    lower = model.lwr_hrm
    xs = model.observable_sample(jax.random.key(1), point, (5,))
    scores = np.zeros((5, k))
    for i, leaf in enumerate(leaves):
        own = leaf.point(
            point.observable.components[i],
            leaf.int_man.adopt(lower.int_man.adopt(point.interaction).blocks[i]),
            latents[i].zeros(),
        )
        w = np.asarray(leaf.loadings(own))
        offset = np.asarray(leaf.obs_man.mean(own.observable))
        noise = np.diag(np.asarray(leaf.obs_man.covariance(own.observable)))
        view = upper.harmoniums[i]
        likelihood = view.make_likelihood(
            prior.observable.components[i], view.int_man.adopt(prior.interaction.blocks[i])
        )
        for j in range(k):
            component = view.lkl_man.apply(likelihood, jnp.asarray(j))
            mean = np.asarray(view.obs_man.mean(component))
            covariance = np.asarray(view.obs_man.covariance(component))
            normal = stats.multivariate_normal(w @ mean + offset, w @ covariance @ w.T + noise)
            scores[:, j] += normal.logpdf(np.asarray(xs[i]))
    expected = special.logsumexp(scores + np.log(weights), axis=1)
    np.testing.assert_allclose(model.log_observable_densities(point, xs), expected, rtol=1e-9)
    posteriors = jax.vmap(lambda *x: model.posterior_probabilities(point, x))(*xs)
    shares = np.exp(scores + np.log(weights) - expected[:, None])
    np.testing.assert_allclose(posteriors, shares, rtol=1e-8, atol=1e-12)


def test_naive_bayes_over_mixed_views_by_enumeration():
    model = hm.Parallel(
        hm.Mixture(hm.Categorical(3), 2), hm.Mixture(hm.Poisson(), 2), hm.Mixture(hm.Bernoulli(), 2)
    )
    point = model.initialize(KEY)
    grid = np.meshgrid(np.arange(3), np.arange(80), np.arange(2), indexing="ij")
    xs = tuple(jnp.asarray(axis.ravel()) for axis in grid)
    found = model.log_observable_densities(point, xs)
    np.testing.assert_allclose(np.sum(np.exp(found)), 1.0, rtol=1e-9)
    latents = [jnp.full(len(found), z) for z in range(2)]
    joint = [model.log_densities(point, hm.Joint(xs, z)) for z in latents]
    np.testing.assert_allclose(found, special.logsumexp(joint, axis=0), rtol=1e-9)


def test_probabilistic_cca_reaches_the_optimum_of_the_canonical_correlations():
    """Bach and Jordan (2005): the log-likelihood lost is that of the correlations left out."""
    generator = np.random.default_rng(0)
    n, latent = 400, generator.normal(size=(400, 2))
    views = [latent @ generator.normal(size=(2, d)) + generator.normal(size=(n, d)) for d in (4, 3)]
    model = hm.Parallel(*(hm.LinearGaussianModel(hm.Normal(d), hm.Normal(2)) for d in (4, 3)))
    xs = tuple(jnp.asarray(v - v.mean(axis=0)) for v in views)

    @jax.jit
    def fit(key):
        start = model.initialize_from_sample(key, xs)
        point = jax.lax.fori_loop(
            0, 2000, lambda _, p: model.expectation_maximization(p, xs), start
        )
        return model.average_log_observable_density(point, xs)

    whitened = [np.linalg.qr(np.asarray(x))[0] for x in xs]
    correlations = np.linalg.svd(whitened[0].T @ whitened[1], compute_uv=False)[:2]
    best = -0.5 * 7 * (np.log(2 * np.pi) + 1) - 0.5 * np.sum(np.log1p(-(correlations**2)))
    best -= 0.5 * sum(np.linalg.slogdet(np.asarray(x).T @ np.asarray(x) / n)[1] for x in xs)
    np.testing.assert_allclose(fit(jax.random.key(1)), best, rtol=1e-7)
