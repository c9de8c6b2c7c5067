"""Timing workloads side by side in one process, and printing what came out as aligned tables.

Absolute times drift on a busy machine, so workloads take turns within every round and are compared
round by round.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

ROUNDS = 9
# Seconds: a shorter call is repeated within a round until it lasts about this long, as an iteration
# is within a fit. The first call after a pause can take twice as long as those that follow.
LONG_ENOUGH = 0.1
MOST_REPEATS = 200
# Seconds before each turn: threads of BLAS and OpenMP keep a core busy for a while after their
# work, at the cost of whoever comes next.
PAUSE = 0.1


@dataclass(frozen=True)
class Workload:
    """One thing to time.

    **Arguments:**

    - `name`: what the table calls it.
    - `call`: does the work and returns its result, which is waited for; `None` where the peer is
      not installed.
    - `steps`: how many steps (EM iterations, say) one call makes; times are given per step.
    - `baseline`: a call whose time is subtracted, such as the same fit with fewer iterations.
    - `prepare`: called before every timed call, outside the timing.
    """

    name: str
    call: Callable[[], Any] | None
    steps: int = 1
    baseline: Callable[[], Any] | None = None
    prepare: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Timing:
    """Seconds a step of one workload, one entry a round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median over the rounds, in seconds."""
        return statistics.median(self.seconds)

    @property
    def fastest(self) -> float:
        """The fastest round, in seconds: what the machine does when nothing interferes."""
        return min(self.seconds)

    def ratio(self, other: "Timing") -> float:
        """Median over the rounds of this time divided by the other's in the same round."""
        return statistics.median(a / b for a, b in zip(self.seconds, other.seconds, strict=True))


def _seconds(call: Callable[[], Any], prepare: Callable[[], Any] | None, repeats: int) -> float:
    """Seconds one call takes until its result is ready: the median of `repeats` calls."""
    seconds = []
    for _ in range(repeats):
        if prepare is not None:
            prepare()
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _once(workload: Workload, repeats: int) -> float:
    """Seconds a step of a workload that has a call, its baseline subtracted."""
    seconds = _seconds(workload.call, workload.prepare, repeats)
    if workload.baseline is not None:
        seconds -= _seconds(workload.baseline, workload.prepare, repeats)
    return seconds / workload.steps


def _repeats(workload: Workload) -> int:
    """Warm the workload up (which compiles it) and say how often to repeat it within a round."""
    for call in (workload.baseline, workload.call):
        if call is not None:
            _seconds(call, workload.prepare, 1)
    seconds = _seconds(workload.call, workload.prepare, 1)
    return min(MOST_REPEATS, max(1, math.ceil(LONG_ENOUGH / seconds)))


def measure(workloads: Sequence[Workload], rounds: int = ROUNDS) -> dict[str, Timing]:
    """Time the workloads that have a call, taking turns in every round.

    **Arguments:**

    - `workloads`: what to time, with distinct names.
    - `rounds`: how many rounds after the warm-up; every second one goes backwards through the
      workloads, so that none always follows the same neighbour.

    **Returns:** the timing of each workload by its name.
    """
    present = [workload for workload in workloads if workload.call is not None]
    repeats = {workload.name: _repeats(workload) for workload in present}
    seconds: dict[str, list[float]] = {workload.name: [] for workload in present}
    for index in range(rounds):
        for workload in present if index % 2 == 0 else reversed(present):
            time.sleep(PAUSE)
            seconds[workload.name].append(_once(workload, repeats[workload.name]))
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def duration(seconds: float) -> str:
    """Seconds as text with three significant digits and a fitting unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if abs(seconds) >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], labels: int = 1) -> str:
    """Aligned columns under a ruled header: `labels` columns to the left, others to the right."""
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        """One line of the table."""
        padded = [
            cell.ljust(width) if column < labels else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    ruler = "  ".join("-" * width for width in widths)
    return "\n".join([line(header), ruler, *(line(row) for row in rows)])


def timing_table(workloads: Sequence[Workload], timings: dict[str, Timing], subject: str) -> str:
    """Medians, fastest rounds and times relative to the `subject`'s; '-' where nothing ran."""
    rows = []
    for workload in workloads:
        timing = timings.get(workload.name)
        if timing is None:
            rows.append((workload.name, "-", "-", "-"))
            continue
        relative = f"{timing.ratio(timings[subject]):.3g}x"
        rows.append((workload.name, duration(timing.median), duration(timing.fastest), relative))
    return table(("workload", "median", "fastest", "relative"), rows)
