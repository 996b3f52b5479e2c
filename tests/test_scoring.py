"""Finished models compared in pairs, on the same test samples."""

import numpy as np
import pandas as pd
import pytest

from soilnb.study import best_plain, change, compare, scoring, verdict, winners


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
    ids = {"sample_id": range(100), "measured": np.arange(100.0)}
    frames = [
        pd.DataFrame({"method": name, **ids, "predicted": ids["measured"] + errors})
        for name, errors in zip(
            ("local", "global"), rng.normal(size=(2, 100)), strict=True
        )
    ]
    table = compare(pd.concat(frames))
    assert table.loc["local", ["gain", "low", "high"]].tolist() == [0, 0, 0]
    assert table.loc["global", "low"] < 0 < table.loc["global", "high"]
    with pytest.raises(ValueError, match="'reference' must be one of global"):
        compare(frames[1])


@pytest.mark.parametrize(
    ("low", "high", "n_test", "words"),
    [
        (0.01, 0.2, 30, "was better"),
        (-0.2, -0.01, 30, "was worse"),
        (-0.1, 0.1, 30, "cannot tell"),
        # At 29 the interval is too narrow to believe, whatever it says.
        (0.01, 0.2, 29, "29 test samples: so few cannot tell DTL-I and local mo"),
    ],
)
def test_verdict_follows_the_interval(low, high, n_test, words):
    gain = pd.Series({"low": low, "high": high, "n_test": n_test})
    assert words in verdict(gain, "DTL-I")


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


def test_winners_are_named_where_there_are_samples_enough():
    names = ["mbl", "local", "rf_local"]
    scores = pd.DataFrame({"method": [*names, "recommended"], "rmse": [1, 1, 2, 0.5]})
    ends = {"low": [0.1, 0, -2], "high": [0.2, 0, -1], "n_test": 30}
    gains = pd.DataFrame(ends, index=names)
    lowest = {"lowest": ["local", "mbl"]}
    sure = {"better": ["mbl"], "worse": ["rf_local"]}
    assert winners(scores, gains) == lowest | sure
    none = {"better": [], "worse": []}
    assert winners(scores, gains.assign(n_test=29)) == lowest | none


def test_best_plain_methods_are_named_with_and_without_the_library():
    rmse = [0.7, 0.5, 0.45, 0.4]
    names = ["null_model", "plsr_local", "plsr_rs_local", "local"]
    gains = pd.DataFrame({"rmse": rmse}, index=names)
    # The null model uses neither spectra nor a library; RS-LOCAL takes the library.
    assert best_plain(gains) == (
        "The best plain method: with local samples only it is PLSR local (0.50 % SOC), "
        "with the library it is PLSR, RS-LOCAL (0.45 % SOC)."
    )
    gains.loc["plsr_local", "rmse"] = 0.4
    assert "no network has a smaller error" in best_plain(gains)


def test_change_is_said_with_a_verb_and_without_a_sign():
    assert change(11.62) == "lowers the error of the local network by 11.6 %"
    assert change(-11.62) == "raises the error of the local network by 11.6 %"
    assert change(-0.04) == "leaves the error of the local network as it is"


def test_verdict_of_several_seeds_says_how_many():
    gain = pd.Series({"low": 0.1, "high": 0.2, "n_test": 40, "n_seeds": 5})
    words = "Over 5 seeds DTL-I was better than local modelling"
    assert verdict(gain, "DTL-I").startswith(words)
    assert "another split may differ" in verdict(gain, "DTL-I")
