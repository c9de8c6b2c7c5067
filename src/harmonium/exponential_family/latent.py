"""What models ask of the families of their latents: the category at the top, and one vector."""

from typing import Any

from jaxtyping import Array, Float

from harmonium.exponential_family.outline import Dependence, Variable
from harmonium.geometry.manifold import Manifold
from harmonium.geometry.point import Natural


class Latent(Manifold):
    """The hooks by which models see through the levels above them.

    Most families have neither a category at their top nor a normal distribution.
    """

    def variables(self, is_latent: bool = False) -> Any:
        """The variables of an observation: one, or as many as there are, in its structure.

        A hook of products and harmoniums, which have several.

        **Arguments:**

        - `is_latent`: whether this is the family of something latent.
        """
        return Variable(self, is_latent)

    def dependences(self, variables: Any) -> tuple[Dependence, ...]:
        """Which of the variables, as `variables` returns them, depends on which directly.

        A hook of products and harmoniums.
        """
        return ()

    def top_marginal(self, point: Natural) -> Natural | None:
        """The distribution of the categorical at the top of a hierarchy, of which this is one.

        A hook of the categorical and of hierarchies: `None`, the default, without a categorical.
        """
        return None

    def top_probabilities(self, point: Natural) -> Float[Array, " k"]:
        """The probabilities of the categorical at the top of a hierarchy, of which this is one.

        **Raises:** `TypeError` if there is no categorical at the top.
        """
        top = find_top(self, point)
        family: Any = top.manifold
        return family.probabilities(top)

    def joined_moments(self, point: Natural) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
        """Mean and covariance of all the real vectors observed, joined in one, which is normal.

        A hook of normals, products of them, and linear Gaussian models of their observables.

        **Raises:** `TypeError` if it is not normal.
        """
        raise TypeError(
            f"{self} is neither a normal nor made of normals, so it cannot be joined with others "
            "into one normal vector."
        )


def find_top(family: Latent, point: Natural) -> Natural:
    """The distribution of the categorical at the top.

    **Raises:** `TypeError` if there is none.
    """
    top = family.top_marginal(point)
    if top is None:
        raise TypeError(
            f"{family} has no categorical latent variable at its top, so it has no probabilities "
            "of components, and no components. Put a hm.Mixture on top of the hierarchy."
        )
    return top
