"""A dask cluster behind the command: the same rows, workers that die, nobody there."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from dask.distributed import LocalCluster
from dask.system import CPU_COUNT

from soilnb.study import Study, select_rows
from soilnb.workflow import connect
from soilnb.workflow.params import check_parameters
from soilnb.workflow.steps import notebook_path

pytestmark = pytest.mark.slow
# So many models that rounds of a small library, too, are handed to workers.
SEARCH = {"n_selected": 10, "n_repeats": 55, "n_components": 5, "drop_fraction": 0.2}


def begin(*arguments, place):
    """Start the command as a user does."""
    options = ["--profile", "tiny", "-p", f"results={place}"]
    return subprocess.Popen(
        [sys.executable, "-m", "soilnb", "run", *arguments, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, seconds=300):
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.002)
    return found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Results of the first step for skane."""
    place = tmp_path_factory.mktemp("results")
    first = begin("01_data", place=place)
    assert first.wait() == 0, first.stderr.read()
    first.stderr.close()
    return place


@pytest.fixture
def place(prepared, tmp_path):
    """A copy of them, for one test."""
    return Path(shutil.copytree(prepared, tmp_path / "r"))


def test_worker_killed_in_the_search_of_a_run_costs_a_retry(place):
    given = [text for pair in SEARCH.items() for text in ("-p", "{}={}".format(*pair))]
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs="ERROR",
    ) as cluster:
        scheduler = ["--scheduler", cluster.scheduler_address]
        process = begin("03_rs_local", *scheduler, *given, place=place)
        workers = cluster.scheduler.workers.values()
        busy = wait_for(lambda: [w.nanny for w in workers if w.processing])
        nanny = next(n for n in cluster.workers.values() if n.address == busy[0])
        victim = nanny.pid
        os.kill(victim, signal.SIGKILL)
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        assert nanny.pid not in (None, victim)  # it came back
    step = place / "farms" / "skane" / "03_rs_local"
    study = Study.load(step.with_name("01_data"))
    rows = {"global": np.arange(len(study.library)), "country": study.country_rows}
    files = {"global": "localised.csv", "country": "localised_country.csv"}
    for library, file in files.items():
        chosen = select_rows(study, library, n_searches=2, **SEARCH).indices
        found = pd.read_csv(step / file)["library_row"].dropna()
        np.testing.assert_array_equal(found, rows[library][chosen])


def test_killed_run_leaves_no_worker_of_its_cluster(place):
    process = begin("03_rs_local", "--scheduler", "local", place=place)
    wait_for((place / "farms" / "skane" / ".03_rs_local.partial").is_dir)
    children = psutil.Process(process.pid).children(recursive=True)
    workers = [one for one in children if "spawn_main" in " ".join(one.cmdline())]
    assert len(workers) >= CPU_COUNT
    process.kill()
    process.communicate()

    def ended(child):
        with suppress(psutil.NoSuchProcess):
            return child.status() == psutil.STATUS_ZOMBIE  # nobody's child any more
        return True

    wait_for(lambda: all(map(ended, children)), 30)


def test_command_refuses_a_scheduler_that_nobody_is_at_before_it_reads(tmp_path):
    nobody = ["--scheduler", "tcp://127.0.0.1:9"]
    process = begin("03_rs_local", *nobody, place=tmp_path / "r")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "'scheduler' must be the address of a running dask scheduler, got" in errors
    assert len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "r").exists()


def test_plain_papermill_refuses_it_before_it_reads(tmp_path):
    given = {"scheduler": "tcp://127.0.0.1:9", "results": tmp_path / "r"}
    script = Path(sys.executable).with_name("papermill")
    done = subprocess.run(
        [script, notebook_path("03_rs_local"), tmp_path / "out.ipynb"]
        + [text for pair in given.items() for text in ("-p", *pair)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "ConnectionError: 'scheduler' must be the address of" in done.stderr
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
