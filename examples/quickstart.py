"""Clusters of handwritten digits: one hierarchical model beside the usual separate ones.

A hierarchical mixture of Gaussians explains 64 pixels by ten latents (factor analysis) and the
latents by a mixture, in one model with one exact likelihood. Here it is fitted by EM to
scikit-learn's digits, and compared on held-out images with factor analysis, with plain Gaussian
mixtures, and with dimension reduction and clustering one after the other.

    python examples/quickstart.py [--picture PATH]
"""

from pathlib import Path
from typing import NamedTuple

import digits
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pictures
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

import harmonium as hm

jax.config.update("jax_enable_x64", True)

N_LATENTS = 10
N_COMPONENTS = 10
PICTURE = Path(__file__).parent / "output" / "quickstart.png"


class Settings(NamedTuple):
    """How much to compute: the number of starts, and the largest number of EM steps."""

    n_starts: int
    n_steps: int


class Entry(NamedTuple):
    """A line of the table."""

    name: str
    n_parameters: int | None
    train: float | None
    held_out: float | None
    agreement: float | None


# --- fits


def fit_em(model, xs, settings, **options):
    """EM from several starts, random ones if none are given; the best of them."""
    return hm.fit(model, xs, key=jax.random.key(0), max_steps=settings.n_steps, **options)


def fit_lower(covariance, data, settings):
    """Factor analysis (diagonal noise) or probabilistic principal components (isotropic noise)."""
    model = hm.LinearGaussianModel(hm.Normal(digits.N_PIXELS, covariance), hm.Normal(N_LATENTS))
    return model, fit_em(model, data.train, settings)


def fit_upper(lower, lower_params, data, settings):
    """The second of two stages: a mixture fitted to expected latents, then joined to the first."""
    upper = hm.Mixture(lower.pst_man, N_COMPONENTS)
    latents = eqx.filter_jit(lower.expected_latents)(lower_params, data.train)
    starts = cluster_starts(upper, latents, settings.n_starts)
    fit = fit_em(upper, latents, settings, starts=starts)
    model = hm.Hierarchical(lower, upper)
    return model, model.from_levels(lower_params, fit.params)


def fit_hierarchy(covariance, data, settings):
    """Both levels at once."""
    model = hm.hierarchical_mixture_of_gaussians(
        digits.N_PIXELS, N_LATENTS, N_COMPONENTS, obs_covariance=covariance
    )
    return model, fit_em(model, data.train, settings, n_starts=settings.n_starts)


def fit_mixture(covariance, data, settings):
    """A Gaussian mixture of whole images."""
    model = hm.Mixture(hm.Normal(digits.N_PIXELS, covariance), N_COMPONENTS)
    starts = cluster_starts(model, data.train, settings.n_starts)
    return model, fit_em(model, data.train, settings, starts=starts)


def cluster_starts(mixture, xs, n_starts):
    """Starts from k-means, which suit plain mixtures better than random ones."""
    labels = jnp.stack([k_means(xs, seed, n_init=1).labels_ for seed in range(n_starts)])
    return starts_from_labels(mixture, xs, labels)


@eqx.filter_jit
def starts_from_labels(mixture, xs, labels):
    """Mixtures of clusters, given a batch of clusterings.

    Each component has the moments of a cluster, mixed with a tenth of those of all data.
    """
    family = mixture.obs_man
    overall = family.average_sufficient_statistic(xs)

    def component(weights):
        cluster = family.average_sufficient_statistic(xs, weights)
        return family.to_natural(0.9 * cluster + 0.1 * overall)

    def start(labels):
        weights = jax.nn.one_hot(labels, mixture.n_components, axis=0)
        return mixture.from_components(jax.vmap(component)(weights), jnp.mean(weights, axis=1))

    return jax.vmap(start)(labels)


def k_means(xs, seed, n_init):
    """Clusters by scikit-learn's k-means."""
    return KMeans(N_COMPONENTS, n_init=n_init, random_state=seed).fit(np.asarray(xs))


# --- the comparison


def compare(data, settings):
    """Fits all models.

    **Returns:** the lines of the table, and the hierarchical model with its fit, for the picture.
    """
    entries = []

    def enter(name, model, params):
        entries.append(evaluate(name, model, params, data))

    for covariance, reduction, noise in (
        (hm.Diagonal(), "factor analysis", "diagonal noise"),
        (hm.Scale(), "PCA", "isotropic noise"),
    ):
        lower, fit = fit_lower(covariance, data, settings)
        enter(reduction, lower, fit.params)
        enter(f"{reduction}, then mixture", *fit_upper(lower, fit.params, data, settings))
        model, fit = fit_hierarchy(covariance, data, settings)
        enter(f"hierarchical mixture, {noise}", model, fit.params)
        if covariance == hm.Diagonal():
            main = model, fit

    for covariance, kind in ((hm.Diagonal(), "diagonal"), (hm.PositiveDefinite(), "full")):
        model, fit = fit_mixture(covariance, data, settings)
        enter(f"Gaussian mixture, {kind}", model, fit.params)

    k_clusters = k_means(data.train, 0, settings.n_starts).predict(np.asarray(data.held_out))
    agreement = agreement_with_digits(k_clusters, data)
    entries.append(Entry("k-means (scikit-learn)", None, None, None, agreement))
    return entries, *main


def evaluate(name, model, params, data):
    """The line of the table for a fitted model."""
    mean_log_likelihood = eqx.filter_jit(model.average_log_observable_density)
    train, held_out = (float(mean_log_likelihood(params, xs)) for xs in (data.train, data.held_out))
    agreement = None
    if not isinstance(model, hm.LinearGaussianModel):
        clusters = eqx.filter_jit(model.assign)(params, data.held_out)
        agreement = agreement_with_digits(clusters, data)
    return Entry(name, model.dim, train, held_out, agreement)


def agreement_with_digits(clusters, data):
    """The adjusted Rand index: 1 if clusters are digits, 0 on average if they are random."""
    return adjusted_rand_score(data.held_out_labels, clusters)


def table(entries):
    """The lines of the table, aligned."""
    header = f"{'model':<39}{'parameters':>10}{'train':>10}{'held-out':>10}{'agreement':>11}"
    lines = [header, "-" * len(header)]
    for entry in entries:
        n_parameters = "-" if entry.n_parameters is None else f"{entry.n_parameters:,}"
        train, held_out = ("-" if v is None else f"{v:.2f}" for v in (entry.train, entry.held_out))
        agreement = "-" if entry.agreement is None else f"{entry.agreement:.2f}"
        lines.append(f"{entry.name:<39}{n_parameters:>10}{train:>10}{held_out:>10}{agreement:>11}")
    return "\n".join(lines)


def introduction(data):
    """What is about to be computed."""
    return (
        f"{len(data.train)} images of digits to fit, {len(data.held_out)} held out; "
        f"{N_LATENTS} latents, {N_COMPONENTS} components.\n"
        "Noise in [0, 1) makes up for the rounding of grey levels, from 0 to 16.\n"
    )


def main(picture=PICTURE, n_starts=8, n_steps=400):
    """Fits, prints and draws."""
    settings = Settings(n_starts, n_steps)
    data = digits.load()
    print(introduction(data), flush=True)
    entries, model, fit = compare(data, settings)
    print("\nMean log-likelihoods in nats per image; adjusted Rand index of clusters and digits,")
    print("held out. Of mixtures, the best of", settings.n_starts, "starts.\n")
    print(table(entries))
    pictures.draw_hierarchy(picture, model, fit, data)


if __name__ == "__main__":
    pictures.run(main, __doc__, PICTURE)
