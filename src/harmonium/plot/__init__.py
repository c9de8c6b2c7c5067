"""Pictures of models, their parameters and their fits, by matplotlib."""

from harmonium.plot.density import density
from harmonium.plot.drawing import draw
from harmonium.plot.ellipses import ellipses
from harmonium.plot.history import history
from harmonium.plot.latents import latents, loadings, responsibilities

__all__ = ["density", "draw", "ellipses", "history", "latents", "loadings", "responsibilities"]
