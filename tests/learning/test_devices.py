"""Fits on many devices and in several processes, which other processes run: devices are fixed."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import harmonium as hm
from harmonium.learning.engine import FIRST_CHUNK
from tests.learning.one_of_two import MODEL, SEED, SETTINGS, XS

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
DEADLINE = 300  # seconds after which two processes that should have ended count as stuck


def environment(flags="", **variables):
    """That of a process that is to have devices of its own."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV_"))}
    # Without the spaces: XLA takes what does not begin with "--" for the name of a file.
    flags = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    return inherited | variables | {"XLA_FLAGS": flags}


@pytest.mark.whole  # a process that starts JAX anew, with as many devices
def test_fits_on_eight_devices_are_those_on_one(tmp_path):
    flags = (
        "--xla_force_host_platform_device_count=8 --xla_dump_hlo_as_text "
        f"--xla_dump_hlo_pass_re=NONE --xla_dump_to={tmp_path}"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, str(HERE / "many_devices.py")],
        cwd=ROOT,
        env=environment(flags, HARMONIUM_DUMP=str(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "skipped" not in run.stdout


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def run_two(directory):
    """What two processes print that fit together, and how they end."""
    port = str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.learning.one_of_two", str(rank), port, str(directory)],
            cwd=ROOT,
            env=environment(
                JAX_PLATFORMS="cpu",
                JAX_COMPILATION_CACHE_DIR=str(directory),
                JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        printed = [process.communicate(timeout=DEADLINE)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()  # which does nothing to one that has ended
    return printed, [process.returncode for process in processes]


@pytest.mark.whole  # four processes that wait for each other
def test_two_processes_fit_as_one_end_if_one_is_killed_and_go_on_from_the_checkpoint(tmp_path):
    printed, codes = run_two(tmp_path)
    assert all("fitted" in text for text in printed), printed
    with jax.enable_x64(True):
        settings = SETTINGS | {"key": jax.random.key(SEED)}
        alone = hm.fit(MODEL, XS, **settings)
        masked = hm.fit(MODEL, XS, observed=np.abs(XS) < 3, **settings)
    for rank in range(2):
        found = np.load(tmp_path / f"{rank}.npz")
        np.testing.assert_allclose(found["history"], alone.history, rtol=1e-10)
        np.testing.assert_allclose(found["masked"], masked.history, rtol=1e-10)
        location = alone.params.observable.location
        np.testing.assert_allclose(found["location"], location, rtol=1e-8)
    assert codes[1] == -signal.SIGKILL
    assert codes[0] != 0 and "survived" not in printed[0]
    assert "closed by peer" in printed[0] or "heartbeat" in printed[0], printed[0]

    printed, codes = run_two(tmp_path)
    assert codes == [0, 0], printed
    for rank in range(2):
        found = np.load(tmp_path / f"resumed{rank}.npz")
        assert found["first_report"] > FIRST_CHUNK  # it has not begun anew
        np.testing.assert_allclose(found["history"], alone.history, rtol=1e-10)
