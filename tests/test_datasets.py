import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from soilnb.datasets import (
    FARM_SITES,
    FARMS,
    LIBRARIES,
    SITES,
    concatenate,
    describe,
    describe_origin,
    folder_name,
    load_farm,
    load_library,
    load_site,
    place_label,
    wavelength_range,
)
from soilnb.datasets import farms as farms_module

GRID = np.arange(420, 2481, 10)


def test_take_keeps_the_order_asked_for_and_renumbers_info(small_library):
    taken = small_library.take([5, 2])
    assert taken.info["sample_id"].tolist() == ["s05", "s02"]
    assert taken.info.index.tolist() == [0, 1]
    assert np.array_equal(taken.soc, small_library.soc[[5, 2]])
    assert np.array_equal(taken.reflectance, small_library.reflectance[[5, 2]])
    west = small_library.take(small_library.info["group"] == "west")  # a mask
    assert len(west) == 30
    assert set(west.info["group"]) == {"west"}
    assert len(small_library.take([])) == 0
    assert taken.reflectance.dtype == np.float32
    assert taken.wavelengths.dtype == np.float64


def test_on_grid_leaves_out_rows_that_do_not_cover_it(small_library):
    spectra = small_library.reflectance.copy()
    spectra[3, -5:] = np.nan  # sample 3 ends at 840 nm
    library = replace(small_library, reflectance=spectra)
    assert "s03" not in set(library.on_grid([500, 600, 880]).info["sample_id"])
    assert len(library.on_grid([500, 600, 840])) == 60
    assert len(library.on_grid([400, 500])) == 0
    assert len(library) == 60


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("wavelengths", np.arange(39.0), r"'reflectance' has shape \(60, 40\)"),
        ("wavelengths", np.arange(40.0)[::-1], "strictly increasing"),
        ("reflectance", np.full((60, 40), 30.0), "got 30 at row 0. Divide percent"),
        ("reflectance", np.zeros((60, 40)), "above 0"),
        ("soc", np.full(60, 120.0), "got 120 at row 0. Divide g/kg"),
        ("soc", np.full(60, np.inf), "got inf at row 0"),
        ("soc", np.ones((60, 1)), "'soc' must be 1D"),
        ("soc", np.ones(59), "'soc' has 59 rows but 'reflectance' has 60"),
        ("info", pd.DataFrame({"sample_id": range(60)}), "no column 'source'"),
    ],
)
def test_library_refuses_fields_that_do_not_fit(small_library, field, value, message):
    with pytest.raises(ValueError, match=message):
        replace(small_library, **{field: value})


def test_libraries_without_rows_or_with_one_twice_are_refused(small_library):
    for use, given, message in (
        (small_library.take, [0, 1, 0], "unique within its source, got 's00' again"),
        (concatenate, [small_library] * 2, "unique within its source"),
        (concatenate, [], "at least one library"),
        (describe, [], "'soc' must be 1D and not empty"),
        (describe, [1.0, np.nan, np.nan], "'soc' has 2 missing"),
    ):
        with pytest.raises(ValueError, match=message):
            use(given) if use is not concatenate else use(given, "both")


def test_concatenate_pads_what_a_part_was_not_measured_at(small_library):
    narrow = small_library.on_grid(np.arange(705, 800, 5)).take(np.arange(10))
    narrow = replace(narrow, info=narrow.info.assign(source="other"), notes=("One.",))
    both = concatenate([small_library, narrow], "both")
    assert both.name == "both"
    assert np.array_equal(both.wavelengths, small_library.wavelengths)
    assert np.array_equal(both.reflectance[:60], small_library.reflectance)
    inside = (both.wavelengths >= 710) & (both.wavelengths <= 790)
    assert np.isnan(both.reflectance[60:, ~inside]).all()
    assert np.allclose(
        both.reflectance[60:, inside], small_library.reflectance[:10, inside]
    )
    assert both.notes == ("One.",)
    assert both.info.index.tolist() == list(range(70))


def test_soc_that_was_not_measured_stays_so(small_library):
    soc = np.where(np.arange(60) < 3, np.nan, small_library.soc)
    site = replace(small_library, soc=soc)
    other = replace(site, info=site.info.assign(source="other"))
    both = concatenate([site, other], "both")
    assert np.array_equal(both.soc, np.tile(soc, 2), equal_nan=True)
    assert np.isnan(site.on_grid([500, 600]).take([2, 3]).soc).tolist() == [True, False]


def test_describe_gives_the_statistics_of_table_1():
    # sd of 1 2 3 4: squares of deviations sum to 5, 5 / 3 = 1.667, root 1.291;
    # linear quartiles at 1.75, 2.5, 3.25
    statistics = describe([4, 1, 3, 2])
    names = ["n", "mean", "sd", "min", "q1", "median", "q3", "max"]
    assert statistics.index.tolist() == names
    assert np.allclose(statistics, [4, 2.5, 1.2910, 1, 1.75, 2.5, 3.25, 4], atol=1e-4)
    assert np.isnan(describe([2.0])["sd"])


@pytest.mark.parametrize("farm", FARMS, ids=lambda farm: farm.set_name)
def test_a_farm_has_as_many_samples_as_its_name_says(farm):
    library = load_farm(farm.set_name)
    assert len(library) == int(farm.set_name.split(".")[1])
    assert set(library.info["group"]) == {farm.set_name}
    assert set(library.info["country"]) == {farm.country}
    assert library.info["sample_id"][0] == f"{farm.set_name}-001"
    assert np.isfinite(library.reflectance).all()


def test_organic_matter_of_a_farm_becomes_organic_carbon():
    from LimeSoDa import load_dataset

    organic_matter = load_dataset("SL.125")["Dataset"]["SOM_target"]
    site = load_site("skane")
    assert np.allclose(site.soc, organic_matter / 1.724)
    assert set(site.info["carbon_kind"]) == {"organic matter / 1.724"}
    assert any("loss on ignition" in note for note in site.notes)
    vaud = load_site("vaud")
    assert set(vaud.info["carbon_kind"]) == {"organic carbon"}
    assert any("moist" in note for note in vaud.notes)  # as it was measured


def test_reflectance_of_a_farm_that_is_no_fraction_counts_as_not_measured(monkeypatch):
    table = pd.DataFrame({"SOC_target": [1.0, 2.0], "wl_420": [0.0, 5.0]})
    table["wl_421"] = [10.0, 20.0]
    parts = (table, pd.DataFrame())  # without coordinates
    monkeypatch.setattr(farms_module, "_read_limesoda", lambda _: parts)
    library = load_farm("CV.98")
    expected = np.array([[np.nan, 0.1], [0.05, 0.2]], dtype=np.float32)
    assert np.array_equal(library.reflectance, expected, equal_nan=True)
    assert any(note.startswith("CV.98: 1 reflectances") for note in library.notes)


def test_coordinates_of_a_farm_in_another_system_are_left_out_and_said(monkeypatch):
    parts = farms_module._read_limesoda("SC.93")
    parts[1].columns = ["x_25833", "y_25833"]
    monkeypatch.setattr(farms_module, "_read_limesoda", lambda _: parts)
    library = load_farm("SC.93")
    assert not {"latitude", "easting"} & set(library.info)
    assert "SC.93: coordinates named 'x_25833' are not known" in library.notes[-1]


def test_a_missing_limesoda_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "LimeSoDa", None)
    with pytest.raises(ImportError, match="pip install LimeSoDa"):
        load_site("vaud")


def test_library_of_farms_has_all_rows_and_896_over_the_full_range(farms):
    # 125 + 120 + 98 + 93 + 460 + 112 + 62 + 231; the first five cover 420-2480 nm
    assert len(farms) == 1301
    assert len(farms.on_grid(GRID)) == 896
    assert farms.name == "farms"
    assert np.isnan(farms.reflectance).any()
    assert farms.wavelengths[[0, -1]].tolist() == [350, 2500]


def test_every_site_is_a_farm_of_the_library(farms):
    assert len(FARM_SITES) == 7
    assert set(FARM_SITES.values()) <= set(farms.info["group"])
    assert set(FARM_SITES) <= set(SITES)
    assert "" not in SITES
    assert len(set(SITES)) == len(SITES) == 12
    assert LIBRARIES == ("farms", "open", "farms+open", "twin")


def test_a_sites_range_is_its_own_or_that_of_its_library():
    assert load_site("rhineland").wavelengths[[0, 1, -1]].tolist() == [1000, 1001, 2400]
    assert wavelength_range("twin-china", "twin") == (400, 2500)  # as in the paper
    assert wavelength_range("twin-china", "farms") == (420, 2480)
    assert wavelength_range("my.csv", "twin") == (420, 2480)


def test_open_libraries_are_joined_with_the_farms(shared_data, monkeypatch):
    monkeypatch.setenv("SOILNB_DATA", str(shared_data))
    assert len(load_library("open")) == 1523
    both = load_library("farms+open")
    assert len(both) == 1301 + 1523
    assert both.name == "farms+open"
    assert load_site("csiro").name == "csiro"


def test_built_in_data_say_where_they_are_from():
    assert describe_origin("skane").startswith("LimeSoDa ")
    assert describe_origin("twin-usa") == "synthetic, seed 1"
    assert "csiro SHA-256 4e7a4ba5" in describe_origin("csiro")
    both = describe_origin("farms+open")
    assert both.startswith("LimeSoDa ")
    assert both.count("SHA-256") == 4


def test_every_site_has_a_name_for_people_and_none_shares_it():
    names = [place_label(site) for site in SITES]
    assert not set(names) & set(SITES)
    assert len(set(names)) == len(SITES)
    assert place_label("SL.125") == place_label("skane") == "Skåne"
    assert place_label("my-farm") == "my-farm"


@pytest.mark.parametrize("option", ["quantity", "soc_unit", "country"])
@pytest.mark.parametrize(
    ("load", "name"), [(load_site, "vaud"), (load_library, "farms")]
)
def test_options_are_for_files_only(load, name, option):
    with pytest.raises(ValueError, match=f"'{option}' is for files only, got 'x'"):
        load(name, **{option: "x"})


@pytest.mark.parametrize(
    ("use", "name", "message"),
    [
        (load_farm, "MG.44", r"Unknown farm 'MG\.44'"),
        (load_site, "skone", r"Did you mean 'skane'\? Use 'skane', 'upp"),
        (load_library, "farm", r"Did you mean 'farms'\? Use 'farms', 'open"),
        (load_library, "skane", r"Unknown library 'skane'\. It is a site\."),
        (load_site, "farms", r"Unknown site 'farms'\. It is a library\."),
        (folder_name, "farms", r"Unknown site 'farms'\. It is a library\."),
        (folder_name, "skone", "Unknown site 'skone'"),
        (folder_name, "--.csv", "no letter or digit"),
        (folder_name, "x/skane.csv", r"share its results .* Rename the file\."),
        (folder_name, "Skane.csv", r"share its results .* Rename the file\."),
        (folder_name, "sao paulo.csv", r"share its results .* Rename the file\."),
    ],
)
def test_names_that_are_unknown_or_taken_are_refused(use, name, message):
    with pytest.raises(ValueError, match=message):
        use(name)


@pytest.mark.parametrize("path", ["none.csv", "folder/none", Path("none.parquet")])
def test_a_missing_file_says_so(path):
    for load in (load_site, load_library):
        with pytest.raises(FileNotFoundError, match=r"There is no file '.*none"):
            load(path)


def test_a_file_can_be_site_or_library(write_csv):
    path = write_csv()
    site, library = load_site(str(path)), load_library(path, country="Switzerland")
    assert set(site.info["group"]) == {"farm"}
    assert set(library.info["group"]) == {"farm (library)"}
    assert set(library.info["country"]) == {"Switzerland"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("skane", "skane"),
        ("my field (2024).csv", "my-field--2024-"),
        ("a/b.c/north_1.v2.parquet", "north_1.v2"),
        (Path("Åker.csv"), "Åker"),
    ],
)
def test_results_are_named_after_the_site_or_the_file(path, name):
    assert folder_name(path) == name
    assert folder_name("farms", "library") == "farms"
