"""What a step of inference costs: factorisations, intermediates, retracing, and memory."""

import os
import subprocess
import sys
import textwrap

import equinox as eqx
import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm

from . import dense

N = 100


def equations(jaxpr, loops=()):
    """All equations of a jaxpr and of those within it, each with the lengths of its loops."""
    for equation in jaxpr.eqns:
        yield equation, loops
        inside = (*loops, equation.params["length"]) if "length" in equation.params else loops
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda v: _body(v) is not None
        ):
            body = _body(inner)
            if body is not None:
                yield from equations(body, inside)


def _body(value):
    if isinstance(value, jax.extend.core.ClosedJaxpr):
        return value.jaxpr
    return value if isinstance(value, jax.extend.core.Jaxpr) else None


def traced(function, *args):
    return list(equations(jax.make_jaxpr(function)(*args).jaxpr))


def factorised_shapes(found):
    """The shapes of what is factorised, by LAPACK or, where the roots are taken, entry by entry."""
    return [
        (*loops, *e.invars[0].aval.shape)
        for e, loops in found
        if e.primitive.name in ("cholesky", "sqrt")
    ]


def output_shapes(found):
    return [v.aval.shape for e, _ in found for v in e.outvars]


MODELS = {
    "factor-analysis": hm.factor_analysis(6, 3),
    "full-noise": hm.LinearGaussianModel(hm.Normal(6), hm.Normal(3)),
    "hierarchical-mixture": hm.hierarchical_mixture_of_gaussians(6, 3, 4),
    "diagonal-posterior": hm.hierarchical_mixture_of_gaussians(
        6, 3, 4, pst_covariance=hm.Diagonal()
    ),
    "three-levels": hm.stack(
        hm.factor_analysis(6, 4),
        hm.LinearGaussianModel(hm.Normal(4), hm.Normal(3)),
        hm.Mixture(hm.Normal(3), 2),
    ),
    "mixture": hm.Mixture(hm.Normal(6), 4),
}


@pytest.mark.parametrize("dim", [3, 11])  # entry by entry, and matrix by matrix
def test_the_walk_sees_factorisations_for_each_observation_within_transformations(dim):
    normal = hm.Normal(dim)
    point = dense.random_point(normal, seed=91)

    def wasteful(point, xs):
        def density(x):
            shifted = normal.from_moments(x, jnp.eye(dim) + jnp.outer(x, x))
            return normal.relative_entropy(point, shifted)

        return jax.lax.scan(lambda c, x: (c, jax.jit(jax.vmap(density))(x)), 0.0, xs[None])[1]

    found = traced(wasteful, point, jnp.zeros((N, dim)))
    assert any(N in shape for shape in factorised_shapes(found))
    assert (N, dim, dim) in output_shapes(found)


@pytest.mark.parametrize("name", MODELS)
def test_no_matrix_is_factorised_for_each_observation(name):
    model = MODELS[name]
    point = dense.random_point(model, seed=92)
    xs = jnp.zeros((N, 6))
    seen = 0
    for function in (
        model.mean_posterior_statistics,
        model.log_observable_densities,
        model.expected_latents,
        jax.grad(model.average_log_observable_density),
    ):
        shapes = factorised_shapes(traced(function, point, xs))
        assert all(N not in shape for shape in shapes), shapes
        seen += len(shapes)
    assert seen > 0


@pytest.mark.parametrize("structure", [hm.PositiveDefinite(), hm.Diagonal()], ids=["full", "diag"])
def test_em_of_normal_mixtures_never_holds_a_matrix_for_each_observation(structure):
    dim, n_components = 11, 3
    model = hm.Mixture(hm.Normal(dim, structure), n_components)
    point = dense.random_point(model, seed=93)
    shapes = output_shapes(traced(model.expectation_maximization, point, jnp.zeros((N, dim))))
    largest = max(shapes, key=np.prod)
    assert N in largest
    assert np.prod(largest) <= N * n_components * dim < N * dim * dim, largest


def test_long_batches_are_processed_in_chunks():
    model = hm.hierarchical_mixture_of_gaussians(6, 3, 4)
    point = dense.random_point(model, seed=94)
    for function in (model.mean_posterior_statistics, model.log_observable_densities):
        shapes = output_shapes(
            traced(lambda p, xs, f=function: f(p, xs, batch_size=16), point, jnp.zeros((N, 6)))
        )
        # Of what is as long as the data there are only vectors, and the data in chunks.
        longest = max(np.prod(shape) for shape in shapes)
        assert longest <= -(-N // 16) * 16 * 6, longest


def test_equal_models_and_points_are_not_traced_again():
    traces = []

    @eqx.filter_jit
    def step(model, point, xs):
        traces.append(model)
        return model.expectation_maximization(point, xs)

    rng = np.random.default_rng(95)
    for seed in range(4):
        model = hm.hierarchical_mixture_of_gaussians(4, 2, 2)
        point = dense.random_point(model, seed)
        for _ in range(2):
            point = step(model, point, jnp.asarray(rng.normal(size=(20, 4))))
    assert len(traces) == 1
    other = hm.Mixture(hm.Normal(4, hm.Scale()), 2)
    step(other, dense.random_point(other, 0), jnp.asarray(rng.normal(size=(20, 4))))
    assert len(traces) == 2


MEMORY = """
    import resource
    from pathlib import Path
    import equinox as eqx, jax, jax.numpy as jnp, numpy as np
    import harmonium as hm

    def peak_memory():
        # What Linux says of resource usage includes the process that this one was started from.
        status = Path("/proc/self/status")
        if not status.exists():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    N, D, K = 200_000, 32, 20
    rng = np.random.default_rng(0)
    xs = rng.standard_normal((N, D), dtype=np.float32)
    model = hm.Mixture(hm.Normal(D), K)
    means = jnp.asarray(xs[:K])
    identities = jnp.broadcast_to(jnp.eye(D), (K, D, D))
    components = jax.vmap(model.obs_man.from_moments)(means, identities)
    point = model.from_components(components, np.full(K, 1 / K))
    step = eqx.filter_jit(lambda m, p, xs: m.expectation_maximization(p, xs))
    data = jnp.asarray(xs)
    for _ in range(2):
        point = step(model, point, data)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(point))
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(point))
    print(peak_memory())
"""


def test_em_of_a_large_mixture_needs_less_than_a_gigabyte():
    # Compiled as users do.
    environment = {**os.environ, "JAX_ENABLE_X64": "0", "XLA_FLAGS": ""}
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEMORY)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    peak = int(finished.stdout.split()[-1])
    # JAX alone takes a fifth of this; 20 components x 32 x 32 a row would take 16 GB.
    assert 1e8 < peak < 1e9, f"{peak / 1e6:.0f} MB"
