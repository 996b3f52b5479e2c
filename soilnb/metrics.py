"""How well predictions agree with measurements: one definition of each score."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._validation import Floats, check_rows, check_vector


def _check_pair(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return measured and predicted values as finite vectors of one length."""
    measured = check_vector(y_true, "y_true")
    predicted = check_vector(y_pred, "y_pred")
    check_rows(measured, "y_true", predicted, "y_pred")
    return measured, predicted


def rmse(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Return the root mean squared error; the mean divides by n.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples,)
        Measured and predicted values, in the unit of the property. Here and below, a
        ValueError if they are not 1D, not finite or differ in length.

    Returns
    -------
    float
        At least 0, in the unit of the property.

    Examples
    --------
    >>> rmse([1.0, 2.0, 3.0], [1.0, 2.0, 6.0])
    1.7320508075688772
    """
    measured, predicted = _check_pair(y_true, y_pred)
    return float(np.sqrt(np.mean((predicted - measured) ** 2)))


def mean_error(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Return the mean error (ME), the bias of the predictions.

    Arguments and errors are those of `rmse`.

    Returns
    -------
    float
        Predicted minus measured, in the unit of the property: positive where
        predictions are too high. Some packages report the opposite sign.

    Examples
    --------
    >>> mean_error([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    1.0
    """
    measured, predicted = _check_pair(y_true, y_pred)
    return float(np.mean(predicted - measured))


def ccc(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Return Lin's concordance correlation coefficient.

    One for perfect agreement; a shift or a change of scale lowers it even when the
    correlation is perfect. Arguments and errors are those of `rmse`; a ValueError, too,
    where measured and predicted values are both the same constant.

    Returns
    -------
    float
        Dimensionless, between -1 and 1. Variances and covariance divide by n, as in Lin
        (1989), Biometrics 45(1), 255-268 (not by n - 1).

    Examples
    --------
    >>> round(ccc([1.0, 2.0, 3.0], [2.0, 3.0, 4.0]), 3)
    0.571
    """
    measured, predicted = _check_pair(y_true, y_pred)
    shift = predicted.mean() - measured.mean()
    spread = measured.var() + predicted.var() + shift**2
    if spread == 0:
        msg = (
            f"'y_true' and 'y_pred' are both the constant {measured[0]:.3g}: "
            "their concordance is undefined. Use samples that differ."
        )
        raise ValueError(msg)
    covariance = np.mean((measured - measured.mean()) * (predicted - predicted.mean()))
    return float(2 * covariance / spread)


def r2(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Return the coefficient of determination, 1 - SSE / SST.

    Not the squared correlation, which ignores shift and scale. Arguments and errors are
    those of `rmse`; a ValueError, too, where `y_true` is constant.

    Returns
    -------
    float
        Dimensionless, at most 1; negative where the mean of `y_true` would have
        predicted better.

    Examples
    --------
    >>> r2([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    -0.5
    """
    measured, predicted = _check_pair(y_true, y_pred)
    if np.ptp(measured) == 0:
        msg = (
            f"'y_true' is the constant {measured[0]:.3g}: R2 compares with its "
            "spread. Use samples that differ."
        )
        raise ValueError(msg)
    total = np.sum((measured - measured.mean()) ** 2)
    return float(1 - np.sum((predicted - measured) ** 2) / total)


def rpiq(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Return the ratio of performance to interquartile distance.

    (Q3 - Q1) of the *measured* values divided by the RMSE (Bellon-Maurel et al. 2010,
    Trends in Analytical Chemistry 29(9), 1073-1081); quartiles by linear interpolation.
    It suits skewed properties better than the ratio of standard deviation to RMSE
    (RPD). Arguments and errors are those of `rmse`.

    Returns
    -------
    float
        Dimensionless, at least 0; infinite where the RMSE is 0.

    Examples
    --------
    >>> rpiq([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 3.0, 4.0, 5.0, 6.0])
    2.0
    """
    measured, predicted = _check_pair(y_true, y_pred)
    first, third = np.quantile(measured, [0.25, 0.75])
    error = rmse(measured, predicted)
    return float((third - first) / error) if error > 0 else float("inf")


def delta_rmse(rmse_local: npt.ArrayLike, rmse_other: npt.ArrayLike) -> Floats:
    """Return the improvement in RMSE over the local model, in percent.

    (local - other) / local x 100, Equation 1 of Shen et al. (2022), ISPRS Journal of
    Photogrammetry and Remote Sensing 188, 190-200.

    Parameters
    ----------
    rmse_local, rmse_other : float or array-like
        RMSE of the local model, above 0 (a ValueError if not), and of the model to
        compare, same unit; shapes broadcast.

    Returns
    -------
    float or ndarray
        Percent of the local RMSE; positive where the other model is better.

    Examples
    --------
    >>> float(delta_rmse(0.5, 0.4).round(1))
    20.0
    """
    local = np.asarray(rmse_local, dtype=np.float64)
    other = np.asarray(rmse_other, dtype=np.float64)
    if not (local > 0).all():
        msg = f"'rmse_local' must be above 0, got {local.min():.3g}."
        raise ValueError(msg)
    return (local - other) / local * 100


def evaluate(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> pd.Series:
    """Return every score of one set of predictions.

    Arguments and errors are those of `rmse`; a ValueError, too, where `y_true` is
    constant.

    Returns
    -------
    pandas.Series
        ``rmse`` and ``mean_error`` in the unit of the property; ``ccc``, ``r2`` and
        ``rpiq`` dimensionless; ``n``, the number of samples.

    Examples
    --------
    >>> evaluate([1.0, 2.0, 3.0], [2.0, 3.0, 4.0]).round(3).to_dict()
    {'rmse': 1.0, 'mean_error': 1.0, 'ccc': 0.571, 'r2': -0.5, 'rpiq': 1.0, 'n': 3.0}
    """
    measured, predicted = _check_pair(y_true, y_pred)
    scores = {
        score.__name__: score(measured, predicted)
        for score in (rmse, mean_error, ccc, r2, rpiq)
    }
    return pd.Series({**scores, "n": len(measured)})
