"""Files as people have them: each kind is read rightly, or asked about."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from readers_helpers import BANDS, assert_refused, bands_as, long, put, rename

from soilnb.datasets import inspect_file, load_library, parse_options, read_file
from soilnb.datasets.files.roles import read_name
from soilnb.datasets.files.samples import half_of

SHARED_FILES = Path(__file__).resolve().parents[2] / "shared" / "files"


def logarithm(function):
    return lambda frame: frame.assign(soc=function(frame["soc"])).rename(
        columns={"soc": "log_SOC"}
    )


def transposed(frame):
    turned = frame.set_index("sample_id").T
    return turned.reset_index(names="")


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
