"""Peak memory of fits to files, at N and 10 N observations: `python -m benchmarks.memory`.

Each fit runs in a process of its own. What counts is memory that is the process's own, as Linux
tells it (RssAnon): pages of a mapped file are the system's to take back. Exits with status 1 if the
peak of a fit that reads batch by batch grows with N.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import jax
import numpy as np

import harmonium as hm

DIM, N_COMPONENTS = 16, 8
FIRST = 400_000
STEPS = 3
METHODS = ("array, EM", "memory map, EM", "function, EM", "memory map, online EM")
# Allowed growth from N to 10 N of what should not grow, in megabytes.
TOLERANCE = 50.0


def write(path: Path, n: int) -> None:
    """A file of n observations of a mixture, written piece by piece."""
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(N_COMPONENTS, DIM))
    file = np.lib.format.open_memmap(path, "w+", np.float32, (n, DIM))
    for start in range(0, n, FIRST):
        labels = rng.integers(0, N_COMPONENTS, min(FIRST, n - start))
        file[start : start + FIRST] = centres[labels] + rng.normal(size=(len(labels), DIM))
    file.flush()


def own_memory() -> float:
    """The memory that is this process's own at present, in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


class Peak:
    """The largest `own_memory` within a `with` statement, looked at every few milliseconds."""

    def __enter__(self) -> "Peak":
        self.value, self._over = own_memory(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.value = max(self.value, own_memory())


def read_pieces(path: Path, n: int):
    """The file's observations in batches of 10,000, by ordinary reads."""
    offset = path.stat().st_size - 4 * n * DIM
    for start in range(0, n, 10_000):
        count = min(10_000, n - start) * DIM
        values = np.fromfile(path, np.float32, count, offset=offset + 4 * start * DIM)
        yield values.reshape(-1, DIM)


def measure(path: Path, n: int, name: str) -> tuple[float, float]:
    """Megabytes by which one fit raises this process's memory at most, and seconds."""
    where, method = name.split(", ")
    data = {
        "array": lambda: np.load(path),
        "memory map": lambda: np.load(path, mmap_mode="r"),
        "function": lambda: hm.Batches(lambda: read_pieces(path, n)),
    }[where]
    model = hm.Mixture(hm.Normal(DIM), N_COMPONENTS)
    method, steps = (hm.EM(), STEPS) if method == "EM" else (hm.OnlineEM(), 1)
    before, begin = own_memory(), time.perf_counter()
    with Peak() as peak:
        hm.fit(model, data(), key=jax.random.key(0), method=method, max_steps=steps, progress=False)
    return peak.value - before, time.perf_counter() - begin


def main(first: int) -> int:
    """Measures all fits, prints the table, and returns the exit status."""
    grown = False
    print(f"Mixture of {N_COMPONENTS} normals in {DIM} dimensions, float32, four starts; {STEPS}")
    print("steps of EM, or one pass of online EM. Peak memory of the fit in MB, and seconds.\n")
    print(f"{'data and method':<24}{f'N = {first:,}':>16}{f'{10 * first:,}':>16}{'s':>6}{'s':>6}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npy"
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in METHODS}
        sizes = []
        for n in (first, 10 * first):
            write(path, n)
            sizes.append(path.stat().st_size / 2**20)
            for name in METHODS:
                command = [sys.executable, "-m", "benchmarks.memory", "--one", name]
                run = subprocess.run(
                    [*command, "--file", str(path), "--first", str(n)],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                megabytes, seconds = map(float, run.stdout.split())
                results[name].append((megabytes, seconds))
    for name, ((small, fast), (large, slow)) in results.items():
        print(f"{name:<24}{small:>16.0f}{large:>16.0f}{fast:>6.0f}{slow:>6.0f}")
        grown |= not name.startswith("array") and large > small + TOLERANCE
    print(f"{'(the file)':<24}{sizes[0]:>16.0f}{sizes[1]:>16.0f}")
    return int(grown)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--first", type=int, default=FIRST, help="N")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is None:
        sys.exit(main(options.first))
    print(*measure(options.file, options.first, options.one))
