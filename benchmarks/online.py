"""Online EM beside EM on held-out data: `python -m benchmarks.online`.

On digits, in several passes, and on a stream of 10 million rows that are made as they are read, in
one pass. Exits with status 1 if held-out log-likelihoods differ by more than 0.01 nats.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

import equinox as eqx
import jax
import numpy as np
from sklearn.datasets import load_digits

import harmonium as hm

KEY = jax.random.key(0)
MARGIN = 0.01
DIM, BATCH = 16, 50_000


@eqx.filter_jit
def held_out(model: Any, params: Any, xs: Any) -> Any:
    """The average log density of observations that no fit has seen."""
    return model.average_log_observable_density(params, xs)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images to fit, and images held out, with noise, as some pixels are constant."""
    rng = np.random.default_rng(0)
    xs = np.asarray(load_digits(return_X_y=True)[0])[rng.permutation(1797)]
    xs = xs + 0.5 * rng.normal(size=xs.shape)
    return xs[:1400], xs[1400:]


def stream(n: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Rows of a hierarchical mixture of Gaussians: factors in clusters, and noise."""
    fixed = np.random.default_rng(99)
    loadings = fixed.normal(size=(3, DIM))
    centres = 3 * fixed.normal(size=(5, 3))
    noise = fixed.uniform(0.5, 1.5, DIM)
    for start in range(0, n, BATCH):
        rng = np.random.default_rng((seed, start))
        length = min(BATCH, n - start)
        latents = centres[rng.integers(0, 5, length)] + rng.normal(size=(length, 3))
        yield latents @ loadings + noise * rng.normal(size=(length, DIM))


def compare(name: str, full: Any, online: Any, xs: Any, seconds: tuple[float, float]) -> bool:
    """Prints a line for the two fits, and returns whether they are as good as each other."""
    model: Any = full.params.manifold
    values = [float(held_out(model, fit.params, xs)) for fit in (full, online)]
    passes = f"{int(full.n_steps)} / {int(online.n_steps)}"
    times = " / ".join(f"{s:.0f}" for s in seconds)
    difference = values[1] - values[0]
    print(
        f"{name:<34}{values[0]:>12.4f}{values[1]:>12.4f}{difference:>10.4f}{passes:>12}{times:>12}"
    )
    return difference > -MARGIN


def timed(*arguments: Any, **settings: Any) -> tuple[Any, float]:
    """A fit, and how many seconds it took."""
    begin = time.perf_counter()
    fit = hm.fit(*arguments, key=KEY, **settings)
    return jax.block_until_ready(fit), time.perf_counter() - begin


def main(n: int) -> int:
    """Fits, prints the table, and returns the exit status."""
    header = f"{'held-out nats per observation':<34}{'EM':>12}{'online':>12}{'gain':>10}"
    print(f"{header}{'passes':>12}{'seconds':>12}")
    train, test = digits()
    model: Any = hm.factor_analysis(64, 10)
    full, first = timed(model, train, tolerance=1e-9, max_steps=3000)
    method = hm.OnlineEM(batch_size=100)
    online, second = timed(model, train, method=method, max_steps=100, tolerance=0.0)
    good = compare("digits, factor analysis", full, online, test, (first, second))

    model = hm.hierarchical_mixture_of_gaussians(DIM, 3, 5)
    data = hm.Batches(lambda: stream(n))
    online, second = timed(model, data, method=hm.OnlineEM(), max_steps=1, n_starts=2)
    full, first = timed(
        model, data, method=hm.EM("squarem"), max_steps=60, tolerance=1e-7, n_starts=2
    )
    test = next(stream(BATCH, seed=1))
    name = f"stream of {n:,}, hierarchy"
    good &= compare(name, full, online, test, (first, second))
    return int(not good)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.online", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the stream")
    sys.exit(main(parser.parse_args().rows))
