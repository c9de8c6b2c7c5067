"""Three levels: digits explained by latents, these by fewer latents, and these by a mixture.

Any conjugated models stack if their types fit: the latents of each are the observables of the next.
Here the first level has either a full posterior covariance, and EM is in closed form, or a diagonal
one, which ties the prior to the likelihood, and the M-step is numerical. Both likelihoods are
exact, so that gradient ascent works as well.

    python examples/three_levels.py [--picture PATH]
"""

import time
from pathlib import Path

import digits
import equinox as eqx
import jax
import optax
import pictures

import harmonium as hm

jax.config.update("jax_enable_x64", True)

PICTURE = Path(__file__).parent / "output" / "three_levels.png"


def full_stack(n_first=12, n_second=4, n_components=10):
    """Full posterior covariances at both levels."""
    pixels, first, second = hm.Normal(64, hm.Diagonal()), hm.Normal(n_first), hm.Normal(n_second)
    return hm.stack(
        hm.LinearGaussianModel(pixels, first),
        hm.LinearGaussianModel(first, second),
        hm.Mixture(second, n_components),
    )


def diagonal_stack(n_first=12, n_second=4, n_components=10):
    """Diagonal posterior covariances at the first level, which the second level observes."""
    pixels = hm.Normal(64, hm.Diagonal())
    first, second = hm.Normal(n_first, hm.Diagonal()), hm.Normal(n_second)
    return hm.stack(
        hm.LinearGaussianModel(pixels, first),
        hm.LinearGaussianModel(first, second),
        hm.Mixture(second, n_components),
    )


def line(name, fit, data, seconds):
    """A line of the table."""
    model = fit.params.manifold
    held_out = eqx.filter_jit(model.average_log_observable_density)(fit.params, data.held_out)
    values = f"{fit.log_likelihood:>10.2f}{held_out:>10.2f}"
    return f"{name:<44}{model.dim:>10,}{values}{fit.n_steps:>8}{seconds:>9.1f}"


def main(picture=PICTURE, n_starts=4, n_steps=120, n_gradient_steps=500):
    """Fits, prints and draws."""
    data = digits.load()
    lines, fitted = [], {}

    def fit(name, model, **options):
        begin = time.perf_counter()
        fit = hm.fit(model, data.train, key=jax.random.key(0), **options)
        lines.append(line(name, fit, data, time.perf_counter() - begin))
        return fit

    budget = {"n_starts": n_starts, "max_steps": n_steps}
    fit("factor analysis, EM", hm.factor_analysis(64, 12), max_steps=n_steps)
    for name, model in (
        ("three levels, full posteriors", full_stack()),
        ("three levels, diagonal posteriors", diagonal_stack()),
    ):
        fitted[name] = model, fit(f"{name}, EM", model, **budget).params
    adam = hm.Gradient(optax.adam(optax.cosine_decay_schedule(1e-3, n_gradient_steps)))
    climbing = {"method": adam, "n_starts": n_starts, "max_steps": n_gradient_steps}
    fit(f"{name}, Adam", model, **climbing, tolerance=0.0)

    print(f"\nMean log-likelihoods in nats per image; of mixtures, the best of {n_starts} starts.")
    print("Seconds are for all starts, with the time to compile.\n")
    header = (
        f"{'model':<44}{'parameters':>10}{'train':>10}{'held-out':>10}{'steps':>8}{'seconds':>9}"
    )
    print("\n".join([header, "-" * len(header), *lines]))
    pictures.draw_levels(picture, fitted)


if __name__ == "__main__":
    pictures.run(main, __doc__, PICTURE)
