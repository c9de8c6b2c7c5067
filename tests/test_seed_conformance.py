"""The page on graphical harmoniums that asked for this library, claim by claim.

Each test quotes the claim that it checks.
"""

import dataclasses
import inspect
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import harmonium as hm
from harmonium.harmoniums.embedding import embed_observable
from tests.compiled import compute
from tests.oracles import dense

FULL, DIAGONAL, SCALE = hm.PositiveDefinite(), hm.Diagonal(), hm.Scale()


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def hierarchy(depth, structure):
    """Linear Gaussian levels of 5, 4, 3, ... dimensions under a mixture; `depth` levels in all."""
    normals = [hm.Normal(5, DIAGONAL)] + [hm.Normal(5 - i, structure) for i in range(1, depth)]
    levels = [hm.LinearGaussianModel(*pair) for pair in itertools.pairwise(normals)]
    return hm.stack(*levels, hm.Mixture(normals[-1], 3))


HIERARCHIES = {
    f"{depth}-{name}": (depth, structure)
    for depth in (2, 3, 4)
    for name, structure in (("symmetric", FULL), ("diagonal", DIAGONAL), ("scale", SCALE))
}
NORMAL, RESTRICTED = hm.Normal(2), hm.Normal(2, DIAGONAL)
EMBEDDING = hm.families.NormalCovarianceEmbedding(RESTRICTED, NORMAL)
HARMONIUMS = {
    "mixture": hm.Mixture(RESTRICTED, 3),
    "linear-gaussian": hm.LinearGaussianModel(RESTRICTED, hm.Normal(3)),
    "hierarchy": hm.Hierarchical(
        hm.LinearGaussianModel(RESTRICTED, hm.Normal(3)), hm.Mixture(hm.Normal(3), 2)
    ),
}
harmoniums = pytest.mark.parametrize("harmonium", HARMONIUMS.values(), ids=HARMONIUMS.keys())


def leaves(point):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(point)]


def assert_equal(first, second):
    for ours, theirs in zip(leaves(first), leaves(second), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def random_mean(manifold, seed):
    """Any point in mean coordinates: projection does not ask whether it is attained."""
    rng = np.random.default_rng(seed)
    vector = rng.normal(size=manifold.dim)
    return jax.jit(lambda vector: manifold.unravel(vector, hm.Coordinates.MEAN))(vector)


# --- "class ObservableEmbedding(hrm_man: Harmonium[Observable, Posterior])"


@harmoniums
def test_observable_embedding_is_a_tuple_embedding_with_the_named_parts(harmonium):
    """'Bases: TupleEmbedding[Observable, Harmonium] ... Embedding of the observable manifold of a
    harmonium into the harmonium itself. ... property sub_man: Observable. The submanifold.'
    """
    assert issubclass(hm.harmoniums.ObservableEmbedding, hm.geometry.TupleEmbedding)
    assert issubclass(hm.geometry.TupleEmbedding, hm.geometry.LinearEmbedding)
    assert list(inspect.signature(hm.harmoniums.ObservableEmbedding).parameters) == ["hrm_man"]
    assert isinstance(
        inspect.getattr_static(hm.harmoniums.ObservableEmbedding, "sub_man"), property
    )
    embedding = hm.harmoniums.ObservableEmbedding(harmonium)
    assert embedding.hrm_man == harmonium
    assert embedding.sub_man == harmonium.obs_man
    assert embedding.amb_man == harmonium


@harmoniums
def test_observable_embedding_projects_onto_the_observable_component(harmonium):
    """'This embedding projects a harmonium coordinates onto the observable component'"""
    mean = random_mean(harmonium, seed=1)
    projected = hm.harmoniums.ObservableEmbedding(harmonium).project(mean)
    assert projected.manifold == harmonium.obs_man
    assert isinstance(projected, hm.Mean)
    assert_equal(projected, mean.observable)
    assert any(np.any(leaf) for leaf in leaves(projected))


@harmoniums
def test_observable_embedding_sets_interaction_and_latent_to_zero(harmonium):
    """'or embeds an observable point into the full harmonium space by setting interaction and
    latent parameters to zero'
    """
    observable = dense.random_point(harmonium.obs_man, seed=2)
    embedded = hm.harmoniums.ObservableEmbedding(harmonium).embed(observable)
    assert embedded.manifold == harmonium
    assert isinstance(embedded, hm.Natural)
    assert_equal(embedded.observable, observable)
    assert_equal(embedded.interaction, harmonium.int_man.zeros())
    assert_equal(embedded.latent, harmonium.pst_man.zeros())
    assert not any(np.any(leaf) for leaf in leaves(embedded.interaction) + leaves(embedded.latent))


@harmoniums
def test_observable_embedding_refuses_the_unsafe_directions(harmonium):
    """'Generally speaking, projection is only safe on mean coordinates, while embedding is only
    safe on natural coordinates.'
    """
    embedding = hm.harmoniums.ObservableEmbedding(harmonium)
    with pytest.raises(TypeError):
        embedding.project(dense.random_point(harmonium, seed=3))
    with pytest.raises(TypeError):
        embedding.embed(random_mean(harmonium.obs_man, seed=4))
    embedding.project(random_mean(harmonium, seed=5))
    embedding.embed(dense.random_point(harmonium.obs_man, seed=6))


# --- "class LatentHarmoniumEmbedding(pst_obs_emb, pst_hrm, prr_hrm)"


def latent_embedding(harmonium):
    return hm.harmoniums.LatentHarmoniumEmbedding(
        EMBEDDING, harmonium, embed_observable(harmonium, EMBEDDING)
    )


@harmoniums
def test_latent_harmonium_embedding_is_a_linear_embedding_with_the_named_parts(harmonium):
    """'Bases: LinearEmbedding ... pst_obs_emb: The embedding of the constrained observable manifold
    into the unconstrained observable manifold. pst_hrm: The harmonium that contains the constrained
    observable manifold. prr_hrm: The harmonium that contains the unconstrained observable manifold.
    property sub_man: The submanifold. property amb_man: The ambient manifold.'
    """
    assert issubclass(hm.harmoniums.LatentHarmoniumEmbedding, hm.geometry.LinearEmbedding)
    names = ["pst_obs_emb", "pst_hrm", "prr_hrm"]
    assert list(inspect.signature(hm.harmoniums.LatentHarmoniumEmbedding).parameters) == names
    assert [
        field.name for field in dataclasses.fields(hm.harmoniums.LatentHarmoniumEmbedding)
    ] == names
    for name in ("sub_man", "amb_man"):
        static = inspect.getattr_static(hm.harmoniums.LatentHarmoniumEmbedding, name)
        assert isinstance(static, property)
    embedding = latent_embedding(harmonium)
    assert embedding.pst_obs_emb == EMBEDDING
    assert embedding.sub_man == embedding.pst_hrm == harmonium
    assert embedding.amb_man == embedding.prr_hrm
    assert embedding.prr_hrm.obs_man == NORMAL
    assert embedding.pst_hrm.obs_man == RESTRICTED


@harmoniums
def test_latent_harmonium_embedding_embeds_leaf_by_leaf(harmonium):
    r"""'For harmonium points (o, i, l) where o is observable, i is interaction, and l is latent:
    ... Embedding: (o_1, i, l) \mapsto (e(o_1), i, l) where e embeds into Obs_2'
    """
    embedding = latent_embedding(harmonium)
    point = dense.random_point(harmonium, seed=7)
    embedded = embedding.embed(point)
    assert embedded.manifold == embedding.prr_hrm
    assert isinstance(embedded, hm.Natural)
    assert_equal(embedded.observable, EMBEDDING.embed(point.observable))
    np.testing.assert_array_equal(
        embedded.observable.shape, np.diag(np.asarray(point.observable.shape))
    )
    assert_equal(embedded.interaction, point.interaction)
    assert_equal(embedded.latent, point.latent)


@harmoniums
def test_latent_harmonium_embedding_projects_leaf_by_leaf(harmonium):
    r"""'Projection: (o_2, i, l) \mapsto (e^{-1}(o_2), i, l) where e^{-1} projects to Obs_1'"""
    embedding = latent_embedding(harmonium)
    mean = random_mean(embedding.prr_hrm, seed=8)
    projected = embedding.project(mean)
    assert projected.manifold == harmonium
    assert isinstance(projected, hm.Mean)
    assert_equal(projected.observable, EMBEDDING.project(mean.observable))
    np.testing.assert_array_equal(
        projected.observable.shape, np.diagonal(np.asarray(mean.observable.shape))
    )
    assert_equal(projected.interaction, mean.interaction)
    assert_equal(projected.latent, mean.latent)


@harmoniums
def test_latent_harmonium_embedding_refuses_the_unsafe_directions(harmonium):
    """'Projecting prior parameters down to the restricted posterior observable space. Embedding
    posterior observable parameters up to the fuller prior observable space', with the coordinates
    in which each of them is safe.
    """
    embedding = latent_embedding(harmonium)
    with pytest.raises(TypeError):
        embedding.project(dense.random_point(embedding.prr_hrm, seed=9))
    with pytest.raises(TypeError):
        embedding.embed(random_mean(harmonium, seed=10))


def test_latent_harmonium_embedding_requires_the_posterior_observable():
    """'pst_obs_emb embeds pst_hrm.obs_man into prr_hrm.obs_man': its submanifold."""
    with pytest.raises(TypeError, match=r"pst_obs_emb embeds .* of pst_hrm"):
        hm.harmoniums.LatentHarmoniumEmbedding(
            EMBEDDING, hm.Mixture(NORMAL, 3), hm.Mixture(NORMAL, 3)
        )


def test_latent_harmonium_embedding_requires_the_prior_observable():
    """'pst_obs_emb embeds pst_hrm.obs_man into prr_hrm.obs_man': its ambient manifold."""
    with pytest.raises(TypeError, match=r"pst_obs_emb embeds into .* of prr_hrm"):
        hm.harmoniums.LatentHarmoniumEmbedding(
            EMBEDDING, hm.Mixture(RESTRICTED, 3), hm.Mixture(RESTRICTED, 3)
        )


def test_latent_harmonium_embedding_requires_matching_latents():
    """'pst_hrm and prr_hrm have matching interaction and latent structures': the latents."""
    prior = embed_observable(hm.Mixture(RESTRICTED, 4), EMBEDDING)
    with pytest.raises(TypeError, match="the same latent manifold"):
        hm.harmoniums.LatentHarmoniumEmbedding(EMBEDDING, hm.Mixture(RESTRICTED, 3), prior)


def test_latent_harmonium_embedding_requires_matching_interactions():
    """'pst_hrm and prr_hrm have matching interaction and latent structures': the interactions."""
    prior = hm.Mixture(NORMAL, 3)  # all parameters mixed, the off-diagonal ones too
    with pytest.raises(TypeError, match="interactions between the same statistics"):
        hm.harmoniums.LatentHarmoniumEmbedding(EMBEDDING, hm.Mixture(RESTRICTED, 3), prior)


# --- hierarchies


@pytest.mark.parametrize("name", HIERARCHIES)
def test_a_hierarchy_is_a_conjugated_harmonium_over_one(name):
    """'In theory, a hierarchical harmonium is a conjugated harmonium where the latent manifold is
    itself a conjugated harmonium.' ... 'In a hierarchical harmonium, the lower harmonium's latent
    manifold equals the upper harmonium's observable manifold.' ... 'the posterior uses a restricted
    observable representation ..., while the prior uses a fuller representation'
    """
    depth, structure = HIERARCHIES[name]
    model = hierarchy(depth, structure)
    for _ in range(depth - 1):
        assert isinstance(model, hm.Hierarchical)
        assert isinstance(model, hm.Conjugated)
        assert isinstance(model, hm.Harmonium)
        assert isinstance(model.pst_man, hm.Conjugated)
        assert isinstance(model.prr_man, hm.Conjugated)
        assert model.lwr_hrm.pst_man == model.upr_hrm.obs_man
        assert model.pst_upr_hrm == model.upr_hrm == model.pst_man
        assert model.prr_upr_hrm == model.prr_man
        embedding = model.pst_prr_emb
        assert (embedding.sub_man, embedding.amb_man) == (model.pst_man, model.prr_man)
        if structure == FULL:
            assert isinstance(embedding, hm.geometry.IdentityEmbedding)
            assert model.prr_upr_hrm == model.pst_upr_hrm
        else:
            assert isinstance(embedding, hm.harmoniums.LatentHarmoniumEmbedding)
            assert (embedding.pst_hrm, embedding.prr_hrm) == (model.pst_man, model.prr_man)
            assert model.prr_upr_hrm.obs_man.covariance_structure == FULL
            assert model.pst_upr_hrm.obs_man.covariance_structure == structure
        model = model.pst_man
    assert isinstance(model, hm.Mixture)


def factors(chain, sample):
    """log p(x|y), log p(y|z), ... and the logarithm of the probability of the category."""
    logs = []
    for loadings, offset, noise in chain.levels:
        sample, x = sample.latent, sample.observable
        y = np.asarray(sample.observable)
        mean = np.asarray(y @ loadings.T) + offset
        logs.append(multivariate_normal(np.zeros(len(offset)), noise).logpdf(np.asarray(x) - mean))
    category = np.asarray(sample.latent)
    top = zip(chain.top.means, chain.top.covariances, strict=True)
    densities = [multivariate_normal(m, c).logpdf(np.asarray(sample.observable)) for m, c in top]
    logs.append(np.choose(category, densities))
    logs.append(np.log(chain.top.weights)[category])
    return logs


def joint_sample(model, point, seed, count=8):
    """Joint observations of all levels, drawn with NumPy."""
    rng = np.random.default_rng(seed)
    joint = dense.gaussians(model, point)
    categories = rng.choice(len(joint.weights), count, p=joint.weights)
    rows = [rng.multivariate_normal(joint.means[k], joint.covariances[k]) for k in categories]
    sizes = []
    while isinstance(model, hm.Harmonium):
        sizes.append(model.obs_man.data_dim)
        model = model.pst_man
    sample = categories
    for level in reversed(np.split(np.stack(rows), np.cumsum(sizes)[:-1], axis=1)):
        sample = hm.Joint(level, sample)
    return sample


@eqx.filter_jit
def log_densities(model, point, sample):
    return model.log_densities(point, sample)


@pytest.mark.parametrize("name", HIERARCHIES)
def test_the_joint_density_is_the_product_of_its_levels(name):
    """'A lower harmonium provides likelihood p(x|y) between observable x and first latent y. An
    upper harmonium provides likelihood p(y|z) between first latent y and second latent z. Together
    they form a joint distribution p(x,y,z) = p(x|y)p(y|z)p(z)'
    """
    depth, structure = HIERARCHIES[name]
    model = hierarchy(depth, structure)
    point = dense.random_point(model, seed=20 + depth)
    sample = joint_sample(model, point, seed=21)
    logs = factors(dense.read_chain(model, point), sample)
    assert len(logs) == depth + 1
    found = log_densities(model, point, sample)
    np.testing.assert_allclose(found, sum(logs), rtol=1e-9)


def test_a_hierarchy_made_of_given_levels_has_their_densities():
    """The same at depth 3, for parameters that are given: no prior is read off the model."""
    rng = np.random.default_rng(22)
    levels = [
        (rng.normal(size=(5, 4)), rng.normal(size=5), rng.uniform(0.3, 1, 5)),
        (rng.normal(size=(4, 3)), rng.normal(size=4), np.cov(rng.normal(size=(4, 20)))),
    ]
    roots = rng.normal(size=(3, 3, 3))
    covariances = roots @ np.swapaxes(roots, 1, 2) + 0.3 * np.eye(3)
    means, weights = rng.normal(size=(3, 3)), rng.dirichlet(np.ones(3))
    model = hierarchy(3, FULL)
    upper = model.upr_hrm
    mixture = upper.upr_hrm

    @jax.jit
    def build(levels, means, covariances, weights):
        components = jax.vmap(mixture.obs_man.from_moments)(means, covariances)
        upper_levels = (
            upper.lwr_hrm.from_loadings(*levels[1]),
            mixture.from_components(components, weights),
        )
        lower = model.lwr_hrm.from_loadings(*levels[0])
        return model.from_levels(lower, upper.from_levels(*upper_levels))

    point = build(levels, means, covariances, weights)
    noise = [(w, b, np.diag(s) if s.ndim == 1 else s) for w, b, s in levels]
    chain = dense.Chain(noise, dense.Gaussians(weights, means, covariances))
    sample = eqx.filter_jit(lambda m, p: m.sample(jax.random.key(23), p, (8,)))(model, point)
    expected = sum(factors(chain, sample))
    np.testing.assert_allclose(log_densities(model, point, sample), expected, rtol=1e-9)
    first = jax.tree.map(lambda leaf: np.asarray(leaf)[0], sample)
    one = eqx.filter_jit(lambda m, p, x: m.log_density(p, x))(model, point, first)
    np.testing.assert_allclose(one, expected[0], rtol=1e-9)


@pytest.mark.parametrize("name", ["2-diagonal", "3-symmetric", "3-scale", "4-diagonal"])
def test_conjugation_recurses(name):
    """'Key algorithms (conjugation, natural parameters, sampling) are implemented recursively
    through the model hierarchy': conjugation. Its parameters are those of the lower harmonium, in
    the observable slot of the upper one.
    """
    model = hierarchy(*HIERARCHIES[name])
    lower = model.lwr_hrm
    ys = [np.random.default_rng(25 + s).normal(size=lower.pst_man.data_dim) for s in range(3)]

    def conjugate(point, ys):
        interaction = point.interaction
        lower_point = lower.point(point.observable, interaction, lower.pst_man.zeros())
        own = model.conjugation_parameters(model.likelihood_function(point))
        rho, chi = lower.conjugation_parameters(lower.likelihood_function(lower_point))

        def both_sides(y):
            left = lower.obs_man.log_partition_function(lower.likelihood_at(lower_point, y))
            return left, hm.dot(rho, lower.prr_man.sufficient_statistic(y)) + chi

        return own, (rho, chi), jax.vmap(both_sides)(ys)

    found = compute(conjugate, dense.random_point(model, seed=24), np.stack(ys))
    (rho, chi), (lower_rho, lower_chi), (left, right) = found
    assert rho.manifold == model.prr_upr_hrm
    assert_equal(rho.observable, lower_rho)
    assert not any(np.any(leaf) for leaf in leaves(rho.interaction) + leaves(rho.latent))
    np.testing.assert_array_equal(chi, lower_chi)

    # And they do what conjugation means: psi(theta_X + Theta s(z)) = rho . s(z) + chi.
    np.testing.assert_allclose(left, right, rtol=1e-10)


@pytest.mark.parametrize("name", ["2-symmetric", "3-diagonal", "4-symmetric", "4-scale"])
def test_natural_parameters_recurse(name):
    """'... (conjugation, natural parameters, sampling) are implemented recursively': the prior of a
    hierarchy is a hierarchy, whose prior is the next one, up to the mixture's weights. Each is the
    marginal of the one before, and partition functions add up.
    """
    depth, structure = HIERARCHIES[name]
    model = hierarchy(depth, structure)
    point = dense.random_point(model, seed=26)
    joint = dense.gaussians(model, point)

    def ladder(point):
        own, levels = model, []
        for _ in range(1, depth):
            prior = own.prior(point)
            _, chi = own.conjugation_parameters(own.likelihood_function(point))
            left = own.log_partition_function(point)
            levels.append((prior, left, own.prr_man.log_partition_function(prior) + chi))
            own, point = own.prr_man, prior
        return levels, own.pst_man.probabilities(own.prior(point))

    levels, weights = compute(ladder, point)
    start = 0
    for level, (prior, left, right) in enumerate(levels, start=1):
        assert isinstance(prior, hm.Natural)
        np.testing.assert_allclose(left, right, rtol=1e-12)

        start += model.obs_man.data_dim
        model, point = model.prr_man, prior
        assert model == prior.manifold
        found, expected = dense.gaussians(model, point), joint.marginal(slice(start, None))
        assert found.means.shape[1] == sum(5 - i for i in range(level, depth))
        np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-9)
        np.testing.assert_allclose(found.means, expected.means, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(found.covariances, expected.covariances, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(weights, joint.weights, rtol=1e-9)


@pytest.mark.parametrize("name", ["3-symmetric", "4-diagonal"])
def test_sampling_recurses(name):
    """'... (conjugation, natural parameters, sampling) are implemented recursively': samples of
    each level have the moments of that level, and all levels together those of the joint.
    """
    depth, structure = HIERARCHIES[name]
    model = hierarchy(depth, structure)
    point = dense.random_point(model, seed=27)
    count = 20_000
    draw = eqx.filter_jit(lambda m, p: m.sample(jax.random.key(28), p, (count,)))
    sample = draw(model, point)
    levels = []
    for _ in range(depth):
        assert isinstance(sample, hm.Joint)
        levels.append(np.asarray(sample.observable))
        sample = sample.latent
    assert [level.shape for level in levels] == [(count, 5 - i) for i in range(depth)]
    joint = dense.gaussians(model, point)
    dense.assert_moments(np.concatenate(levels, axis=1), joint.mean(), joint.covariance())
    counts = np.bincount(np.asarray(sample), minlength=3)
    error = np.sqrt(count * joint.weights * (1 - joint.weights))
    np.testing.assert_array_less(np.abs(counts - count * joint.weights), 5 * error)


def test_information_flows_between_all_levels():
    """'This stacked structure supports deep representations where information flows between
    multiple levels of latent variables, while maintaining analytical tractability through conjugate
    relationships.' The posterior at each level, given an observation at the bottom, is exact.
    """
    model = hierarchy(4, FULL)
    point = dense.random_point(model, seed=29)
    joint = dense.gaussians(model, point)
    x = np.random.default_rng(30).normal(size=5) * 3
    posterior = eqx.filter_jit(lambda m, p, x: m.posterior_at(p, x))(model, point, jnp.asarray(x))
    found, expected = dense.gaussians(model.pst_man, posterior), joint.condition(x)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-9)
    np.testing.assert_allclose(found.means, expected.means, rtol=1e-9, atol=1e-11)
    # It tells something about every level: no posterior is the prior.
    prior = joint.marginal(slice(5, None))
    assert np.abs(expected.weights - prior.weights).max() > 1e-4
    for places in (slice(0, 4), slice(4, 7), slice(7, 9)):
        assert np.abs(expected.mean()[places] - prior.mean()[places]).max() > 1e-3


def test_a_hierarchy_is_one_pytree_to_vmap_and_grad_over():
    """'enabling efficient inference and learning despite the model's complexity': the parameters of
    all levels are one pytree, mapped and differentiated as a whole.
    """
    model = hierarchy(3, DIAGONAL)
    points = [dense.random_point(model, seed=31 + i) for i in range(3)]
    batch = jax.tree.map(lambda *rows: np.stack(rows), *points)
    assert batch.batch_shape == (3,)
    assert batch.manifold == model
    xs = np.random.default_rng(34).normal(size=(6, 5))

    @eqx.filter_jit
    def values_and_gradients(model, batch, xs):
        over_points = jax.vmap(
            jax.value_and_grad(model.average_log_observable_density), in_axes=(0, None)
        )
        return over_points(batch, xs)

    values, gradients = values_and_gradients(model, batch, xs)
    expected = [dense.observable(model, p).log_densities(xs).mean() for p in points]
    np.testing.assert_allclose(values, expected, rtol=1e-9)
    assert jax.tree.structure(gradients) == jax.tree.structure(batch)
    for gradient, leaf in zip(leaves(gradients), leaves(batch), strict=True):
        assert gradient.shape == leaf.shape
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0

    moved = jax.tree.map(lambda p, g: p + 1e-3 * np.asarray(g), batch, gradients)
    again, _ = values_and_gradients(model, moved, xs)
    assert np.all(np.asarray(again) > np.asarray(values))
    assert not jax.tree.leaves(model)
