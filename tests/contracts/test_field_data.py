"""Data as they come from the field: integers of all widths, half precision, NaN, bad values."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.compiled import compute

RANDOM = np.random.default_rng(0)
ANSWERS = hm.Mixture(hm.Replicated(hm.Categorical(3), 4), 2)
RECORDS = hm.Mixture(hm.Product(hm.Normal(2), hm.Poisson()), 2)
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


# --- outside the support: which row and column, which value, and what would be right

OUTSIDE = {
    "category": (hm.Categorical(3), [0, 2, 3], "row 2 .* got 3, and categories are 0 to 2"),
    "binomial": (hm.Binomial(4), [1, 5], "row 1 .* got 5, and counts are 0 to 4"),
    "bernoulli": (hm.Bernoulli(), [0, 1, 2], "row 2 .* got 2, and values are 0 or 1"),
    "poisson": (hm.Poisson(), [3, -1], "row 1 .* got -1, and counts are 0 or more"),
    "negative binomial": (hm.NegativeBinomial(2.0), [-2], "row 0 .* got -2, and counts are 0 or"),
    "geometric": (hm.Geometric(), [1, 0], "row 1 .* got 0, and numbers of trials are 1 or more"),
    "beta": (hm.Beta(), [0.5, 1.0], "row 1 .* got 1.0, and shares are above 0 and below 1"),
    "gamma": (hm.Gamma(), [1.0, 0.0], "row 1 .* got 0.0, and numbers are positive and finite"),
    "exponential": (hm.Exponential(), [-1.0], "row 0 .* got -1.0, and numbers are finite and not"),
    "angle": (hm.VonMises(), [0.0, 4.0], "row 1 .* got 4.0, and angles are radians from -pi"),
    "shares": (
        hm.Dirichlet(3),
        [[0.2, 0.3, 0.5], [0.5, 0.5, 0.5]],
        "row 1 .* and shares are positive and sum to 1",
    ),
    "multinomial": (
        hm.Multinomial(3, 2),
        [[1, 2], [2, 2]],
        "row 1 .* got .2 2., and counts are 0 or more and sum to 3",
    ),
    "vector": (
        hm.Normal(2),
        [[0.0, 1.0], [0.0, np.inf]],
        "row 1, column 1 .* got inf, and numbers",
    ),
    "questionnaire": (
        ANSWERS,
        [[0, 1, 2, 0], [0, 1, 2, 3]],
        "row 1, column 3 .* got 3, and categories are 0 to 2; if counted from 1, subtract 1",
    ),
    "record": (
        RECORDS,
        (np.zeros((3, 2)), np.array([1, 2, -4])),
        "row 2, part 1 .* got -4, and counts are 0 or more",
    ),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_row_outside_the_support_is_named_with_its_value_and_the_rule(name):
    model, xs, message = OUTSIDE[name]
    xs = xs if isinstance(xs, tuple) else np.asarray(xs)
    with pytest.raises(ValueError, match=message):
        hm.fit(model, xs, key=KEY, progress=False)


def test_rows_of_memory_maps_are_named_alike():
    batches = hm.Batches([np.array([[0, 1, 2, 0]] * 5), np.array([[0, 1, 2, 0], [0, 3, 2, 0]])])
    with pytest.raises(ValueError, match=r"row 1 of batch 1.*, column 1 .* got 3, and categ"):
        hm.fit(ANSWERS, batches, key=KEY, progress=False)


# --- integers of every width, at the ends of their ranges

WIDTHS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")


@pytest.mark.parametrize("dtype", WIDTHS)
def test_integers_of_any_width_are_the_same_numbers(dtype):
    """Poissons, a category of 256 and a binomial, each up to the largest number of the type."""
    largest = min(int(np.iinfo(dtype).max), 2**31 - 1)
    counts = np.array([0, 1, largest - 1, largest])
    cases = [
        (hm.Poisson(), hm.Poisson().from_rate(largest / 2), counts),
        (hm.Binomial(largest), hm.Binomial(largest).zeros(), counts),
        (hm.Categorical(256), hm.Categorical(256).zeros(), np.minimum(counts, 255)),
    ]
    wide = [family.average_sufficient_statistic(xs) for family, _, xs in cases]
    narrow = [family.average_sufficient_statistic(xs.astype(dtype)) for family, _, xs in cases]
    for a, b in zip(wide, narrow, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
    for family, point, xs in cases:
        found = family.log_densities(point, xs.astype(dtype))
        np.testing.assert_array_equal(found, family.log_densities(point, xs.astype("int64")))
        assert np.all(np.isfinite(found))
    np.testing.assert_allclose(
        float(cases[0][0].mean(cases[0][0].to_natural(wide[0]))), counts.mean()
    )


@pytest.mark.parametrize("xs", [[2**31, 5], np.array([2**32 + 5, 7]), np.array([2**63], "uint64")])
def test_integers_beyond_32_bits_are_refused_in_single_precision(xs):
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match=r"beyond the range of int32.*jax_enable_x64"):
            hm.fit(hm.Poisson(), xs)
        # Of positive numbers nothing but rounding is lost.
        sizes = np.array([3_000_000_000, 5_000_000_000])
        mean = hm.Exponential().mean(hm.fit(hm.Exponential(), sizes).params)
        np.testing.assert_allclose(float(mean), 4e9, rtol=1e-6)


def test_integers_beyond_32_bits_are_exact_in_double_precision():
    views = np.array([4_294_967_301, 4_294_967_300, 4_294_967_299, 4_294_967_303])
    rate = hm.Poisson().mean(hm.fit(hm.Poisson(), views).params)
    np.testing.assert_allclose(float(rate), views.mean(), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", jnp.bfloat16])
def test_rows_in_half_precision_are_widened(dtype):
    xs = RANDOM.normal(size=(40, 2)).astype(np.float16)
    xs = jnp.asarray(xs, dtype) if dtype == jnp.bfloat16 else xs
    found = hm.fit(hm.Normal(2), xs)
    expected = hm.fit(hm.Normal(2), np.asarray(xs, np.float64))
    np.testing.assert_allclose(found.log_likelihood, expected.log_likelihood, rtol=1e-12)


# --- numbers of NumPy where those of Python are asked for


def test_numbers_of_numpy_are_numbers():
    assert hm.Mixture(hm.Normal(np.int64(2)), np.int32(3)) == hm.Mixture(hm.Normal(2), 3)
    assert hm.Categorical(np.array(3)) == hm.Categorical(3)
    model = hm.Normal(2)
    point = model.initialize(KEY)
    rows = model.sample(KEY, point, (4,))
    for key, shape in ((KEY, 4), (0, (np.int64(4),)), (np.int64(0), [4])):
        np.testing.assert_array_equal(model.sample(key, point, shape), rows)
    assert hm.fit(model, RANDOM.normal(size=(9, 2)), max_steps=np.int64(10)).converged


# --- what is missing: never scored, and filled in or averaged over where it is said to be


def spoilt():
    xs = RANDOM.normal(size=(6, 2)), RANDOM.poisson(3, 6)
    xs[0][4, 1] = np.nan
    return xs


SCORES = (
    "log_observable_densities",
    "average_log_observable_density",
    "mean_posterior_statistics",
    "expectation_maximization",
    "expected_latents",
    "assign",
)


@pytest.mark.parametrize("name", SCORES)
def test_nan_is_never_scored(name):
    point, xs = RECORDS.initialize(KEY), spoilt()
    with pytest.raises(ValueError, match=r"row 4.* column 1 .*(is NaN|got nan)"):
        getattr(RECORDS, name)(point, xs)
    seen = ~np.isnan(xs[0]), np.ones(6, bool)
    values = jax.tree.leaves(getattr(RECORDS, name)(point, xs, observed=seen))
    assert all(np.all(np.isfinite(value)) for value in values)


def test_nan_is_not_scored_in_families_and_single_observations():
    normal = hm.Normal(2)
    point, bad = normal.initialize(KEY), np.array([[0.0, 1.0], [np.nan, 1.0]])
    with pytest.raises(ValueError, match=r"row 1, column 0 .* is NaN"):
        normal.log_densities(point, bad)
    with pytest.raises(ValueError, match="there is NaN in this observation"):
        normal.log_density(point, bad[1])
    mixture = RECORDS.initialize(KEY)
    for name in ("log_observable_density", "posterior_at", "posterior_probabilities"):
        with pytest.raises(ValueError, match=r"NaN in this|this observation is outside"):
            getattr(RECORDS, name)(mixture, (bad[1], 3))


def test_single_observations_outside_the_support_are_refused():
    point = ANSWERS.initialize(KEY)
    for name in ("posterior_at", "posterior_probabilities", "posterior_statistics"):
        with pytest.raises(ValueError, match=re.escape("categories are 0 to 2")):
            getattr(ANSWERS, name)(point, np.array([7, 0, 1, 0]))
    # Their density is zero.
    assert ANSWERS.log_observable_density(point, np.array([7, 0, 1, 0])) == -np.inf


def test_batched_posteriors_take_masks():
    """Labels and latents given masks are those of single rows, in compiled functions, too."""
    point = RECORDS.initialize(KEY)
    xs = RANDOM.normal(size=(7, 2)), RANDOM.poisson(3, 7)
    seen = RANDOM.random((7, 2)) < 0.6, RANDOM.random(7) < 0.6

    def one(x, mask):
        return RECORDS.posterior_probabilities(point, x, mask)

    rows = compute(jax.vmap(one), *jax.tree.map(jnp.asarray, (xs, seen)))
    np.testing.assert_array_equal(RECORDS.assign(point, xs, observed=seen), rows.argmax(axis=1))
    found = RECORDS.expected_latents(point, xs, observed=seen)
    np.testing.assert_allclose(found, rows[:, 1:], rtol=1e-9)
    jitted = compute(lambda own: RECORDS.expected_latents(point, own, observed=seen), xs)
    np.testing.assert_allclose(jitted, found, rtol=1e-12)


def test_holes_in_questionnaires_are_masks():
    """Categories and counts with NaN, as tables have them, are fitted as with masks."""
    answers = RANDOM.choice(3, (50, 4)).astype(float)
    seen = RANDOM.random(answers.shape) > 0.2
    settings = {"key": KEY, "max_steps": 5, "progress": False}
    holes = np.where(seen, answers, np.nan)
    found = hm.fit(ANSWERS, holes, missing="nan", **settings)
    expected = hm.fit(ANSWERS, np.where(seen, answers, 0).astype(int), observed=seen, **settings)
    np.testing.assert_array_equal(found.log_likelihood, expected.log_likelihood)
    with pytest.raises(TypeError, match="integers of shape"):
        hm.fit(ANSWERS, holes + 0.5, missing="nan", **settings)
