"""Exact, composable latent-variable models on JAX."""

from jaxtyping import install_import_hook

with install_import_hook("harmonium", "beartype.beartype"):
    from harmonium.exponential_family.base import (
        Differentiable,
        ExponentialFamily,
        Generative,
        Gibbs,
    )
    from harmonium.exponential_family.product import Product, Replicated, ReplicatedPoint
    from harmonium.families.categorical import Categorical
    from harmonium.families.euclidean import Euclidean
    from harmonium.families.normal import LocationShape, Normal
    from harmonium.families.normal_embedding import LocationEmbedding, NormalCovarianceEmbedding
    from harmonium.geometry.affine_map import AffineMap, AffinePoint
    from harmonium.geometry.diagonal import Diagonal, Identity, Scale
    from harmonium.geometry.embedding import (
        ComposedEmbedding,
        Embedding,
        IdentityEmbedding,
        LinearEmbedding,
        RestrictionEmbedding,
        Translations,
        TupleEmbedding,
    )
    from harmonium.geometry.linear_map import (
        BlockMap,
        BlockMapPoint,
        InteractionMap,
        LinearMap,
        LinearMapPoint,
    )
    from harmonium.geometry.manifold import Manifold
    from harmonium.geometry.matrix import CovarianceStructure, PositiveDefinite
    from harmonium.geometry.point import (
        Coordinates,
        Mean,
        Natural,
        Point,
        VectorPoint,
        dot,
        gradient,
    )
    from harmonium.geometry.product import ComponentEmbedding, Null, Pair, ProductPoint
    from harmonium.harmoniums.conjugated import Conjugated
    from harmonium.harmoniums.embedding import (
        InteractionEmbedding,
        LatentHarmoniumEmbedding,
        ObservableEmbedding,
        PosteriorEmbedding,
    )
    from harmonium.harmoniums.harmonium import Harmonium, HarmoniumPoint, Joint
    from harmonium.harmoniums.hierarchical import (
        Hierarchical,
        hierarchical_mixture_of_gaussians,
        stack,
    )
    from harmonium.harmoniums.linear_gaussian import (
        LinearGaussianModel,
        factor_analysis,
        principal_component_analysis,
    )
    from harmonium.harmoniums.mixture import Mixture

__version__ = "0.1.0"

__all__ = [
    "AffineMap",
    "AffinePoint",
    "BlockMap",
    "BlockMapPoint",
    "Categorical",
    "ComponentEmbedding",
    "ComposedEmbedding",
    "Conjugated",
    "Coordinates",
    "CovarianceStructure",
    "Diagonal",
    "Differentiable",
    "Embedding",
    "Euclidean",
    "ExponentialFamily",
    "Generative",
    "Gibbs",
    "Harmonium",
    "HarmoniumPoint",
    "Hierarchical",
    "Identity",
    "IdentityEmbedding",
    "InteractionEmbedding",
    "InteractionMap",
    "Joint",
    "LatentHarmoniumEmbedding",
    "LinearEmbedding",
    "LinearGaussianModel",
    "LinearMap",
    "LinearMapPoint",
    "LocationEmbedding",
    "LocationShape",
    "Manifold",
    "Mean",
    "Mixture",
    "Natural",
    "Normal",
    "NormalCovarianceEmbedding",
    "Null",
    "ObservableEmbedding",
    "Pair",
    "Point",
    "PositiveDefinite",
    "PosteriorEmbedding",
    "Product",
    "ProductPoint",
    "Replicated",
    "ReplicatedPoint",
    "RestrictionEmbedding",
    "Scale",
    "Translations",
    "TupleEmbedding",
    "VectorPoint",
    "dot",
    "factor_analysis",
    "gradient",
    "hierarchical_mixture_of_gaussians",
    "principal_component_analysis",
    "stack",
]
