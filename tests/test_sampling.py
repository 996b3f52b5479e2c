"""The mean after a draw by hand, by simulation and by the literature; stocks."""

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from soilnb.sampling import (
    Draw,
    MeanEstimate,
    estimate_mean,
    n_for_half_width,
    relative_error,
    stock,
    unit_sd,
)

NAN = np.nan
# The t of 95 % with 2 and with 3 degrees of freedom.
T2, T3 = 4.302653, 3.182446


def simple(n_population, rows, **options):
    """A simple random draw."""
    sizes = {0: n_population - len(options.get("certain", []))}
    options = {"design": "random", **options}
    return Draw(n_population, rows, np.zeros(len(rows), int), sizes, **options)


def pairs(strata, rng):
    """Two rows drawn from each stratum of a population."""
    rows = np.concatenate(
        [
            rng.choice(np.flatnonzero(strata == h), 2, replace=False)
            for h in np.unique(strata)
        ]
    )
    sizes = Counter(strata.tolist())
    return Draw(len(strata), rows, strata[rows], sizes, design="stratified")


@pytest.fixture(scope="module")
def farm():
    """200 samples in 10 strata, predictions that are off, and shifted by 0.5."""
    rng = np.random.default_rng(5)
    strata = np.arange(200) % 10
    y = 3 + 0.15 * strata + rng.gamma(4, 0.25, 200)
    return strata, y, 0.5 + 0.7 * y + rng.normal(0, 0.3, 200)


# A simple draw of 4 of 10, by hand: mean 5, s^2 = (9 + 1 + 1 + 9) / 3 = 20/3.
FOUR = simple(10, [1, 3, 5, 7])
Y = np.array([NAN, 2, NAN, 4, NAN, 6, NAN, 8, NAN, NAN])


def test_simple_mean_of_the_laboratory_alone():
    found = estimate_mean(FOUR, Y)
    # Variance (1 - 4/10) * (20/3) / 4 = 1, t with 3 degrees of freedom.
    expected = MeanEstimate(5, 5 - T3, 5 + T3, 1, 3, 0, 4, "scans")
    assert vars(found) == {
        name: value if isinstance(value, str) else pytest.approx(value)
        for name, value in vars(expected).items()
    }


def test_field_adds_the_variance_of_the_samples_themselves():
    # (20/3) / 10 is added, so that (20/3) / 4 remains: no finite population.
    found = estimate_mean(FOUR, Y, population="field")
    assert found.standard_error == pytest.approx((20 / 3 / 4) ** 0.5)
    assert found.mean == 5


def test_stratified_mean():
    # W = .6, .4; means 2, 6; s^2 = 2, 8. Mean 1.2 + 2.4 = 3.6. Variance
    # .36 * (1 - 2/6) * 2/2 + .16 * (1 - 2/4) * 8/2 = .24 + .32 = .56; t with 4 - 2.
    draw = Draw(10, [0, 1, 6, 7], [1, 1, 2, 2], {1: 6, 2: 4}, design="stratified")
    y = np.array([1, 3, NAN, NAN, NAN, NAN, 4, 8, NAN, NAN])
    found = estimate_mean(draw, y)
    assert found.mean == pytest.approx(3.6)
    assert found.standard_error == pytest.approx(0.56**0.5)
    assert found.degrees_of_freedom == 2
    assert found.upper == pytest.approx(3.6 + T2 * 0.56**0.5)
    # For the field: the drawn values weigh 3, 3, 2, 2. Mean square about 3.6:
    # (3 * 2.6^2 + 3 * .6^2 + 2 * .4^2 + 2 * 4.4^2) / 10 = 6.04; (6.04 + .56) * 10/9.
    field = estimate_mean(draw, y, population="field")
    assert field.standard_error == pytest.approx((0.56 + 6.6 / 9) ** 0.5)


def test_difference_estimator_by_hand():
    # f of the drawn 1, 2, 4, 5 (mean 3, deviations -2 -1 1 2), y - 5 = -3 -1 1 3:
    # lambda = 14 / 10, at most 1. r = 1 2 2 3, mean 2, s^2 = 2/3. All f: mean 4.
    f = np.array([5, 1, 5, 2, 5, 4, 5, 5, 4, 4], dtype=float)
    found = estimate_mean(FOUR, Y, f)
    assert found.weight == 1
    assert found.mean == pytest.approx(4 + 2)
    assert found.standard_error == pytest.approx((0.6 * (2 / 3) / 4) ** 0.5)


def test_weight_has_the_lowest_variance():
    # f twice as far apart: lambda 28 / 40 = .7; r = y - .7 f = .6 1.2 .4 1,
    # mean .8, s^2 = (.04 + .16 + .16 + .04) / 3; all f have mean 8: .7 * 8 + .8.
    f = 2 * np.array([5, 1, 5, 2, 5, 4, 5, 5, 4, 4], dtype=float)
    found = estimate_mean(FOUR, Y, f)
    assert found.weight == pytest.approx(0.7)
    assert found.mean == pytest.approx(6.4)
    assert found.standard_error == pytest.approx((0.6 * (0.4 / 3) / 4) ** 0.5)


@pytest.mark.parametrize("f", [-Y, np.full(10, 3.0)])
def test_predictions_that_do_not_help_have_no_weight(f):
    alone, helped = estimate_mean(FOUR, Y), estimate_mean(FOUR, Y, np.nan_to_num(f))
    assert helped == alone


def test_certain_rows_enter_by_value():
    # 2 of 12 known: 20 and 40. The rest is the draw of four of ten: mean 5, error 1.
    y = np.r_[Y, 20, 40]
    draw = simple(12, [1, 3, 5, 7], certain=[10, 11])
    found = estimate_mean(draw, y)
    assert found.mean == pytest.approx((60 + 10 * 5) / 12)
    assert found.standard_error == pytest.approx(10 / 12)
    assert (found.n_measured, found.degrees_of_freedom) == (6, 3)
    # Predictions of certain rows are not used.
    f = np.array([5, 1, 5, 2, 5, 4, 5, 5, 4, 4, 0, 0], dtype=float)
    found = estimate_mean(draw, y, f)
    assert found.mean == pytest.approx((60 + 10 * 6) / 12)
    assert estimate_mean(draw, y, np.r_[f[:10], 99, -99]) == found


def test_perfect_predictions_leave_no_doubt_about_the_scans(farm):
    strata, y, _ = farm
    for draw in (pairs(strata, np.random.default_rng(1)), simple(200, [3, 50, 90])):
        found = estimate_mean(draw, y, y)
        assert found.mean == pytest.approx(y.mean())
        assert found.weight == 1
        assert found.upper - found.lower == pytest.approx(0, abs=1e-12)
        assert estimate_mean(draw, y, y, population="field").standard_error > 0.01


def test_a_constant_added_to_predictions_changes_nothing(farm):
    strata, y, f = farm
    draw = pairs(strata, np.random.default_rng(2))
    found, shifted = estimate_mean(draw, y, f), estimate_mean(draw, y, f + 100)
    assert found.weight > 0
    for name in ("mean", "lower", "upper", "weight"):
        assert getattr(shifted, name) == pytest.approx(getattr(found, name))


@pytest.mark.parametrize("design", ["random", "stratified"])
def test_all_rows_measured_leaves_no_doubt_about_the_scans(farm, design):
    strata, y, f = farm
    groups = strata if design == "stratified" else np.zeros(200, int)
    draw = Draw(200, np.arange(200), groups, Counter(groups.tolist()), design=design)
    for predicted in (None, f):
        found = estimate_mean(draw, y, predicted)
        assert found.mean == pytest.approx(y.mean())
        assert found.lower == found.upper == found.mean
        # Of the field they are a simple random draw of 200.
        field = estimate_mean(draw, y, predicted, population="field")
        assert field.standard_error == pytest.approx(stats.sem(y))


def test_agrees_with_the_textbook_for_a_large_population():
    y = np.r_[np.random.default_rng(1).normal(9, 1, 12), np.full(10**6, NAN)]
    found = estimate_mean(simple(len(y), np.arange(12)), y, level=0.9)
    expected = stats.ttest_1samp(y[:12], 0).confidence_interval(0.9)
    assert (found.lower, found.upper) == pytest.approx(expected, abs=1e-4)


def test_an_interval_does_not_go_below_zero():
    y = np.array([0.1, 3.0, NAN, NAN, NAN])
    found = estimate_mean(simple(5, [0, 1]), y)
    assert found.lower == 0
    assert found.upper > 3


@pytest.mark.parametrize(
    "draw",
    [
        simple(10, [1, 3, 5, 7], design="kennard_stone"),
        simple(10, [1, 3, 5, 7], design="unknown"),
        Draw(10, [1, 3, 5, 7], [1, 2, 3, 4], {1: 2, 2: 3, 3: 2, 4: 3}, design="random"),
    ],
)
def test_a_draw_without_chance_or_pairs_has_a_mean_but_no_interval(draw):
    f = 2 * np.array([5, 1, 5, 2, 5, 4, 5, 5, 4, 4], dtype=float)
    assert not draw.is_probability
    found = estimate_mean(draw, Y, f, population="field")
    assert found.weight == 1
    assert np.isnan([found.lower, found.upper, found.standard_error]).all()
    assert np.isnan(relative_error(found))


def test_a_draw_without_chance_is_the_plain_difference():
    # Mean of f 8, mean of y - f 5 - 6.
    f = 2 * np.array([5, 1, 5, 2, 5, 4, 5, 5, 4, 4], dtype=float)
    kennard_stone = simple(10, [1, 3, 5, 7], design="kennard_stone")
    assert estimate_mean(kennard_stone, Y, f).mean == pytest.approx(7)
    assert estimate_mean(kennard_stone, Y).mean == 5


@pytest.mark.parametrize("design", ["random", "stratified"])
@pytest.mark.parametrize("helped", [False, True])
def test_means_are_unbiased_and_intervals_cover(farm, design, helped):
    # 1,500 draws of 20: the coverage's own sd is 0.6 %, the mean's 1/39 of its error.
    strata, y, f = farm
    rng = np.random.default_rng(7)
    found = []
    for _ in range(1500):
        if design == "stratified":
            draw = pairs(strata, rng)
        else:
            draw = simple(200, rng.permutation(200)[:20])
        found.append(estimate_mean(draw, y, f if helped else None))
    means = np.array([one.mean for one in found])
    # lambda is learned from the same rows, which costs a bias of order 1 / n.
    allowed = 0.2 if helped else 3.5 / 1500**0.5
    assert abs(means.mean() - y.mean()) < allowed * means.std()
    variances = [one.standard_error**2 for one in found]
    assert np.mean(variances) == pytest.approx(means.var(), rel=0.15)
    covered = np.mean([one.lower <= y.mean() <= one.upper for one in found])
    assert 0.92 <= covered <= 0.97


def test_the_mean_of_the_field_is_covered_when_scans_are_a_sample_of_it():
    rng = np.random.default_rng(8)
    n_covered = 0
    for _ in range(1000):
        y = rng.normal(5, 1, 60)  # the field has mean 5
        draw = simple(60, np.arange(20))
        f = y + rng.normal(0, 0.5, 60)
        found = estimate_mean(draw, y, f, population="field")
        n_covered += found.lower <= 5 <= found.upper
    assert 920 <= n_covered <= 970


def test_rows_picked_after_the_draw_take_drawn_ones_of_their_kind_along(farm):
    # The ten largest predictions that were not drawn are measured too. As certain
    # rows alone they shift the mean by 10/200 of their distance; with the drawn rows
    # that are as large, it stays.
    _, y, f = farm
    rng, order = np.random.default_rng(9), np.argsort(-f)
    picked_only, all_of_a_kind = [], []
    for _ in range(1000):
        rows = rng.permutation(200)[:20]
        picked = order[~np.isin(order, rows)][:10]
        kind = order[: np.flatnonzero(order == picked[-1])[0] + 1]
        picked_only.append(estimate_mean(simple(200, rows, certain=picked), y).mean)
        others = simple(200, np.setdiff1d(rows, kind), certain=kind)
        all_of_a_kind.append(estimate_mean(others, y).mean)
    allowed = 3.5 * np.std(all_of_a_kind) / 1000**0.5
    assert abs(np.mean(all_of_a_kind) - y.mean()) < allowed
    shift = 10 / 200 * (y[order[:11]].mean() - y.mean())
    assert np.mean(picked_only) - y.mean() == pytest.approx(shift, rel=0.2)


def three_numbers(n, mean, sd):
    """An estimate of a large population from n values of this mean and sd."""
    error = sd / n**0.5
    half = stats.t.ppf(0.975, n - 1) * error
    return MeanEstimate(mean, mean - half, mean + half, error, n - 1, 0, n, "scans")


@pytest.mark.parametrize(
    ("n", "mean", "sd", "percent"),
    [(10, 5, 1, 14.31), (30, 1.74, 0.58, 12.45), (5, 8, 3, 46.56)],
)
def test_relative_error_of_published_cases(n, mean, sd, percent):
    assert relative_error(three_numbers(n, mean, sd)) == pytest.approx(
        percent, abs=0.005
    )
    # And with it as the aim, n is the smallest that reaches it.
    aim = relative_error(three_numbers(n, mean, sd)) * mean / 100 * (1 + 1e-9)
    assert n_for_half_width(sd, 10**9, aim) == n
    assert n_for_half_width(sd, 10**9, aim * 0.999) == n + 1


@pytest.mark.parametrize("half_width", [0.02, 0.1, 0.3, 1.0, 40.0])
def test_n_is_the_smallest_of_all_that_are_narrow_enough(half_width):
    n = np.arange(2, 151)
    widths = stats.t.ppf(0.975, n - 1) * 1.3 * np.sqrt((1 - n / 150) / n)
    expected = n[widths <= half_width][0]
    assert n_for_half_width(1.3, 150, half_width) == expected
    assert n_for_half_width(1.3, 150, half_width, n_most=20) == min(expected, 20)


def test_n_is_the_whole_population_when_nothing_less_will_do():
    assert n_for_half_width(1.0, 50, 1e-9) == 50
    assert n_for_half_width(0.0, 50, 1e-9) == 2
    assert n_for_half_width(1.0, 2, 1e-9) == 2


def test_unit_sd_of_a_simple_draw_is_the_sd_of_its_values():
    found = estimate_mean(FOUR, Y)
    assert unit_sd(found.standard_error, 4, 10) == pytest.approx((20 / 3) ** 0.5)
    assert n_for_half_width(unit_sd(1.0, 4, 10), 10, T3 + 1e-6) == 4
    assert np.isnan(unit_sd(NAN, 4, 10))


def test_stock_of_a_textbook_soil():
    # 20 g/kg * 1.2 g/cm3 * 30 cm = 7.2 kg/m2 = 72 Mg/ha.
    carbon, lower, upper = stock(2.0, 0.0, 1.2, 30, degrees_of_freedom=9)
    assert carbon == lower == upper == pytest.approx(72)


def test_relative_variances_of_a_stock_add():
    # 3 %, 4 % and 12 % together are 13 % (3, 4, 5 and 5, 12, 13).
    carbon, lower, upper = stock(
        2.0, 0.06, 1.25, 40, bulk_density_sd=0.05, depth_sd=4.8, degrees_of_freedom=2
    )
    assert carbon == pytest.approx(100)
    assert (lower, upper) == pytest.approx((100 - 13 * T2, 100 + 13 * T2))
    _, lower, upper = stock(2.0, 0.1, 1.25, 40, degrees_of_freedom=np.inf, level=0.9)
    assert upper - lower == pytest.approx(2 * 1.644854 * 5)


def test_a_stock_is_not_below_zero_and_has_no_interval_without_an_error():
    assert stock(1.0, 2.0, 1.3, 30, degrees_of_freedom=5)[1] == 0
    carbon, lower, upper = stock(1.0, NAN, 1.3, 30, degrees_of_freedom=5)
    assert carbon == pytest.approx(39)
    assert np.isnan([lower, upper]).all()


def test_inputs_stay_as_they_were(farm):
    strata, y, f = farm
    copies = y.copy(), f.copy()
    estimate_mean(pairs(strata, np.random.default_rng(1)), y, f, population="field")
    assert (y == copies[0]).all()
    assert (f == copies[1]).all()


REFUSED = {
    r"between 0 and 9 \(rows of the population\), got 10": lambda: simple(10, [1, 10]),
    r"got -1\.": lambda: simple(10, [-1, 2]),
    "hold row 3 twice. Give each": lambda: simple(10, [1, 3], certain=[3]),
    "'rows' is empty": lambda: Draw(2, [], [], {}, certain=[0, 1]),
    "'strata' has 1 rows but 'rows' has 2": lambda: Draw(9, [1, 2], [0], {0: 9}),
    "Stratum 2 has 0 drawn rows and a size of 4. Give it":
        lambda: Draw(9, [1, 2], [1, 1], {1: 5, 2: 4}),
    "Stratum 2 has 1 drawn rows and a size of 0":
        lambda: Draw(9, [1, 2], [1, 2], {1: 9}),
    "Stratum 1 has 2 drawn rows and a size of 1":
        lambda: Draw(2, [0, 1], [1, 1], {1: 1}),
    "add up to 9, but 'n_population' is 10":
        lambda: Draw(10, [1, 2], [0, 0], {0: 8}, certain=[5]),
    "Unknown design 'stratifed'. Did you mean 'stratified'":
        lambda: simple(9, [1, 2], design="stratifed"),
    "'n_population' must be at least 2, got 1": lambda: simple(1, [0]),
    r"'y' must have shape \(10,\), got \(3,\)": lambda: estimate_mean(FOUR, [1, 2, 3]),
    r"'y' lacks 2 values .* \(first at row 5\). Leave out of 'draw'":
        lambda: estimate_mean(FOUR, np.where(Y > 5, NAN, Y)),
    "'predicted' has 3 rows but 'y' has 10":
        lambda: estimate_mean(FOUR, Y, [1.0, 2.0, 3.0]),
    "'predicted' has 6 missing": lambda: estimate_mean(FOUR, Y, Y),
    "Unknown population 'farm'. Use 'scans', 'field'":
        lambda: estimate_mean(FOUR, Y, population="farm"),
    r"'level' must be above 0 and below 1, got 95\. Divide percent":
        lambda: estimate_mean(FOUR, Y, level=95),
    "mean must be above 0 .* got 0": lambda: relative_error(three_numbers(4, 0, 1)),
    "'half_width' must be above 0, got 0": lambda: n_for_half_width(1.0, 50, 0),
    "'standard_deviation' must be at least 0 and finite, got nan":
        lambda: n_for_half_width(NAN, 50, 1.0),
    r"'n_most' must be between 2 and 50 \('n_population'\), got 51":
        lambda: n_for_half_width(1.0, 50, 1.0, n_most=51),
    "'n_drawn' must be between 2 and 9": lambda: unit_sd(1.0, 10, 10),
    r"'bulk_density' must be .* 2.7 g/cm3, got 1200\. Divide kg/m3 by 1000":
        lambda: stock(2, 0.1, 1200, 30, degrees_of_freedom=9),
    r"'bulk_density' must .* got 3\.$":
        lambda: stock(2, 0.1, 3, 30, degrees_of_freedom=9),
    "'depth_cm' must be between 1 and 300 cm, got 0.3":
        lambda: stock(2, 0.1, 1.2, 0.3, degrees_of_freedom=9),
    "'mean_percent' must be between 0 and 100 %, got 200. Divide g/kg by 10":
        lambda: stock(200, 0.1, 1.2, 30, degrees_of_freedom=9),
    "'standard_error' must be at least 0":
        lambda: stock(2, -0.1, 1.2, 30, degrees_of_freedom=9),
    "'bulk_density_sd' must be at least 0":
        lambda: stock(2, 0.1, 1.2, 30, bulk_density_sd=-1, degrees_of_freedom=9),
    "'depth_sd' must be at least 0 and finite, got -2":
        lambda: stock(2, 0.1, 1.2, 30, depth_sd=-2, degrees_of_freedom=9),
    "'degrees_of_freedom' must be above 0":
        lambda: stock(2, 0.1, 1.2, 30, degrees_of_freedom=0),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_refuses(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


def test_refuses_rows_that_are_not_whole_numbers():
    with pytest.raises(TypeError, match="'rows' must be 1D whole numbers, got float64"):
        simple(10, [1.0, 2.0])
