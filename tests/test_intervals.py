"""CV+ intervals: by hand, by simulation and against MAPIE."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import PredefinedSplit

from soilnb.selection import random_folds
from soilnb.study import cv_plus, n_needed


def cross_fit(X, y, folds, X_new, model=None):
    """Residuals without each fold, and each fold's predictions of new samples."""
    model = model or Ridge(1.0)
    residuals, predictions = np.empty(len(y)), []
    for number in np.unique(folds):
        held_out = folds == number
        model.fit(X[~held_out], y[~held_out])
        residuals[held_out] = y[held_out] - model.predict(X[held_out])
        predictions.append(model.predict(X_new))
    return residuals, np.array(predictions)


def draw(rng, n):
    """A farm's samples: 4 scores, and a property of heavy tails and unequal spread."""
    X = rng.normal(size=(n, 4))
    noise = rng.standard_t(4, n) * (0.5 + np.abs(X[:, 0]))
    return X, 20 + X @ [1.0, -0.5, 0.3, 0.0] + noise


def test_ends_worked_by_hand():
    # n = 9, level 0.8: k = floor(0.2 * 10) = 2. |residuals| 1 to 9, models 10 and 20:
    # minus: 9 8 7 6 5 of fold 0, 14 13 12 11 of fold 1; second smallest 6.
    # plus: 11 12 13 14 15 and 26 27 28 29; second largest 28.
    residuals = [1, -2, 3, -4, 5, -6, 7, -8, 9]
    places = [0, 0, 0, 0, 0, 1, 1, 1, 1]
    lower, upper = cv_plus(residuals, places, [[10.0], [20.0]], level=0.8)
    assert (lower.tolist(), upper.tolist()) == ([6.0], [28.0])
    # The lower end is not below zero.
    lower, upper = cv_plus(np.ones(9), np.zeros(9, int), [[0.4, 3.0]])
    assert (lower.tolist(), upper.tolist()) == ([0.0, 2.0], [1.4, 4.0])


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_each_end_is_the_order_statistic_of_the_paper(level, rng):
    # Barber et al. 2021: the floor(alpha (n + 1))-th smallest, and the
    # ceil((1 - alpha) (n + 1))-th smallest, of all n; here in plain loops.
    n, alpha = 23, 1 - level
    residuals, places = rng.normal(size=n), rng.integers(0, 4, n)
    predictions = rng.normal(50, 2, (4, 5))
    lower, upper = cv_plus(residuals, places, predictions, level=level)
    for new in range(5):
        sizes = list(zip(places, np.abs(residuals), strict=True))
        low = sorted(predictions[place, new] - size for place, size in sizes)
        high = sorted(predictions[place, new] + size for place, size in sizes)
        assert lower[new] == low[int(np.floor(round(alpha * (n + 1), 9))) - 1]
        assert upper[new] == high[int(np.ceil(round(level * (n + 1), 9))) - 1]


@pytest.mark.parametrize(("level", "least"), [(0.9, 0.87), (0.5, 0.46)])
def test_coverage_is_about_the_level(level, least):
    rng = np.random.default_rng(1)
    covered = []
    for seed in range(150):
        X, y = draw(rng, 30)
        X_new, y_new = draw(rng, 40)
        folds = random_folds(30, 10, seed)
        residuals, predictions = cross_fit(X, y, folds, X_new)
        lower, upper = cv_plus(residuals, folds, predictions, level=level)
        covered.append(np.mean((lower <= y_new) & (y_new <= upper)))
    # Its standard error over 150 farms is about 0.01.
    assert least <= np.mean(covered) <= level + 0.05
    # What is proved is about 1 - 2 alpha.
    assert np.mean(covered) > 1 - 2 * (1 - level)


def test_coverage_holds_where_models_fit_their_noise():
    # As many bands as samples and hardly any penalty: residuals that were not held out
    # would be near 0.
    rng = np.random.default_rng(2)
    covered = []
    for seed in range(100):
        X, X_new = rng.normal(size=(30, 25)), rng.normal(size=(40, 25))
        y, y_new = 20 + rng.normal(size=30), 20 + rng.normal(size=40)
        folds = random_folds(30, 10, seed)
        fitted = cross_fit(X, y, folds, X_new, Ridge(1e-6))
        lower, upper = cv_plus(fitted[0], folds, fitted[1])
        covered.append(np.mean((lower <= y_new) & (y_new <= upper)))
    assert 0.87 < np.mean(covered) < 0.99


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("n", [30, 47])
def test_intervals_are_those_of_mapie(level, n):
    regression = pytest.importorskip("mapie.regression", reason="MAPIE is the oracle")
    rng = np.random.default_rng(n)
    X, y = draw(rng, n)
    X_new, _ = draw(rng, 25)
    folds = random_folds(n, 10, seed=1)
    residuals, predictions = cross_fit(X, y, folds, X_new)
    lower, upper = cv_plus(residuals, folds, predictions, level=level)
    oracle = regression.CrossConformalRegressor(
        Ridge(1.0), confidence_level=level, method="plus", cv=PredefinedSplit(folds)
    )
    _, expected = oracle.fit_conformalize(X, y).predict_interval(X_new)
    np.testing.assert_allclose(lower, np.maximum(expected[:, 0, 0], 0), rtol=1e-9)
    np.testing.assert_allclose(upper, expected[:, 1, 0], rtol=1e-9)


@pytest.mark.parametrize(("level", "least"), [(0.9, 9), (0.95, 19), (0.8, 4)])
def test_too_few_samples_have_no_interval(level, least, rng):
    # The first n with floor(alpha (n + 1)) of at least 1: n = 1 / alpha - 1.
    assert n_needed(level) == least
    for n, exists in ((least - 1, False), (least, True)):
        residuals = rng.normal(size=n)
        places = np.arange(n) % 3
        ends = cv_plus(residuals, places, np.full((3, 2), 10.0), level=level)
        assert np.isfinite(ends).all() == exists
        assert np.isnan(ends).all() != exists
    # With just enough, the ends are the largest residual away.
    assert ends[1] == pytest.approx(10 + np.abs(residuals).max())


@pytest.mark.parametrize("level", [0.49, 0.995, 1.0, 90, -0.9, np.nan])
def test_a_level_out_of_range_is_refused(level):
    message = f"'level' must be between 0.5 and 0.99, got {level}"
    with pytest.raises(ValueError, match=message):
        cv_plus(np.ones(30), np.zeros(30, int), [[1.0]], level=level)
    with pytest.raises(ValueError, match=message):
        n_needed(level)
