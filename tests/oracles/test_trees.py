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


def mirrored(manifold, point):
    """The same point with the children of all nodes in reverse order."""
    match point:
        case hm.HarmoniumPoint():
            parts = point.observable, point.interaction, point.latent
            return manifold.point(*map(mirrored, manifold.parts, parts))
        case hm.ProductPoint():
            components = tuple(map(mirrored, manifold.parts, point.components[::-1]))
            return hm.ProductPoint(components, manifold, point.coordinates)
        case hm.BlockMapPoint():
            blocks = tuple(map(mirrored, manifold.maps, point.blocks[::-1]))
            return hm.BlockMapPoint(blocks, manifold, point.coordinates)
        case hm.LinearMapPoint():
            return manifold.adopt(point)
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
    point = model.initialize(KEY)
    xs = model.observable_sample(jax.random.key(1), point, (6,))
    np.testing.assert_allclose(
        swapped.log_observable_densities(mirrored_once(swapped, point), xs[::-1]),
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


def bushy(n_children, root):
    """A tree in which the root and each of its children has the same number of children.

    The children of the root are normal latents, and theirs are observed.
    """
    leaves = [hm.factor_analysis(2, 1), hm.LinearGaussianModel(hm.Normal(1), hm.Normal(1))]
    leaves = [*leaves, hm.principal_component_analysis(2, 1)][:n_children]
    views = [
        hm.Mixture(hm.Normal(1), 2)
        if root == "categorical"
        else hm.LinearGaussianModel(hm.Normal(1), hm.Normal(1))
        for _ in range(n_children)
    ]
    branches = [hm.Parallel(*leaves[i:], *leaves[:i]) for i in range(n_children)]
    return hm.stack(hm.Beside(*branches), hm.Parallel(*views))


def read_linear(part, observable, interaction):
    """Loadings, offset and dense noise of a linear Gaussian part of a model."""
    interaction = part.int_man.adopt(interaction)
    own = part.point(observable, interaction, part.pst_man.zeros())
    noise = np.asarray(part.obs_man.covariance(observable))
    n = part.obs_man.data_dim
    dense = noise if noise.ndim == 2 else np.eye(n) * noise
    return np.asarray(part.loadings(own)), np.asarray(part.obs_man.mean(observable)), dense


def join_linear(triples, stack=np.concatenate):
    """Linear Gaussian parts as one: of one latent, or by `linalg.block_diag` each of its own."""
    loadings, offsets, noises = zip(*triples, strict=True)
    loadings = stack(loadings) if stack is np.concatenate else stack(*loadings)
    return loadings, np.concatenate(offsets), linalg.block_diag(*noises)


def read_bushy(model, point):
    """The linear map from all latents to all observables, with offset and noise."""
    pairs = zip(point.observable.components, point.interaction.blocks, strict=True)
    branches = [
        join_linear(map(read_linear, branch.harmoniums, own.components, block.blocks))
        for branch, (own, block) in zip(model.lwr_hrm.harmoniums, pairs, strict=True)
    ]
    return join_linear(branches, linalg.block_diag)


def read_root(upper, prior):
    """Weights, and means and covariances of all latents, for each state of the root."""
    views = upper.harmoniums
    parts = prior.observable.components, prior.interaction.blocks
    root = upper.prior(prior)
    if isinstance(upper.pst_man, hm.Normal):
        loadings, offset, noise = join_linear(map(read_linear, views, *parts))
        mean, covariance = upper.pst_man.mean(root), np.asarray(upper.pst_man.covariance(root))
        return [1.0], [(loadings @ mean + offset, loadings @ covariance @ loadings.T + noise)]
    states = [
        view.components(view.point(own, view.int_man.adopt(block), view.pst_man.zeros()))
        for view, own, block in zip(views, *parts, strict=True)
    ]
    moments = []
    for k in range(upper.pst_man.n_categories):
        own = [(view.obs_man, state[k]) for view, state in zip(views, states, strict=True)]
        means = [np.asarray(normal.mean(p)) for normal, p in own]
        covariances = [np.asarray(normal.covariance(p)) for normal, p in own]
        moments.append((np.concatenate(means), linalg.block_diag(*covariances)))
    return np.asarray(upper.pst_man.probabilities(root)), moments


@pytest.mark.parametrize("root", ["categorical", "normal"])
@pytest.mark.parametrize("n_children", [2, 3])
def test_trees_with_many_children_at_every_level(n_children, root):
    """They are dense normals, or mixtures of them; and the order of the children is arbitrary."""
    model = bushy(n_children, root)
    views = [hm.Parallel(*branch.harmoniums[::-1]) for branch in model.lwr_hrm.harmoniums[::-1]]
    upside_down = hm.stack(hm.Beside(*views), hm.Parallel(*model.upr_hrm.harmoniums[::-1]))

    @jax.jit
    def evaluate(key):
        point = model.initialize(key)
        xs = model.observable_sample(key, point, (5,))
        reverse = mirrored(upside_down, point)
        turned = tuple(x[::-1] for x in xs[::-1])
        densities = model.log_observable_densities(point, xs)
        return point, xs, densities, upside_down.log_observable_densities(reverse, turned)

    point, xs, densities, turned = evaluate(KEY)
    loadings, offset, noise = read_bushy(model, point)
    weights, moments = read_root(model.upr_hrm, model.prior(point))
    joined = np.concatenate(jax.tree.leaves(xs), axis=1)
    scores = [
        stats.multivariate_normal(
            loadings @ mean + offset, loadings @ covariance @ loadings.T + noise
        ).logpdf(joined)
        for mean, covariance in moments
    ]
    expected = special.logsumexp(np.stack(scores, axis=1), axis=1, b=np.asarray(weights)[None])
    np.testing.assert_allclose(densities, expected, rtol=1e-9)
    np.testing.assert_allclose(turned, densities, rtol=1e-12)


@pytest.mark.parametrize("posterior", [hm.PositiveDefinite(), hm.Diagonal()], ids=repr)
def test_a_leaf_that_hangs_from_the_root_beside_a_branch(posterior):
    """p(x, c) = sum_k p(k) N(x; W m_k + b, W S_k W' + N) Poisson(c; r_k)."""
    latent = hm.Normal(2, posterior)
    leaf = hm.LinearGaussianModel(hm.Normal(3, hm.Diagonal()), latent)
    deep = hm.stack(leaf, hm.Mixture(latent, 2))
    count = hm.Mixture(hm.Poisson(), 2)
    hung = hm.Attached(count, hm.PosteriorEmbedding(deep.pst_man), deep.pst_prr_emb)
    model = hm.Parallel(deep, hung)
    swapped = hm.Parallel(hung, deep)

    @jax.jit
    def evaluate(key):
        point = model.initialize(key)
        xs, counts = model.observable_sample(key, point, (5,))
        turned = swapped.log_observable_densities(mirrored_once(swapped, point), (counts, xs))
        return point, xs, counts, model.log_observable_densities(point, (xs, counts)), turned

    point, xs, counts, densities, turned = evaluate(KEY)
    blocks, prior = point.interaction.blocks, model.prior(point)
    w, b, noise = read_linear(leaf, point.observable.components[0], blocks[0])
    rates = [
        np.exp(p.values[0])
        for p in count.components(
            count.point(
                point.observable.components[1],
                count.int_man.adopt(blocks[1]),
                count.pst_man.zeros(),
            )
        )
    ]
    upper = deep.prr_man
    expected = np.zeros((5, 2))
    for k, weight in enumerate(upper.weights(prior)):
        component = upper.components(prior)[k]
        mean, covariance = (
            np.asarray(f(component)) for f in (upper.obs_man.mean, upper.obs_man.covariance)
        )
        normal = stats.multivariate_normal(w @ mean + b, w @ covariance @ w.T + noise)
        expected[:, k] = np.log(weight) + normal.logpdf(xs) + stats.poisson(rates[k]).logpmf(counts)
    np.testing.assert_allclose(densities, special.logsumexp(expected, axis=1), rtol=1e-9)
    np.testing.assert_allclose(turned, densities, rtol=1e-12)


def test_leaves_at_three_depths_below_a_normal_root():
    """One leaf under two levels of latents, one under the upper of them, one under the root."""
    levels = [hm.factor_analysis(2, 2), hm.LinearGaussianModel(hm.Normal(2), hm.Normal(1))]
    upper = hm.stack(levels[1], hm.LinearGaussianModel(hm.Normal(1), hm.Normal(1)))
    deep = hm.stack(levels[0], upper)
    whole = hm.PosteriorEmbedding(upper)
    middle_leaf, top_leaf = hm.factor_analysis(1, 1), hm.factor_analysis(2, 1)
    middle = hm.ComposedEmbedding(whole, hm.ObservableEmbedding(upper.pst_man))
    top = hm.ComposedEmbedding(whole, hm.PosteriorEmbedding(upper.pst_man))
    model = hm.Parallel(deep, hm.Attached(middle_leaf, middle), hm.Attached(top_leaf, top))

    @jax.jit
    def evaluate(key):
        point = model.initialize(key)
        xs = model.observable_sample(key, point, (5,))
        return point, xs, model.log_observable_densities(point, xs)

    point, xs, densities = evaluate(KEY)
    leaves = (levels[0], middle_leaf, top_leaf)
    pairs = zip(leaves, point.observable.components, point.interaction.blocks, strict=True)
    triples = [read_linear(*triple) for triple in pairs]
    first, second, third = (np.asarray(w) for w, _, _ in triples)
    # The latents (y, z, t): y given z, z given t, and t.
    prior = model.prior(point)
    rest = upper.prior(prior)
    root = upper.pst_man.prior(rest)
    a, a0, noise_y = read_linear(levels[1], prior.observable, prior.interaction)
    c, c0, noise_z = read_linear(upper.pst_man, rest.observable, rest.interaction)
    normal = hm.Normal(1)
    t, var_t = np.asarray(normal.mean(root)), np.asarray(normal.covariance(root))
    spread = np.block(
        [[np.eye(2), a, a @ c], [np.zeros((1, 2)), np.eye(1), c], [np.zeros((1, 3)), np.eye(1)]]
    )
    covariance = spread @ linalg.block_diag(noise_y, noise_z, var_t) @ spread.T
    mean = np.concatenate([a @ (c @ t + c0) + a0, c @ t + c0, t])
    loadings = linalg.block_diag(first, second, third)
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
    point = model.initialize(KEY)
    first, second = model.observable_sample(jax.random.key(1), point, (4,))
    scales = jnp.asarray([2.0, 0.5]), jnp.asarray([[1.0, 0.3], [-0.2, 0.7]])
    shifts = jnp.asarray([1.0, -2.0]), jnp.asarray([0.4, 0.0])
    pushed = model.push_forward(point, scales, shifts)
    images = first * scales[0][None] + shifts[0][None], second @ scales[1].T + shifts[1][None]
    # log |2 * 0.5| = 0 for the first view
    expected = model.log_observable_densities(point, (first, second))
    expected = expected - jnp.log(jnp.linalg.det(scales[1]))
    np.testing.assert_allclose(model.log_observable_densities(pushed, images), expected, rtol=1e-9)


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
