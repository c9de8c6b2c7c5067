"""How fits went."""

import numpy as np
from matplotlib.axes import Axes

from harmonium.learning.fit import Fit
from harmonium.plot.canvas import MUTED, color_of, get_axes


def history(fit: Fit, ax: Axes | None = None) -> Axes:
    """The best objective of each start after each step, and the best start emphasised.

    The first steps of bad starts may be below the picture, so that the last ones can be told apart.

    **Arguments:**

    - `fit`: the result of `hm.fit`.
    - `ax`: the axes to draw into, those of a new figure by default.

    **Returns:** the axes.
    """
    histories = np.atleast_2d(np.asarray(fit.all_histories))
    objectives = np.asarray(fit.all_objectives)
    finite = np.where(np.isfinite(objectives), objectives, -np.inf)
    best = int(np.argmax(finite))
    ax = get_axes(ax)
    steps = np.arange(1, histories.shape[1] + 1)
    for i, values in enumerate(histories):
        if i != best:
            taken = np.isfinite(values)
            ax.plot(steps[taken], values[taken], color=MUTED, lw=1)
    taken = np.isfinite(histories[best])
    name = f"best of {len(histories)} starts" if len(histories) > 1 else None
    ax.plot(steps[taken], histories[best][taken], color=color_of(0), lw=2.2, label=name)
    low, high = (
        np.nanquantile(histories[np.isfinite(histories)], 0.03),
        histories[best][taken].max(),
    )
    ax.set_ylim(low - 0.05 * (high - low), high + 0.08 * (high - low))
    ax.set(xlabel="steps", ylabel="objective (nats per observation)")
    if name is not None:
        ax.legend(frameon=False, loc="lower right")
    return ax
