"""Writes the files of `stored/`, one for each thing that files hold.

Files that are there stay: they were written by earlier releases, and are to be read for ever. A new
version of the format gets files of its own.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

import harmonium as hm
from harmonium.files.container import FORMAT_VERSION

STORED = Path(__file__).parent / "stored"
VIEWS = hm.stack(
    hm.Beside(hm.factor_analysis(2, 1), hm.Mixture(hm.Poisson(), 2)),
    hm.Mixture(hm.Product(hm.Normal(1), hm.Categorical(2)), 2),
)
HIERARCHY = hm.hierarchical_mixture_of_gaussians(3, 2, 2)
X = np.asarray([0.5, -1.0, 2.0])


def write(folder: Path) -> None:
    params = HIERARCHY.initialize(jax.random.key(0))
    xs = HIERARCHY.observable_sample(jax.random.key(1), params, (50,))
    fit = hm.fit(HIERARCHY, xs, key=jax.random.key(2), n_starts=2, max_steps=5, progress=False)
    density = HIERARCHY.log_observable_density(params, X)
    contents: dict[str, Any] = {
        "model": VIEWS,
        "point": {"params": params, "density": density, "key": jax.random.key(3)},
        "fit": fit,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in contents.items():
        file = folder / f"{name}.safetensors"
        if not file.exists():
            hm.save(file, value)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    write(STORED / f"version_{FORMAT_VERSION}")
