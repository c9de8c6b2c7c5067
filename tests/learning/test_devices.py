"""Fits on many devices and in several processes, which other processes run: devices are fixed."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def environment(**variables):
    """That of a process that is to have devices of its own."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV_"))}
    return inherited | variables


def test_fits_on_eight_devices_are_those_on_one(tmp_path):
    flags = (
        "--xla_force_host_platform_device_count=8 --xla_dump_hlo_as_text "
        f"--xla_dump_hlo_pass_re=NONE --xla_dump_to={tmp_path}"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, str(HERE / "many_devices.py")],
        cwd=ROOT,
        env=environment(XLA_FLAGS=flags, HARMONIUM_DUMP=str(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "skipped" not in run.stdout
