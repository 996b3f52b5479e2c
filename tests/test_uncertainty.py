"""Repeated studies, and how sure their results are over samples and over sites."""

import math
import threading
import warnings
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.exceptions import ConvergenceWarning

from soilnb.baselines import fit_plsr
from soilnb.cnn import SMALL
from soilnb.datasets import load_site
from soilnb.study import (
    Case,
    Fits,
    Study,
    compare,
    over_sites,
    paired,
    plan_cases,
    prepare,
    repeat,
    sign_flip_test,
    smallest_p,
    unseen,
)
from soilnb.study import nested as nested_module
from soilnb.study import repeats as repeats_module

CASES = [
    Case("seeds", 1, 30),
    Case("seeds", 2, 30),
    Case("random_splits", 1, 30),
    Case("learning_curve", 1, 10),
]
SETTINGS = {"max_epochs": 60, "architecture": SMALL}


class Fitter:
    """Fits PLSR on the local samples as `local`, counts, and stops when told to."""

    def __init__(self, stop_at=None):
        self.studies, self.stop_at = [], stop_at

    def __call__(self, study):
        if len(self.studies) == self.stop_at:
            raise KeyboardInterrupt
        self.studies.append(study)
        fits = Fits(study)
        rows = study.samples("local")
        fits.fit("local", fit_plsr, *rows)
        fits.fit("plsr_local", fit_plsr, *rows, max_components=2)
        return fits


def run(file, study, fit, cases=CASES, settings=SETTINGS, **options):
    return repeat(study, cases, fit, file, settings=settings, **options)


def test_every_case_and_method_has_its_predictions_and_scores(tmp_path, skane):
    fit = Fitter()
    scores, predictions = run(tmp_path / "skane.parquet", skane, fit)
    assert scores[["kind", "seed", "n_local"]].drop_duplicates().values.tolist() == [
        ["seeds", 1, 30],
        ["seeds", 2, 30],
        ["random_splits", 1, 30],
        ["learning_curve", 1, 10],
    ]
    assert scores["n_test"].tolist() == [95, 95, 95, 95, 95, 95, 75, 75]
    assert len(predictions) == 2 * (3 * 95 + 75)
    expected, _ = fit(CASES[2].of(skane)).score("full")
    names = ["rmse", "mean_error", "ccc", "r2", "rpiq"]
    np.testing.assert_allclose(scores[names].iloc[4:6], expected[names], rtol=1e-12)
    assert (scores["seconds"] > 0).all()


def test_interrupted_repeats_go_on_and_repeat_nothing(tmp_path, skane, monkeypatch):
    monkeypatch.setattr(nested_module, "AT_ONCE", 1)
    file = tmp_path / "new folder" / "skane.parquet"
    first = Fitter(stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        run(file, skane, first)
    assert len(first.studies) == 2
    second, calls = Fitter(), []
    scores, predictions = run(
        file, skane, second, progress=lambda *call: calls.append(call)
    )
    made = [(study.seed, len(study.local)) for study in second.studies]
    assert made == [(1, 30), (1, 10)]
    assert calls == [
        (1, 2, "random splits: seed 1, 30 local samples"),
        (2, 2, "learning curve: seed 1, 10 local samples"),
    ]
    third = Fitter()
    again = run(file, skane, third)
    assert third.studies == []
    pd.testing.assert_frame_equal(again[1], predictions)
    monkeypatch.setattr(nested_module, "AT_ONCE", 3)  # in whatever order
    whole = run(tmp_path / "whole.parquet", skane, Fitter())
    columns = [name for name in scores if name != "seconds"]
    pd.testing.assert_frame_equal(scores[columns], whole[0][columns])
    assert [path.name for path in file.parent.iterdir()] == ["skane.parquet"]


def test_a_warning_that_one_case_ignores_is_ignored_in_all(
    tmp_path, skane, monkeypatch, recwarn
):
    """What a thread ignores ends with the `catch_warnings` of another thread."""
    monkeypatch.setattr(nested_module, "AT_ONCE", 2)
    begun, inside, ended = (threading.Event() for _ in range(3))

    def fit(study):
        is_first = study.seed == 1
        assert is_first or begun.wait(60)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            (begun if is_first else inside).set()
            if is_first:
                assert inside.wait(60)
            else:
                assert ended.wait(60)
                warnings.warn("at its bound", ConvergenceWarning, stacklevel=1)
        ended.set()
        return Fitter()(study)

    run(tmp_path / "skane.parquet", skane, fit, cases=CASES[:2])
    assert not [one for one in recwarn if one.category is ConvergenceWarning]


def test_cases_of_a_site_have_a_curve_where_it_is_large_enough(skane, monkeypatch):
    cases = plan_cases(skane, iter((3, 4)), (3,), (5, 10, 50))
    assert cases == [
        *(Case("seeds", seed, 30) for seed in (3, 4)),
        *(Case("random_splits", seed, 30) for seed in (3, 4)),
        *(Case("learning_curve", 3, n) for n in (10, 50)),
    ]
    # A curve is tested on the same samples.
    studies = [Case("learning_curve", 1, n).of(skane) for n in (10, 50)]
    assert studies[0].test.tolist() == studies[1].test.tolist()
    assert studies[0].local.tolist() == studies[1].local[:10].tolist()
    monkeypatch.setattr(repeats_module, "CURVE_SITE_MIN", 126)
    assert plan_cases(skane, (3, 4), (3,), (10, 50)) == cases[:4]


def test_samples_that_a_search_has_seen_are_left_out(skane):
    ids = skane.site.info["sample_id"].to_numpy()
    parts = {1: [*skane.local, *skane.test[:5]], 2: [*skane.local, *skane.test[:4]]}
    table = pd.concat(
        pd.DataFrame({"sample_id": ids[rows], "measured": skane.site.soc[rows]}).assign(
            kind="random_splits", n_local=30, seed=seed, method=method
        )
        for seed, rows in parts.items()
        for method in ("local", "mbl")
    )
    left = unseen(skane, table)
    assert left["seed"].unique().tolist() == [1]
    assert left["sample_id"].tolist() == 2 * ids[skane.test[:5]].tolist()
    assert unseen(skane, table.assign(measured=2.0)).empty


def test_case_whose_local_samples_have_one_soc_is_left_out(tmp_path, skane):
    soc = skane.site.soc.copy()
    soc[CASES[2].of(skane).local] = 2.0  # of the random split of seed 1
    flat = replace(skane, site=replace(skane.site, soc=soc))
    scores, _ = run(tmp_path / "skane.parquet", flat, Fitter())
    assert list(dict.fromkeys(scores["kind"])) == ["seeds", "learning_curve"]
    with pytest.raises(ValueError, match="must hold one whose samples differ in SOC"):
        run(tmp_path / "none.parquet", flat, Fitter(), cases=CASES[2:3])


def test_more_cases_are_added_and_only_those_asked_for_are_returned(tmp_path, skane):
    file = tmp_path / "skane.parquet"
    run(file, skane, Fitter(), cases=CASES[:1])
    fit = Fitter()
    scores, _ = run(file, skane, fit, cases=[CASES[1], CASES[1]])
    assert [study.seed for study in fit.studies] == [2]
    assert set(scores["seed"]) == {2}
    fit = Fitter()
    run(file, skane, fit, cases=CASES[:2])
    assert fit.studies == []


@pytest.mark.parametrize(
    ("site", "settings", "message"),
    [
        ("skane", {"max_epochs": 40}, "other settings: max_epochs was 60, is 40"),
        ("vaud", {}, r"'some.parquet' holds another study"),
        ("", {}, r"'some.parquet' was not written by 'repeat'"),
    ],
)
def test_file_of_something_else_is_refused_and_not_overwritten(
    tmp_path, farms, skane, site, settings, message
):
    file = tmp_path / "some.parquet"
    if site:
        run(file, skane, Fitter(), cases=CASES[:1])
    else:
        pd.DataFrame({"a": [1]}).to_parquet(file)
    study = prepare(farms, load_site(site)) if site == "vaud" else skane
    before, fit = file.read_bytes(), Fitter()
    with pytest.raises(ValueError, match=message):
        run(file, study, fit, cases=CASES[:2], settings=SETTINGS | settings)
    assert fit.studies == []
    assert file.read_bytes() == before


def few(study):
    """The study, of whose samples 89 have SOC."""
    soc = study.site.soc.copy()
    soc[:36] = np.nan
    return replace(study, site=replace(study.site, soc=soc))


# RMSE of three methods at four sites with two seeds.
SCORES = pd.DataFrame(
    product(["a", "b", "c", "d"], [1, 2], ["local", "mbl", "rf_local"]),
    columns=["site", "seed", "method"],
).assign(rmse=np.random.default_rng(3).uniform(0.2, 1.0, 24))


def two_seeds():
    """Predictions of a site, by `local` with two seeds, by `mbl` with one."""
    first = table("a", 1, local=[1] * 4, mbl=[2] * 4)
    return pd.concat([first, table("a", 2, local=[1] * 4)])


# fmt: off
REFUSED = {
    "'settings' must hold plain values .* object":
        lambda study: run("a.parquet", study, Fitter(), settings={"a": object()}),
    "'cases' must hold at least one case":
        lambda study: run("a.parquet", study, Fitter(), cases=[]),
    "90 samples for a learning curve, got 89":
        lambda study: Case("learning_curve", 1, 10).of(few(study)),
    "Unknown kind 'seed'. Did you mean 'seeds'": lambda _: Case("seed", 1, 30),
    "of 'mbl' at 'a' .* got 4 rows for 8. Keep": lambda _: paired(two_seeds()),
    "'reference' must be one of mbl at 'a'":
        lambda _: paired(table("a", 1, mbl=[1] * 4)),
    "'predictions' must have the column 'site'":
        lambda _: paired(two_seeds().drop(columns="site")),
    "'rmse' must be above 0, got 0": lambda _: over_sites(SCORES.assign(rmse=0.0)),
    "two of 'local' at 'a' with seed 1":
        lambda _: over_sites(pd.concat([SCORES, SCORES[:1]])),
    "'reference' must be one of mbl, rf_":
        lambda _: over_sites(SCORES.query("method != 'local'")),
    "must have the column 'seed', got":
        lambda _: over_sites(SCORES.drop(columns="seed")),
    "'scores' must have at least one row, got none":
        lambda _: over_sites(SCORES[:0]),
    "'n_sites' must be at least 1, got 0": lambda _: smallest_p(0),
}
# fmt: on


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_repeated_or_compared_is_refused(skane, message):
    with pytest.raises((ValueError, TypeError), match=message):
        REFUSED[message](skane)


@pytest.mark.parametrize("name", ["skane", "vaud"])
def test_case_is_the_study_that_would_have_been_prepared(farms, tmp_path, name):
    site = load_site(name)
    prepare(farms, site, n_local=20, seed=5, split="random").save(tmp_path)
    study = Study.load(tmp_path)  # as a step finds it
    expected = {
        Case("seeds", 3, 30): prepare(farms, site, seed=3),
        Case("random_splits", 2, 40): prepare(
            farms, site, n_local=40, seed=2, split="random"
        ),
    }
    if name == "skane":
        most = prepare(farms, site, n_local=50, seed=4)
        expected[Case("learning_curve", 4, 10)] = most.first_local(10)
    for case, prepared in expected.items():
        found = case.of(study)
        assert found.fingerprint == prepared.fingerprint
        assert sorted(found.notes) == sorted(prepared.notes)
        np.testing.assert_array_equal(found.country_folds, prepared.country_folds)


def table(site, seed, **errors):
    """Predictions of four samples at a site, with these errors of each method."""
    measured = np.array([1.0, 2.0, 3.0, 4.0])
    return pd.concat(
        pd.DataFrame(
            {
                "site": site,
                "seed": seed,
                "method": method,
                "sample_id": list("abcd"),
                "measured": measured,
                "predicted": measured + np.asarray(values),
            }
        )
        for method, values in errors.items()
    )


def test_paired_gain_of_one_seed_is_that_of_compare():
    rng = np.random.default_rng(1)
    one = table("a", 1, local=rng.normal(size=4), mbl=rng.normal(size=4))
    expected = compare(one).reset_index()
    gains = paired(one)
    pd.testing.assert_frame_equal(gains[list(expected)], expected)
    assert gains[["site", "n_test", "n_seeds"]].values.tolist() == [["a", 4, 1]] * 2


def test_seeds_are_averaged_sample_by_sample_before_the_bootstrap():
    # Local: squared errors 1 and 9 over the seeds, mean 5 for every sample; mbl: 4.
    both = pd.concat(
        [
            table("a", 1, local=[1, -1, 1, -1], mbl=[2, 2, 2, 2]),
            table("a", 2, local=[3, -3, 3, -3], mbl=[-2, -2, 2, 2]),
        ]
    )
    mbl = paired(both).set_index("method").loc["mbl"]
    assert mbl["rmse"] == pytest.approx(2)
    gain = np.sqrt(5) - 2
    np.testing.assert_allclose(mbl[["gain", "low", "high"]].astype(float), gain)
    assert mbl["delta_rmse"] == pytest.approx(100 * gain / np.sqrt(5))
    assert (mbl["n_test"], mbl["n_seeds"]) == (4, 2)


def test_five_copies_of_the_same_seed_do_not_narrow_the_interval():
    rng = np.random.default_rng(2)
    errors = {"local": rng.normal(size=4), "mbl": rng.normal(size=4)}
    once = paired(table("a", 1, **errors))
    often = paired(pd.concat(table("a", seed, **errors) for seed in range(1, 6)))
    columns = ["rmse", "gain", "low", "high"]
    np.testing.assert_allclose(often[columns], once[columns])


def test_sites_and_sizes_are_compared_apart():
    parts = [
        table("a", 1, local=[1, 1, 1, 1], mbl=[2, 2, 2, 2]).assign(n_local=10),
        table("a", 1, local=[1, 1, 1, 1], mbl=[1, 1, 1, 1]).assign(n_local=30),
        table("b", 1, local=[3, 3, 3, 3], mbl=[1, 1, 1, 1]).assign(n_local=10),
    ]
    gains = paired(pd.concat(parts))
    gains = gains[gains["method"] == "mbl"]
    found = gains[["site", "n_local", "gain"]].values.tolist()
    assert found == [["a", 10, -1], ["a", 30, 0], ["b", 10, 2]]


def test_ratio_over_sites_agrees_with_numpy_and_scipy():
    cube = SCORES["rmse"].to_numpy().reshape(4, 2, 3)  # site, seed, method
    by_site = np.log(cube[:, :, 2] / cube[:, :, 0]).mean(axis=1)
    row = over_sites(SCORES).set_index("method").loc["rf_local"]
    assert row["ratio"] == pytest.approx(np.exp(by_site.mean()))
    interval = stats.ttest_1samp(by_site, 0).confidence_interval(0.95)
    assert row["low"] == pytest.approx(np.exp(interval.low))
    assert row["high"] == pytest.approx(np.exp(interval.high))
    assert row["n_sites"] == 4
    assert row["n_better"] == (by_site < 0).sum()
    assert row["p_value"] == pytest.approx(sign_flip_test(by_site))
    assert row["smallest_p"] == 0.125


def test_site_counts_once_however_many_seeds_it_has():
    more = SCORES[SCORES["site"] == "a"].assign(seed=lambda part: part["seed"] + 2)
    again = over_sites(pd.concat([SCORES, more]))
    np.testing.assert_allclose(again["ratio"], over_sites(SCORES)["ratio"])
    assert set(again["n_sites"]) == {4}


def test_halving_and_doubling_cancel():
    rows = [("a", "local", 1.0), ("a", "mbl", 0.5), ("b", "local", 0.3)]
    rows.append(("b", "mbl", 0.6))
    frame = pd.DataFrame(rows, columns=["site", "method", "rmse"]).assign(seed=1)
    row = over_sites(frame).iloc[0]
    assert row["ratio"] == pytest.approx(1)
    assert row["p_value"] == 1


def test_method_that_a_site_lacks_has_fewer_sites():
    lacking = (SCORES["site"] == "b") & (SCORES["method"] == "mbl")
    sites = over_sites(SCORES[~lacking]).set_index("method")["n_sites"]
    assert sites.to_dict() == {"mbl": 3, "rf_local": 4}
    # One site has no interval, and a p-value of one.
    row = over_sites(SCORES[SCORES["site"] == "a"]).iloc[0]
    assert np.isnan([row["low"], row["high"]]).all()
    assert row["p_value"] == row["smallest_p"] == 1


def test_numbers_of_local_samples_are_summarised_apart():
    fewer = SCORES.assign(n_local=10, rmse=SCORES["rmse"] ** 2)
    both = over_sites(pd.concat([SCORES.assign(n_local=30), fewer]))
    assert both["n_local"].tolist() == [30, 30, 10, 10]
    np.testing.assert_allclose(both["ratio"][2:], both["ratio"][:2] ** 2)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_values", [2, 5, 9])
def test_sign_flip_p_value_is_the_share_of_all_patterns(n_values, seed):
    values = np.random.default_rng(seed).normal(0.4, 1, n_values)
    signs = np.array(list(product([1, -1], repeat=n_values)))
    as_far = np.abs(signs @ values) >= abs(values.sum()) * (1 - 1e-12)
    assert sign_flip_test(values) == pytest.approx(as_far.mean())


def test_sign_flip_by_hand():
    # The sums of +-1, +-1 and +-4 are 6, 4, 4, 2 and their negatives: six of the eight
    # are as far from zero as 1 - 1 + 4.
    assert sign_flip_test([1, -1, 4]) == 6 / 8
    assert sign_flip_test([0.1, 0.2, 0.3, 0.1]) == 2 / 16
    assert sign_flip_test([0.0, 0.0]) == 1
    values = [0.1, 0.2, 0.3, -0.4, 0.7]  # many sums are equal but for rounding
    orders = [np.random.default_rng(seed).permutation(values) for seed in range(20)]
    assert len({sign_flip_test(order) for order in orders}) == 1


@pytest.mark.parametrize("n_sites", range(1, 13))
def test_no_sites_that_all_agree_go_below_the_smallest_p(n_sites):
    assert sign_flip_test(np.arange(1, n_sites + 1)) == smallest_p(n_sites)


def test_many_values_are_sampled_and_close_to_the_exact_p_value():
    values = np.tile([1.0, -1.0, 1.0], 7)  # 7 of 21 are -1: |sum| >= 7
    as_far = sum(math.comb(21, k) for k in range(22) if abs(21 - 2 * k) >= 7)
    assert sign_flip_test(values) == pytest.approx(as_far / 2**21, rel=0.03)
