"""Filling in what is missing: digits without half of their pixels, tables without some entries.

Mixtures of factor analysers and hierarchical mixtures of Gaussians are fitted by EM to data that
are incomplete themselves: of every training image half is missing, random pixels or a half of the
square. Held-out images are then filled in by what the models expect there, and compared with what
was there; so are scikit-learn's imputers, fitted to the same incomplete data. The same is done with
a quarter of the entries of a table. Draws show how much the observed part leaves open.

    python examples/missing_pixels.py [--picture PATH]
"""

import warnings
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from charts import plt, run, save
from matplotlib import colormaps
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401, enables the next
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.model_selection import train_test_split

import harmonium as hm

jax.config.update("jax_enable_x64", True)

PICTURE = Path(__file__).parent / "output" / "missing_pixels.png"
CMAP = colormaps["gray_r"].with_extremes(bad="white", under="#f2b880")  # missing pixels: orange
HIDDEN = -1.0
N_PIXELS = 64
MISSING = 0.25  # of the entries of a table
N_VALIDATION = 5  # every fifth row chooses between models
NEIGHBOURS = (5, 10, 20)


class Incomplete(NamedTuple):
    """Rows with holes: what they are, and what of them is observed."""

    xs: np.ndarray
    observed: np.ndarray

    @property
    def holed(self):
        """The rows with NaN where nothing is observed."""
        return np.where(self.observed, self.xs, np.nan)

    def error(self, filled):
        """The root of the mean squared error of what is filled in."""
        return float(np.sqrt(np.mean((np.asarray(filled) - self.xs)[~self.observed] ** 2)))


class Candidate(NamedTuple):
    """Numbers of components and of factors, and pseudo-observations from the factor analysis."""

    kind: str
    n_components: int
    n_factors: int
    n_pseudo: int

    @property
    def name(self):
        return f"{self.kind}, {self.n_components} x {self.n_factors}"


class Fitted(NamedTuple):
    """A model fitted from several starts, and how well it predicts validation rows."""

    name: str
    model: hm.Conjugated
    params: hm.Natural
    validation: float

    def fill(self, rows):
        """Expectations of what is missing, averaged over starts."""
        filled = [hm.impute(self.model, p, rows.xs, rows.observed) for p in self.params]
        return np.mean(filled, axis=0)

    def draw(self, rows, key, n):
        """Draws of what is missing, each from the next of the starts; (n, rows, columns)."""
        keys = jax.random.split(key, n)
        chosen = (self.params[i % len(self.params)] for i in range(n))
        pairs = zip(chosen, keys, strict=True)
        return np.stack([hm.impute(self.model, p, *rows, key=k) for p, k in pairs])


ANALYSERS, HIERARCHY = "mixture of factor analysers", "hierarchical mixture"
IMAGES = (Candidate(ANALYSERS, 40, 4, 300), Candidate(HIERARCHY, 20, 12, 100))
TABLE = (Candidate(ANALYSERS, 3, 3, 20), Candidate(HIERARCHY, 3, 3, 20))


# --- data


def load_images(rng):
    """The digits with noise in [0, 1) that makes up for the rounding of grey levels.

    Of training images random pixels are missing, or a half of the square, by turns.
    """
    images, _ = load_digits(return_X_y=True)
    images = images + rng.uniform(size=images.shape)
    train, held_out = train_test_split(images, random_state=0)
    by_turns = (np.arange(len(train)) % 2 == 0)[:, None]
    masks = np.where(by_turns, halves(rng, len(train)), random_pixels(rng, len(train)))
    return Incomplete(train, masks), {
        "random half": Incomplete(held_out, random_pixels(rng, len(held_out))),
        "contiguous half": Incomplete(held_out, halves(rng, len(held_out))),
    }


def random_pixels(rng, n):
    """Masks of which half of the pixels are observed, (n, 64)."""
    return np.argsort(rng.uniform(size=(n, N_PIXELS)), axis=1) < N_PIXELS // 2


def halves(rng, n):
    """Masks of which the upper, lower, left or right half is observed, (n, 64)."""
    upper = np.repeat([True, False], 4)[:, None] & np.ones((8, 8), bool)
    four = np.stack([upper, ~upper, upper.T, ~upper.T]).reshape(4, N_PIXELS)
    return four[rng.integers(4, size=n)]


def load_table(seed):
    """Diabetes patients: standardised columns, a quarter of the entries missing."""
    table = load_diabetes().data
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    rng = np.random.default_rng(seed)
    parts = train_test_split(table, random_state=seed)
    return tuple(Incomplete(xs, rng.uniform(size=xs.shape) > MISSING) for xs in parts)


# --- fits


@eqx.filter_jit
def log_densities(model, batch, patterns):
    """The log densities of partly observed rows under each of a batch of points, (points, rows)."""
    return jax.lax.map(lambda params: model.log_observable_densities(params, patterns), batch)


@eqx.filter_jit
def random_starts(model, keys, xs):
    """A batch of random starts: the initialiser mapped over keys."""
    return jax.vmap(lambda key: model.initialize_from_sample(key, xs))(keys)


def run_em(model, rows, weights, starts, prior, n_steps):
    """EM on incomplete rows."""
    data = {"observed": rows.observed, "weights": weights}
    return hm.fit(model, rows.xs, **data, starts=starts, prior=prior, max_steps=n_steps)


def fit_factors(n_factors, rows, weights, n_steps):
    """Factor analysis, from a start for which columns are filled in by their means."""
    model = hm.factor_analysis(rows.xs.shape[1], n_factors)
    filled = jnp.asarray(np.where(rows.observed, rows.xs, np.nanmean(rows.holed, axis=0)))
    prior = hm.pseudo_observations(model, filled, 10)
    starts = random_starts(model, jax.random.split(jax.random.key(0), 1), filled)
    return model, model.standardize(run_em(model, rows, weights, starts, prior, n_steps).params)


def build(candidate, factors, params):
    """A model, and its parameters with which it says just what the factor analysis says."""
    k = candidate.n_components
    if candidate.kind == ANALYSERS:
        model = hm.Mixture(factors, k)
        return model, model.from_components([params] * k, jnp.full(k, 1 / k))
    clusters = hm.Mixture(factors.pst_man, k)
    model = hm.stack(factors, clusters)
    n = candidate.n_factors
    standard = factors.pst_man.from_mean_covariance(jnp.zeros(n), jnp.eye(n))
    latents = clusters.from_components([standard] * k, jnp.full(k, 1 / k))
    return model, model.from_levels(params, latents)


def fit(candidate, rows, n_starts, n_steps):
    """EM in two stages: factor analysis, and the model in which components differ.

    The first fills in the data that the second starts from, and is what its components are drawn
    towards, by pseudo-observations: a component alone has too few data to tell its covariance.
    """
    training = np.arange(len(rows.xs)) % N_VALIDATION != 0
    weights = jnp.asarray(training, float)
    factors, params = fit_factors(candidate.n_factors, rows, weights, 2 * n_steps)
    model, same = build(candidate, factors, params)
    prior = hm.ConjugatePrior(eqx.filter_jit(model.to_mean)(same), candidate.n_pseudo)
    filled = hm.impute(factors, params, *rows, key=jax.random.key(1))
    starts = random_starts(model, jax.random.split(jax.random.key(0), n_starts), filled)
    params = run_em(model, rows, weights, starts, prior, n_steps).all_params
    densities = log_densities(model, params, hm.group_observations(model, *rows))
    return Fitted(candidate.name, model, params, float(jnp.mean(densities[:, ~training])))


# --- comparisons


def imputers(**settings):
    """Those of scikit-learn; of nearest neighbours, three. Settings are those of the iterative."""
    return {
        "column means": SimpleImputer(keep_empty_features=True),
        "IterativeImputer": IterativeImputer(random_state=0, **settings),
        **{
            f"KNNImputer, {k} neighbours": KNNImputer(n_neighbors=k, weights="distance")
            for k in NEIGHBOURS
        },
    }


def fill_with(imputer, train, held_out):
    """What an imputer of scikit-learn, fitted to some rows, fills into others.

    The iterative one warns where it still changes after its last round; that is its result.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        imputer.fit(train.holed)
        return [imputer.transform(rows.holed) for rows in held_out]


class Comparison(NamedTuple):
    """The fitted models, and by names what all methods fill into held-out rows, and errors."""

    fits: list[Fitted]
    filled: dict[str, list[np.ndarray]]
    errors: dict[str, list[float]]


def compare(candidates, train, held_out, budget, **settings):
    """All methods on sets of held-out rows."""
    fits = [fit(candidate, train, *budget) for candidate in candidates]
    filled = {k: fill_with(own, train, held_out) for k, own in imputers(**settings).items()}
    filled |= {own.name: [own.fill(rows) for rows in held_out] for own in fits}
    errors = {
        name: [rows.error(x) for rows, x in zip(held_out, values, strict=True)]
        for name, values in filled.items()
    }
    return Comparison(fits, filled, errors)


def compare_table(candidates, budget, n_splits):
    """Averages over several splits of a table: errors, and what validation rows say."""
    runs = []
    for seed in range(n_splits):
        train, held_out = load_table(seed)
        settings = {"max_iter": 30, "tol": 1e-2}
        runs.append(compare(candidates, train, [held_out], budget, **settings))
    errors = {name: np.mean([run.errors[name] for run in runs], axis=0) for name in runs[0].errors}
    fits = zip(*(run.fits for run in runs), strict=True)
    return errors, {own[0].name: np.mean([f.validation for f in own]) for own in fits}


def table(errors, validation, columns):
    """Errors of what is filled in, and log-likelihoods; a star for the model that these choose."""
    header = f"{'':<36}" + "".join(f"{name:>17}" for name in columns) + f"{'validation':>13}"
    lines = [header, "-" * len(header)]
    best = max(validation, key=lambda name: validation[name])
    for name, values in errors.items():
        line = f"{name:<36}" + "".join(f"{value:>17.3f}" for value in values)
        if name in validation:
            line += f"{validation[name]:>13.2f}" + (" *" if name == best else "")
        lines.append(line)
    return "\n".join(lines)


# --- picture


N_SHOWN = 4  # images with each kind of holes
N_DRAWS = 4


def draw(path, comparison, held_out):
    """Images, their holes, and what methods fill in: a row for each image."""
    chosen = max(comparison.fits, key=lambda own: own.validation)
    errors = comparison.errors
    nearest = min((k for k in errors if k.startswith("KNN")), key=lambda k: sum(errors[k]))
    methods = ("IterativeImputer", nearest, chosen.name)
    blocks = []
    for i, rows in enumerate(held_out):
        own = slice(i * N_SHOWN, (i + 1) * N_SHOWN)
        shown = Incomplete(rows.xs[own], rows.observed[own])
        holes = np.where(shown.observed, shown.xs, HIDDEN)
        filled = [comparison.filled[name][i][own] for name in methods]
        draws = chosen.draw(shown, jax.random.key(2), N_DRAWS)
        parts = np.clip(np.stack([shown.xs, *filled, *draws], axis=1), 0, 17)
        blocks.append(np.insert(parts, 1, holes, axis=1))
    titles = ["image", "seen", "iterative", "nearest", "expected", *["draw"] * N_DRAWS]
    draw_rows(path, np.concatenate(blocks), titles)


def draw_rows(path, images, titles):
    """Images (rows, columns, 64) in a grid, with titles above it."""
    n_rows, n_columns = images.shape[:2]
    tiles = np.pad(
        images.reshape(n_rows, n_columns, 8, 8),
        ((0, 0), (0, 0), (0, 1), (0, 1)),
        constant_values=np.nan,
    )
    figure, axes = plt.subplots(figsize=(n_columns, n_rows + 0.6), layout="constrained")
    joined = tiles.transpose(0, 2, 1, 3).reshape(n_rows * 9, n_columns * 9)[:-1, :-1]
    axes.imshow(joined, cmap=CMAP, vmin=0, vmax=17)
    for i, title in enumerate(titles):
        axes.text(9 * i + 3.5, -1.5, title, ha="center", va="bottom")
    axes.set_title("Held-out images without half of their pixels", pad=24)
    axes.set_axis_off()
    save(figure, path)


def main(picture=PICTURE, images=IMAGES, columns=TABLE, n_starts=4, n_steps=20, n_splits=5):
    """Fits, prints and draws."""
    budget = n_starts, n_steps
    train, held_out = load_images(np.random.default_rng(0))
    settings = {"n_nearest_features": 20, "min_value": 0, "max_value": 17}
    comparison = compare(images, train, list(held_out.values()), budget, **settings)
    print("\nRoot mean squared errors of what is filled into held-out rows. Models, fitted to the")
    print(
        f"same incomplete rows from {n_starts} starts, fill in the average of their expectations;"
    )
    print("validation: the mean log density of what is observed in rows that they have not seen.")
    print("\nDigits, half of the pixels missing (grey levels from 0 to 17)\n")
    validation = {own.name: own.validation for own in comparison.fits}
    print(table(comparison.errors, validation, list(held_out)))
    print(f"\nDiabetes, {MISSING:.0%} of the entries missing (standard deviations)\n", flush=True)
    print(table(*compare_table(columns, budget, n_splits), ["entries"]))
    print("\n* the model that validation rows choose.")
    draw(picture, comparison, list(held_out.values()))


if __name__ == "__main__":
    run(main, __doc__, PICTURE)
