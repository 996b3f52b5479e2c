"""Scores: against values worked out by hand and published tables."""

import numpy as np
import pytest

from soilnb.metrics import ccc, delta_rmse, evaluate, mean_error, r2, rmse, rpiq

MEASURED = [1.0, 2.0, 3.0, 4.0, 5.0]
PREDICTED = [1.1, 1.9, 3.2, 3.8, 5.5]


def test_five_samples_worked_out_by_hand():
    # Errors .1 -.1 .2 -.2 .5: squares sum to .35, SST = 10, quartiles 2 and 4.
    scores = evaluate(MEASURED, PREDICTED)
    assert scores["rmse"] == pytest.approx(np.sqrt(0.07))
    assert scores["mean_error"] == pytest.approx(0.1)
    assert scores["r2"] == pytest.approx(0.965)
    assert scores["rpiq"] == pytest.approx(7.559289, abs=1e-6)
    # n - 1 in the variances would give 0.984360626.
    assert scores["ccc"] == pytest.approx(0.983908046, abs=1e-9)
    assert scores["n"] == 5
    assert list(scores.index) == ["rmse", "mean_error", "ccc", "r2", "rpiq", "n"]


def test_ccc_follows_from_rmse_and_mean_error():
    rng = np.random.default_rng(1)
    measured = rng.gamma(2.0, size=200)
    predicted = measured * 0.7 + rng.normal(size=200)
    spread = measured.var() + predicted.var() + mean_error(measured, predicted) ** 2
    expected = 1 - rmse(measured, predicted) ** 2 / spread
    assert ccc(measured, predicted) == pytest.approx(expected)
    correlation = np.corrcoef(measured, predicted)[0, 1]
    assert abs(ccc(measured, predicted)) <= abs(correlation)


SHIFTED = [value + 1 for value in MEASURED]
WORKED = [
    # A shift that the correlation ignores: 2 x 2 / (2 + 2 + 1), variances of 2.
    (ccc(MEASURED, SHIFTED), 0.8),
    (ccc(MEASURED, MEASURED), 1.0),
    (ccc(MEASURED, MEASURED[::-1]), -1.0),
    # Where the mean predicts better: SSE = 16 + 0 + 16, SST = 2.
    (r2([1.0, 2.0, 3.0], [5.0, 2.0, -1.0]), -15.0),
    # Quartiles of the measured values 2 and 4; errors -2 -1 0 1 2.
    (rpiq(MEASURED, [3.0] * 5), 2 / np.sqrt(2)),
    (rpiq(MEASURED, MEASURED), np.inf),
    # Shen et al. (2022), China; all methods are in test_paper.py.
    (delta_rmse(0.46, 0.28), 100 * 0.18 / 0.46),
]


@pytest.mark.parametrize(("found", "expected"), WORKED)
def test_values_worked_by_hand(found, expected):
    assert found == pytest.approx(expected)


def test_lists_equal_arrays_and_inputs_stay():
    measured, predicted = np.array(MEASURED), np.array(PREDICTED)
    from_arrays = evaluate(measured, predicted)
    assert from_arrays.equals(evaluate(MEASURED, PREDICTED))
    assert measured.tolist() == MEASURED
    assert predicted.tolist() == PREDICTED
