"""Settings of the whole test suite, made before JAX computes anything.

`HARMONIUM_PRECISION` (64, the default, or 32) sets the floating point type of all tests but the
laws, of which most run in both.
"""

import os
import subprocess
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Threads of BLAS beside those of pytest-xdist mostly wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Before 0.11.2, jaxlib's calls of LAPACK for batches wait forever once they occupy all threads of a
# pool, which has one for each core: a test of the reference implementation must not hang the suite.
os.environ.setdefault("PJRT_NPROC", "16")

import jax
import pytest

PRECISION = int(os.environ.get("HARMONIUM_PRECISION", "64"))
if PRECISION not in (32, 64):
    raise ValueError(f"HARMONIUM_PRECISION is 32 or 64, got {PRECISION}.")

jax.config.update("jax_enable_x64", PRECISION == 64)
# Nothing in the library may depend on silent promotion of dtypes, or of ranks.
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# The tests compile thousands of small functions and call each a few times. This compiles them twice
# as fast as what makes them run fast.
jax.config.update("jax_disable_most_optimizations", True)
QUICK_FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"


def compile_quickly():
    """Sets the flags, if this compiler knows them: it ends the process at one that it doesn't."""
    environment = {**os.environ, "XLA_FLAGS": QUICK_FLAGS}
    trial = [sys.executable, "-c", "import jax; jax.jit(lambda x: x + 1)(0)"]
    if subprocess.run(trial, env=environment, capture_output=True, check=False).returncode == 0:
        os.environ["XLA_FLAGS"] = QUICK_FLAGS


@pytest.fixture
def getkey():
    """A function that returns a fresh random key at each call, the same ones in each run."""
    key = jax.random.key(20240419)

    def next_key():
        nonlocal key
        key, fresh = jax.random.split(key)
        return fresh

    return next_key


def pytest_configure(config):
    if "XLA_FLAGS" not in os.environ:  # workers inherit them
        compile_quickly()
    config.addinivalue_line("markers", "xdist_group(name): run on one worker, see pytest-xdist")
    # Laws share what they compile for a model: with xdist, keep the tests of a model on one worker.
    if getattr(config.option, "dist", "no") == "load":
        config.option.dist = "loadgroup"
