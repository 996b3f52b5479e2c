"""Sites with covariates: the data set of the regions, a table of one's own."""

import numpy as np
import pandas as pd
import pytest

from soilnb.datasets import data_sets, load_sites
from soilnb.datasets.regions import CLIMATE, climate_features


def test_mean_year_weighs_each_calendar_month_once():
    # Thirteen months, January twice (0 and 2): its mean is 1, the others their number.
    months = [*range(1, 13), 1]
    series = np.array([0.0, *range(2, 13), 2.0])
    monthly = np.repeat(series[None, :, None], len(CLIMATE), axis=2)
    features = climate_features(monthly, months).iloc[0]
    assert features["pr_mean"] == 6.5
    assert features["pr_winter"] == 5  # (12 + 1 + 2) / 3
    assert features["pr_summer"] == 7
    assert features["pr_range"] == 11


def test_raca_is_joined_and_cleaned_as_counted(shared_data, monkeypatch):
    monkeypatch.setenv("SOILNB_DATA", str(shared_data))
    raca = load_sites()
    assert len(raca) == data_sets()["raca"].samples == 6163
    assert raca.X.shape == (6163, 60)
    assert raca.monthly.shape == (6163, 61, 13)
    assert np.isfinite(raca.X).all()
    assert len(raca.regions) == 17
    assert not raca.info["site_id"].duplicated().any()
    variable = dict(zip(CLIMATE, np.moveaxis(raca.monthly, 2, 0), strict=True))
    assert variable["swe"][:, 6].max() == 0  # July 2010: no snow, and none invented
    assert (variable["tmmx"] >= variable["tmmn"]).mean() > 0.999
    summer, winter = (
        raca.X[:, raca.covariates.index(f"tmmx_{part}")]
        for part in ("summer", "winter")
    )
    assert (summer > winter).all()  # the months are in their order
    assert np.exp(raca.y).max() == pytest.approx(1268.24, abs=0.01)
    few = raca.thin(100)
    assert len(few) == len(few.info) == len(few.monthly) == 100


def _table(path, **changes):
    rows = np.arange(90)
    columns = {
        "soc": 1.0 + rows % 7,
        "latitude": 40.0,
        "longitude": -90.0,
        "region": np.where(rows < 45, "a", "b"),
        "rain": rows * 1.0,
        "who": "me",
    } | changes
    pd.DataFrame({k: v for k, v in columns.items() if v is not None}).to_csv(
        path, index=False
    )
    return path


def test_a_table_of_ones_own_is_read(tmp_path):
    own = load_sites(_table(tmp_path / "my_sites.csv"))
    assert own.covariates == ("latitude", "longitude", "rain")
    assert own.regions == ["a", "b"]
    assert own.y[1] == pytest.approx(np.log(2))
    assert any("who hold text: left out" in note for note in own.notes)
    below = _table(tmp_path / "below.csv", soc=np.arange(90) - 5.0)
    assert load_sites(below).y[0] == -5  # no logarithm
    assert load_sites(below, target="rain").unit == "rain"
    state = np.where(np.arange(90) < 40, "x", "y")
    by_state = load_sites(_table(tmp_path / "state.csv", state=state), region="state")
    assert by_state.regions == ["x", "y"]
    assert any("region, who hold text" in note for note in by_state.notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"soc": None}, r"Unknown column of 'my.csv', which has no 'soc'"),
        ({"region": None}, r"which has no 'region'"),
        ({"soc": "much"}, r"Column 'soc' of 'my.csv' must hold numbers, got 'much'"),
        ({"latitude": 123.0}, r"'latitude' .* in degrees, at most 90, got 123"),
        ({"rain": [np.nan] * 2 + [1.0] * 88}, r"'rain' .* in each row, got 2 empty"),
        ({"region": "a"}, r"'region' .* two regions of at least 40 sites, got 1"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_sentence(
    tmp_path, changes, message
):
    with pytest.raises(ValueError, match=message):
        load_sites(_table(tmp_path / "my.csv", **changes))


def test_a_file_that_is_not_there_or_no_table_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file .*'data'\."):
        load_sites(tmp_path / "none.csv")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(ValueError, match=r"'empty\.csv' must be a table in a CSV file"):
        load_sites(tmp_path / "empty.csv")
