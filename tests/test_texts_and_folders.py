"""Texts, workbooks, folders and instruments' files give the farm they hold."""

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
from readers_helpers import BANDS, assert_refused, long, put, rename

from soilnb.datasets import convert_folder, inspect_file, read_file
from soilnb.datasets.files.rows import decimal_degrees
from soilnb.datasets.files.table import parse_numbers


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


def with_places(latitude, longitude, names=("latitude", "longitude")):
    return lambda frame: frame.assign(
        **dict(zip(names, (latitude, longitude), strict=True))
    )


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
