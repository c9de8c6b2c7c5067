"""The README's Python code runs as it stands, and what it says about errors is true."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.whole  # several fits in a process of its own
def test_the_code_of_the_readme_runs():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert len(blocks) >= 4
    # A fresh interpreter: users have neither strict promotion nor double precision.
    # But for that, it compiles as quickly as the tests do.
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stderr
    assert "Mean" in run.stdout
    assert "do not fit" in run.stdout
    assert "(5, 13)" in run.stdout


def test_the_readme_shows_commands_that_exist():
    text, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make (\w+)", text, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    for picture in re.findall(r"\]\((docs/[^)]*)\)", text):
        assert (ROOT / picture).exists(), picture
