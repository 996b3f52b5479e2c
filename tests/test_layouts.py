import gzip
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from soilnb.datasets import load_farm, quantities, readers, rows
from soilnb.datasets.layouts import add_plotcode, recognise
from soilnb.datasets.readers import inspect_file, read_file
from soilnb.datasets.tables import is_table, stem
from soilnb.preprocessing import resample

# Column names as published: OSSL v1.2 and ICRAF-ISRIC, see soilnb.datasets.layouts.
OSSL_NM = np.arange(350, 2501, 2)
OSSL_BANDS = [f"scan_visnir.{nm}_ref" for nm in OSSL_NM]
OSSL_MIR = [f"scan_mir.{number}_abs" for number in range(600, 660, 2)]
OSSL_ID = "id.layer_uuid_txt"
OSSL_SOC = "oc_usda.c729_w.pct"
ICRAF_NM = np.arange(350, 2501, 10)
ICRAF_BANDS = [f"W{nm}" for nm in ICRAF_NM]
N = 50


@pytest.fixture(scope="module")
def farm():
    """50 samples of Vaud, which was measured over the full range."""
    return load_farm("CV.98").take(np.arange(N))


@pytest.fixture
def ossl(farm):
    """Level 1 of OSSL as one table: 50 soils, and 6 with mid-infrared only."""
    spectra = resample(farm.reflectance, farm.wavelengths, OSSL_NM).round(5)
    n = N + 6
    table = pd.DataFrame(
        {
            "dataset.code_ascii_txt": ["KSSL.SSL"] * 20 + ["LUCAS.SSL"] * (n - 20),
            OSSL_ID: [f"{number:032x}" for number in range(n)],
            "id.layer_local_c": [str(number) for number in range(n)],
            "longitude.point_wgs84_dd": [np.nan] * 5 + [7.25] * (n - 5),
            "latitude.point_wgs84_dd": [np.nan] * 5 + [46.5] * (n - 5),
            "layer.upper.depth_usda_cm": 0.0,
            "layer.lower.depth_usda_cm": 20.0,
            "location.country_iso.3166_txt": ["USA"] * 20 + [""] * (n - 20),
            "dataset.license.title_ascii_txt": "CC-BY",
            "id.dataset.site_ascii_txt": [str(number // 4) for number in range(n)],
            "clay.tot_usda.a334_w.pct": 20.0,
            OSSL_SOC: [*farm.soc, *[1.5] * 6],
            "id.scan_local_c": "scan",
        }
    )
    bands = pd.DataFrame(spectra, columns=OSSL_BANDS).reindex(range(n))
    mir = pd.DataFrame(0.7, index=range(n), columns=OSSL_MIR)
    return pd.concat([table, bands, mir], axis=1)


@pytest.fixture
def icraf(farm):
    """The tables of the ICRAF-ISRIC repository, by the name of their file."""
    spectra = resample(farm.reflectance, farm.wavelengths, ICRAF_NM).round(7)
    ids = [f"FS15R_FS{number}" for number in range(N)]
    bands = pd.DataFrame(spectra, columns=ICRAF_BANDS)
    profile = np.arange(N) // 5 + 1
    sampleno = [f"77{number:05d}" for number in range(N)]
    horizon = {"HORI": np.arange(N) % 5 + 1, "BTOP": 0, "BBOT": 15}
    return {
        "ASD Spectra": bands.assign(Batch_Labid=ids)[["Batch_Labid", *ICRAF_BANDS]],
        "ICRAF sample codes": pd.DataFrame(
            {
                "Batch and labid": ids,
                "SAMPLENO": sampleno,
                "Country name": "Brazil",
                "Plotcode": [f"BR {number}" for number in profile],
                **horizon,
                "Dsed": 1,
            }
        ),
        "Chemical_properties": pd.DataFrame(
            {
                "ISO": "BR",
                "ID": profile,
                **horizon,
                "SAMPLENO": sampleno,
                "PHH2O": 5.5,
                "ORGC": farm.soc,
                "ORGN": 0.1,
                "C/N": 10,
            }
        ),
        "Site_description": pd.DataFrame(
            {
                "ISO": "BR",
                "ID": np.arange(1, 11),
                "LOC": "São João",
                "LATNS": "S",
                "LATD": 12,
                "LATM": 30,
                "LATS": [36.0, *[np.nan] * 9],
                "LONEW": "W",
                "LOND": 47,
                "LONM": 15,
                "LONS": np.nan,
            }
        ),
        "Physical_properties": pd.DataFrame({"SAMPLENO": sampleno, "CLAY": 30.0}),
        "Country": pd.DataFrame({"ISO": ["BR"], "COUNTRY": "Brazil", "REGION": "SA"}),
    }


def write(table, path, **options):
    """Write a table as the suffix says, missing cells as R does: NA."""
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, na_rep="NA", **options)
    return path


def write_folder(tables, folder, suffix=".csv", **options):
    folder.mkdir()
    for name, table in tables.items():
        write(table, folder / f"{name}{suffix}", **options)
    return folder


def split_ossl(ossl):
    """The separate tables of OSSL, joined by the layer's id."""
    ids = ["dataset.code_ascii_txt", OSSL_ID]
    lab = [column for column in ossl if column.endswith("_w.pct")]
    spectral = ["id.scan_local_c", *OSSL_BANDS, *OSSL_MIR]
    site = [column for column in ossl if column not in (*ids, *lab, *spectral)]
    return {
        "ossl_soilsite_L0_v1.2": ossl[[*ids, *site]],
        "ossl_soillab_L1_v1.2": ossl[[*ids, *lab]][::-1],  # in another order
        "ossl_visnir_L0_v1.2": ossl[[*ids, "id.scan_local_c", *OSSL_BANDS]],
        "ossl_mir_L0_v1.2": ossl[[*ids, "id.scan_local_c", *OSSL_MIR]],
    }


def read_library(path, **options):
    return read_file(path, soc_required=False, **options)


def refused(path, message, **options):
    with pytest.raises(ValueError, match=message):
        read_library(path, **options)


# OSSL


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_joined_ossl_table_is_read_as_pandas_reads_it(ossl, farm, tmp_path, suffix):
    path = write(ossl, tmp_path / f"ossl_all_L1_v1.2{suffix}")
    library = read_library(path)
    expected = pd.read_parquet(path) if suffix == ".parquet" else pd.read_csv(path)
    expected = expected[expected[OSSL_BANDS].notna().any(axis=1)]
    assert library.name == "ossl_all_L1_v1.2"
    assert np.array_equal(library.wavelengths, OSSL_NM)
    assert np.allclose(library.reflectance, expected[OSSL_BANDS], rtol=1e-6)
    assert np.allclose(library.soc, farm.soc)
    assert library.info["sample_id"].to_list() == expected[OSSL_ID].to_list()
    assert "6 of 56 rows have no spectrum and are left out." in library.notes


def test_separate_ossl_tables_are_joined_by_id(ossl, tmp_path):
    joined = read_library(write(ossl, tmp_path / "joined.csv.gz"))
    folder = write_folder(split_ossl(ossl), tmp_path / "ossl v1.2", ".csv.gz")
    for path in (folder, folder / "ossl_visnir_L0_v1.2.csv.gz"):
        library = read_library(path)
        assert np.array_equal(library.reflectance, joined.reflectance)
        assert np.array_equal(library.soc, joined.soc)
        assert library.info.equals(joined.info)
    report = inspect_file(folder, soc_required=False)
    assert report.library.name == "ossl v1.2"
    files = dict(report.facts)["files"]  # the mid-infrared has nothing to add
    assert files == (
        "ossl_soillab_L1_v1.2.csv.gz, ossl_soilsite_L0_v1.2.csv.gz, "
        "ossl_visnir_L0_v1.2.csv.gz"
    )


def test_ossl_says_where_its_samples_come_from(ossl, tmp_path):
    library = read_library(write(ossl, tmp_path / "ossl.csv"))
    assert library.info.iloc[7].to_dict() == {
        "sample_id": f"{7:032x}",
        "source": "KSSL.SSL",
        "group": "KSSL.SSL 1",
        "country": "USA",
        "carbon_kind": "organic carbon",
        "licence": "CC-BY",
        "latitude": 46.5,
        "longitude": 7.25,
        "depth": "0-20 cm",
    }
    assert library.info["country"].iloc[-1] == ""  # as in OSSL, which says none
    assert "latitude is not a number in 5 samples." in library.notes
    facts = dict(inspect_file(tmp_path / "ossl.csv", soc_required=False).facts)
    assert facts["samples"] == "50 of 56 rows"
    assert facts["layout"] == "OSSL"
    assert facts["quantity"].startswith("reflectance (fraction), as in OSSL")
    assert facts["SOC unit"] == "%, as in OSSL"


def test_level_0_of_ossl_names_soc_by_its_method(ossl, farm, tmp_path):
    soc = ossl.pop(OSSL_SOC)
    place = np.arange(len(ossl)) % 3
    for number, name in enumerate(("c729", "c1059", "iso.10694")):
        column = f"oc_{name}_w.pct" if "iso" in name else f"oc_usda.{name}_w.pct"
        ossl[column] = soc.where(place == number)
    library = read_library(write(ossl.copy(), tmp_path / "ossl_all_L0_v1.2.csv"))
    assert np.allclose(library.soc, farm.soc)


def test_rows_without_soc_are_left_out_and_counted(ossl, farm, tmp_path):
    ossl.loc[[3, 8, 52], OSSL_SOC] = np.nan
    ossl.loc[20, OSSL_SOC] = -1  # a code for missing
    ossl.loc[21, OSSL_SOC] = 66
    library = read_library(write(ossl, tmp_path / "ossl.csv"))
    kept = np.setdiff1d(np.arange(N), [3, 8, 20, 21])
    assert np.allclose(library.soc, farm.soc[kept])
    assert library.info["sample_id"].to_list() == [f"{row:032x}" for row in kept]
    assert "3 of 56 rows have no SOC and are left out." in library.notes
    assert "5 of 56 rows have no spectrum and are left out." in library.notes
    out_of_range = "2 of 56 rows have a SOC below 0 or above 60 % and are left out."
    assert out_of_range in library.notes


def test_what_was_not_measured_stays_missing(ossl, tmp_path):
    ossl.loc[20:49, OSSL_BANDS[:25]] = np.nan  # LUCAS begins at 400 nm
    library = read_library(write(ossl, tmp_path / "ossl.csv"))
    missing = np.isnan(library.reflectance)
    assert missing[20:, :25].all()
    assert missing.sum() == 30 * 25
    assert (
        "30 rows were not measured at every wavelength (750 values are missing)."
        in library.notes
    )
    assert len(library.on_grid(np.arange(400, 2501, 10))) == N


def test_spoilt_cells_of_ossl_count_as_not_measured(ossl, tmp_path):
    ossl = ossl.astype(dict.fromkeys(OSSL_BANDS[100:103], object))
    ossl.loc[4, OSSL_BANDS[100]] = "broken"
    ossl.loc[5, OSSL_BANDS[101]] = -0.01
    ossl.loc[6, OSSL_BANDS[102]] = 7.0
    library = read_library(write(ossl, tmp_path / "ossl.csv"))
    bad = np.argwhere(np.isnan(library.reflectance))
    assert bad.tolist() == [[4, 100], [5, 101], [6, 102]]
    notes = "\n".join(library.notes)
    assert "1 cells of the spectra hold text and count as not measured" in notes
    assert (
        f"'broken', sample '{4:032x}', data row 5, column {OSSL_BANDS[100]!r}" in notes
    )
    assert (
        "2 values in 2 rows are out of the range of reflectance (fraction) and count "
        f"as not measured (first: -0.01, sample '{5:032x}', data row 6"
    ) in notes


def test_rows_of_ossl_with_an_earlier_id_or_none_are_left_out(ossl, tmp_path):
    ossl.loc[[8, 9], OSSL_ID] = ossl.loc[2, OSSL_ID]
    ossl.loc[11, OSSL_ID] = ""
    library = read_library(write(ossl, tmp_path / "ossl.csv"))
    assert len(library) == N - 3
    assert library.info["sample_id"].is_unique
    assert "2 of 56 rows repeat the id of an earlier row and are left out." in (
        library.notes
    )
    assert "1 of 56 rows have no id and are left out." in library.notes


def test_ossl_as_a_site_is_as_strict_as_any_file(ossl, tmp_path):
    good = write(ossl[:30], tmp_path / "site.csv")
    assert len(read_file(good)) == 30
    ossl.loc[3, OSSL_SOC] = np.nan
    path = write(ossl, tmp_path / "ossl.csv")
    message = rf"Column '{OSSL_SOC}' has 1 missing .*and 1 more"
    with pytest.raises(ValueError, match=message):
        read_file(path)


def test_ossl_in_percent_is_refused_unless_told(ossl, farm, tmp_path):
    ossl[OSSL_BANDS] *= 100
    path = write(ossl, tmp_path / "ossl.csv")
    message = "should be, as in OSSL, 'reflectance', .* it looks like percent"
    refused(path, f"'quantity' {message}")
    assert len(read_library(path, quantity="percent")) == N


def test_spectra_of_ossl_without_soc_say_which_tables_belong_together(ossl, tmp_path):
    tables = split_ossl(ossl)
    spectra = write(tables["ossl_visnir_L0_v1.2"], tmp_path / "visnir.csv.gz")
    refused(
        spectra, r"OSSL has no SOC beside its spectra\. Put ossl_visnir_L0, ossl_so"
    )
    lab = write(tables["ossl_soillab_L1_v1.2"], tmp_path / "soillab.csv")
    refused(lab, r"has no vis-NIR spectra\. .* or give the joined ossl_all_L1\.")
    assert len(read_library(spectra)) == N  # now that the other table is beside it


def test_folder_with_two_or_no_tables_of_spectra_is_refused(ossl, tmp_path, write_csv):
    folder = tmp_path / "ossl"
    write_folder({"a": ossl, "b": ossl}, folder)
    refused(folder, r"a folder with 2 tables of spectra \(a\.csv, b\.csv\)\. Give")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "is a folder without the spectra of OSSL or ICRAF")
    own = write_csv()
    refused(own.parent, r"is a folder without .* Give the path of a file\.")


# ICRAF-ISRIC


@pytest.mark.parametrize("edition", ["csv", "csv.gz", "tab"])
def test_icraf_tables_are_joined_by_sample_number_and_profile(
    icraf, farm, tmp_path, edition
):
    options = {"sep": "\t", "quoting": 2} if edition == "tab" else {}
    icraf["Chemical_properties"] = icraf["Chemical_properties"][::-1]
    folder = write_folder(icraf, tmp_path / "icraf", f".{edition}", **options)
    library = read_library(folder)
    assert np.array_equal(library.wavelengths, ICRAF_NM)
    assert np.allclose(library.reflectance, icraf["ASD Spectra"][ICRAF_BANDS], 1e-6)
    assert np.allclose(library.soc, farm.soc)
    sample = library.info.iloc[7].to_dict()
    # 12 degrees 30 minutes south, 47 degrees 15 minutes west
    assert sample.pop("latitude") == pytest.approx(-12.5)
    assert sample.pop("longitude") == pytest.approx(-47.25)
    assert sample == {
        "sample_id": "FS15R_FS7",
        "source": "ICRAF-ISRIC",
        "group": "BR 2",
        "country": "Brazil",
        "carbon_kind": "organic carbon",
        "licence": "see the data set's own",
        "depth": "0-15 cm",
    }
    assert library.info["latitude"][0] == pytest.approx(-12.51)  # and 36 seconds


def _reference_data(icraf):
    """The other edition: all but the spectra in one table."""
    codes, chemistry = icraf["ICRAF sample codes"], icraf["Chemical_properties"]
    return pd.DataFrame(
        {
            "Batch and labid": codes["Batch and labid"],
            "ICRAF sample codes.SAMPLENO": codes["SAMPLENO"],
            "Country name": codes["Country name"],
            "Plotcode": codes["Plotcode"],
            "BTOP": 0,
            "BBOT": 15,
            "N / S": "South",
            "Lat: degr": 12,
            "Lat: min": 30,
            "Lat: sec": np.nan,
            "E / W": "West",
            "Long: degr": 47,
            "Long: min": 15,
            "Long: sec": np.nan,
            "Sample no": 1,
            "Org C": chemistry["ORGC"],
            "pF2.0": 30.0,
        }
    )


def test_other_edition_of_icraf_reads_the_same(icraf, tmp_path):
    repository = read_library(write_folder(icraf, tmp_path / "repository"))
    spectra = icraf["ASD Spectra"].rename(columns={"Batch_Labid": "Batch.Labid"})
    tables = {
        "ICRAF_ISRIC_VNIR_spectra": spectra,
        "ICRAF_ISRIC_reference_data": _reference_data(icraf),
    }
    library = read_library(write_folder(tables, tmp_path / "other"))
    assert np.array_equal(library.reflectance, repository.reflectance)
    assert np.array_equal(library.soc, repository.soc)
    columns = ["sample_id", "source", "group", "country", "depth", "longitude"]
    assert library.info[columns].equals(repository.info[columns])


def test_icraf_as_one_table_reads_the_same(icraf, tmp_path):
    repository = read_library(write_folder(icraf, tmp_path / "repository"))
    joined = _reference_data(icraf).merge(
        icraf["ASD Spectra"], left_on="Batch and labid", right_on="Batch_Labid"
    )
    joined = joined.rename(columns={"Org C": "ORGC"})
    library = read_library(write(joined, tmp_path / "icraf.csv"))
    assert np.array_equal(library.reflectance, repository.reflectance)
    assert np.array_equal(library.soc, repository.soc)


def test_icraf_tables_in_another_encoding_or_with_missing_samples(icraf, tmp_path):
    chemistry = icraf["Chemical_properties"]
    chemistry.loc[[0, 1], "ORGC"] = np.nan
    icraf["Chemical_properties"] = chemistry.drop(index=[5, 6, 7])
    folder = write_folder(icraf, tmp_path / "icraf", encoding="latin-1")
    library = read_library(folder)
    assert len(library) == N - 5
    assert "5 of 50 rows have no SOC and are left out." in library.notes


def test_sample_numbers_that_stand_for_two_soils_have_no_soc(icraf, farm, tmp_path):
    chemistry = icraf["Chemical_properties"]
    again = chemistry.iloc[[3, 4]].copy()
    again.loc[3, "ORGC"] += 1  # the other row only repeats the same
    icraf["Chemical_properties"] = pd.concat([chemistry, again])
    library = read_library(write_folder(icraf, tmp_path / "icraf"))
    assert np.allclose(library.soc, np.delete(farm.soc, 3))
    assert library.notes[0] == (
        "Chemical_properties.csv has 1 samples more than once with different SOC: it "
        "is not used."
    )


def test_namibia_is_a_country_and_not_missing(icraf, tmp_path):
    icraf["Site_description"]["ISO"] = "NA"
    icraf["Chemical_properties"]["ISO"] = "NA"
    codes = icraf["ICRAF sample codes"]
    codes["Plotcode"] = codes["Plotcode"].str.replace("BR ", "NA0")
    library = read_library(write_folder(icraf, tmp_path / "icraf"))
    assert library.info["group"][0] == "NA 1"
    assert library.info["latitude"].notna().all()


def test_plot_codes_are_brought_to_one_style():
    for code in ("BR 12", "br012", "BR-12", "BR 12.0"):
        assert add_plotcode({"plotcode": code})["plotcode"] == "BR 12"
    assert add_plotcode({"country": "Brazil"}) == {"country": "Brazil"}


def test_own_names_win_over_those_of_a_library():
    assert recognise(["Batch_Labid", "ORGC", "W350"]).name == "ICRAF-ISRIC"
    assert recognise(["sample_id", "soc", "W350"]) is None


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

    library = lenient_and_strict(write_csv(change), "Column 'soc' has 2 missing")
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

    refused(write_csv(change), message)


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
    refused(write_csv(change(2)), "different quantities", quantity="reflectance")


def test_library_without_a_usable_row_is_refused(write_csv):
    refused(
        write_csv(lambda frame: frame.assign(soc=np.nan)),
        r"None of 30 rows can be used: 30 have no SOC\. A library needs rows with both",
    )
    refused(
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


def test_truncated_gzip_is_refused(write_csv):
    path = write_csv(name="farm.csv.gz")
    path.write_bytes(path.read_bytes()[:-2000])
    refused(path, r"'farm\.csv\.gz' is not a whole gzip file")


def test_names_of_tables():
    assert [is_table(f"a{end}") for end in (".csv", ".CSV.GZ", ".tab", ".parquet")] == [
        True
    ] * 4
    assert not any(map(is_table, ("farms", "a.xlsx", "a.gz", "ossl_v1.2")))
    names = ("b/my.farm.csv.gz", "a.CSV", "x.parquet", "ossl_v1.2", "a.xlsx")
    assert [stem(name) for name in names] == [
        "my.farm",
        "a",
        "x",
        "ossl_v1.2",
        "a.xlsx",
    ]


def test_folder_with_tables_counts_as_one(write_csv, tmp_path):
    assert not is_table(tmp_path)
    write_csv()
    assert is_table(tmp_path)


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
    monkeypatch.setattr(readers, "MAX_VALUES_KEPT", N * len(OSSL_NM) - 1)
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
    monkeypatch.setattr(rows, "BLOCK_ROWS", 100)
    monkeypatch.setattr(quantities, "MAX_DECIDING_VALUES", 20_000)
    monkeypatch.setattr(readers, "MAX_VALUES_KEPT", 20_000)
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
