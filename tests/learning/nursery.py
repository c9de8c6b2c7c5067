"""A process that forks others, each of which fits one model with a checkpoint.

It reads lines from its input, each a checkpoint and where to save the result, and prints the id of
the process and, once that has ended, how. The library is imported once, before any of JAX's threads
run, so that processes start at once; what they compile they share.
"""

import os
import sys

import jax
import numpy as np
import optax

import harmonium as hm
from harmonium.learning import engine

MODEL = hm.Normal(30)
METHOD = hm.Gradient(optax.adam(1e-3))
N_STEPS = 5000


def fit_once(checkpoint: str, result: str) -> None:
    """Writes a checkpoint after each chunk of steps, and before that a line that it was taken."""
    xs = np.random.default_rng(0).normal(size=(500, 30))
    with open(f"{checkpoint}.log", "a", buffering=1) as log:
        fit = hm.fit(
            MODEL,
            xs,
            key=jax.random.key(0),
            method=METHOD,
            max_steps=N_STEPS,
            tolerance=0.0,
            progress=False,
            callback=lambda n_steps, _: log.write(f"{n_steps}\n"),
            checkpoint=checkpoint,
            every=0,
        )
    hm.save(result, fit)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_compilation_cache_dir", sys.argv[1])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    engine.SECONDS_A_CHUNK = 0.01
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            fit_once(*line.split())
            os._exit(0)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)
