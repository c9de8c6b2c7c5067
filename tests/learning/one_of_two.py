"""One of two processes that fit together, each with half of the data; see `test_devices.py`.

Saves what it found in the directory. Then both fit again, until the second is killed in the middle.
"""

import os
import signal
import sys
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import harmonium as hm

TIMEOUT = 10  # seconds without a sign of life after which a process counts as dead
MODEL = hm.Mixture(hm.Normal(2, hm.Diagonal()), 2)
XS = np.random.default_rng(0).normal(size=(40, 2)) ** 3
SETTINGS = {"max_steps": 12, "tolerance": 0.0}
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
    fit = hm.fit(MODEL, xs, **settings)
    masked = hm.fit(MODEL, XS, mesh=mesh, observed=np.abs(XS) < 3, **settings)
    np.savez(
        directory / f"{rank}.npz",
        history=fit.history,
        masked=masked.history,
        location=fit.params.observable.location,
    )
    print("fitted", flush=True)

    def die(n_steps: int, objective: float) -> None:
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    hm.fit(MODEL, xs, callback=die, **settings | {"max_steps": 10**6})
    print("survived", flush=True)


if __name__ == "__main__":
    # Where this is imported for what it fits, the one that imports it has settings of its own.
    jax.config.update("jax_enable_x64", True)
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
