"""What comes of data that can hardly be fitted: an error that helps, or a fit that says so."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm

# Most cases are of one model and twelve rows, and thus one program.

KEY = jax.random.key(0)
XS = np.random.default_rng(0).normal(size=(12, 2))
NORMAL, MIXTURE, FACTORS = hm.Normal(2), hm.Mixture(hm.Normal(2), 2), hm.factor_analysis(2, 1)
COUNTS = hm.Mixture(hm.Poisson(), 2)
CONVERGED, DEGENERATE = hm.Result.CONVERGED, hm.Result.DEGENERATE


class Case(NamedTuple):
    """A fit, and its result, or the type of the error and a part of what it says."""

    outcome: Any
    phrase: str
    model: Any
    data: Callable[[], Any]
    settings: dict


def _case(outcome, phrase, model, data, **settings):
    return Case(outcome, phrase, model, data, settings)


def _spoilt(value):
    xs = XS.copy()
    xs[3, 1] = value
    return xs


def _with_column(value):
    return np.column_stack([XS[:, 0], np.full(12, value)])


CASES = {
    # What can't be fitted at all.
    "NaN": _case(ValueError, "outside the support.*nan", MIXTURE, lambda: _spoilt(np.nan)),
    "infinite": _case(ValueError, "outside the support", MIXTURE, lambda: _spoilt(np.inf)),
    "empty": _case(ValueError, "at least one observation", MIXTURE, lambda: XS[:0]),
    "one row, not a batch": _case(ValueError, r"x\[None\]", MIXTURE, lambda: XS[0]),
    "three axes": _case(ValueError, "real numbers of shape", MIXTURE, lambda: XS[None]),
    "other width": _case(ValueError, r"\(N, 2\)", MIXTURE, lambda: XS[:, :1]),
    "text": _case(TypeError, "real numbers", MIXTURE, lambda: np.array([["a", "b"]])),
    "complex": _case(TypeError, "real numbers", MIXTURE, lambda: XS + 1j),
    "nothing": _case(TypeError, "real numbers", MIXTURE, lambda: None),
    "reals for counts": _case(TypeError, "astype", COUNTS, lambda: XS[:, 0]),
    "negative counts": _case(ValueError, "outside the support", COUNTS, lambda: np.array([1, -1])),
    "category out of range": _case(
        ValueError,
        "outside the support",
        hm.Mixture(hm.Categorical(3), 2),
        lambda: np.array([0, 3]),
    ),
    "a part too few": _case(
        TypeError,
        "batch of observations",
        hm.Mixture(hm.Product(NORMAL, hm.Poisson()), 2),
        lambda: (XS,),
    ),
    "parts of unequal length": _case(
        ValueError,
        "one leading axis",
        hm.Mixture(hm.Product(NORMAL, hm.Poisson()), 2),
        lambda: (XS, np.ones(3, int)),
    ),
    "zero for a gamma": _case(
        ValueError, "outside the support", hm.Gamma(), lambda: np.array([0.0, 1.0])
    ),
    # Settings.
    "no key": _case(ValueError, "random key", MIXTURE, lambda: XS, key=None),
    "no starts": _case(ValueError, "at least one start", MIXTURE, lambda: XS, n_starts=0),
    "no steps": _case(ValueError, "at least one step", MIXTURE, lambda: XS, max_steps=0),
    "negative tolerance": _case(ValueError, "not negative", MIXTURE, lambda: XS, tolerance=-1.0),
    "unknown prior": _case(ValueError, "a prior is", MIXTURE, lambda: XS, prior="weak"),
    "unknown missing": _case(ValueError, "missing is", MIXTURE, lambda: XS, missing="drop"),
    "no model": _case(TypeError, "", "mixture", lambda: XS),
    # Weights and masks.
    "negative weights": _case(
        ValueError, "weights must be", MIXTURE, lambda: XS, weights=-np.ones(12)
    ),
    "zero weights": _case(ValueError, "weights must be", MIXTURE, lambda: XS, weights=np.zeros(12)),
    "NaN weights": _case(
        ValueError, "weights must be", MIXTURE, lambda: XS, weights=np.full(12, np.nan)
    ),
    "other number of weights": _case(
        ValueError, "one weight for each", MIXTURE, lambda: XS, weights=np.ones(3)
    ),
    "masks of another form": _case(
        ValueError, "truth values", MIXTURE, lambda: XS, observed=np.ones(12, bool)
    ),
    "masks of numbers": _case(
        TypeError, "truth values", MIXTURE, lambda: XS, observed=np.ones((12, 2))
    ),
    "masks for a family": _case(
        TypeError, "no latents", NORMAL, lambda: XS, observed=np.ones((12, 2), bool)
    ),
    "NaN for a family": _case(
        TypeError, "no latents", NORMAL, lambda: _spoilt(np.nan), missing="nan"
    ),
    "NaN beside fractions for counts": _case(
        TypeError, "integers", COUNTS, lambda: np.array([1.5, np.nan]), missing="nan"
    ),
    # What can be fitted, or says that it can't.
    "one row": _case(CONVERGED, "", MIXTURE, lambda: XS[:1]),
    "one row for a normal": _case(DEGENERATE, "singular", NORMAL, lambda: XS[:1]),
    "fewer rows than components": _case(CONVERGED, "", hm.Mixture(NORMAL, 5), lambda: XS[:3]),
    "constant rows": _case(CONVERGED, "", MIXTURE, lambda: np.ones((12, 2))),
    "constant rows for a normal": _case(DEGENERATE, "singular", NORMAL, lambda: np.ones((12, 2))),
    "constant column": _case(CONVERGED, "", MIXTURE, lambda: _with_column(1e6)),
    "constant column for factors": _case(
        DEGENERATE, "constant columns", FACTORS, lambda: _with_column(3.0)
    ),
    "duplicated column for a normal": _case(
        DEGENERATE, "singular", NORMAL, lambda: np.column_stack([XS[:, 0], XS[:, 0]])
    ),
    "duplicated rows": _case(CONVERGED, "", MIXTURE, lambda: np.repeat(XS[:4], 3, axis=0)),
    "integers for reals": _case(CONVERGED, "", MIXTURE, lambda: np.arange(24).reshape(12, 2)),
    "lists": _case(CONVERGED, "", MIXTURE, lambda: XS.tolist()),
    "counts of zero": _case(CONVERGED, "", COUNTS, lambda: np.zeros(9, int)),
    "categories that never occur": _case(
        CONVERGED, "", hm.Mixture(hm.Categorical(3), 2), lambda: np.array([0, 0, 1, 1])
    ),
    "an outlier": _case(CONVERGED, "", MIXTURE, lambda: _spoilt(1e12)),
    "tiny": _case(CONVERGED, "", MIXTURE, lambda: XS * 1e-150),
    "huge": _case(CONVERGED, "", MIXTURE, lambda: XS * 1e150),
    "one weight": _case(CONVERGED, "", MIXTURE, lambda: XS, weights=np.eye(12)[0]),
    "nothing observed": _case(CONVERGED, "", MIXTURE, lambda: XS, observed=np.zeros((12, 2), bool)),
    "a column not observed": _case(
        CONVERGED, "", MIXTURE, lambda: _with_column(np.nan), missing="nan"
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_data(name):
    case = CASES[name]
    settings = {"key": KEY, "n_starts": 2, "tolerance": 1e-6, **case.settings}
    with jax.enable_x64(True):
        if not isinstance(case.outcome, hm.Result):
            with pytest.raises(case.outcome, match=f"(?s){case.phrase}"):
                hm.fit(case.model, case.data(), **settings)
            return
        fit = hm.fit(case.model, case.data(), **settings)
        assert fit.result is case.outcome, fit
        assert case.phrase in fit.message
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(fit.params))
        assert np.isfinite(float(fit.objective))
