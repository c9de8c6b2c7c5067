"""Laws run case by case, in both floating point types."""

import jax
import pytest

from tests.laws.cases import COMPUTATIONS, case_of


@pytest.fixture
def case(request):
    """A case of the catalogue, within the floating point type it asks for."""
    name, precision = request.param
    with jax.enable_x64(precision == 64):
        yield case_of(name, precision)


@pytest.fixture
def found(case, request):
    """What the computation of the law returns for the case, with leaves of NumPy."""
    return case.found(_computation(request.node)[0])


def _computation(item):
    return item.get_closest_marker("computes").args


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Orders the laws by case, and tells each case what they compute."""
    places = [i for i, item in enumerate(items) if item.get_closest_marker("computes")]
    for i in places:
        computation, inputs = _computation(items[i])
        COMPUTATIONS.setdefault(items[i].callspec.params["case"], {})[computation] = inputs
    order = {label: i for i, label in enumerate(COMPUTATIONS)}
    laws = sorted((items[i] for i in places), key=lambda t: order[t.callspec.params["case"]])
    for i, item in zip(places, laws, strict=True):
        items[i] = item
