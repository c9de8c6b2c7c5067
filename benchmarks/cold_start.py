"""What small fits cost in fresh processes: `python -m benchmarks.cold_start [--rows iris,wine]`.

Each line of the tables is a process of its own, on one small table of data. It imports the library,
fits a model, fits it again to another number of rows, and asks the fitted model for a log density,
a posterior and samples, each for the first time. Without a cache of compiled programs; then from
the folder of `hm.cache_compilations` that another process has filled; beside scikit-learn.

CPU seconds count all threads of the process: compiling keeps several busy. In parentheses stands
how many programs were compiled. In single precision, as JAX computes by default.
"""

import argparse
import importlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import datasets

from benchmarks.timing import table

COMPILED = "/jax/core/compile/backend_compile_duration"
FOUND = "/jax/compilation_cache/cache_hits"
FEWER = 11  # rows that the second fit lacks
STAGES = ("import", "first fit", "another N", "density", "posterior", "samples")
COLD, WARM, PEER = "harmonium", "harmonium, warm cache", "scikit-learn"


def records() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two reals, a category and a count each, of three clusters."""
    random = np.random.default_rng(0)
    clusters = random.integers(0, 3, 300)
    reals = random.normal(size=(300, 2)) + 3 * clusters[:, None]
    categories = (clusters + random.integers(0, 2, 300)) % 4
    return reals.astype(np.float32), categories, random.poisson(1 + 3 * clusters)


def wine() -> np.ndarray:
    """Chemical measurements in very different units, each with unit variance."""
    xs = datasets.load_wine().data
    return ((xs - xs.mean(axis=0)) / xs.std(axis=0)).astype(np.float32)


def iris() -> np.ndarray:
    """Lengths and widths of flowers."""
    return datasets.load_iris().data.astype(np.float32)


# What each row fits, to which data, and the model of scikit-learn beside it, if it has one.
ROWS: dict[str, tuple[str, Callable[[], Any], Callable[[Any], Any], tuple[str, str, int] | None]]
ROWS = {
    "iris": (
        "mixture of 3 normals, iris",
        iris,
        lambda hm: hm.Mixture(hm.Normal(4), 3),
        ("mixture", "GaussianMixture", 3),
    ),
    "wine": (
        "factor analysis 13 to 3, wine",
        wine,
        lambda hm: hm.factor_analysis(13, 3),
        ("decomposition", "FactorAnalysis", 3),
    ),
    "hierarchy": (
        "hierarchical mixture 13, 3, 3, wine",
        wine,
        lambda hm: hm.hierarchical_mixture_of_gaussians(13, 3, 3),
        None,
    ),
    "mixed": (
        "mixture of 3, mixed records",
        records,
        lambda hm: hm.Mixture(hm.Product(hm.Normal(2), hm.Categorical(4), hm.Poisson()), 3),
        None,
    ),
}


class Stopwatch:
    """CPU seconds, wall seconds and programs compiled, of one stage after the other."""

    def __init__(self):
        self.stages: dict[str, tuple[float, float, int]] = {}
        self._n_compiled = 0

    def watch(self):
        """Counts programs from now on, but those that were found in a cache."""
        monitoring = importlib.import_module("jax.monitoring")
        monitoring.register_event_duration_secs_listener(self._compiled)
        monitoring.register_event_listener(self._found)

    def _compiled(self, event: str, seconds: float, **details: Any):
        self._n_compiled += event == COMPILED

    def _found(self, event: str, **details: Any):
        self._n_compiled -= event == FOUND

    def measure(self, stage: str, call: Callable[[], Any]) -> Any:
        """Does the work of a stage, and keeps what it cost."""
        before = *_clocks(), self._n_compiled
        result = call()
        after = *_clocks(), self._n_compiled
        self.stages[stage] = tuple(b - a for a, b in zip(before, after, strict=True))
        return result


def _clocks() -> tuple[float, float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, time.perf_counter()


def ours(row: str, folder: str | None) -> dict[str, Any]:
    """What the stages cost in this process, in which nothing of JAX is imported yet."""
    _, load, make, _ = ROWS[row]
    data, watch = load(), Stopwatch()
    hm = watch.measure("import", lambda: importlib.import_module("harmonium"))
    jax = importlib.import_module("jax")
    watch.watch()
    if folder is not None:
        hm.cache_compilations(folder)
    model, key = make(hm), jax.random.key(0)

    def fit(xs: Any) -> Any:
        found = hm.fit(model, xs, key=key, progress=False)
        return jax.block_until_ready(found.params)

    params = watch.measure("first fit", lambda: fit(data))
    watch.measure("another N", lambda: fit(jax.tree.map(lambda leaf: leaf[:-FEWER], data)))
    x = jax.tree.map(lambda leaf: leaf[0], data)
    posterior = "posterior_at" if row == "wine" else "posterior_probabilities"
    for stage, method, arguments in (
        ("density", model.log_observable_density, (params, x)),
        ("posterior", getattr(model, posterior), (params, x)),
        ("samples", model.sample, (key, params, (5,))),
    ):
        watch.measure(stage, lambda call=method, own=arguments: jax.block_until_ready(call(*own)))
    return watch.stages


def theirs(row: str) -> dict[str, Any]:
    """The same of scikit-learn, which compiles nothing."""
    _, load, _, peer = ROWS[row]
    (module, name, size), data, watch = peer, load().astype(np.float64), Stopwatch()
    library = watch.measure("import", lambda: importlib.import_module(f"sklearn.{module}"))

    def make() -> Any:
        return getattr(library, name)(size, random_state=0)

    model = watch.measure("first fit", lambda: make().fit(data))
    watch.measure("another N", lambda: make().fit(data[:-FEWER]))
    watch.measure("density", lambda: model.score_samples(data[:1]))
    ask = getattr(model, "predict_proba", model.transform if row == "wine" else None)
    watch.measure("posterior", lambda: ask(data[:1]))
    if hasattr(model, "sample"):
        watch.measure("samples", lambda: model.sample(5))
    return watch.stages


def in_fresh_process(row: str, who: str, folder: str | None = None) -> dict[str, Any]:
    """The costs that `ours` or `theirs` finds in a process without any settings of JAX."""
    command = [sys.executable, "-m", "benchmarks.cold_start", "--rows", row, "--who", who]
    command += [] if folder is None else ["--folder", folder]
    settings = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment = {**settings, "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])


def costs(row: str) -> dict[str, dict[str, Any]]:
    """What the stages cost everyone on a row."""
    found = {COLD: in_fresh_process(row, COLD)}
    with tempfile.TemporaryDirectory() as folder:
        in_fresh_process(row, COLD, folder)
        found[WARM] = in_fresh_process(row, COLD, folder)
    if ROWS[row][-1] is not None:
        found[PEER] = in_fresh_process(row, PEER)
    return found


def _cell(stages: dict[str, Any], stage: str, who: str, wall: bool) -> str:
    if stage not in stages:
        return "-"
    seconds, n_programs = stages[stage][wall], stages[stage][2]
    programs = f" ({n_programs:2d})" if who != PEER and stage != "import" and not wall else ""
    return f"{seconds:.2f}{programs}"


def main():
    """Prints both tables; or, in a process of its own, what one row costs one of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold_start", description=__doc__)
    parser.add_argument("--rows", default=",".join(ROWS), help="some of them, with commas between")
    parser.add_argument("--who", choices=(COLD, PEER), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.who is not None:
        stages = theirs(options.rows) if options.who == PEER else ours(options.rows, options.folder)
        print(json.dumps(stages))
        return
    rows = options.rows.split(",")
    unknown = [row for row in rows if row not in ROWS]
    if unknown:
        parser.error(f"no row is called {', '.join(unknown)}; there are {', '.join(ROWS)}")
    print(f"Python {platform.python_version()}, float32, {os.cpu_count()} cores", flush=True)
    found = {row: costs(row) for row in rows}
    for title, wall in (("CPU seconds (programs compiled)", False), ("wall seconds", True)):
        lines = [
            (ROWS[row][0], who, *(_cell(stages, stage, who, wall) for stage in STAGES))
            for row, own in found.items()
            for who, stages in own.items()
        ]
        print(f"\n{title}\n\n{table(('fit', '', *STAGES), lines, labels=2)}")


if __name__ == "__main__":
    main()
