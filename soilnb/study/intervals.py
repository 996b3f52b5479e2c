"""Intervals for samples without laboratory value: CV+ on models made fold by fold."""

import numpy as np
import numpy.typing as npt

from soilnb._validation import Floats, check_matrix, check_rows, check_vector

LEVELS = (0.5, 0.99)  # lowest and highest level of an interval


def check_level(level: float) -> None:
    """Raise ValueError unless the level of an interval is from 0.5 to 0.99."""
    low, high = LEVELS
    if not low <= level <= high:
        msg = (
            f"'level' must be between {low} and {high}, got {level}. Try 0.9: nine of "
            "ten intervals hold the truth."
        )
        raise ValueError(msg)


def n_needed(level: float) -> int:
    """Return how many measured samples an interval of this level needs.

    >>> n_needed(0.9), n_needed(0.95)
    (9, 19)
    """
    check_level(level)
    return int(np.ceil(round(level / (1 - level), 6)))


def conformal_size(residuals: npt.ArrayLike, *, level: float = 0.9) -> float:
    """Return half the width of a split-conformal interval.

    The ceil(level (n + 1))-th smallest of n sizes of residuals that were kept from the
    training (Lei et al. 2018, Journal of the American Statistical Association 113,
    1094-1111); infinite where n is too small.

    >>> conformal_size([0.1, -0.4, 0.3, 0.2], level=0.5)
    0.3
    """
    check_level(level)
    sizes = np.sort(np.abs(check_vector(residuals, "residuals")))
    place = int(np.ceil(round(level * (len(sizes) + 1), 6)))
    return float(sizes[place - 1]) if place <= len(sizes) else np.inf


def cv_plus(
    residuals: npt.ArrayLike,
    places: npt.ArrayLike,
    fold_predictions: npt.ArrayLike,
    *,
    level: float = 0.9,
    lowest: float = 0.0,
) -> tuple[Floats, Floats]:
    """Return the interval of each new sample, from models made without each fold.

    Parameters
    ----------
    residuals, places : array-like of shape (n,)
        Measured minus predicted SOC (%) of measured samples, each predicted without its
        fold, and the place (int) of that fold in `fold_predictions`.
    fold_predictions : array-like of shape (n_folds, n_new)
        SOC (%) of the new samples by the models without each fold.
    level : float, default 0.9
        Share of intervals that shall hold the truth, 0.5 to 0.99.
    lowest : float, default 0
        What no value is below; minus infinity for a logarithm.

    Notes
    -----
    Lower and upper ends (n_new,) are SOC (%), NaN where n is below `n_needed(level)`.
    CV+ (Barber et al. 2021, Annals of Statistics 49(1), 486-507): the ends are the
    k-th smallest of prediction minus |residual| and the k-th largest of prediction plus
    |residual|, each prediction by the model without that residual's fold, with
    k = floor((1 - level) (n + 1)). About 1 - 2 (1 - level) at least is proved where
    measured and new samples are exchangeable, about the level is seen. Samples that
    Kennard-Stone or a judgement has picked are not exchangeable with the others.

    Examples
    --------
    >>> lower, upper = cv_plus([0.1, -0.2, 0.3], [0, 1, 1], [[1.0], [1.2]], level=0.5)
    >>> lower.round(2).tolist(), upper.round(2).tolist()
    ([0.9], [1.4])
    """
    check_level(level)
    sizes = np.abs(check_vector(residuals, "residuals"))
    places = np.asarray(places)
    predictions = check_matrix(fold_predictions, "fold_predictions")
    check_rows(sizes, "residuals", places, "places")
    n, n_new = len(sizes), predictions.shape[1]
    if n < n_needed(level):
        nothing = np.full(n_new, np.nan)
        return nothing, nothing.copy()
    k = int(np.floor(round((1 - level) * (n + 1), 6)))
    of_fold = predictions[places]
    lower = np.partition(of_fold - sizes[:, None], k - 1, axis=0)[k - 1]
    upper = np.partition(of_fold + sizes[:, None], n - k, axis=0)[n - k]
    return np.maximum(lower, lowest), upper
