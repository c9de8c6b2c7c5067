"""Oracles agree to nine digits: double precision here, whatever the rest of the suite has."""

import jax
import pytest


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield
