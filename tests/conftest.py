"""Settings of the whole test suite, made before JAX computes anything.

`HARMONIUM_PRECISION` (64, the default, or 32) sets the floating point type of all tests but the
laws, of which most run in both.
"""

import gc
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Threads of BLAS beside those of pytest-xdist mostly wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Before 0.11.2, jaxlib's calls of LAPACK for batches wait forever once they occupy all threads of a
# pool, which has one for each core: a test of the reference implementation must not hang the suite.
os.environ.setdefault("PJRT_NPROC", "16")

# The tests compile thousands of small functions and call each a few times. This compiles them twice
# as fast as what makes them run fast, in child processes, too.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")

import jax
import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.catalogue import CATALOGUE, REPRESENTATIVES
from tests.costs import Costs

PRECISION = int(os.environ.get("HARMONIUM_PRECISION", "64"))
if PRECISION not in (32, 64):
    raise ValueError(f"HARMONIUM_PRECISION is 32 or 64, got {PRECISION}.")

jax.config.update("jax_enable_x64", PRECISION == 64)
# Nothing in the library may depend on silent promotion of dtypes, or of ranks.
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# What was compiled is kept for the next run, but for programs that call back into Python, as those
# with `eqx.error_if` do, which JAX does not keep.
if "CI" not in os.environ:
    jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent.parent / ".jax_cache"))
    jax.config.update("jax_compilation_cache_max_size", 2**30)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)

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
    config.pluginmanager.register(Costs())
    config.addinivalue_line("markers", "whole: left out by `make test-quick`")
    config.addinivalue_line("markers", "computes(function, inputs): what a law computes of a case")


class ByProgram(LoadScopeScheduling):
    """Runs on one worker of pytest-xdist what shares compiled programs: a file, or a case of laws.

    Tests beside the folders of tests, as of the examples, share nothing.
    """

    def _split_scope(self, nodeid):
        file, _, test = nodeid.partition("::")
        if file.startswith("tests/laws/") and "[" in test:
            return test.partition("[")[2]
        return file if file.count("/") > 1 else nodeid


def pytest_xdist_make_scheduler(config, log):
    return ByProgram(config, log)


def pytest_collection_finish():
    # All that was imported stays: the garbage collector need not look through it again and again.
    gc.freeze()


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their markers
def pytest_collection_modifyitems(items):
    """Says what `make test-quick` leaves out: what names an entry that is no representative."""
    for item in items:
        values = item.callspec.params.values() if hasattr(item, "callspec") else ()
        names = {value for value in values if isinstance(value, str) and value in CATALOGUE}
        if not names <= set(REPRESENTATIVES):
            item.add_marker(pytest.mark.whole)
