"""The examples run, on few starts and steps; `make demo` runs all of the quickstart."""

import importlib
import sys
from pathlib import Path

import jax
import pytest

import harmonium as hm

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def example(monkeypatch):
    """Imports examples as their users run them: from their folder, with the defaults of JAX."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    before = set(sys.modules)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(EXAMPLES) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_the_quickstart_fits_compares_and_draws(example, tmp_path):
    quickstart, digits, pictures = example("quickstart"), example("digits"), example("pictures")
    data, settings = digits.load(), quickstart.Settings(n_starts=2, n_steps=20)
    model, fit = quickstart.fit_hierarchy("hierarchy", hm.Diagonal(), data, settings)
    hierarchy = quickstart.evaluate("hierarchy", model, fit.params, data)
    assert hierarchy.n_parameters == model.dim
    assert -140 < hierarchy.held_out < hierarchy.train < -120
    assert 0.2 < hierarchy.agreement < 1
    assert "-1" in quickstart.table([hierarchy])

    picture = tmp_path / "made" / "quickstart.png"
    pictures.draw_hierarchy(picture, model, fit, data)
    assert picture.stat().st_size > 10_000


def test_the_quickstart_starts_mixtures_from_clusters(example):
    quickstart, digits = example("quickstart"), example("digits")
    data, settings = digits.load(), quickstart.Settings(n_starts=2, n_steps=20)
    model, fit = quickstart.fit_mixture("mixture", hm.Diagonal(), data, settings)
    entry = quickstart.evaluate("mixture", model, fit.params, data)
    assert entry.agreement > 0.3


def test_three_levels_print_a_table_and_draw(example, tmp_path, capsys):
    picture = tmp_path / "three_levels.png"
    example("three_levels").main(picture, n_starts=2, n_steps=10, n_gradient_steps=2)
    printed = capsys.readouterr().out
    for name in ("full posteriors", "diagonal posteriors", "Adam"):
        assert name in printed
    assert "nan" not in printed
    assert picture.stat().st_size > 5_000
