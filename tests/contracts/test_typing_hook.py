"""The type checks that users get, and how to turn them off."""

import os
import subprocess
import sys
import textwrap

import jaxtyping
import pytest

import harmonium as hm
from tests.contracts.subjects import message_of, subject

BAD_CALL = textwrap.dedent(
    """
    import jax.numpy as jnp
    import harmonium as hm

    normal = hm.Normal(2)
    mean = normal.unravel(jnp.arange(5.0) + 10, hm.Coordinates.MEAN)
    try:
        normal.to_mean(mean)
    except TypeError as error:
        print("refused:", str(error).replace(chr(10), " "))
    else:
        print("accepted")
    """
)


def _run(code: str, **environment: str) -> str:
    """What a fresh Python prints that has seen nothing of the test suite's settings."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("JAXTYPING")}
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**inherited, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_users_get_the_checks():
    printed = _run(BAD_CALL)
    assert printed.startswith("refused:")
    assert "Natural" in printed
    assert "mean point of Normal(2, PositiveDefinite())" in printed


def test_the_checks_can_be_turned_off():
    assert _run(BAD_CALL, JAXTYPING_DISABLE="1") == "accepted\n"


def test_importing_prints_nothing_and_raises_no_warning():
    assert _run("import harmonium") == ""


def test_wrong_coordinates_are_explained():
    s = subject("normal")
    with pytest.raises(jaxtyping.TypeCheckError) as caught:
        s.model.to_mean(s.mean)
    message = message_of(caught.value)
    assert "typechecking parameter 'point'" in message
    assert "Actual value: mean point of Normal(2, PositiveDefinite())" in message
    assert "(to_natural converts it)" in message
    assert "Expected type: <class 'harmonium.geometry.point.Natural'>" in message


def test_messages_about_large_models_are_short():
    s = subject("hierarchy")
    with pytest.raises(TypeError) as caught:
        s.model.log_observable_density(s.mean, s.x.observable)
    lines = str(caught.value).splitlines()
    assert len(lines) < 20
    assert f"Actual value: mean point of {s.model} (to_natural converts it)" in lines


def test_wrong_shapes_are_explained():
    with pytest.raises(jaxtyping.TypeCheckError) as caught:
        hm.Normal(2).unravel(subject("normal").mean.location)
    message = message_of(caught.value)
    assert "typechecking parameter 'vector'" in message
    assert "[2]" in message
    assert "Float" in message


def test_kinds_answer_isinstance():
    s = subject("mixture")
    assert isinstance(s.natural, hm.Natural)
    assert not isinstance(s.natural, hm.Mean)
    assert isinstance(s.mean, hm.Mean)
    assert not isinstance(s.mean, hm.Natural)
    assert not isinstance(3.0, hm.Natural)
