"""Data that several test files share."""

import os
import shutil
import sys
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from layouts_helpers import OSSL_BANDS, OSSL_ID, OSSL_MIR, OSSL_NM, OSSL_SOC, N
from rslocal_helpers import make_regions
from search_helpers import quick_training

from soilnb.datasets import SpectralLibrary, load_farm, load_library, load_site
from soilnb.preprocessing import resample
from soilnb.study import prepare

pytest.register_assert_rewrite("cnn_helpers", "readers_helpers")  # to show values

mpl.use("Agg")
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
if SHARED_DATA.is_dir():  # the download cache of all tests and of what they start
    os.environ["SOILNB_DATA"] = str(SHARED_DATA)


# Files that take longest, in the order of the time they take.
LONGEST = "notebooks cnn_training answer cluster search twin recommend models leaks"


def pytest_collection_modifyitems(items):
    """Long files first, so that two processes that share the files end together."""
    rank = {f"test_{name}": place for place, name in enumerate(LONGEST.split())}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data are not at ../shared/data")
    return SHARED_DATA


@pytest.fixture(scope="session")
def nirsoil(shared_data):
    """NIRsoil of prospectr: absorbance, wavelengths, Ciso, Nt, CEC, train."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rdata = pytest.importorskip("rdata", reason="rdata reads R's files")
        parsed = rdata.parser.parse_file(shared_data / "nirsoil.RData")
        # A data frame with a matrix in a column is none to pandas: keep it a dict.
        columns = rdata.conversion.convert(
            parsed, constructor_dict={"data.frame": lambda columns, _: columns}
        )["NIRsoil"]
    contents = {str(name): np.asarray(column) for name, column in columns.items()}
    contents["absorbance"] = contents.pop("spc").astype(np.float64)
    contents["wavelengths"] = np.arange(1100.0, 2500.0, 2.0)
    return contents


@pytest.fixture(scope="session")
def browser():
    """The path of a Chromium."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return shutil.which(name)
    return pytest.skip("no Chromium on the PATH")


@pytest.fixture(scope="session")
def farms():
    """The library of the real farms."""
    return load_library("farms")


@pytest.fixture(scope="session")
def skane(farms):
    """The study of Skane as a user gets it."""
    return prepare(farms, load_site("skane"))


@pytest.fixture(scope="session")
def short_skane(farms):
    """The study of Skane with few bands, in three folds."""
    return prepare(farms, load_site("skane"), n_folds=3, wavelength_range=(1000, 2400))


@pytest.fixture(autouse=True)
def _close_figures():
    """Leave no figure open."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def rng():
    """Random numbers, the same ones in every test."""
    return np.random.default_rng(1)


@pytest.fixture
def small_library():
    """60 synthetic samples of two groups at 40 bands; SOC darkens the spectra."""
    rng = np.random.default_rng(7)
    wavelengths = np.arange(500.0, 900.0, 10.0)
    soc = rng.uniform(0.5, 4.0, 60)
    slope = (wavelengths - wavelengths[0]) / 1000
    reflectance = 0.4 + slope - 0.05 * soc[:, None] + rng.normal(0, 0.002, (60, 40))
    info = pd.DataFrame(
        {
            "sample_id": [f"s{number:02d}" for number in range(60)],
            "source": "synthetic",
            "group": np.repeat(["east", "west"], 30),
            "country": "",
            "carbon_kind": "organic carbon",
            "licence": "none",
        }
    )
    return SpectralLibrary("small", reflectance, wavelengths, soc, info)


@pytest.fixture
def write_csv(tmp_path):
    """A factory of good wide files of a real farm, that a test can spoil.

    ``write_csv(change)`` writes sample_id, soc (%) and reflectance (fraction) of 30
    samples of Vaud, every 10 nm, after ``change(frame)``, which alters the frame in
    place or returns another. Keywords go to ``DataFrame.to_csv``; a name that ends
    in .parquet makes it a Parquet file.
    """
    farm = load_site("vaud").on_grid(np.arange(420, 2481, 10)).take(np.arange(30))

    def write(change=None, name="farm.csv", **options):
        bands = [f"{wavelength:g}" for wavelength in farm.wavelengths]
        frame = pd.DataFrame(
            farm.reflectance.astype(np.float64).round(6), columns=bands
        )
        frame.insert(0, "sample_id", [f"{number:03d}" for number in range(1, 31)])
        frame.insert(1, "soc", farm.soc)
        if change is not None:
            changed = change(frame)
            frame = frame if changed is None else changed
        path = tmp_path / name
        if path.suffix == ".parquet":
            frame.to_parquet(path)
        else:
            frame.to_csv(path, index=False, **options)
        return path

    return write


@pytest.fixture(scope="module")
def small():
    """300 samples of seven regions, and a site in one of them."""
    return make_regions(300, seed=1)


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
def quick(monkeypatch):
    """Train nothing, propose in haste: every trial scores by `quick_rmse` at once."""
    from soilnb.cnn.tuning import oracle, trials  # load TensorFlow

    monkeypatch.setattr(oracle, "ROUNDS", 5)
    monkeypatch.setattr(trials, "_cross_validate", quick_training)
    monkeypatch.setattr(trials.keras.backend, "clear_session", lambda: None)
