"""Finished models compared in pairs, on the same test samples."""

import numpy as np
import pandas as pd
import pytest

from soilnb.study import best_plain, compare, scoring, verdict, winners


def _predictions(**predicted):
    measured = np.array([1.0, 2.0, 3.0, 4.0])
    return pd.concat(
        pd.DataFrame(
            {
                "sample_id": list("abcd"),
                "method": method,
                "measured": measured,
                "predicted": measured + np.asarray(errors),
            }
        )
        for method, errors in predicted.items()
    )


def test_gain_is_the_difference_of_rmse_and_eq_1():
    table = compare(
        _predictions(local=[1, -1, 1, -1], dtl_i_global=[0.5, 0.5, -0.5, -0.5])
    )
    assert table.loc["dtl_i_global", "gain"] == pytest.approx(0.5)
    assert table.loc["dtl_i_global", "delta_rmse"] == pytest.approx(50)
    # every sample improves by the same share, so every resample gains 0.5
    assert table.loc["dtl_i_global", "low"] == pytest.approx(0.5)


def test_interval_of_equal_methods_is_zero_and_of_chance_spans_zero():
    rng = np.random.default_rng(1)
    measured = np.arange(100.0)
    frames = [
        pd.DataFrame(
            {
                "sample_id": range(100),
                "method": method,
                "measured": measured,
                "predicted": measured + rng.normal(size=100),
            }
        )
        for method in ("local", "global")
    ]
    table = compare(pd.concat(frames))
    assert table.loc["local", ["gain", "low", "high"]].tolist() == [0, 0, 0]
    assert table.loc["global", "low"] < 0 < table.loc["global", "high"]


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.01, 0.2, "was better"), (-0.2, -0.01, "was worse"), (-0.1, 0.1, "cannot tell")],
)
def test_verdict_follows_the_interval(low, high, word):
    gain = pd.Series({"low": low, "high": high, "n_test": 30})
    assert word in verdict(gain, "DTL-I")


def test_verdict_of_few_test_samples_never_tells():
    """At 29 the interval is too narrow to believe, whatever it says."""
    gain = pd.Series({"low": 0.01, "high": 0.2, "n_test": 29})
    assert verdict(gain, "DTL-I") == (
        "There are 29 test samples: so few cannot tell DTL-I and local modelling apart."
    )


def test_comparison_without_its_reference_is_refused():
    with pytest.raises(ValueError, match="'reference' must be one of rf_local"):
        compare(_predictions(rf_local=[0, 0, 0, 1]))


def test_comparison_counts_the_test_samples():
    gains = compare(_predictions(local=[1, -1, 1, -1], dtl_i_global=[0, 1, 0, 1]))
    assert gains["n_test"].tolist() == [4, 4]
    assert "so few cannot tell" in verdict(gains.loc["dtl_i_global"], "DTL-I")


@pytest.mark.parametrize("at_once", [5_000_000, 100, 1])
def test_interval_is_that_of_all_draws_at_once(monkeypatch, at_once):
    monkeypatch.setattr(scoring, "RESAMPLED_MOST", at_once)
    rng = np.random.default_rng(3)
    ids = [f"s{number:02d}" for number in range(11)]
    errors = pd.DataFrame(rng.normal(size=(11, 2)), ids, ["local", "global"])
    frames = [
        pd.DataFrame({"sample_id": ids, "method": name, "measured": 2.0}).assign(
            predicted=2.0 + errors[name].to_numpy()
        )
        for name in errors
    ]
    table = compare(pd.concat(frames), n_resamples=501, seed=7)
    draws = np.random.default_rng(7).integers(11, size=(501, 11))
    rmse = {
        name: np.sqrt((errors[name].to_numpy()[draws] ** 2).mean(axis=1))
        for name in errors
    }
    expected = np.quantile(rmse["local"] - rmse["global"], [0.025, 0.975])
    np.testing.assert_allclose(table.loc["global", ["low", "high"]], expected, 1e-12)


def test_draws_in_parts_change_no_bit(monkeypatch):
    squares = np.random.default_rng(2).random((13, 3))
    whole = scoring._resampled_rmse(squares, 1001, 5)
    monkeypatch.setattr(scoring, "RESAMPLED_MOST", 40)  # one draw at a time
    np.testing.assert_array_equal(scoring._resampled_rmse(squares, 1001, 5), whole)
    monkeypatch.setattr(scoring, "RESAMPLED_MOST", 1000)  # 25 at a time
    np.testing.assert_array_equal(scoring._resampled_rmse(squares, 1001, 5), whole)


def test_winners_are_named_where_there_are_samples_enough():
    scores = pd.DataFrame(
        {"method": ["mbl", "local", "rf_local", "recommended"], "rmse": [1, 1, 2, 0.5]}
    )
    gains = pd.DataFrame(
        {"low": [0.1, 0, -2], "high": [0.2, 0, -1], "n_test": 30},
        index=["mbl", "local", "rf_local"],
    )
    found = winners(scores, gains)
    assert found == {
        "lowest": ["local", "mbl"],
        "better": ["mbl"],
        "worse": ["rf_local"],
    }
    assert winners(scores, gains.assign(n_test=29)) == found | {
        "better": [],
        "worse": [],
    }


def test_best_plain_method_is_said_to_win_only_where_it_does():
    gains = pd.DataFrame({"rmse": [0.5, 0.4]}, index=["plsr_local", "local"])
    assert best_plain(gains) == "The best plain method, PLSR local, has 0.50 % SOC."
    gains.loc["plsr_local", "rmse"] = 0.4
    assert "smallest error of all" in best_plain(gains)
