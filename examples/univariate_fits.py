"""Maximum likelihood in two lines, for real numbers of many kinds.

Data are averaged in mean coordinates, and converted to natural ones: by a formula where there is
one, numerically elsewhere. Here this is done for columns of tables that come with scikit-learn and
statsmodels, each with the families that suit it.

    python examples/univariate_fits.py [--picture PATH]
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from charts import COLORS, plt, run, save
from sklearn.datasets import load_breast_cancer
from statsmodels.datasets import engel, macrodata, nile, star98, strikes
from tqdm import tqdm

import harmonium as hm

jax.config.update("jax_enable_x64", True)

PICTURE = Path(__file__).parent / "output" / "univariate_fits.png"
STYLES = {
    "normal": ("0.35", ":"),
    "gamma": (COLORS[1], "-"),
    "inverse Gaussian": (COLORS[0], "--"),
    "inverse gamma": (COLORS[2], "-."),
    "Laplace": (COLORS[0], "-"),
    "beta": (COLORS[1], "-"),
    "exponential": (COLORS[0], "--"),
    "Weibull": (COLORS[2], "-."),
}
SHAPES = np.linspace(0.5, 2, 16)


class Column(NamedTuple):
    """Numbers, what they are, and the families to fit."""

    title: str
    unit: str
    xs: jax.Array
    families: dict[str, Any]


class Fitted(NamedTuple):
    """A family at its maximum likelihood, and the mean log-likelihood in nats."""

    name: str
    family: Any
    point: hm.Natural
    log_likelihood: float


def load():
    """Six columns of real numbers.

    Some families have a number that is not fitted: the location of a Laplace distribution, here
    zero, and the shape of a Weibull distribution, here the best of a few.
    """
    inflation = macrodata.load_pandas().data["infl"].diff()[2:]
    schools = star98.load_pandas().data
    share = schools["NABOVE"] / (schools["NABOVE"] + schools["NBELOW"])
    area = load_breast_cancer(as_frame=True).data["mean area"]
    income = engel.load_pandas().data["income"]
    duration = jnp.asarray(strikes.load_pandas().data["duration"], float)
    normal = {"normal": hm.Normal(1)}
    skewed = {"gamma": hm.Gamma(), "inverse Gaussian": hm.InverseGaussian()}
    heavy = {**skewed, "inverse gamma": hm.InverseGamma()}
    times = {"exponential": hm.Exponential(), "gamma": hm.Gamma()}
    columns = [
        ("Flow of the Nile", "10⁸ m³ in a year", nile.load_pandas().data["volume"], skewed),
        ("Income of Belgian households", "francs in a year", income, heavy),
        ("Area of cell nuclei", "pixels", area, heavy),
        (
            "Change of US inflation",
            "percentage points in a quarter",
            inflation,
            {"Laplace": hm.Laplace()},
        ),
        (
            "Pupils above the national median",
            "share, by district",
            share,
            {"beta": hm.Beta()},
        ),
    ]
    columns = [Column(t, u, jnp.asarray(xs, float), {**normal, **f}) for t, u, xs, f in columns]
    times["Weibull"] = best_weibull(duration)
    return [*columns, Column("Length of strikes", "days", duration, times)]


# --- fits


def fit(family, xs):
    """Maximum likelihood: the average statistic is the estimate, in mean coordinates."""
    xs = of_form(family, xs)
    point = family.to_natural(family.average_sufficient_statistic(xs))
    return point, float(family.average_log_density(point, xs))


def of_form(family, xs):
    """Numbers as the family observes them: as vectors of length one if it is a normal."""
    return xs[:, None] if isinstance(family, hm.Normal) else xs


def best_weibull(xs):
    """The Weibull family with the shape of the largest likelihood."""
    return max((hm.Weibull(shape) for shape in SHAPES), key=lambda family: fit(family, xs)[1])


def fit_all(column):
    """All families of a column, from the best."""
    fits = [Fitted(name, f, *fit(f, column.xs)) for name, f in column.families.items()]
    return sorted(fits, key=lambda entry: -entry.log_likelihood)


def describe(entry):
    """The name of a family with the number that was known."""
    if isinstance(entry.family, hm.Weibull):
        return f"{entry.name}, shape {entry.family.shape:.2g}"
    return entry.name


def table(column, fits):
    """The lines of a column, with the fitted means and standard deviations beside those of data."""
    name, xs = f"{column.title} ({column.unit})", column.xs
    lines = [f"{name:<58}{float(xs.mean()):>10.4g}{float(xs.std()):>10.4g}{'':>10}"]
    for entry in fits:
        mean = jnp.reshape(entry.family.mean(entry.point), ())
        if isinstance(entry.family, hm.Normal):
            variance = entry.family.covariance(entry.point)[0, 0]
        else:
            variance = entry.family.variance(entry.point)
        values = f"{float(mean):>10.4g}{float(variance) ** 0.5:>10.4g}{entry.log_likelihood:>10.3f}"
        lines.append(f"    {describe(entry):<54}{values}")
    return "\n".join(lines)


# --- picture


def draw(path, results):
    """A histogram for each column, and the fitted densities."""
    figure, grid = plt.subplots(2, 3, figsize=(13, 7.4), layout="constrained")
    figure.get_layout_engine().set(hspace=0.08, wspace=0.04)
    for axes, (column, fits) in zip(grid.flat, results, strict=True):
        draw_column(axes, column, fits)
    for axes in grid[:, 0]:
        axes.set_ylabel("density")
    figure.suptitle("Maximum likelihood fits, and their mean log-likelihoods in nats")
    save(figure, path)


def draw_column(axes, column, fits):
    """One histogram with densities; each family has one colour and line in all panels."""
    xs = np.asarray(column.xs)
    margin = 0.05 * (xs.max() - xs.min())
    low, high = xs.min() - margin, xs.max() + margin
    if xs.min() > 0:
        low = max(low, 0)
    axes.hist(xs, bins=min(40, 2 * int(len(xs) ** 0.5)), density=True, color="0.85")
    top = axes.get_ylim()[1]
    shown = jnp.linspace(low + 0.1 * margin, high, 400)
    for entry in fits:
        densities = np.exp(entry.family.log_densities(entry.point, of_form(entry.family, shown)))
        color, style = STYLES[entry.name]
        label = f"{describe(entry)}: {entry.log_likelihood:.3f}"
        axes.plot(shown, densities, color=color, ls=style, lw=1.8, label=label)
    axes.set(title=column.title, xlabel=column.unit, xlim=(low, high), ylim=(0, 1.15 * top))
    axes.legend(frameon=False, fontsize=9)


def main(picture=PICTURE):
    """Fits, prints and draws."""
    results = [(column, fit_all(column)) for column in tqdm(load(), desc="columns")]
    print(
        "\nMean and standard deviation of the data and of the fits; mean log-likelihoods in nats.\n"
    )
    header = f"{'column':<58}{'mean':>10}{'s.d.':>10}{'log-lik.':>10}"
    print("\n".join([header, "-" * len(header), *[table(*result) for result in results]]))
    draw(picture, results)


if __name__ == "__main__":
    run(main, __doc__, PICTURE)
