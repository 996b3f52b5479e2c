"""Reading a user's file: its format, its columns, and the report on it."""

import csv

import numpy as np
import pytest
from readers_helpers import BANDS, assert_refused, bands_as, put

from soilnb.datasets import inspect_file, load_site, read_file
from soilnb.datasets.files.columns import find_columns, off_grid
from soilnb.workflow.data import check_file
from soilnb.workflow.params import check_parameters


def write_header(path, header, n_rows=1):
    rows = [["a", "1", *["0.05"] * (len(header) - 2)]] * n_rows
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


# What is read


def test_a_good_file_gives_back_the_farm_it_was_made_from(write_csv):
    library = read_file(write_csv())
    farm = load_site("vaud").on_grid(np.arange(420, 2481, 10)).take(np.arange(30))
    assert np.allclose(library.reflectance, farm.reflectance, atol=1e-6)
    assert np.allclose(library.soc, farm.soc)
    assert np.array_equal(library.wavelengths, farm.wavelengths)
    assert library.name == "farm"
    assert set(library.info["group"]) == {"farm"}
    assert set(library.info["country"]) == {""}
    assert library.info["sample_id"][6] == "007"  # it stays text
    parquet = read_file(write_csv(name="farm.parquet"))
    assert np.array_equal(parquet.reflectance, library.reflectance)
    assert parquet.info.equals(library.info)
    for name in ("farm.csv", "farm.parquet"):
        path = write_csv(lambda frame: frame.iloc[:0], name=name)
        assert_refused(path, "has a header but no samples")


@pytest.mark.parametrize(
    "style",
    ["{}.0", "{}nm", "{} nm", "wl_{}", "X{}", "R{}", "nm_{}", "wl_{}_nm", "x{}.0"],
)
def test_wavelength_columns_may_be_written_in_several_styles(write_csv, style):
    library = read_file(write_csv(bands_as(style.format)))
    assert np.array_equal(library.wavelengths, np.arange(420, 2481, 10))


def test_other_columns_with_numbers_are_not_wavelengths(write_csv):
    def change(frame):
        return frame.assign(pH2=7.1, depth_30="top", **{"N_15": 1.0, "year 2020": 1})

    library = read_file(write_csv(change))
    assert len(library.wavelengths) == len(BANDS)
    assert "Columns ignored: pH2, depth_30, N_15, year 2020." in library.notes


def test_unsorted_wavelengths_are_sorted_and_said(write_csv):
    good = read_file(write_csv())
    descending = write_csv(lambda frame: frame[["sample_id", *BANDS[::-1], "soc"]])
    library = read_file(descending)
    assert np.array_equal(library.reflectance, good.reflectance)
    assert "The wavelength columns were sorted by increasing nm." in library.notes
    assert not any("sorted" in note for note in good.notes)


@pytest.mark.parametrize(
    "options",
    [
        {"sep": ";"},
        {"sep": ";", "decimal": ","},
        {"sep": "\t"},
        {"sep": "\t", "decimal": ","},
        {"encoding": "utf-8-sig"},
        {"lineterminator": "\r\n"},
        {"quoting": csv.QUOTE_ALL},
    ],
)
def test_csv_dialects_read_the_same(write_csv, options):
    good = read_file(write_csv())
    library = read_file(write_csv(name="other.csv", **options))
    assert np.array_equal(library.reflectance, good.reflectance)
    assert np.array_equal(library.soc, good.soc)


def test_decimal_commas_are_read_in_the_header_and_not_in_text(write_csv):
    def change(frame):
        frame["group"] = "field 1,2"
        return frame.rename(columns={band: f"{band},5" for band in BANDS})

    library = read_file(write_csv(change, sep=";", decimal=","))
    assert library.wavelengths[0] == 420.5
    assert set(library.info["group"]) == {"field 1,2"}


def test_blank_lines_are_skipped(write_csv):
    path = write_csv()
    path.write_text(path.read_text() + "\n" + "," * (len(BANDS) + 1) + "\n")
    assert len(read_file(path)) == 30
    path = write_csv(sep=";", decimal=",")  # a line tells Excel the separator
    path.write_text("sep=;\n" + path.read_text())
    assert len(read_file(path, quantity="reflectance")) == 30


def test_known_columns_match_in_any_case_and_are_kept(write_csv):
    def change(frame):
        frame["Group"] = ["north", ""] * 15
        frame["Country"] = "Switzerland"
        frame["Latitude"] = [46.5, "unknown"] * 15
        return frame.rename(columns={"soc": "SOC", "sample_id": "Sample_ID"})

    library = read_file(write_csv(change))
    assert library.info["group"].tolist() == ["north", "farm"] * 15
    assert set(library.info["country"]) == {"Switzerland"}
    assert library.info["latitude"][0] == 46.5
    assert "latitude is not a number in 15 samples." in library.notes
    assert "Columns kept: group, country, latitude." in library.notes


@pytest.mark.parametrize("word", ["NA", "nan", "n/a", " "])
def test_a_word_for_missing_is_no_country_and_no_group(write_csv, word):
    def change(frame):
        return frame.assign(country=["Sweden", word] * 15, group=word)

    info = read_file(write_csv(change)).info
    assert info["country"].tolist() == ["Sweden", ""] * 15
    assert "" not in set(info["group"])
    assert word not in set(info["group"])


@pytest.mark.parametrize(
    ("column", "value", "most"),
    [("latitude", 6_150_000, 90), ("longitude", -9999, 180), ("latitude", "inf", 90)],
)
def test_a_place_that_is_not_on_earth_is_refused(write_csv, column, value, most):
    def change(frame):
        frame = frame.assign(latitude=56.0, longitude=13.0).astype({column: object})
        frame.loc[2, column] = value
        return frame

    path = write_csv(change)
    assert_refused(
        path,
        rf"{column} must be from -{most} to {most} degrees \(WGS 84\), got .* "
        r"\(sample '003', data row 3\), and 1 .* Convert metres to degrees",
    )
    library = read_file(path, soc_required=False)
    assert library.info[column].isna().tolist() == [row == 2 for row in range(30)]
    assert any("They count as not known" in note for note in library.notes)


def test_the_country_that_is_told_replaces_the_column(write_csv):
    path = write_csv(lambda frame: frame.assign(country="Sweden"))
    library = read_file(path, country="Norway")
    assert set(library.info["country"]) == {"Norway"}
    assert "The column country was replaced by 'Norway'." in library.notes


def test_repeated_spectra_are_a_note_only(write_csv):
    def change(frame):
        frame.loc[4, BANDS] = frame.loc[3, BANDS]

    notes = read_file(write_csv(change)).notes
    assert "Spectra equal to that of an earlier sample: 1." in notes


# Columns


@pytest.mark.parametrize(
    ("column", "new", "message"),
    [
        *(
            ("soc", name, rf"no column 'soc' .*Column '{name}' .*soc_column='{name}'")
            for name in ("SOM", "log_SOC", "TC", "C_percent", "TotalCarbon", "Humus")
        ),
        ("sample_id", "plot", r"no column 'sample_id' .* Add it\."),
    ],
)
def test_a_missing_column_is_named_with_what_comes_close(
    write_csv, column, new, message
):
    assert_refused(
        write_csv(lambda frame: frame.rename(columns={column: new})), message
    )


@pytest.mark.parametrize("other", ["clay", "CEC", "CaCO3", "carbonates", "N", "Ca"])
def test_a_site_may_have_no_column_of_soc_and_a_library_may_not(write_csv, other):
    path = write_csv(lambda frame: frame.rename(columns={"soc": other}))
    report = inspect_file(path)
    assert np.isnan(report.library.soc).all()
    note = "There is no column of SOC: all 30 samples are to be estimated."
    assert note in report.library.notes
    assert ("measured", "0 samples, 30 are to be estimated") in report.facts
    assert report.problems == ()
    assert_refused(
        path,
        r"There is no column 'soc' \(soil organic carbon\)\. Add it\.",
        soc_required=False,
    )


def test_a_site_may_have_an_empty_column_of_soc_and_a_library_may_not(write_csv):
    path = write_csv(lambda frame: frame.assign(soc=""))
    site = read_file(path)
    assert np.isnan(site.soc).all()
    assert "Column 'soc' is empty: all 30 samples are to be estimated." in site.notes
    assert_refused(path, "None of 30 rows can be used", soc_required=False)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([*BANDS, "clay", "420"], "Column '420' is there 2 times. Keep one of them."),
        ([*BANDS, "clay", "soc"], "Column 'soc' is there 2 times. Keep one of them."),
        ([*BANDS, "clay", "clay"], "Column 'clay' is there 2 times. Keep one of them."),
        ([*BANDS, "SOC"], "Column 'soc' is there 2 times"),
        ([*BANDS, "420.0"], "Columns '420' and '420.0' are the same wavelength"),
        (BANDS[:9], "10 wavelength columns, .* got 9. The columns are 'sample_id'"),
    ],
)
def test_columns_that_are_twice_or_too_few_are_refused(tmp_path, columns, message):
    path = write_header(tmp_path / "header.csv", ["sample_id", "soc", *columns])
    assert_refused(path, message)


def test_two_sets_of_wavelengths_are_refused(write_csv):
    def change(frame):
        return frame.join(frame[BANDS].add_prefix("A"))

    assert_refused(
        write_csv(change), "two sets of wavelength columns, from '420' and from 'A4"
    )


@pytest.mark.parametrize(
    ("style", "message"),
    [
        (
            lambda band: f"{int(band) / 1000:g}",
            r"0\.42 to 2\.48\. They look like micro",
        ),
        (
            lambda band: f"{1e7 / int(band):.1f}",
            "They look like wavenumbers in cm-1: wav",
        ),
        (lambda band: str(int(band) - 200), "must lie in 300-2600 nm, got 220 to 2280"),
    ],
)
def test_wavelengths_that_are_not_nm_are_refused(write_csv, style, message):
    assert_refused(write_csv(bands_as(style)), message)


def test_the_style_with_the_wavelengths_wins_over_more_other_columns():
    names = ["sample_id", "soc", *BANDS[:10], *[f"PC{number}" for number in range(40)]]
    assert find_columns(names).spectral_names == BANDS[:10]
    assert find_columns(["ID", *names[:12]]).ignored == ["ID"]


def test_a_band_between_two_of_a_grid_is_off_it():
    nm = np.array([400.0, 410, 420, 423, 430, 440, 450, 460, 470, 480, 490])
    assert off_grid(nm) == [3]
    assert off_grid(np.delete(nm, 3)) == []


# Files


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "'empty.csv' is empty"),
        ("empty.csv", b"\n\n", "'empty.csv' is empty"),
        (
            "binary.csv",
            b"PK\x03\x04\x00\x00\x00",
            "is not a CSV text file .* Export it as 'CSV UTF-8'",
        ),
        ("broken.parquet", b"PAR1 and nothing else", "is not a Parquet file"),
        ("farm.xlsx", b"x", r"'farm\.xlsx' is not an Excel file .* Save it as CSV"),
        ("farm.json", b"x", r"must end in \.csv, .* or \.xls, got 'farm\.json'"),
        ("folder.csv", None, "is a folder"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.mkdir() if content is None else path.write_bytes(content)
    assert_refused(path, message)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("031,1.2,0.1\n", "Data row 31 has 3 cells but the header has 209"),
        ('"' + "x" * 200_000, "is not a CSV file"),  # a field without end
        ("\n  \n031" + ",1" * 209, "Data row 31 has 210 cells"),
    ],
)
def test_a_spoilt_end_of_a_file_is_refused(write_csv, more, message):
    path = write_csv()
    path.write_text(path.read_text() + more)
    assert_refused(path, message)


def test_text_in_another_encoding_is_refused(write_csv):
    path = write_csv(put("sample_id", 20, "?ker"))
    path.write_bytes(path.read_bytes().replace(b"?", b"\x81"))  # no letter
    assert_refused(path, r"is not UTF-8 text \(byte 0x81\)\. Save it as 'CSV UTF-8'")


def test_a_missing_file_is_reported(tmp_path):
    path = tmp_path / "none.csv"
    assert "There is no file" in inspect_file(path).problems[0]
    with pytest.raises(FileNotFoundError, match="There is no file"):
        read_file(path)


def test_unknown_options_are_refused(write_csv):
    with pytest.raises(ValueError, match=r"Unknown quantity 'absorbence'. Did you m"):
        read_file(write_csv(), quantity="absorbence")
    with pytest.raises(ValueError, match="Unknown soc_unit 'percent'"):
        inspect_file(write_csv(), soc_unit="percent")


# The report


def test_the_report_of_a_good_file_says_what_was_found(write_csv):
    report = inspect_file(write_csv(lambda frame: frame.assign(clay=20, country="CH")))
    text = "\n".join(report.understood())
    assert report.problems == ()
    assert report.understood()[0] == "farm.csv"
    for part in (
        "30",
        "207, from 420 to 2480 nm, every 10 nm",
        "reflectance (fraction), found from the values",
        "%, found from the values",
        "median",
        "Columns kept: country.",
        "Columns ignored: clay.",
    ):
        assert part in text


def test_all_problems_are_reported_and_the_first_says_how_many(write_csv):
    def change(frame):
        put("1000", 3, "?")(frame)
        put("1020", 4, None)(frame)
        put("sample_id", 5, "001")(frame)

    path = write_csv(change)
    report = assert_refused(
        path, r"^farm\.csv: Column '1000' .*\(and 2 more: soilnb data check"
    )
    assert len(report.problems) == 3
    lines, _ = check_file(check_parameters("01_data", {"site": str(path)}))
    assert lines[-4:] == ["Wrong:", *(f"  {problem}" for problem in report.problems)]
