"""The answer for a farm: what is hidden, what the draw tells, and what is answered."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from soilnb.datasets import load_site, read_file
from soilnb.sampling import estimate_mean, stock
from soilnb.selection import draw_samples
from soilnb.study import (
    Study,
    blend,
    cv_plus,
    estimate_farm,
    estimate_samples,
    find_domain,
    make_farm,
    nested_predictions,
    prepare,
    repeat_draws,
    summarise_farm,
)
from soilnb.study.draws import score_draw
from soilnb.study.farm import N_NEXT

QUICK = ("null_model", "plsr_one_se")  # nothing is trained
OPTIONS = {"wavelength_range": (1000, 2400)}


@pytest.fixture(scope="module")
def skane(farms):
    """A site that is measured throughout, 125 samples."""
    return prepare(farms, load_site("skane"), **OPTIONS)


@pytest.fixture(scope="module")
def draw(skane):
    return draw_samples(skane.X_site, 30, seed=1)


@pytest.fixture(scope="module")
def by_file(skane, farms):
    """A factory of studies of skane whose SOC comes from a file of measured samples.

    ``by_file(draw, change)`` has the SOC of the drawn rows and what the draw says of
    them, after ``change(info, soc)``, which alters them in place.
    """
    site = load_site("skane")
    np.testing.assert_array_equal(site.info["sample_id"], skane.site.info["sample_id"])

    def make(draw, change=None):
        n, rows = len(site), draw["row"].to_numpy()
        soc = np.full(n, np.nan)
        soc[rows] = site.soc[rows]
        told = draw.set_index("row").reindex(range(n))
        info = site.info.assign(
            design=told["design"].fillna("").astype(str),
            stratum=told["stratum"].astype("Int64"),
            inclusion_probability=told["inclusion_probability"],
        )
        if change is not None:
            change(info, soc)
        return prepare(farms, replace(site, soc=soc, info=info), **OPTIONS)

    return make


def answer(farm, **options):
    """Estimates of every sample by the blend of quick candidates."""
    mix = blend(nested_predictions(farm.study, {}, {}, candidates=QUICK))
    return estimate_samples(farm, mix, **options)


@pytest.fixture(scope="module")
def farm(skane):
    return make_farm(skane)


@pytest.fixture(scope="module")
def table(farm):
    return answer(farm)


def test_a_farm_keeps_the_soc_of_thirty_and_hides_the_rest(skane, farm):
    study = farm.study
    assert len(study.local) == 30
    assert sorted([*study.local, *study.test]) == list(range(125))
    expected = np.full(125, np.nan)
    expected[study.local] = skane.site.soc[study.local]
    np.testing.assert_array_equal(study.site.soc, expected)
    ids = skane.site.info["sample_id"].to_numpy()
    assert farm.truth.index.tolist() == ids[study.test].tolist()
    np.testing.assert_array_equal(farm.truth, skane.site.soc[study.test])
    # The study it was made from still has all SOC.
    assert np.isfinite(skane.site.soc).all()


@pytest.mark.parametrize("design", ["stratified", "random", "kennard_stone"])
def test_the_draw_of_a_site_measured_throughout_is_that_of_draw_samples(skane, design):
    drawn = draw_samples(skane.X_site, 30, design=design, seed=4)
    farm = make_farm(skane, design=design, seed=4)
    np.testing.assert_array_equal(farm.study.local, drawn["row"])
    np.testing.assert_array_equal(farm.draw.rows, drawn["row"])
    assert farm.draw.design == design
    assert (farm.study.seed, len(farm.draw.certain)) == (skane.seed, 0)
    if design == "stratified":
        # 125 = 15 * 8 + 5: five strata of nine and ten of eight.
        assert sorted(farm.draw.stratum_sizes.values()) == [8] * 10 + [9] * 5
        np.testing.assert_array_equal(farm.draw.strata, drawn["stratum"])
    else:
        assert farm.draw.stratum_sizes == {0: 125}


def test_absurd_soc_of_hidden_samples_changes_no_estimate(skane, farm, table):
    soc = skane.site.soc.copy()
    soc[farm.study.test] = np.linspace(60, 90, len(farm.study.test))
    spoilt = make_farm(skane.with_split(site=replace(skane.site, soc=soc)))
    pd.testing.assert_frame_equal(answer(spoilt), table, check_exact=True)
    assert spoilt.truth.min() == 60


def test_samples_that_a_file_measures_are_local_and_all_others_test(by_file, draw):
    study = by_file(draw)
    farm = make_farm(study)
    np.testing.assert_array_equal(farm.study.local, np.sort(draw["row"]))
    np.testing.assert_array_equal(
        farm.study.test, np.setdiff1d(np.arange(125), draw["row"])
    )
    assert farm.truth.empty
    assert farm.notes == ()
    assert farm.study.local_folds.max() == 9
    # As many in each stratum as the draw has found there.
    direct = draw.set_index("row")
    assert farm.draw.design == "stratified"
    np.testing.assert_array_equal(
        farm.draw.strata, direct.loc[farm.draw.rows, "stratum"]
    )
    sizes = (2 / direct.groupby("stratum")["inclusion_probability"].first()).round()
    assert farm.draw.stratum_sizes == sizes.to_dict()


def test_the_answer_is_the_same_by_file_as_by_hiding(by_file, draw, farm):
    # But for the folds, which follow the order of the rows, all is the same.
    filed = make_farm(by_file(draw))
    y = filed.study.site.soc
    expected = estimate_mean(farm.draw, farm.study.site.soc)
    assert vars(estimate_mean(filed.draw, y)) == pytest.approx(vars(expected))


def test_samples_without_result_are_dropped_and_their_stratum_joined(by_file, draw):
    lost = draw["row"].to_numpy()[0]
    stratum = int(draw["stratum"][0])

    def lose(info, soc):
        soc[lost] = np.nan

    farm = make_farm(by_file(draw, lose))
    assert lost in farm.study.test
    assert lost not in farm.draw.rows
    assert farm.draw.n_drawn == 29
    assert farm.notes[0] == "1 samples of the draw came back without SOC."
    assert farm.notes[1].startswith(f"Stratum {stratum} has fewer than two values: jo")
    sizes, before = farm.draw.stratum_sizes, make_farm(by_file(draw)).draw
    assert len(sizes) == 14
    assert sum(sizes.values()) == 125
    target = int(farm.notes[1].rstrip(".").rsplit(" ", 1)[1])
    assert stratum not in sizes
    former = before.stratum_sizes
    assert sizes[target] == former[stratum] + former[target]
    assert np.sum(farm.draw.strata == target) == 3
    assert farm.draw.is_probability

    # A row of the file left out is one that did not come back.
    def leave_out(info, soc):
        lose(info, soc)
        info.loc[lost, "design"] = ""

    left_out = make_farm(by_file(draw, leave_out))
    assert left_out.draw.stratum_sizes == sizes
    assert left_out.notes == farm.notes


def test_strata_are_joined_until_every_one_has_two(by_file, draw):
    # One sample of each stratum came back, or of one stratum none.
    of_first = draw.loc[draw["stratum"] == draw["stratum"][0], "row"]
    for lost in (draw["row"][15:], of_first):

        def lose(info, soc, lost=lost):
            soc[lost] = np.nan

        farm = make_farm(by_file(draw, lose))
        _, counts = np.unique(farm.draw.strata, return_counts=True)
        assert counts.min() >= 2
        assert counts.sum() == 30 - len(lost)
        assert sum(farm.draw.stratum_sizes.values()) == 125
        assert farm.draw.is_probability


def test_samples_measured_beside_the_draw_are_known_by_value(by_file, draw, skane):
    extra = np.setdiff1d(np.arange(125), draw["row"])[[3, 50]]

    def add(info, soc):
        soc[extra] = [20.0, 30.0]

    farm, plain = make_farm(by_file(draw, add)), make_farm(by_file(draw))
    assert set(extra) < set(farm.study.local)
    assert farm.draw.certain.tolist() == extra.tolist()
    assert not set(extra) & set(farm.draw.rows)
    assert "2 measured samples are not of the draw" in farm.notes[0]
    assert sum(farm.draw.stratum_sizes.values()) == 123
    # Each is taken out of the stratum of its nearest drawn spectrum.
    smaller = dict(plain.draw.stratum_sizes)
    for row in extra:
        gaps = np.linalg.norm(skane.X_site[draw["row"]] - skane.X_site[row], axis=1)
        smaller[int(draw["stratum"][gaps.argmin()])] -= 1
    assert farm.draw.stratum_sizes == smaller
    # In no residual: the mean of the others, 123 of 125, and the two values.
    y = farm.study.site.soc
    found = estimate_mean(farm.draw, y).mean
    weights = pd.Series(farm.draw.strata).map(farm.draw.stratum_sizes) / 123
    counts = pd.Series(farm.draw.strata).value_counts()
    weights /= pd.Series(farm.draw.strata).map(counts)
    assert found == pytest.approx((weights @ y[farm.draw.rows] * 123 + 50.0) / 125)
    spread = estimate_mean(plain.draw, plain.study.site.soc).standard_error
    assert estimate_mean(farm.draw, y).standard_error < 1.1 * spread


def test_intervals_rest_on_the_samples_of_the_draw(by_file, draw):
    extra = np.setdiff1d(np.arange(125), draw["row"])[:3]

    def add(info, soc):
        soc[extra] = 4.0

    farm = make_farm(by_file(draw, add))
    study = farm.study
    mix = blend(nested_predictions(study, {}, {}, candidates=QUICK))
    table = estimate_samples(farm, mix)
    is_drawn = ~np.isin(study.local, extra)
    residuals = study.samples("local").y - mix.local
    expected = cv_plus(
        residuals[is_drawn], study.local_folds[is_drawn], mix.test, level=0.9
    )
    np.testing.assert_allclose(table.loc[study.test, "lower"], expected[0])
    np.testing.assert_allclose(table.loc[study.test, "upper"], expected[1])
    unlike = find_domain(study, np.sort(draw["row"]))
    np.testing.assert_array_equal(
        table.loc[study.test, "in_domain"], unlike["in_domain"]
    )


def test_measured_samples_of_a_file_that_tells_nothing_are_unknown(by_file, draw):
    def forget(info, soc):
        for column in ("design", "stratum", "inclusion_probability"):
            del info[column]

    study = by_file(draw, forget)
    assert make_farm(study).draw.design == "unknown"
    # Who knows that it was a simple random draw may say so.
    farm = make_farm(study, design="random")
    assert farm.draw.design == "random"
    assert farm.draw.stratum_sizes == {0: 125}
    assert farm.draw.is_probability
    with pytest.raises(ValueError, match="'stratified' only with the strata of the"):
        make_farm(study, design="stratified")


@pytest.mark.parametrize("design", ["stratified", "random"])
def test_a_study_that_was_saved_is_the_same_farm(by_file, skane, tmp_path, design):
    drawn = draw_samples(skane.X_site, 30, design=design, seed=2)
    study = by_file(drawn)
    study.save(tmp_path)
    first, second = make_farm(study), make_farm(Study.load(tmp_path))
    assert first.draw.design == design
    assert first.draw.rows.tolist() == sorted(drawn["row"])
    assert first.draw.stratum_sizes == second.draw.stratum_sizes
    assert (first.draw.stratum_sizes == {0: 125}) == (design == "random")
    np.testing.assert_array_equal(second.draw.strata, first.draw.strata)
    np.testing.assert_array_equal(second.study.local_folds, first.study.local_folds)


@pytest.mark.parametrize("is_hidden", [False, True])
def test_the_answer_counts_soils_and_not_their_scans(farms, tmp_path, is_hidden):
    site, path = load_site("skane").take(np.arange(50)), tmp_path / "scans.csv"
    rng = np.random.default_rng(6)
    rows = np.repeat(np.arange(50), 5)
    bands = [f"{nm:g}" for nm in site.wavelengths]
    bent = 1 + 0.01 * rng.normal(size=(250, 1)) * site.wavelengths / 1000
    scans = site.reflectance[rows] * bent * rng.normal(1, 0.002, (250, 1))
    table = pd.DataFrame(scans, columns=bands)
    table.insert(0, "sample_id", [f"S{row}_{n % 5}" for n, row in enumerate(rows)])
    table.insert(
        1, "soc", np.where(rows < (50 if is_hidden else 20), site.soc[rows], np.nan)
    )
    table.to_csv(path, index=False)
    means = []
    for replicates in ("average", "separate"):
        scanned = read_file(path, soc_unit="%", replicates=replicates)
        study = prepare(farms, scanned, **OPTIONS)
        assert len(study.site) == (250 if replicates == "separate" else 50)
        farm = make_farm(study, design="random")
        estimates = answer(farm)
        assert sorted(estimates["sample_id"]) == sorted(f"S{n}" for n in range(50))
        assert farm.draw.n_population == 50
        means.append(estimate_farm(farm, estimates))
    average, separate = means
    counted = ["n_samples", "n_measured", "design"]
    assert separate[counted].equals(average[counted])
    assert separate["n_measured"].tolist() == [30 if is_hidden else 20] * 2
    numbers = ["mean", "lower", "upper", "lab_mean", "lab_lower", "lab_upper"]
    np.testing.assert_allclose(separate[numbers], average[numbers], rtol=0.02)


def test_a_design_against_the_file_is_refused(by_file, draw):
    study = by_file(draw)
    assert make_farm(study, design="stratified").draw.design == "stratified"
    for design in ("random", "kennard_stone", "unknown"):
        with pytest.raises(ValueError, match=f"be 'stratified', as .*, got {design!r}"):
            make_farm(study, design=design)
    with pytest.raises(ValueError, match="Unknown design 'stratifed'"):
        make_farm(study, design="stratifed")


def test_a_few_scans_more_or_less_are_not_refused(by_file, draw):
    def change(info, soc):
        info["inclusion_probability"] *= 0.97  # as of a draw from 129 scans

    draw = make_farm(by_file(draw, change)).draw
    assert sum(draw.stratum_sizes.values()) == 125


def scale(factor):
    def change(info, soc, rows):
        info["inclusion_probability"] *= factor

    return change


def lack(column):
    def change(info, soc, rows):
        info.loc[rows[:4], column] = None

    return change


def to_random(info, soc, rows):
    info.loc[rows, "design"] = "random"


def to_one_stratum(info, soc, rows):
    info.loc[rows[:6], "stratum"] = 1


def lose_all_but(n_back):
    def change(info, soc, rows):
        soc[rows[n_back:]] = np.nan
        others = np.setdiff1d(np.arange(125), rows)[:12]
        soc[others] = load_site("skane").soc[others]

    return change


@pytest.mark.parametrize(
    ("design", "change", "message"),
    [
        ("stratified", scale(0.5), "125 scans of 'skane', got .* 250. Give"),
        ("stratified", scale(2.5), "125 scans of 'skane', got .* 50. Give"),
        ("random", scale(0.5), "125 scans of 'skane', got .* 250. Give"),
        ("random", scale(2.5), "125 scans of 'skane', got .* 50. Give"),
        (
            "stratified",
            lack("inclusion_probability"),
            r"probability of each .* got 4 of 30 without",
        ),
        ("stratified", lack("stratum"), r"stratum and .* got 4 of 30 without"),
        ("stratified", to_random, "no stratum for the samples of a random draw"),
        ("stratified", to_one_stratum, "two samples of one inclusion probability"),
        ("stratified", lose_all_but(0), "at least 2 samples .*, got 0 of 30"),
        ("stratified", lose_all_but(1), "at least 2 samples .*, got 1 of 30"),
    ],
)
def test_a_file_that_does_not_fit_its_draw_is_refused(
    by_file, skane, design, change, message
):
    drawn = draw_samples(skane.X_site, 30, design=design, seed=1)
    rows = drawn["row"].to_numpy()
    study = by_file(drawn, lambda info, soc: change(info, soc, rows))
    with pytest.raises(ValueError, match=message):
        make_farm(study)


def test_fewer_than_ten_measured_samples_are_refused(skane, by_file, draw):
    soc = skane.site.soc.copy()
    soc[9:] = np.nan
    few = skane.with_split(site=replace(skane.site, soc=soc))
    with pytest.raises(ValueError, match=r"at least 10 measured samples, got 9. Cho"):
        make_farm(few)

    def lose(info, soc):
        soc[draw["row"][10:]] = np.nan

    farm = make_farm(by_file(draw, lose))
    assert (len(farm.study.local), farm.study.n_folds) == (10, 10)
    table = answer(farm)
    assert np.isfinite(table["estimate"]).all()
    assert np.isfinite(table.loc[farm.study.test, ["lower", "upper"]]).all(axis=None)


def test_table_has_a_row_per_sample_of_the_site(farm, table):
    assert list(table) == [
        *["sample_id", "soc", "estimate", "lower", "upper", "level", "in_domain"],
        *["reason", "next", "latitude", "longitude", "easting", "northing"],
    ]
    study = farm.study
    assert table["sample_id"].tolist() == study.site.info["sample_id"].tolist()
    np.testing.assert_array_equal(table["soc"], study.site.soc)
    assert np.isfinite(table["estimate"]).all()
    measured, rest = table.loc[study.local], table.loc[study.test]
    assert measured[["lower", "upper"]].isna().all(axis=None)
    assert (rest["lower"] <= rest["estimate"]).all()
    assert (rest["estimate"] <= rest["upper"]).all()
    assert (table["level"] == 0.9).all()
    assert measured["in_domain"].all()
    assert (measured["reason"] == "").all()
    assert (rest.loc[~rest["in_domain"], "reason"] != "").all()


def test_estimates_are_those_of_the_blend(farm, table):
    mix = blend(nested_predictions(farm.study, {}, {}, candidates=QUICK))
    np.testing.assert_array_equal(table.loc[farm.study.local, "estimate"], mix.local)
    np.testing.assert_array_equal(table.loc[farm.study.test, "estimate"], mix.estimates)


def test_next_are_those_outside_then_the_widest_intervals(farm, table):
    chosen = table[table["next"].notna()].sort_values("next")
    assert chosen["next"].tolist() == list(range(1, N_NEXT + 1))
    assert chosen["soc"].isna().all()
    rest = table.loc[farm.study.test]
    outside = rest.index[~rest["in_domain"]]
    assert 0 < len(outside) < N_NEXT  # so that both kinds show
    assert set(chosen.index[: len(outside)]) == set(outside)
    distance = find_domain(farm.study)["distance"].set_axis(farm.study.test)
    assert distance[chosen.index[: len(outside)]].is_monotonic_decreasing
    inside = chosen.iloc[len(outside) :]
    width = (rest["upper"] - rest["lower"])[rest["in_domain"]]
    assert width[inside.index].tolist() == width.nlargest(len(inside)).tolist()
    assert (inside["reason"] == "wide interval").all()
    others = table[table["next"].isna() & table["in_domain"]]
    assert (others["reason"] == "").all()


def test_with_too_few_samples_there_is_no_interval_but_a_list_of_next(by_file, draw):
    def lose(info, soc):
        soc[draw["row"][12:]] = np.nan

    farm = make_farm(by_file(draw, lose))
    table = answer(farm, level=0.95)  # needs 19
    assert table[["lower", "upper"]].isna().all(axis=None)
    assert np.isfinite(table["estimate"]).all()
    assert table["next"].max() == N_NEXT
    inside = table["next"].notna() & table["in_domain"]
    # What does not exist is not wide.
    assert set(table.loc[inside, "reason"]) == {"least like the measured spectra"}
    distance = find_domain(farm.study)["distance"].set_axis(farm.study.test)
    chosen = table["next"].dropna().sort_values().index
    assert chosen.tolist() == distance.nlargest(N_NEXT).index.tolist()
    assert np.isfinite(answer(farm).loc[farm.study.test, "upper"]).all()  # needs 9


def test_a_higher_level_has_wider_intervals(farm, table):
    wide = answer(farm, level=0.95).loc[farm.study.test]
    narrow = table.loc[farm.study.test]
    assert (wide["upper"] >= narrow["upper"]).all()
    assert wide["upper"].mean() > narrow["upper"].mean()
    with pytest.raises(ValueError, match=r"'level' must be between 0.5 and 0.99, got"):
        answer(farm, level=90)


def test_mean_and_stock_are_those_of_sampling(farm, table):
    found = estimate_farm(farm, table, bulk_density=1.3, depth_cm=25)
    assert found["population"].tolist() == ["scans", "field"]
    for _, row in found.iterrows():
        population = row["population"]
        options = {"population": population}
        both = estimate_mean(farm.draw, table["soc"], table["estimate"], **options)
        alone = estimate_mean(farm.draw, table["soc"], **options)
        assert (row["mean"], row["lower"]) == (both.mean, both.lower)
        assert (row["lab_mean"], row["lab_upper"]) == (alone.mean, alone.upper)
        half_width = both.upper - both.mean
        assert row["relative_error"] == pytest.approx(100 * half_width / both.mean)
        ends = stock(both.mean, both.standard_error, 1.3, 25, degrees_of_freedom=15)
        assert tuple(row[["stock", "stock_lower", "stock_upper"]]) == ends
        assert (row["n_samples"], row["n_measured"]) == (125, 30)
        assert row["design"] == "stratified"
    assert found["relative_error"][1] > found["relative_error"][0]  # of the field
    assert estimate_farm(farm, table)["stock"].isna().all()
    with pytest.raises(ValueError, match="'depth_cm' must be given for a stock"):
        estimate_farm(farm, table, bulk_density=1.3)


def test_no_interval_of_the_mean_without_chance_in_the_draw(skane, by_file, draw):
    def forget(info, soc):
        info["design"] = ""

    for farm in (
        make_farm(skane, design="kennard_stone"),
        make_farm(by_file(draw, forget)),
    ):
        mix = blend(nested_predictions(farm.study, {}, {}, candidates=QUICK))
        table = estimate_samples(farm, mix)
        found = estimate_farm(farm, table, bulk_density=1.3, depth_cm=25)
        ends = ["lower", "upper", "lab_lower", "lab_upper", "relative_error"]
        assert found[[*ends, "stock_lower", "stock_upper"]].isna().all(axis=None)
        assert np.isfinite(found[["mean", "lab_mean", "stock"]]).all(axis=None)
        told = summarise_farm(farm, mix, found)
        assert np.isfinite([told["nested_rmse"], told["library_weight"]]).all()
        assert np.isnan([told["n_alone"], told["n_more"]]).all()


def test_summary_worked_by_hand(skane):
    farm = make_farm(skane, design="random", seed=3)
    mix = blend(nested_predictions(farm.study, {}, {}, candidates=QUICK))
    table = estimate_farm(farm, estimate_samples(farm, mix))
    found = summarise_farm(farm, mix, table, target=5.0)
    y = farm.study.samples("local").y
    assert found["nested_rmse"] == pytest.approx(np.sqrt(np.mean((mix.local - y) ** 2)))
    assert found["library_weight"] == 0  # no candidate has used it
    mean, upper = table.loc[0, ["mean", "upper"]]

    def half_width(n, spread):
        return t.ppf(0.975, n - 1) * spread * np.sqrt((1 - n / 125) / n)

    n, spread = found["n_alone"], y.std(ddof=1)
    assert half_width(n, spread) <= upper - mean < half_width(n - 1, spread)
    # As many drawn and predicted alike: residuals' spread, from the half-width of 30.
    spread = (upper - mean) / half_width(30, 1.0)
    n = 30 + found["n_more"]
    assert half_width(n, spread) <= 0.05 * mean < half_width(n - 1, spread)
    # 30 are enough for a loose target.
    assert summarise_farm(farm, mix, table, target=50.0)["n_more"] == 0


def test_score_of_a_draw_worked_by_hand(skane):
    farm = make_farm(skane, design="random", seed=3)
    nested = nested_predictions(farm.study, {}, {}, candidates=QUICK)
    scores = score_draw(farm, nested).set_index("method")
    assert scores.index.tolist() == [*QUICK, "blend"]
    truth, soc = farm.truth.to_numpy(), skane.site.soc
    for method, candidates in (("null_model", ["null_model"]), ("blend", None)):
        mix, row = blend(nested, candidates), scores.loc[method]
        rmse = np.sqrt(np.mean((mix.estimates - truth) ** 2))
        assert row["rmse"] == pytest.approx(rmse)
        table = estimate_samples(farm, mix).set_index("sample_id").loc[farm.truth.index]
        held = table["lower"].le(truth) & table["upper"].ge(truth)
        assert row["coverage"] == pytest.approx(held.mean())
        assert row["width"] == pytest.approx((table["upper"] - table["lower"]).mean())
        # A simple draw: the laboratory's mean is the plain mean of its values.
        lab = soc[farm.study.local].mean()
        expected = 100 * (lab - soc.mean()) / soc.mean()
        assert row["lab_error"] == pytest.approx(expected)
        assert row["lab_covered"] == (abs(expected) <= row["lab_half_width"])
        assert row["mean_covered"] == (abs(row["mean_error"]) <= row["mean_half_width"])
    # Null predicts each sample by the mean of others: lambda is 0 or nearly so.
    null = scores.loc["null_model"]
    assert null["mean_half_width"] == pytest.approx(null["lab_half_width"], rel=0.02)


def test_finished_draws_are_not_computed_again(skane, tmp_path):
    file, predicted, told = tmp_path / "draws.csv", [], []

    def predict(study):
        predicted.append(study.local.tolist())
        return nested_predictions(study, {}, {}, candidates=QUICK)

    cases = [("random", 1), ("stratified", 1)]
    first = repeat_draws(skane, cases, predict, file)
    drawn = [make_farm(skane, design=name, seed=seed) for name, seed in cases]
    assert predicted == [farm.study.local.tolist() for farm in drawn]
    assert first.groupby(["design", "draw"]).size().tolist() == [3, 3]
    again = repeat_draws(skane, cases, predict, file)
    assert len(predicted) == 2
    pd.testing.assert_frame_equal(again, first, check_exact=True)
    more = repeat_draws(
        skane,
        [*cases, ("random", 2)],
        predict,
        file,
        progress=lambda *step: told.append(step),
    )
    assert len(predicted) == 3
    assert told == [(1, 1, "random draw 2")]
    pd.testing.assert_frame_equal(more.iloc[:6], first, check_exact=True)
    # Another draw is another answer.
    rmse = more.set_index(["method", "design", "draw"])["rmse"]["blend"]["random"]
    assert rmse[1] != rmse[2]


def test_a_draw_that_fails_keeps_those_before_it(skane, tmp_path):
    def predict(study):
        if file.exists():  # the second draw
            raise KeyboardInterrupt
        return nested_predictions(study, {}, {}, candidates=["null_model"])

    file = tmp_path / "draws.csv"
    with pytest.raises(KeyboardInterrupt):
        repeat_draws(skane, [("random", 1), ("stratified", 1)], predict, file)
    assert pd.read_csv(file)["design"].tolist() == ["random"]


def test_stock_takes_bulk_density_and_depth_of_the_files_columns(skane):
    density = np.tile([1.1, 1.3, 1.2, np.nan, 1.2], 25)
    columns = {"bulk_density": density, "depth_cm": 30}
    site = replace(skane.site, info=skane.site.info.assign(**columns))
    farm = make_farm(skane.with_split(site=site))
    table = answer(farm)
    found = estimate_farm(farm, table)
    scans = found.iloc[0]
    # % x g/cm3 x cm: the columns' means are 1.2 and 30.
    assert scans["stock"] == pytest.approx(scans["mean"] * 1.2 * 30)
    given = estimate_farm(farm, table, bulk_density=1.5, depth_cm=10).iloc[0]
    assert given["stock"] == pytest.approx(scans["mean"] * 1.5 * 10)
