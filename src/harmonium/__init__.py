"""Exact, composable latent-variable models on JAX."""

from harmonium import checked, exponential_family, families, geometry, harmoniums
from harmonium.exponential_family.base import Differentiable, ExponentialFamily
from harmonium.exponential_family.generative import Generative
from harmonium.exponential_family.product import Product, Replicated
from harmonium.exponential_family.vector import VectorFamily
from harmonium.families.bernoulli import Bernoulli, Bernoullis
from harmonium.families.beta import Beta
from harmonium.families.binomial import Binomial
from harmonium.families.categorical import Categorical
from harmonium.families.com_poisson import CoMPoisson
from harmonium.families.dirichlet import Dirichlet
from harmonium.families.exponential import Exponential
from harmonium.families.gamma import Gamma
from harmonium.families.geometric import Geometric
from harmonium.families.inverse_gamma import InverseGamma
from harmonium.families.inverse_gaussian import InverseGaussian
from harmonium.families.laplace import Laplace
from harmonium.families.log_normal import LogNormal
from harmonium.families.multinomial import Multinomial
from harmonium.families.negative_binomial import NegativeBinomial
from harmonium.families.normal import Normal
from harmonium.families.normal_embedding import LocationEmbedding
from harmonium.families.poisson import Poisson, Poissons
from harmonium.families.statistic_embedding import StatisticEmbedding
from harmonium.families.von_mises import VonMises, VonMisesProduct
from harmonium.families.weibull import Weibull
from harmonium.files.compilations import cache_compilations
from harmonium.files.container import FileError
from harmonium.files.storage import load, save
from harmonium.geometry.diagonal import Diagonal, Identity, Scale
from harmonium.geometry.matrix import PositiveDefinite
from harmonium.geometry.point import Coordinates, Mean, Natural, dot, gradient
from harmonium.harmoniums.attached import Attached
from harmonium.harmoniums.components import free_parameters
from harmonium.harmoniums.condense import condense
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.grouped import GroupedObservations, group_observations
from harmonium.harmoniums.harmonium import Harmonium, Joint
from harmonium.harmoniums.hierarchical import (
    Hierarchical,
    hierarchical_mixture_of_gaussians,
    stack,
)
from harmonium.harmoniums.impute import impute
from harmonium.harmoniums.labelled import Labelled
from harmonium.harmoniums.latents import top_probabilities
from harmonium.harmoniums.linear_gaussian import (
    LinearGaussianModel,
    factor_analysis,
    principal_component_analysis,
)
from harmonium.harmoniums.marginals import (
    Estimate,
    condition_on,
    estimate_observable_relative_entropy,
    observable_distribution,
    observable_relative_entropy,
)
from harmonium.harmoniums.mixture import Mixture
from harmonium.harmoniums.parallel import Beside, Parallel
from harmonium.harmoniums.sharding import shard_observable
from harmonium.lazy import list_names as __dir__  # noqa: F401 (Python calls these two)
from harmonium.lazy import load as __getattr__  # noqa: F401
from harmonium.learning.batches import Batches
from harmonium.learning.evaluation import (
    Comparison,
    compare,
    observed_information,
    standard_errors,
)
from harmonium.learning.fit import Fit, fit
from harmonium.learning.methods import EM, Gradient, Method, NaturalGradient, Result
from harmonium.learning.online import OnlineEM
from harmonium.learning.prior import pseudo_observations
from harmonium.learning.problem import ConjugatePrior

checked.check_calls("harmonium")

__version__ = "0.1.0"

__all__ = [
    "EM",
    "Attached",
    "Batches",
    "Bernoulli",
    "Bernoullis",
    "Beside",
    "Beta",
    "Binomial",
    "Categorical",
    "CoMPoisson",
    "Comparison",
    "ConjugatePrior",
    "Conjugated",
    "Coordinates",
    "Diagonal",
    "Differentiable",
    "Dirichlet",
    "Estimate",
    "Exponential",
    "ExponentialFamily",
    "FileError",
    "Fit",
    "Gamma",
    "Generative",
    "Geometric",
    "Gradient",
    "GroupedObservations",
    "Harmonium",
    "Hierarchical",
    "Identity",
    "InverseGamma",
    "InverseGaussian",
    "Joint",
    "Labelled",
    "Laplace",
    "LinearGaussianModel",
    "LocationEmbedding",
    "LogNormal",
    "Mean",
    "Method",
    "Mixture",
    "Multinomial",
    "Natural",
    "NaturalGradient",
    "NegativeBinomial",
    "Normal",
    "OnlineEM",
    "Parallel",
    "Poisson",
    "Poissons",
    "PositiveDefinite",
    "Product",
    "Replicated",
    "Result",
    "Scale",
    "StatisticEmbedding",
    "VectorFamily",
    "VonMises",
    "VonMisesProduct",
    "Weibull",
    "cache_compilations",
    "compare",
    "condense",
    "condition_on",
    "dot",
    "estimate_observable_relative_entropy",
    "exponential_family",
    "factor_analysis",
    "families",
    "fit",
    "free_parameters",
    "geometry",
    "gradient",
    "group_observations",
    "harmoniums",
    "hierarchical_mixture_of_gaussians",
    "impute",
    "load",
    "observable_distribution",
    "observable_relative_entropy",
    "observed_information",
    "principal_component_analysis",
    "pseudo_observations",
    "save",
    "shard_observable",
    "stack",
    "standard_errors",
    "top_probabilities",
]
