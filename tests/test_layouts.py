"""The layouts of the OSSL and ICRAF-ISRIC libraries, as they are published."""

import numpy as np
import pandas as pd
import pytest
from layouts_helpers import (
    ICRAF_BANDS,
    ICRAF_NM,
    OSSL_BANDS,
    OSSL_ID,
    OSSL_NM,
    OSSL_SOC,
    N,
    assert_refused,
    read_library,
    split_ossl,
    write,
    write_folder,
)

from soilnb.datasets.files import table
from soilnb.datasets.files.layouts import plotcode, recognise, with_plotcode
from soilnb.datasets.files.report import inspect_file, read_file
from soilnb.preprocessing import resample


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


@pytest.mark.parametrize("n_cells", [1, 10**6])  # read at once: a row, all
def test_rows_of_ossl_with_an_earlier_id_or_none_are_left_out(
    ossl, tmp_path, monkeypatch, n_cells
):
    monkeypatch.setattr(table, "BLOCK_CELLS", n_cells)
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
    ossl.loc[3, OSSL_SOC] = np.inf
    path = write(ossl, tmp_path / "ossl.csv")
    message = rf"Column '{OSSL_SOC}' has 1 infinite .*and 1 more"
    with pytest.raises(ValueError, match=message):
        read_file(path)


def test_ossl_in_percent_is_refused_unless_told(ossl, farm, tmp_path):
    ossl[OSSL_BANDS] *= 100
    path = write(ossl, tmp_path / "ossl.csv")
    message = "should be, as in OSSL, 'reflectance', .* it looks like percent"
    assert_refused(path, f"'quantity' {message}")
    assert len(read_library(path, quantity="percent")) == N


def test_spectra_of_ossl_without_soc_say_which_tables_belong_together(ossl, tmp_path):
    tables = split_ossl(ossl)
    spectra = write(tables["ossl_visnir_L0_v1.2"], tmp_path / "visnir.csv.gz")
    assert_refused(
        spectra, r"OSSL has no SOC beside its spectra\. Put ossl_visnir_L0, ossl_so"
    )
    lab = write(tables["ossl_soillab_L1_v1.2"], tmp_path / "soillab.csv")
    assert_refused(lab, r"has no vis-NIR spectra\. .* or give the joined ossl_all_L1\.")
    assert len(read_library(spectra)) == N  # now that the other table is beside it


def test_folder_with_two_or_no_tables_of_spectra_is_refused(ossl, tmp_path, write_csv):
    folder = tmp_path / "ossl"
    write_folder({"a": ossl, "b": ossl}, folder)
    assert_refused(
        folder, r"a folder with 2 tables of spectra \(a\.csv, b\.csv\)\. Give"
    )
    (tmp_path / "empty").mkdir()
    assert_refused(
        tmp_path / "empty", "is a folder without the spectra of OSSL or ICRAF"
    )
    own = write_csv()
    assert_refused(own.parent, r"is a folder without .* Give the path of a file\.")


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


def test_plot_codes_are_of_one_style_and_own_names_win_over_those_of_a_library():
    for code in ("BR 12", "br012", "BR-12", "BR 12.0", "br-012.0"):
        assert plotcode(code) == "BR 12"
    assert plotcode("Brazil") == "Brazil"
    assert [*with_plotcode(pd.DataFrame({"country": ["Brazil"]}))] == ["country"]
    assert recognise(["Batch_Labid", "ORGC", "W350"]).name == "ICRAF-ISRIC"
    assert recognise(["sample_id", "soc", "W350"]) is None
