"""Harmoniums over a latent that contains the latent of another one."""

from typing import TYPE_CHECKING, Any

from jaxtyping import Array, Float

from harmonium.exponential_family.evidence import is_whole
from harmonium.exponential_family.outline import Dependence, interactions
from harmonium.geometry.manifold import Manifold
from harmonium.geometry.point import Mean, Natural
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.standardize import substitute_cause, substitute_likelihood

if TYPE_CHECKING:  # type checkers would take abstract variables for dataclass fields
    from typing import ClassVar as AbstractVar
else:
    from equinox import AbstractVar


class Lifted(Conjugated):
    r"""A harmonium with the likelihood $p(x|z)$ of another, over a latent $u$ that contains $z$.

    Observable and interaction are those of the other harmonium, too. Mathematically, the statistic
    of $z$ is a linear function of that of $u$, $s(z) = a^T s(u)$. Then a message $\rho, \chi$ about
    $z$ is the message $a(\rho), \chi$ about $u$, as $a(\rho) \cdot s(u) = \rho \cdot s(z)$.

    A model supplies the other harmonium `hrm_man`, random starts, and $a$ for the latents of
    posterior and prior: `pst_lens` and `prr_lens` are linear embeddings, or have what is used of
    these: `embed`, which is $a$, `project`, $a^T$, `observe`, by which $z$ is found in $u$, and
    `amb_man`.
    """

    hrm_man: AbstractVar[Conjugated]
    pst_lens: AbstractVar[Any]
    prr_lens: AbstractVar[Any]

    @property
    def obs_man(self) -> Any:
        """The observable manifold of the other harmonium."""
        return self.hrm_man.obs_man

    @property
    def int_man(self) -> Manifold:
        """The interaction manifold of the other harmonium."""
        return self.hrm_man.int_man

    @property
    def pst_man(self) -> Any:
        """The latent manifold of the posterior, which contains that of the other harmonium."""
        return self.pst_lens.amb_man

    @property
    def has_closed_form_likelihood(self) -> bool:
        """If the other harmonium's likelihood has a closed-form M-step."""
        return self.hrm_man.has_closed_form_likelihood

    def message(
        self, likelihood: Natural, x: Any, observed: Any
    ) -> tuple[Natural, Float[Array, ""]]:
        """That of the other harmonium, in a part of the latent."""
        rho, chi = self.hrm_man.message(likelihood, x, observed)
        lens = self.pst_lens if is_whole(x, observed) else self.prr_lens
        return lens.embed(rho), chi

    def observable_at(self, likelihood: Natural, latent: Any) -> Natural:
        return self.hrm_man.observable_at(likelihood, self.pst_lens.observe(latent))

    def likelihood_to_natural(self, point: Mean, start: Natural | None = None) -> Natural:
        latent = self.pst_lens.project(point.latent)
        mean = self.hrm_man.point(point.observable, point.interaction, latent)
        return self.hrm_man.likelihood_to_natural(mean, start)


@interactions.register
def _(model: Lifted, latents: Any, observables: Any) -> tuple[Dependence, ...]:
    """Those of the other harmonium, with a part of the latents."""
    return interactions(model.hrm_man, model.pst_lens.observe(latents), observables)


@substitute_likelihood.register
def _(model: Lifted, likelihood: Natural, scale: Any, shift: Any) -> tuple[Natural, Natural]:
    likelihood, rho = substitute_likelihood(model.hrm_man, likelihood, scale, shift)
    return likelihood, model.pst_lens.embed(rho)


@substitute_cause.register
def _(model: Lifted, likelihood: Natural, scale: Any, shift: Any) -> Natural:
    return substitute_cause(model.hrm_man, likelihood, scale, shift)
