"""A process that forks others, each of which fits one model with a checkpoint.

It reads lines from its input, each a checkpoint and where to save the result, and prints the id of
the process and, once that has ended, how. The library is imported once, before any of JAX's threads
run, so that processes start at once.
"""

import os
import sys

import jax
import numpy as np

import harmonium as hm
from harmonium.learning import engine

MODEL = hm.hierarchical_mixture_of_gaussians(6, 2, 3)
N_STEPS = 400


def data() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(4000, 6)) + rng.integers(0, 2, size=(4000, 1)) * [[1, 2, 3, 0, 0, 0]]


def fit_once(checkpoint: str, result: str) -> None:
    settings = {"max_steps": N_STEPS, "tolerance": 0.0, "progress": False}
    method = hm.NaturalGradient(0.1)
    fit = hm.fit(
        MODEL, data(), key=jax.random.key(0), method=method, checkpoint=checkpoint, every=0.0,
        callback=lambda n_steps, _: os.write(log, f"{n_steps}\n".encode()), **settings,
    )  # fmt: skip
    hm.save(result, fit)


if __name__ == "__main__":
    cache = sys.argv[1]
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    engine.SECONDS_A_CHUNK = 0.03
    for line in sys.stdin:
        checkpoint, result = line.split()
        child = os.fork()
        if child == 0:
            log = os.open(f"{checkpoint}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            fit_once(checkpoint, result)
            os._exit(0)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)
