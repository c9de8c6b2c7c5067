"""Pictures of models fitted to digits, and what all examples do about pictures."""

import argparse
import os
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from threadpoolctl import threadpool_limits

import harmonium as hm

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# XLA leaves small factorisations to SciPy's BLAS, whose threads mostly wait for each other: on busy
# cores, a hundred times longer than the work takes.
threadpool_limits(1, user_api="blas")

DIGIT_COLORS = matplotlib.colormaps["tab10"].colors


def draw_hierarchy(path, model, fit, data):
    """A hierarchical mixture of Gaussians: its latents, training, components and samples."""
    figure = plt.figure(figsize=(11, 8), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.75, 1], hspace=0.04)
    latents, training = top.subplots(1, 2, width_ratios=[1.5, 1])
    draw_latents(latents, model, fit.params, data)
    draw_training(training, fit)
    left, right = bottom.subplots(1, 2)
    means, weights = component_means(model, fit.params)
    left.set_title("Mean image and weight of each component")
    draw_images(left, means, 5, [f"{weight:.2f}" for weight in weights])
    right.set_title("Generated images")
    draw_images(right, generated_images(model, fit.params, 40), 10)
    save(figure, path)


LEVELS = ("component\nE[x | k]", "second latents\nE[x | z]", "first latents\nE[x | y]", "sample\nx")


def draw_levels(path, fitted, n_samples=8):
    """What each level of stacks of three adds to samples, for models and their parameters."""
    figure, grid = plt.subplots(1, len(fitted), figsize=(11, 2.9), layout="constrained")
    figure.get_layout_engine().set(wspace=0.04)
    for axes, (name, (model, params)) in zip(grid, fitted.items(), strict=True):
        images = ancestral_images(model, params, n_samples)
        axes.set_title(name)
        draw_images(axes, jnp.concatenate(images), n_samples)
    for i, level in enumerate(LEVELS):
        grid[0].text(-2, 9 * i + 3.5, level, ha="right", va="center", fontsize=10)
    save(figure, path)


@eqx.filter_jit
def ancestral_images(model, params, n, seed=0):
    """Samples from the top down: expected images given what is known at each level, and images."""
    middle, middle_params = model.prr_man, model.prior(params)
    top, top_params = middle.prr_man, middle.prior(middle_params)
    centres = jax.vmap(top.obs_man.mean)(top.components(top_params))

    def expected_image(latents):
        return model.obs_man.mean(model.likelihood_at(params, latents))

    def expected_latent(latents):
        return middle.obs_man.mean(middle.likelihood_at(middle_params, latents))

    def images(joint):
        x, (y, (z, k)) = joint
        first, centre = hm.Joint(z, k), hm.Joint(centres[k], k)
        given_component = expected_image(hm.Joint(expected_latent(centre), first))
        given_second = expected_image(hm.Joint(expected_latent(first), first))
        return given_component, given_second, expected_image(hm.Joint(y, first)), x

    return jax.vmap(images)(model.sample(jax.random.key(seed), params, (n,)))


def draw_latents(axes, model, params, data):
    """Expected latents of held-out images, and components, which know nothing of the labels."""
    means, covariances, latents = projected_latents(model, params, data.held_out)
    for digit, color in enumerate(DIGIT_COLORS):
        shown = latents[data.held_out_labels == digit]
        axes.scatter(*shown.T, s=16, color=color, label=digit, alpha=0.8, linewidths=0)
    for mean, covariance in zip(means, covariances, strict=True):
        axes.plot(*ellipse(mean, covariance), "0.25", lw=1)
    axes.set(
        title="Held-out images in latent space (lines: components, 1.5 s.d.)",
        xlabel="first discriminating direction",
        ylabel="second discriminating direction",
    )
    axes.set_aspect("equal", "datalim")
    axes.legend(title="digit", ncols=1, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


@eqx.filter_jit
def projected_latents(model, params, xs):
    """Components and expected latents of observations, in two dimensions.

    With standardised latents, the two directions in which the components' means vary most are those
    that tell components apart best.
    """
    params = model.standardize(params)
    upper = model.upr_hrm
    prior = model.prior(params)
    components, weights = upper.components(prior), upper.weights(prior)
    means = jax.vmap(upper.obs_man.mean)(components)
    covariances = jax.vmap(upper.obs_man.covariance)(components)
    directions = jnp.linalg.eigh((weights[:, None] * means).T @ means)[1][:, :-3:-1]
    latents = model.expected_latents(params, xs)
    project = jax.vmap(lambda covariance: directions.T @ covariance @ directions)
    return means @ directions, project(covariances), latents @ directions


def ellipse(mean, covariance, radius=1.5):
    """Points on the line some standard deviations from the mean."""
    angles = np.linspace(0, 2 * np.pi, 100)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    return np.asarray(mean)[:, None] + radius * np.linalg.cholesky(covariance) @ circle


def draw_training(axes, fit):
    """The objective of all starts, the best of them dark."""
    hm.plot.history(fit, axes)
    axes.set(
        title=f"Training from {len(fit.all_objectives)} random starts",
        xlabel="EM steps",
        ylabel="objective (nats per image)",
    )


@eqx.filter_jit
def component_means(model, params):
    """The expected image of each component, and the components' weights."""
    upper = model.upr_hrm
    prior = model.prior(params)
    latents = jax.vmap(upper.obs_man.mean)(upper.components(prior))

    def image(latent):
        return model.obs_man.mean(model.likelihood_at(params, hm.Joint(latent, 0)))

    return jax.vmap(image)(latents), upper.weights(prior)


@eqx.filter_jit
def generated_images(model, params, n, seed=1):
    """Images that the model makes up."""
    return model.observable_sample(jax.random.key(seed), params, (n,))


def draw_images(axes, images, n_columns, captions=()):
    """Images of digits in a grid, with captions below them."""
    gap = 2 if len(captions) else 1
    margins = ((0, 0), (0, gap), (0, 1))
    tiles = np.pad(np.reshape(images, (-1, 8, 8)), margins, constant_values=np.nan)
    n_rows = len(tiles) // n_columns
    rows = tiles[: n_rows * n_columns].reshape(n_rows, n_columns, *tiles.shape[1:])
    axes.imshow(np.block([list(row) for row in rows]), cmap="gray_r", vmin=0, vmax=17)
    for i, caption in enumerate(captions):
        row, column = divmod(i, n_columns)
        x, y = 9 * column + 3.5, (8 + gap) * row + 8.4
        axes.text(x, y, caption, ha="center", va="center", fontsize=9)
    axes.set_axis_off()


def save(figure, path):
    """Saves a picture, and makes its folder if need be."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def run(main, description, picture):
    """Runs an example that draws a picture, where the command line says, and prints the time."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--picture", type=Path, default=picture, help="where to save the picture")
    path = parser.parse_args().picture
    begin = time.perf_counter()
    main(path)
    print(f"\nPicture: {os.path.relpath(path)}")
    print(f"Time: {time.perf_counter() - begin:.0f} s")
