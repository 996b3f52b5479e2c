"""A dask cluster behind the command: the same rows, workers that die, nobody there."""

import os
import shutil
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_helpers import begin, command, kill, wait_for
from dask.distributed import LocalCluster
from dask.system import CPU_COUNT

from soilnb.study import Study, select_rows
from soilnb.workflow import connect
from soilnb.workflow.params import check_parameters

pytestmark = pytest.mark.slow
# So many models that rounds of a small library, too, are handed to workers.
SEARCH = {"n_selected": 10, "n_repeats": 55, "n_components": 5, "drop_fraction": 0.2}


GIVEN = [text for pair in SEARCH.items() for text in ("-p", "{}={}".format(*pair))]


def options(place):
    """The options of a run that leaves its results in a folder."""
    return ["--profile", "tiny", "-p", f"results={place}"]


def assert_selected(step):
    """A step has selected the rows that one process selects."""
    study = Study.load(step.with_name("01_data"))
    rows = {"global": np.arange(len(study.library)), "country": study.country_rows}
    files = {"global": "localised.csv", "country": "localised_country.csv"}
    for library, file in files.items():
        chosen = select_rows(study, library, n_searches=2, **SEARCH).indices
        found = pd.read_csv(step / file)["library_row"].dropna()
        np.testing.assert_array_equal(found, rows[library][chosen])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Results of the first step for skane."""
    place = tmp_path_factory.mktemp("results")
    done = command("run", "01_data", *options(place))
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture
def place(prepared, tmp_path):
    """A copy of them, for one test."""
    return Path(shutil.copytree(prepared, tmp_path / "r"))


def test_worker_killed_in_the_search_of_a_run_costs_a_retry(place):
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs="ERROR",
    ) as cluster:
        scheduler = ["--scheduler", cluster.scheduler_address]
        process = begin("03_rs_local", *scheduler, *GIVEN, *options(place))
        workers = cluster.scheduler.workers.values()
        busy = wait_for(lambda: [w.nanny for w in workers if w.processing])
        nanny = next(n for n in cluster.workers.values() if n.address == busy[0])
        victim = nanny.pid
        os.kill(victim, signal.SIGKILL)
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        assert nanny.pid not in (None, victim)  # it came back
    assert_selected(place / "farms" / "skane" / "03_rs_local")


def test_two_sites_at_once_have_workers_of_their_own_and_the_same_rows(tmp_path):
    sites = ["--site", "skane", "--site", "uppsala", "-j", "2"]
    how = [*sites, "--scheduler", "local", *GIVEN, *options(tmp_path)]
    done = command("run", "03_rs_local", *how)
    assert done.returncode == 0, done.stderr
    lines = [line.split()[:2] for line in done.stdout.splitlines()]
    for site in ("skane", "uppsala"):
        steps = [step for step, place in lines if place == f"farms/{site}"]
        assert steps == ["01_data", "03_rs_local"]
        assert_selected(tmp_path / "farms" / site / "03_rs_local")


def test_killed_run_leaves_no_worker_of_its_cluster(place):
    process = begin("03_rs_local", "--scheduler", "local", *options(place))
    wait_for((place / "farms" / "skane" / ".03_rs_local.partial").is_dir)
    started = kill(process)  # waits for the end of all
    assert sum("spawn_main" in words for words in started) >= CPU_COUNT


def test_command_refuses_a_scheduler_that_nobody_is_at_before_it_reads(tmp_path):
    nobody = ["--scheduler", "tcp://127.0.0.1:9"]
    done = command("run", "03_rs_local", *nobody, *options(tmp_path / "r"))
    assert done.returncode == 1
    said = "'scheduler' must be the address of a running dask scheduler, got"
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("is_there", [True, False])
def test_where_none_or_no_scheduler_listens_is_said_within_ten_seconds(is_there):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        if not is_there:
            silent.close()
        start = time.monotonic()
        with pytest.raises(ConnectionError, match=f"got '{address}', where none answ"):
            connect(address)
        assert time.monotonic() - start < 10


@pytest.mark.parametrize("value", ["localhost", "tcp://localhost", "10.0.0.1:8786"])
def test_scheduler_is_local_or_an_address(value):
    with pytest.raises(ValueError, match="'scheduler' must be 'local' or an addr"):
        check_parameters("03_rs_local", {"scheduler": value})
    for good in ("", "local", "tcp://localhost:8786"):
        given = check_parameters("03_rs_local", {"scheduler": good})
        assert given["scheduler"] == good
