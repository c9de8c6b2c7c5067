"""What the pictures of the smaller examples share: colours, saving, and running."""

from pictures import plt, run, save

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")

__all__ = ["COLORS", "plt", "run", "save"]
