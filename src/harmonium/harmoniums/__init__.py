"""Harmoniums: mixtures, linear Gaussian models, hierarchies and trees of them."""

from harmonium.harmoniums.embedding import (
    InteractionEmbedding,
    LatentHarmoniumEmbedding,
    ObservableEmbedding,
    PosteriorEmbedding,
)
from harmonium.harmoniums.harmonium import HarmoniumPoint
from harmonium.harmoniums.standardize import substitute_likelihood

__all__ = [
    "HarmoniumPoint",
    "InteractionEmbedding",
    "LatentHarmoniumEmbedding",
    "ObservableEmbedding",
    "PosteriorEmbedding",
    "substitute_likelihood",
]
