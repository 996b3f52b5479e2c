"""The paper's Table 3 as data: its arithmetic, its layout, its two lost values."""

import numpy as np
import pandas as pd
import pytest

from soilnb.study import paper

# Change in RMSE worked out by hand from the printed RMSE, (local - other) / local:
# China (0.46 - 0.28) / 0.46 = 39.13 %, and so on; then the mean of the three sites.
DELTA = {
    "dtl_i_global": (39.13, 4.17, 34.04, 25.78),
    "dtl_r_global": (2.17, -16.67, 25.53, 3.68),
    "dtl_ir_global": (32.61, -37.50, 34.04, 9.72),
    "dtl_i_country": (21.74, -62.50, 29.79, -3.66),
    "dtl_r_country": (8.70, -358.33, -17.02, -122.22),
    "dtl_ir_country": (2.17, -258.33, 31.91, -74.75),
    "global": (-67.39, -341.67, -117.02, -175.36),
    "country": (-10.87, -358.33, -514.89, -294.70),
}


# The table a second time, row by row as it is printed: its nine methods, then, for each
# of the three statistics, China, Sweden and the USA of each method.
PRINTED_METHODS = (
    "local global dtl_i_global dtl_r_global dtl_ir_global "
    "country dtl_i_country dtl_r_country dtl_ir_country"
)
PRINTED = {
    "rmse": """.46 .24 .47  .77 1.06 1.02  .28 .23 .31  .45 .28 .35  .31 .33 .31
        .51 1.10 2.89  .36 .39 .33  .42 1.10 .55  .45 .86 .32""",
    "mean_error": """-.02 -.05 -.07  -.15 -.95 nan  -.11 .04 -.09  .05 -.01 -.05
        .01 -.14 -.09  -.21 -.56 1.98  .09 -.29 .05  .11 .18 .17  .11 -.59 -.01""",
    "ccc": """.59 .90 .70  .54 .33 nan  .84 .90 .84  .42 .81 .80  .80 .82 .85
        .62 -.30 .23  .72 .73 .82  .52 -.54 .75  .48 .05 .86""",
}


@pytest.mark.parametrize("statistic", PRINTED)
def test_values_are_those_that_are_printed(table, statistic):
    found = table.pivot(index="method", columns="site", values=statistic)
    printed = np.array(PRINTED[statistic].split(), dtype=float).reshape(9, 3)
    np.testing.assert_array_equal(found.loc[PRINTED_METHODS.split()], printed)


@pytest.fixture
def table():
    return paper.reported()


@pytest.mark.parametrize("method", DELTA)
def test_change_in_rmse_is_that_of_the_printed_values(table, method):
    rows = table[table["method"] == method].set_index("site").loc[list(paper.SITES)]
    found = [*rows["delta_rmse"], paper.average_delta(table).loc[method, "mean"]]
    np.testing.assert_allclose(found, DELTA[method], atol=0.005)


def test_mean_of_three_ratios_is_not_the_ratio_of_the_sums(table):
    row = paper.average_delta(table).loc["dtl_i_global"]
    # 1 - (0.28 + 0.23 + 0.31) / (0.46 + 0.24 + 0.47) = 1 - 0.82 / 1.17
    assert row["pooled"] == pytest.approx(29.9, abs=0.05)
    assert row["mean"] == pytest.approx(25.8, abs=0.05)


def test_nine_methods_at_three_sites_and_two_lost_values(table):
    assert table.groupby("site")["method"].nunique().to_dict() == dict.fromkeys(
        ["China", "Sweden", "USA"], 9
    )
    lost = table[table.isna().any(axis=1)]
    assert lost[["method", "site"]].to_numpy().tolist() == [["global", "USA"]]
    assert lost.isna().sum().sum() == 2
    assert lost["rmse"].item() == 1.02


def test_sentences_of_the_paper_hold_in_its_table(table):
    rmse = table.pivot(index="method", columns="site", values="rmse")
    ccc = table.pivot(index="method", columns="site", values="ccc")
    assert (rmse.idxmin() == "dtl_i_global").sum() == 3  # the USA: equal to DTL-IR
    best = ccc.max()
    assert (ccc.loc["dtl_i_global"] == best).tolist() == [True, True, False]
    better = rmse.lt(rmse.loc["local"])
    helped = {method: list(row.index[row]) for method, row in better.iterrows()}
    assert helped["dtl_r_global"] == ["China", "USA"]
    assert helped["dtl_i_country"] == ["China", "USA"]
    assert helped["dtl_r_country"] == ["China"]


def test_printed_scores_can_occur_together(table):
    # MSE / (1 - CCC) - ME^2 is the sum of two variances, hence above that of the site's
    # SOC (Table 1); the test samples may vary a little less than the whole site.
    variance = table["site"].map({"China": 0.58**2, "Sweden": 0.57**2, "USA": 0.63**2})
    spread = table["rmse"] ** 2 / (1 - table["ccc"]) - table["mean_error"] ** 2
    known = spread.notna()
    assert (spread[known] > variance[known]).all()


def test_layout_has_the_statistics_in_rows_and_the_sites_in_columns(table):
    shown = paper.table_3(table)
    assert shown.columns.tolist() == ["China", "Sweden", "USA"]
    names = ["RMSE / %", "ME / %", "CCC"]
    assert shown.index.get_level_values(0).unique().tolist() == names
    methods = shown.loc["RMSE / %"].index.tolist()
    assert methods[:4] == ["local", "global", "country", "dtl_i_global"]
    assert shown.loc[("ME / %", "country"), "USA"] == 1.98
    assert np.isnan(shown.loc[("CCC", "global"), "USA"])


def test_method_that_a_site_lacks_is_missing_and_does_not_count(table):
    ours = table[~((table["method"] == "dtl_i_country") & (table["site"] == "Sweden"))]
    assert np.isnan(paper.table_3(ours).loc[("RMSE / %", "dtl_i_country"), "Sweden"])
    row = paper.average_delta(ours).loc["dtl_i_country"]
    assert row["n_sites"] == 2
    assert row["mean"] == pytest.approx((21.739 + 29.787) / 2, abs=0.01)
    assert row["pooled"] == pytest.approx(100 * (1 - 0.69 / 0.93))


def test_method_of_one_s_own_comes_after_the_known_ones():
    scores = pd.DataFrame(
        {
            "method": ["mine", "local"],
            "site": "a",
            "rmse": [0.2, 0.4],
            "mean_error": 0.0,
            "ccc": 0.9,
        }
    )
    assert paper.table_3(scores).loc["CCC"].index.tolist() == ["local", "mine"]
    assert paper.average_delta(scores).loc["mine", "mean"] == 50.0


def test_tables_without_one_network_per_site_are_refused(table):
    is_local = table["method"] == "local"
    for use, wrong, message in (
        (paper.table_3, pd.concat([table, table[:1]]), r"has more\. Take one seed"),
        (
            paper.average_delta,
            table[~(is_local & (table["site"] == "USA"))],
            "missing at USA",
        ),
        (paper.average_delta, table[~is_local], "missing at China, Sweden, USA"),
    ):
        with pytest.raises(ValueError, match=message):
            use(wrong)


def test_transfers_are_compared_in_the_pairs_of_the_hypothesis():
    table = paper.compare_transfers(paper.reported().assign(seed=1))
    assert len(table) == 6
    row = table.loc[("DTL-IR global", "DTL-R global")]
    ratios = np.array([0.31 / 0.45, 0.33 / 0.28, 0.31 / 0.35])
    assert row["ratio"] == pytest.approx(np.exp(np.log(ratios).mean()))
    assert (row["n_sites"], row["n_better"]) == (3, 2)
