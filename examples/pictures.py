"""Pictures of models fitted to digits."""

from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

import harmonium as hm

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (the backend is chosen first)

DIGIT_COLORS = matplotlib.colormaps["tab10"].colors


def draw_hierarchy(path, model, fit, data):
    """A hierarchical mixture of Gaussians: its latents, training, components and samples."""
    figure = plt.figure(figsize=(11, 10.2), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.25, 1])
    latents, training = top.subplots(1, 2, width_ratios=[1.45, 1])
    draw_latents(latents, model, fit.params, data)
    draw_training(training, fit.history)
    left, right = bottom.subfigures(1, 2)
    left.suptitle("Mean image of each component, and its weight")
    means, weights = component_means(model, fit.params)
    draw_images(left, means, 4, [f"{weight:.2f}" for weight in weights])
    right.suptitle("Generated images")
    draw_images(right, model.observable_sample(jax.random.key(1), fit.params, (40,)), 8)
    save(figure, path)


def draw_latents(axes, model, params, data):
    """Expected latents of held-out images, and the components that they were not told about.

    The latents are standardised, so the directions in which the components' means vary most are
    those that tell components apart best.
    """
    upper = model.upr_hrm
    prior = model.prior(params)
    components, weights = upper.components(prior), upper.weights(prior)
    means = jax.vmap(upper.obs_man.mean)(components)
    covariances = jax.vmap(upper.obs_man.covariance)(components)
    directions = jnp.linalg.eigh((weights[:, None] * means).T @ means)[1][:, :-3:-1]

    latents = model.expected_latents(params, data.held_out) @ directions
    for digit, color in enumerate(DIGIT_COLORS):
        shown = latents[data.held_out_labels == digit]
        axes.scatter(*shown.T, s=16, color=color, label=digit, alpha=0.8, linewidths=0)
    for mean, covariance in zip(means, covariances, strict=True):
        axes.plot(*ellipse(mean @ directions, directions.T @ covariance @ directions), "0.25", lw=1)
    axes.set(
        title="Held-out images in latent space (lines: components, 1.5 s.d.)",
        xlabel="first discriminating direction",
        ylabel="second discriminating direction",
    )
    axes.set_aspect("equal", "datalim")
    axes.legend(title="digit", ncols=1, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def ellipse(mean, covariance, radius=1.5):
    """Points on the line some standard deviations from the mean."""
    angles = np.linspace(0, 2 * np.pi, 100)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    return np.asarray(mean)[:, None] + radius * np.linalg.cholesky(covariance) @ circle


def draw_training(axes, history, chunk=10):
    """The log-likelihood of all starts, the best of them dark."""
    steps = chunk * np.arange(1, len(history) + 1)
    best = history[-1].argmax()
    axes.plot(steps, np.delete(history, best, axis=1), color="0.7", lw=1)
    axes.plot(steps, history[:, best], color="C0", lw=2, label="best start")
    axes.set(
        title=f"Training from {history.shape[1]} random starts",
        xlabel="EM steps",
        ylabel="mean log-likelihood (nats per image)",
        ylim=(np.quantile(history, 0.03), history.max() + 0.3),
    )
    axes.legend(loc="lower right", frameon=False)


def component_means(model, params):
    """The expected image of each component, and the components' weights."""
    upper = model.upr_hrm
    prior = model.prior(params)
    latents = jax.vmap(upper.obs_man.mean)(upper.components(prior))

    def image(latent):
        return model.obs_man.mean(model.likelihood_at(params, hm.Joint(latent, 0)))

    return jax.vmap(image)(latents), upper.weights(prior)


def draw_images(figure, images, n_columns, titles=None):
    """A grid of images of digits."""
    n_rows = -(-len(images) // n_columns)
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for i, (axes, image) in enumerate(zip(grid.flat, images, strict=False)):
        axes.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        if titles is not None:
            axes.set_title(titles[i], fontsize=9)


def save(figure, path):
    """Saves a picture, and makes its folder if need be."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)
