"""Models of trees and rules: random forest and Cubist."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from soilnb._validation import check_int, check_xy

N_COMMITTEES = 5  # models of Cubist whose predictions are averaged


def fit_random_forest(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    seed: int,
    n_trees: int = 500,
    max_features: float = 1.0,
    weights: npt.ArrayLike | None = None,
) -> RandomForestRegressor:
    """Fit a random forest (Breiman 2001, Machine Learning 45(1), 5-32).

    `X` (n_samples, n_wavelengths) are spectra, `y` (n_samples,) the soil property,
    `seed`, at least 0, that of the trees, `n_trees` their number, `max_features` the
    share of the columns that a split chooses from and `weights` (n_samples,) how much
    each sample counts; everything else is as scikit-learn's defaults.

    >>> forest = fit_random_forest([[0.0], [1.0]], [1.0, 1.0], seed=1, n_trees=5)
    >>> forest.predict([[0.5]]).tolist()
    [1.0]
    """
    check_int(seed, "seed", 0)
    check_int(n_trees, "n_trees", 1)
    spectra, values = check_xy(X, y)
    forest = RandomForestRegressor(
        n_estimators=n_trees, max_features=max_features, random_state=seed
    )
    return forest.fit(spectra, values, sample_weight=weights)


def fit_cubist(X: npt.ArrayLike, y: npt.ArrayLike) -> Pipeline:
    """Fit Cubist: rules, each with a linear model of its own.

    A tree splits the samples by their values at some wavelengths; the way to each
    leaf becomes a rule, and a linear model of a few wavelengths predicts the
    samples that it covers. Further models (a committee) correct the first.

    samples that it covers. Further models (a committee) correct the first (Quinlan
    1992, Proceedings of the 5th Australian Joint Conference on Artificial Intelligence,
    343-348; Viscarra Rossel and Webster 2012, European Journal of Soil Science 63(6),
    848-860). A ModuleNotFoundError where the optional package `cubist` is not
    installed. Everything is as its defaults: no correction by neighbours, predictions
    at most 5 % of the range beyond the values seen. Nothing in it is random.

    Examples
    --------
    >>> X = [[float(i)] for i in range(20)]
    >>> model = fit_cubist(X, [2.0 * row[0] for row in X])  # doctest: +SKIP
    >>> model.predict([[4.5]]).round(3).tolist()  # doctest: +SKIP
    [9.0]
    """
    spectra, values = check_xy(X, y)
    try:
        from cubist import Cubist
    except ModuleNotFoundError as missing:
        msg = (
            "'fit_cubist' needs the optional package 'cubist', which is not "
            "installed. Install it: pip install cubist."
        )
        raise ModuleNotFoundError(msg, name="cubist") from missing
    cubist = Cubist(n_committees=N_COMMITTEES)
    return make_pipeline(FunctionTransformer(_named), cubist).fit(spectra, values)


def _named(spectra: npt.ArrayLike) -> pd.DataFrame:
    """Return spectra with names for the bands, without which Cubist warns."""
    table = pd.DataFrame(np.asarray(spectra))
    return table.add_prefix("band_")
