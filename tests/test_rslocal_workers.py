"""RS-LOCAL on several threads and processes, also those that die or are stopped."""

import os
import signal
import threading
import time
from pathlib import Path

import dask
import numpy as np
import pytest
from dask.distributed import Client, LocalCluster
from rslocal_helpers import assert_same, select

from soilnb.rslocal import crew
from soilnb.rslocal.mapped import MappedFile, is_mapped


@pytest.mark.parametrize("per_worker", [1, 3, 50])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_chunks_and_threads_do_not_change_a_bit(
    small, monkeypatch, n_threads, per_worker
):
    expected = select(small)
    monkeypatch.setattr(crew, "_TASKS_PER_THREAD", per_worker)
    monkeypatch.setattr(crew, "_FEWEST_FITS_PER_TASK", 1)
    with dask.config.set(num_workers=n_threads):
        assert_same(select(small), expected)


@pytest.fixture(scope="module")
def cluster():
    """Two processes of one thread each, which come back when they die."""
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster, monkeypatch):
    """A client whose workers also get the short iterations of these tests."""
    monkeypatch.setattr(crew, "_FEWEST_FITS_FOR_CLUSTER", 100)
    monkeypatch.setattr(crew, "_FEWEST_FITS_PER_REMOTE_TASK", 10)
    with Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


def test_processes_of_a_cluster_do_not_change_a_bit(small, client):
    assert_same(select(small, n_searches=2, client=client), select(small, n_searches=2))
    settings = {"n_components": "cv", "drop_fraction": 0.3}
    assert_same(select(small, client=client, **settings), select(small, **settings))


@pytest.fixture
def mapped(small, tmp_path):
    """The same case, its library the map of a file."""
    X, y = small["library"]
    np.save(tmp_path / "library.npy", X.astype(np.float32))
    return small | {"library": (np.load(tmp_path / "library.npy", mmap_mode="r"), y)}


def test_pool_too_large_for_an_argument_is_sent_before(small, client, monkeypatch):
    monkeypatch.setattr(crew, "_MOST_BYTES_OF_ARGUMENT", 10)
    assert_same(select(small, client=client), select(small))


def test_a_million_rows_are_handed_out(client):
    # The bits of a pool of more than 800,000 rows are too many for an argument.
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(900_000, 3)), rng.normal(size=900_000)
    case = {"library": (X, y), "local": (X[:9], y[:9])}
    few = {"n_selected": 450_000, "subset_size": 100, "n_components": 2}
    few |= {"n_repeats": 1, "drop_fraction": 0.5}
    assert_same(select(case, client=client, **few), select(case, **few))


def test_processes_map_the_file_of_the_library(mapped, client, monkeypatch):
    expected, sent = select(mapped), []
    scatter = client.scatter
    monkeypatch.setattr(
        client, "scatter", lambda data, **how: sent.extend(data) or scatter(data, **how)
    )
    assert_same(select(mapped, client=client), expected)
    assert [part.X_library.size for part in sent] == [0]
    # The search is the one that an array has, to single precision.
    X, y = mapped["library"]
    plain = select(mapped | {"library": (np.array(X), y)})
    first = plain.history["rmse_median"][0]
    assert expected.history["rmse_median"][0] == pytest.approx(first, rel=1e-3)


@pytest.mark.parametrize("what", ["gone", "another"])
def test_spectra_travel_where_workers_have_no_such_file(
    mapped, client, monkeypatch, what
):
    expected, file = select(mapped), Path(mapped["library"][0].filename)
    known = MappedFile.of(mapped["library"][0])
    path = file.with_name("gone.npy") if what == "gone" else file
    digest = "another" if what == "another" else known.digest
    elsewhere = known._replace(path=str(path), digest=digest)
    monkeypatch.setattr(MappedFile, "of", lambda _: elsewhere)
    assert_same(select(mapped, client=client), expected)


def test_part_of_a_map_is_no_file_of_its_own(mapped):
    X, y = mapped["library"]
    assert is_mapped(X)
    assert not is_mapped(X[10:])
    assert not is_mapped(np.array(X))
    assert MappedFile.of(X[10:]) is None
    part = mapped | {"library": (X[10:], y[10:])}
    plain = mapped | {"library": (np.array(X[10:]), y[10:])}
    assert_same(select(part), select(plain))


@pytest.mark.parametrize("n_killed", [1, 2])
def test_workers_killed_in_an_iteration_do_not_change_a_bit(small, client, n_killed):
    victims = list(client.run(os.getpid).values())[:n_killed]

    def kill_soon(done, total, text):
        if done == first_models:
            for process in victims:
                threading.Timer(0.01, os.kill, (process, signal.SIGKILL)).start()

    expected = select(small, n_repeats=50)
    first_models = expected.history["n_models"][0]
    assert_same(
        select(small, n_repeats=50, client=client, progress=kill_soon), expected
    )
    assert set(client.run(os.getpid).values()).isdisjoint(victims)


def test_says_so_when_no_worker_is_left(small, client):
    with (
        LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as nobody,
        Client(nobody, timeout="2s") as lonely,
        pytest.raises(RuntimeError, match=r"The workers of 'client' are lost\. Start"),
    ):
        select(small, client=lonely)
    client.close()
    with pytest.raises(RuntimeError, match="The workers of 'client' are lost"):
        select(small, client=client)


@pytest.fixture
def interruptible():
    """Ctrl-C interrupts, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_search_leaves_nothing_behind(small):
    expected = select(small)
    main = threading.main_thread().ident
    interrupt = threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT))
    interrupt.start()
    start, n_threads = time.perf_counter(), threading.active_count()
    with pytest.raises(KeyboardInterrupt) as traceback:  # as a notebook keeps it
        select(small, n_searches=100_000)
    assert time.perf_counter() - start < 30
    interrupt.join()
    assert threading.active_count() < n_threads  # the timer is gone, no thread more
    assert traceback.tb is not None
    assert_same(select(small), expected)
