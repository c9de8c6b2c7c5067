"""A tree over four views of digits: which strokes, and which of them go together.

The views are the quarters of an image. Each has an alphabet: a mixture of strokes. The strokes of
the four quarters are four views of one class at the root. On held-out images this is compared with
quarters that know nothing of each other, and with flat mixtures of whole images; and where a
quarter is hidden, the tree fills it in from the other three.

    python examples/views.py [--picture PATH]
"""

from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from charts import plt, run, save
from matplotlib import colormaps
from pictures import draw_images
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import harmonium as hm

jax.config.update("jax_enable_x64", True)

PICTURE = Path(__file__).parent / "output" / "views.png"
# Grey levels; gaps between images are light, hidden pixels (below the levels) orange.
CMAP = colormaps["gray_r"].with_extremes(bad="#e4ecf1", under="#f2b880")
HIDDEN = -1.0
N_PIXELS = 16
QUARTERS = ("top left", "top right", "bottom left", "bottom right")
CORNERS = ((0, 0), (0, 4), (4, 0), (4, 4))


class Entry(NamedTuple):
    """A fitted model, and what it says about images."""

    name: str
    model: hm.Conjugated
    params: hm.Natural
    train: float
    held_out: float


def load():
    """The digits of scikit-learn with noise in [0, 1) that makes up for their rounding.

    Grey levels are integers. With the noise, densities of pixels are comparable to probabilities of
    the levels, and no pixel is the same in all images.
    """
    images, _ = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)
    images = images + np.random.default_rng(0).uniform(size=images.shape)
    return train_test_split(images, random_state=0)


def quarters(images):
    """Images as tuples of four views, (n, 16) each."""
    return tuple(
        jnp.asarray(images[:, i : i + 4, j : j + 4].reshape(-1, N_PIXELS)) for i, j in CORNERS
    )


def whole(views):
    """The views one after the other, (n, 64)."""
    return jnp.concatenate(views, axis=1)


# --- models


def strokes(n_strokes, n_pixels=N_PIXELS):
    """A mixture of images with independent pixels."""
    return hm.Mixture(hm.Normal(n_pixels, hm.Diagonal()), n_strokes)


def build_tree(n_strokes, n_classes):
    """p(k) prod_i p(s_i | k) p(x_i | s_i): a class, a stroke and an image for each quarter."""
    alphabets = hm.Beside(*(strokes(n_strokes) for _ in QUARTERS))
    classes = hm.Parallel(*(hm.Mixture(hm.Categorical(n_strokes), n_classes) for _ in QUARTERS))
    return hm.stack(alphabets, classes)


def fit(name, model, train, held_out, n_starts, n_steps):
    """EM from several starts; the default prior keeps all strokes and classes possible."""
    budget = {"n_starts": n_starts, "max_steps": n_steps}
    params = hm.fit(model, train, key=jax.random.key(0), **budget).params
    values = (float(mean_log_likelihood(model, params, xs)) for xs in (train, held_out))
    return Entry(name, model, params, *values)


@eqx.filter_jit
def mean_log_likelihood(model, params, xs):
    """In nats per image, strokes and classes summed out."""
    return model.average_log_observable_density(params, xs)


def compare(n_strokes, n_classes, n_starts, n_steps):
    """The tree, quarters by themselves, and flat mixtures: of the size of the tree, and twice."""
    train, held_out = map(quarters, load())
    tree = build_tree(n_strokes, n_classes)
    size = round((tree.dim + 1) / (2 * 64 + 1))  # mixtures with as many parameters, and twice
    views = {"tree": tree, "independent quarters": tree.lwr_hrm}
    flats = {f"flat mixture of {k}": strokes(k, 64) for k in (size, 2 * size)}
    budget = n_starts, n_steps
    entries = [fit(name, model, train, held_out, *budget) for name, model in views.items()]
    images = whole(train), whole(held_out)
    return entries + [fit(name, model, *images, *budget) for name, model in flats.items()]


# --- what the tree says


@eqx.filter_jit
def read(tree, params):
    """Classes' weights, (classes, quarters, strokes) weights of strokes, and strokes' images."""
    classes, prior = tree.prr_man, tree.prior(params)
    strokes_of = jax.vmap(lambda k: classes.likelihood_at(prior, k))
    points = strokes_of(jnp.arange(classes.pst_man.n_categories)).components
    weights = [
        jax.vmap(view.obs_man.probabilities)(point)
        for view, point in zip(classes.harmoniums, points, strict=True)
    ]
    likelihoods = zip(
        tree.lwr_hrm.harmoniums,
        params.observable.components,
        params.interaction.components,
        strict=True,
    )
    images = []
    for part, observable, block in likelihoods:
        own = part.point(observable, block, part.pst_man.zeros())
        images.append(jax.vmap(part.obs_man.mean)(part.components(own)))
    return hm.top_probabilities(tree, params), jnp.stack(weights, axis=1), jnp.stack(images)


def pruned(tree, params, hidden):
    """The tree without one of its branches, and with the same classes."""
    keep = [i for i in range(len(QUARTERS)) if i != hidden]
    lower, lower_likelihood = select(tree.lwr_hrm, params, keep)
    prior = tree.prior(params)
    upper, upper_likelihood = select(tree.prr_man, prior, keep)
    rest = upper.join_conjugated(upper_likelihood, tree.prr_man.prior(prior))
    smaller = hm.stack(lower, upper)
    likelihood = lower_likelihood.observable, lower_likelihood.interaction
    own = lower.point(*likelihood, lower.pst_man.zeros())
    return smaller, smaller.from_levels(own, rest)


def select(model, params, keep):
    """Some of the parts of a model, and their likelihood."""
    smaller = type(model)(*(model.harmoniums[i] for i in keep))
    observables = tuple(params.observable.components[i] for i in keep)
    interactions = tuple(params.interaction.components[i] for i in keep)
    natural = hm.Coordinates.NATURAL
    observable = hm.geometry.ProductPoint(observables, smaller.obs_man, natural)
    return smaller, smaller.make_likelihood(
        observable, hm.geometry.ProductPoint(interactions, smaller.int_man, natural)
    )


@eqx.filter_jit
def fill_in(tree, params, views, hidden):
    """The expected images of a hidden quarter given the three others, (n, 16)."""
    smaller, rest = pruned(tree, params, hidden)
    seen = tuple(view for i, view in enumerate(views) if i != hidden)
    classes = jax.vmap(lambda x: smaller.posterior_probabilities(rest, x))(seen)
    _, weights, images = read(tree, params)
    return classes @ weights[:, hidden] @ images[hidden]


def explained(tree, params, views):
    """The share of each quarter's variance that the three others explain."""
    shares = []
    for hidden, view in enumerate(views):
        residual = view - fill_in(tree, params, views, hidden)
        centred = view - jnp.mean(view, axis=0)
        shares.append(float(1 - jnp.sum(residual**2) / jnp.sum(centred**2)))
    return shares


def table(entries):
    """Log-likelihoods, best on held-out images first."""
    header = f"{'model':<24}{'parameters':>12}{'train':>10}{'held-out':>10}"
    lines = [header, "-" * len(header)]
    for entry in sorted(entries, key=lambda e: -e.held_out):
        sizes = f"{entry.name:<24}{entry.model.dim:>12,}"
        lines.append(f"{sizes}{entry.train:>10.2f}{entry.held_out:>10.2f}")
    return "\n".join(lines)


# --- picture


def draw(path, entries, views):
    """The comparison, the strokes, what classes make of them, and quarters filled in."""
    tree, params = entries[0].model, entries[0].params
    top, weights, images = read(tree, params)
    figure = plt.figure(figsize=(11, 8), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[1, 1.05], hspace=0.05)
    left, right = upper.subfigures(1, 2, width_ratios=[1, 1.05])
    draw_scores(left.subplots(), entries)
    draw_alphabets(right, images, top @ weights.reshape(len(top), -1))
    left, right = lower.subplots(1, 2, width_ratios=[1, 1.35])
    order = jnp.argsort(-top)
    left.set_title("Classes: expected image, and weight")
    expected = jnp.einsum("kqs,qsp->kqp", weights, images)[order]
    draw_images(left, assemble(expected), 5, [f"{weight:.2f}" for weight in top[order]])
    right.set_title("Held-out images, a quarter hidden and filled in")
    draw_filled(right, tree, params, views)
    save(figure, path)


def draw_scores(axes, entries):
    """Held-out log-likelihoods and sizes."""
    ordered = sorted(entries, key=lambda e: e.held_out)
    rows = np.arange(len(ordered))
    values = np.array([entry.held_out for entry in ordered])
    colors = ["#D55E00" if entry is entries[0] else "0.45" for entry in ordered]
    axes.scatter(values, rows, color=colors, s=70, zorder=3)
    for value, row in zip(values, rows, strict=True):
        axes.annotate(f"{value:.1f}", (value, row), (9, 0), textcoords="offset points", va="center")
    names = [f"{entry.name}\n{entry.model.dim:,} parameters" for entry in ordered]
    axes.set_yticks(rows, names)
    axes.set(
        title="Held-out images",
        xlabel="mean log-likelihood (nats per image)",
        xlim=(values.min() - 1, values.max() + 2),
        ylim=(-0.5, len(rows) - 0.5),
    )
    axes.grid(axis="y", color="0.9")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def draw_alphabets(figure, images, weights):
    """The strokes of each quarter, the most frequent first."""
    figure.suptitle("Strokes of each quarter, most frequent first")
    n_strokes = images.shape[1]
    columns = int(np.ceil(np.sqrt(n_strokes)))
    grid = figure.subplots(2, 2)
    frequencies = weights.reshape(len(QUARTERS), n_strokes)
    for axes, name, own, frequency in zip(grid.flat, QUARTERS, images, frequencies, strict=True):
        tiles(axes, own[jnp.argsort(-frequency)].reshape(-1, 4, 4), columns)
        axes.set_title(name, fontsize=10)


def draw_filled(axes, tree, params, views, n=6):
    """Images as they are, with a quarter hidden, and with what is expected there."""
    shown = jnp.stack([view[:n] for view in views], axis=1)
    hidden, filled = shown, shown
    for quarter in range(len(QUARTERS)):
        own = np.arange(n) % len(QUARTERS) == quarter
        expected = fill_in(tree, params, views, quarter)[:n]
        replaced = jnp.where(own[:, None], expected, shown[:, quarter])
        filled = filled.at[:, quarter].set(replaced)
        hidden = hidden.at[:, quarter].set(jnp.where(own[:, None], HIDDEN, shown[:, quarter]))
    tiles(axes, assemble(jnp.concatenate([shown, hidden, filled])).reshape(-1, 8, 8), n)
    for row, name in enumerate(("image", "seen", "filled in")):
        axes.text(-1, 9 * row + 3.5, name, ha="right", va="center")


def assemble(parts):
    """Images (n, 64) of four quarters (n, 4, 16)."""
    blocks = parts.reshape(-1, 2, 2, 4, 4)
    return blocks.transpose(0, 1, 3, 2, 4).reshape(-1, 64)


def tiles(axes, images, n_columns):
    """Small images in a grid, on a background on which missing pixels show."""
    n_rows = -(-len(images) // n_columns)
    height, width = images.shape[1:]
    blank = np.full((n_rows * n_columns, height + 1, width + 1), np.nan)
    blank[: len(images), :height, :width] = images
    rows = blank.reshape(n_rows, n_columns, height + 1, width + 1)
    joined = rows.transpose(0, 2, 1, 3).reshape(n_rows * (height + 1), -1)
    axes.imshow(joined[:-1, :-1], cmap=CMAP, vmin=0, vmax=17)
    axes.set_axis_off()


def main(picture=PICTURE, n_strokes=12, n_classes=20, n_starts=4, n_steps=150):
    """Fits, prints and draws."""
    entries = compare(n_strokes, n_classes, n_starts, n_steps)
    print(f"\nDigits in four quarters: {n_strokes} strokes each, {n_classes} classes of images.")
    print("Nats per image.\n")
    print(table(entries))
    _, held_out = load()
    views = quarters(held_out)
    shares = explained(entries[0].model, entries[0].params, views)
    print("\nHow much of the variance of a hidden quarter the others explain, held out:\n")
    for name, share in zip(QUARTERS, shares, strict=True):
        print(f"  {name:<14}{share:>5.0%}")
    draw(picture, entries, views)


if __name__ == "__main__":
    run(main, __doc__, PICTURE)
