"""The examples run, on few starts and steps."""

import importlib
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def example(monkeypatch):
    """Imports examples as their users run them, with their folder on the path."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(EXAMPLES) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_the_quickstart_prints_a_table_and_draws(example, tmp_path, capsys):
    picture = tmp_path / "made" / "quickstart.png"
    example("quickstart").main(picture, n_starts=2, n_steps=10)
    printed = capsys.readouterr().out
    for name in ("factor analysis", "hierarchical mixture", "Gaussian mixture, full", "k-means"):
        assert name in printed
    assert "nan" not in printed
    assert picture.name in printed
    assert picture.stat().st_size > 10_000


def test_three_levels_print_a_table_and_draw(example, tmp_path, capsys):
    picture = tmp_path / "three_levels.png"
    example("three_levels").main(picture, n_starts=2, n_steps=10, n_gradient_steps=2)
    printed = capsys.readouterr().out
    for name in ("full posteriors", "diagonal posteriors", "Adam"):
        assert name in printed
    assert "nan" not in printed
    assert picture.stat().st_size > 5_000
