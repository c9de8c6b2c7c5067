"""This tree beside another commit: `python -m benchmarks.against COMMIT [--rows gmm,hmog]`.

Checks the commit out into a folder of its own. Each row of the benchmark runs in two processes, one
a tree, that stay alive and take turns call by call, so that both have the same share of whatever
else the machine does. Then the time that the EM steps of all models of the tests' catalogue need
for tracing. Prints medians and their ratio; every tree must have a benchmark of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TRACING = "tracing"


def trace_catalogue() -> dict[str, float]:
    """Seconds that tracing the EM step of each conjugated model of the catalogue takes."""
    import jax
    import jax.numpy as jnp

    import harmonium as hm
    from tests.catalogue import CATALOGUE

    def em_step(model: Any, point: Any, xs: Any) -> Any:
        """One step of EM."""
        return model.expectation_maximization(point, xs)

    seconds = {}
    for name, make in CATALOGUE.items():
        model = make()
        if not isinstance(model, hm.Conjugated):
            continue
        form = getattr(model, "data_man", model.obs_man).observation
        xs = jax.tree.map(lambda leaf: jnp.zeros((100, *leaf.shape), leaf.dtype), form)
        point = model.zeros()
        jax.clear_caches()
        start = time.perf_counter()
        jax.jit(em_step).trace(model, point, xs)
        seconds[name] = time.perf_counter() - start
    return seconds


def serve(row: str) -> None:
    """Prints the names of a row's workloads of ours, then times whichever number is asked for."""
    if row == TRACING:
        print(json.dumps(trace_catalogue()), flush=True)
        return
    from benchmarks import timing
    from benchmarks.rows import OURS, ROWS

    workloads = [own for own in ROWS[row]().workloads if own.name.startswith(OURS)]
    repeats = [timing._repeats(own) for own in workloads]
    print(json.dumps([own.name for own in workloads]), flush=True)
    for line in sys.stdin:
        print(timing._once(workloads[int(line)], repeats[int(line)]), flush=True)


def start(tree: Path, row: str) -> subprocess.Popen:
    """The process that serves one row with the library and the benchmark of a tree."""
    paths = os.pathsep.join([str(tree / "src"), str(tree)])
    environment = {
        **os.environ,
        "PYTHONPATH": paths,
        "JAX_ENABLE_X64": "1",
        "JAX_PLATFORMS": "cpu",
    }
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), "--serve", row],
        cwd=tree,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def answer(process: subprocess.Popen, request: str = "") -> Any:
    """What a process replies."""
    process.stdin.write(request)
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def compare(trees: tuple[Path, Path], row: str, rounds: int) -> dict[str, tuple[float, float]]:
    """Medians of seconds of the workloads that both trees have, the other's and this one's."""
    processes = [start(tree, row) for tree in trees]
    try:
        names = [answer(process) for process in processes]
        if row == TRACING:
            common = names[0].keys() & names[1].keys()
            title = f"tracing the EM steps of {len(common)} models"
            return {title: tuple(sum(own[name] for name in common) for own in names)}
        results = {}
        for name in (name for name in names[0] if name in names[1]):
            seconds: tuple[list[float], list[float]] = ([], [])
            for number in range(rounds):
                for side in (0, 1) if number % 2 else (1, 0):
                    request = f"{names[side].index(name)}\n"
                    seconds[side].append(answer(processes[side], request))
            results[name] = statistics.median(seconds[0]), statistics.median(seconds[1])
        return results
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def main(arguments: list[str]) -> int:
    """Prints the table; see the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__)
    parser.add_argument("commit", nargs="?", default="HEAD")
    parser.add_argument("--rows", help="rows separated by commas; all, and tracing, by default")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve)
        return 0
    from benchmarks.rows import ROWS

    rows = [*ROWS, TRACING] if options.rows is None else options.rows.split(",")
    print(f"{'row':<17}{'workload':<40}{options.commit[:12]:>14}{'here':>12}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", "--quiet", str(other), options.commit], check=True)
        try:
            for row in rows:
                for name, (old, new) in compare((other, ROOT), row, options.rounds).items():
                    times = f"{old * 1e3:>11.2f} ms{new * 1e3:>9.2f} ms"
                    print(f"{row:<17}{name:<40}{times}{new / old:>8.2f}", flush=True)
        finally:
            subprocess.run([*git, "remove", "--force", str(other)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
