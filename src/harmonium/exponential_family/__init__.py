"""Exponential families: what they can do, the duality of their coordinates, and products."""

from harmonium.exponential_family.product import ReplicatedPoint
from harmonium.exponential_family.product_embedding import ProductEmbedding
from harmonium.exponential_family.vector import (
    Count,
    Positive,
    Rate,
    Real,
    Univariate,
)

__all__ = [
    "Count",
    "Positive",
    "ProductEmbedding",
    "Rate",
    "Real",
    "ReplicatedPoint",
    "Univariate",
]
