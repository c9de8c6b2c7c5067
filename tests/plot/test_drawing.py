"""Outlines of models as text and as pictures."""

import subprocess
import sys
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

import harmonium as hm
from harmonium.exponential_family.outline import outline
from tests.catalogue import CATALOGUE


def _lines(text):
    return textwrap.dedent(text).strip()


def _nodes(roots):
    return [node for root in roots for node in (root, *_nodes(root.children))]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "hierarchy_3",
            """
            Hierarchical, 32 parameters
              k: Categorical(2)
                z₂: Normal(2, PositiveDefinite())
                  z₁: Normal(2, PositiveDefinite())
                    x: Normal(3, Diagonal())
            """,
        ),
        (
            "tree_uneven",
            """
            Parallel, 21 parameters
              k: Categorical(2)
                x₂: Poisson()
                z: Normal(2, PositiveDefinite())
                  x₁: Normal(2, Diagonal())
            """,
        ),
        (
            "beside",
            """
            Beside, 11 parameters
              z: Normal(1, PositiveDefinite())
                x₁: Normal(2, Diagonal())
              k: Categorical(2)
                x₂: Poisson()
            """,
        ),
        (
            "mixture_of_one_noise",
            """
            Mixture, 20 parameters
              k: Categorical(2)
                z: Normal(1, PositiveDefinite())
                  x: Normal(3, Diagonal()) given z and k, 6 of 9 parameters differ
            """,
        ),
        (
            "mixture_of_hierarchies",
            """
            Mixture, 23 parameters
              k₂: Categorical(2)
                k₁: Categorical(2)
                  z: Normal(1, PositiveDefinite()) given k₁ and k₂
                    x: Normal(2, Diagonal()) given z and k₂
            """,
        ),
        (
            "mixture_tied",
            """
            Mixture, 11 parameters
              k: Categorical(3)
                x: Normal(2, PositiveDefinite()), 2 of 5 parameters differ
            """,
        ),
    ],
)
def test_the_repr_of_a_model_is_its_outline(name, expected):
    assert repr(CATALOGUE[name]()) == _lines(expected)


def test_families_are_shown_in_one_line():
    model = hm.Product(hm.Normal(1, hm.Scale()), hm.Poisson())
    assert repr(model) == str(model) == "Product(Normal(1, Scale()), Poisson())"


def test_many_alike_are_one_line():
    parts = hm.Product(hm.Poisson(), *[hm.Bernoulli()] * 5, hm.Poisson())
    assert repr(hm.Mixture(parts, 2)).splitlines()[2:] == [
        "    x₁: Poisson()",
        "    x₂ … x₆: 5 times Bernoulli()",
        "    x₇: Poisson()",
    ]


@pytest.mark.parametrize("name", CATALOGUE)
def test_outlines_name_every_variable_once(name):
    roots = outline(CATALOGUE[name]())
    names = [node.name for node in _nodes(roots)]
    assert len(set(names)) == len(names)
    assert all(set(node.parents) <= set(names) for node in _nodes(roots))
    assert all(not root.parents for root in roots)


@pytest.mark.parametrize(
    "name", ["hierarchy_3", "tree", "tree_uneven", "parallel_mixtures_of", "beside", "normal"]
)
def test_pictures_have_a_box_a_variable_and_an_arrow_a_dependence(name):
    model = CATALOGUE[name]()
    nodes = _nodes(outline(model))
    ax = hm.draw(model)
    boxes = [p for p in ax.patches if isinstance(p, FancyBboxPatch)]
    arrows = [p for p in ax.patches if isinstance(p, FancyArrowPatch)]
    texts = [text.get_text() for text in ax.texts]
    assert len(boxes) == len(nodes)
    assert len(arrows) == sum(len(node.parents) for node in nodes)
    assert all(node.name in texts and node.text in texts for node in nodes)
    shaded = sum(not np.all(np.equal(box.get_facecolor(), 1)) for box in boxes)
    assert shaded == sum(not node.is_latent for node in nodes)
    _check_places(ax, boxes)


def _check_places(ax, boxes):
    """Boxes don't overlap, and are inside the picture, and so is their text in them."""
    ax.figure.canvas.draw()
    extents = [box.get_window_extent() for box in boxes]
    for i, extent in enumerate(extents):
        assert ax.bbox.x0 <= extent.x0 and extent.x1 <= ax.bbox.x1
        assert ax.bbox.y0 <= extent.y0 and extent.y1 <= ax.bbox.y1
        assert not any(extent.overlaps(other) for other in extents[i + 1 :])
    for text in ax.texts:
        inside = text.get_window_extent()
        assert any(e.x0 <= inside.x0 and inside.x1 <= e.x1 for e in extents)


def test_given_axes_are_drawn_into():
    _, ax = plt.subplots()
    assert hm.draw(hm.factor_analysis(3, 2), ax) is ax
    assert hm.plot.draw is hm.draw


def test_only_models_are_drawn():
    with pytest.raises(TypeError, match="draw takes a model or a family, got 3"):
        hm.draw(3)


def _run(code):
    run = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    return subprocess.run(run, capture_output=True, text=True, check=True).stdout


def test_pictures_are_loaded_when_asked_for():
    printed = _run(
        """
        import sys
        sys.modules["matplotlib.pyplot"] = None  # as if it were not installed
        import harmonium as hm
        assert {"plot", "draw", "Normal"} <= set(dir(hm))
        try:
            hm.plot
        except ImportError as error:
            print(error)
        try:
            hm.nothing
        except AttributeError as error:
            print(error)
        print(hasattr(hm, "nothing"))
        """
    )
    message, missing, has = printed.splitlines()
    assert 'pip install "harmonium[plot]"' in message
    assert "'nothing'" in missing and has == "False"
