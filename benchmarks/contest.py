"""What a row of the benchmark is: workloads to time side by side, and what to reach."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.timing import ROUNDS, Timing, Workload, duration


@dataclass(frozen=True)
class Target:
    """`subject` takes at most `limit` times as long as `peer`, or `limit` seconds without one."""

    subject: str
    limit: float
    peer: str | None = None

    def describe(self) -> str:
        """What to reach, in words."""
        if self.peer is None:
            return f"at most {duration(self.limit)}"
        if self.limit < 1.0:
            return f"at least {1.0 / self.limit:g}x faster than {self.peer}"
        return f"at most {self.limit:g}x {self.peer}"

    def judge(self, timings: dict[str, Timing]) -> tuple[str, str]:
        """What was measured and the verdict, in words; `timings` has those that could be timed."""
        if self.subject not in timings or (self.peer is not None and self.peer not in timings):
            return "-", "not measured"
        subject = timings[self.subject]
        if self.peer is None:
            measured, reached = duration(subject.median), subject.median <= self.limit
        else:
            ratio = subject.ratio(timings[self.peer])
            measured = f"{1.0 / ratio:.3g}x faster" if self.limit < 1.0 else f"{ratio:.3g}x"
            reached = ratio <= self.limit
        return measured, "reached" if reached else "missed"


@dataclass(frozen=True)
class Row:
    """Everything that is timed side by side for one line of the table, and its targets.

    `disagreement` returns the largest difference between the average log densities that `harmonium`
    and its peers reach after the step that is timed: a check that they do the same work. It is at
    most `tolerance`, in nats per observation, larger for peers that round to float32.
    """

    title: str
    workloads: tuple[Workload, ...]
    targets: tuple[Target, ...]
    disagreement: Callable[[], float]
    rounds: int = ROUNDS
    tolerance: float = 1e-8
