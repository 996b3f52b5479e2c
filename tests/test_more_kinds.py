"""More files as people have them: two headers, text for numbers, turned tables."""

import zipfile

import numpy as np
import pandas as pd
import pytest
from kinds_helpers import write_workbook
from readers_helpers import BANDS, assert_refused, put

from soilnb.datasets import convert_folder, inspect_file, read_file
from soilnb.datasets.files.roles import read_name
from soilnb.datasets.files.table import parse_numbers


def to_percent_text(frame):
    return frame.assign(
        soc=[f"{value:.2f}".replace(".", ",") for value in frame["soc"]]
    )


def to_turned(names):
    def change(frame):
        turned = frame.drop(columns="sample_id").set_axis(names).T
        return turned.reset_index(names="Wavelength")

    return change


def to_long(axis, value, factor=1):
    def change(frame):
        table = frame.melt(["sample_id", "soc"], var_name=axis, value_name=value)
        return table.assign(**{axis: table[axis].astype(int) * factor})

    return change


def with_note(frame):
    note = pd.DataFrame({"sample_id": ["", "* by dry combustion"]})
    return pd.concat([frame, note], ignore_index=True)


def renamed(**names):
    return lambda frame: frame.rename(columns=names)


# What is read: a change of a good file, what is told, and a part of a note.
READ = {
    "decimal commas in one column": (to_percent_text, {}, ""),
    "names of samples like nm": (
        to_turned([f"S{n}" for n in range(401, 431)]),
        {},
        "is transposed: its 30 columns",
    ),
    "long, in another language": (to_long("Wellenlänge", "Reflexion"), {}, "is long"),
    "long, in micrometres": (
        to_long("wavelength_um", "reflectance", 0.001),
        {"axis": "micrometre"},
        "is long",
    ),
    "two scans in a long table": (
        lambda frame: pd.concat([to_long("wl", "refl")(frame)] * 2),
        {"replicates": "average"},
        "60 spectra are scans of 30 soils",
    ),
    "a note below": (with_note, {}, "1 of 31 rows have neither SOC nor a spectrum and"),
    "a unit in the names of bands": (
        lambda frame: frame.set_axis(
            [*frame.columns[:2], *(f"{1e7 / int(b):.6f} cm-1" for b in BANDS)], axis=1
        ),
        {},
        "converted from wavenumbers",
    ),
    "a depth beside the sample": (
        lambda frame: frame.rename(columns={"sample_id": "Sample"}).assign(
            **{"Sample depth": 10, "Sample type": "topsoil"}
        ),
        {},
        "Column 'Sample' was taken as sample_id",
    ),
    "names with accents": (renamed(sample_id="Échantillon"), {}, "'Échantillon' was"),
    "numbers of samples like nm": (
        lambda frame: frame.assign(sample_id=range(320, 2510, 75)[:30]),
        {},
        "",
    ),
    "mg in a gram": (
        lambda frame: frame.assign(**{"TOC (mg C/g)": 10 * frame.pop("soc")}),
        {},
        "divided by 10",
    ),
}


def assert_same(library, good, atol=1e-6):
    assert np.allclose(library.wavelengths, good.wavelengths, atol=1e-3)
    assert np.allclose(library.soc, good.soc, atol=0.006)
    assert np.allclose(library.reflectance, good.reflectance, atol=atol)


@pytest.mark.parametrize("kind", READ)
def test_a_kind_of_file_gives_the_farm_that_it_was_made_from(write_csv, kind):
    change, told, said = READ[kind]
    library = read_file(write_csv(change, "kind.csv"), **told)
    assert_same(library, read_file(write_csv()))
    assert any(said in note for note in library.notes)


def two_rows(frame, above, names):
    """The table with two rows of names: those above, and `names` for id and SOC."""
    rows = frame.astype(object).to_numpy().tolist()
    return [above, [*names, *map(int, BANDS)], *rows]


HEADERS = {
    "of pandas": (["meta", "lab", *["spectra"] * len(BANDS)], ["sample_id", "soc"]),
    "of merged cells": (["Sample ID", "SOC (%)", "nm", *[""] * 206], ["", ""]),
}


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
@pytest.mark.parametrize("header", HEADERS)
def test_a_header_of_two_rows_is_read(write_csv, tmp_path, header, suffix):
    good = read_file(write_csv())
    frame = pd.read_csv(tmp_path / "farm.csv", dtype={"sample_id": str})
    rows, path = two_rows(frame, *HEADERS[header]), tmp_path / f"two{suffix}"
    if suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False, header=False)
    else:
        write_workbook(path, {"S": rows})
    assert_same(read_file(path), good)


def test_a_name_of_two_lines_marks_behind_it_and_spaces_before_quotes_are_read(
    write_csv, tmp_path
):
    good = read_file(write_csv())
    frame = pd.read_csv(tmp_path / "farm.csv", dtype={"sample_id": str})
    path = write_csv(
        lambda frame: frame.assign(**{"SOC\n(g/kg)": 10 * frame.pop("soc")}), "two.csv"
    )
    assert_same(read_file(path), good)
    head, rest = (tmp_path / "farm.csv").read_text().split("\n", 1)
    path.write_text(f"{head},\n{rest}")
    assert_same(read_file(path), good)
    rows = [list(frame.columns), *frame.astype(str).to_numpy().tolist()]
    path.write_text("\n".join(", ".join(f'"{cell}"' for cell in row) for row in rows))
    assert_same(read_file(path), good)


def test_rows_that_another_mark_separates_are_no_notes(write_csv):
    good = write_csv()
    head, rest = good.read_text().split("\n", 1)
    good.write_text(f"{head},more\n{rest.replace(',', ' / ')}")
    assert_refused(good, r"Data row 1 has 1 cells but the header has 210 \(sep")


def test_text_with_decimal_commas_in_a_workbook_is_read(write_csv, tmp_path):
    good = read_file(write_csv())
    frame = pd.read_csv(tmp_path / "farm.csv", dtype=str)
    rows = [[cell.replace(".", ",") for cell in row] for row in frame.to_numpy()]
    path = write_workbook(tmp_path / "a.xlsx", {"S": [list(frame.columns), *rows]})
    assert_same(read_file(path), good)


def test_a_packed_table_of_a_mac_and_a_nameless_index_are_read(write_csv, tmp_path):
    good, path = read_file(write_csv()), tmp_path / "farm.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.write(tmp_path / "farm.csv", "farm.csv")
        packed.writestr("__MACOSX/._farm.csv", b"\0\5\26\7")
    assert_same(read_file(path), good)
    frame = pd.read_csv(tmp_path / "farm.csv", dtype={"sample_id": str})
    frame.set_index("sample_id").rename_axis(None).to_parquet(tmp_path / "a.parquet")
    site = read_file(tmp_path / "a.parquet")
    assert site.info["sample_id"].tolist() == good.info["sample_id"].tolist()


def test_a_comma_is_of_a_decimal_unless_all_could_be_marks_of_thousands():
    numbers, texts = parse_numbers(["12,345", "9,87", "7", "NA"])
    assert np.array_equal(numbers, [12.345, 9.87, 7, np.nan], equal_nan=True)
    assert texts == []
    assert len(parse_numbers(["12,345", "9,870"])[1]) == 2
    assert len(parse_numbers(["12,3", "9.8", "7,5"])[1]) == 2


@pytest.mark.parametrize("word", ["#DIV/0!", "#VALUE!", "--", "–"])
def test_words_for_missing_values_are_not_measured(write_csv, word):
    site = read_file(write_csv(put("soc", slice(2, 3), word)))
    assert np.flatnonzero(np.isnan(site.soc)).tolist() == [2, 3]


@pytest.mark.parametrize(
    ("name", "kind", "unit"),
    [
        ("SOC_sqrt", "transformed", ""),
        ("SOC (log10)", "log10", ""),
        ("OC_ln", "ln", ""),
        ("MO (%)", "organic_matter", "%"),
        ("CO (dag/kg)", "unclear", "%"),
        ("Mo", "", ""),
        ("Co", "", ""),
        ("CO2 (ppm)", "", ""),
        ("Humusgehalt", "organic_matter", ""),
        ("有机碳 (g/kg)", "organic_carbon", "g/kg"),
        ("IC", "inorganic", ""),
        ("Particulate organic carbon", "", ""),
        ("TotalC (%)", "total_carbon", "%"),
        ("OrgC_pct", "organic_carbon", "%"),
        ("SOC mg g-1", "organic_carbon", "g/kg"),
        ("OC_gC_kg", "organic_carbon", "g/kg"),
        ("SOC (permil)", "organic_carbon", "g/kg"),
    ],
)
def test_a_name_says_what_a_column_holds(name, kind, unit):
    meaning = read_name(name)
    assert (meaning.kind, meaning.unit) == (kind, unit)


def continuum_removed(frame):
    frame[BANDS] = 0.86 + 0.1 * frame[BANDS]
    frame.loc[:, BANDS[::206]] = 1.0


def saturated(frame):
    frame.loc[:5, BANDS[60:90]] = 1.6


def scaled(frame):
    values = frame[BANDS].to_numpy()
    low, size = values.min(1, keepdims=True), np.ptp(values, axis=1, keepdims=True)
    frame[BANDS] = (values - low) / size


def no_names(frame):
    return frame[BANDS].set_axis(frame.loc[0, BANDS].astype(str), axis=1)[1:]


def scans_in_columns(frame):
    names = {band: f"{band}_scan1" for band in BANDS}
    second = frame[BANDS].add_suffix("_scan2")
    return frame.rename(columns=names).join(second)


ASKED = {
    "another name of the samples": (
        renamed(sample_id="Filename"),
        "Add it. If another column names the samples, say id_column='Filename'",
    ),
    "numbers of columns": (
        lambda frame: frame.set_axis(
            [*frame.columns[:2], *(f"V{n}" for n in range(8, 8 + len(BANDS)))], axis=1
        ),
        "'V8' to 'V214' are numbered, not named by their wavelength",
    ),
    "continuum removed": (
        continuum_removed,
        "same maximum: they look like pre-treated",
    ),
    "from 0 to 1": (scaled, "same maximum: they look like pre-treated"),
    "saturated": (saturated, r"180 values of reflectance .* above 1\.5 .first: 1\.6"),
    "code for missing": (
        put("soc", 3, -9999),
        "negative .first: -9999, .* leave the cells empty where nothing was measured",
    ),
    "statistics with marks": (
        put("sample_id", 29, "St. Dev.:"),
        "look like statistics",
    ),
    "statistics in German": (
        put("sample_id", 29, "Mittelwert"),
        "look like statistics",
    ),
    "no header": (no_names, "first line has values, such as .* Write a header above"),
    "scans in columns": (scans_in_columns, "two sets .* '420_scan1' and from '420_sca"),
    "every name twice": (
        lambda frame: pd.concat([frame, frame[BANDS]], axis=1),
        "Column '420' is there 2 times. Keep one of them. So are 206 more.",
    ),
    "mid-infrared": (
        lambda frame: frame.rename(columns={b: f"{b} cm-1" for b in BANDS}),
        "look like the mid-infrared",
    ),
    "logarithm behind": (
        lambda frame: frame.assign(SOC_log=np.log(frame.pop("soc"))),
        "'SOC_log' is a logarithm",
    ),
    "square root": (
        lambda frame: frame.assign(SOC_sqrt=np.sqrt(frame.pop("soc"))),
        "'SOC_sqrt' is a transformed value",
    ),
    "marks of thousands": (
        lambda frame: frame.assign(
            **{"SOC (mg/kg)": [f"{10_000 * v:,.0f}" for v in frame.pop("soc")]}
        ),
        "must hold numbers, got the text",
    ),
}


@pytest.mark.parametrize("kind", ASKED)
def test_a_kind_of_file_that_cannot_be_read_is_named(write_csv, kind):
    change, message = ASKED[kind]
    report = assert_refused(write_csv(change), message)
    assert len(report.problems) == 1


def test_a_depth_that_is_no_number_is_said(write_csv):
    report = inspect_file(write_csv(lambda frame: frame.assign(depth_cm="0-30")))
    assert "depth_cm is not a number in 30 samples." in report.notes


def test_files_of_field_spectrometers_and_of_utf_16_become_a_table(write_csv, tmp_path):
    good, folder = read_file(write_csv()), tmp_path / "scans"
    folder.mkdir()
    ids = good.info["sample_id"].tolist()
    for n, (name, values) in enumerate(zip(ids, good.reflectance, strict=True)):
        pairs = [*zip(good.wavelengths, values, strict=True)]
        text = [f"{nm:.1f}  1000.0  {1000 * v:.2f}  {100 * v:.4f}" for nm, v in pairs]
        end = "sed" if n % 2 else "sig"
        if n % 3 == 0:
            end, text = "txt", [f"{nm:.1f}\t{100 * v:.4f}" for nm, v in pairs]
        encoding = "utf-16" if n % 3 == 0 else "utf-8"
        head = "temp= 25, -5\nWvl\tReflect. %"
        path = folder / f"{name}.{end}"
        path.write_text("\n".join([head, *text]), encoding=encoding)
    convert_folder(folder, tmp_path / "out.csv")
    made = read_file(tmp_path / "out.csv")
    assert made.info["sample_id"].tolist() == ids
    assert np.allclose(made.reflectance, good.reflectance, atol=1e-5)


def test_a_title_above_two_columns_of_a_laboratory_is_left_out(write_csv, tmp_path):
    path, lab = write_csv(lambda frame: frame.drop(columns="soc")), tmp_path / "lab.csv"
    lab.write_text("Results\nSample,OC (%)\n003,1.5\n001,2.0\n")
    assert read_file(path, measured=lab).soc[[0, 2]].tolist() == [2.0, 1.5]


def test_units_below_the_names_and_limits_of_a_laboratory_are_read(write_csv, tmp_path):
    path, lab = write_csv(lambda frame: frame.drop(columns="soc")), tmp_path / "lab.csv"
    lab.write_text("Sample,OC\n,g/kg\n001,15\n002,n.d.\n003,<4\n")
    assert_refused(path, "'n.d.' .*Say below_detection='half' or", measured=lab)
    half = read_file(path, measured=lab, below_detection="half")
    assert np.allclose(half.soc[:3], [1.5, 0.1, 0.2])
    none = read_file(path, measured=lab, below_detection="unmeasured")
    assert np.flatnonzero(np.isfinite(none.soc)).tolist() == [0]
