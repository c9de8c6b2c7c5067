"""From mean to natural parameters, numerically: `python -m benchmarks.duals`.

For each family without a formula, the means of 1,000 random natural points are inverted at once, by
the family's own `to_natural` and by `solve_dual`, the damped Newton method for all families, which
starts at other random points. Prints times, Newton steps (all points wait for the last), how many
it solves, and the largest error of the means that are reached, relative to one plus their size.
"""

import os

os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

import harmonium as hm
from benchmarks.timing import Workload, duration, measure, table
from harmonium.exponential_family import duality

N_POINTS = 1_000
FAMILIES = {
    "Gamma": hm.Gamma(),
    "VonMises": hm.VonMises(),
    "Beta": hm.Beta(),
    "Dirichlet(5)": hm.Dirichlet(5),
    "CoMPoisson": hm.CoMPoisson(),
}


@jax.jit
def random_points(family: Any, key: Array) -> Any:
    """Natural points of unit scale."""
    return jax.vmap(family.initialize)(jax.random.split(key, N_POINTS))


@jax.jit
def own(family: Any, means: Any) -> Any:
    """By the family's own method."""
    return jax.vmap(family.to_natural)(means)


@jax.jit
def general(family: Any, means: Any, starts: Any) -> tuple[Any, Array, Array]:
    """By the damped Newton method for all families.

    **Returns:** natural points, the number of steps of each, and whether `solve_dual` takes it.
    """

    def solve(mean: Any, start: Any) -> tuple[Any, Array, Array]:
        """One point, without the error that `solve_dual` raises if it fails."""
        target = family.ravel(mean)
        final = duality._descend(family, target, start, duality.MAX_STEPS)
        return family.unravel(final.vector), final.steps, duality._is_solution(final, target)

    return jax.vmap(solve)(means, starts)


@jax.jit
def error(family: Any, points: Any, means: Any, solved: Array) -> Array:
    """The largest difference of the means of solved points from given ones, relative."""
    found = jax.vmap(lambda point: family.ravel(family.to_mean(point)))(points)
    wanted = jax.vmap(family.ravel)(means)
    errors = jnp.max(jnp.abs(found - wanted) / (1 + jnp.abs(wanted)), axis=1)
    return jnp.max(jnp.where(solved, errors, 0))


def cells(name: str, family: Any) -> tuple[str, ...]:
    """A line of the table."""
    points, starts = (random_points(family, jax.random.key(seed)) for seed in (0, 1))
    means = jax.vmap(family.to_mean)(points)
    workloads = (
        Workload("own", lambda: own(family, means)),
        Workload("general", lambda: general(family, means, starts)),
    )
    timings = measure(workloads, rounds=5)
    times = [duration(timings[w.name].median / N_POINTS) for w in workloads]
    newton, steps, solved = general(family, means, starts)
    errors = (
        error(family, own(family, means), means, jnp.ones(N_POINTS, bool)),
        error(family, newton, means, solved),
    )
    return (
        name,
        times[0],
        f"{float(errors[0]):.0e}",
        times[1],
        f"{float(errors[1]):.0e}",
        f"{float(jnp.mean(steps)):.1f} ({int(jnp.max(steps))})",
        f"{int(jnp.sum(solved)):,}",
    )


if __name__ == "__main__":
    header = ("family", "to_natural", "error", "solve_dual", "error", "steps (most)", "solved")
    print(f"{N_POINTS:,} points at once; times a point\n")
    print(table(header, [cells(*item) for item in FAMILIES.items()]))
