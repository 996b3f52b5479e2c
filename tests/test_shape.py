"""Reflectance told from absorbance by the shape of real soils."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from soilnb.datasets import FARMS, inspect_file, load_farm, load_open, open_files
from soilnb.datasets.files.quantities import tell_by_shape

SHARED_FILES = Path(__file__).resolve().parents[2] / "shared" / "files"
CUTS_NM = [(300, 2600), (1350, 2550), (1000, 2400), (400, 1000)]
QUANTITIES = ("reflectance", "absorbance")
WAVELENGTHS = np.arange(400.0, 2501.0, 10.0)


def tables_told(library, cut, steps=(1, 10, 20), n_single=40):
    """Return how many tables were told: none wrongly, nor any of single spectra.

    None need be where the library has no ten bands in the cut.
    """
    nm, n_told = library.wavelengths, 0
    if ((nm >= cut[0]) & (nm <= cut[1])).sum() < 10:
        return np.inf
    for step in steps:
        used = (nm >= cut[0]) & (nm <= cut[1]) & (nm % step == 0)
        if used.sum() < 10:
            continue
        for quantity in QUANTITIES:
            spectra = library.reflectance[:, used]
            if quantity == "absorbance":
                spectra = -np.log10(spectra)
            told = tell_by_shape(spectra, nm[used])[0]
            assert told == quantity or (step > 10 and not told)
            n_told += told == quantity
            for row in spectra[:: 1 + len(spectra) // n_single]:
                assert tell_by_shape(row[np.newaxis], nm[used])[0] in (quantity, "")
    return n_told


@pytest.mark.parametrize("cut", CUTS_NM)
@pytest.mark.parametrize("set_name", [farm.set_name for farm in FARMS])
def test_every_farm_is_told_rightly(set_name, cut):
    assert tables_told(load_farm(set_name), cut) >= 2  # in both quantities


@pytest.mark.parametrize("cut", CUTS_NM)
@pytest.mark.parametrize("name", [*open_files()])
def test_every_open_file_is_told_rightly_dry_or_wet(
    shared_data, monkeypatch, name, cut
):
    monkeypatch.setenv("SOILNB_DATA", str(shared_data))
    library = load_open(name)
    states = library.info.get("moisture", pd.Series("", index=library.info.index))
    for state in states.unique():
        part = library.take((states == state).to_numpy())
        assert tables_told(part, cut) >= 2


@pytest.mark.parametrize(
    ("name", "quantity", "seen"),
    [
        ("00-good", "reflectance (fraction)", "a dip, the visible rises"),
        ("01-absorbance-undecided", "absorbance", "a peak, the visible falls"),
    ],
)
def test_files_whose_values_say_nothing_are_told_by_their_shape(name, quantity, seen):
    path = SHARED_FILES / f"{name}.csv"
    if not path.exists():
        pytest.skip("the files are not at ../shared/files")
    said = f"{quantity}, by the shape: water near 1414 and 1915 nm is {seen}"
    report = inspect_file(path)
    assert dict(report.facts)["quantity"].startswith(said)
    assert f"The spectra were taken as {said}." in report.notes


def bend(visible=0.0, water_1414=0.0, water_1915=0.0, noise=0.0):
    """Twenty spectra near 0.4 with features of these sizes."""
    rng = np.random.default_rng(1)
    shape = 1 + visible * np.clip((WAVELENGTHS - 450) / 350, 0, 1)
    for centre, depth in ((1425, water_1414), (1925, water_1915)):
        shape *= 1 - depth * np.exp(-(((WAVELENGTHS - centre) / 25) ** 2))
    brightness = np.linspace(0.3, 0.5, 20)[:, np.newaxis]
    return brightness * shape + rng.normal(0, noise, (20, len(WAVELENGTHS)))


@pytest.mark.parametrize(
    ("features", "quantity", "seen"),
    [
        ({"visible": 0.3}, "reflectance", "the visible rises"),
        ({"water_1414": 0.1}, "reflectance", "water near 1414 nm is a dip"),
        ({"water_1915": -0.1}, "absorbance", "water near 1915 nm is a peak"),
        ({"visible": -0.3, "water_1414": 0.1}, "", ""),  # they contradict
        ({"water_1414": 0.1, "water_1915": -0.1}, "", ""),
        ({"visible": 0.02, "water_1414": 0.002}, "", ""),  # too small
        ({"visible": 0.15, "noise": 0.2}, "", ""),  # less than the noise
        ({}, "", ""),
    ],
)
def test_the_features_that_are_there_decide(features, quantity, seen):
    assert tell_by_shape(bend(**features), WAVELENGTHS) == (quantity, seen)


def test_missing_and_infinite_values_do_not_disturb():
    spectra = bend(visible=0.3, water_1915=0.1).astype(np.float32)
    spectra[3], spectra[5, ::7] = np.nan, np.inf
    spectra[:, 60:70] = np.nan
    told = tell_by_shape(spectra, WAVELENGTHS)
    assert told == ("reflectance", "water near 1915 nm is a dip, the visible rises")
    spectra[:] = np.nan
    assert tell_by_shape(spectra, WAVELENGTHS) == ("", "")


def test_bands_that_are_far_apart_show_no_water():
    used = np.isin(WAVELENGTHS, [400, 1100, 1250, 1350, 1450, 1560, 1700, 2100])
    spectra = bend(water_1414=0.1, water_1915=0.1)[:, used]
    assert tell_by_shape(spectra, WAVELENGTHS[used]) == ("", "")
