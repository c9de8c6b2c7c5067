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
import jax
import jax.numpy as jnp
import pictures
from fitting import CHUNK, em_chunk, fit_em, gradient_ascent, mean_log_likelihood, random_starts

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


def noisy_images(data):
    """Images with noise of the variance floor, so that starts are at home with pseudo-images."""
    noise = jax.random.normal(jax.random.key(1), data.train.shape)
    return data.train + jnp.sqrt(digits.variance_floor(data)) * noise


def step_time(model, fit, data, pseudo):
    """Milliseconds for one EM step from one start."""
    xs, weights = model.condense(data.train)
    begin = time.perf_counter()
    jax.block_until_ready(em_chunk(model, fit.all_params, xs, weights, pseudo))
    return 1000 * (time.perf_counter() - begin) / (CHUNK * len(fit.all_params))


def line(name, model, params, data, step=None):
    """A line of the table."""
    values = (mean_log_likelihood(model, params, xs) for xs in (data.train, data.held_out))
    train, held_out = (f"{float(value):.2f}" for value in values)
    milliseconds = "-" if step is None else f"{step:.0f}"
    return f"{name:<44}{model.dim:>10,}{train:>10}{held_out:>10}{milliseconds:>10}"


def main(picture=PICTURE, n_starts=4, n_steps=120, n_gradient_steps=500):
    """Fits, prints and draws."""
    data = digits.load()
    images = noisy_images(data)
    lines, fitted = [], {}

    def fit(name, model):
        starts = random_starts(model, jax.random.key(0), images, n_starts)
        pseudo = digits.pseudo_images(model, data)
        fit = fit_em(model, starts, data.train, pseudo, n_steps, name=name)
        step = step_time(model, fit, data, pseudo)
        lines.append(line(f"{name}, EM", model, fit.params, data, step))
        return starts, pseudo, fit.params

    factor_analysis = hm.factor_analysis(64, 12)
    fit("factor analysis", factor_analysis)
    for name, model in (
        ("three levels, full posteriors", full_stack()),
        ("three levels, diagonal posteriors", diagonal_stack()),
    ):
        starts, pseudo, params = fit(name, model)
        fitted[name] = model, params
    climbed = gradient_ascent(model, starts[0], data.train, pseudo, n_gradient_steps)
    name = f"three levels, diagonal posteriors, {n_gradient_steps} x Adam"
    lines.append(line(name, model, climbed, data))

    print("\nMean log-likelihoods in nats per image; milliseconds for one EM step from one start.")
    print(
        f"EM: the best of {n_starts} starts, at most {n_steps} steps; Adam: from the first start.\n"
    )
    header = f"{'model':<44}{'parameters':>10}{'train':>10}{'held-out':>10}{'ms/step':>10}"
    print("\n".join([header, "-" * len(header), *lines]))
    pictures.draw_levels(picture, fitted)


if __name__ == "__main__":
    pictures.run(main, __doc__, PICTURE)
