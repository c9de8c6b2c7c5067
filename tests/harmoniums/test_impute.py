"""Hidden parts of observations, expected and drawn, against dense conditional distributions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import harmonium as hm
from harmonium.harmoniums.marginals import joined_moments
from tests.compiled import compute
from tests.oracles import dense

FACTORS = hm.factor_analysis(4, 2)
MODELS = {
    "full": hm.LinearGaussianModel(hm.Normal(4), hm.Normal(2)),
    "diagonal": FACTORS,
    "hierarchy": hm.hierarchical_mixture_of_gaussians(4, 2, 3),
    "mixture": hm.Mixture(hm.Normal(4), 3),
    "analysers": hm.Mixture(FACTORS, 3),
}
MASKS = np.array(
    [[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 0], [0, 1, 1, 1], [0, 0, 1, 0], [1, 0, 1, 0]], bool
)
XS = 1.5 * np.random.default_rng(0).normal(size=MASKS.shape)
HOLES = np.where(MASKS, XS, np.nan)
N_DRAWS = 20_000


@functools.cache
def point_of(name):
    return jax.jit(MODELS[name].initialize)(jax.random.key(1))


@functools.cache
def filled_of(name):
    return np.asarray(hm.impute(MODELS[name], point_of(name), HOLES, MASKS))


@functools.cache
def observable(name):
    """The dense Gaussian mixture of the observables."""
    model, point = MODELS[name], point_of(name)
    if name != "analysers":
        return dense.observable(model, point)
    components, weights = compute(lambda p: (model.components(p), model.weights(p)), point)
    parts = [dense.observable(FACTORS, component) for component in components]
    means, covariances = (np.concatenate(own) for own in list(zip(*parts, strict=True))[1:])
    return dense.Gaussians(weights, means, covariances)


def conditional(name, x, mask):
    """The dense Gaussian mixture of the hidden entries given the others."""
    seen, hidden = np.flatnonzero(mask), np.flatnonzero(~mask)
    order = np.concatenate([seen, hidden])
    weights, means, covariances = observable(name)
    permuted = dense.Gaussians(weights, means[:, order], covariances[:, order][:, :, order])
    return permuted.condition(x[seen]) if len(seen) else permuted


@pytest.mark.parametrize("name", MODELS)
def test_expectations_are_those_of_dense_conditionals(name):
    filled = filled_of(name)
    assert filled.shape == XS.shape
    np.testing.assert_array_equal(filled[MASKS], XS[MASKS])
    for row, x, mask in zip(filled, XS, MASKS, strict=True):
        if not mask.all():
            expected = conditional(name, x, mask).mean()
            np.testing.assert_allclose(row[~mask], expected, rtol=1e-9, atol=1e-11)


def test_single_and_compiled_and_small_are_the_same():
    model, point = MODELS["hierarchy"], point_of("hierarchy")
    filled = filled_of("hierarchy")
    single = hm.impute(model, point, HOLES[2], MASKS[2])
    np.testing.assert_allclose(single, filled[2], rtol=1e-12)
    compiled = compute(functools.partial(hm.impute, model), point, HOLES, MASKS)
    np.testing.assert_allclose(compiled, filled, rtol=1e-12)
    small = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), jax.device_get(point))

    def fill_and_draw(point, key):
        draws = hm.impute(model, point, HOLES, MASKS, key, (2,))
        return hm.impute(model, point, HOLES, MASKS), draws

    found, draws = compute(fill_and_draw, small, jax.random.key(0))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, filled, rtol=1e-4, atol=1e-4)
    assert draws.dtype == jnp.float32 and draws.shape == (2, *XS.shape)
    assert np.all(np.isfinite(draws))


@pytest.mark.parametrize("name", MODELS)
def test_draws_have_the_moments_of_dense_conditionals(name):
    """First and second moments within five standard errors, observation by observation."""
    model, point, key = MODELS[name], point_of(name), jax.random.key(2)
    rows = [1, 2, 3]
    draws = hm.impute(model, point, HOLES[rows], MASKS[rows], key, (N_DRAWS,))
    assert draws.shape == (N_DRAWS, 3, 4)
    draws = np.asarray(draws)
    for index, row in enumerate(rows):
        own, mask = draws[:, index], MASKS[row]
        np.testing.assert_array_equal(own[:, mask], np.tile(XS[row, mask], (N_DRAWS, 1)))
        expected = conditional(name, XS[row], mask)
        dense.assert_moments(own[:, ~mask], expected.mean(), expected.covariance())


def test_draws_depend_on_the_key_alone():
    model, point, key = MODELS["mixture"], point_of("mixture"), jax.random.key(3)
    draws = hm.impute(model, point, HOLES, MASKS, key, (2, 3))
    assert draws.shape == (2, 3, *XS.shape)
    np.testing.assert_array_equal(hm.impute(model, point, HOLES, MASKS, key, (2, 3)), draws)
    elsewhere = np.where(MASKS, XS, 1e6)
    np.testing.assert_array_equal(hm.impute(model, point, elsewhere, MASKS, key, (2, 3)), draws)
    hidden = np.asarray(draws)[:, :, ~MASKS].reshape(6, -1)
    others = hm.impute(model, point, HOLES, MASKS, jax.random.key(4), (2, 3))
    others = np.asarray(others)[:, :, ~MASKS].reshape(6, -1)
    every = np.concatenate([hidden, others])
    assert len(np.unique(every)) == every.size  # all draws are fresh
    one = HOLES[2], MASKS[2]
    shapes = ((HOLES, MASKS), (), XS.shape), (one, (), (4,)), (one, (5, 2), (5, 2, 4))
    for data, shape, expected in shapes:
        draw = functools.partial(hm.impute, model, point, *data, shape=shape)
        assert jax.eval_shape(draw, key).shape == expected


# --- several types in one record

RECORD = hm.Product(hm.Normal(2), hm.Categorical(3), hm.Poisson())
RECORDS = hm.Mixture(RECORD, 2)
WEIGHTS = np.array([0.3, 0.7])
CENTRES = np.array([[0.0, 1.0], [1.5, -1.0]])
COVARIANCES = np.array([[[1.0, 0.6], [0.6, 2.0]], [[1.5, -0.4], [-0.4, 0.5]]])
SHARES = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
RATES = np.array([2.0, 6.0])
COUNTS = np.arange(80)
VECTOR, CATEGORY, COUNT = np.array([0.4, -0.2]), 2, 1
RECORD_MASKS = (
    np.array([[1, 0], [1, 1], [0, 0], [0, 1], [0, 0]], bool),
    np.array([1, 0, 1, 0, 0], bool),
    np.array([1, 1, 0, 0, 0], bool),
)


@functools.cache
@jax.jit
def records_point():
    normal, categorical, poisson = RECORD.parts
    components = [
        hm.geometry.ProductPoint(
            (
                normal.from_mean_covariance(CENTRES[k], COVARIANCES[k]),
                categorical.from_probabilities(SHARES[k]),
                poisson.from_rate(RATES[k]),
            ),
            RECORD,
            hm.Coordinates.NATURAL,
        )
        for k in range(2)
    ]
    return RECORDS.from_components(components, WEIGHTS)


def records():
    """The same record five times, with something impossible where it is hidden."""
    vectors, categories, counts = RECORD_MASKS
    return (
        np.where(vectors, VECTOR, np.nan),
        np.where(categories, CATEGORY, 99),
        np.where(counts, COUNT, -5),
    )


def hidden_parts(row):
    """What is expected of the three parts, by enumeration of categories and of counts."""
    seen, has_category, has_count = (own[row] for own in RECORD_MASKS)
    scores, vectors = np.log(WEIGHTS), []
    for k in range(2):
        here, there = np.flatnonzero(seen), np.flatnonzero(~seen)
        known = COVARIANCES[k][np.ix_(here, here)]
        vector = VECTOR.copy()
        vector[there] = CENTRES[k][there]
        if len(here):
            scores[k] += stats.multivariate_normal(CENTRES[k][here], known).logpdf(VECTOR[here])
            gain = np.linalg.solve(known, COVARIANCES[k][np.ix_(here, there)]).T
            vector[there] += gain @ (VECTOR[here] - CENTRES[k][here])
        vectors.append(vector)
        scores[k] += np.log(SHARES[k, CATEGORY]) if has_category else 0
        scores[k] += stats.poisson(RATES[k]).logpmf(COUNT) if has_count else 0
    posterior = special.softmax(scores)
    categories = np.eye(3)[CATEGORY] if has_category else posterior @ SHARES
    counts = posterior @ stats.poisson(RATES[:, None]).pmf(COUNTS[None])
    counts = np.eye(len(COUNTS))[COUNT] if has_count else counts
    return posterior @ np.stack(vectors), categories, counts


@functools.cache
def filled_records():
    return hm.impute(RECORDS, records_point(), records(), RECORD_MASKS)


def test_parts_of_records_are_expected_by_enumeration():
    vectors, categories, counts = jax.device_get(filled_records())
    assert jnp.issubdtype(categories.dtype, jnp.integer)
    assert jnp.issubdtype(counts.dtype, jnp.floating)
    chosen = set()
    for row in range(5):
        vector, probabilities, masses = hidden_parts(row)
        np.testing.assert_allclose(vectors[row], vector, rtol=1e-9)
        np.testing.assert_allclose(counts[row], masses @ COUNTS, rtol=1e-9)
        assert int(categories[row]) == np.argmax(probabilities)
        chosen.add(int(categories[row]))
    assert chosen == {0, 2}  # the masks matter


def test_parts_of_records_are_drawn_as_enumerated():
    """Frequencies and averages within five standard errors."""
    point, key = records_point(), jax.random.key(5)
    drawn = hm.impute(RECORDS, point, records(), RECORD_MASKS, key, (N_DRAWS,))
    vectors, categories, counts = map(np.asarray, drawn)
    assert np.issubdtype(categories.dtype, np.integer) and np.issubdtype(counts.dtype, np.integer)
    for row in range(5):
        vector, probabilities, masses = hidden_parts(row)
        errors = 5 * vectors[:, row].std(axis=0) / np.sqrt(N_DRAWS)
        np.testing.assert_array_less(np.abs(vectors[:, row].mean(axis=0) - vector), errors + 1e-12)
        found = np.bincount(categories[:, row], minlength=3) / N_DRAWS
        errors = 5 * np.sqrt(probabilities * (1 - probabilities) / N_DRAWS)
        np.testing.assert_array_less(np.abs(found - probabilities), errors + 1e-12)
        found = np.bincount(counts[:, row], minlength=len(COUNTS)) / N_DRAWS
        # One draw is allowed for, as rare counts may not occur at all.
        errors = 5 * np.sqrt(masses * (1 - masses) / N_DRAWS) + 1 / N_DRAWS
        np.testing.assert_array_less(np.abs(found - masses), errors)


def test_one_record_is_filled_like_many():
    point = records_point()
    one = jax.tree.map(lambda leaf: leaf[3], (records(), RECORD_MASKS))
    many = jax.device_get(filled_records())
    for found, expected in zip(hm.impute(RECORDS, point, *one), many, strict=True):
        np.testing.assert_allclose(found, expected[3], rtol=1e-12)
    draw = functools.partial(hm.impute, RECORDS, point, *one, shape=(7,))
    drawn = jax.eval_shape(draw, jax.random.key(0))
    assert [leaf.shape for leaf in drawn] == [(7, 2), (7,), (7,)]


# --- families of which mean parameters do not tell what to expect


def test_families_without_expectations_are_drawn():
    model = hm.Mixture(hm.Product(hm.Normal(1), hm.Beta()), 2)
    point = jax.jit(model.initialize)(jax.random.key(0))
    xs, masks = (np.ones((2, 1)), np.full(2, 0.3)), (np.ones((2, 1), bool), np.zeros(2, bool))
    with pytest.raises(TypeError, match=r"Beta\(\) do not tell what.*Draw samples"):
        hm.impute(model, point, xs, masks)
    reals, shares = hm.impute(model, point, xs, masks, jax.random.key(1), (50,))
    np.testing.assert_array_equal(reals, np.ones((50, 2, 1)))
    shares = np.asarray(shares)
    assert np.all((shares > 0) & (shares < 1)) and len(np.unique(shares)) == 100


def test_latents_of_a_part_of_the_components_are_hidden_too():
    """A record of a vector that factors explain and a count, under a mixture: by Bayes' rule."""
    model = hm.Mixture(hm.Product(FACTORS, hm.Poisson()), 2)
    plain = hm.Mixture(hm.Product(hm.Normal(FACTORS.obs_man.data_dim), hm.Poisson()), 2)
    n = FACTORS.obs_man.data_dim
    xs = np.zeros((3, n)), np.arange(3)
    observed = np.ones((3, n), bool), np.zeros(3, bool)

    def fill(key):
        point = model.initialize(key)
        factors, counts = model.components(point).components
        moments = jax.vmap(lambda own: joined_moments(FACTORS, own))(factors)
        normals = jax.vmap(plain.obs_man.parts[0].from_moments)(*moments)
        records = hm.geometry.ProductPoint((normals, counts), plain.obs_man, hm.Coordinates.NATURAL)
        dense = plain.from_components(records, model.weights(point))
        drawn = hm.impute(model, point, xs, observed, key)
        means = [hm.impute(*pair, xs, observed) for pair in ((model, point), (plain, dense))]
        return *means, drawn

    ours, theirs, drawn = compute(fill, jax.random.key(0))
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-9)
    np.testing.assert_array_equal(drawn[0], xs[0])
    assert np.all(drawn[1] >= 0)
