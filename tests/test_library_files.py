"""A library of one's own: what its file may lack, how it is packed, how large it is."""

import gzip
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from layouts_helpers import (
    OSSL_NM,
    N,
    assert_refused,
    read_library,
    split_ossl,
    write,
    write_folder,
)

from soilnb import _blocks
from soilnb.datasets.files import quantities, report, table
from soilnb.datasets.files.report import read_file
from soilnb.datasets.files.table import is_table, stem
from soilnb.preprocessing import resample

# A library of one's own


def lenient_and_strict(path, message):
    """Read as a library; as a site it is refused."""
    with pytest.raises(ValueError, match=message):
        read_file(path)
    return read_library(path)


def test_own_library_leaves_out_what_a_site_must_have(write_csv):
    def change(frame):
        frame.loc[[2, 5], "soc"] = np.nan
        frame.loc[7, frame.columns[2:]] = np.nan
        frame.loc[8, "420"] = np.nan
        frame.loc[9, "430"] = np.inf
        frame.loc[10, "440"] = 0.0

    library = lenient_and_strict(write_csv(change), r"spectra have 20\d missing")
    assert len(library) == 27
    assert np.argwhere(np.isnan(library.reflectance)).tolist() == [
        [5, 0],
        [6, 1],
        [7, 2],
    ]
    assert "2 of 30 rows have no SOC and are left out." in library.notes
    assert "1 of 30 rows have no spectrum and are left out." in library.notes
    notes = "\n".join(library.notes)
    assert (
        "2 rows were not measured at every wavelength (2 values are missing)" in notes
    )
    assert "1 values in 1 rows are out of the range" in notes
    assert "(first: 0, sample '011', data row 11, column '440')" in notes


def test_own_library_is_otherwise_the_same_as_a_site(write_csv):
    path = write_csv(lambda frame: frame.assign(country="Sweden"))
    site, library = read_file(path), read_library(path)
    assert np.array_equal(library.reflectance, site.reflectance)
    assert np.array_equal(library.soc, site.soc)
    assert set(library.info.pop("group")) == {"farm (library)"}
    assert library.info.equals(site.info.drop(columns="group"))
    assert library.notes == site.notes


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("soc", "n.d.", "'soc' must hold numbers, got the text 'n.d.'"),
        ("1000", "n.d.", "'1000' must hold numbers, got the text 'n.d.'"),
        ("sample_id", "001", "'001' in data rows 1 and 12"),
        ("sample_id", "", "1 empty cells"),
    ],
)
def test_own_library_must_still_be_well_written(write_csv, column, value, message):
    def change(frame):
        frame[column] = frame[column].astype(object)
        frame.loc[11, column] = value
        frame.loc[5, "soc"] = np.nan  # left out; row numbers are those of the file

    assert_refused(write_csv(change), message)


def test_single_rows_that_are_no_spectra_are_left_out_and_many_refused(write_csv):
    def change(n_odd):
        def spoil(frame):
            frame.iloc[:n_odd, 2:] /= 1000
            frame.iloc[10, 2:] = 0.2

        return spoil

    library = read_library(write_csv(change(1)), quantity="reflectance")
    assert len(library) == 28
    assert (
        "1 of 30 rows have the same value at every wavelength and are left out."
        in library.notes
    )
    assert (
        "1 of 30 rows are 50 times darker or brighter than others and are left out."
        in library.notes
    )
    assert_refused(write_csv(change(2)), "different quantities", quantity="reflectance")


def test_library_without_a_usable_row_is_refused(write_csv):
    assert_refused(
        write_csv(lambda frame: frame.assign(soc=np.nan)),
        r"None of 30 rows can be used: 30 have no SOC\. A library needs rows with both",
    )
    assert_refused(
        write_csv(lambda frame: frame.assign(soc=99.0), name="high.csv"),
        "30 have a SOC below 0 or above 60 %",
        soc_unit="%",
    )


@pytest.mark.parametrize("quantity", ["percent", "absorbance"])
def test_every_quantity_becomes_reflectance_in_a_library(write_csv, quantity):
    def change(frame):
        bands = frame.columns[2:]
        if quantity == "percent":
            frame[bands] *= 100
        else:
            frame[bands] = -np.log10(frame[bands])
        frame.loc[3, "500"] = 999  # out of range in both

    good, library = read_library(write_csv()), read_library(write_csv(change))
    same = np.isclose(library.reflectance, good.reflectance, rtol=1e-5)
    assert np.argwhere(~same).tolist() == [[3, 8]]  # 420, 430, ..., 500


# Files


def test_gzip_is_found_by_content_and_not_by_name(write_csv, tmp_path):
    good = read_file(write_csv())
    packed = write_csv(name="farm.csv.gz")
    assert packed.read_bytes()[:2] == b"\x1f\x8b"
    assert read_file(packed).name == "farm"
    unpacked = tmp_path / "unpacked.csv.gz"  # as browsers leave it
    unpacked.write_bytes(gzip.decompress(packed.read_bytes()))
    renamed = tmp_path / "renamed.csv"
    renamed.write_bytes(packed.read_bytes())
    for path in (packed, unpacked, renamed):
        assert np.array_equal(read_file(path).reflectance, good.reflectance)
    dialect = write_csv(name="other.csv.gz", sep=";", decimal=",", encoding="utf-8-sig")
    assert np.array_equal(read_file(dialect).reflectance, good.reflectance)
    packed.write_bytes(packed.read_bytes()[:-2000])
    assert_refused(packed, r"'farm\.csv\.gz' is not a whole gzip file")


def test_names_of_tables(write_csv, tmp_path):
    for name in ("a.csv", "a.CSV.GZ", "a.tab", "a.parquet", "a.xlsx"):
        assert is_table(name)
    for name in ("farms", "a.json", "a.gz", "ossl_v1.2", tmp_path):
        assert not is_table(name)
    write_csv()
    assert is_table(tmp_path)  # a folder with tables counts as one
    names = ("b/my.farm.csv.gz", "a.CSV", "x.parquet", "ossl_v1.2", "a.json")
    stems = ["my.farm", "a", "x", "ossl_v1.2", "a.json"]
    assert [stem(name) for name in names] == stems


# Size


@pytest.fixture(scope="module")
def many_rows(farm, tmp_path_factory):
    """5,000 rows of 31 bands: more than two of the blocks that are read at once."""
    rng = np.random.default_rng(3)
    grid = np.arange(1000, 1301, 10)
    base = resample(farm.reflectance, farm.wavelengths, grid)
    spectra = base[rng.integers(0, N, 5000)] * rng.uniform(0.8, 1.2, (5000, 1))
    frame = pd.DataFrame(spectra.round(5), columns=[f"{nm}" for nm in grid])
    frame.insert(0, "soc", rng.uniform(0.5, 4, 5000).round(3))
    frame.insert(0, "sample_id", [f"s{number}" for number in range(5000)])
    frame.loc[::7, "soc"] = np.nan
    frame.loc[4997, "1200"] = 2.5
    path = tmp_path_factory.mktemp("many") / "many.csv.gz"
    frame.to_csv(path, index=False)
    return path


def test_rows_on_both_sides_of_a_block_are_read_as_pandas_reads_them(many_rows):
    library = read_library(many_rows, quantity="reflectance")
    expected = pd.read_csv(many_rows).dropna(subset="soc")
    spectra = expected.iloc[:, 2:].to_numpy()
    spectra[spectra > 1.5] = np.nan
    assert np.allclose(library.reflectance, spectra, rtol=1e-6, equal_nan=True)
    assert library.info["sample_id"].to_list() == expected["sample_id"].to_list()
    notes = "\n".join(library.notes)
    assert "715 of 5,000 rows have no SOC and are left out." in notes
    assert "(first: 2.5, sample 's4997', data row 4998, column '1200')" in notes


def test_large_library_is_brought_to_every_10_nm(ossl, tmp_path, monkeypatch):
    ossl.loc[6, "scan_visnir.1000_ref"] = -1
    path = write(ossl, tmp_path / "ossl.csv")
    full = read_library(path)
    monkeypatch.setattr(report, "MAX_VALUES_KEPT", N * len(OSSL_NM) - 1)
    library = read_library(path)
    grid = np.arange(350, 2501, 10)
    assert np.array_equal(library.wavelengths, grid)
    expected = full.reflectance[:, ::5]  # every band of the grid was measured
    assert np.array_equal(library.reflectance, expected, equal_nan=True)
    assert "The spectra were brought to every 10 nm." in library.notes
    assert len(read_file(write(ossl[10:40], path)).wavelengths) == len(OSSL_NM)


def test_progress_runs_to_the_end(many_rows, ossl, tmp_path):
    calls = []
    read_library(
        many_rows, quantity="reflectance", progress=lambda *call: calls.append(call)
    )
    total = many_rows.stat().st_size
    done = [call[0] for call in calls]
    assert len(calls) == 11  # every 500 rows, and at the end
    assert done == sorted(done)
    assert all(0 < number < total for number in done[:-1])
    assert {call[1] for call in calls} == {total}
    assert calls[0][2] == "500 rows of many.csv.gz"
    assert done[-1] == total
    calls.clear()
    folder = write_folder(split_ossl(ossl), tmp_path / "ossl")
    read_library(folder, progress=lambda *call: calls.append(call))
    read = [file for file in folder.iterdir() if "mir" not in file.name]
    assert calls[-1][:2] == (sum(file.stat().st_size for file in read),) * 2


def test_only_the_numbers_grow_with_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "BLOCK_CELLS", 10_000)
    monkeypatch.setattr(_blocks, "BLOCK_ROWS", 100)
    monkeypatch.setattr(quantities, "MAX_DECIDING_VALUES", 20_000)
    monkeypatch.setattr(report, "MAX_VALUES_KEPT", 20_000)
    rng = np.random.default_rng(2)
    spectra = rng.uniform(0.05, 0.6, (2000, 300)).round(4)
    frame = pd.DataFrame(spectra, columns=[f"{nm}" for nm in range(1000, 1300)])
    frame.insert(0, "soc", rng.uniform(0.5, 4, 2000).round(2))
    frame.insert(0, "sample_id", [f"s{number}" for number in range(2000)])
    path = tmp_path / "wide.csv"
    frame.to_csv(path, index=False)
    tracemalloc.start()
    library = read_library(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < spectra.nbytes  # of one copy in double precision
    assert np.allclose(library.reflectance, spectra[:, ::10], rtol=1e-6)
