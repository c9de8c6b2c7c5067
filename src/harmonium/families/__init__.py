"""Families of distributions, one file each."""

from harmonium.families.euclidean import Euclidean
from harmonium.families.normal import LocationShape
from harmonium.families.normal_embedding import NormalCovarianceEmbedding

__all__ = [
    "Euclidean",
    "LocationShape",
    "NormalCovarianceEmbedding",
]
