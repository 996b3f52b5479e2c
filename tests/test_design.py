"""Strata, allocations, change and the rule of 20 % by hand; soilnb design by use."""

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from soilnb.sampling import (
    Draw,
    MeanEstimate,
    allocate,
    assess_strata,
    compare_designs,
    describe_strata,
    detectable_change,
    draw_from_strata,
    estimate_listed,
    estimate_mean,
    expected_half_width,
    independent_change,
    judge_stopping,
    make_strata,
    mean_variance,
    n_for_half_width,
    paired_change,
    simulate_draws,
    stock,
    stratum_sd,
)
from soilnb.workflow.design import design_places

ROOT = Path(__file__).resolve().parents[1]
SIZES, SD = [100, 300, 600], [4, 2, 1]


def test_neyman_allocation_by_hand():
    # N s = 400, 600, 600 of 1600: a quarter and twice 3/8 of 50.
    assert allocate(SIZES, 50, sd=SD, whole=False).tolist() == [12.5, 18.75, 18.75]
    assert allocate(SIZES, sd=SD, n=50).tolist() == [12, 19, 19]
    assert allocate(SIZES, 50, rule="proportional").tolist() == [5, 15, 30]
    assert allocate(SIZES, 51, rule="equal").tolist() == [17, 17, 17]


def test_variance_of_the_mean_by_hand():
    # Neyman: (sum W s)^2 / n = 1.6^2 / 50; less sum W s^2 / N = 3.4 / 1000.
    n = allocate(SIZES, 50, sd=SD, whole=False)
    assert mean_variance(SIZES, n, SD, finite=False) == pytest.approx(0.0512)
    assert mean_variance(SIZES, n, SD) == pytest.approx(0.0478)
    # Proportional: sum W s^2 / n = 3.4 / 50.
    assert mean_variance(SIZES, [5, 15, 30], SD, finite=False) == pytest.approx(0.068)
    assert mean_variance(SIZES, SIZES, SD) == 0
    t = stats.t.ppf(0.975, 47)
    assert expected_half_width(SIZES, n, SD) == pytest.approx(t * 0.0478**0.5)


@pytest.mark.parametrize("n", [6, 9, 13, 17, 19])
def test_whole_numbers_are_the_best_of_all_divisions(n):
    # The second stratum is taken whole; the third varies least and gets two.
    sizes, sd = [8, 3, 9], [2.0, 40.0, 0.1]
    every = (
        k
        for k in itertools.product(range(2, 9), range(2, 4), range(2, 10))
        if sum(k) == n
    )
    best = min(mean_variance(sizes, k, sd) for k in every)
    found = allocate(sizes, n, sd=sd)
    assert found.sum() == n
    assert mean_variance(sizes, found, sd) == pytest.approx(best)


def test_an_allocation_is_within_its_bounds():
    assert allocate([5, 400, 30], 20, sd=[0, 0, 0]).tolist() == [2, 16, 2]
    assert allocate([2, 2, 50], 54, sd=[0, 1, 9]).tolist() == [2, 2, 50]
    shares = allocate([4, 50, 50], 40, sd=[99, 1, 1], whole=False)
    assert shares.tolist() == [4, 18, 18]


def test_n_of_a_stratified_draw_is_the_smallest_that_is_enough():
    for planned in (None, [1, 1, 1]):
        n = n_for_half_width(SD, SIZES, 0.3, planned_sd=planned)
        widths = [
            expected_half_width(SIZES, allocate(SIZES, k, sd=planned or SD), SD)
            for k in (n - 1, n)
        ]
        assert widths[1] <= 0.3 < widths[0]


def test_strata_by_quantiles_and_by_square_roots():
    values = np.arange(100.0)
    assert np.bincount(make_strata(4, prediction=values))[1:].tolist() == [25] * 4
    # 64, 16, 4 and 1 values in four bins: square roots 8, 4, 2, 1. Half of 15 is
    # reached nearest at the end of the first bin, where 8 of 15 are.
    values = np.repeat([0.0, 1.0, 2.0, 4.0], [64, 16, 4, 1])
    strata = make_strata(2, prediction=values, by="cum_sqrt")
    assert [set(strata[values == v]) for v in (0, 1, 2, 4)] == [{1}, {2}, {2}, {2}]


def test_strata_of_space_are_compact_and_those_by_both_see_both():
    rng = np.random.default_rng(1)
    centres = np.array([[0, 0], [0, 900], [900, 0], [900, 900]]) + 6.6e6
    places = np.repeat(centres, 25, axis=0) + rng.normal(0, 20, (100, 2))
    prediction = np.tile([1.0, 5.0], 50) + rng.normal(0, 0.05, 100)
    by_space = make_strata(4, places=places, by="space")
    assert len({*zip(by_space, np.repeat(range(4), 25), strict=True)}) == 4
    both = make_strata(8, prediction=prediction, places=places, by="both")
    groups = {*zip(both, np.repeat(range(4), 25), prediction > 3, strict=True)}
    assert len(groups) == 8
    assert (prediction[both <= 4] < 3).all()  # numbered by prediction


def test_total_spread_of_a_stratum():
    # Predictions 4 and 10: variance 9; spread 4: 16; together 25.
    assert stratum_sd([1, 1, 2], [4, 10, 7], [4, 4, 3]).tolist() == [5, 3]


def test_a_draw_has_known_probabilities_and_visits_every_stratum_first():
    strata = np.repeat([1, 2, 3], [10, 40, 50])
    table = draw_from_strata(strata, [2, 4, 10], seed=3)
    assert table["order"].tolist() == list(range(1, 17))
    assert set(table["stratum"][:3]) == {1, 2, 3}
    assert (strata[table["row"]] == table["stratum"]).all()
    assert table["row"].is_unique
    shares = table.groupby("stratum")["inclusion_probability"].first()
    assert shares.tolist() == pytest.approx([0.2, 0.1, 0.2])
    assert (1 / table["inclusion_probability"]).sum() == pytest.approx(100)
    drawn = [draw_from_strata(strata, [2, 4, 10], seed=s)["row"] for s in range(100)]
    counts = np.bincount(np.concatenate(drawn), minlength=100) / 100
    for h, share in ((1, 0.2), (2, 0.1), (3, 0.2)):
        assert counts[strata == h].mean() == pytest.approx(share)
        assert abs(counts[strata == h] - share).max() < 4.5 * (share / 100) ** 0.5


def _mean(mean, error, freedom):
    return MeanEstimate(mean, 0, 0, error, freedom, 0, freedom + 1, "scans")


def test_paired_change_is_the_mean_of_differences():
    before = np.array([10, 20, 30, np.nan, np.nan, 99])
    after = np.array([12, 19, 32, np.nan, 5, np.nan])
    draw = Draw(6, [0, 1, 2], [0, 0, 0], {0: 6}, design="random")
    found = paired_change(draw, before, after)
    # Differences 2 -1 2: mean 1, s^2 3, (1 - 3/6) * 3 / 3 = .5; t with 2 is 4.3027.
    assert found.change == pytest.approx(1)
    assert found.standard_error == pytest.approx(0.5**0.5)
    assert found.lower == pytest.approx(1 - 4.302653 * 0.5**0.5)
    back = paired_change(draw, after, before)
    assert (back.lower, back.upper) == pytest.approx((-found.upper, -found.lower))


def test_independent_change_is_that_of_welch():
    rng = np.random.default_rng(2)
    first, second = rng.normal(5, 1, 12), rng.normal(6, 3, 8)
    found = independent_change(
        _mean(first.mean(), stats.sem(first), 11),
        _mean(second.mean(), stats.sem(second), 7),
    )
    welch = stats.ttest_ind(second, first, equal_var=False)
    assert found.degrees_of_freedom == pytest.approx(welch.df)
    ends = welch.confidence_interval(0.95)
    assert (found.lower, found.upper) == pytest.approx((ends.low, ends.high))


def test_detectable_change_by_hand_and_by_simulation():
    # n large: (1.96 + .8416) * sqrt(2 / 10000), paired with r = .5 by sqrt(1 / 10000).
    assert detectable_change(1.0, 10_000) == pytest.approx(2.8016 * 0.0141421, rel=1e-3)
    paired = detectable_change(1.0, 10_000, correlation=0.5)
    assert paired == pytest.approx(2.8016 * 0.01, rel=1e-3)
    assert detectable_change(1.0, 20, correlation=1.0) == 0
    rng, change = np.random.default_rng(3), detectable_change(1.0, 30)
    sets = rng.normal(0, 1, (2, 30, 4000))
    p = stats.ttest_ind(sets[0] + change, sets[1]).pvalue
    assert (p < 0.05).mean() == pytest.approx(0.8, abs=0.02)


def test_a_total_is_the_mean_times_the_size():
    y = np.array([2.0, 4, 6, 8, np.nan, np.nan])
    draw = Draw(6, [0, 1, 2, 3], [0] * 4, {0: 6}, design="random")
    mean = estimate_mean(draw, y)
    total = mean.times(6)
    assert total.mean == 30
    assert total.upper - total.lower == pytest.approx(6 * (mean.upper - mean.lower))
    assert total.degrees_of_freedom == mean.degrees_of_freedom


def test_the_mean_of_a_list_is_that_of_its_draw():
    # As the stratified mean by hand of test_sampling: 3.6 with a variance of .56.
    table = pd.DataFrame({"stratum": [*"aabb"], "soc": [1.0, 3, 4, 8]})
    table["inclusion_probability"] = [1 / 3, 1 / 3, 1 / 2, 1 / 2]
    found = estimate_listed(table)
    assert found.mean == pytest.approx(3.6)
    assert found.standard_error == pytest.approx(0.56**0.5)
    # A third of a stratum came back empty: its size is that of the list.
    more = pd.concat([table, table.iloc[[3]].assign(soc=np.nan)])
    more.loc[more["stratum"] == "b", "inclusion_probability"] = 0.75
    assert estimate_listed(more).mean == pytest.approx(3.6)
    assert estimate_listed(more).standard_error == pytest.approx(0.56**0.5)
    with pytest.raises(ValueError, match="Stratum b has no 'soc'"):
        estimate_listed(table.assign(soc=[1, 3, np.nan, np.nan]))


def test_stones_take_their_share_of_a_stock():
    common = {"degrees_of_freedom": 9, "coarse_fraction": 0.25}
    assert stock(2.0, 0.0, 1.2, 30, **common)[0] == pytest.approx(54)
    # An error of .1 in .75 is a relative one of 2/15; t with 9 is 2.262157.
    _, lower, upper = stock(2.0, 0.0, 1.2, 30, coarse_sd=0.1, **common)
    assert (upper - lower) / 2 == pytest.approx(2.262157 * 54 * 2 / 15)


def test_simulated_stock_agrees_while_errors_are_small_and_is_skewed_else():
    soil = {"degrees_of_freedom": np.inf, "bulk_density_sd": 0.03}
    first = stock(2.0, 0.04, 1.2, 30, **soil)
    drawn = stock(2.0, 0.04, 1.2, 30, n_simulated=100_000, **soil)
    assert drawn == pytest.approx(first, rel=0.01)
    soil = {"degrees_of_freedom": np.inf, "bulk_density_sd": 0.4}
    first = stock(2.0, 0.6, 1.2, 30, **soil)
    _, lower, upper = stock(2.0, 0.6, 1.2, 30, n_simulated=100_000, **soil)
    assert lower > first[1] + 3
    assert upper > first[2] + 3


def test_strata_are_flagged():
    y = [5, 6, 4, *np.tile([9.0, 11.0], 6)]
    strata = [1] * 3 + [2] * 12
    found = assess_strata(y, strata, {1: 30, 2: 10**6}, r2={1: 0.6, 2: 0.4}, target=10)
    # Stratum 1: mean 5, sd 1, 4.302653 * sqrt((1 - 3/30) / 3) / 5 = 47.1 %.
    one, two = found.loc[1], found.loc[2]
    assert one["relative_error"] == pytest.approx(47.13, abs=0.01)
    assert one["lower"] == pytest.approx(5 - 0.4713 * 5, abs=1e-3)
    assert one["flags"] == "fewer than 10 samples, error above 10 %"
    assert 3 + one["n_more"] == n_for_half_width(1.0, 30, 0.5)
    # Stratum 2: sd 1.0445, 2.200985 * 1.0445 / sqrt(12) / 10 = 6.6 %.
    assert two["relative_error"] == pytest.approx(6.636, abs=0.01)
    assert two["flags"] == "R2 below 0.5"
    assert two["n_more"] == 0


def test_who_stops_at_a_pass_has_lucky_draws():
    y = np.random.default_rng(4).lognormal(0, 0.9, 400)
    draws = simulate_draws(y, np.ones(400), [20], n_draws=4000)
    found = judge_stopping(draws, y.mean(), 25)
    assert abs(found["bias"]) < 1.2  # its own sd is 0.3
    assert 1 < found["passed"] < 20
    assert found["bias_passed"] < -10
    assert found["covered_passed"] < found["covered"] - 15
    # Of a population without a tail, intervals hold what they promise.
    even = simulate_draws(np.arange(400.0), np.ones(400), [20], n_draws=4000)
    assert even["is_covered"].mean() == pytest.approx(0.95, abs=0.012)


def test_simulated_draws_have_the_variance_that_is_expected():
    rng = np.random.default_rng(5)
    strata = np.repeat([1, 2, 3], [30, 60, 110])
    y = strata * rng.gamma(3, 1, 200)
    sd = pd.Series(y).groupby(strata).std().to_numpy()
    sizes = [30, 60, 110]
    n_drawn = allocate(sizes, 24, sd=sd)
    draws = simulate_draws(y, strata, n_drawn, n_draws=4000)
    expected = mean_variance(sizes, n_drawn, sd)
    assert draws["mean"].var() == pytest.approx(expected, rel=0.1)
    assert draws["mean"].mean() == pytest.approx(
        y.mean(), abs=4 * (expected / 4e3) ** 0.5
    )


def test_designs_compared_are_those_of_the_populations_variances():
    rng = np.random.default_rng(6)
    strata = np.repeat([1, 2, 3, 4], 60)
    y = np.exp(0.6 * strata + rng.normal(0, 0.5, 240))
    sd = pd.Series(y).groupby(strata).std().to_numpy()
    found = compare_designs(describe_strata(y, strata, sd), target=12, at=[4, 60, 241])
    simple = n_for_half_width(y.std(ddof=1), 240, 0.12 * y.mean())
    assert found.loc["simple", "n_needed"] == simple
    needed = found["n_needed"]
    assert needed["neyman_true"] < needed["proportional"] < needed["simple"]
    assert needed["neyman_model"] == needed["neyman_true"]
    assert found[4].isna().tolist() == [False, True, True, True]
    assert found[241].isna().all()
    half_width = expected_half_width([240], [60], [y.std(ddof=1)])
    assert found.loc["simple", 60] == pytest.approx(100 * half_width / y.mean())


@pytest.fixture
def grid():
    """2,500 places with a prediction, its spread and degrees."""
    x, y = np.divmod(np.arange(2500), 50)
    return pd.DataFrame(
        {
            "sample_id": [f"g{n}" for n in range(2500)],
            "prediction": 2 + np.sin(x / 8) + y / 100,
            "spread": 0.3 + 0.01 * y,
            "latitude": 59 + y * 1e-4,
            "longitude": 17 + x * 2e-4,
        }
    )


def test_design_of_a_grid_with_a_prediction(grid, tmp_path):
    file, out = tmp_path / "grid.csv", tmp_path / "d.csv"
    grid.to_csv(file, index=False)
    said = design_places(str(file), 50, out)
    table = pd.read_csv(out)
    assert len(table) == 50
    assert (1 / table["inclusion_probability"]).sum() == pytest.approx(2500)
    of_stratum = table.groupby("stratum")
    assert of_stratum.size().min() >= 2
    assert of_stratum["inclusion_probability"].nunique().max() == 1
    told = grid.set_index("sample_id").loc[table["sample_id"]]
    assert table["prediction"].to_numpy() == pytest.approx(
        told["prediction"].to_numpy()
    )
    strata = make_strata(5, prediction=grid["prediction"])
    sd = stratum_sd(strata, grid["prediction"], grid["spread"])
    sizes = np.bincount(strata)[1:]
    width = expected_half_width(sizes, allocate(sizes, 50, sd=sd), sd)
    assert table["expected_half_width"].to_numpy() == pytest.approx(width)
    assert f"± {width:.3g}" in said[1]
    features = json.loads(out.with_suffix(".geojson").read_text())["features"]
    first = features[0]
    assert first["properties"]["sample_id"] == table["sample_id"][0]
    assert first["geometry"]["coordinates"] == pytest.approx(
        table.loc[0, ["longitude", "latitude"]].tolist()
    )


def test_design_of_ten_thousand_places_takes_seconds(tmp_path):
    x, y = np.divmod(np.arange(10_000), 100)
    places = pd.DataFrame({"easting": 4.5e5 + 10 * x, "northing": 6.6e6 + 10 * y})
    places.to_csv(tmp_path / "p.csv", index=False)
    start = time.process_time()
    said = design_places(str(tmp_path / "p.csv"), 50, tmp_path / "d.csv")
    assert time.process_time() - start < 10
    table = pd.read_csv(tmp_path / "d.csv")
    assert "± 0.28 standard deviations" in said[1]  # 2.01 / sqrt(50)
    assert "needs columns latitude and longitude" in said[2]
    assert "name them in a column sample_id" in said[3]
    assert table["stratum"].nunique() == 12
    assert table["expected_half_width"].isna().all()
    spread = table.groupby("stratum")[["easting", "northing"]].agg(np.ptp)
    assert spread.to_numpy().max() < 600  # of 1,000: parts are compact


def test_design_takes_strata_of_the_table_and_a_simple_draw(grid, tmp_path):
    fields = grid.assign(stratum=np.where(grid["prediction"] > 2, "hill", "mire"))
    fields.drop(columns=["spread"]).to_csv(tmp_path / "f.csv", index=False)
    said = design_places(str(tmp_path / "f.csv"), 20, tmp_path / "d.csv")
    assert set(pd.read_csv(tmp_path / "d.csv")["stratum"]) == {"hill", "mire"}
    assert "2 strata by column, allocation proportional" in said[0]
    assert "predictions vary less than the truth" in said[1]
    out = tmp_path / "e.csv"
    design_places(str(tmp_path / "f.csv"), 20, out, by="quantiles", n_strata=1)
    assert set(pd.read_csv(out)["design"]) == {"random"}


def test_the_command_writes_beside_the_file_and_overwrites_no_values(grid, tmp_path):
    file = tmp_path / "grid.csv"
    grid.to_csv(file, index=False)
    words = ["design", str(file), "--budget", "30", "--by", "cum_sqrt"]
    done = subprocess.run(
        [sys.executable, "-m", "soilnb", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "30 of the 2,500 places of grid.csv" in done.stdout
    out = tmp_path / "grid-design.csv"
    pd.read_csv(out).assign(soc=1.0).to_csv(out, index=False)
    with pytest.raises(ValueError, match="holds laboratory values"):
        design_places(str(file), 30, out)


def changed(**columns):
    """A change of a grid: columns to assign, or to drop where None."""

    def change(grid):
        gone = [name for name, values in columns.items() if values is None]
        kept = {name: v for name, v in columns.items() if v is not None}
        return grid.drop(columns=gone).assign(**kept)

    return change


METRES = {"latitude": None, "longitude": None, "easting": 6.0e5 + np.arange(2500)}
ONE = np.arange(2500) == 7
BAD = {
    "must be between 10 .two of each of 5 strata. and 2500 .candidates., got 9":
        (changed(), {"budget": 9}),
    "and 2500 .candidates., got 2501": (changed(), {"budget": 2501}),
    "Stratum lone must have at least 2 candidates, got 1. Join it":
        (changed(stratum=np.where(ONE, "lone", "rest")), {}),
    "Stratum 1 of 5 has no candidates: 'prediction' has too few":
        (changed(prediction=2.0), {}),
    "'stratum' must be filled in .*'g7'": (changed(stratum=np.where(ONE, "", "a")), {}),
    "'spread' must be at least 0, a standard deviation, got -0.5 .sample 'g7'.":
        (changed(spread=np.where(ONE, -0.5, 0.5)), {}),
    "'latitude' must be from -90 to 90 degrees, not metres, got 6600000":
        (changed(latitude=np.where(ONE, 6_600_000, 59)), {}),
    "'easting' must be metres for every place, not degrees, got 17.0 .sample 'g7'":
        (changed(**METRES | {"easting": np.where(ONE, 17.0, 6e5),
                             "northing": np.where(ONE, 59.0, 6.6e6)}), {}),
    "differ by more than one .are these degrees":
        (changed(**METRES | {"easting": np.linspace(17, 17.1, 2500),
                             "northing": 59.0}), {}),
    "Coordinates must be the columns latitude .* got latitude and easting":
        (changed(longitude=None, easting=5e5), {}),
    "There must be a column prediction, or latitude .*, got sample_id, spread":
        (changed(prediction=None, latitude=None, longitude=None), {}),
    "'prediction' must hold a number for every place, got none .sample 'g7'.":
        (changed(prediction=np.where(ONE, np.nan, 2.0)), {}),
    "'sample_id' has 'a' twice": (changed(sample_id="a"), {}),
    "'--by space' needs a column easting, got none":
        (changed(latitude=None, longitude=None), {"by": "space"}),
    "Unknown --by 'spase'. Did you mean 'space'": (changed(), {"by": "spase"}),
    "Unknown --allocation 'neymann'. Did you mean":
        (changed(), {"allocation": "neymann"}),
    "'--allocation neyman' needs a column prediction":
        (changed(prediction=None, spread=None), {"allocation": "neyman"}),
    "'--target' must be above 0 and below 100 percent, got 0":
        (changed(), {"target": 0}),
    "needs a column stratum, got none": (changed(), {"by": "column"}),
    "'-o' must end in .csv": (changed(), {"out": "d.txt"}),
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_design_refuses_in_one_sentence(grid, tmp_path, message):
    change, options = BAD[message]
    change(grid).to_csv(tmp_path / "grid.csv", index=False)
    out = tmp_path / options.get("out", "d.csv")
    options = {"budget": 50, **options}
    options.pop("out", None)
    with pytest.raises(ValueError, match=message) as told:
        design_places(str(tmp_path / "grid.csv"), out=out, **options)
    assert "\n" not in str(told.value)
    assert not out.exists()


REFUSED = {
    r"'n' must be between 6 .*, got 5": lambda: allocate(SIZES, 5, sd=SD),
    "Stratum 2 must have at least 2 candidates, got 0. Join":
        lambda: allocate([9, 0], 5, sd=[1, 1]),
    "'sd' must be at least 0 and finite": lambda: allocate(SIZES, 9, sd=[1, -1, 1]),
    r"'sd' must have shape \(3,\)": lambda: allocate(SIZES, 9, sd=[1, 1]),
    "'spread' must be at least 0, got -1 .row 1.":
        lambda: stratum_sd([1, 1], [2, 2], [1, -1]),
    "'prediction' is needed for strata by 'quantiles'": lambda: make_strata(3),
    "'n_strata' must be at most 2 .different":
        lambda: make_strata(3, places=[[0, 0], [1, 1], [1, 1]], by="space"),
    "'n_drawn' must be between 1 and the candidates":
        lambda: draw_from_strata([1, 1, 2, 2], [3, 1]),
    "'power' must be from 0.5 to below 1": lambda: detectable_change(1, 9, power=80),
    "Stratum 1 must have from 2 samples": lambda: assess_strata([2.0], [1], {1: 9}),
    "'coarse_fraction' must be between 0 and 0.95, got 30. Divide percent":
        lambda: stock(2, 0.1, 1.2, 30, degrees_of_freedom=9, coarse_fraction=30),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_refuses(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()
