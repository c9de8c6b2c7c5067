"""Labels: latents that are data where they are known, against NumPy, enumeration and regression."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import harmonium as hm

RANDOM = np.random.default_rng(5)
CENTRES = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
LABELS = RANDOM.integers(0, 3, 240)
XS = CENTRES[LABELS] + RANDOM.normal(size=(240, 2))
SOME = np.where(RANDOM.random(240) < 0.2, LABELS, -1)
MIXTURE = hm.Mixture(hm.Normal(2), 3)
LABELLED = hm.Labelled(MIXTURE)


def assert_close(found, expected, rtol=1e-9):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-12)


def fit(model=MIXTURE, xs=XS, **options):
    options = {"key": jax.random.key(0), "prior": None, "progress": False} | options
    return hm.fit(model, xs, **options)


def parameters(params):
    """Weights (3,), means (3, 2) and covariances (3, 2, 2)."""
    moments = jax.vmap(MIXTURE.obs_man.mean_and_covariance)(MIXTURE.components(params))
    return MIXTURE.weights(params), *moments


def test_with_all_labels_a_mixture_is_fitted_class_by_class():
    weights, means, covariances = parameters(fit(labels=LABELS).params)
    for k in range(3):
        own = XS[k == LABELS]
        assert_close(weights[k], len(own) / 240)
        assert_close(means[k], own.mean(axis=0))
        assert_close(covariances[k], np.cov(own.T, bias=True))


def test_without_a_known_label_the_fit_is_that_without_labels():
    plain, unknown = fit(), fit(labels=np.full(240, -1))
    assert plain.params.manifold == unknown.params.manifold == MIXTURE
    np.testing.assert_array_equal(plain.history, unknown.history)
    jax.tree.map(np.testing.assert_array_equal, plain.params, unknown.params)


def numpy_step(weights, means, covariances):
    """A step of EM, and the log-likelihood before it, by hand."""
    densities = np.stack(
        [
            weights[k] * stats.multivariate_normal(means[k], covariances[k]).pdf(XS)
            for k in range(3)
        ],
        axis=1,
    )
    known = SOME >= 0
    densities[known] *= SOME[known, None] == np.arange(3)
    value = np.log(densities.sum(axis=1)).mean()
    shares = densities / densities.sum(axis=1, keepdims=True)
    totals = shares.sum(axis=0)
    means = shares.T @ XS / totals[:, None]
    covariances = np.stack(
        [(shares[:, k, None] * (XS - means[k])).T @ (XS - means[k]) / totals[k] for k in range(3)]
    )
    return value, (totals / 240, means, covariances)


def test_with_some_labels_em_is_that_by_hand_and_never_loses():
    start = MIXTURE.from_components(
        jax.vmap(MIXTURE.obs_man.from_mean_covariance)(
            jnp.asarray(CENTRES + 1), jnp.tile(3 * jnp.eye(2), (3, 1, 1))
        ),
        np.full(3, 1 / 3),
    )
    by_hand, values = parameters(start), []
    for _ in range(4):
        value, by_hand = numpy_step(*by_hand)
        values.append(value)
    found = fit(labels=SOME, starts=start, max_steps=5, tolerance=0)  # the last is evaluated only
    for own, expected in zip(parameters(found.params), by_hand, strict=True):
        assert_close(own, expected)
    assert np.all(np.diff(values) > 0)
    assert_close(found.history[:4], values)


def test_components_start_from_the_observations_with_their_labels():
    few = np.full(240, -1)
    for k in range(3):
        few[np.flatnonzero(k == LABELS)[:2]] = k
    found = hm.fit(MIXTURE, XS, labels=few, key=jax.random.key(1), n_starts=1, progress=False)
    assert np.mean(MIXTURE.assign(found.params, XS) == LABELS) > 0.95


def test_classes_without_labels_are_found_beside_those_with_labels():
    some = np.where(LABELS == 2, -1, SOME)
    found = hm.fit(MIXTURE, XS, labels=some, key=jax.random.key(1), progress=False)
    assert np.mean(MIXTURE.assign(found.params, XS) == LABELS) > 0.95


def test_labels_known_by_a_mask_and_missing_values_go_together():
    xs = np.where(RANDOM.random(XS.shape) < 0.1, np.nan, XS)
    known = SOME >= 0
    options = {"missing": "nan", "max_steps": 3, "n_starts": 1}
    marked = fit(xs=xs, labels=SOME, **options)
    masked = fit(xs=xs, labels=LABELS, labelled=known, **options)
    jax.tree.map(np.testing.assert_array_equal, marked.params, masked.params)
    params = LABELLED.wrap(marked.params)
    weights, means, covariances = map(np.asarray, parameters(marked.params))
    densities = LABELLED.log_observable_densities(
        params, (xs, LABELS), observed=(~np.isnan(xs), known)
    )
    for n in range(0, 240, 7):
        seen = ~np.isnan(xs[n])
        joint = [
            weights[k]
            * stats.multivariate_normal(means[k][seen], covariances[k][np.ix_(seen, seen)]).pdf(
                xs[n][seen]
            )
            if seen.any()
            else weights[k]
            for k in range(3)
        ]
        assert_close(densities[n], np.log(joint[LABELS[n]] if known[n] else np.sum(joint)))


@pytest.mark.parametrize("label", range(3))
def test_the_posterior_of_a_known_label_is_certain(label):
    params = LABELLED.wrap(MIXTURE.initialize(jax.random.key(0)))
    found = LABELLED.posterior_probabilities(params, (XS[0], label))
    assert_close(found, np.eye(3)[label])


def three_levels():
    """Counts under three categories, under two, under two, and all their probabilities."""
    model = hm.stack(
        hm.Mixture(hm.Poissons(2), 3),
        hm.Mixture(hm.Categorical(3), 2),
        hm.Mixture(hm.Categorical(2), 2),
    )
    return model, jax.jit(model.initialize)(jax.random.key(3))


@pytest.mark.parametrize("latents", [(0,), (1,), (-1,), (0, 2)])
def test_labels_between_levels_equal_enumeration(latents):
    model, point = three_levels()
    whole = hm.Labelled(model, latents)
    x = np.array([2, 1])
    states = list(itertools.product(range(3), range(2), range(2)))
    joints = [hm.Joint(x, hm.Joint(a, hm.Joint(b, c))) for a, b, c in states]
    stacked = jax.tree.map(lambda *own: np.stack(own), *joints)
    logs = np.asarray(model.log_densities(point, stacked))
    statistics = jax.vmap(model.sufficient_statistic)(stacked)
    label = (1, 1, 0)
    agrees = [all(s[n % 3] == label[n % 3] for n in latents) for s in states]
    datum = (x, *(label[n % 3] for n in sorted(n % 3 for n in latents)))
    observed = ((np.array([True, True])), *(np.array(True) for _ in latents))
    for mask, rows in (
        (None, agrees),
        (observed, agrees),
        ((observed[0], *[np.array(False)] * len(latents)), [True] * 12),
    ):
        own = np.where(rows, logs, -np.inf)
        assert_close(
            whole.log_observable_density(whole.wrap(point), datum, mask), np.logaddexp.reduce(own)
        )
        shares = np.exp(own - np.logaddexp.reduce(own))
        expected = jax.tree.map(functools.partial(np.tensordot, shares, axes=1), statistics)
        found = whole.posterior_statistics(whole.wrap(point), datum, mask)
        jax.tree.map(assert_close, whole.unwrap(found), expected)
        top = [shares[[s[2] == k for s in states]].sum() for k in range(2)]
        assert_close(whole.posterior_probabilities(whole.wrap(point), datum, mask), top)


def test_measured_latents_make_a_regression_of_factor_analysis():
    model = hm.factor_analysis(3, 2)
    zs = 1.5 * RANDOM.normal(size=(80, 2)) + 1
    xs = zs @ RANDOM.normal(size=(2, 3)) + RANDOM.normal(size=(80, 3))
    design = np.column_stack([zs, np.ones(80)])
    expected = np.linalg.lstsq(design, xs, rcond=None)[0]
    residuals = xs - design @ expected
    # Latents stay where they were measured: the prior is that of the measurements.
    params = fit(model, xs, labels=zs).params
    normal = model.likelihood_at(params, np.zeros(2))
    offset, noise = model.obs_man.mean_and_covariance(normal)
    prior_mean, prior_covariance = model.pst_man.mean_and_covariance(model.prior(params))
    assert_close(prior_mean, zs.mean(axis=0))
    assert_close(prior_covariance, np.cov(zs.T, bias=True))
    assert_close(model.loadings(params), expected[:2].T)
    assert_close(offset, expected[2])
    assert_close(noise, (residuals**2).mean(axis=0))


def test_hierarchies_learn_classes_from_labels():
    model = hm.hierarchical_mixture_of_gaussians(6, 2, 3)
    xs = XS @ RANDOM.normal(size=(2, 6)) + 0.3 * RANDOM.normal(size=(240, 6))
    seen = []
    found = hm.fit(
        model,
        xs,
        labels=SOME,
        key=jax.random.key(0),
        max_steps=30,
        n_starts=2,
        progress=False,
        monitor=lambda n, point: seen.append(point.manifold),
    )
    assert found.params.manifold == model and set(seen) == {model}
    assert np.all(np.diff(found.history[: int(found.n_steps)]) > -1e-9)
    assert np.mean(model.assign(found.params, xs) == LABELS) > 0.9


def test_labels_are_imputed_as_other_data_are():
    params = fit(labels=LABELS).params
    points, known = XS[:30], np.arange(30) < 5
    data, observed = (points, LABELS[:30]), (np.ones((30, 2), bool), known)
    xs, labels = hm.impute(LABELLED, LABELLED.wrap(params), data, observed)
    np.testing.assert_array_equal(xs, points)
    expected = np.where(known, LABELS[:30], MIXTURE.assign(params, points))
    np.testing.assert_array_equal(labels, expected)
    _, drawn = hm.impute(LABELLED, LABELLED.wrap(params), data, observed, jax.random.key(0))
    assert np.mean(drawn == expected) > 0.7 and np.all(drawn[:5] == LABELS[:5])


def test_points_and_outlines_tell_labels_from_latents():
    model, point = three_levels()
    whole = hm.Labelled(model, (1,))
    assert whole.unwrap(whole.wrap(point)).manifold == model
    assert str(whole).startswith("Labelled(") and str(whole).endswith(", (1,))")
    assert repr(whole) == repr(hm.Labelled(model, (-2,))) and hash(whole) == hash(whole)
    assert "x₂: Categorical(2)" in repr(whole)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (LABELS + 1, {}, r"label of row \d+ is 3, .*outside the support of Categorical"),
        (LABELS[:-1], {}, r"shape \(N\), one for each of 240 .* got shape \(239,\)"),
        (LABELS.astype(float), {}, r"integers from 0, and -1 where they are unknown; got float64"),
        (LABELS.astype(str), {}, r"integers from 0.*unique"),
        ((LABELS, LABELS), {}, "one entry for each of 1 latents"),
        (LABELS, {"labelled": LABELS}, "expected truth values for which of 240 labels"),
    ],
)
def test_bad_labels_say_what_is_wrong(labels, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fit(labels=labels, **options)


def test_latents_of_several_arrays_have_no_labels():
    """A latent that is a product has one for each part; one of replicas of a product has none."""
    replicas = hm.Replicated(hm.Product(hm.Bernoulli(), hm.Poisson()), 2)
    part = hm.geometry.ComponentEmbedding(hm.Product(hm.Categorical(3), replicas), 0)
    model = hm.Attached(MIXTURE, part)
    with pytest.raises(TypeError, match=r"labels of Replicated.* would be 2 arrays.*None for this"):
        fit(model, labels=LABELS)
    with pytest.raises(ValueError, match=r"one for each of 240 .* got shape"):
        fit(model, labels=(LABELS[:-1], None))


def test_what_has_no_labels_says_so():
    with pytest.raises(TypeError, match="no latents that labels could be of"):
        fit(hm.Normal(2), labels=LABELS)
    with pytest.raises(ValueError, match="pass the labels, too"):
        fit(labelled=SOME >= 0)
    with pytest.raises(TypeError, match="beside data that are read batch by batch"):
        fit(xs=hm.Batches([XS]), labels=LABELS)
    with pytest.raises(ValueError, match=r"has 1 latents, .* got latents=\(1,\)"):
        hm.Labelled(MIXTURE, (1,))
    with pytest.raises(TypeError, match="Ask for posterior_statistics or"):
        LABELLED.posterior_at(LABELLED.initialize(jax.random.key(0)), (XS[0], 0))
