"""Time EM on several devices: `python -m benchmarks.devices`.

Prints how long a step takes on one device and on two, the fastest of several rounds, beside what
the formulas of the page on scaling predict; then a step of factor analysis with 1,000,000 x 10
loadings spread over 8 devices.
Devices are parts of this machine, each group of them in a process of its own.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

LONG = (1_000_000, 10, 64)  # entries, latents and observations
ROUNDS = 5


class Size(NamedTuple):
    """N observations of D entries, L latents, K components; zero where there are none."""

    n_observations: int
    n_entries: int
    n_latents: int
    n_components: int

    @property
    def flops(self) -> int:
        """Multiplications and additions that a step of EM takes, but for terms without N."""
        n, d, latents, k = self
        return 4 * n * (d * latents + max(k, 1) * latents**2 if latents else k * d**2)

    @property
    def n_statistics(self) -> int:
        """How many numbers devices add up: all statistics, and the objective."""
        _, d, latents, k = self
        if not latents:
            return k * (d**2 + d + 1)
        return 2 * d + d * latents + max(k, 1) * (latents**2 + latents + 1)


SIZES = {
    "mixture": Size(200_000, 16, 0, 10),
    "linear Gaussian": Size(200_000, 50, 5, 0),
    "hierarchy": Size(100_000, 50, 5, 8),
}


def make_model(name: str) -> Any:
    """The model of a row."""
    import harmonium as hm  # after the number of devices has been set

    _, n_entries, n_latents, n_components = SIZES[name]
    if name == "mixture":
        return hm.Mixture(hm.Normal(n_entries), n_components)
    if name == "linear Gaussian":
        return hm.factor_analysis(n_entries, n_latents)
    return hm.hierarchical_mixture_of_gaussians(n_entries, n_latents, n_components)


def make_step(name: str) -> Callable[[], float]:
    """A function that takes a step of EM on all devices, and returns the objective."""
    import jax
    from jax.sharding import Mesh

    from harmonium.learning.devices import everywhere, spread_data
    from harmonium.learning.problem import make_problem

    model, n = make_model(name), SIZES[name].n_observations
    xs = np.random.default_rng(0).normal(size=(n, SIZES[name].n_entries))
    mesh = Mesh(np.array(jax.devices()), ("devices",))
    spread, weights, _, devices = spread_data(model.obs_man, xs, None, None, mesh)
    problem = make_problem(model, spread, weights / n, devices=devices)
    initialize = jax.jit(model.initialize_from_sample)
    params = everywhere(devices, initialize(jax.random.key(0), xs[:1000]))

    @jax.jit
    def step(problem: Any, params: Any) -> Any:
        """The E-step and the M-step."""
        mean, value = problem.expectation(params)
        return model.maximization(mean, params), value

    return lambda: float(jax.block_until_ready(step(problem, params))[1])


def make_all_reduce(name: str) -> Callable[[], Any]:
    """A function that only adds up as many numbers as a step does."""
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    mesh = Mesh(np.array(jax.devices()), ("devices",))
    rows = NamedSharding(mesh, PartitionSpec("devices"))
    numbers = jax.device_put(np.ones((len(jax.devices()), SIZES[name].n_statistics)), rows)
    add_up = jax.jit(
        jax.shard_map(
            lambda own: jax.lax.psum(own[0], "devices"),
            mesh=mesh,
            in_specs=PartitionSpec("devices"),
            out_specs=PartitionSpec(),
        )
    )
    return lambda: jax.block_until_ready(add_up(numbers))


class Remote:
    """A process with a number of devices, and of cores, that does work when it is asked to."""

    def __init__(self, n_devices: int, n_cores: int | None = None):
        command = [sys.executable, "-m", "benchmarks.devices", "--serve", str(n_devices)]
        self.process = subprocess.Popen(
            command + ([] if n_cores is None else ["--cores", str(n_cores)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, work: str, name: str) -> list[float]:
        """What it took, in seconds and in seconds of all cores, and what came out."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps([work, name]), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("the process with devices of its own has ended; see above.")
        return json.loads(answer)

    def close(self) -> None:
        """Ends the process."""
        self.process.communicate()


def serve(n_devices: int, n_cores: int | None) -> None:
    """Answers what a `Remote` asks, until its input ends."""
    if n_cores is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:n_cores])
    configure(n_devices, "1")
    made: dict[tuple[str, str], Callable[[], Any]] = {}
    for line in sys.stdin:
        work, name = json.loads(line)
        if (work, name) not in made:
            made[work, name] = {"step": make_step, "all-reduce": make_all_reduce}[work](name)
            made[work, name]()
        start, busy = time.perf_counter(), time.process_time()
        result = made[work, name]()
        taken = time.perf_counter() - start, time.process_time() - busy
        print(json.dumps([*taken, result if work == "step" else 0.0]), flush=True)


def configure(n_devices: int, precision: str) -> None:
    """Settings that JAX reads when it starts."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_ENABLE_X64"] = precision
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={n_devices}"


def scaling_lines() -> list[tuple[str, ...]]:
    """What a step costs, and takes, for each model."""
    groups = {"1, 1": Remote(1, 1), "1, 2": Remote(1, 2), "2, 2": Remote(2, 2)}
    lines = []
    for name, size in SIZES.items():
        taken: dict[str, list[list[float]]] = {key: [] for key in (*groups, "all-reduce")}
        for _ in range(ROUNDS):
            for key, remote in groups.items():
                taken[key].append(remote.ask("step", name))
            taken["all-reduce"].append(groups["2, 2"].ask("all-reduce", name))
        fastest = np.min([taken[key] for key in taken], axis=1)[:, :2]
        slow, fast, spread, sending = 1e3 * fastest[:, 0]
        lines.append(
            (
                name,
                f"{size.flops / 1e9:.2f}",
                f"{8 * size.n_observations * size.n_entries / 1e6:.0f}",
                f"{8 * size.n_statistics / 1e3:.1f}",
                f"{slow:.1f}",
                f"{fast:.1f}",
                f"{spread:.1f}",
                f"{slow / 2 + sending:.1f}",
                f"{spread / fast:.2f}",
                f"{fastest[2, 1] / fastest[1, 1]:.2f}",
            )
        )
    for remote in groups.values():
        remote.close()
    return lines


HEADER = (
    "model",
    "GFLOP",
    "MB read",
    "kB added up",
    "1 device, 1 core",
    "1 device, 2 cores",
    "2 devices, 2 cores",
    "predicted",
    "2 devices / 1",
    "in work",
)


def long_step() -> str:
    """A step of factor analysis with loadings too long for one device, in words."""
    configure(8, "0")
    import jax
    import jax.numpy as jnp
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    import harmonium as hm

    length, n_latents, n = LONG
    model = hm.factor_analysis(length, n_latents)
    random = np.random.default_rng(0)
    loadings = random.normal(size=(length, n_latents)).astype(np.float32) / 3
    offset, noise = np.zeros(length, np.float32), np.ones(length, np.float32)
    params = jax.jit(model.from_loadings)(loadings, offset, noise)
    xs = random.normal(size=(n, n_latents)).astype(np.float32) @ loadings.T
    xs = xs + random.normal(size=xs.shape).astype(np.float32)

    mesh = Mesh(np.array(jax.devices()), ("entries",))
    spread = hm.shard_observable(params, mesh, "entries")
    columns = jax.device_put(xs, NamedSharding(mesh, PartitionSpec(None, "entries")))
    shardings = jax.tree.map(lambda leaf: leaf.sharding, spread)
    step = jax.jit(model.expectation_maximization, out_shardings=shardings)
    compiled = step.lower(spread, columns).compile()
    kinds = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
    sent = re.findall(rf"= (.+?) ({kinds})\S*\(", compiled.as_text())
    largest = max(
        int(np.prod([int(size) for size in dims.split(",") if size]))
        for shapes, _ in sent
        for dims in re.findall(r"\w+\[([\d,]*)\]", shapes)
    )
    after = jax.block_until_ready(compiled(spread, columns))
    start = time.perf_counter()
    jax.block_until_ready(compiled(spread, columns))
    seconds = time.perf_counter() - start
    whole = jax.jit(model.expectation_maximization)(params, jnp.asarray(xs))
    ours, theirs = (np.asarray(point.interaction.rows[0].values) for point in (after, whole))
    part = after.interaction.rows[0].values.addressable_shards[0].data
    return (
        f"factor analysis, {length:,} entries, {n_latents} latents, N={n}, float32, 8 devices\n"
        f"  interaction on each device: {part.shape}, {part.nbytes / 1e6:.0f} MB\n"
        f"  a step of EM: {seconds:.2f} s\n"
        f"  devices send each other: {', '.join(sorted({kind for _, kind in sent}))}, of at most "
        f"{largest} numbers\n"
        f"  largest difference to one device, relative: "
        f"{np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs)):.1e}"
    )


def main(arguments: list[str]) -> int:
    """Print the tables, or serve a process that does."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.devices", description=__doc__)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--cores", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve, options.cores)
        return 0
    from benchmarks.timing import table

    print("A step of EM in float64: costs, and milliseconds\n")
    print(table(HEADER, scaling_lines()), flush=True)
    print(f"\n{long_step()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
