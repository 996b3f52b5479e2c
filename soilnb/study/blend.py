"""The blend: every candidate weighted by how well it predicts samples held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import nnls

from soilnb._validation import Floats
from soilnb.study.nested import Nested
from soilnb.study.prepared import Study

# How strongly weights are drawn towards equal ones, in units of the mean squared nested
# error of the candidates. Fixed on draws of skane and uppsala, before any other farm.
SHRINKAGE = 0.1


@dataclass(frozen=True, eq=False)
class Blend:
    """The weighted mean of candidates, made once without each fold.

    `table` has the index candidate, columns nested_rmse (% SOC) and weight, the mean
    over folds. `local`, (n_local,), is SOC (%) of the local samples, in order of
    selection, by models that have not seen the sample's fold and weights from the
    errors of the other folds; `test`, (n_folds, n_test), that of the test samples by
    those of each fold.
    """

    study: Study
    table: pd.DataFrame
    local: Floats
    test: Floats

    def predict(self, X: npt.ArrayLike) -> Floats:
        """Return SOC (%) of the study's test samples; nothing else can be predicted."""
        if not np.array_equal(X, self.study.X_test):
            msg = (
                "'X' must be the test samples of the study, for which the blend was "
                f"made, got other spectra ({len(np.asarray(X))} rows)."
            )
            raise ValueError(msg)
        return self.estimates

    @property
    def estimates(self) -> Floats:
        """SOC (%) of the test samples: the mean of the folds, shape (n_test,)."""
        return self.test.mean(axis=0)


def blend(nested: Nested, candidates: Sequence[str] | None = None) -> Blend:
    """Weight candidates by their nested errors, for each fold by those of the others.

    `nested` has what the `candidates` (by default all of its own) predict by models
    made without each fold. Nothing is trained again: estimates are means over the
    folds' models, those below 0 set to 0.

    Notes
    -----
    The weights w are not negative, sum to one and minimise

    mean((E w)^2) + 0.1 * s^2 * m * sum((w - 1/m)^2)

    with the nested errors E (n, m) and their mean square s^2. This is stacking (Breiman
    1996, Machine Learning 24, 49-64), shrunk towards equal weights: with thirty errors,
    weights that fit them alone would fit their noise. The weights of a fold come from
    the errors of the other folds, so no sample's own error has a say in its prediction.
    (The models that made those other errors have seen it; without it all would be
    trained once for each pair of folds.)
    """
    names = list(candidates or nested.local)
    study = nested.study
    local = np.maximum(nested.local[names].to_numpy(), 0.0)
    errors = local - study.samples("local").y[:, None]
    own, test, weights = np.empty(len(local)), [], []
    for place, number in enumerate(np.unique(study.local_folds)):
        of_fold = study.local_folds == number
        weights.append(stacking_weights(errors[~of_fold], SHRINKAGE))
        own[of_fold] = local[of_fold] @ weights[-1]
        each = np.array([np.maximum(nested.test[name][place], 0.0) for name in names])
        test.append(weights[-1] @ each)
    facts = {
        "nested_rmse": np.sqrt(np.mean(errors**2, axis=0)),
        "weight": np.mean(weights, axis=0),
    }
    table = pd.DataFrame(facts, index=pd.Index(names, name="candidate"))
    return Blend(study, table, own, np.array(test))


def stacking_weights(errors: npt.ArrayLike, shrinkage: float) -> Floats:
    """Return the weights of candidates from their errors (n_samples, m).

    >>> stacking_weights([[1.0, -1.0], [1.0, -1.0]], 0.0).round(6).tolist()
    [0.5, 0.5]
    """
    E = np.asarray(errors, dtype=np.float64)
    n, m = E.shape
    scale = np.sqrt(np.mean(E**2)) or 1.0
    pull = np.sqrt(shrinkage * m)
    # A row that weighs a thousand times as much holds the sum at one.
    rows = np.vstack([E / (scale * np.sqrt(n)), pull * np.eye(m), np.full(m, 1e3)])
    target = np.concatenate([np.zeros(n), np.full(m, pull / m), [1e3]])
    weights, _ = nnls(rows, target)
    return weights / weights.sum()
