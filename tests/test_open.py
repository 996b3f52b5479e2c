import hashlib
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from soilnb.datasets import open as open_module
from soilnb.datasets.library import describe
from soilnb.datasets.open import (
    OPEN_SITES,
    READERS,
    data_folder,
    fetch,
    load_open,
    load_open_files,
    open_files,
)
from soilnb.preprocessing import absorbance, snv

CONTENT = bytes(range(256)) * 100
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def names_in(folder):
    return [path.name for path in folder.iterdir()]


class Server(ThreadingHTTPServer):
    """Sends `body`, of a stated length, to whoever asks; counts who did."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.length, self.status = CONTENT, len(CONTENT), 200
        self.requests, self.before = 0, lambda: None
        self.url = f"http://127.0.0.1:{self.server_address[1]}/some.rda"

    def handle_error(self, request, client_address):
        """Say nothing of a client that hung up."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests += 1
        self.server.before()
        self.send_response(self.server.status)
        if self.server.length is not None:
            self.send_header("Content-Length", str(self.server.length))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def write_registry(tmp_path, monkeypatch):
    """A factory of registries with one small file, tiny.rda, named csiro."""

    def write(url):
        path = tmp_path / "registry.toml"
        path.write_text(
            f'[csiro]\nfile = "tiny.rda"\nurl = "{url}"\nsha256 = "{SHA256}"\n'
            'licence = ""\ncite = []\nwhat = ""\ncountry = ""\nsamples = 1\n'
            'quantity = "reflectance"\nsource = ""\ngroup = ""\ncarbon_kind = ""\n'
            "site = true\nnotes = []\n"
        )
        monkeypatch.setattr(open_module, "REGISTRY", path)
        return path

    return write


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The data folder, which does not exist yet."""
    folder = tmp_path / "cache" / "spectra"
    monkeypatch.setenv("SOILNB_DATA", str(folder))
    return folder


@pytest.fixture
def online(server, folder, write_registry):
    """The server, the registry that names it, and an empty data folder."""
    write_registry(server.url)
    folder.mkdir(parents=True)
    return server


@pytest.fixture
def real_files(shared_data, monkeypatch):
    monkeypatch.setenv("SOILNB_DATA", str(shared_data))
    return shared_data


# The registry and the folder


def test_every_open_file_is_pinned_and_can_be_read():
    files = open_files()
    assert list(files) == ["wheatbelt", "wheatbelt-moisture", "nirsoil", "csiro"]
    assert files.keys() == READERS.keys()
    for name, file in files.items():
        host, commit = file.url.split("/")[2], file.url.split("/")[5]
        assert host == "raw.githubusercontent.com"
        assert len(bytes.fromhex(commit)) == 20
        assert len(bytes.fromhex(file.sha256)) == 32
        assert file.name == name
        assert file.licence
        assert all(len(text) > 100 for text in file.cite)
        assert file.cite
        assert file.what


def test_sites_are_the_files_that_the_registry_calls_so():
    assert tuple(name for name, file in open_files().items() if file.site) == OPEN_SITES


def test_the_data_folder_is_what_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("SOILNB_DATA", str(tmp_path / "here"))
    assert data_folder() == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SOILNB_DATA", "~/spectra")
    assert data_folder() == tmp_path / "spectra"


@pytest.mark.parametrize("value", [None, "", "  "])
def test_without_the_variable_it_is_the_cache_of_the_user(monkeypatch, tmp_path, value):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SOILNB_DATA", raising=False)
    if value is not None:
        monkeypatch.setenv("SOILNB_DATA", value)
    assert data_folder().name == "soilnb"
    assert data_folder().is_absolute()


def test_a_data_folder_that_is_a_file_is_refused(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SOILNB_DATA", str(tmp_path / "file"))
    with pytest.raises(
        ValueError, match=r"'SOILNB_DATA' must name a folder .* a folder\.$"
    ):
        fetch("csiro")


@pytest.mark.parametrize("load", [fetch, load_open])
def test_an_unknown_file_is_refused_with_the_known_ones(load):
    with pytest.raises(
        ValueError, match=r"Unknown open file 'wheat-belt'\. Did you mean"
    ):
        load("wheat-belt")


def test_importing_datasets_loads_neither_pooch_nor_rdata():
    code = (
        "import sys, soilnb.datasets; heavy = 'pooch rdata requests xarray'.split(); "
        "sys.exit(' '.join(name for name in heavy if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Fetching


def test_a_missing_file_is_downloaded_once_and_quietly(
    server, folder, write_registry, monkeypatch
):
    import pooch

    logger, said = pooch.get_logger(), []
    level = logger.level
    monkeypatch.setattr(logger, "handle", said.append)
    write_registry(server.url)
    path = fetch("csiro")
    assert path == folder / "tiny.rda"
    assert path.read_bytes() == CONTENT
    assert names_in(folder) == ["tiny.rda"]
    assert fetch("csiro") == path
    assert server.requests == 1
    assert said == []
    assert logger.level == level


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_others_may_read_what_was_downloaded(online):
    assert fetch("csiro").stat().st_mode & 0o777 == 0o644


def test_a_file_that_is_there_needs_neither_network_nor_write_access(online, folder):
    (folder / "tiny.rda").write_bytes(CONTENT)
    folder.chmod(0o555)
    changed = folder.stat().st_mtime_ns  # a temporary file would change it
    assert fetch("csiro").read_bytes() == CONTENT
    assert folder.stat().st_mtime_ns == changed
    assert online.requests == 0
    folder.chmod(0o755)


@pytest.mark.parametrize(
    "spoilt",
    [
        CONTENT[:1000] + b"\x00" + CONTENT[1001:],
        CONTENT[:-1],
        CONTENT + b"\n",
        b"",
    ],
    ids=["byte flipped", "truncated", "longer", "empty"],
)
def test_a_changed_file_is_refused_and_left_as_it_is(online, folder, spoilt):
    path = folder / "tiny.rda"
    path.write_bytes(spoilt)
    found = hashlib.sha256(spoilt).hexdigest()
    assert found != SHA256
    with pytest.raises(ValueError, match="SHA-256") as error:
        load_open("csiro")
    assert str(error.value) == (
        f"SHA-256 of 'tiny.rda' is {found[:8]}..., expected {SHA256[:8]}.... "
        f"Delete '{path}' and fetch it again."
    )
    assert path.read_bytes() == spoilt
    assert online.requests == 0
    path.unlink()
    assert fetch("csiro").read_bytes() == CONTENT


def test_a_download_of_other_bytes_is_refused_and_not_kept(online, folder):
    online.body = CONTENT[:-1] + b"!"
    with pytest.raises(
        ValueError, match=r"^What http://127.*/some\.rda sent for 'tiny"
    ):
        fetch("csiro")
    assert names_in(folder) == []


def test_a_download_cut_off_without_a_stated_length_is_refused(online, folder):
    online.body, online.length = CONTENT[:5000], None
    with pytest.raises(
        ValueError, match=rf"SHA-256 {SHA256[:8]}\.\.\. and was not kept"
    ):
        fetch("csiro")
    assert names_in(folder) == []


def _cut_off(server):
    server.body = CONTENT[:5000]


def _not_found(server):
    server.status = 404


def _silent(server):
    server.before = lambda: time.sleep(1)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (_cut_off, "the download broke off"),
        (_not_found, "the server answered 404 Not Found"),
        (_silent, "no answer in time"),
    ],
)
def test_a_download_that_fails_says_why_in_one_sentence(
    online, folder, monkeypatch, fault, cause
):
    monkeypatch.setattr(open_module, "TIMEOUT_S", (1, 0.2))
    fault(online)
    with pytest.raises(ConnectionError) as error:
        fetch("csiro")
    assert str(error.value) == (
        f"'tiny.rda' is not in the folder '{folder}' and could not be downloaded from "
        f"{online.url}: {cause}. Try again with a network, or put the file there; the "
        "libraries 'farms' and 'twin' need no download."
    )
    assert names_in(folder) == []


def test_no_network_is_said_within_seconds_and_leaves_nothing(
    server, folder, write_registry
):
    server.server_close()  # nobody listens at its port any more
    write_registry(server.url)
    start = time.perf_counter()
    with pytest.raises(
        ConnectionError, match=r"rda: no connection\. Try again .*'twin'"
    ):
        load_open("csiro")
    assert time.perf_counter() - start < 5
    assert names_in(folder) == []


def test_after_a_failure_the_next_try_succeeds(online):
    online.status = 503
    with pytest.raises(ConnectionError, match="503 Service Unavailable"):
        fetch("csiro")
    online.status = 200
    assert fetch("csiro").read_bytes() == CONTENT


def test_a_folder_that_cannot_be_made_is_said(online, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SOILNB_DATA", str(tmp_path / "file" / "spectra"))
    with pytest.raises(
        OSError, match=r"cannot take 'tiny\.rda' \(Not a directory\)\. Set"
    ):
        fetch("csiro")


@pytest.mark.skipif(
    os.name == "nt" or not os.getuid(), reason="an administrator may write anywhere"
)
def test_a_folder_that_is_read_only_is_said(online, folder):
    folder.chmod(0o555)
    with pytest.raises(
        OSError, match=r"cannot take .*permission denied.*can be written"
    ):
        fetch("csiro")
    folder.chmod(0o755)


def test_a_folder_that_pooch_may_not_write_is_said(online, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    with pytest.raises(OSError, match=r"\(permission denied\)\. Set the environment"):
        fetch("csiro")
    assert online.requests == 0


def test_two_processes_that_fetch_at_once_both_get_the_file(online, folder):
    # The server answers nobody before both have asked: the downloads overlap.
    together = threading.Barrier(2, timeout=30)

    def wait():
        with suppress(threading.BrokenBarrierError):
            together.wait()

    online.before = wait
    code = (
        "import sys; from pathlib import Path; from soilnb.datasets import open as o; "
        f"o.REGISTRY = Path({str(open_module.REGISTRY)!r}); "
        f"sys.exit(o.fetch('csiro').read_bytes() != {CONTENT[:256]!r} * 100)"
    )
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert online.requests == 2
    assert not together.broken
    assert names_in(folder) == ["tiny.rda"]


# Reading


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


def test_a_byte_flipped_in_a_real_file_is_refused(real_files, tmp_path, monkeypatch):
    content = bytearray((real_files / "csiro.rda").read_bytes())
    content[-1] ^= 1
    (tmp_path / "csiro.rda").write_bytes(content)
    monkeypatch.setenv("SOILNB_DATA", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"^SHA-256 of 'csiro\.rda' is .*expected 4e7a4ba5"
    ):
        load_open("csiro")


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


def test_texture_of_the_wheat_belt_sums_to_100_percent(real_files):
    info = load_open("wheatbelt").info
    assert round(info["clay_percent"].mean(), 2) == 26.59
    texture = info[["clay_percent", "silt_percent", "sand_percent"]].sum(axis=1)
    assert texture.between(94, 106).all()


def test_identifiers_of_csiro_are_its_own_numbers(real_files):
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
