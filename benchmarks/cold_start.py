"""What small fits cost in fresh processes: `python -m benchmarks.cold_start [--rows iris,wine]`.

Each line of the tables is a process of its own and a small table of data. It imports the library,
fits a model, fits it again to another number of rows, and asks the fitted model for a log density,
a posterior and samples, each for the first time. Without a cache of compiled programs; then from
the folder of `hm.cache_compilations` that another process has filled; beside scikit-learn.

CPU seconds count all threads of the process. In parentheses stands how many programs it compiled.
In single precision, as JAX computes by default.
"""

# A process that is measured has imported nothing but this: all else is imported when asked for.
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

COMPILED = "/jax/core/compile/backend_compile_duration"
FOUND = "/jax/compilation_cache/cache_hits"
FEWER = 11  # rows that the second fit lacks
N_SAMPLES = 5
STAGES = ("import", "first fit", "another N", "density", "posterior", "samples")
OURS, WARM, PEER = "harmonium", "with a warm cache", "scikit-learn"
PEERS = {"iris": "sklearn.mixture", "wine": "sklearn.decomposition"}
ROWS = ("iris", "wine", "hierarchy", "mixed")


class Stopwatch:
    """CPU seconds, wall seconds and programs compiled, of one stage after the other."""

    def __init__(self):
        self.stages: dict[str, list[float]] = {}
        self._n_compiled = 0

    def count(self, monitoring: Any):
        """Counts programs from now on, but those that are found in a cache."""
        monitoring.register_event_duration_secs_listener(self._add)
        monitoring.register_event_listener(self._subtract)

    def _add(self, event: str, seconds: float, **details: Any):
        self._n_compiled += event == COMPILED

    def _subtract(self, event: str, **details: Any):
        self._n_compiled -= event == FOUND

    def measure(self, stage: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Does the work of a stage, and keeps what it cost."""
        before = self._clocks()
        result = call(*arguments)
        self.stages[stage] = [b - a for a, b in zip(before, self._clocks(), strict=True)]
        return result

    def _clocks(self) -> tuple[float, float, int]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime, time.perf_counter(), self._n_compiled


def ours(row: str, folder: str | None) -> dict[str, Any]:
    """What the stages cost in this process."""
    watch = Stopwatch()
    hm = watch.measure("import", importlib.import_module, "harmonium")
    jax = importlib.import_module("jax")
    watch.count(importlib.import_module("jax.monitoring"))
    small = importlib.import_module("benchmarks.small_fits").SMALL_FITS[row]
    if folder is not None:
        hm.cache_compilations(folder)
    data, model, key = small.load(), small.make(), jax.random.key(0)

    def fit(xs: Any) -> Any:
        return jax.block_until_ready(hm.fit(model, xs, key=key, progress=False).params)

    def ask(name: str, *arguments: Any) -> Any:
        return jax.block_until_ready(getattr(model, name)(*arguments))

    params = watch.measure("first fit", fit, data)
    watch.measure("another N", fit, jax.tree.map(lambda leaf: leaf[:-FEWER], data))
    x = jax.tree.map(lambda leaf: leaf[0], data)
    watch.measure("density", ask, "log_observable_density", params, x)
    watch.measure("posterior", ask, small.ask, params, x)
    watch.measure("samples", ask, "sample", key, params, (N_SAMPLES,))
    return watch.stages


def theirs(row: str) -> dict[str, Any]:
    """The same of scikit-learn, which compiles nothing."""
    watch = Stopwatch()
    library = watch.measure("import", importlib.import_module, PEERS[row])
    small = importlib.import_module("benchmarks.small_fits").SMALL_FITS[row]
    name, ask = small.peer
    data = small.load()

    def fit(xs: Any) -> Any:
        return getattr(library, name)(3, random_state=0).fit(xs)

    model = watch.measure("first fit", fit, data)
    watch.measure("another N", fit, data[:-FEWER])
    watch.measure("density", model.score_samples, data[:1])
    watch.measure("posterior", getattr(model, ask), data[:1])
    if hasattr(model, "sample"):
        watch.measure("samples", model.sample, N_SAMPLES)
    return watch.stages


def in_fresh_process(row: str, who: str, folder: str | None = None) -> dict[str, Any]:
    """What the stages cost in a process without settings of JAX, but for the processor."""
    command = [sys.executable, "-m", "benchmarks.cold_start", "--rows", row, "--who", who]
    command += [] if folder is None else ["--folder", folder]
    settings = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment = {**settings, "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])


def costs(row: str) -> dict[str, dict[str, Any]]:
    """What the stages of a row cost everyone."""
    found = {OURS: in_fresh_process(row, OURS)}
    with tempfile.TemporaryDirectory() as folder:
        in_fresh_process(row, OURS, folder)
        found[WARM] = in_fresh_process(row, OURS, folder)
    if row in PEERS:
        found[PEER] = in_fresh_process(row, PEER)
    return found


def _cell(own: list[float] | None, counted: bool) -> tuple[str, str]:
    """CPU seconds, with the programs compiled, and wall seconds."""
    if own is None:
        return "-", "-"
    cpu, wall, n_programs = own
    return f"{cpu:.2f}" + (f" ({n_programs})" if counted else ""), f"{wall:.2f}"


def print_tables(found: dict[str, dict[str, Any]]):
    """Prints a table of CPU seconds, and one of wall seconds."""
    small_fits = importlib.import_module("benchmarks.small_fits").SMALL_FITS
    table = importlib.import_module("benchmarks.timing").table
    for place, title in enumerate(("CPU seconds (programs compiled)", "wall seconds")):
        lines = []
        for row, everyone in found.items():
            lines.append((small_fits[row].title, *("" for _ in STAGES)))
            for who, stages in everyone.items():
                counted = {stage: who != PEER and stage != "import" for stage in STAGES}
                cells = (_cell(stages.get(stage), counted[stage])[place] for stage in STAGES)
                lines.append((f"  {who}", *cells))
        print(f"\n{title}\n\n{table(('', *STAGES), lines)}")


def main():
    """Prints the tables; or, in a process of its own, what one row costs one of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold_start", description=__doc__)
    parser.add_argument("--rows", default=",".join(ROWS), help="some of them, with commas between")
    parser.add_argument("--who", choices=(OURS, PEER), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.who is not None:
        peer = options.who == PEER
        print(json.dumps(theirs(options.rows) if peer else ours(options.rows, options.folder)))
        return
    rows = options.rows.split(",")
    unknown = [row for row in rows if row not in ROWS]
    if unknown:
        parser.error(f"no row is called {', '.join(unknown)}; there are {', '.join(ROWS)}")
    print(f"Python {platform.python_version()}, float32, {os.cpu_count()} cores", flush=True)
    print_tables({row: costs(row) for row in rows})


if __name__ == "__main__":
    main()
