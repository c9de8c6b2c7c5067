"""Laws run case by case, in both floating point types."""

import jax
import pytest

from tests.laws.cases import case_of


@pytest.fixture
def case(request):
    """A case of the catalogue, within the floating point type it asks for."""
    name, precision = request.param
    with jax.enable_x64(precision == 64):
        yield case_of(name, precision)


def pytest_collection_modifyitems(items):
    """Orders the laws by case, so that each case is built once and soon forgotten."""
    places = [i for i, item in enumerate(items) if "case" in getattr(item, "fixturenames", ())]
    first_seen = {}
    for i in places:
        first_seen.setdefault(items[i].callspec.params["case"], len(first_seen))
    laws = sorted((items[i] for i in places), key=lambda t: first_seen[t.callspec.params["case"]])
    for i, item in zip(places, laws, strict=True):
        items[i] = item
