"""Geometry: manifolds and their points, embeddings, covariance structures, and linear maps."""

from harmonium.geometry.affine_map import AffineMap, AffinePoint
from harmonium.geometry.embedding import (
    ComposedEmbedding,
    Embedding,
    IdentityEmbedding,
    LinearEmbedding,
    RestrictionEmbedding,
    TupleEmbedding,
)
from harmonium.geometry.joint_embedding import ComponentEmbedding, JointEmbedding
from harmonium.geometry.linear_map import LinearMap, LinearMapPoint
from harmonium.geometry.manifold import Manifold, VectorManifold
from harmonium.geometry.matrix import CovarianceStructure
from harmonium.geometry.point import Point, VectorPoint
from harmonium.geometry.product import (
    ManifoldTuple,
    Null,
    Pair,
    ProductPoint,
)

__all__ = [
    "AffineMap",
    "AffinePoint",
    "ComponentEmbedding",
    "ComposedEmbedding",
    "CovarianceStructure",
    "Embedding",
    "IdentityEmbedding",
    "JointEmbedding",
    "LinearEmbedding",
    "LinearMap",
    "LinearMapPoint",
    "Manifold",
    "ManifoldTuple",
    "Null",
    "Pair",
    "Point",
    "ProductPoint",
    "RestrictionEmbedding",
    "TupleEmbedding",
    "VectorManifold",
    "VectorPoint",
]
