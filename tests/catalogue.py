"""Every family, model and embedding of the library once: what the laws are tested on.

A new family or model adds a line here, and every law that applies to it is then tested. Entries are
small: a law must hold in two dimensions, and what fails in ten usually fails in two.

`REPRESENTATIVES` are what `make test-quick` runs. `VARIATIONS` differ from another entry in one
respect, which is named: the laws run for them that this respect could break.
"""

from collections.abc import Callable
from typing import Any

import harmonium as hm

FULL, DIAGONAL, SCALE, IDENTITY = hm.PositiveDefinite(), hm.Diagonal(), hm.Scale(), hm.Identity()


def _normal(dim: int, covariance: Any = FULL) -> hm.Normal:
    return hm.Normal(dim, covariance)


def _linear(observable: hm.Normal, latent: hm.Normal) -> hm.LinearGaussianModel:
    return hm.LinearGaussianModel(observable, latent)


def _stack(obs_dim: int, *lat_dims: int, posterior: Any = FULL) -> Any:
    """Linear Gaussian levels with these latent dimensions, under a mixture of two."""
    observables = [_normal(obs_dim, DIAGONAL), *(_normal(n, posterior) for n in lat_dims[:-1])]
    latents = [_normal(n, posterior) for n in lat_dims]
    levels = [_linear(x, z) for x, z in zip(observables, latents, strict=True)]
    return hm.stack(*levels, hm.Mixture(latents[-1], 2))


def _tied(covariance: Any) -> hm.Mixture:
    normal = _normal(2, covariance)
    return hm.Mixture(normal, 3, hm.LocationEmbedding(normal))


def _diagonal_in_full() -> hm.families.NormalCovarianceEmbedding:
    return hm.families.NormalCovarianceEmbedding(_normal(2, DIAGONAL), _normal(2))


# Families, whose partition functions are their own.
FAMILIES: dict[str, Callable[[], Any]] = {
    "normal": lambda: _normal(3),
    "normal_diagonal": lambda: _normal(3, DIAGONAL),
    "normal_scale": lambda: _normal(3, SCALE),
    "normal_identity": lambda: _normal(3, IDENTITY),
    "normal_1": lambda: _normal(1),
    "normal_diagonal_1": lambda: _normal(1, DIAGONAL),
    "normal_scale_1": lambda: _normal(1, SCALE),
    "normal_identity_1": lambda: _normal(1, IDENTITY),
    "categorical_4": lambda: hm.Categorical(4),
    "categorical_2": lambda: hm.Categorical(2),
    "bernoulli": lambda: hm.Bernoulli(),
    "binomial": lambda: hm.Binomial(7),
    "multinomial": lambda: hm.Multinomial(4, 3),
    "poisson": lambda: hm.Poisson(),
    "geometric": lambda: hm.Geometric(),
    "negative_binomial": lambda: hm.NegativeBinomial(2.5),
    "exponential": lambda: hm.Exponential(),
    "gamma": lambda: hm.Gamma(),
    "inverse_gamma": lambda: hm.InverseGamma(),
    "inverse_gaussian": lambda: hm.InverseGaussian(),
    "log_normal": lambda: hm.LogNormal(),
    "beta": lambda: hm.Beta(),
    "dirichlet_3": lambda: hm.Dirichlet(3),
    "von_mises": lambda: hm.VonMises(),
    "von_mises_product": lambda: hm.VonMisesProduct(2),
    "com_poisson": lambda: hm.CoMPoisson(),
    "laplace": lambda: hm.Laplace(0.3),
    "weibull": lambda: hm.Weibull(1.7),
    "poissons": lambda: hm.Poissons(2),
    "product": lambda: hm.Product(_normal(2), hm.Categorical(3)),
    "replicated_normal": lambda: hm.Replicated(_normal(2, DIAGONAL), 2),
    "replicated_categorical": lambda: hm.Replicated(hm.Categorical(3), 2),
}

LINEAR_GAUSSIANS: dict[str, Callable[[], Any]] = {
    "linear_full_full": lambda: _linear(_normal(3), _normal(2)),
    "linear_diagonal_full": lambda: hm.factor_analysis(3, 2),
    "linear_scale_full": lambda: hm.principal_component_analysis(3, 2),
    "linear_identity_full": lambda: _linear(_normal(3, IDENTITY), _normal(2)),
    "linear_full_diagonal": lambda: _linear(_normal(3), _normal(2, DIAGONAL)),
    "linear_diagonal_diagonal": lambda: _linear(_normal(3, DIAGONAL), _normal(2, DIAGONAL)),
    "linear_scale_diagonal": lambda: _linear(_normal(3, SCALE), _normal(2, DIAGONAL)),
    "linear_identity_diagonal": lambda: _linear(_normal(3, IDENTITY), _normal(2, DIAGONAL)),
    "linear_full_scale": lambda: _linear(_normal(3), _normal(2, SCALE)),
    "linear_diagonal_scale": lambda: _linear(_normal(3, DIAGONAL), _normal(2, SCALE)),
    "linear_scale_scale": lambda: _linear(_normal(3, SCALE), _normal(2, SCALE)),
    "linear_identity_scale": lambda: _linear(_normal(3, IDENTITY), _normal(2, SCALE)),
}

MIXTURES: dict[str, Callable[[], Any]] = {
    "mixture_full": lambda: hm.Mixture(_normal(2), 3),
    "mixture_diagonal": lambda: hm.Mixture(_normal(2, DIAGONAL), 2),
    "mixture_scale": lambda: hm.Mixture(_normal(2, SCALE), 2),
    "mixture_identity": lambda: hm.Mixture(_normal(2, IDENTITY), 2),
    "mixture_categorical": lambda: hm.Mixture(hm.Categorical(3), 2),
    "mixture_poissons": lambda: hm.Mixture(hm.Poissons(2), 2),
    "mixture_von_mises": lambda: hm.Mixture(hm.VonMises(), 2),
    "mixture_com_poisson": lambda: hm.Mixture(hm.CoMPoisson(), 2),
    "mixture_gamma_one_shape": lambda: hm.Mixture(
        hm.Gamma(), 2, hm.StatisticEmbedding(hm.Gamma(), (1,))
    ),
    "mixture_product": lambda: hm.Mixture(hm.Product(_normal(1), hm.Categorical(3)), 2),
    "mixture_tied": lambda: _tied(FULL),
    "mixture_tied_scale": lambda: _tied(SCALE),
    "mixture_of_diagonal_differences": lambda: hm.Mixture(_normal(2), 2, _diagonal_in_full()),
}

HIERARCHIES: dict[str, Callable[[], Any]] = {
    "hierarchy_2": lambda: hm.hierarchical_mixture_of_gaussians(3, 2, 2),
    "hierarchy_2_full": lambda: hm.hierarchical_mixture_of_gaussians(2, 1, 2, FULL),
    "hierarchy_2_scale": lambda: hm.hierarchical_mixture_of_gaussians(3, 2, 2, SCALE),
    "hierarchy_2_tied": lambda: hm.stack(hm.factor_analysis(3, 2), _tied(FULL)),
    "hierarchy_gaussian": lambda: hm.stack(
        hm.factor_analysis(3, 2), _linear(_normal(2), _normal(1))
    ),
    "hierarchy_3": lambda: _stack(3, 2, 2),
    "hierarchy_2_posterior_diagonal": lambda: _stack(3, 2, posterior=DIAGONAL),
    "hierarchy_2_posterior_scale": lambda: _stack(3, 2, posterior=SCALE),
    "hierarchy_3_posterior_diagonal": lambda: _stack(3, 2, 2, posterior=DIAGONAL),
    "hierarchy_3_posterior_scale": lambda: _stack(3, 2, 2, posterior=SCALE),
}

TREES: dict[str, Callable[[], Any]] = {
    "parallel": lambda: hm.Parallel(
        hm.factor_analysis(2, 1), hm.principal_component_analysis(2, 1)
    ),
    "parallel_diagonal": lambda: hm.Parallel(
        _linear(_normal(2), _normal(2, DIAGONAL)), _linear(_normal(1), _normal(2, DIAGONAL))
    ),
    "parallel_mixtures": lambda: hm.Parallel(
        hm.Mixture(_normal(1), 2), hm.Mixture(hm.Poissons(2), 2)
    ),
    "beside": lambda: hm.Beside(hm.factor_analysis(2, 1), hm.Mixture(hm.Poisson(), 2)),
    "views_of_a_mixture": lambda: hm.stack(
        hm.Parallel(hm.factor_analysis(2, 1), hm.factor_analysis(1, 1)), hm.Mixture(_normal(1), 2)
    ),
    "tree": lambda: _tree(),
    "tree_of_normals_and_categories": lambda: hm.stack(
        hm.Beside(hm.factor_analysis(2, 1), hm.Mixture(hm.Poisson(), 2)),
        hm.Mixture(hm.Product(_normal(1), hm.Categorical(2)), 2),
    ),
    "tree_of_normals": lambda: hm.stack(
        hm.Beside(hm.factor_analysis(2, 1), hm.factor_analysis(2, 2)),
        hm.Parallel(_linear(_normal(1), _normal(1)), _linear(_normal(2), _normal(1))),
    ),
    "tree_uneven": lambda: _uneven(FULL),
    "tree_uneven_posterior_diagonal": lambda: _uneven(DIAGONAL),
}


def _tree() -> Any:
    """Two factor analyses side by side, whose latents are two views of one mixture."""
    latents = _normal(2), _normal(1)
    leaves = [_linear(_normal(2, DIAGONAL), latent) for latent in latents]
    views = [hm.Mixture(latent, 2) for latent in latents]
    return hm.stack(hm.Beside(*leaves), hm.Parallel(*views))


def _uneven(posterior: Any) -> Any:
    """A factor analysis under a mixture, and a count that hangs from the mixture directly."""
    latent = _normal(2, posterior)
    deep = hm.stack(_linear(_normal(2, DIAGONAL), latent), hm.Mixture(latent, 2))
    count = hm.Mixture(hm.Poisson(), 2)
    return hm.Parallel(
        deep, hm.Attached(count, hm.harmoniums.PosteriorEmbedding(deep.pst_man), deep.pst_prr_emb)
    )


MIXTURES_OF_HARMONIUMS: dict[str, Callable[[], Any]] = {
    "mixture_of_factor_analyses": lambda: hm.Mixture(hm.factor_analysis(3, 1), 3),
    "mixture_of_one_noise": lambda: _sharing(False),
    "mixture_of_one_regression": lambda: _sharing(True),
    "mixture_of_one_interaction": lambda: hm.Mixture(
        hm.principal_component_analysis(2, 1),
        2,
        hm.free_parameters(hm.principal_component_analysis(2, 1), shares_interaction=True),
    ),
    "mixture_of_posterior_diagonal": lambda: hm.Mixture(
        _linear(_normal(2, DIAGONAL), _normal(2, DIAGONAL)), 2
    ),
    "mixture_of_hierarchies": lambda: hm.Mixture(hm.hierarchical_mixture_of_gaussians(2, 1, 2), 2),
    "hierarchy_under_mixture_of": lambda: hm.stack(
        hm.factor_analysis(3, 2), hm.Mixture(_linear(_normal(2), _normal(1)), 2)
    ),
    "mixture_of_views": lambda: hm.Mixture(
        hm.Parallel(hm.factor_analysis(2, 1), hm.factor_analysis(1, 1)), 2
    ),
    "parallel_mixtures_of": lambda: hm.Parallel(
        hm.Mixture(hm.factor_analysis(2, 1), 2), hm.Mixture(hm.factor_analysis(1, 1), 2)
    ),
}


def _sharing(interaction: bool) -> hm.Mixture:
    """Factor analyses that share their noise, and, if asked to, their loadings."""
    harmonium = hm.factor_analysis(3, 1)
    location = hm.LocationEmbedding(harmonium.obs_man)
    return hm.Mixture(harmonium, 2, hm.free_parameters(harmonium, location, interaction))


CATALOGUE = FAMILIES | LINEAR_GAUSSIANS | MIXTURES | HIERARCHIES | TREES | MIXTURES_OF_HARMONIUMS

# A few of each kind, for a quick look at all of the library.
REPRESENTATIVES = (
    "normal",
    "categorical_4",
    "gamma",
    "product",
    "linear_diagonal_full",
    "mixture_full",
    "mixture_product",
    "hierarchy_2",
    "tree",
    "mixture_of_factor_analyses",
)

# Entries that differ from one above in one respect, and in which.
VARIATIONS = {
    "normal_1": "one dimension, where shapes broadcast",
    "normal_diagonal_1": "one dimension, where shapes broadcast",
    "normal_scale_1": "one dimension, where shapes broadcast",
    "normal_identity_1": "one dimension, where shapes broadcast",
    "categorical_2": "a single parameter",
    "replicated_categorical": "replicas of integers",
    "linear_full_full": "noise with correlations",
    "linear_scale_full": "noise of one variance",
    "linear_full_diagonal": "noise with correlations, posterior without",
    "linear_diagonal_diagonal": "independent noise, posterior without correlations",
    "linear_scale_diagonal": "noise of one variance, posterior without correlations",
    "linear_identity_diagonal": "unit noise, posterior without correlations",
    "linear_full_scale": "noise with correlations, posterior of one variance",
    "linear_diagonal_scale": "independent noise, posterior of one variance",
    "linear_identity_scale": "unit noise, posterior of one variance",
    "mixture_diagonal": "components without correlations",
    "mixture_scale": "components of one variance",
    "mixture_identity": "components of unit variance",
    "mixture_com_poisson": "components whose mean has no formula",
    "mixture_tied_scale": "a shared covariance of one number",
    "hierarchy_2_full": "a posterior with correlations, given by name",
    "hierarchy_2_scale": "components of one variance at the top",
    "hierarchy_2_tied": "components that share their covariance at the top",
    "hierarchy_3": "a level more",
    "hierarchy_2_posterior_diagonal": "a posterior without correlations",
    "hierarchy_3_posterior_diagonal": "posteriors without correlations at two levels",
    "hierarchy_3_posterior_scale": "posteriors of one variance at two levels",
    "parallel_diagonal": "views with a posterior without correlations",
    "parallel_mixtures": "views of a category",
    "views_of_a_mixture": "views with a level above them",
    "tree_of_normals": "a normal root",
    "tree_uneven": "a posterior with correlations",
    "mixture_of_one_noise": "noise that is shared",
    "mixture_of_one_interaction": "loadings that are shared",
    "mixture_of_posterior_diagonal": "a posterior without correlations",
    "mixture_of_hierarchies": "a mixture under a mixture",
    "hierarchy_under_mixture_of": "a mixture of harmoniums at the top",
    "mixture_of_views": "a mixture of several views of one latent",
    "parallel_mixtures_of": "two mixtures of harmoniums over one category",
}

# Manifolds without a partition function, to which laws of coordinates and statistics apply.
MANIFOLDS: dict[str, Callable[[], Any]] = {
    "euclidean": lambda: hm.families.Euclidean(3),
    "null": lambda: hm.geometry.Null(),
    "manifold_tuple": lambda: hm.geometry.ManifoldTuple((hm.families.Euclidean(3), _normal(2))),
    "pair": lambda: hm.geometry.Pair(hm.families.Euclidean(2), _normal(2)),
    "location_map": lambda: hm.factor_analysis(3, 2).int_man,
    "normal_map": lambda: hm.geometry.LinearMap(_normal(2), _normal(2)),
    "maps_side_by_side": lambda: (
        hm.Parallel(hm.factor_analysis(2, 1), hm.factor_analysis(1, 1)).int_man
    ),
    "affine_map": lambda: hm.Mixture(_normal(2), 3).lkl_man,
    "differences_of_harmoniums": lambda: _sharing(False).int_man,
}


def _latent_harmonium(posterior: Any) -> hm.harmoniums.LatentHarmoniumEmbedding:
    embedding: Any = _stack(3, 2, posterior=posterior).pst_prr_emb
    return embedding


EMBEDDINGS: dict[str, Callable[[], Any]] = {
    "identity": lambda: hm.geometry.IdentityEmbedding(_normal(2)),
    "location_full": lambda: hm.LocationEmbedding(_normal(2)),
    "location_diagonal": lambda: hm.LocationEmbedding(_normal(2, DIAGONAL)),
    "location_scale": lambda: hm.LocationEmbedding(_normal(2, SCALE)),
    "location_identity": lambda: hm.LocationEmbedding(_normal(2, IDENTITY)),
    "statistic_gamma": lambda: hm.StatisticEmbedding(hm.Gamma(), (1,)),
    "covariance_diagonal_full": _diagonal_in_full,
    "covariance_scale_full": lambda: hm.families.NormalCovarianceEmbedding(
        _normal(2, SCALE), _normal(2)
    ),
    "covariance_scale_diagonal": lambda: hm.families.NormalCovarianceEmbedding(
        _normal(2, SCALE), _normal(2, DIAGONAL)
    ),
    "covariance_full_full": lambda: hm.families.NormalCovarianceEmbedding(_normal(2), _normal(2)),
    "component_first": lambda: hm.geometry.ComponentEmbedding(
        hm.Product(_normal(2), hm.Categorical(3)), 0
    ),
    "component_second": lambda: hm.geometry.ComponentEmbedding(
        hm.Product(_normal(2), hm.Categorical(3)), 1
    ),
    "product": lambda: hm.exponential_family.ProductEmbedding(
        hm.geometry.IdentityEmbedding(hm.Categorical(3)), _diagonal_in_full()
    ),
    "free_parameters": lambda: _sharing(True).obs_emb,
    "joint": lambda: hm.geometry.JointEmbedding(
        (
            hm.geometry.ComponentEmbedding(hm.Product(_normal(2), hm.Categorical(3)), 1),
            hm.geometry.ComposedEmbedding(
                hm.geometry.ComponentEmbedding(hm.Product(_normal(2), hm.Categorical(3)), 0),
                hm.LocationEmbedding(_normal(2)),
            ),
        )
    ),
    "observable": lambda: hm.harmoniums.ObservableEmbedding(hm.Mixture(_normal(2), 3)),
    "observable_of_hierarchy": lambda: hm.harmoniums.ObservableEmbedding(_stack(3, 2)),
    "interaction": lambda: hm.harmoniums.InteractionEmbedding(hm.Mixture(_normal(2), 3)),
    "interaction_of_linear": lambda: hm.harmoniums.InteractionEmbedding(hm.factor_analysis(3, 2)),
    "posterior": lambda: hm.harmoniums.PosteriorEmbedding(hm.Mixture(_normal(2), 3)),
    "posterior_of_hierarchy": lambda: hm.harmoniums.PosteriorEmbedding(_stack(3, 2)),
    "latent_harmonium_diagonal": lambda: _latent_harmonium(DIAGONAL),
    "latent_harmonium_scale": lambda: _latent_harmonium(SCALE),
    "latent_harmonium_of_hierarchy": lambda: _stack(3, 2, 2, posterior=DIAGONAL).pst_prr_emb,
    "composed_location": lambda: hm.geometry.ComposedEmbedding(
        hm.harmoniums.ObservableEmbedding(hm.Mixture(_normal(2), 3)),
        hm.LocationEmbedding(_normal(2)),
    ),
    "composed_three": lambda: hm.geometry.ComposedEmbedding(
        hm.harmoniums.ObservableEmbedding(hm.Mixture(_normal(2), 2)),
        hm.geometry.ComposedEmbedding(
            _diagonal_in_full(), hm.LocationEmbedding(_normal(2, DIAGONAL))
        ),
    ),
}
