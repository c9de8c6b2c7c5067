"""The images of the examples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

N_PIXELS = 64


class Digits(NamedTuple):
    """Images of handwritten digits, 64 pixels, and what they show."""

    train: jax.Array
    held_out: jax.Array
    train_labels: jax.Array
    held_out_labels: jax.Array


def load():
    """The 1797 images that come with scikit-learn, a quarter of them held out.

    Grey levels are integers from 0 to 16. Noise in [0, 1) makes up for their rounding: densities of
    pixels are then comparable to probabilities of grey levels, and no pixel is constant.
    """
    images, labels = load_digits(return_X_y=True)
    images = images + np.random.default_rng(0).uniform(size=images.shape)
    return Digits(*map(jnp.asarray, train_test_split(images, labels, random_state=0)))
