"""Curves, contours and ellipses, checked by what is in the axes."""

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.contour import QuadContourSet
from matplotlib.patches import Ellipse
from scipy import stats

import harmonium as hm
from tests.compiled import compute
from tests.numbers import assert_close

KEY = jax.random.key(0)
MEAN, COVARIANCE = np.array([1.0, -2.0]), np.array([[2.0, 0.8], [0.8, 0.5]])


def _normal():
    model = hm.Normal(2)
    return model, compute(model.from_mean_covariance, MEAN, COVARIANCE)


def _mixture():
    normal = hm.Normal(2, hm.Diagonal())
    model = hm.Mixture(normal, 2)

    def point():
        components = [
            normal.from_mean_covariance([0.0, 0.0], [1.0, 4.0]),
            normal.from_mean_covariance([5.0, 1.0], [9.0, 0.25]),
        ]
        return model.from_components(components, [0.8, 0.2])

    return model, compute(point)


def _line_normal(mean, variance):
    """A normal distribution of single numbers."""
    model = hm.Normal(1, hm.Scale())
    return model, compute(model.from_mean_covariance, np.array([mean]), variance)


def _ellipses(ax):
    return [patch for patch in ax.patches if isinstance(patch, Ellipse)]


def test_a_curve_is_the_density():
    ax = hm.plot.density(*_line_normal(1.0, 4.0), label="normal")
    (line,) = ax.lines
    xs, heights = np.asarray(line.get_data())
    assert_close(heights, stats.norm(1, 2).pdf(xs))
    assert xs[0] < -3 and xs[-1] > 5  # nearly all of it
    assert line.get_label() == "normal" and ax.get_xlabel() == "x"


def test_scalars_are_drawn_inside_their_support():
    model = hm.Gamma()
    params = compute(model.from_shape_rate, 3.0, 1.0)
    ax = hm.plot.density(model, params, xlim=(-1.0, 8.0))
    xs, heights = np.asarray(ax.lines[0].get_data())
    assert xs[0] == -1
    assert_close(heights, stats.gamma(3.0).pdf(xs))


@pytest.mark.parametrize("build", [_normal, _mixture])
def test_contours_divide_the_probability_into_equal_shares(build):
    model, params = build()
    ax = hm.plot.density(model, params, levels=4)
    filled, lines = (c for c in ax.collections if isinstance(c, QuadContourSet))
    assert len(lines.levels) == 4 and len(filled.levels) == 5
    if isinstance(model, hm.Mixture):
        labels = np.random.default_rng(0).random(4000) < 0.2
        normals = [
            stats.multivariate_normal([0, 0], np.diag([1, 4])),
            stats.multivariate_normal([5, 1], np.diag([9, 0.25])),
        ]
        draws = [normal.rvs(4000, random_state=seed) for seed, normal in enumerate(normals)]
        xs = np.where(labels[:, None], draws[1], draws[0])
        densities = 0.8 * normals[0].pdf(xs) + 0.2 * normals[1].pdf(xs)
    else:
        normal = stats.multivariate_normal(MEAN, COVARIANCE)
        densities = normal.pdf(normal.rvs(4000, random_state=0))
    shares = [np.mean(densities > level) for level in lines.levels]
    assert np.allclose(shares, [0.8, 0.6, 0.4, 0.2], atol=0.04)


def test_contours_of_given_densities_and_limits():
    model, params = _normal()
    _, ax = plt.subplots()
    same = hm.plot.density(
        model, params, ax, levels=[0.01, 0.1], xlim=[-2, 4], ylim=(-4.0, 0.0), filled=False
    )
    (lines,) = (c for c in ax.collections if isinstance(c, QuadContourSet))
    assert same is ax and list(lines.levels) == [0.01, 0.1]
    density = stats.multivariate_normal(MEAN, COVARIANCE).pdf
    for path, level in zip(lines.get_paths(), lines.levels, strict=True):
        assert np.allclose(density(path.vertices[1:-1]), level, rtol=0.03)


def test_counts_are_points():
    model = hm.Poisson()
    params = compute(model.unravel, np.log([3.0]))
    ax = hm.plot.density(model, params, xlim=(-2.5, 9.0))
    counts, heights = np.asarray(ax.lines[0].get_data())
    assert list(counts) == list(range(10))
    assert_close(heights, stats.poisson(3.0).pmf(counts))


def test_axes_begin_at_zero_and_hold_all_curves():
    ax = hm.plot.density(*_line_normal(0.0, 1.0), xlim=(-1, 1), label="broad")
    hm.plot.density(*_line_normal(0.0, 0.01), ax, label="narrow")
    assert ax.get_ylim()[0] == 0 and ax.get_ylim()[1] > stats.norm(0, 0.1).pdf(0)
    assert ax.lines[0].get_color() != ax.lines[1].get_color()


def test_densities_are_marginal():
    """Of factor analysis, what is drawn is the density of what is observed."""
    model = hm.factor_analysis(1, 1)
    params = compute(lambda: model.from_loadings([[2.0]], [1.0], [0.5]))
    xs, heights = np.asarray(hm.plot.density(model, params).lines[0].get_data())
    assert_close(heights, stats.norm(1, np.sqrt(4.5)).pdf(xs))


def test_axes_of_ellipses_are_those_of_the_covariance():
    model, params = _normal()
    ax = hm.plot.ellipses(model, params, n_std=(1.5,))
    (ellipse,) = _ellipses(ax)
    variances, directions = np.linalg.eigh(COVARIANCE)
    assert_close(np.array(ellipse.center), MEAN)
    assert_close(np.array([ellipse.width, ellipse.height]), 3 * np.sqrt(variances[::-1]))
    angle = np.radians(ellipse.angle)
    assert np.isclose(abs(directions[:, 1] @ [np.cos(angle), np.sin(angle)]), 1)
    low, high = ax.get_xlim()
    assert low < MEAN[0] - 1.5 * np.sqrt(2) and high > MEAN[0] + 1.5 * np.sqrt(2)


def test_each_component_has_its_ellipses():
    ax = hm.plot.ellipses(*_mixture(), n_std=[1, 2, 3.0])
    patches = _ellipses(ax)
    assert len(patches) == 6
    assert_close(np.sort([patches[3].width, patches[3].height]), np.array([1.0, 6.0]))
    assert patches[0].get_alpha() == 1 > patches[3].get_alpha()  # weights 0.8 and 0.2
    assert patches[0].get_edgecolor()[:3] != patches[3].get_edgecolor()[:3]


@pytest.mark.parametrize("covariance", [hm.PositiveDefinite(), hm.Scale(), hm.Identity()])
def test_ellipses_of_every_covariance_structure(covariance):
    model = hm.Normal(3, covariance)
    params = compute(model.initialize, KEY)
    ax = hm.plot.ellipses(model, params, dims=(2, 0), n_std=(1.0,))
    assert len(_ellipses(ax)) == 1
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x₃", "x₁")


def test_ellipses_of_a_hierarchy_are_those_of_its_observables():
    model = hm.hierarchical_mixture_of_gaussians(3, 1, 2)

    def point_and_covariances():
        params = model.initialize(KEY)
        mixture, marginal = hm.observable_distribution(model, params)
        return params, jax.vmap(mixture.obs_man.covariance)(mixture.components(marginal))

    params, covariances = compute(point_and_covariances)
    patches = _ellipses(hm.plot.ellipses(model, params, dims=(0, 2), n_std=(1.0,)))
    for patch, covariance in zip(patches, covariances, strict=True):
        variances = np.linalg.eigvalsh(covariance[np.ix_([0, 2], [0, 2])])
        assert_close(np.sort([patch.width, patch.height]), 2 * np.sqrt(variances))


def test_what_has_no_density_to_draw():
    model = hm.Normal(3)
    with pytest.raises(TypeError, match=r"one or two real numbers, or one count, but Normal\(3"):
        hm.plot.density(model, compute(model.initialize, KEY))
    mixed = hm.Product(hm.Normal(1), hm.Poisson())
    with pytest.raises(TypeError, match="not all of them real"):
        hm.plot.density(mixed, compute(mixed.initialize, KEY))


def test_what_has_no_ellipses():
    counts = hm.Mixture(hm.Poisson(), 2)
    with pytest.raises(TypeError, match="neither a normal nor made of normals"):
        hm.plot.ellipses(counts, compute(counts.initialize, KEY))
    single = hm.Normal(1)
    with pytest.raises(ValueError, match="two dimensions are needed"):
        hm.plot.ellipses(single, compute(single.initialize, KEY))
    model, params = _normal()
    with pytest.raises(ValueError, match="two different places from 0 to 1"):
        hm.plot.ellipses(model, params, dims=(1, 2))
    with pytest.raises(ValueError, match="pairs of numbers, the lower one first"):
        hm.plot.density(model, params, xlim=(1, 0))
    with pytest.raises(ValueError, match="ascending positive densities"):
        hm.plot.density(model, params, levels=[0.2, 0.1])
    with pytest.raises(ValueError, match="positive distances"):
        hm.plot.ellipses(model, params, n_std=(0.0,))


def test_points_of_others_are_refused():
    _, params = _normal()
    for draw in (hm.plot.density, hm.plot.ellipses):
        with pytest.raises(TypeError, match="expected a point of Mixture"):
            draw(_mixture()[0], params)
