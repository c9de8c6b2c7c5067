"""Counts with more and with less variance than a Poisson distribution gives them.

Visits to doctors vary far more than a Poisson count of the same mean, the inked pixels of digits
far less. Several families and mixtures are fitted to each, by maximum likelihood on one half of the
data, and compared on the other half.

    python examples/overdispersed_counts.py [--picture PATH]
"""

from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from charts import COLORS, plt, run, save
from matplotlib.ticker import MaxNLocator
from sklearn.datasets import load_digits
from statsmodels.datasets import randhie

import harmonium as hm

jax.config.update("jax_enable_x64", True)

PICTURE = Path(__file__).parent / "output" / "overdispersed_counts.png"
N_FAILURES = np.geomspace(0.25, 256, 21)
GRID = jnp.arange(80)  # no count is larger


class Counts(NamedTuple):
    """A name, some counts to start from, and how often 0, 1, 2, ... occur in two halves."""

    name: str
    some: jax.Array
    train: jax.Array
    held_out: jax.Array


class Fitted(NamedTuple):
    """A line of the table, and the probabilities of 0, 1, 2, ..."""

    name: str
    n_parameters: int
    train: float
    held_out: float
    remark: str
    probabilities: np.ndarray


def halves(name, column, seed=0):
    """A column of counts, split at random. Counts repeat, so their frequencies are enough."""
    shuffled = np.random.default_rng(seed).permutation(np.asarray(column, int))
    parts = np.array_split(shuffled, 2)
    frequencies = [np.bincount(part, minlength=len(GRID)).astype(float) for part in parts]
    return Counts(name, *map(jnp.asarray, (parts[0][:500], *frequencies)))


def load():
    """Visits of a person in a year, and pixels of an image of a digit that are at least half dark.

    20,190 years of persons in the RAND Health Insurance Experiment (statsmodels), and 1,797 images
    (scikit-learn).
    """
    visits = randhie.load_pandas().data["mdvis"]
    ink = (load_digits().images >= 8).sum(axis=(1, 2))
    return halves("visits to a doctor", visits), halves("inked pixels", ink)


# --- fits


def fit(family, weights):
    """Maximum likelihood: the average statistic is the estimate, in mean coordinates."""
    return family.to_natural(family.average_sufficient_statistic(GRID, weights))


def fit_com_poisson(weights):
    """The same, where the family can be dispersed enough, and otherwise uphill to its limit."""
    family = hm.CoMPoisson()
    mean = family.average_sufficient_statistic(GRID, weights)
    inside = bool(family.check(mean))
    point = family.to_natural(mean) if inside else climb(family, mean)
    dispersion = family.dispersion(point)
    return family, point, f"dispersion {dispersion:.2g}" + ("" if inside else ": the limit")


@eqx.filter_jit
def climb(family, mean, n_steps=10):
    """Steps that never lower the likelihood, whether or not it has a maximum."""

    def step(point, _):
        return family.improve(mean, point), None

    return jax.lax.scan(step, family.natural_start(mean), length=n_steps)[0]


def fit_negative_binomial(weights):
    """The number of failures is no parameter of the family: the best of a grid."""
    families = [hm.NegativeBinomial(n) for n in N_FAILURES]
    fits = [(family, fit(family, weights)) for family in families]
    family, point = max(fits, key=lambda pair: weights @ pair[0].log_densities(pair[1], GRID))
    return family, point, f"failures {family.n_failures:.3g}"


def fit_mixture(n_components, counts, settings):
    """EM from several starts."""
    _, n_starts, n_steps = settings
    model = hm.Mixture(hm.Poisson(), n_components)
    starts = random_starts(model, jax.random.split(jax.random.key(0), n_starts), counts.some)
    budget = {"max_steps": n_steps, "tolerance": 1e-7}
    params = hm.fit(model, GRID, weights=counts.train, starts=starts, prior=None, **budget).params
    rates = jnp.sort(jnp.exp(model.components(params).values[:, 0]))
    return model, params, "rates " + ", ".join(f"{rate:.2g}" for rate in rates)


@eqx.filter_jit
def random_starts(model, keys, xs):
    """A batch of random starts near some counts: the grid alone has no idea of their sizes."""
    return jax.vmap(lambda key: model.initialize_from_sample(key, xs))(keys)


@eqx.filter_jit
def log_probabilities(model, params):
    """The log probabilities of 0, 1, 2, ... under a family or a mixture."""
    if isinstance(model, hm.Mixture):
        return model.log_observable_densities(params, GRID)
    return model.log_densities(params, GRID)


def compare(counts, settings):
    """Fits all families and mixtures to the first half of the counts.

    Settings are the most components, and the numbers of starts and of steps, of mixtures.
    """

    def entry(name, model, point, remark="", n_parameters=None):
        logs = np.asarray(log_probabilities(model, point))
        train, held_out = (np.average(logs, weights=half) for half in counts[2:])
        return Fitted(name, n_parameters or model.dim, train, held_out, remark, np.exp(logs))

    train = counts.train
    poisson, geometric = hm.Poisson(), hm.NegativeBinomial(1)
    entries = [
        entry("Poisson", poisson, fit(poisson, train)),
        entry("geometric", geometric, fit(geometric, train)),
        entry("CoM-Poisson", *fit_com_poisson(train)),
        entry("negative binomial", *fit_negative_binomial(train), n_parameters=2),
    ]
    for k in range(2, settings[0] + 1):
        entries.append(entry(f"mixture of {k} Poissons", *fit_mixture(k, counts, settings)))
    return entries


def table(counts, fits):
    """What was fitted, the best on held-out counts marked."""
    header = f"{counts.name:<24}{'parameters':>10}{'train':>9}{'held-out':>10}"
    best = max(entry.held_out for entry in fits)
    lines = [header, "-" * len(header)]
    for entry in fits:
        values = f"{entry.n_parameters:>10}{entry.train:>9.3f}{entry.held_out:>10.3f}"
        mark = "*" if entry.held_out == best else " "
        lines.append(f"{entry.name:<24}{values}{mark}  {entry.remark}".rstrip())
    return "\n".join(lines)


# --- picture


def draw(path, results):
    """Held-out counts beside fitted probabilities: visits twice, for the tail."""
    figure, grid = plt.subplots(1, 3, figsize=(13, 4.4), layout="constrained")
    visits, ink = results
    draw_counts(grid[0], *visits, 0, 15)
    draw_counts(grid[1], *visits, 0, 40)
    draw_counts(grid[2], *ink, 5, 36)
    grid[0].set(title="Visits to a doctor", xlabel="visits of a person in a year")
    grid[1].set(title="The same, with the tail", xlabel="visits of a person in a year")
    grid[1].set(yscale="log", ylim=(5e-5, 1))
    grid[2].set(title="Ink of a digit", xlabel="dark pixels of an image, of 64", ylim=(0, 0.23))
    for axes in (grid[0], grid[2]):
        axes.legend(frameon=False, fontsize=9, title="held-out mean log-likelihood in nats")
    save(figure, path)


def draw_counts(axes, counts, fits, first, last):
    """Frequencies as bars, the probabilities of four fits as lines."""
    shown = np.arange(first, last + 1)
    frequencies = np.asarray(counts.held_out / counts.held_out.sum())
    axes.bar(shown, frequencies[shown], width=0.9, color="0.85", label="held-out counts")
    chosen = [e for e in fits if e.name in ("Poisson", "CoM-Poisson", "negative binomial")]
    mixtures = [entry for entry in fits if entry.name.startswith("mixture")]
    chosen.append(max(mixtures, key=lambda entry: entry.held_out))
    for entry, color, marker in zip(chosen, COLORS, "osD^", strict=False):
        label = f"{entry.name}: {entry.held_out:.2f}"
        style = dict(color=color, marker=marker, ms=4, lw=1.2)
        axes.plot(shown, entry.probabilities[shown], label=label, **style)
    axes.set(ylabel="probability", xlim=(first - 0.7, last + 0.7))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def main(picture=PICTURE, most=4, n_starts=8, n_steps=500):
    """Fits, prints and draws."""
    results = [(counts, compare(counts, (most, n_starts, n_steps))) for counts in load()]
    print("\nMean log-likelihoods in nats per count; * the best on held-out counts.")
    for counts, fits in results:
        mean = np.average(GRID, weights=counts.train)
        variance = np.average((GRID - mean) ** 2, weights=counts.train)
        n = int(counts.train.sum())
        print(f"\n{n:,} counts to fit: mean {mean:.2f}, variance {variance:.2f}.")
        print(table(counts, fits))
    print("\nA CoM-Poisson can't be more dispersed than its limit, a geometric distribution; a")
    print(f"negative binomial with many failures (tried: up to {N_FAILURES[-1]:g}) is Poisson.")
    draw(picture, results)


if __name__ == "__main__":
    run(main, __doc__, PICTURE)
