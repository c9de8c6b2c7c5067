"""Three levels fitted by online EM to a file that is several times larger than memory.

The process may have 1,200 MB of memory beyond what Python and JAX take to start, and the operating
system enforces that (RLIMIT_DATA). The file is three times as large. Online EM reads it once,
through a memory map, and a monitor looks at held-out observations all the while.

    python examples/larger_than_memory.py [--picture PATH]
"""

import resource
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax
import matplotlib.pyplot as plt
import numpy as np
import pictures

import harmonium as hm

PICTURE = Path(__file__).parent / "output" / "larger_than_memory.png"
DIM = 64
PIECE = 50_000
MEGABYTE = 2**20


class Settings(NamedTuple):
    """How many rows the file has, how many megabytes the fit may take, and rows in a minibatch."""

    n_rows: int = 16_000_000
    limit: int | None = 1200
    minibatch: int = 4000
    n_points: int = 60


def make_model():
    """64 measurements, explained by 8 latents, these by 3 latents, and these by 6 clusters."""
    first, second = hm.Normal(8), hm.Normal(3)
    return hm.stack(
        hm.LinearGaussianModel(hm.Normal(DIM, hm.Diagonal()), first),
        hm.LinearGaussianModel(first, second),
        hm.Mixture(second, 6),
    )


def make_rows(n_rows, seed=0):
    """Pieces of a sample of such a model: clusters, of which latents and measurements are noisy."""
    fixed = np.random.default_rng(99)
    centres, upper = 3 * fixed.normal(size=(6, 3)), fixed.normal(size=(3, 8))
    lower, noise = fixed.normal(size=(8, DIM)), fixed.uniform(0.5, 2.0, DIM)
    for start in range(0, n_rows, PIECE):
        rng = np.random.default_rng((seed, start))
        n = min(PIECE, n_rows - start)
        top = centres[rng.integers(0, 6, n)] + rng.standard_normal((n, 3), np.float32)
        middle = top @ upper + rng.standard_normal((n, 8), np.float32)
        rows = middle @ lower + noise * rng.standard_normal((n, DIM), np.float32)
        yield rows.astype(np.float32)


def write_file(path, n_rows):
    """A file of rows that NumPy can map, written piece by piece."""
    file = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, DIM))
    for i, rows in enumerate(make_rows(n_rows)):
        file[i * PIECE : i * PIECE + len(rows)] = rows


def data_in_use():
    """Bytes of this process that count for RLIMIT_DATA: not those of mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmData"))
    return 1024 * int(line.split()[1])


def limit_memory(megabytes):
    """Lets the operating system refuse this process more than that beyond what it has.

    **Returns:** the limits before, to set again.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit = data_in_use() + megabytes * MEGABYTE
    resource.setrlimit(resource.RLIMIT_DATA, (limit, before[1]))
    return before


def refused(n_bytes):
    """Whether there is no memory for an array of that size."""
    try:
        np.ones(n_bytes, np.int8)
    except MemoryError:
        return True
    return False


def fit_file(path, settings):
    """Fits in one pass over a file, and looks at held-out rows as it goes.

    **Returns:** the fit, numbers of rows seen, and held-out log-likelihoods at these.
    """
    model = make_model()
    held_out = next(make_rows(PIECE // 5, seed=1))
    evaluate = jax.jit(model.average_log_observable_density)
    interval = settings.n_rows // settings.n_points
    rows, curve = [], []

    def monitor(n_steps, params):
        rows.append(n_steps * interval)
        curve.append(float(evaluate(params, held_out)))

    fit = hm.fit(
        model,
        np.load(path, mmap_mode="r"),
        key=jax.random.key(0),
        method=hm.OnlineEM(batch_size=settings.minibatch, interval=interval),
        max_steps=settings.n_points,
        n_starts=1,
        monitor=monitor,
    )
    return fit, rows, curve


def continued(fit, n_rows=PIECE):
    """The held-out log-likelihood after steps of EM from there, on rows that memory holds."""
    model, rows = make_model(), next(make_rows(n_rows, seed=2))
    better = hm.fit(model, rows, starts=fit.params, max_steps=20)
    held_out = next(make_rows(PIECE // 5, seed=1))
    return float(model.average_log_observable_density(better.params, held_out))


def draw(path, rows, curve, reference):
    """Held-out log-likelihoods against rows seen."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(np.array(rows) / 1e6, curve, "C0.-", label="online EM, one pass over the file")
    axes.axhline(reference, color="0.5", ls="--", label="then 20 steps of EM on other rows")
    axes.set(
        title="A stack of three levels, on held-out rows",
        xlabel="million rows seen",
        ylabel="log-likelihood (nats per row)",
    )
    axes.legend(loc="lower right", frameon=False)
    pictures.save(figure, path)


def main(picture=PICTURE, settings=Settings(), n_rows_after=PIECE):  # noqa: B008 (immutable)
    """Writes the file, fits, prints and draws."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        write_file(path, settings.n_rows)
        size = path.stat().st_size
        print(f"File: {settings.n_rows:,} rows of {DIM} numbers, {size / MEGABYTE:,.0f} MB")
        before = resource.getrlimit(resource.RLIMIT_DATA)
        if settings.limit is not None:
            before = limit_memory(settings.limit)
            print(f"Limit of memory for the fit: {settings.limit} MB")
            answer = "refused" if refused(size) else "granted"
            print(f"Memory for the file as an array: {answer}")
        fit, rows, curve = fit_file(path, settings)
        resource.setrlimit(resource.RLIMIT_DATA, before)
    reference = continued(fit, n_rows_after)
    print(f"\n{'rows seen':>12}{'held-out nats per row':>24}")
    for i in sorted({0, 1, 3, 9, len(rows) // 2, len(rows) - 1} & set(range(len(rows)))):
        print(f"{rows[i]:>12,}{curve[i]:>24.3f}")
    print(f"{'then EM':>12}{reference:>24.3f}")
    print(f"\n{fit.message}")
    draw(picture, rows, curve, reference)


if __name__ == "__main__":
    pictures.run(main, __doc__, PICTURE)
