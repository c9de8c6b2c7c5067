"""What the tests cost: CPU seconds, and programs that XLA compiled, shown after each run."""

import collections
import time

import jax.monitoring
import pytest

COMPILED = "/jax/core/compile/backend_compile_duration"
N_SLOWEST = 10
# Programs that a test may compile before it is named: what is one computation is one program.
MANY_PROGRAMS = 50


class Costs:
    """A plugin of pytest, which pytest-xdist runs in every worker and in their controller."""

    def __init__(self):
        self._n_programs, self._clock = 0, time.process_time()
        self._seconds, self._programs = collections.Counter(), collections.Counter()
        jax.monitoring.register_event_duration_secs_listener(self._count)

    def _count(self, event, seconds, **details):
        self._n_programs += event == COMPILED

    def pytest_runtest_logstart(self):
        self._n_programs, self._clock = 0, time.process_time()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        now = time.process_time()
        report.user_properties.append(("cost", (now - self._clock, self._n_programs)))
        self._n_programs, self._clock = 0, now
        return report

    def pytest_runtest_logreport(self, report):
        seconds, n_programs = dict(report.user_properties)["cost"]
        self._seconds[report.nodeid] += seconds
        self._programs[report.nodeid] += n_programs

    def pytest_terminal_summary(self, terminalreporter):
        if not self._seconds:
            return
        write = terminalreporter.write_line
        terminalreporter.write_sep("=", "costs: CPU seconds, programs compiled")
        folders = collections.defaultdict(lambda: [0, 0.0, 0])
        for name, seconds in self._seconds.items():
            row = folders[name.partition("::")[0].rpartition("/")[0]]
            row[:] = row[0] + 1, row[1] + seconds, row[2] + self._programs[name]
        for folder, (n_tests, seconds, n_programs) in sorted(folders.items()):
            write(f"{seconds:8.1f} {n_programs:6d}  {folder} ({n_tests} tests)")
        total, n_programs = sum(self._seconds.values()), sum(self._programs.values())
        write(f"{total:8.1f} {n_programs:6d}  all ({len(self._seconds)} tests)")
        write("the slowest:")
        for name, seconds in self._seconds.most_common(N_SLOWEST):
            write(f"{seconds:8.1f} {self._programs[name]:6d}  {name}")
        many = [item for item in self._programs.most_common() if item[1] > MANY_PROGRAMS]
        if many:
            write(f"more than {MANY_PROGRAMS} programs: can they be one? See tests/compiled.py")
        for name, n in many:
            write(f"{self._seconds[name]:8.1f} {n:6d}  {name}")
