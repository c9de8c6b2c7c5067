"""Run the benchmark: `python -m benchmarks.run [--rows gmm,fa,hmog] [--quick]`.

Prints for every row the times of `harmonium`, of its peers and of hand-written references, then for
every target what was measured and whether it was reached. Exits with status 1 if a row failed or
its contestants disagree, not for a missed target.
"""

import argparse
import os
import platform
import sys
import traceback

os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import sklearn

from benchmarks import mixture_peers, peers, timing
from benchmarks.contest import Row
from benchmarks.rows import OURS, ROWS

QUICK_ROUNDS = 3


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The rows to run, in the order of the table, and whether to be quick."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument(
        "--rows", help=f"some of {','.join(ROWS)}, separated by commas; all by default"
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds instead of {timing.ROUNDS}"
    )
    options = parser.parse_args(arguments)
    options.rows = list(ROWS) if options.rows is None else options.rows.split(",")
    unknown = [key for key in options.rows if key not in ROWS]
    if unknown:
        parser.error(f"no row is called {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return options


def describe_machine() -> str:
    """Versions, cores and present load: what times depend on."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    lines = [
        f"Python {platform.python_version()}, jax {jax.__version__}, "
        f"scikit-learn {sklearn.__version__}, float64, {os.cpu_count()} cores{load}"
    ]
    if not peers.goal_available():
        lines.append(
            f"{peers.GOAL} cannot be imported here (it needs Python 3.12 or newer): shown as '-'"
        )
    lines += [f"{name} cannot be imported here: shown as '-'" for name in mixture_peers.missing()]
    return "\n".join(lines)


def run_row(row: Row, quick: bool) -> tuple[list[tuple[str, ...]], bool]:
    """Time and print one row; returns the lines on its targets, and whether contestants agree."""
    difference = row.disagreement()
    agree = difference <= row.tolerance
    rounds = min(QUICK_ROUNDS, row.rounds) if quick else row.rounds
    timings = timing.measure(row.workloads, rounds)
    print(f"\n{row.title}\n")
    print(timing.timing_table(row.workloads, timings, OURS))
    if not agree:
        print(f"DISAGREE: average log densities differ by {difference:.1e}")
    lines = [(t.subject, t.describe(), *t.judge(timings)) for t in row.targets]
    return lines, agree


def main(arguments: list[str]) -> int:
    """Run the chosen rows, print all tables, and return the exit status."""
    options = parse_arguments(arguments)
    print(describe_machine(), flush=True)
    lines, healthy = [], True
    for key in options.rows:
        try:
            judged, agree = run_row(ROWS[key](), options.quick)
        except (
            Exception
        ):  # one row that fails must not hide the others; it is reported and fails the run
            traceback.print_exc()
            judged, agree = [("-", "-", "-", "failed")], False
        lines += [(key, *line) for line in judged]
        healthy = healthy and agree
        sys.stdout.flush()
    print("\nTargets\n")
    print(timing.table(("row", "workload", "to reach", "measured", "verdict"), lines, labels=3))
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
