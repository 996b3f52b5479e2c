"""The laboratory's table: it fills the SOC of the scans and tells of their draw."""

import numpy as np
import pandas as pd
import pytest
from readers_helpers import assert_refused

from soilnb.datasets import load_site

DRAW = {
    "sample_id": ["003", "001", "010", "007"],
    "soc": [1.5, 2.0, 0.8, ""],
    "order": [1, 2, 3, 4],
    "design": ["stratified", "stratified", "stratified", "next"],
    "stratum": [1, 1, 2, ""],
    "inclusion_probability": [0.2, 0.2, 0.1, ""],
}


@pytest.fixture
def scans(write_csv):
    return write_csv(lambda frame: frame.drop(columns="soc"))


@pytest.fixture
def write_table(tmp_path):
    """``write_table(soc=[...])`` writes the table of a draw with other columns."""

    def write(name="lab.csv", drop=(), **columns):
        options = {}
        if "decimal" in columns:
            options = {"sep": ";", "decimal": columns.pop("decimal")}
        table = pd.DataFrame(DRAW | columns).drop(columns=[*drop])
        table.to_csv(tmp_path / name, index=False, **options)
        return tmp_path / name

    return write


def test_the_table_fills_the_soc_of_the_scans(scans, write_table):
    site = load_site(scans, measured=write_table())
    rows = [2, 0, 9, 6]  # of samples 003, 001, 010 and 007
    assert site.soc[rows].tolist() == pytest.approx([1.5, 2, 0.8, np.nan], nan_ok=True)
    assert np.isfinite(site.soc).sum() == 3
    assert site.info["design"].tolist() == [
        "stratified" if row in rows[:3] else "" for row in range(30)
    ]
    assert site.info["stratum"].dtype == "Int64"
    assert site.info["stratum"][rows[:3]].tolist() == [1, 1, 2]
    assert site.info["stratum"].isna().sum() == 27
    share = site.info["inclusion_probability"]
    assert share[rows[:3]].tolist() == [0.2, 0.2, 0.1]
    assert share.isna().sum() == 27
    assert "3 samples are measured, 27 have no SOC." in site.notes
    said = "Of 4 samples in lab.csv, drawn as 'stratified', 3 have SOC."
    assert said in site.notes


def test_a_table_in_windows_1252_is_read(write_csv, write_table):
    scans = write_csv(
        lambda frame: frame.drop(columns="soc").replace({"003": "Börde 3"})
    )
    path = write_table(sample_id=["Börde 3", "001", "010", "007"])
    path.write_bytes(path.read_text(encoding="utf-8").encode("cp1252"))
    site = load_site(scans, measured=path)
    assert site.soc[[2, 0]].tolist() == [1.5, 2]


def test_two_columns_are_enough(scans, write_table):
    path = write_table(drop=["order", "design", "stratum", "inclusion_probability"])
    site = load_site(scans, measured=path)
    assert np.isfinite(site.soc).sum() == 3
    assert set(site.info["design"]) == {""}
    assert site.info["stratum"].isna().all()
    assert any("not of a known draw" in note for note in site.notes)


def test_samples_whose_soc_is_to_come_keep_their_draw(scans, write_table):
    site = load_site(scans, measured=write_table(soc=["", "NA", "", ""]))
    assert np.isnan(site.soc).all()
    assert site.info["design"].tolist().count("stratified") == 3


def test_parquet_gives_the_same_as_csv(scans, write_table, tmp_path):
    columns = {"soc": [1.5, 2, 0.8, None], "stratum": [1, 1, 2, None]}
    share = [0.2, 0.2, 0.1, None]
    table = pd.DataFrame(DRAW | columns | {"inclusion_probability": share})
    table.to_parquet(tmp_path / "lab.parquet")
    site = load_site(scans, measured=tmp_path / "lab.parquet")
    other = load_site(scans, measured=write_table())
    assert np.array_equal(site.soc, other.soc, equal_nan=True)
    pd.testing.assert_frame_equal(site.info, other.info)


def test_a_decimal_comma_is_read_as_in_any_file(scans, write_table):
    columns = {"soc": ["1,5", "2,0", "0,8", ""], "sample_id": DRAW["sample_id"]}
    columns["inclusion_probability"] = ["0,2", "0,2", "0,1", ""]
    site = load_site(scans, measured=write_table(decimal=",", **columns))
    assert site.soc[[2, 0, 9]].tolist() == [1.5, 2, 0.8]
    assert site.info["inclusion_probability"][9] == 0.1


def test_the_unit_is_that_of_all_values_together(write_csv, write_table):
    in_g_per_kg = [15.0, 20.0, 7.0, ""]
    none = write_csv(lambda frame: frame.drop(columns="soc"), name="none.csv")
    message = "SOC has a median of 15: this .* g/kg"
    assert_refused(none, message, measured=write_table(soc=in_g_per_kg))
    site = load_site(none, measured=write_table(soc=in_g_per_kg), soc_unit="g/kg")
    assert site.soc[[2, 0, 9]].tolist() == [1.5, 2, 0.7]

    def change(frame):
        frame["soc"] = (frame["soc"] * 10).round(2).astype(object)
        frame.loc[[0, 2, 6, 9], "soc"] = ""

    # alone, 7 would be taken as %
    few = write_table(soc=[7.0, "", "", ""])
    own = write_csv(change, name="own.csv")
    assert_refused(own, "'soc_unit' is needed", measured=few)
    site = load_site(own, measured=few, soc_unit="g/kg")
    assert site.soc[2] == 0.7
    assert np.isfinite(site.soc).sum() == 27


def test_two_files_in_different_units_are_refused(write_csv, tmp_path):
    def change(frame):
        frame.loc[:9, ["sample_id", "soc"]].assign(soc=frame["soc"] * 10).to_csv(
            tmp_path / "lab.csv", index=False
        )
        frame.loc[:9, "soc"] = np.nan

    message = (
        r"'measured' \(lab\.csv\): Column 'soc' must be in the unit of the file of the "
        r"spectra, got a median of 27.* against 1.* there\. Convert one of them, or say"
    )
    path = write_csv(change)
    assert_refused(path, message, measured=tmp_path / "lab.csv")
    assert load_site(path, measured=tmp_path / "lab.csv", soc_unit="g/kg")


def test_the_files_may_differ_by_rounding_only(write_csv, write_table):
    def change(frame):
        frame["soc"] = 1.004 + frame.index / 100

    path = write_csv(change)
    ids = {"sample_id": ["001", "002", "003", "004"]}
    site = load_site(path, measured=write_table(soc=[1.0, "", 1.02, 1.03], **ids))
    # an empty cell leaves the file's own value
    assert site.soc[:4].tolist() == pytest.approx([1.0, 1.014, 1.02, 1.03])
    assert_refused(
        path,
        r"'measured' \(lab\.csv\): Column 'soc' must agree with the file of the "
        r"spectra, got 1\.2 against 1\.014 there \(sample '002'; 1 in all\)\. Correct",
        measured=write_table(soc=[1.0, 1.2, "", ""], **ids),
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"sample_id": ["3", "001", "10", "7"]},
            r"has 3 ids \('3', '10', '7'\) that the scans lack\. Write each",
        ),
        ({"sample_id": list("abcd")}, r"has 4 ids \('a', 'b', 'c', \.\.\.\) that the"),
        (
            {"sample_id": ["003", "001", "003", "007"]},
            r"has 1 id \('003'\) more than once\. Give each sample one row\.",
        ),
        ({"drop": ["sample_id"]}, r"no column 'sample_id' \(one .*\)\. Add it\."),
        ({"drop": ["soc"]}, r"no column 'soc' \(soil organic carbon\)\. Add it\."),
        ({"drop": ["soc"], "SOM": 1}, r"no column 'soc' .*'SOM' is organic matter"),
        ({"SOC": 1}, r"Column 'soc' is there 2 times\. Keep one of them\."),
        (
            {"design": ["stratifed"] * 4},
            "Unknown design 'stratifed'. Did you mean 'stratified'",
        ),
        ({"soc": [1, 2, -0.5, ""]}, r"be at least 0 and finite, got -0\.5 .*'010'\)"),
        ({"soc": [1, 2, "inf", ""]}, "must be at least 0 and finite, got inf"),
        ({"soc": [1, 2, "<0.1", ""]}, r"must hold numbers, got the text '<0\.1' .*010"),
        ({"inclusion_probability": [0.2, 0, 0.1, ""]}, "above 0 and at most 1, got 0"),
        (
            {"inclusion_probability": [0.2, 0.1, 1.5, ""]},
            r"at most 1, got 1\.5 .*'010'",
        ),
        ({"stratum": [1, 1.5, 2, ""]}, r"must be whole numbers, got 1\.5 .*'001'\)"),
        (
            {"design": ["random", "stratified", "", ""]},
            "must name one draw, got 'random' and 'stratified'. Write 'next'",
        ),
        ({"stratum": [1, "", 2, ""]}, "must have a stratum and an .*none for '001'"),
        ({"drop": ["inclusion_probability"]}, r"none for '003' \(3 in all\)\. Copy"),
        ({"name": "lab.json"}, r"A table must end in \.csv, \.csv\.gz, \.tab, "),
    ],
)
def test_a_table_that_cannot_be_is_refused(scans, write_table, columns, message):
    path = write_table(**columns)
    named = rf"'measured' \({path.name}\): .*{message}"
    assert_refused(scans, named, measured=path)


def test_a_table_without_rows_or_content_is_refused(scans, tmp_path):
    path = tmp_path / "lab.csv"
    path.write_text("sample_id,soc\n")
    assert_refused(scans, "has a header but no samples", measured=path)
    path.write_text("")
    assert_refused(
        scans, r"'measured' \(lab\.csv\): 'lab\.csv' is empty", measured=path
    )


def test_a_table_that_is_not_there_is_said(scans, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file '.*lab\.csv'"):
        load_site(scans, measured=tmp_path / "lab.csv")


def test_a_built_in_site_needs_no_table():
    with pytest.raises(
        ValueError, match=r"'measured' is for files only, got 'lab\.csv'"
    ):
        load_site("skane", measured="lab.csv")
