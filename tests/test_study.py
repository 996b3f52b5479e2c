"""The prepared study: who may be used for what."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.cross_decomposition import PLSRegression

from soilnb.baselines import fit_plsr
from soilnb.datasets import SpectralLibrary, load_site
from soilnb.study import (
    Fits,
    Study,
    explained,
    predict_with,
    prepare,
    why_unrelated,
)
from soilnb.study.split import select_local


def test_local_and_test_samples_are_the_whole_site_once(skane):
    rows = np.sort(np.concatenate([skane.local, skane.test]))
    assert rows.tolist() == list(range(125))
    assert len(skane.local) == 30


def test_library_has_no_row_of_the_site_and_covers_the_grid(skane):
    assert "SL.125" not in set(skane.library.info["group"])
    assert len(skane.library) == 896 - 125 - 1  # the copy in SC.93
    assert np.isfinite(skane.library.reflectance).all()
    assert skane.wavelengths[[0, -1]].tolist() == [420, 2480]
    assert len(skane.wavelengths) == 207
    # The country library is the other Swedish farm.
    assert set(skane.library.info["group"].iloc[skane.country_rows]) == {"UL.120"}
    assert len(skane.country_rows) == len(skane.country_folds) == 120


def test_grid_is_cut_to_the_sites_range_and_a_small_country_is_not_used(farms):
    note = "5 of 30 rows have no SOC and are left out."
    study = prepare(replace(farms, notes=(note,)), load_site("rhineland"))
    assert study.wavelengths[[0, -1]].tolist() == [1000, 2400]
    assert {"SA.112", "SL.125"} <= set(study.library.info["group"])
    assert note in study.notes  # what the library said reaches the study
    vaud = prepare(farms, load_site("vaud"))
    assert len(vaud.country_rows) == 0
    assert any("The country models are not run" in note for note in vaud.notes)


def test_copy_of_a_spectrum_is_left_out_and_said(farms):
    """SC.93 holds one spectrum twice, with 1.97 and with 3.83 % SOC."""
    study = prepare(farms, load_site("santa-catarina"))
    assert len(study.site) == 93 - 1
    assert "SC.93-081" not in set(study.site.info["sample_id"])
    note = "Samples of the site that copy an earlier spectrum, left out: 1, 1 of them "
    assert any(sentence.startswith(note) for sentence in study.notes)


def test_library_group_that_is_the_site_is_left_out_but_not_for_one_like_soil(farms):
    site = load_site("skane")
    renamed = replace(site, info=site.info.assign(group="mine", source="mine"))
    study = prepare(farms, renamed)
    assert "SL.125" not in set(study.library.info["group"])
    # A soil of the site that looks like one of Uppsala's costs nothing; one that is the
    # same to three decimals costs that row, whatever its SOC.
    uppsala = load_site("uppsala").reflectance[0]
    spectra = site.reflectance.copy()
    spectra[0] = uppsala + np.linspace(-4e-3, 4e-3, len(uppsala))
    study = prepare(farms, replace(site, reflectance=spectra))
    assert (study.library.info["group"] == "UL.120").sum() == 120
    spectra[0] = uppsala + 5e-4
    study = prepare(farms, replace(site, reflectance=spectra))
    assert (study.library.info["group"] == "UL.120").sum() == 119


@pytest.mark.parametrize("split", ["kennard_stone", "random"])
def test_soc_decides_neither_the_split_nor_the_library_rows(farms, split):
    """With another name, so that the site's own rows are found by their spectra."""
    site = load_site("skane")
    absurd = np.linspace(1, 50, len(site))
    info = site.info.assign(group="mine", source="mine")
    found = [
        prepare(farms, replace(site, soc=soc, info=info), split=split)
        for soc in (site.soc, absurd)
    ]
    for name in ("local", "test", "local_folds", "library_folds"):
        np.testing.assert_array_equal(*[getattr(one, name) for one in found])
    np.testing.assert_array_equal(*[one.samples("global").X for one in found])


def test_drawn_rows_are_at_most_so_many_and_the_seeds(skane):
    few = skane.draw(100, 10)
    assert len(few) == 10
    assert (np.diff(few) > 0).all()
    assert few[-1] < 100
    assert skane.draw(100, 10).tolist() == few.tolist()
    assert skane.draw(100, 100).tolist() == list(range(100))
    for part, n_rows in (("global", len(skane.library)), ("country", 120)):
        rows, whole = skane.draw(n_rows, 50), skane.samples(part)
        for column, drawn in zip(whole, skane.samples(part, 50), strict=True):
            np.testing.assert_array_equal(drawn, column[rows])


def test_localised_samples_are_the_selected_rows_then_the_local_ones(skane):
    X, y, folds = skane.localised([7, 3])
    whole, local = skane.samples("global"), skane.samples("local")
    np.testing.assert_array_equal(X, [whole.X[7], whole.X[3], *local.X])
    np.testing.assert_array_equal(y, [whole.y[7], whole.y[3], *local.y])
    assert folds.tolist() == skane.localised_folds(2).tolist()


def some_measured(site):
    """A site, of which every fifth sample was not analysed."""
    soc = site.soc.copy()
    soc[::5] = np.nan
    return replace(site, soc=soc)


def without_bands(site, first, last):
    """A site that was not measured between two wavelengths."""
    kept = (site.wavelengths < first) | (site.wavelengths > last)
    bands = {"wavelengths": site.wavelengths[kept]}
    return replace(site, reflectance=site.reflectance[:, kept], **bands)


@pytest.fixture(scope="module")
def partly():
    return some_measured(load_site("skane"))


def test_unmeasured_samples_are_neither_local_nor_test(farms, partly, tmp_path):
    study = prepare(farms, partly)
    assert study.unmeasured.tolist() == list(range(0, 125, 5))
    rows = np.concatenate([study.local, study.test, study.unmeasured])
    assert np.sort(rows).tolist() == list(range(125))
    assert len(study.X_site) == 125
    note = "25 samples of the site have no SOC: they are estimated, and in no model."
    assert note in study.notes
    # What is measured is split as if the others had never been sampled.
    alone = prepare(farms, partly.take(np.isfinite(partly.soc)))
    ids = [one.site.info["sample_id"].to_numpy() for one in (study, alone)]
    assert ids[0][study.local].tolist() == ids[1][alone.local].tolist()
    assert ids[0][study.test].tolist() == ids[1][alone.test].tolist()
    assert study.fingerprint != alone.fingerprint
    study.save(tmp_path)
    again = Study.load(tmp_path)
    assert again.fingerprint == study.fingerprint
    assert again.unmeasured.tolist() == study.unmeasured.tolist()
    assert again.library.notes == study.library.notes != ()  # left out of a report
    assert study.split()["set"].value_counts()["unmeasured"] == 25
    drawn = study.resplit(split="random", n_local=40)
    assert not np.isin(drawn.local, study.unmeasured).any()
    assert len(drawn.test) == 60


def test_few_measured_samples_are_all_local(farms, partly, tmp_path):
    soc = partly.soc.copy()
    soc[np.flatnonzero(np.isfinite(soc))[34:]] = np.nan
    study = prepare(farms, replace(partly, soc=soc))
    assert len(study.local) == 34
    assert not len(study.test)
    assert "too few are measured for a test" in " ".join(study.notes)
    study.save(tmp_path)
    assert Study.load(tmp_path).fingerprint == study.fingerprint
    soc[study.local[9:]] = np.nan
    with pytest.raises(ValueError, match="10 measured samples, got 9 with SOC among 1"):
        prepare(farms, replace(partly, soc=soc))


def test_unmeasured_sample_may_have_the_spectrum_of_another(farms, partly):
    spectra = partly.reflectance.copy()
    spectra[[0, 7]] = spectra[1]  # without SOC, and with it
    study = prepare(farms, replace(partly, reflectance=spectra))
    ids = partly.info["sample_id"]
    left_out = set(ids) - set(study.site.info["sample_id"])
    assert left_out == {ids[7]}
    assert len(study.unmeasured) == 25


def test_library_rows_without_soc_are_left_out_and_counted(farms, skane):
    soc = farms.soc.copy()
    first = skane.library.info["sample_id"].iloc[0]
    soc[farms.info["sample_id"] == first] = np.nan
    study = prepare(replace(farms, soc=soc), load_site("skane"))
    assert first not in set(study.library.info["sample_id"])
    assert "1 library rows have no SOC and are left out." in study.notes


def test_synthetic_data_is_known_as_such_after_reading(farms, skane, tmp_path):
    study = prepare(farms, load_site("twin-sweden"))
    study.save(tmp_path)
    again = Study.load(tmp_path)
    assert again.is_synthetic
    assert set(again.site.info["province"]) == {"Sweden-3"}
    assert not skane.is_synthetic


def test_saved_study_is_the_same_when_read(skane, tmp_path):
    skane.save(tmp_path)
    again = Study.load(tmp_path)
    assert again.fingerprint == skane.fingerprint
    np.testing.assert_array_equal(again.samples("global").X, skane.samples("global").X)
    np.testing.assert_array_equal(again.country_folds, skane.country_folds)
    np.testing.assert_array_equal(again.test, skane.test)


def test_plsr_row_can_be_recomputed_from_the_saved_tables(skane, tmp_path):
    """The rule of the book with scikit-learn and nothing of the package."""
    skane.save(tmp_path)
    site = pd.read_parquet(tmp_path / "site.parquet").set_index("sample_id")
    split = pd.read_csv(tmp_path / "split.csv")
    bands = [name for name in site if name.isdigit()]
    absorbance = -np.log10(site[bands].to_numpy(float))
    spectra = pd.DataFrame(
        (absorbance - absorbance.mean(1, keepdims=True))
        / absorbance.std(1, ddof=1, keepdims=True),
        index=site.index,
    )
    local = split[split["set"] == "local"]
    test = split[split["set"] == "test"]
    X, y = spectra.loc[local["sample_id"]].to_numpy(), site["soc"][local["sample_id"]]
    y, folds = y.to_numpy(), local["fold"].to_numpy()
    press = np.zeros(15)
    for a in range(1, 16):
        for fold in range(10):
            held = folds == fold
            model = PLSRegression(a, scale=False).fit(X[~held], y[~held])
            press[a - 1] += ((model.predict(X[held]).ravel() - y[held]) ** 2).sum()
    best = int(press.argmin()) + 1
    model = PLSRegression(best, scale=False).fit(X, y)
    predicted = model.predict(spectra.loc[test["sample_id"]].to_numpy()).ravel()
    measured = site["soc"][test["sample_id"]].to_numpy()
    expected = np.sqrt(np.mean((predicted - measured) ** 2))

    fits = Fits(skane)
    fits.fit(
        "plsr_local",
        fit_plsr,
        *skane.samples("local"),
        max_components=15,
    )
    scores, _ = fits.score("quick")
    assert scores.loc[0, "n_components"] == best
    assert scores.loc[0, "rmse"] == pytest.approx(expected, rel=1e-6)


def partly_flat(study):
    """The study with one SOC in its first ten local samples."""
    soc = study.site.soc.copy()
    soc[study.local[:10]] = 1.5
    return replace(study, site=replace(study.site, soc=soc))


# fmt: off
REFUSED = {
    r"at least n_local \+ 5 = 126 samples, got 125":
        lambda farms, site, _: prepare(farms, site, n_local=121),
    "= 101 samples, got 100 with SOC among 125":
        lambda farms, site, _: prepare(farms, some_measured(site), n_local=96),
    "'n_local' must be at least 10, got 3":
        lambda farms, site, _: prepare(farms, site, n_local=3),
    "'n_folds' must be between 2 and 30":
        lambda farms, site, _: prepare(farms, site, n_folds=31),
    "2490": lambda farms, site, _: prepare(farms, site, wavelength_range=(2490, 2600)),
    "Unknown split 'kennard-stone'. Did you mean":
        lambda farms, site, _: prepare(farms, site, split="kennard-stone"),
    "at least 50 rows that cover":
        lambda _, site, __: prepare(load_site("rhineland"), site),
    "at least 35 different spectra, got 25 among": lambda farms, site, _: prepare(
        farms, replace(site, reflectance=site.reflectance[np.arange(125) % 25])
    ),
    "got none between 899 and 1701 nm":
        lambda farms, site, _: prepare(farms, without_bands(site, 900, 1700)),
    "must vary among the 30 local samples":
        lambda farms, site, _: prepare(farms, replace(site, soc=np.full(125, 2.0))),
    "must vary among the 10 local samples":
        lambda _, __, study: partly_flat(study).first_local(10),
    "Unknown library 'countries'": lambda _, __, study: study.samples("countries"),
    "'library' must be 'global' for the site 'va":
        lambda farms, *_: prepare(farms, load_site("vaud")).samples("country"),
    r"between 10 and 30 \(the local samples\), .* 9":
        lambda _, __, study: study.first_local(9),
    "'n' must be between 10 and 30 .* 31": lambda _, __, study: study.first_local(31),
    "'n' must be between 20 and 30":
        lambda farms, site, _: prepare(farms, site, n_folds=20).first_local(19),
}
# fmt: on


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_studied_is_refused(farms, skane, message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message](farms, load_site("skane"), skane)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.round(3),
        lambda values: (0.97 * values).round(5),
        lambda values: (10 ** np.log(values)).round(5),
    ],
    ids=["rounded", "another white reference", "natural logarithm for the decadic"],
)
def test_a_farm_of_the_library_under_another_name_is_left_out(farms, skane, change):
    farm = load_site("skane")
    info = farm.info.assign(group="my-farm", source="my-farm")
    study = prepare(
        farms,
        replace(farm, reflectance=change(farm.reflectance.astype(float)), info=info),
    )
    assert "SL.125" not in set(study.library.info["group"])
    assert len(study.library) == len(skane.library)
    note = "Library rows that are samples of the site, by spectrum, left out: 125"
    assert f"{note} (SL.125)." in study.notes


def test_every_copy_of_a_site_row_is_left_out_of_a_library_without_groups(farms):
    rows = np.r_[np.arange(896), np.flatnonzero(farms.info["group"] == "SL.125")]
    ids = [f"r{number}" for number in range(len(rows))]
    info = farms.info.iloc[rows].assign(group="all", source="all", sample_id=ids)
    library = SpectralLibrary(
        "all", farms.reflectance[rows], farms.wavelengths, farms.soc[rows], info
    )
    site = load_site("skane")
    study = prepare(library, site)
    on_grid = site.on_grid(study.wavelengths)
    distance = np.abs(study.library.reflectance[:, None] - on_grid.reflectance).max(2)
    assert distance.min() > 0.005


def test_sample_may_be_called_na(farms, tmp_path):
    farm = load_site("skane")
    info = farm.info.assign(sample_id=["NA", "null", *farm.info["sample_id"][2:]])
    study = prepare(farms, replace(farm, info=info))
    study.save(tmp_path)
    assert Study.load(tmp_path).fingerprint == study.fingerprint


def test_country_is_found_whatever_its_capitals_and_tells_studies_apart(farms, skane):
    site = load_site("skane")
    names = ("sweden", "Brazil")
    same, other = (
        prepare(farms, replace(site, info=site.info.assign(country=name)))
        for name in names
    )
    assert len(same.country_rows) == len(skane.country_rows)
    assert other.local.tolist() == skane.local.tolist()
    assert other.fingerprint != skane.fingerprint


def test_prediction_with_no_library_rows_is_that_of_plsr_local(skane):
    local = fit_plsr(*skane.samples("local"), max_components=15)
    np.testing.assert_array_equal(predict_with(skane, []), local.predict(skane.X_test))
    few = predict_with(skane, [3, 5, 8])
    assert not np.array_equal(few, predict_with(skane, []))


@pytest.fixture(scope="module")
def fewer(skane):
    return skane.first_local(12)


def test_first_local_keeps_the_test_samples_and_the_library(skane, fewer, tmp_path):
    assert fewer.local.tolist() == skane.local[:12].tolist()
    for name in ("X", "y"):
        few, whole = (getattr(one.samples("local"), name) for one in (fewer, skane))
        np.testing.assert_array_equal(few, whole[:12])
    assert fewer.test.tolist() == skane.test.tolist()
    np.testing.assert_array_equal(fewer.samples("global").X, skane.samples("global").X)
    assert fewer.library_folds.tolist() == skane.library_folds.tolist()
    assert fewer.country_folds.tolist() == skane.country_folds.tolist()
    assert "Of 30 local samples only the first 12 are used." in fewer.notes
    assert len(skane.local) == 30
    # Fresh folds of even size.
    assert np.bincount(fewer.local_folds).tolist() == [2, 2, *[1] * 8]
    assert len(fewer.localised_folds(5)) == 17
    # Another study, unless it keeps all; the same when it was saved.
    assert fewer.fingerprint != skane.fingerprint == skane.first_local(30).fingerprint
    fewer.save(tmp_path)
    again = Study.load(tmp_path)
    assert again.fingerprint == fewer.fingerprint
    assert again.test.tolist() == fewer.test.tolist()
    assert again.notes == fewer.notes


def test_first_local_samples_are_those_that_kennard_stone_selects_first(farms, skane):
    small = prepare(farms, load_site("skane"), n_local=10)
    first = skane.first_local(10)
    assert first.local.tolist() == small.local.tolist()
    assert first.local_folds.tolist() == small.local_folds.tolist()
    # Only the test samples differ: 95 and 115.
    assert first.fingerprint != small.fingerprint


def test_random_split_is_that_of_its_seed(farms, skane):
    site = load_site("skane")
    first, again, other = (
        prepare(farms, site, split="random", seed=seed) for seed in (1, 1, 2)
    )
    assert first.local.tolist() == again.local.tolist()
    assert first.fingerprint == again.fingerprint
    assert len({one.fingerprint for one in (first, other, skane)}) == 3
    assert set(first.local) != set(other.local) != set(skane.local)
    rows = np.sort(np.concatenate([first.local, first.test]))
    assert rows.tolist() == list(range(125))
    assert "The local samples were drawn at random, not by Kennard-Stone." in (
        first.notes
    )
    np.testing.assert_array_equal(first.samples("global").X, skane.samples("global").X)


def test_random_splits_hold_every_sample_about_as_often(farms):
    """30 of 125 samples: in 200 splits each is local 48 times, sd 6."""
    site = load_site("skane")
    counts = np.zeros(125)
    for seed in range(1, 201):
        counts[select_local(site.reflectance, 30, "random", seed)] += 1
    assert counts.sum() == 200 * 30
    assert np.abs(counts - 48).max() < 5 * 6.04
    # Chi-squared with 124 degrees of freedom, mean 124 x (1 - 30/125): sd below 13.
    assert np.sum((counts - 48) ** 2 / 48) < 94 + 5 * 13


def scanned(farm, n_soils=40, n_scans=3):
    """A farm of several scans of each soil."""
    rng = np.random.default_rng(4)
    rows = np.repeat(np.arange(n_soils), n_scans)
    scale = 1 + 0.01 * rng.normal(size=(len(rows), 1))
    bent = 1 + 0.01 * rng.normal(size=(len(rows), 1)) * farm.wavelengths / 1000
    info = farm.info.iloc[rows]
    numbers = [f"{name}-{row}" for row, name in enumerate(info["sample_id"])]
    info = info.assign(soil=info["sample_id"], sample_id=numbers)
    spectra = farm.reflectance[rows] * scale * bent
    return SpectralLibrary("s", spectra, farm.wavelengths, farm.soc[rows], info)


@pytest.mark.parametrize("column", ["soil", "group"])
@pytest.mark.parametrize("split", ["kennard_stone", "random"])
def test_scans_of_a_soil_are_never_parted(farms, column, split):
    site = scanned(load_site("skane"))
    if column == "group":
        info = site.info.assign(group=site.info["soil"]).drop(columns="soil")
        site = replace(site, info=info)
    study = prepare(farms, site, n_local=20, n_folds=5, split=split)
    soil = study.site.info[column].to_numpy()
    assert len(study.local) == 60
    assert study.n_local == 20
    assert study.n_measured == 40
    assert not {*soil[study.local]} & {*soil[study.test]}
    rows = np.arange(30)
    for folds in (study.local_folds, study.localised_folds(len(rows))[len(rows) :]):
        of_soil = pd.Series(folds).groupby(soil[study.local]).nunique()
        assert (of_soil == 1).all()
        assert len(set(folds)) == 5
    few = study.first_local(12)
    assert {*soil[few.local]} == {*soil[study.local][:36]}
    assert few.n_local == 12


def test_a_few_large_groups_are_split_and_said(farms):
    site = load_site("skane")
    halves = site.info.assign(group=np.where(np.arange(len(site)) < 60, "n", "s"))
    study = prepare(farms, replace(site, info=halves), n_folds=5)
    assert any("The 2 groups of the site are too few" in note for note in study.notes)
    assert len(study.local) == study.n_local == 30


def test_spectra_of_other_samples_explain_nothing(farms):
    study = prepare(farms, load_site("skane"), n_folds=5)
    assert explained(study) > 0.3
    assert why_unrelated(study) == ""
    rng = np.random.default_rng(0)
    mixed = replace(study.site, soc=rng.permutation(study.site.soc))
    said = why_unrelated(study.with_split(site=mixed))
    assert said.startswith("The spectra explain nothing of the SOC")


def test_a_gap_between_detectors_costs_its_bands_only(farms):
    site = load_site("skane")
    nm = site.wavelengths
    there = (nm <= 1000) | (nm >= 1060)
    cut = replace(site, reflectance=site.reflectance[:, there], wavelengths=nm[there])
    study = prepare(farms, cut, n_folds=5)
    lost = np.setdiff1d(np.arange(420, 2481, 10), study.wavelengths)
    assert lost.tolist() == [1010, 1020, 1030, 1040, 1050]
    assert any("between 1000 and 1060 nm" in note for note in study.notes)
