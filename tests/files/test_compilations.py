"""Compiled programs that a later process finds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harmonium.files import compilations

FIT = """
import sys
import jax, jax.monitoring
import numpy as np
import harmonium as hm

counts = {"hits": 0, "misses": 0, "compiled": 0}

def event(name, **details):
    for own in ("hits", "misses"):
        counts[own] += name == f"/jax/compilation_cache/cache_{own}"

def span(name, seconds, **details):
    counts["compiled"] += name == "/jax/core/compile/backend_compile_duration"

jax.numpy.ones(3) + 1  # JAX has compiled, and looked for a folder
assert str(hm.cache_compilations(sys.argv[1])) == sys.argv[1]
jax.monitoring.register_event_listener(event)
jax.monitoring.register_event_duration_secs_listener(span)
xs = np.random.default_rng(0).normal(size=(20, 2))
fit = hm.fit(hm.Mixture(hm.Normal(2), 2), xs, key=jax.random.key(0), progress=False)
print(*counts.values(), fit.log_likelihood)
"""


def _fit(folder):
    # Nothing of the suite's own cache.
    settings = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    environment = {**settings, "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", FIT, str(folder)], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stderr
    hits, misses, compiled, value = run.stdout.split()
    return int(hits), int(misses), int(compiled), value


def test_a_second_process_finds_what_the_first_compiled(tmp_path):
    folder = tmp_path / "new" / "folder"
    hits, misses, compiled, value = _fit(folder)
    assert hits == 0
    assert misses == compiled > 5
    assert _fit(folder) == (compiled, 0, compiled, value)


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.cache/harmonium"),
        ("linux", {"XDG_CACHE_HOME": "/else/where"}, "/else/where/harmonium"),
        ("linux", {"XDG_CACHE_HOME": "not/absolute"}, "home/.cache/harmonium"),
        ("darwin", {}, "home/Library/Caches/harmonium"),
        ("win32", {}, "home/AppData/Local/harmonium"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/harmonium"),
    ],
)
def test_the_default_folder_is_that_of_the_platform(monkeypatch, platform, variables, expected):
    monkeypatch.setattr(compilations.sys, "platform", platform)
    monkeypatch.setattr(compilations.Path, "home", lambda: Path("home"))
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert compilations._default_folder() == Path(expected)
