"""Files as people have them: each kind is read rightly, or asked about."""

import struct
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from kinds_helpers import write_workbook
from readers_helpers import BANDS, assert_refused, put

from soilnb.datasets import (
    convert_folder,
    inspect_file,
    load_library,
    parse_options,
    read_file,
)
from soilnb.datasets.files.roles import read_name
from soilnb.datasets.files.rows import decimal_degrees
from soilnb.datasets.files.samples import half_of
from soilnb.datasets.files.table import parse_numbers

SHARED_FILES = Path(__file__).resolve().parents[2] / "shared" / "files"


def rename(column="soc", new="soc", factor=1.0):
    def change(frame):
        if factor != 1:
            frame[column] *= factor
        return frame.rename(columns={column: new})

    return change


def bands_as(style):
    return lambda frame: frame.rename(columns={band: style(band) for band in BANDS})


def logarithm(function):
    return lambda frame: frame.assign(soc=function(frame["soc"])).rename(
        columns={"soc": "log_SOC"}
    )


def transposed(frame):
    turned = frame.set_index("sample_id").T
    return turned.reset_index(names="")


def long(frame):
    names = {"variable": "wavelength_nm", "value": "reflectance"}
    return frame.melt(["sample_id", "soc"]).rename(columns=names)


def with_edges(frame):
    """Bands of no signal below 420 and above 2480 nm, where no model looks."""
    return frame.assign(**{"350": 0.0, "360": -0.01, "2500": [np.nan, 0.1] * 15})


def scans(n, ids="{}_{}", noise=0.002):
    """Every soil n times, each scan a little brighter or darker."""

    def change(frame):
        parts = []
        rng = np.random.default_rng(3)
        for scan in range(1, n + 1):
            part = frame.copy()
            part[BANDS] *= 1 + noise * rng.normal(size=(len(part), 1))
            part["sample_id"] = [ids.format(name, scan) for name in part["sample_id"]]
            parts.append(part)
        return pd.concat(parts).sort_index(kind="stable")

    return change


def states(n=3, depth=0.1, by_turns=False):
    """Every soil in n states of moisture, each darker and with more water in it."""

    def change(frame):
        nm = np.array([float(band) for band in BANDS])
        water = np.exp(-(((nm - 1920) / 60) ** 2)) + np.exp(-(((nm - 1430) / 50) ** 2))
        parts = []
        for state in range(n):
            part = frame.copy()
            part[BANDS] *= (1 - depth * state) * (1 - 0.3 * state * water)
            part["sample_id"] = [f"{n * row + state:03d}" for row in range(len(part))]
            parts.append(part)
        table = pd.concat(parts, ignore_index=not by_turns)
        return table.sort_index(kind="stable")

    return change


def with_places(latitude, longitude, names=("latitude", "longitude")):
    return lambda frame: frame.assign(
        **dict(zip(names, (latitude, longitude), strict=True))
    )


# What is read: the name, a change of a good file, what is told, and a part of a note.
OM = {"soc_column": "SOM", "soc_kind": "organic_matter"}
READ = {
    "organic matter": (rename(new="SOM", factor=1.724), OM, "divided by 1.724"),
    "humus": (rename(new="Humus", factor=1.724), {"soc_kind": "organic_matter"}, ""),
    "g/kg in the name": (rename(new="SOC (g/kg)", factor=10), {}, "organic carbon in"),
    "g_kg in the name": (rename(new="SOC_g_kg", factor=10), {}, "divided by 10"),
    "mg/kg in the name": (rename(new="OC mg/kg", factor=1e4), {}, "divided by 10,000"),
    "mg/kg told": (rename(factor=1e4), {"soc_unit": "mg/kg"}, "divided by 10,000"),
    "total carbon": (rename(new="TC"), {"soc_column": "TC"}, "carbon of carbonates"),
    "natural logarithm": (
        logarithm(np.log),
        {"soc_kind": "ln", "soc_unit": "%"},
        "taken from its logarithm",
    ),
    "decimal logarithm": (
        logarithm(lambda soc: np.log10(10 * soc)),
        {"soc_kind": "log10", "soc_unit": "g/kg"},
        "taken from its logarithm",
    ),
    "no unit told": (rename(new="Corg"), {"soc_column": "corg"}, "'Corg' was taken as"),
    "ids told": (rename("sample_id", "plot"), {"id_column": "plot"}, ""),
    "ids found": (rename("sample_id", "SampleID"), {}, "'SampleID' was taken as"),
    "row names": (rename("sample_id", "Unnamed: 0"), {}, "was taken as sample_id"),
    "words around nm": (bands_as("VNIR_refl_{}".format), {}, ""),
    "a word behind nm": (bands_as("{}_mean".format), {}, ""),
    "two numbers": (bands_as("S2_band_({} nm)".format), {}, ""),
    "wavenumbers": (
        bands_as(lambda band: f"{1e7 / int(band):.6f}"),
        {"axis": "wavenumber"},
        "converted from wavenumbers",
    ),
    "micrometres": (
        bands_as(lambda band: f"{int(band) / 1000:g}"),
        {"axis": "micrometre"},
        "converted from micrometres",
    ),
    "bad edges": (with_edges, {}, "3 bands (350 to 2500 nm) have missing, zero or"),
    "transposed": (transposed, {}, "transposed: its 30 columns"),
    "long": (long, {}, "read as 30 samples of 207 bands"),
    "marks of thousands": (bands_as(lambda band: f"{int(band):,}"), {}, ""),
    "columns in another order": (
        lambda frame: frame.rename(columns={"soc": "SOC"}).iloc[:, ::-1],
        {},
        "were sorted by increasing nm",
    ),
    "scans averaged": (scans(4), {"replicates": "average"}, "120 spectra are scans of"),
    "one id for all scans": (
        scans(3, "{}"),
        {"replicates": "average"},
        "90 spectra are scans of 30 soils",
    ),
}


@pytest.mark.parametrize("kind", READ)
def test_a_kind_of_file_gives_the_farm_that_it_was_made_from(write_csv, kind):
    change, told, said = READ[kind]
    good = read_file(write_csv())
    library = read_file(write_csv(change, "kind.csv"), **told)
    assert np.allclose(library.wavelengths, good.wavelengths, atol=1e-3)
    assert np.allclose(library.soc, good.soc, rtol=1e-9)
    assert np.allclose(library.reflectance, good.reflectance, rtol=0.01)
    assert library.info["sample_id"].tolist() == good.info["sample_id"].tolist()
    assert any(said in note for note in library.notes)


@pytest.mark.parametrize("kind", [kind for kind, (_, told, _) in READ.items() if told])
def test_what_is_told_of_a_site_can_be_told_of_a_library_in_one_text(write_csv, kind):
    change, told, _ = READ[kind]
    path = write_csv(change)
    text = ", ".join(f"{name}={value}" for name, value in told.items())
    library = load_library(path, **parse_options(text))
    site = read_file(path, **told)
    assert np.array_equal(library.reflectance, site.reflectance)
    assert np.array_equal(library.soc, site.soc)
    assert library.notes == site.notes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("soc_unit", "must be name=value, each name once, .* got 'soc_unit'"),
        ("axis=wavenumber, axis=", "each name once, .* got 'axis='"),
        ("soc_unt=%", "Unknown option of a file 'soc_unt'. Did you mean 'soc_unit'"),
        ("soc_unit=percent", "Unknown soc_unit 'percent'"),
    ],
)
def test_options_that_are_none_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_options(text)


@pytest.mark.parametrize(
    "name",
    ["OC", "TOC", "Corg", "C_org", "SOC_%", "carbone organique", "organic C", "OC_pct"],
)
def test_names_of_organic_carbon_are_found_and_said(write_csv, name):
    library = read_file(write_csv(rename(new=name)))
    assert np.allclose(library.soc, read_file(write_csv()).soc)
    assert any(f"Column {name!r} was taken as SOC" in n for n in library.notes)


@pytest.mark.parametrize(
    ("name", "kind", "unit"),
    [
        ("SOC (g kg-1)", "organic_carbon", "g/kg"),
        ("SOC (g/kg)", "organic_carbon", "g/kg"),
        ("log_SOC", "log", ""),
        ("C_percent", "total_carbon", "%"),
        ("org.C..g.100g.", "organic_carbon", "g/100g"),
        ("lnSOC", "ln", ""),
        ("log10_OC", "log10", ""),
        ("LOI", "organic_matter", ""),
        ("C (%)", "total_carbon", "%"),
        ("SOC_Mg_ha", "stock", ""),
        ("OC g/dm3", "volume", ""),
        ("TIC", "inorganic", ""),
        *((name, "", "") for name in ("CaCO3", "carbonates", "C/N", "SOC_sd", "clay")),
    ],
)
def test_a_name_says_what_a_column_holds(name, kind, unit):
    meaning = read_name(name)
    assert (meaning.kind, meaning.unit) == (kind, unit)


# What is asked or refused: a change, what is told, and the sentence.


def two_sets(frame):
    second = (frame[BANDS] * 0.9).add_suffix(".1")
    return frame.join(second)[
        ["sample_id", "soc", *sorted([*BANDS, *second], key=float)]
    ]


def vector_normalised(frame):
    size = np.sqrt((frame[BANDS] ** 2).sum(axis=1))
    frame[BANDS] = frame[BANDS].div(size, axis=0)


def white_panel(frame):
    frame.loc[3, BANDS] = 0.98 + np.linspace(0, 0.02, len(BANDS))


def tenfold(frame):
    frame["soc"] = np.linspace(1.0, 2.0, 30)
    frame.loc[[4, 9, 20], "soc"] *= 10


def absorbance(frame):
    frame[BANDS] = -np.log10(frame[BANDS])


def other_name(name):
    return rename(new=name)


ASKED = {
    "organic matter": (
        other_name("SOM"),
        {},
        "'SOM' is organic matter, .*soc_kind=",
    ),
    "its kind is told or asked": (
        other_name("SOM"),
        {"soc_column": "SOM"},
        "'SOM' is organic matter",
    ),
    "logarithm": (other_name("log_SOC"), {}, "is a logarithm: .* soc_unit='%' or"),
    "logarithm without unit": (
        other_name("ln_SOC"),
        {"soc_kind": "ln"},
        "and the unit before it was taken",
    ),
    "stock": (other_name("SOC_stock_t_ha"), {}, "is a stock, not a content"),
    "inorganic": (other_name("Inorganic_carbon"), {}, "is inorganic carbon, not SOC"),
    "total": (other_name("TC"), {}, "carbonates, too: .*say soc_column='TC'"),
    "two candidates": (
        lambda frame: frame.assign(TOC=1.0).rename(columns={"soc": "OC"}),
        {},
        "2 columns may be SOC: say soc_column='OC' or soc_column='TOC'",
    ),
    "no such column": (None, {"soc_column": "SOM"}, "'soc_column' must be a column"),
    "two sets": (two_sets, {}, r"two sets of .*from '420' and from '420\.1'"),
    "year": (
        lambda frame: frame.assign(**{"2019": 0.3}),
        {},
        "Column '2019' is off the grid",
    ),
    "numbered bands": (
        bands_as(lambda band: f"V{(int(band) - 410) // 10 + 2}"),
        {},
        "numbered, not named by their wavelength",
    ),
    "mid-infrared": (
        bands_as(lambda band: str(int(band) + 800)),
        {"axis": "wavenumber"},
        "look like the mid-infrared, .* cannot be used",
    ),
    "bands to 2672 nm": (
        bands_as(lambda band: str(int(band) + 192)),
        {},
        "got 612 to 2672. Remove the columns outside",
    ),
    "scans with ids": (
        scans(4),
        {},
        "120 spectra look like .* 30 soils: .*Say rep",
    ),
    "scans in order": (
        lambda frame: scans(4)(frame).assign(sample_id=[f"s{n}x" for n in range(120)]),
        {},
        "120 spectra look like repeated scans of 30 soils",
    ),
    "states of moisture": (
        states(),
        {},
        "90 spectra .* of 30 soils: they have the sam",
    ),
    "states by turns": (states(by_turns=True), {}, "of 30 soils: .*'000' and '001'"),
    "depths of one id": (
        lambda frame: frame.assign(sample_id=[f"P{n // 3}" for n in range(30)]),
        {},
        "10 ids .* such as with its depth: rows of one id have different SOC",
    ),
    "statistics below": (
        lambda frame: pd.concat(
            [frame, frame.mean(numeric_only=True).to_frame().T.assign(sample_id="Mean")]
        ),
        {},
        "names 'Mean' .data row 31; 1 such rows.: they look like statistics",
    ),
    "one row of absorbance": (
        lambda frame: frame.assign(
            **{b: frame[b].where(frame.index != 7, -np.log10(frame[b])) for b in BANDS}
        ),
        {},
        "1 samples have the shape of absorbance .first: sample '008', data row 8.",
    ),
    "marks of thousands": (
        rename(new="SOC (mg/kg)", factor=10),
        {},
        r"median of .* mg/kg, as its name says: no farm has so little\. Look for marks",
    ),
    "not detected": (put("soc", 3, "n.d."), {}, "'n.d.'.*below_detection='unmeasured'"),
    "by a method": (rename(new="Ciso"), {}, "'Ciso' may be SOC: say soc_column='Ciso'"),
    "one spectrum": (
        lambda frame: frame[["420", "430"]],
        {},
        "are one spectrum. Make one table of a folder .* soilnb data convert FOLDER",
    ),
    "scans with one id": (scans(2, "{}"), {}, "more than once .*replicates='average'"),
    "zeros": (put("soc", 3, 0), {}, "1 values of 0 .*below_detection='half' or"),
    "below detection": (put("soc", 3, "<0.2"), {}, "'<0.2'.*below_detection='half' or"),
    "vector-normalised": (vector_normalised, {}, "same length: .*pre-treated spectra"),
    "white panel": (white_panel, {}, "1 samples look like scans of a white panel"),
    "another unit": (tenfold, {}, "3 of 30 values of 'soc' are about ten times"),
    "wrong quantity": (absorbance, {"quantity": "reflectance"}, "quantity"),
    "water points up": (
        lambda frame: frame.assign(**(0.3 - np.log10(0.2 + 0.5 * frame[BANDS]))),
        {"quantity": "reflectance"},
        "was told to be 'reflectance', but water .* as in absorbance",
    ),
    "water points down": (
        None,
        {"quantity": "absorbance"},
        "was told to be 'absorbance', but water .* as in reflectance",
    ),
}


@pytest.mark.parametrize("kind", ASKED)
def test_a_kind_of_file_that_needs_a_word_is_asked_about(write_csv, kind):
    change, told, message = ASKED[kind]
    assert_refused(write_csv(change), message, **told)


def test_values_below_detection_are_half_or_unmeasured(write_csv):
    def change(frame):
        put("soc", 3, "< 0.4")(frame)
        frame.loc[5, "soc"] = 0

    path = write_csv(change)
    half = read_file(path, below_detection="half").soc
    least = np.delete(half, [3, 5]).min()  # no limit is told for a zero
    assert (half[3], half[5]) == (0.2, least / 2)
    none = read_file(path, below_detection="unmeasured").soc
    assert np.flatnonzero(np.isnan(none)).tolist() == [3, 5]
    assert half_of("<0,2 %") == "0.1"
    assert (half_of("< 0.2"), half_of("n.d."), half_of("below")) == ("0.1", "", "")


def test_scans_that_are_kept_say_of_which_soil_they_are(write_csv):
    path = write_csv(scans(4))
    site = read_file(path, replicates="separate")
    assert len(site) == 120
    assert site.info["soil"].value_counts().tolist() == [4] * 30
    lab = path.with_name("lab.csv")
    good = read_file(write_csv(name="good.csv"))
    table = {"sample_id": good.info["sample_id"], "soc": good.soc.round(4)}
    pd.DataFrame(table).to_csv(lab, index=False)
    bare = write_csv(lambda frame: scans(4)(frame).drop(columns="soc"), "bare.csv")
    mean = read_file(bare, replicates="average", measured=lab)
    assert np.allclose(mean.soc, good.soc.round(4))


# Files


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("f.txt", {"sep": "\t"}),
        ("f.tsv", {"sep": "\t"}),
        ("f.csv", {"encoding": "utf-16"}),
    ],
)
def test_tables_of_text_are_read(write_csv, name, options):
    good = read_file(write_csv())
    assert np.array_equal(read_file(write_csv(None, name, **options)).soc, good.soc)


def spaced(text):
    return text.replace(",", "   ")


def quoted(text):
    """Numbers with a decimal comma, in quotes."""
    head, *lines = text.splitlines()
    cells = [[f'"{cell}"' for cell in line.split(",")] for line in lines]
    return "\n".join([head, *(",".join(line).replace(".", ",") for line in cells)])


def below_header(line):
    return lambda text: text.replace("\n", f"\n{line}\n", 1)


ASD_HEAD = "Text conversion of C:\\a, b\n---\nThe instrument number was 1\n"
UNITS = "-,%," + ",".join(["nm"] * len(BANDS))
TEXTS = {
    "title": (lambda text: f"Results, spring\n\n{text}", "1 line above the header was"),
    "head of an instrument": (lambda text: ASD_HEAD + text, "3 lines above the header"),
    "spaces": (spaced, ""),
    "bars": (lambda text: text.replace(",", "|"), ""),
    "commas at the ends of rows": (
        lambda text: "\n".join(
            f"{x}{',' * (n > 0)}" for n, x in enumerate(text.split())
        ),
        "",
    ),
    "decimal commas in quotes": (quoted, ""),
    "a row of units": (below_header(UNITS), "The row of units beneath the header was"),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_gives_the_farm_that_it_was_made_from(write_csv, tmp_path, kind):
    change, said = TEXTS[kind]
    good, path = read_file(write_csv()), tmp_path / "kind.txt"
    path.write_text(change((tmp_path / "farm.csv").read_text()))
    site = read_file(path)
    assert np.array_equal(site.reflectance, good.reflectance)
    assert np.array_equal(site.soc, good.soc)
    assert site.info["sample_id"].tolist() == good.info["sample_id"].tolist()
    assert any(said in note for note in site.notes)


def test_a_row_of_units_alone_and_a_band_beside_a_long_table_are_refused(
    write_csv, tmp_path
):
    path = tmp_path / "units.csv"
    write_csv()
    header = (tmp_path / "farm.csv").read_text().splitlines()[0]
    path.write_text(f"{header}\n{UNITS}\n")
    assert_refused(path, "has a header but no samples")
    beside = write_csv(lambda frame: long(frame).assign(**{"500": 1}))
    assert_refused(beside, "Column '500' is there 2 times. Keep one of them.")


def test_a_packed_table_is_read_if_it_is_alone(write_csv, tmp_path):
    good, path = read_file(write_csv()), tmp_path / "farm.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.write(tmp_path / "farm.csv", "field/farm.csv")
        packed.writestr("read.me", "a field")
    assert np.array_equal(read_file(path).reflectance, good.reflectance)
    with zipfile.ZipFile(path, "a") as packed:
        packed.writestr("lab.csv", "a,b")
    assert_refused(path, "is a packed file with 2 tables in it. Unpack it")
    (tmp_path / "a.dpt").write_text("4000.0,0.3")
    assert_refused(tmp_path / "a.dpt", "soilnb data convert FOLDER")


def test_a_unit_beneath_the_header_is_that_of_soc(write_csv, tmp_path):
    good, path = read_file(write_csv()), write_csv(rename(factor=10), "kind.csv")
    path.write_text(below_header(",g kg-1" + "," * len(BANDS))(path.read_text()))
    site = read_file(path)
    assert np.allclose(site.soc, good.soc)
    assert "SOC in g/kg was divided by 10 to give %." in site.notes


@pytest.mark.parametrize(
    ("latitude", "longitude", "names"),
    [
        ("55°42'12\"N", "13°30'0\"W", ("latitude", "longitude")),
        ("N 55 42.2", "W 13.5", ("Lat", "Long")),
        ("55,70333333", "-13,5", ("GPS_LAT", "GPS_LONG")),
        (55.70333333, -13.5, ("Latitude (deg)", "lon_wgs84_dd")),
    ],
)
def test_places_are_read_as_people_write_them(write_csv, latitude, longitude, names):
    path = write_csv(with_places(latitude, longitude, names))
    info = read_file(path).info
    assert np.allclose(info[["latitude", "longitude"]], (55.70333333, -13.5))


def test_cells_are_numbers_missing_or_texts_that_are_kept():
    numbers, texts = parse_numbers(["0.5", "NA", "low"])
    assert np.array_equal(numbers, [0.5, np.nan, np.nan], equal_nan=True)
    assert texts == [(2, "low")]
    assert decimal_degrees("13 30'18 W") == "-13.505"
    assert decimal_degrees("5,7") == "5.7"


def test_values_that_are_not_detected_are_half_of_the_smallest(write_csv):
    path = write_csv(put("soc", 3, "< LOD"))
    soc = read_file(path, below_detection="half").soc
    assert soc[3] == np.delete(soc, 3).min() / 2
    assert np.isnan(read_file(path, below_detection="unmeasured").soc[3])


def test_soc_on_another_sheet_is_named(write_csv, tmp_path):
    frame = pd.read_csv(write_csv(), dtype={"sample_id": str}).drop(columns="soc")
    rows = [list(frame.columns), *frame.astype(object).to_numpy().tolist()]
    sheets = {"S": rows, "Lab": [["ID", "OC %"], ["a", 1.0]]}
    notes = read_file(write_workbook(tmp_path / "a.xlsx", sheets)).notes
    assert "The sheet 'Lab' has 'OC %', which is not read: copy it" in notes[0]


def test_comments_row_names_and_windows_letters_are_read_and_said(write_csv):
    good, path = read_file(write_csv()), write_csv()
    text = path.read_text()
    path.write_text("# a field\n# in May\n" + text)
    site = read_file(path)
    assert np.array_equal(site.soc, good.soc)
    assert "2 comment lines above the header were skipped." in site.notes
    path.write_text("# " + text)  # as NumPy writes a header
    assert np.array_equal(read_file(path).reflectance, good.reflectance)
    lines = text.splitlines()
    numbered = [f"{n},{line}" for n, line in enumerate(lines[1:], 1)]
    path.write_text("\n".join([lines[0], *numbered]))  # as R writes row names
    assert np.array_equal(read_file(path).reflectance, good.reflectance)
    path = write_csv(put("sample_id", 20, "Åker"), encoding="cp1252")
    site = read_file(path)
    assert site.info["sample_id"][20] == "Åker"
    assert "'farm.csv' is not UTF-8: it was read as Windows-1252." in site.notes


def test_a_workbook_is_read_from_the_sheet_with_spectra(write_csv, tmp_path):
    frame = pd.read_csv(write_csv(), dtype={"sample_id": str})
    rows = [list(frame.columns), *frame.astype(object).to_numpy().tolist()]
    path = write_workbook(tmp_path / "a.xlsx", {"Notes": [["a field"]], "S": rows})
    site = read_file(path)
    assert np.array_equal(site.reflectance, read_file(write_csv()).reflectance)
    assert site.info["sample_id"][6] == "007"
    assert "The sheet 'S' was read, one of 2." in site.notes


def test_a_folder_of_files_becomes_a_table(write_csv, tmp_path):
    good, folder = read_file(write_csv()), tmp_path / "scans"
    folder.mkdir()
    for name, values in zip(good.info["sample_id"], good.reflectance, strict=True):
        for scan in (1, 2):
            pairs = zip(good.wavelengths, values, strict=True)
            lines = [f"{nm:g}\t{value:.6f}" for nm, value in pairs]
            text = "\n".join(["Wavelength\tReflectance", *lines])
            (folder / f"P{name}_0000{scan}.txt").write_text(text)
    (folder / "readme.md").write_text("a field")
    lab, out = tmp_path / "lab.csv", tmp_path / "made.csv"
    ids = [f"P{name}" for name in good.info["sample_id"]]
    pd.DataFrame({"Sample": ids, "OC": good.soc}).to_csv(lab, index=False)
    said = convert_folder(folder, tmp_path / "table.csv", table=lab)
    assert said[:2] == [
        "60 spectra, 207 bands from 420 to 2480 nm.",
        "30 of 30 samples of lab.csv have a spectrum.",
    ]
    site = read_file(tmp_path / "table.csv", replicates="average")
    assert site.info["sample_id"].tolist() == ids
    assert np.allclose(site.soc, good.soc)
    assert np.allclose(site.reflectance, good.reflectance, atol=1e-5)
    (folder / "z.txt").write_text("\n".join(f"{nm}\t0.2" for nm in range(400, 900)))
    with pytest.raises(ValueError, match=r"same wavelengths, got 207 .* and 500 fr"):
        convert_folder(folder, out)
    with pytest.raises(ValueError, match="has no file with a spectrum"):
        convert_folder(_empty(tmp_path), out)
    assert not out.exists()


def write_asd(path, raw, white):
    """An ASD file of version 2: header, spectrum, head of the reference, reference."""
    form = "<157s 18s 2B 2b l b l 2f 5b H 128s 56s L 2h 2H 4f h 5b 3H b L 4H 2f 27s5b"
    when = struct.pack("<9h", 0, 0, 12, 3, 4, 121, 0, 0, 0)
    facts = [b"", when, 6, 2, 0, 1, 10**9, 1, 10**9, 350.0, 1.0, 2, 0, 0, 0, 0]
    facts += [len(raw), b"", b"", 17, 0, 0, 1, 1, 0.0, 2.0, 350.0, 2500.0, 16]
    facts += [0] * 5 + [10, 10, 10, 4, 0, 64, 64, 0, 0, 1000.0, 1800.0, b""] + [0] * 5
    head = struct.pack("<H2dh", 0xFFFF, 4e4, 4e4, 0)
    parts = [b"as2", struct.pack(form, *facts), raw.tobytes(), head, white.tobytes()]
    path.write_bytes(b"".join(parts))


def test_asd_files_become_reflectance_under_the_laboratory_s_own_unit(tmp_path):
    if find_spec("pyASDReader") is None:  # it leaves a log where it is imported
        pytest.skip("the optional extra vendor is not installed")
    folder, nm = tmp_path / "asd", np.arange(350, 2501)
    folder.mkdir()
    white = np.linspace(2.0, 4.0, len(nm))
    for soil in range(3):
        wanted = 0.2 + 0.1 * soil + nm / 1e4
        write_asd(folder / f"soil{soil}_00000.asd", wanted * white, white)
    lab, out = tmp_path / "lab.csv", tmp_path / "out.csv"
    lab.write_text("id,OC (g/kg)\nSoil0,10\nsoil1,12\nsoil2,8\n")
    convert_folder(folder, out, table=lab)
    table = pd.read_csv(out)
    assert table["sample_id"].tolist() == ["Soil0", "soil1", "soil2"]
    assert table["OC (g/kg)"].tolist() == [10, 12, 8]
    assert np.allclose(table.iloc[1, 2:].astype(float), 0.3 + nm / 1e4)
    assert list(Path.cwd().glob("asd_reader*")) == []


def opus_package(contents):
    """A stand-in for brukeropus: it fails at a damaged file in any way."""

    def read_opus(path):
        nm, values = contents[Path(path).name]
        data = SimpleNamespace(wl=nm / 1000, y=values)
        return SimpleNamespace(all_data_keys=["sm", "r"], r=data)

    module = ModuleType("brukeropus")
    module.read_opus = read_opus
    return module


def test_mid_infrared_opus_files_are_named_and_damaged_ones_left_out(
    tmp_path, monkeypatch
):
    nm = 1e7 / np.linspace(4000, 500, 1800)  # as instruments measure: even in cm-1
    contents = {name: (nm, np.linspace(0.9, 0.1, 1800)) for name in ("a.0", "b.1")}
    monkeypatch.setitem(sys.modules, "brukeropus", opus_package(contents))
    folder, out = tmp_path / "opus", tmp_path / "out.csv"
    folder.mkdir()
    for name in (*contents, "cut.0"):
        (folder / name).write_bytes(b"\n")
    said = convert_folder(folder, out)
    assert said[0] == "2 spectra, 1800 bands from 2500 to 20000 nm."
    assert "mid-infrared, 2500 to 20000 nm, which cannot be used" in said[1]
    assert said[2] == "1 files hold no spectrum and were left out: cut.0."
    table = pd.read_csv(out)
    assert table["sample_id"].tolist() == ["a", "b"]
    assert np.allclose(table.iloc[0, 1:].astype(float), contents["a.0"][1])
    problems = inspect_file(out).problems
    assert any(
        "mid-infrared, 2500 to 20000 nm, which cann" in text for text in problems
    )


def test_near_infrared_even_in_wavenumbers_is_not_taken_for_wavenumbers(write_csv):
    nm = 1e7 / np.linspace(12500, 3500, len(BANDS))
    names = dict(zip(BANDS, map("{:.2f}".format, nm), strict=True))
    path = write_csv(lambda frame: frame.rename(columns=names))
    assert_refused(path, r"got 800 to 2857\.14\. Remove the columns outside\.")


def _empty(folder):
    made = folder / "none"
    made.mkdir()
    (made / "a.md").write_text("nothing")
    return made


def test_two_tables_of_ossl_that_contradict_are_refused(ossl, tmp_path):
    from layouts_helpers import OSSL_ID, OSSL_SOC

    spectra = ossl.drop(columns=OSSL_SOC)
    lab = ossl[[OSSL_ID, OSSL_SOC]]
    for name, table in (
        ("visnir", spectra),
        ("soillab_L0", lab),
        ("soillab_L1", lab.assign(**{OSSL_SOC: lab[OSSL_SOC] + 1})),
    ):
        table.to_csv(tmp_path / f"ossl_{name}.csv", index=False)
    assert_refused(tmp_path, r"soillab_L1\.csv and another .* different SOC")


# The small files


SHARED = {
    "00-good.csv": "by the shape",
    "02-SOM.csv": "soc_kind='organic_matter'",
    "05-log-SOC.csv": "is a logarithm",
    "06-stock.csv": "is a stock",
    "07-inorganic.csv": "is inorganic carbon",
    "08-total-carbon.csv": "soc_column='TC'",
    "09-two-sets-mangled.csv": "two sets",
    "10-year-as-band.csv": "Column '2019'",
    "11-replicates-own-ids.csv": "scans of 12 soils",
    "12-replicates-same-id.csv": "replicates='average'",
    "13-zero-for-missing.csv": "3 values of 0",
    "14-below-detection.csv": "below_detection='half'",
    "15-half-measured.csv": "24 samples, 24 are to be estimated",
    "16-excel.xlsx": "48",
    "17-header-reflectance-nm.csv": "106, from 400 to 2500 nm",
    "18-header-mean.csv": "106, from 400 to 2500 nm",
    "19-transposed.csv": "48 columns were read as samples",
    "20-latin1.csv": "Windows-1252",
    "21-vector-normalised.csv": "pre-treated",
    "22-comment-lines.csv": "2 comment lines",
    "23-tabs.txt": "106, from 400 to 2500 nm",
}


@pytest.mark.parametrize("name", SHARED)
def test_the_small_files_are_understood_or_asked_about(name):
    if not (path := SHARED_FILES / name).exists():
        pytest.skip("the files are not at ../shared/files")
    report = inspect_file(path)
    said = "\n".join([*report.understood(), *report.problems])
    assert SHARED[name] in said
    good = read_file(SHARED_FILES / "00-good.csv")
    is_same = report.library is not None and len(report.library) == len(good)
    if is_same and "half" not in name:
        assert np.allclose(report.library.soc, good.soc)
        assert np.allclose(report.library.reflectance, good.reflectance, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["03-SOC-unit-in-name.csv", "04-SOC-unit-in-name-low.csv"]
)
def test_the_unit_in_a_name_is_heard(name):
    if not (path := SHARED_FILES / name).exists():
        pytest.skip("the files are not at ../shared/files")
    column = pd.read_csv(path).iloc[:, 1]
    assert np.allclose(read_file(path).soc, column / 10)
