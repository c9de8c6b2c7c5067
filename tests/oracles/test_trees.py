"""Trees of linear Gaussian models and mixtures against the dense Gaussians that they equal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.linalg import block_diag
from scipy import linalg, special, stats

import harmonium as hm
from tests.compiled import compute

KEY = jax.random.key(0)


def vectors(*dims):
    """Six observations of some vectors."""
    rng = np.random.default_rng(3)
    return tuple(2 * rng.normal(size=(6, dim)) for dim in dims)


def read_linear(part, observable, interaction):
    """Loadings, offset and dense noise of a linear Gaussian part of a model."""
    own = part.point(observable, interaction, part.pst_man.zeros())
    noise = part.obs_man.covariance(observable)
    if noise.ndim < 2:
        noise = jnp.diag(jnp.broadcast_to(noise, part.obs_man.data_dim))
    return part.loadings(own), part.obs_man.mean(observable), noise


def join_linear(triples, stack=jnp.concatenate):
    """Linear Gaussian parts as one: of one latent, or by `block_diag` each of its own."""
    loadings, offsets, noises = zip(*triples, strict=True)
    loadings = stack(loadings) if stack is jnp.concatenate else stack(*loadings)
    return loadings, jnp.concatenate(offsets), block_diag(*noises)


def test_views_of_one_normal_latent_are_a_dense_normal():
    model = hm.Parallel(
        hm.factor_analysis(3, 2), hm.LinearGaussianModel(hm.Normal(2), hm.Normal(2))
    )
    xs = vectors(3, 2)

    def evaluate(key):
        point = model.initialize(key)
        parts = model.harmoniums, point.observable.components, point.interaction.components
        prior = model.prior(point)
        posterior = model.posterior_at(point, (xs[0][0], xs[1][0]))
        priors, posteriors = (
            (model.pst_man.mean(own), model.pst_man.covariance(own)) for own in (prior, posterior)
        )
        views = join_linear(map(read_linear, *parts))
        return views, priors, model.log_observable_densities(point, xs), posteriors

    (loadings, offset, noise), (mean, covariance), densities, posterior = compute(evaluate, KEY)
    offset = offset + loadings @ mean
    dense = noise + loadings @ covariance @ loadings.T
    joined = np.concatenate(xs, axis=1)
    expected = stats.multivariate_normal(offset, dense).logpdf(joined)
    np.testing.assert_allclose(densities, expected, rtol=1e-9)
    # The posterior by conditioning the dense joint.
    gain = covariance @ loadings.T @ np.linalg.inv(dense)
    np.testing.assert_allclose(posterior[0], mean + gain @ (joined[0] - offset), rtol=1e-9)
    np.testing.assert_allclose(posterior[1], covariance - gain @ loadings @ covariance, rtol=1e-9)


def mirrored(manifold, point):
    """The same point with the children of all nodes in reverse order."""
    match point:
        case hm.harmoniums.HarmoniumPoint():
            parts = point.observable, point.interaction, point.latent
            return manifold.point(*map(mirrored, manifold.parts, parts))
        case hm.geometry.ProductPoint():
            components = tuple(map(mirrored, manifold.parts, point.components[::-1]))
            return hm.geometry.ProductPoint(components, manifold, point.coordinates)
        case _:
            return point


def mirrored_once(swapped, point):
    """The point with the views of the root in reverse order, for the model with them reversed."""
    return swapped.point(
        mirrored(swapped.obs_man, point.observable),
        mirrored(swapped.int_man, point.interaction),
        point.latent,
    )


def test_the_order_of_the_views_is_arbitrary():
    first, second = hm.factor_analysis(3, 2), hm.principal_component_analysis(2, 2)
    model, swapped = hm.Parallel(first, second), hm.Parallel(second, first)
    xs = vectors(3, 2)

    def densities(key):
        point = model.initialize(key)
        reverse = mirrored_once(swapped, point)
        turned = swapped.log_observable_densities(reverse, xs[::-1])
        return turned, model.log_observable_densities(point, xs)

    np.testing.assert_allclose(*compute(densities, KEY), rtol=1e-12)


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
    upper = model.prr_upr_hrm
    xs = vectors(*dims)

    def evaluate(key):
        point = model.initialize(key)
        prior = model.prior(point)
        blocks = point.interaction.components
        linear = list(map(read_linear, leaves, point.observable.components, blocks))
        components = []
        for i, view in enumerate(upper.harmoniums):
            interaction = prior.interaction.components[i]
            likelihood = view.make_likelihood(prior.observable.components[i], interaction)
            own = jax.vmap(view.observable_at, (None, 0))(likelihood, jnp.arange(k))
            components.append(
                (jax.vmap(view.obs_man.mean)(own), jax.vmap(view.obs_man.covariance)(own))
            )
        weights = upper.pst_man.probabilities(upper.prior(prior))
        densities = model.log_observable_densities(point, xs)
        posteriors = jax.vmap(lambda *x: model.posterior_probabilities(point, x))(*xs)
        return linear, components, weights, densities, posteriors

    linear, components, weights, densities, posteriors = compute(evaluate, KEY)
    scores = np.zeros((6, k))
    for (w, offset, noise), (means, covariances), x in zip(linear, components, xs, strict=True):
        for j, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
            normal = stats.multivariate_normal(w @ mean + offset, w @ covariance @ w.T + noise)
            scores[:, j] += normal.logpdf(x)
    expected = special.logsumexp(scores + np.log(weights), axis=1)
    np.testing.assert_allclose(densities, expected, rtol=1e-9)
    shares = np.exp(scores + np.log(weights) - expected[:, None])
    np.testing.assert_allclose(posteriors, shares, rtol=1e-8, atol=1e-12)


def bushy(root):
    """A tree of which the root has three children, and these have three, two and one.

    The children of the root are normal latents, and theirs are observed.
    """
    leaves = [
        hm.factor_analysis(2, 1),
        hm.LinearGaussianModel(hm.Normal(1), hm.Normal(1)),
        hm.principal_component_analysis(2, 1),
    ]
    view = (
        hm.Mixture(hm.Normal(1), 2)
        if root == "categorical"
        else hm.LinearGaussianModel(hm.Normal(1), hm.Normal(1))
    )
    branches = [hm.Parallel(*leaves[i:]) for i in range(3)]
    return hm.stack(hm.Beside(*branches), hm.Parallel(view, view, view))


def read_bushy(model, point):
    """The linear map from all latents to all observables, with offset and noise."""
    pairs = zip(point.observable.components, point.interaction.components, strict=True)
    branches = [
        join_linear(map(read_linear, branch.harmoniums, own.components, block.components))
        for branch, (own, block) in zip(model.lwr_hrm.harmoniums, pairs, strict=True)
    ]
    return join_linear(branches, block_diag)


def read_root(upper, prior):
    """Weights, and means and covariances of all latents, for each state of the root."""
    views = upper.harmoniums
    parts = prior.observable.components, prior.interaction.components
    root = upper.prior(prior)
    if isinstance(upper.pst_man, hm.Normal):
        loadings, offset, noise = join_linear(map(read_linear, views, *parts))
        mean, covariance = upper.pst_man.mean(root), upper.pst_man.covariance(root)
        moments = loadings @ mean + offset, loadings @ covariance @ loadings.T + noise
        return jnp.ones(1), [moments]
    states = [
        view.components(view.point(own, block, view.pst_man.zeros()))
        for view, own, block in zip(views, *parts, strict=True)
    ]
    moments = []
    for k in range(upper.pst_man.n_categories):
        own = [(view.obs_man, state[k]) for view, state in zip(views, states, strict=True)]
        means = [normal.mean(point) for normal, point in own]
        covariances = [normal.covariance(point) for normal, point in own]
        moments.append((jnp.concatenate(means), block_diag(*covariances)))
    return upper.pst_man.probabilities(root), moments


@pytest.mark.parametrize("root", ["categorical", "normal"])
def test_trees_with_many_children_at_every_level(root):
    """They are dense normals, or mixtures of them; and the order of the children is arbitrary."""
    model = bushy(root)
    views = [hm.Parallel(*branch.harmoniums[::-1]) for branch in model.lwr_hrm.harmoniums[::-1]]
    upside_down = hm.stack(hm.Beside(*views), hm.Parallel(*model.upr_hrm.harmoniums[::-1]))
    xs = vectors(2, 1, 2), vectors(1, 2), vectors(2)

    def evaluate(key):
        point = model.initialize(key)
        reverse = mirrored(upside_down, point)
        turned = tuple(x[::-1] for x in xs[::-1])
        densities = model.log_observable_densities(point, xs)
        below, above = read_bushy(model, point), read_root(model.upr_hrm, model.prior(point))
        return below, above, densities, upside_down.log_observable_densities(reverse, turned)

    (loadings, offset, noise), (weights, moments), densities, turned = compute(evaluate, KEY)
    joined = np.concatenate(jax.tree.leaves(xs), axis=1)
    scores = [
        stats.multivariate_normal(
            loadings @ mean + offset, loadings @ covariance @ loadings.T + noise
        ).logpdf(joined)
        for mean, covariance in moments
    ]
    expected = special.logsumexp(np.stack(scores, axis=1), axis=1, b=weights[None])
    np.testing.assert_allclose(densities, expected, rtol=1e-9)
    np.testing.assert_allclose(turned, densities, rtol=1e-12)


@pytest.mark.parametrize("posterior", [hm.PositiveDefinite(), hm.Diagonal()], ids=repr)
def test_a_leaf_that_hangs_from_the_root_beside_a_branch(posterior):
    """p(x, c) = sum_k p(k) N(x; W m_k + b, W S_k W' + N) Poisson(c; r_k)."""
    latent = hm.Normal(2, posterior)
    leaf = hm.LinearGaussianModel(hm.Normal(3, hm.Diagonal()), latent)
    deep = hm.stack(leaf, hm.Mixture(latent, 2))
    count = hm.Mixture(hm.Poisson(), 2)
    hung = hm.Attached(count, hm.harmoniums.PosteriorEmbedding(deep.pst_man), deep.pst_prr_emb)
    model = hm.Parallel(deep, hung)
    swapped = hm.Parallel(hung, deep)
    upper = deep.prr_man
    xs, counts = *vectors(3), np.arange(6)

    def evaluate(key):
        point = model.initialize(key)
        turned = swapped.log_observable_densities(mirrored_once(swapped, point), (counts, xs))
        densities = model.log_observable_densities(point, (xs, counts)), turned
        own, blocks = point.observable.components, point.interaction.components
        prior = model.prior(point)
        normals = upper.components(prior)
        poissons = count.point(own[1], blocks[1], count.pst_man.zeros())
        states = (
            upper.weights(prior),
            jax.vmap(upper.obs_man.mean)(normals),
            jax.vmap(upper.obs_man.covariance)(normals),
            jnp.exp(count.components(poissons).values[:, 0]),
        )
        return densities, read_linear(leaf, own[0], blocks[0]), states

    (densities, turned), (w, b, noise), states = compute(evaluate, KEY)
    expected = np.zeros((6, 2))
    for k, (weight, mean, covariance, rate) in enumerate(zip(*states, strict=True)):
        normal = stats.multivariate_normal(w @ mean + b, w @ covariance @ w.T + noise)
        expected[:, k] = np.log(weight) + normal.logpdf(xs) + stats.poisson(rate).logpmf(counts)
    np.testing.assert_allclose(densities, special.logsumexp(expected, axis=1), rtol=1e-9)
    np.testing.assert_allclose(turned, densities, rtol=1e-12)


def test_leaves_at_three_depths_below_a_normal_root():
    """One leaf under two levels of latents, one under the upper of them, one under the root."""
    levels = [hm.factor_analysis(2, 2), hm.LinearGaussianModel(hm.Normal(2), hm.Normal(1))]
    upper = hm.stack(levels[1], hm.LinearGaussianModel(hm.Normal(1), hm.Normal(1)))
    deep = hm.stack(levels[0], upper)
    whole = hm.harmoniums.PosteriorEmbedding(upper)
    middle_leaf, top_leaf = hm.factor_analysis(1, 1), hm.factor_analysis(2, 1)
    middle = hm.geometry.ComposedEmbedding(whole, hm.harmoniums.ObservableEmbedding(upper.pst_man))
    top = hm.geometry.ComposedEmbedding(whole, hm.harmoniums.PosteriorEmbedding(upper.pst_man))
    model = hm.Parallel(deep, hm.Attached(middle_leaf, middle), hm.Attached(top_leaf, top))
    leaves = (levels[0], middle_leaf, top_leaf)
    xs = vectors(2, 1, 2)

    def evaluate(key):
        point = model.initialize(key)
        triples = list(
            map(read_linear, leaves, point.observable.components, point.interaction.components)
        )
        # The latents (y, z, t): y given z, z given t, and t.
        prior = model.prior(point)
        rest = upper.prior(prior)
        root = upper.pst_man.prior(rest)
        given_z = read_linear(levels[1], prior.observable, prior.interaction)
        given_t = read_linear(upper.pst_man, rest.observable, rest.interaction)
        normal = hm.Normal(1)
        latents = given_z, given_t, (normal.mean(root), normal.covariance(root))
        return model.log_observable_densities(point, xs), triples, latents

    densities, triples, latents = compute(evaluate, KEY)
    (a, a0, noise_y), (c, c0, noise_z), (t, var_t) = latents
    spread = np.block(
        [[np.eye(2), a, a @ c], [np.zeros((1, 2)), np.eye(1), c], [np.zeros((1, 3)), np.eye(1)]]
    )
    covariance = spread @ linalg.block_diag(noise_y, noise_z, var_t) @ spread.T
    mean = np.concatenate([a @ (c @ t + c0) + a0, c @ t + c0, t])
    loadings = linalg.block_diag(*(w for w, _, _ in triples))
    offset = np.concatenate([b for _, b, _ in triples])
    noise = linalg.block_diag(*(n for _, _, n in triples))
    dense = stats.multivariate_normal(
        loadings @ mean + offset, loadings @ covariance @ loadings.T + noise
    )
    joined = np.concatenate(xs, axis=1)
    np.testing.assert_allclose(densities, dense.logpdf(joined), rtol=1e-9)


def test_views_are_scaled_and_shifted_each_by_its_own_map():
    model = hm.Parallel(
        hm.factor_analysis(2, 1), hm.LinearGaussianModel(hm.Normal(2), hm.Normal(1))
    )
    scales = np.array([2.0, 0.5]), np.array([[1.0, 0.3], [-0.2, 0.7]])
    shifts = np.array([1.0, -2.0]), np.array([0.4, 0.0])
    first, second = vectors(2, 2)
    images = first * scales[0] + shifts[0], second @ scales[1].T + shifts[1]

    def densities(key):
        point = model.initialize(key)
        pushed = model.push_forward(point, scales, shifts)
        before = model.log_observable_densities(point, (first, second))
        return before, model.log_observable_densities(pushed, images)

    before, after = compute(densities, KEY)
    # log |2 * 0.5| = 0 for the first view
    np.testing.assert_allclose(after, before - np.log(np.linalg.det(scales[1])), rtol=1e-9)


def test_naive_bayes_over_mixed_views_by_enumeration():
    model = hm.Parallel(
        hm.Mixture(hm.Categorical(3), 2), hm.Mixture(hm.Poisson(), 2), hm.Mixture(hm.Bernoulli(), 2)
    )
    grid = np.meshgrid(np.arange(3), np.arange(80), np.arange(2), indexing="ij")
    xs = tuple(axis.ravel() for axis in grid)

    def densities(key):
        point = model.initialize(key)
        latents = [jnp.full(480, z) for z in range(2)]
        joint = [model.log_densities(point, hm.Joint(xs, z)) for z in latents]
        return model.log_observable_densities(point, xs), jnp.stack(joint)

    found, joint = compute(densities, KEY)
    np.testing.assert_allclose(np.sum(np.exp(found)), 1.0, rtol=1e-9)
    np.testing.assert_allclose(found, special.logsumexp(joint, axis=0), rtol=1e-9)


def test_probabilistic_cca_reaches_the_optimum_of_the_canonical_correlations():
    """Bach and Jordan (2005): the log-likelihood lost is that of the correlations left out."""
    generator = np.random.default_rng(0)
    n, latent = 400, generator.normal(size=(400, 2))
    views = [latent @ generator.normal(size=(2, d)) + generator.normal(size=(n, d)) for d in (4, 3)]
    model = hm.Parallel(*(hm.LinearGaussianModel(hm.Normal(d), hm.Normal(2)) for d in (4, 3)))
    xs = tuple(v - v.mean(axis=0) for v in views)

    def fit(key):
        start = model.initialize_from_sample(key, xs)
        point = jax.lax.fori_loop(
            0, 2000, lambda _, p: model.expectation_maximization(p, xs), start
        )
        return model.average_log_observable_density(point, xs)

    whitened = [np.linalg.qr(x)[0] for x in xs]
    correlations = np.linalg.svd(whitened[0].T @ whitened[1], compute_uv=False)[:2]
    best = -0.5 * 7 * (np.log(2 * np.pi) + 1) - 0.5 * np.sum(np.log1p(-(correlations**2)))
    best -= 0.5 * sum(np.linalg.slogdet(x.T @ x / n)[1] for x in xs)
    np.testing.assert_allclose(compute(fit, jax.random.key(1)), best, rtol=1e-7)
