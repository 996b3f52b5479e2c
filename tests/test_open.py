"""What is read from the open files: carbon, spectra and information as published."""

import hashlib

import numpy as np
import pytest

from soilnb.datasets import open as open_module
from soilnb.datasets.library import describe
from soilnb.datasets.open import fetch, load_open, load_open_files, open_files
from soilnb.preprocessing import absorbance, snv


@pytest.fixture
def real_files(shared_data, monkeypatch):
    monkeypatch.setenv("SOILNB_DATA", str(shared_data))
    return shared_data


def test_rows_without_carbon_are_left_out_and_counted(monkeypatch, tmp_path):
    xarray = pytest.importorskip("xarray", reason="rdata gives its arrays")
    spectra = np.array([[0.5, 1.0], [0.5, 9.9], [0.3, -0.1], [0.2, -0.2]])
    spectra = xarray.DataArray(
        spectra, coords={"dim_1": ["1100", "1102"]}, dims=("dim_0", "dim_1")
    )
    contents = {"NIRsoil": {"spc": spectra, "Ciso": np.array([np.nan, 2.0, 3.0, 1.0])}}
    monkeypatch.setattr(open_module, "fetch", lambda _: tmp_path)
    monkeypatch.setattr(open_module, "_read_r", lambda _: contents)
    library = load_open("nirsoil")
    # 10 ** -0.5 = 0.3162, 10 ** -0.3 = 0.5012, 10 ** 0.1 = 1.2589, 10 ** -0.2 = 0.6310;
    # 9.9 is darker than an instrument can tell, -0.2 brighter than 1.5
    expected = [[0.3162, np.nan], [0.5012, 1.2589], [0.6310, np.nan]]
    assert np.allclose(library.reflectance, expected, atol=1e-4, equal_nan=True)
    assert library.soc.tolist() == [2, 3, 1]
    assert library.wavelengths.tolist() == [1100, 1102]
    assert library.info["sample_id"].tolist() == [
        f"nirsoil-00{row}" for row in (2, 3, 4)
    ]
    assert "nirsoil: 1 of 4 samples have no carbon: left out." in library.notes
    assert (
        "nirsoil: 2 values of absorbance outside -0.18 to 4 count as not measured."
        in library.notes
    )


def test_the_real_files_have_the_bytes_of_the_registry(real_files):
    for name, file in open_files().items():
        path = fetch(name)
        assert path == real_files / file.file
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256


@pytest.mark.parametrize(
    ("name", "n", "mean", "sd", "low", "high"),
    [
        # sd divides by n - 1: 1.368 * sqrt(391 / 390) = 1.370
        ("wheatbelt", 391, 1.170, 1.370, 0.06, 12.74),
        ("nirsoil", 732, 1.669, 1.772, 0.10, 17.23),
        ("csiro", 100, 2.305, 2.212, 0.05, 9.53),
    ],
)
def test_carbon_has_the_published_statistics(real_files, name, n, mean, sd, low, high):
    library = load_open(name)
    statistics = describe(library.soc)[["n", "mean", "sd", "min", "max"]]
    assert np.allclose(statistics, [n, mean, sd, low, high], atol=6e-4)
    assert len(library) == open_files()[name].samples


@pytest.mark.parametrize(
    ("name", "range_nm", "brightness"),
    [
        # Dark wet soil reflects less than 1 % in the ultraviolet, bright sand 96 %.
        ("wheatbelt", (350, 2500), (0.025, 0.839)),
        ("wheatbelt-moisture", (350, 2500), (0.005, 0.8)),
        ("nirsoil", (1100, 2498), (0.1, 0.7)),
        ("csiro", (350, 2500), (0.03, 0.96)),
    ],
)
def test_spectra_are_reflectance_of_soil(real_files, name, range_nm, brightness):
    library = load_open(name)
    assert tuple(library.wavelengths[[0, -1]]) == range_nm
    measured = library.reflectance[np.isfinite(library.reflectance)]
    assert brightness[0] <= measured.min() < measured.max() <= brightness[1] + 1e-3
    # Soil is brighter at 1700 nm than within the water band at 1940 nm, and where the
    # visible range was measured, than in the blue.
    at = {nm: np.searchsorted(library.wavelengths, nm) for nm in (450, 1700, 1940)}
    spectra = library.reflectance
    assert (spectra[:, at[1700]] > spectra[:, at[1940]]).mean() > 0.98
    if range_nm[0] < 450:
        assert (spectra[:, at[1700]] > spectra[:, at[450]]).mean() > 0.99


def test_absorbance_of_nirsoil_survives_the_way_through_reflectance(
    real_files, nirsoil
):
    library = load_open("nirsoil")
    rows = np.isfinite(nirsoil["Ciso"])
    assert np.array_equal(library.soc, nirsoil["Ciso"][rows])
    back = absorbance(library.reflectance)
    assert np.abs(back - nirsoil["absorbance"][rows]).max() < 1e-6
    # The tests of the R package prospectr give this value for the first row.
    assert round(snv(back[:1]).max(), 5) == 2.63444
    assert "nirsoil: 93 of 825 samples have no carbon: left out." in library.notes
    assert library.info["sample_id"].iloc[-1] == "nirsoil-825"


def test_texture_and_identifiers_are_those_of_the_sources(real_files):
    info = load_open("wheatbelt").info
    assert round(info["clay_percent"].mean(), 2) == 26.59
    texture = info[["clay_percent", "silt_percent", "sand_percent"]].sum(axis=1)
    assert texture.between(94, 106).all()
    info = load_open("csiro").info
    assert info["sample_id"].iloc[[0, -1]].tolist() == ["csiro-0028", "csiro-1478"]
    assert info["clay_percent"].between(2.8, 69).all()


def test_the_moisture_series_is_one_group_with_its_wheat_belt(real_files):
    soils, series = load_open("wheatbelt"), load_open("wheatbelt-moisture")
    assert set(soils.info["group"]) == set(series.info["group"]) == {"wheatbelt"}
    assert not set(soils.info["sample_id"]) & set(series.info["sample_id"])
    assert set(series.soc) <= set(soils.soc)  # they are soils of the same survey
    assert series.info["soil_id"].value_counts().eq(3).all()
    for _, of_soil in series.info.groupby("soil_id"):
        assert set(of_soil["moisture"]) == {"air-dry", "wet", "drying"}
        assert len(set(series.soc[of_soil.index])) == 1


def test_the_states_of_moisture_are_what_their_names_say(real_files):
    series = load_open("wheatbelt-moisture")
    states = {
        state: absorbance(series.reflectance[series.info["moisture"] == state, 50:])
        for state in ("air-dry", "drying", "wet")
    }  # from 400 nm on
    # Water darkens: every soil is darker wet than air-dry at every band.
    assert (states["wet"] > states["air-dry"]).all()
    # Its band at 1940 nm, against 1800 nm, is deeper the wetter, for every soil.
    depth = [
        spectra[:, 1940 - 400] - spectra[:, 1800 - 400] for spectra in states.values()
    ]
    assert (np.diff(depth, axis=0) > 0).all()
    assert any("3 values of absorbance outside" in note for note in series.notes)
    not_measured = np.argwhere(np.isnan(series.reflectance))
    assert set(series.wavelengths[not_measured[:, 1]]) == {350}


def test_rows_of_the_three_states_are_the_same_soils_in_the_same_order(real_files):
    series = load_open("wheatbelt-moisture").on_grid(np.arange(420, 2481, 10))
    dry, drying = (
        snv(absorbance(series.reflectance[series.info["moisture"] == state]))
        for state in ("air-dry", "drying")
    )
    nearest = (dry @ drying.T).argmax(axis=1)
    # By chance one soil of 100 would be nearest to itself.
    assert (nearest == np.arange(100)).sum() > 30


def test_the_open_library_holds_all_four_files(real_files):
    library = load_open_files()
    assert library.name == "open"
    assert len(library) == 391 + 300 + 732 + 100
    assert len(library.on_grid(np.arange(420, 2481, 10))) == 391 + 300 + 100
    assert library.info.groupby("group").size().to_dict() == {
        "csiro": 100,
        "nirsoil": 732,
        "wheatbelt": 691,
    }
    assert set(library.info["country"]) == {"Australia", "Belgium"}
    assert set(library.info["licence"]) == {"MIT", "GPL-3"}
    assert library.wavelengths[[0, -1]].tolist() == [350, 2500]
    for name in open_files():
        assert any(note.startswith(f"{name}:") for note in library.notes)


@pytest.mark.parametrize(
    ("name", "published"), [("wheatbelt", 0.80), ("nirsoil", 0.68), ("csiro", 0.68)]
)
def test_plsr_predicts_carbon_as_well_as_it_is_known_to(real_files, name, published):
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.model_selection import KFold, cross_val_predict

    library = load_open(name)
    first = max(420, library.wavelengths[0])
    library = library.on_grid(np.arange(first, 2481, 10))
    X, y = snv(absorbance(library.reflectance)), library.soc
    folds = KFold(10, shuffle=True, random_state=1)
    r2 = []
    for n_components in (11, 15, 17, 20, 23):
        model = PLSRegression(n_components, scale=False)
        errors = y - cross_val_predict(model, X, y, cv=folds).ravel()
        r2.append(1 - (errors**2).sum() / ((y - y.mean()) ** 2).sum())
    assert abs(max(r2) - published) < 0.06  # another draw of folds moves it as much
