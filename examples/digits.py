"""The data of the examples, and the pseudo-observations that keep variances off zero."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from fitting import Pseudo
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import harmonium as hm

N_PIXELS = 64
N_PSEUDO = 10


class Digits(NamedTuple):
    """Images of handwritten digits, 64 grey levels from 0 to 16, and what they show."""

    train: jax.Array
    held_out: jax.Array
    train_labels: jax.Array
    held_out_labels: jax.Array


def load():
    """The 1797 images that come with scikit-learn, a quarter of them held out."""
    images, labels = load_digits(return_X_y=True)
    return Digits(*map(jnp.asarray, train_test_split(images, labels, random_state=0)))


@eqx.filter_jit
def isotropic(normal, mean, variance):
    """The point of a normal family with this mean, and this variance in all directions.

    Whatever the covariance structure, it has the moments of 2n observations: the mean and plus or
    minus a step along each axis.
    """
    return independent(normal, mean, jnp.full(normal.data_dim, variance))


@eqx.filter_jit
def independent(normal, mean, variances):
    """The same with a variance for each direction."""
    step = jnp.diag(jnp.sqrt(normal.data_dim * variances))
    xs = jnp.concatenate([mean[None] + step, mean[None] - step])
    return normal.to_natural(normal.average_sufficient_statistic(xs))


def blank(model, observable):
    """The model with this distribution of observables, on which its latents have no effect."""
    match model:
        case hm.LinearGaussianModel():
            normal = model.obs_man
            loadings = jnp.zeros((normal.data_dim, model.pst_man.data_dim))
            mean, covariance = normal.mean(observable), normal.covariance(observable)
            return model.from_loadings(loadings, mean, covariance)
        case hm.MixtureOf(harmonium=component, n_components=k):
            return model.from_components([blank(component, observable)] * k, jnp.full(k, 1 / k))
        case hm.Mixture(n_components=k):
            return model.from_components([observable] * k, jnp.full(k, 1 / k))
        case hm.Hierarchical(lwr_hrm=lower, upr_hrm=upper):
            latents = blank(upper, standard(upper.obs_man))
            return model.from_levels(blank(lower, observable), latents)


def average_image(normal, data):
    """Independent pixels around the mean image, all with the variance of an average pixel."""
    return isotropic(normal, jnp.mean(data.train, axis=0), average_variance(data))


def standard(normal):
    """The standard normal distribution, as a point of any normal family."""
    return isotropic(normal, jnp.zeros(normal.data_dim), 1.0)


def pseudo_images(model, data):
    """Pseudo-observations for a model of images."""
    return pseudo_observations(model, average_image(model.obs_man, data), data)


def pseudo_observations(model, observable, data):
    """Ten observations from a model without structure.

    Some pixels are the same in all images, so that their variance would be estimated as zero. The
    pixels of pseudo-images vary, and their latents, standard normal or uniform, tell nothing about
    them.
    """
    return Pseudo(blank_statistics(model, observable), share(data))


@eqx.filter_jit
def blank_statistics(model, observable):
    """The mean coordinates of the model without structure."""
    return model.to_mean(blank(model, observable))


def average_variance(data):
    """The variance of a pixel, averaged over pixels."""
    return jnp.mean(jnp.var(data.train, axis=0))


def share(data):
    """The share of the pseudo-images in the total weight."""
    return N_PSEUDO / (N_PSEUDO + len(data.train))


def variance_floor(data):
    """The variance that the pseudo-images give to a constant pixel."""
    return float(share(data) * average_variance(data))
