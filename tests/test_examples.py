"""The examples run, on few starts and steps; `make demo` runs all of the quickstart."""

import functools
import importlib
import itertools
import sys
from pathlib import Path

import jax
import pytest

import harmonium as hm

pytestmark = pytest.mark.whole  # they are fits of real data, each of another model
EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def example(monkeypatch):
    """Imports examples as their users run them: from their folder, with the defaults of JAX."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    # One candidate for each start, for what the others take to compile.
    monkeypatch.setattr(hm, "fit", functools.partial(hm.fit, n_candidates=1))
    before = set(sys.modules)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(EXAMPLES) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_the_quickstart_fits_compares_and_draws(example, tmp_path):
    quickstart, digits, pictures = example("quickstart"), example("digits"), example("pictures")
    data, settings = digits.load(), quickstart.Settings(n_starts=2, n_steps=20)
    model, fit = quickstart.fit_hierarchy(hm.Diagonal(), data, settings)
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
    model, fit = quickstart.fit_mixture(hm.Diagonal(), data, settings)
    entry = quickstart.evaluate("mixture", model, fit.params, data)
    assert entry.agreement > 0.3


def test_three_levels_print_a_table_and_draw(example, tmp_path, capsys):
    picture = tmp_path / "three_levels.png"
    example("three_levels").main(picture, n_starts=1, n_steps=5, n_gradient_steps=2)
    printed = capsys.readouterr().out
    for name in ("full posteriors", "diagonal posteriors", "Adam"):
        assert name in printed
    assert "nan" not in printed
    assert picture.stat().st_size > 5_000


def test_records_of_mixed_types_are_clustered(example, tmp_path, capsys):
    mixed_records = example("mixed_records")
    picture = tmp_path / "mixed_records.png"
    mixed_records.main(picture, most=2, n_starts=1, n_steps=20)
    printed = capsys.readouterr().out
    assert "Its 2 components" in printed
    assert "nan" not in printed
    # The clusters are the two camps: nearly none and nearly all of their votes go to Dole.
    first, second = (line.split() for line in printed.splitlines() if " k$" in line)
    votes = [float(line[6].rstrip("%")) for line in (first, second)]
    assert votes[0] < 20 and votes[1] > 80
    assert picture.stat().st_size > 10_000


def test_directions_are_fitted_better_by_mixtures(example, tmp_path, capsys):
    circular = example("circular")
    picture = tmp_path / "circular.png"
    circular.main(picture, sizes=(2,), n_starts=1, n_steps=40)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    values = {line[0]: float(line[3]) for line in lines if line and line[0] in ("uniform", "2")}
    assert values["uniform"] < values["2"] < 0
    assert picture.stat().st_size > 10_000


def test_counts_are_compared(example, tmp_path, capsys):
    counts = example("overdispersed_counts")
    picture = tmp_path / "counts.png"
    counts.main(picture, most=2, n_starts=1, n_steps=20)
    blocks = capsys.readouterr().out.split("counts to fit")[1:]
    starred = [[line for line in block.splitlines() if "*" in line] for block in blocks]
    assert [lines[0].split("  ")[0] for lines in starred] == ["negative binomial", "CoM-Poisson"]
    assert picture.stat().st_size > 10_000


def test_univariate_families_are_fitted(example, tmp_path, capsys):
    univariate_fits = example("univariate_fits")
    picture = tmp_path / "univariate_fits.png"
    univariate_fits.main(picture)
    printed = capsys.readouterr().out
    best = [
        following.split("   ")[1].strip()
        for line, following in itertools.pairwise(printed.splitlines())
        if line.startswith(("Income", "Change", "Pupils"))
    ]
    assert best == ["inverse gamma", "Laplace", "beta"]
    assert "nan" not in printed
    assert picture.stat().st_size > 10_000


def test_views_of_digits_are_tied_by_a_tree(example, tmp_path, capsys):
    views = example("views")
    picture = tmp_path / "views.png"
    views.main(picture, n_strokes=4, n_classes=5, n_starts=1, n_steps=20)
    printed = capsys.readouterr().out
    assert printed.index("\ntree") < printed.index("\nindependent quarters")
    assert printed.index("\ntree") < printed.index("\nflat mixture")
    # Quarters tell something about each other, so that hidden ones can be filled in.
    shares = [int(line.split()[-1].rstrip("%")) for line in printed.splitlines() if "%" in line]
    assert len(shares) == 4 and min(shares) > 0
    assert picture.stat().st_size > 10_000


def test_factor_analysers_are_compared_with_other_mixtures(example, tmp_path, capsys):
    analysers = example("factor_analysers")
    sizes = {
        "mixture of factor analysers": (analysers.analysers, ((10, 2),)),
        "Gaussian mixture, diagonal": (analysers.independent, ((4,), (10,))),
    }
    picture = tmp_path / "analysers.png"
    analysers.main(picture, sizes=sizes, n_starts=1, n_steps=20)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    held_out = {line[0]: float(line[-2]) for line in lines if line and line[-1] == "*"}
    assert -200 < held_out["Gaussian"] < held_out["mixture"] < -100
    assert picture.stat().st_size > 10_000


def test_missing_pixels_are_filled_in(example, tmp_path, capsys):
    missing = example("missing_pixels")
    kind = missing.ANALYSERS
    candidates = (missing.Candidate(kind, 6, 4, 300),), (missing.Candidate(kind, 1, 3, 20),)
    picture = tmp_path / "missing.png"
    missing.main(picture, *candidates, n_starts=1, n_steps=10, n_splits=1)
    lines = capsys.readouterr().out.splitlines()
    means, own = (
        [line[36:].split() for line in lines if line.startswith(name)]
        for name in ("column means", kind)
    )
    assert len(means) == len(own) == 2
    for errors, better in zip(means, own, strict=True):
        assert all(float(b) < 0.95 * float(e) for e, b in zip(errors, better, strict=False))
    assert picture.stat().st_size > 10_000


def test_a_file_larger_than_memory_is_fitted(example, tmp_path, capsys):
    larger = example("larger_than_memory")
    picture = tmp_path / "larger.png"
    # A limit would stay with the process of the tests.
    settings = larger.Settings(n_rows=12_000, limit=None, minibatch=200, n_points=6)
    larger.main(picture, settings, n_rows_after=2000)
    lines = capsys.readouterr().out.splitlines()
    curve = [float(line.split()[-1]) for line in lines if line.strip()[:2] in ("2,", "8,", "12")]
    assert len(curve) == 3 and curve[0] < curve[1] < curve[2]
    assert picture.stat().st_size > 10_000
