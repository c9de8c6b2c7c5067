import matplotlib
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def _close_figures():
    """Every picture is drawn to a file's canvas, and gone after the test."""
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()  # what can't be rendered raises here
    plt.close("all")
