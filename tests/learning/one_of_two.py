"""One of two processes that fit together, each with half of the data; see `test_devices.py`.

Both save what they found in the directory, and fit with a checkpoint, until the second is killed in
the middle. Started again, they go on from the checkpoint.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import harmonium as hm
from harmonium.learning.engine import FIRST_CHUNK

TIMEOUT = 10  # seconds without a sign of life after which a process counts as dead
MODEL = hm.Mixture(hm.Normal(2, hm.Diagonal()), 2)
XS = np.random.default_rng(0).normal(size=(40, 2)) ** 3
SETTINGS = {"n_starts": 2, "n_candidates": 1, "max_steps": 40, "tolerance": 0.0}
SEED = 0  # a key would start JAX before it knows of the other process


def main(rank: int, port: int, directory: Path) -> None:
    jax.distributed.initialize(
        f"127.0.0.1:{port}",
        num_processes=2,
        process_id=rank,
        initialization_timeout=60,
        heartbeat_timeout_seconds=TIMEOUT,
    )
    mesh = Mesh(np.array(jax.devices()), ("processes",))
    half = XS[20 * rank : 20 * rank + 20]
    by_rows = NamedSharding(mesh, PartitionSpec("processes"))
    xs = jax.make_array_from_process_local_data(by_rows, half)
    settings = SETTINGS | {"key": jax.random.key(SEED)}
    results = directory / f"{rank}.npz"
    if results.exists():
        resume(directory, xs, settings)
        return
    fit = hm.fit(MODEL, xs, **settings)
    masked = hm.fit(MODEL, XS, mesh=mesh, observed=np.abs(XS) < 3, **settings)
    location = fit.params.observable.location
    np.savez(results, history=fit.history, masked=masked.history, location=location)
    print("fitted", flush=True)

    def die(n_steps: int, objective: float) -> None:
        if rank == 1 and n_steps > FIRST_CHUNK:
            os.kill(os.getpid(), signal.SIGKILL)

    fit_again(directory, xs, settings, die)
    print("survived", flush=True)


def resume(directory: Path, xs: jax.Array, settings: dict) -> None:
    reports = []
    fit = fit_again(directory, xs, settings, lambda n_steps, _: reports.append(n_steps))
    path = directory / f"resumed{jax.process_index()}.npz"
    np.savez(path, history=fit.history, first_report=reports[0])


def fit_again(directory: Path, xs: jax.Array, settings: dict, callback: Callable) -> hm.Fit:
    settings = settings | {"checkpoint": directory / "run", "every": 0}
    return hm.fit(MODEL, xs, callback=callback, **settings)


if __name__ == "__main__":
    # Where this is imported for what it fits, the one that imports it has settings of its own.
    jax.config.update("jax_enable_x64", True)
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
