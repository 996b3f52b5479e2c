"""The registry of open files, the data folder, and how files get there."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from soilnb.datasets import open as open_module
from soilnb.datasets.open import (
    OPEN_SITES,
    READERS,
    data_folder,
    fetch,
    load_open,
    open_files,
)

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
    with pytest.raises(ValueError, match=r"'SOILNB_DATA' must name a folder .* a fo"):
        fetch("csiro")


@pytest.mark.parametrize("load", [fetch, load_open])
def test_an_unknown_file_is_refused_with_the_known_ones(load):
    with pytest.raises(ValueError, match=r"Unknown open file 'wheat-belt'. Did you"):
        load("wheat-belt")


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
    with pytest.raises(ValueError, match=r"What http://127.*/some.rda sent for 'tin"):
        fetch("csiro")
    assert names_in(folder) == []


def test_a_download_cut_off_without_a_stated_length_is_refused(online, folder):
    online.body, online.length = CONTENT[:5000], None
    with pytest.raises(ValueError, match=f"SHA-256 {SHA256[:8]}... and was not kept"):
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
    with pytest.raises(ConnectionError, match=r"rda: no connection. Try .*'twin'"):
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
    with pytest.raises(OSError, match=r"take 'tiny\.rda' \(Not a directory\)\. Set"):
        fetch("csiro")


@pytest.mark.skipif(
    os.name == "nt" or not os.getuid(), reason="an administrator may write anywhere"
)
def test_a_folder_that_is_read_only_is_said(online, folder):
    folder.chmod(0o555)
    with pytest.raises(OSError, match=r"take .*permission denied.*can be written"):
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
