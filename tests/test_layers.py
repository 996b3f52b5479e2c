"""Soil layers: the spline, the profiles, honest folds, resuming, the chapter."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from soilnb.datasets import equal_area_spline, load_profiles
from soilnb.datasets.profiles import RASTERS, Profiles, edgeroi_windows
from soilnb.transfer import layers
from soilnb.workflow import begin
from soilnb.workflow.data import REFERENCE

TINY = layers.Budget(n_starts=1, n_steps=20, n_trees=5)
THREE = ((0, 15), (15, 30), (30, 60))


@pytest.fixture
def edgeroi(shared_data, monkeypatch):
    monkeypatch.setenv("SOILNB_DATA", str(shared_data))


def make_profiles(n=40, soc=None):
    """Profiles in a square of 20 km; carbon of all layers goes with one covariate."""
    rng = np.random.default_rng(1)
    cells = rng.normal(size=(n, 1, 1, 2)).astype(np.float32)
    noise = rng.normal(0, 0.3, (n, 3))
    return Profiles(
        name="made",
        ids=np.array([f"p{number:02d}" for number in range(n)]),
        soc=np.exp(cells[:, 0, 0, :1] + noise) if soc is None else soc,
        layers=THREE,
        windows=cells,
        covariates=("a", "b"),
        places=rng.uniform(0, 20_000, (n, 2)),
        unit="%",
    )


def write_table(path, change=None, n=30):
    """Write a user's table of four horizons a profile, which `change` may spoil."""
    rng = np.random.default_rng(2)
    wet = rng.normal(size=n).repeat(4)
    table = pd.DataFrame(
        {
            "profile": np.arange(1, n + 1).repeat(4),
            "top": np.tile([0, 10, 30, 60], n),
            "bottom": np.tile([10, 30, 60, 120], n),
            "soc": np.exp(np.tile([1.0, 0.7, 0.2, -0.5], n) + 0.4 * wet),
            "wetness": wet,
            "owner": "me",
        }
    )
    if change:
        change(table)
    table.to_csv(path, index=False)
    return path


# Two horizons of h = 10 cm with 9 and 5. The slope is 0 at both ends and d where they
# meet, so their means differ by 2 h d / 3, and the penalty is 2 h d^2 / 3. The sum has
# its minimum at d = -4 / (20 / 3 + 4 lambda), where each mean is 2 lambda |d| off.
def test_spline_of_two_horizons_is_the_one_worked_out_by_hand():
    d = -4 / (20 / 3 + 0.4)
    means = equal_area_spline([10, 0], [20, 10], [5, 9], [(0, 10), (10, 20), (0, 5)])
    top = 9 + 0.2 * d - d * 10 / 6
    by_hand = [9 + 0.2 * d, 5 - 0.2 * d, top + d * 25 / 60]
    np.testing.assert_allclose(means, by_hand)


def test_spline_crosses_a_gap_in_a_straight_line():
    wanted = [(10, 20), (20, 30), (14, 16)]
    upper, lower, piece = equal_area_spline([0, 30], [10, 40], [9, 5], wanted)
    slope = (lower - upper) / 10
    assert slope < 0
    assert upper + lower == pytest.approx(14)  # by symmetry about 7
    assert piece == pytest.approx(upper)  # the middle of 10-20 is that of 14-16


def test_spline_keeps_the_carbon_of_its_horizons(rng):
    edges = np.array([0, 7, 20, 33, 61, 100.0])
    values = rng.uniform(1, 20, 5)
    horizons = list(pairwise(edges))
    close = equal_area_spline(edges[:-1], edges[1:], values, horizons, smoothing=1e-6)
    np.testing.assert_allclose(close, values, rtol=1e-3)
    fine = [(cm, cm + 1) for cm in range(100)]
    curve = equal_area_spline(edges[:-1], edges[1:], values, fine, smoothing=1e-6)
    assert curve.sum() == pytest.approx(values @ np.diff(edges), rel=1e-4)


def test_spline_knows_nothing_below_the_last_horizon():
    means = equal_area_spline([0, 10], [10, 40], [9, 5], [(30, 60), (40, 60)])
    inside = equal_area_spline([0, 10], [10, 40], [9, 5], [(30, 40)])
    assert means[0] == pytest.approx(inside[0])
    assert np.isnan(means[1])


@pytest.mark.parametrize(
    ("horizons", "message"),
    [
        (([0, 5], [10, 20], [1, 2]), "must not overlap, got 0-10 cm, 5-20 cm"),
        (([0, 10], [10, 10], [1, 2]), "must end below their top"),
        (([], [], []), "must be at least one"),
        (([0], [10], [np.nan]), "must be at least one, with numbers"),
    ],
)
def test_spline_refuses_horizons_that_are_none(horizons, message):
    with pytest.raises(ValueError, match=message):
        equal_area_spline(*horizons)


def test_spline_agrees_with_the_layers_that_edgeroi_holds(edgeroi, shared_data):
    """The file has kg/m3, the horizons g/kg: the ratio is a bulk density."""
    rdata, utm = pytest.importorskip("rdata"), pytest.importorskip("utm")
    parts = rdata.parser.parse_file(shared_data / "edgeroi-profiles.rda")
    parts = rdata.conversion.convert(parts)["edgeroi"]
    sites, profiles = parts["sites"], load_profiles("edgeroi")
    degrees = [sites[name].to_numpy(float) for name in ("LATGDA94", "LONGDA94")]
    east, north, *_ = utm.from_latlon(*degrees, 55, force_northern=False)
    by_site = dict(list(parts["horizons"].dropna(subset="ORCDRC").groupby("SOURCEID")))
    found = np.full(profiles.soc.shape, np.nan)
    for row, (x, y) in enumerate(profiles.places):
        distance = np.hypot(east - x, north - y)
        rows = by_site.get(sites["SOURCEID"].iloc[int(distance.argmin())], ())
        if distance.min() < 5 and len(rows) > 2:
            columns = ("UHDICM", "LHDICM", "ORCDRC")
            found[row] = equal_area_spline(*(rows[c].to_numpy(float) for c in columns))
    for layer in range(6):
        both = (found[:, layer] > 0) & (profiles.soc[:, layer] > 0)
        assert both.sum() > 280
        mine, theirs = np.log(found[both, layer]), np.log(profiles.soc[both, layer])
        assert 1.1 < np.exp(np.median(theirs - mine)) < 1.7
        close = np.abs(theirs - mine - np.median(theirs - mine)) < 0.5
        assert close.mean() > 0.85
        assert np.corrcoef(mine[close], theirs[close])[0, 1] > 0.9


def test_edgeroi_has_the_known_profiles_and_correlations(edgeroi):
    profiles = load_profiles("edgeroi")
    assert (~np.isnan(profiles.soc)).sum(axis=0).tolist() == [341] * 4 + [339, 320]
    table = layers.correlate_layers(profiles).to_numpy()
    neighbours = np.diag(table, 1)
    assert neighbours.min() > 0.80
    assert neighbours.max() < 0.89
    assert table[0, 5] == pytest.approx(0.14, abs=0.005)


def test_windows_are_the_cells_of_the_rasters_with_north_on_top(edgeroi, shared_data):
    profiles = load_profiles("edgeroi", window=5)
    folder = shared_data / "edgeroi"
    bands = {name: np.array(Image.open(folder / f"{name}.tif")) for name in RASTERS}
    east, north = profiles.places[7]
    # Tie point and pixel size of the GeoTIFFs.
    row, column = int((6679807.81 - north) // 90), int((east - 738698.558) // 90)
    for place, name in enumerate(RASTERS):
        cells = bands[name][row - 2 : row + 3, column - 2 : column + 3]
        np.testing.assert_array_equal(profiles.windows[7, :, :, place], cells)
    red, infrared = bands["landsat-b3"][row, column], bands["landsat-b4"][row, column]
    ndvi = (float(infrared) - red) / (float(infrared) + red)
    assert profiles.windows[7, 2, 2, 7] == pytest.approx(ndvi, rel=1e-5)
    outside, _ = edgeroi_windows([[0.0, 0.0]])
    assert np.isnan(outside).all()


def test_a_test_profile_changes_nothing_but_its_own_score():
    """Its carbon made absurd, in all layers, no prediction of its fold is another."""
    profiles = make_profiles()
    fold = layers.deal_folds(profiles, 1)
    absurd = profiles.soc.copy()
    absurd[0] = 1e6
    case = layers.Case("sparse", 1, (2,), 20)
    before, after = (
        predicted[predicted["profile"].isin(profiles.ids[fold == fold[0]])]
        for one in (profiles, make_profiles(soc=absurd))
        for predicted in [layers.predict_case(one, case, TINY)]
    )
    assert set(before["model"]) == set(layers.MODELS)
    pd.testing.assert_series_equal(before["predicted"], after["predicted"])
    changed = before["measured"] != after["measured"]
    assert set(before.loc[changed, "profile"]) == {"p00"}


def test_the_leak_of_layers_is_seen_by_that_test(monkeypatch):
    monkeypatch.setattr(layers, "POOLING", ("forest_pooled",))  # networks take long
    profiles = make_profiles()
    absurd = profiles.soc.copy()
    absurd[0] = 1e6
    case = layers.Case("leak_layers", 1, (2,), 20)
    before, after = (
        layers.predict_case(one, case, TINY).query("profile == 'p00'")
        for one in (profiles, make_profiles(soc=absurd))
    )
    assert len(before) == 1
    assert (before["predicted"] != after["predicted"]).any()


def test_all_layers_of_a_profile_and_near_neighbours_are_in_one_fold():
    profiles = make_profiles(60)
    near = np.hypot(*(profiles.places[:, None] - profiles.places).transpose(2, 0, 1))
    pairs = np.argwhere((near < 1000) & (near > 0))
    assert len(pairs) > 10
    by_chain = layers.deal_folds(profiles, 1, 1.0)
    assert (by_chain[pairs[:, 0]] == by_chain[pairs[:, 1]]).all()
    squares = layers.deal_folds(profiles, 1, 5.0)
    corner = (profiles.places // 5000).astype(int)
    assert pd.Series(squares).groupby(list(corner.T)).nunique().max() == 1
    assert np.bincount(layers.deal_folds(profiles, 1)).tolist() == [12] * 5
    with pytest.raises(
        ValueError, match=r"must leave 5 blocks or more, got 1 of 50 km"
    ):
        layers.deal_folds(profiles, 1, 50.0)


def test_symmetries_are_the_eight_of_a_square():
    from soilnb.cnn.windows import _symmetries

    window = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    turned = {tuple(one.ravel()) for one in _symmetries(window)}
    assert len(turned) == 8
    assert {one[4] for one in turned} == {4}


def test_a_network_learns_alone_what_it_learns_in_a_stack(monkeypatch):
    """Without dropout, which is drawn for the stack, the others do not matter."""
    from soilnb.cnn import windows

    monkeypatch.setattr(windows, "DROPOUT", 0.0)
    monkeypatch.setattr(windows, "_network", windows._Network)
    profiles = make_profiles()
    log = np.log(profiles.soc)
    rows = np.flatnonzero(layers.deal_folds(profiles, 1)) * 3 + 2
    fits = [
        windows.Fit(rows // 3, part[5:], part[:5], 2) for part in (rows, rows[::-1])
    ]
    predicted = []
    for some in (fits, fits[:1]):
        stack = windows.WindowStack(profiles.windows, log, some)
        predicted.append(stack.train(60).predict(profiles.windows)[0])
    np.testing.assert_allclose(*predicted, rtol=1e-4)
    assert np.corrcoef(predicted[0], log[:, 2])[0, 1] > 0.5


def test_stacks_of_one_shape_share_a_graph_and_nothing_that_they_learn(monkeypatch):
    from soilnb.cnn import windows

    profiles = make_profiles()
    log = np.log(profiles.soc)
    rows = np.flatnonzero(layers.deal_folds(profiles, 1)) * 3 + 2
    fits = [windows.Fit(rows // 3, rows[5:], rows[:5], 2)]

    def learn(seed):
        stack = windows.WindowStack(profiles.windows, log, fits, seed=seed)
        return stack.train(20), stack.predict(profiles.windows)

    windows._network.cache_clear()
    stacks, predicted = zip(*map(learn, (1, 2)), strict=True)
    assert windows._network.cache_info().currsize == 1
    for stack, first in zip(stacks, predicted, strict=True):
        np.testing.assert_array_equal(stack.predict(profiles.windows), first)
    monkeypatch.setattr(windows, "_network", windows._Network)  # each its own
    for seed, first in enumerate(predicted, start=1):
        np.testing.assert_array_equal(learn(seed)[1], first)


def test_an_interrupted_run_goes_on_with_the_same_answer(tmp_path):
    profiles = make_profiles()
    cases = [layers.Case("leak_rows", repeat, (0, 1, 2)) for repeat in (1, 2, 3)]
    whole = layers.run_cases(profiles, cases, tmp_path / "whole", budget=TINY)

    def interrupt(done, total, text):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        layers.run_cases(
            profiles, cases, tmp_path / "cut", budget=TINY, progress=interrupt
        )
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "cut").iterdir()}
    assert len(files) == 2
    again = layers.run_cases(profiles, cases, tmp_path / "cut", budget=TINY)
    pd.testing.assert_frame_equal(again, whole)
    assert all(file.stat().st_mtime_ns == time for file, time in files.items())


def test_score_is_r2_over_all_folds_at_once():
    facts = {"setting": "all", "block_km": 0.0, "layer": "0-5", "n": 4}
    table = pd.DataFrame({"measured": [1, 2, 3, 4.0], "predicted": [1, 2, 3, 2.0]})
    table = table.assign(**facts, model="cnn", repeat=1)
    assert layers.score(table)["r2_log"].tolist() == [0.2]  # 1 - 4 / 5


def test_gain_of_a_model_with_twice_the_error_is_the_difference_of_r2():
    profile = [f"p{number}" for number in range(50)]
    measured = np.linspace(-1, 1, 50)
    parts = [
        pd.DataFrame({"profile": profile, "measured": measured, "model": model}).assign(
            predicted=measured + error * np.tile([1, -1], 25)
        )
        for model, error in (("transfer", 0.1), ("cnn", 0.2))
    ]
    table = pd.concat(parts).assign(setting="sparse", layer="30-60", n=20, repeat=1)
    (row,) = layers.compare_models(table).itertuples()
    assert row.gain == pytest.approx((0.04 - 0.01) / measured.var(), abs=1e-4)
    assert row.low < row.gain < row.high


def spoil(column, value):
    """Return what writes a value into the second row of a column."""

    def change(table):
        table[column] = table[column].astype(object)
        table.loc[1, column] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("soc"), "none named 'soc' among profile, top"),
        (spoil("soc", "much"), "must have numbers in column 'soc'"),
        (spoil("wetness", None), "each row of column 'wetness', got 1 empty"),
        (spoil("soc", 0.0), "must have 'soc' above 0 .*, got 0"),
        (spoil("wetness", 99.0), "one value of 'wetness' .* several in profile '1'"),
        (spoil("top", 5), "Profile '1' of .* must not overlap"),
        (lambda t: t.pop("wetness"), "a numeric covariate, got 30 and 0"),
        (spoil("profile", None), "each row of column 'profile', got 1 empty"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_a_sentence(
    tmp_path, change, message
):
    path = write_table(tmp_path / "mine.csv", change)
    with pytest.raises(ValueError, match=message) as error:
        load_profiles(path)
    assert str(error.value).endswith(".")


def test_a_table_becomes_layers_as_far_as_its_horizons_reach(tmp_path):
    profiles = load_profiles(write_table(tmp_path / "mine.csv"))
    assert len(profiles) == 30
    assert profiles.windows.shape == (30, 1, 1, 1)
    assert profiles.places is None
    horizons = pd.read_csv(tmp_path / "mine.csv").query("profile == 1")
    by_hand = equal_area_spline(horizons["top"], horizons["bottom"], horizons["soc"])
    np.testing.assert_allclose(profiles.soc[0], by_hand)
    assert "owner hold text" in profiles.notes[1]
    assert {case.setting for case in layers.plan_cases(profiles, 1)} == {
        "sparse",
        "leak_layers",
        "all",
        "leak_rows",
    }


def test_an_even_window_and_too_few_values_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'window' must be odd, got 4"):
        load_profiles("edgeroi", window=4)
    with pytest.raises(ValueError, match="must have 30 profiles or more"):
        load_profiles(write_table(tmp_path / "mine.csv", n=29))
    soc = make_profiles().soc
    soc[29:] = np.nan
    with pytest.raises(ValueError, match="known at 30 of them, got at most 29"):
        layers.plan_cases(make_profiles(soc=soc), 1)


def test_without_data_and_network_the_chapter_has_its_reference_tables(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("SOILNB_DATA", str(tmp_path / "none"))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    step = begin("11_layers", {"profile": "tiny", "results": str(tmp_path / "r")})
    assert "soilnb data fetch edgeroi" in step.missing
    scores = step.table("layers", layers.score, None)
    pd.testing.assert_frame_equal(scores, pd.read_csv(REFERENCE / "layers.csv"))


def test_reference_results_are_complete_and_show_what_the_chapter_says():
    scores = pd.read_csv(REFERENCE / "layers.csv")
    columns = ["setting", "layer", "n", "model", "repeat", "r2_log", "block_km"]
    assert scores.columns.tolist() == columns
    assert set(scores["repeat"]) == {1, 2, 3}
    mean = scores.groupby(["setting", "layer", "n", "model"])["r2_log"].mean()
    assert mean["all"].index.get_level_values("n").unique().tolist() == [273]
    sparse = mean["sparse", "30-60", 20]
    assert set(sparse.index) == set(layers.MODELS)
    assert sparse["transfer"] - sparse["cnn"] >= 0.15
    leak, honest = mean["leak_rows"], mean["all"].xs("forest_pooled", level="model")
    assert set(leak.index.get_level_values("model")) == {"forest_pooled"}
    assert leak.mean() - honest.mean() >= 0.15


@pytest.mark.slow
def test_the_chapter_runs_on_a_table_of_profiles(tmp_path):
    import papermill

    from soilnb.workflow.steps import notebook_path

    table = write_table(tmp_path / "mine.csv")
    given = {"profile": "tiny", "results": str(tmp_path / "r"), "data": str(table)}
    papermill.execute_notebook(
        notebook_path("11_layers"), tmp_path / "out.ipynb", given, progress_bar=False
    )
    scores = pd.read_csv(tmp_path / "r" / "companions" / "11_layers" / "layers.csv")
    assert set(scores["setting"]) == {"sparse", "leak_layers", "all", "leak_rows"}
    assert "kriging" not in set(scores["model"])
