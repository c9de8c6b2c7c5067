"""Clusters of records with columns of several types: voters of the US election of 1996.

Each record has two real numbers (age, income), a count (the people of the place where
they live, in thousands), five categories (party, where they place themselves and both candidates,
education) and a vote. A mixture of
products of families takes them as they are. The number of components is chosen by cross-validation.

    python examples/mixed_records.py [--picture PATH]
"""

from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from charts import COLORS, plt, run, save
from matplotlib.ticker import MaxNLocator
from pictures import ellipse
from statsmodels.datasets import anes96
from tqdm import tqdm

import harmonium as hm

jax.config.update("jax_enable_x64", True)

PICTURE = Path(__file__).parent / "output" / "mixed_records.png"
N_FOLDS = 5
N_PSEUDO = 10
# Where the brackets of yearly household income end, in thousands of dollars.
BRACKETS = (
    0,
    3,
    5,
    7,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    17,
    20,
    22,
    25,
    30,
    35,
    40,
    45,
    50,
    60,
    75,
    90,
    105,
)
CATEGORIES = ("PID", "selfLR", "ClinLR", "DoleLR", "educ")
SCALES = (
    ("Party", "strong Democrat", "strong Republican"),
    ("Places oneself", "left", "right"),
    ("Places Clinton", "left", "right"),
    ("Places Dole", "left", "right"),
    ("Education", "8 grades or less", "highest degree"),
)
RECORD = hm.Product(
    hm.Normal(2),  # age, and the logarithm of income
    hm.NegativeBinomial(0.25),  # thousands of people: counts of very different sizes
    hm.Replicated(hm.Categorical(7), len(CATEGORIES)),
    hm.Bernoulli(),  # votes for Dole
)


class Score(NamedTuple):
    """A number of components, and mean log-likelihoods by folds."""

    n_components: int
    n_parameters: int
    train: np.ndarray
    held_out: np.ndarray


def load():
    """944 answers to the American National Election Study of 1996, which come with statsmodels.

    Incomes come in brackets: the logarithm is that of their middles.
    """
    table = anes96.load_pandas().data
    middles = np.append((np.array(BRACKETS[:-1]) + BRACKETS[1:]) / 2, 120)
    income = middles[table["income"].to_numpy(int) - 1]
    reals = np.column_stack([table["age"], np.log2(income)])
    lowest = [table[name].min() for name in CATEGORIES]
    categories = (table[list(CATEGORIES)] - lowest).to_numpy(int)
    columns = (reals, table["popul"].to_numpy(int), categories, table["vote"].to_numpy(int))
    return jax.tree.map(jnp.asarray, columns)


# --- fits


@eqx.filter_jit
def fit_folds(model, records, folds, n_starts, n_steps):
    """EM from several starts on parts of the data, all at once.

    Pseudo-observations, typical in all columns whatever the component, are in every fit, so that no
    category has probability zero.

    **Arguments:**

    - `folds`: (folds, records), one for the records to hold out and zero for others.

    **Returns:** the parameters, and mean log-likelihoods of training and held-out records.
    """

    def fit(held_out):
        train = 1 - held_out
        prior = hm.pseudo_observations(model, records, N_PSEUDO, train)
        budget = {"n_starts": n_starts, "max_steps": n_steps}
        data = {"weights": train, "prior": prior}
        params = hm.fit(model, records, key=jax.random.key(0), **data, **budget).params
        densities = model.log_observable_densities(params, records)
        return params, *(weights @ densities / jnp.sum(weights) for weights in (train, held_out))

    return jax.vmap(fit)(folds)


def fit_mixture(n_components, records, n_starts, n_steps):
    """A mixture fitted to all records, and how well it predicts records that it has not seen."""
    model = hm.Mixture(RECORD, n_components)
    members = np.random.default_rng(0).permutation(len(records[1])) % N_FOLDS
    # The last of the folds holds out nothing.
    folds = jnp.asarray(members == np.arange(N_FOLDS + 1)[:, None], float)
    params, train, held_out = fit_folds(model, records, folds, n_starts, n_steps)
    score = Score(n_components, model.dim, *(np.asarray(v)[:N_FOLDS] for v in (train, held_out)))
    return score, model, params[N_FOLDS]


def gaps(scores):
    """How far each is behind the best on held-out records, with the standard error over folds."""
    best = max(scores, key=lambda score: score.held_out.mean()).held_out
    differences = np.stack([score.held_out - best for score in scores])
    return differences.mean(axis=1), differences.std(axis=1, ddof=1) / N_FOLDS**0.5


def choose(scores):
    """The place of the smallest mixture that is not behind the best by more than that error."""
    behind, errors = gaps(scores)
    return int(np.argmax(-behind <= errors))


def ordered(model, params):
    """The components of a mixture and their weights, in the order of votes for Dole."""
    components, weights = model.components(params), model.weights(params)
    order = jnp.argsort(jax.vmap(hm.Bernoulli().probability)(components.components[3]))
    return components[order], weights[order]


def table(scores):
    """How many components explain unseen records best."""
    header = f"{'components':>10}{'parameters':>12}{'train':>10}{'held-out':>10}"
    header += f"{'behind':>9}{'error':>8}"
    lines = [header, "-" * len(header)]
    for place, (score, behind, error) in enumerate(zip(scores, *gaps(scores), strict=True)):
        sizes = f"{score.n_components:>10}{score.n_parameters:>12}"
        values = f"{score.train.mean():>10.3f}{score.held_out.mean():>10.3f}"
        mark = " *" if place == choose(scores) else ""
        lines.append(f"{sizes}{values}{abs(behind):>9.3f}{error:>8.3f}{mark}")
    return "\n".join(lines)


def profiles(components, weights):
    """What the components say about all columns, a line each."""
    normals, places, categories, votes = components.components
    means = jax.vmap(RECORD.parts[0].mean)(normals)
    people = jax.vmap(RECORD.parts[1].mean)(places)
    dole = jax.vmap(hm.Bernoulli().probability)(votes)
    steps = category_probabilities(categories) @ jnp.arange(1.0, 8.0)
    header = f"{'share':>6}{'age':>6}{'income':>9}{'people':>9}{'votes Dole':>12}"
    header += "".join(f"{name:>16}" for name, *_ in SCALES)
    lines = [header, "-" * len(header)]
    for k, (age, income) in enumerate(means):
        reals = f"{weights[k]:>6.0%}{age:>6.0f}{f'{2**income:.0f} k$':>9}{f'{people[k]:.0f} k':>9}"
        lines.append(f"{reals}{dole[k]:>12.0%}" + "".join(f"{value:>16.1f}" for value in steps[k]))
    return "\n".join(lines)


def category_probabilities(categories):
    """Probabilities (components, columns, 7) of the categories."""
    return jax.vmap(jax.vmap(hm.Categorical(7).probabilities))(categories.replicas)


# --- picture


def draw(path, records, scores, components, weights):
    """The choice of the number of components, and what the components are, column by column."""
    figure, grid = plt.subplots(3, 3, figsize=(12, 10), layout="constrained")
    figure.get_layout_engine().set(hspace=0.06, wspace=0.04)
    normals, places, categories, votes = components.components
    draw_scores(grid[0, 0], scores)
    draw_reals(grid[0, 1], records[0], normals)
    draw_votes(grid[0, 2], jax.vmap(hm.Bernoulli().probability)(votes), weights)
    probabilities = category_probabilities(categories)
    for column, (axes, scale) in enumerate(zip(grid.flat[3:8], SCALES, strict=True)):
        draw_category(axes, probabilities[:, column], *scale)
    draw_people(grid[2, 2], jax.vmap(RECORD.parts[1].mean)(places))
    save(figure, path)


def draw_scores(axes, scores):
    """Held-out log-likelihoods against the number of components, relative to the best."""
    sizes = [score.n_components for score in scores]
    behind, errors = gaps(scores)
    axes.errorbar(sizes, behind, errors, color="0.6", ecolor="0.4", marker="o", mfc="0.2")
    chosen = choose(scores)
    axes.plot(sizes[chosen], behind[chosen], "o", ms=12, mfc="none", mec="black", mew=1.5)
    axes.set(title="Choice by cross-validation", xlabel="components")
    axes.set_ylabel("held-out log-likelihood\nbeside the best (nats; bars: s.e.)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_reals(axes, reals, normals):
    """Ages and incomes, and an ellipse of one standard deviation for each component."""
    jitter = np.random.default_rng(0).uniform(-0.1, 0.1, len(reals))
    axes.scatter(reals[:, 0], reals[:, 1] + jitter, s=4, color="0.8", linewidths=0)
    family = RECORD.parts[0]
    for point, color in zip(normals, COLORS, strict=False):
        line = ellipse(family.mean(point), family.covariance(point), radius=1.0)
        axes.plot(*line, color=color, lw=2)
    ticks = (2, 5, 10, 20, 50, 100)
    axes.set_yticks(np.log2(ticks), ticks)
    axes.set(title="Age and income (lines: 1 s.d.)", xlabel="age (years)")
    axes.set_ylabel("household income (k$ a year)")


def draw_votes(axes, votes, weights):
    """Votes for Dole, and the weights of the components."""
    places = np.arange(len(weights))
    axes.barh(places, votes, color=COLORS[: len(weights)], height=0.7)
    axes.set_yticks(places, [f"{weight:.0%} of voters" for weight in weights])
    axes.invert_yaxis()
    axes.axvline(0.5, color="0.3", lw=1, ls=":")
    axes.set(title="Vote", xlabel="probability to vote for Dole, not Clinton", xlim=(0, 1))


def draw_people(axes, people):
    """The mean number of people of the places where voters live."""
    rows = np.arange(len(people))
    axes.barh(rows, people, color=COLORS[: len(people)], height=0.7)
    axes.invert_yaxis()
    axes.set(title="Place of living", xlabel="mean number of people (thousands)", yticks=[])


def draw_category(axes, probabilities, name, low, high):
    """Probabilities of seven categories."""
    draw_lines(axes, np.arange(1, 8), probabilities)
    axes.set(title=name, ylabel="probability", xlabel=f"1: {low}, 7: {high}")


def draw_lines(axes, places, probabilities):
    """A line for each component."""
    for row, color, marker in zip(probabilities, COLORS, "osD^vPX*", strict=False):
        axes.plot(places, row, color=color, marker=marker, ms=5, lw=1.8)
    axes.set_xticks(places)
    axes.set_ylim(bottom=0)


def main(picture=PICTURE, most=7, n_starts=8, n_steps=100):
    """Fits, prints and draws."""
    records = load()
    sizes = tqdm(range(1, most + 1), desc="numbers of components")
    fits = [fit_mixture(k, records, n_starts, n_steps) for k in sizes]
    scores = [score for score, _, _ in fits]
    _, model, params = fits[choose(scores)]
    components, weights = ordered(model, params)
    print(
        f"\n{len(records[1])} records, {N_FOLDS} folds, {n_starts} starts. Every fit has beside its"
    )
    print(f"records {N_PSEUDO} pseudo-records, typical in all columns. Nats per record:\n")
    print(table(scores))
    print(
        "\n* the smallest mixture that is behind the best by at most a standard error over folds."
    )
    print(f"\nIts {len(weights)} components; categories by their averages from 1 to 7.\n")
    print(profiles(components, weights))
    draw(picture, records, scores, components, weights)


if __name__ == "__main__":
    run(main, __doc__, PICTURE)
