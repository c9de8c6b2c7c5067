"""Latents, loadings, responsibilities and histories, checked by what is in the axes."""

import equinox as eqx
import jax
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.patches import Ellipse

import harmonium as hm
from tests.compiled import compute
from tests.numbers import assert_close

MODEL = hm.hierarchical_mixture_of_gaussians(4, 2, 3)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def known():
    """A point, observations, and what the model says about them."""

    def everything():
        params = MODEL.initialize(KEY)
        xs = MODEL.observable_sample(KEY, params, (30,))
        lower = MODEL.lwr_hrm
        interaction = params.interaction
        alone = lower.point(params.observable, interaction, lower.pst_man.zeros())
        return {
            "params": params,
            "xs": xs,
            "latents": MODEL.expected_latents(params, xs),
            "loadings": lower.loadings(alone),
            "probabilities": jax.vmap(MODEL.posterior_probabilities, (None, 0))(params, xs),
        }

    return compute(everything)


@pytest.fixture
def params(known):
    return known["params"]


@pytest.fixture
def xs(known):
    return known["xs"]


def _points(ax):
    return [c for c in ax.collections if isinstance(c, PathCollection)]


def test_points_are_expected_latents(known, params, xs):
    ax = hm.plot.latents(MODEL, params, xs, dims=(1, 0))
    (points,) = _points(ax)
    assert_close(np.asarray(points.get_offsets()), known["latents"][:, ::-1])
    assert len([p for p in ax.patches if isinstance(p, Ellipse)]) == 2 * 3  # of the prior
    assert ax.get_xlabel() == "E[z₂ | x]" and ax.get_legend() is None


def test_labels_are_colours_and_markers(params, xs):
    labels = np.arange(30) % 8
    ax = hm.plot.latents(MODEL, params, xs, labels=labels)
    points = _points(ax)
    assert [len(group.get_offsets()) for group in points] == [4] * 6 + [3] * 2
    looks = {(tuple(g.get_facecolor()[0]), g.get_paths()[0].vertices.tobytes()) for g in points}
    assert len(looks) == 8  # six colours, so that the last two have another marker
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list("01234567")


def test_a_single_latent_is_a_histogram():
    model = hm.factor_analysis(3, 1)

    def point_and_sample():
        params = model.initialize(KEY)
        return params, model.observable_sample(KEY, params, (40,))

    params, xs = compute(point_and_sample)
    ax = hm.plot.latents(model, params, xs, labels=np.repeat([0, 1], 20))
    areas = [abs(_area(patch.get_xy())) for patch in ax.patches]
    assert np.allclose(areas, [0.5, 0.5], atol=1e-6)
    grid, prior = np.asarray(ax.lines[0].get_data())
    assert abs(np.trapezoid(prior, grid) - 1) < 0.02


def _area(corners):
    x, y = np.asarray(corners).T
    return 0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))


def test_loadings_are_a_map_of_colours_around_zero(known, params):
    names = ["a", "b", "c", "d"]
    ax = hm.plot.loadings(MODEL, params, names=names)
    (image,) = ax.images
    expected = known["loadings"]
    assert_close(np.asarray(image.get_array()), expected)
    assert_close(np.array(image.get_clim()), np.array([-1, 1]) * np.abs(expected).max())
    assert [tick.get_text() for tick in ax.get_yticklabels()] == names
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["z₁", "z₂"]


def test_responsibilities_are_sorted_posteriors(known, params, xs):
    (image,) = hm.plot.responsibilities(MODEL, params, xs).images
    shown = np.asarray(image.get_array())
    assert shown.shape == (3, 30)
    assert_close(np.sort(shown[0]), np.sort(known["probabilities"][:, 0]))
    likeliest, certainty = shown.argmax(axis=0), shown.max(axis=0)
    assert np.all(np.diff(likeliest) >= 0)
    assert all(np.all(np.diff(certainty[likeliest == k]) <= 0) for k in range(3))


def test_responsibilities_by_label(known, params, xs):
    labels = np.array(["b"] * 10 + ["a"] * 20)
    ax = hm.plot.responsibilities(MODEL, params, xs, labels=labels)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b"]
    assert [line.get_xdata()[0] for line in ax.lines] == [19.5]
    first = known["probabilities"][0]
    right = np.asarray(ax.images[0].get_array())[:, 20:]
    assert np.any(np.all(np.isclose(right, first[:, None]), axis=0))


def test_a_history_has_a_line_a_start():
    model = hm.Mixture(hm.Normal(1), 2)
    data = np.array([[-2.0], [-1.0], [-1.5], [1.0], [2.0], [2.5]])
    fit = hm.fit(model, data, key=KEY, n_starts=3, n_candidates=1, max_steps=20)
    ax = hm.plot.history(fit)
    assert len(ax.lines) == 3
    emphasised = ax.lines[-1]
    assert emphasised.get_linewidth() > ax.lines[0].get_linewidth()
    assert_close(emphasised.get_ydata(), np.asarray(fit.history)[: int(fit.n_steps)])
    assert ax.get_legend().get_texts()[0].get_text() == "best of 3 starts"
    objectives = np.array([np.nan, *np.asarray(fit.all_objectives)[1:]])
    failed = eqx.tree_at(lambda f: f.all_objectives, fit, objectives)
    assert len(hm.plot.history(failed).lines) == 3


def test_what_has_no_latents_to_draw(xs):
    tree = hm.Beside(hm.factor_analysis(2, 1), hm.factor_analysis(2, 1))
    point = compute(tree.initialize, KEY)
    with pytest.raises(TypeError, match=r"draws one vector of latents, but .* depend on 2 of them"):
        hm.plot.latents(tree, point, (xs[:, :2], xs[:, 2:]))
    mixture = hm.Mixture(hm.Normal(4), 2)
    point = compute(mixture.initialize, KEY)
    with pytest.raises(TypeError, match="not linear in real latents"):
        hm.plot.latents(mixture, point, xs)
    with pytest.raises(TypeError, match="not linear in real latents"):
        hm.plot.loadings(mixture, point)
    factors = hm.factor_analysis(4, 2)
    with pytest.raises(TypeError, match="no categorical"):
        hm.plot.responsibilities(factors, compute(factors.initialize, KEY), xs)


def test_bad_labels_names_and_dims(params, xs):
    with pytest.raises(ValueError, match="one label for each of 30 observations"):
        hm.plot.latents(MODEL, params, xs, labels=[1, 2])
    with pytest.raises(ValueError, match="one label for each of 30 observations"):
        hm.plot.responsibilities(MODEL, params, xs, labels=[1, 2])
    with pytest.raises(ValueError, match="one name for each of 4 numbers, got 2"):
        hm.plot.loadings(MODEL, params, names=["a", "b"])
    with pytest.raises(ValueError, match="two different places"):
        hm.plot.latents(MODEL, params, xs, dims=(0, 0))
