"""EM steps with and without XLA's fusion emitters: `python -m benchmarks.compiler_options`.

What harmonium compiles itself goes without them where JAX lets it (up to JAX 0.10). For each model
a line: CPU seconds for compiling, and milliseconds for a step, with the emitters and without, and
the ratios. The two programs take turns; medians of 15 steps in double precision.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks import run  # noqa: F401 (it chooses precision and platform before JAX starts)

# isort: split
import jax

import harmonium as hm
from benchmarks import problems, rows
from harmonium.exponential_family.compiled import OPTIONS

ROUNDS = 15


def models() -> Iterator[tuple[str, Any, Any, Any]]:
    """Names, models, points and data."""
    mixture = problems.mixture(20_000, 16, 10, seed=1)
    yield "mixture of normals", *rows.mixture_point(*mixture.start), mixture.xs
    factors = problems.factors(10_000, 50, 5, seed=3)
    model = hm.factor_analysis(50, 5)
    yield "factor analysis", model, model.from_loadings(*factors.start), factors.xs
    hierarchy = problems.hierarchy(5_000, 50, 5, 8, seed=4)
    yield "hierarchical mixture", *rows.hierarchy_point(hierarchy.start), hierarchy.xs
    analysers = problems.analysers(20_000, 64, 5, 10, seed=7)
    weights, loadings = analysers.start
    lower = hm.factor_analysis(64, 5)
    model = hm.Mixture(lower, len(weights))
    params = model.from_components(jax.vmap(lower.from_loadings)(*loadings), weights)
    yield "mixture of factor analysers", model, params, analysers.xs


def compare(model: Any, params: Any, xs: Any) -> tuple[list[float], list[float]]:
    """CPU seconds for compiling and seconds for a step, each with and without the emitters."""
    programs, compiling, times = [], [], ([], [])
    for options in ({}, OPTIONS):
        started = time.process_time()
        step = jax.jit(lambda m, p, x: rows.em_step(m, p, x), compiler_options=options)
        programs.append(step.lower(model, params, xs).compile())
        compiling.append(time.process_time() - started)
    for number in range(ROUNDS + 1):
        for side in (0, 1) if number % 2 else (1, 0):
            started = time.perf_counter()
            jax.block_until_ready(programs[side](model, params, xs))
            if number:
                times[side].append(time.perf_counter() - started)
    return compiling, [statistics.median(own) for own in times]


def main() -> int:
    """Prints the table; see the module."""
    if not OPTIONS:
        print(f"JAX {jax.__version__} has no such option.")
        return 0
    print(f"{'':<30}{'compiling, s':>20}{'ratio':>7}{'a step, ms':>20}{'ratio':>7}")
    for name, model, params, xs in models():
        compiling, steps = compare(model, params, xs)
        line = f"{name:<30}"
        for scale, (before, after) in ((1, compiling), (1e3, steps)):
            line += f"{before * scale:>10.2f}{after * scale:>10.2f}{after / before:>7.2f}"
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
