"""Steps: what they note, whom they keep out, and which results fit together."""

import json
import os
import shutil
import signal
import time

import pytest
from command_helpers import python

from soilnb import _blocks, _files
from soilnb.workflow import params, run, stamps, step
from soilnb.workflow.steps import STEPS, Job, unknown_folders


def test_folder_is_replaced_whole(tmp_path):
    new, place = tmp_path / "new", tmp_path / "place"
    for folder, name in ((new, "fresh"), (place, "stale")):
        folder.mkdir()
        (folder / name).touch()
    _files.replace_folder(new, place)
    assert [path.name for path in tmp_path.iterdir()] == ["place"]
    assert [path.name for path in place.iterdir()] == ["fresh"]


def test_names_that_the_notebook_itself_made_are_no_parameters(tmp_path):
    """Run All a second time in JupyterLab, without a new kernel."""
    namespace = {"results": str(tmp_path), "notes": [], "first": 420.0, "_hidden": 1}
    step.begin("01_data", namespace)
    with pytest.raises(ValueError, match="Unknown parameter 'sede'"):
        step.begin("01_data", namespace | {"sede": 2})


@pytest.mark.parametrize(
    ("given", "stamp", "message"),
    [
        ({}, None, "cannot run: there are no results of 01_data"),
        ({"seed": 2}, {}, "'seed' is 2, but the results of 01_data"),
        ({}, {"data": {"site a.csv": "SHA-256 0"}}, "01_data was made from other data"),
    ],
)
def test_step_that_does_not_fit_what_it_reads_is_refused(
    tmp_path, given, stamp, message
):
    if stamp is not None:
        _stamp(tmp_path / "farms" / "skane", "01_data", **stamp)
    namespace = {"site": "skane", "results": str(tmp_path)} | given
    with pytest.raises(ValueError, match=message):
        step.begin("02_benchmarks", namespace)


def _stamp(folder, name, **changes):
    """Write a step's stamp as `finish` does, without running anything."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    values = {"site": "skane", "library": "farms"}
    facts = {
        "study": "x",
        "data": stamps.data_digests(values),
        "parameters": {"seed": 1, "profile": "quick"},
        "upstream": {},
        "results": name,
    } | changes
    (folder / name / "step.json").write_text(json.dumps(facts))


def test_advice_keeps_the_parameters_of_the_earlier_run(tmp_path):
    values = {"site": "skane", "library": "farms", "results": str(tmp_path)}
    place = tmp_path / "farms" / "skane"
    full = params.check_parameters("01_data", values | {"profile": "full"})
    _stamp(place, "01_data", parameters=full | {"n_local": 40})
    search = params.check_parameters("04_cnn", values | {"profile": "full"})
    _stamp(place, "04_cnn", parameters=search | {"n_trials": 7})
    assert stamps.run_command("all", values) == (
        "soilnb run all --site skane --library farms --profile full "
        f"-p n_local=40 -p n_trials=7 -p results={tmp_path}"
    )
    # What is wanted now goes first; what a profile had set is not named.
    assert stamps.run_command("04_cnn", values | {"profile": "quick", "seed": 2}) == (
        "soilnb run 04_cnn --site skane --library farms --profile quick "
        f"-p n_local=40 -p n_trials=7 -p results={tmp_path} -p seed=2"
    )


def test_another_file_of_the_same_name_does_not_replace_results(tmp_path):
    files = [tmp_path / name / "farm.csv" for name in "ab"]
    for number, file in enumerate(files):
        file.parent.mkdir()
        file.write_text(f"sample_id,soc\na,{number}\n")
    values = {"library": "farms", "results": str(tmp_path / "r")}
    jobs = [Job("01_data", values | {"site": str(file)}) for file in files]
    first = {"parameters": jobs[0].values, "data": stamps.data_digests(jobs[0].values)}
    _stamp(jobs[0].site_folder, "01_data", **first)
    stamps.check_owner(jobs[0])
    with pytest.raises(
        ValueError, match="'site' must have a results folder of its own"
    ):
        stamps.check_owner(jobs[1])
    files[1].write_text(files[0].read_text())
    stamps.check_owner(jobs[1])  # a copy
    files[1].write_text("sample_id,soc\na,5\n")
    files[0].unlink()
    stamps.check_owner(jobs[1])  # moved, then edited


def test_step_that_another_process_runs_is_refused(tmp_path):
    namespace = {"results": str(tmp_path)}
    first = step.begin("01_data", namespace)
    (first.folder / "half.csv").touch()
    code = (
        "from soilnb.workflow import begin;"
        f"begin('01_data', {{'site': 'skane', 'results': {str(tmp_path)!r}}})"
    )
    done = python(code)
    assert "is being run by another process. Wait" in done.stderr
    assert (first.folder / "half.csv").exists()
    step.begin("01_data", namespace).finish()  # again in the same kernel
    assert python(code).returncode == 0


def test_step_notes_what_it_read_when_it_began(tmp_path):
    begun = step.begin("01_data", {"results": str(tmp_path)})
    begun.study.save(begun.folder)
    begun.finish()
    second = step.begin("02_benchmarks", {"results": str(tmp_path)})
    again = step.begin("01_data", {"results": str(tmp_path)})
    again.study.save(again.folder)
    (again.folder / "more.csv").touch()  # so that its results differ
    again.finish()
    second.finish()
    place = tmp_path / "farms" / "skane"
    assert stamps.find_mismatch(place, ["01_data", "02_benchmarks"]) == (
        "02_benchmarks",
        "01_data was run again after 02_benchmarks",
    )


def test_interrupt_between_two_steps_begins_no_other(monkeypatch, tmp_path):
    jobs = [
        Job(name, {"site": "skane", "library": "farms", "results": str(tmp_path)})
        for name in ("01_data", "02_benchmarks")
    ]
    (tmp_path / "farms" / "skane").mkdir(parents=True)
    looked = []

    def is_fresh(job):
        looked.append(job.step)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)  # the interrupt is met in the other thread
        return False

    monkeypatch.setattr(run, "is_fresh", is_fresh)
    monkeypatch.setattr(run, "execute", lambda *_: pytest.fail("a step began"))
    # A shell's background jobs begin with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run.run(jobs, tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert looked == ["01_data"]


def test_what_waits_runs_last_and_what_reads_all_sites_after_them(
    monkeypatch, tmp_path
):
    ran = []
    monkeypatch.setattr(run, "is_fresh", lambda job: bool(ran.append(job)) or True)
    sites = ["skane", "uppsala"]
    jobs = run.plan(["all"], sites, {}, [f"results={tmp_path}"])
    run.run(jobs, tmp_path)
    names = [f"{job.site_folder.name} {job.step}" for job in ran]
    assert len(names) == len(jobs) == len(set(names))
    last = ["skane 09_compare", "uppsala 09_compare", "companions 16_results"]
    assert names[-3:] == last


@pytest.mark.parametrize("n_parallel", [1, 2, 3])
def test_steps_run_side_by_side_each_after_those_that_it_reads(
    monkeypatch, tmp_path, n_parallel
):
    events, most = [], []

    def execute(job, state):
        events.append(("begins", job.site_folder, job.step))
        most.append(len(state.jobs))
        time.sleep(0.01)
        events.append(("ends", job.site_folder, job.step))

    monkeypatch.setattr(run, "is_fresh", lambda _: False)
    monkeypatch.setattr(run, "execute", execute)
    jobs = run.plan(["all"], ["skane", "uppsala"], {}, [f"results={tmp_path}"])
    run.run(jobs, tmp_path, n_parallel=n_parallel)
    begun = [event[1:] for event in events if event[0] == "begins"]
    assert set(begun) == {(job.site_folder, job.step) for job in jobs}
    for job in jobs:
        start = events.index(("begins", job.site_folder, job.step))
        ended = [step for what, place, step in events[:start] if what == "ends"
                 if place == job.site_folder]  # fmt: skip
        entry = STEPS[job.step]
        own = {one.step for one in jobs if one.site_folder == job.site_folder}
        assert own & {*entry.reads, *entry.uses} <= set(ended)
    assert max(most) == n_parallel
    if n_parallel == 1:
        planned = [(j.site_folder, j.step) for j in jobs if not STEPS[j.step].waits]
        assert begun[: len(planned)] == planned


def test_step_that_fails_stops_its_own_site_only(monkeypatch, tmp_path):
    ran = []

    def execute(job, _):
        ran.append((job.site_folder.name, job.step))
        if ran[-1] == ("skane", "04_cnn"):
            msg = "04_cnn failed for skane"
            raise run.StepError(msg)

    monkeypatch.setattr(run, "is_fresh", lambda _: False)
    monkeypatch.setattr(run, "execute", execute)
    jobs = run.plan(["all"], ["skane", "uppsala"], {}, [f"results={tmp_path}"])
    with pytest.raises(run.StepError, match="04_cnn failed for skane"):
        run.run(jobs, tmp_path, n_parallel=2)
    of_skane = {step for site, step in ran if site == "skane"}
    assert not of_skane & {"05_dtl_instances", "08_repeats", "09_compare"}
    assert ("uppsala", "09_compare") in ran


def test_files_that_a_step_shows_are_in_its_stamp_but_not_in_its_data(
    monkeypatch, tmp_path
):
    values = params.check_parameters("16_results", {"results": str(tmp_path)})
    job = Job("16_results", values)
    before = stamps.expected(job)
    assert "scores.csv" in before["files"]
    assert before["data"] == {}
    monkeypatch.setattr(stamps, "digest_file", lambda _: "changed")
    assert stamps.expected(job)["files"] != before["files"]


def test_results_that_do_not_fit_together_are_told(tmp_path):
    steps = ["01_data", "03_rs_local"]
    _stamp(tmp_path, "01_data")
    _stamp(tmp_path, "03_rs_local", upstream={"01_data": "01_data"})
    assert stamps.find_mismatch(tmp_path, steps) is None
    assert stamps.find_mismatch(tmp_path, [*steps, "04"])[0] == "04"
    _stamp(tmp_path, "01_data", results="other results")
    assert stamps.find_mismatch(tmp_path, steps) == (
        "03_rs_local",
        "01_data was run again after 03_rs_local",
    )
    _stamp(tmp_path, "03_rs_local", study="y")
    assert stamps.find_mismatch(tmp_path, steps) == (
        "03_rs_local",
        "the results of 03_rs_local belong to another study",
    )
    (tmp_path / "01_data" / "step.json").write_text('{"study": ')
    assert stamps.find_mismatch(tmp_path, steps) == (
        "01_data",
        "the notes of 01_data (step.json) cannot be read",
    )


def test_second_run_of_the_same_site_is_refused_meanwhile(tmp_path):
    with (
        run.only_run(tmp_path),
        pytest.raises(ValueError, match="Another run is writing"),
        run.only_run(tmp_path),
    ):
        pass


def test_folders_of_an_earlier_numbering_are_named_and_not_read(tmp_path):
    for name in ("01_data", "08_compare", "10_repeats", "notes"):
        (tmp_path / name).mkdir()
    assert unknown_folders(tmp_path) == ["08_compare", "10_repeats"]


def test_file_is_hashed_once_and_again_when_it_is_written_to(monkeypatch, tmp_path):
    file = tmp_path / "farm.csv"
    file.write_text("sample_id,soc\na,1\n")
    values, hashed = {"site": str(file)}, []

    def digest_file(path):
        hashed.append(path)
        return f"{len(hashed)}"

    monkeypatch.setattr(stamps, "digest_file", digest_file)
    first = [stamps.data_digests(values) for _ in range(3)]
    assert first == [{"site farm.csv": "SHA-256 1"}] * 3
    assert list(json.loads(stamps.handed_over()["SOILNB_DIGESTS"]).values())[-1] == "1"
    file.write_text("sample_id,soc\na,1\nb,2\n")
    assert stamps.data_digests(values) == {"site farm.csv": "SHA-256 2"}


def test_prepared_study_is_taken_from_the_run_only_if_it_is_the_same(
    monkeypatch, tmp_path
):
    values = {"site": "skane", "library": "farms", "results": str(tmp_path / "r")}
    (job,) = run.plan(["01_data"], ["skane"], {"library": "farms"}, [])
    job.values["results"] = values["results"]
    run.check_data([job], tmp_path)
    kept = run._kept_study(job, tmp_path)
    monkeypatch.setenv(step.PREPARED, str(kept))
    monkeypatch.setattr(step, "prepare_study", lambda *_: pytest.fail("not the same"))
    assert len(step.begin("01_data", values).study.local) == 30
    with pytest.raises(pytest.fail.Exception, match="not the same"):
        step.begin("01_data", values | {"n_local": 31})


def test_spectra_of_a_large_library_are_beside_its_sites(monkeypatch, tmp_path):
    monkeypatch.setattr(_blocks, "LARGE_VALUES", 100_000)
    (job,) = run.plan(["01_data"], ["skane"], {"library": "farms"}, [])
    job.values["results"] = str(tmp_path / "r")
    run.check_data([job], tmp_path)
    (place,) = (tmp_path / "r" / "farms" / ".spectra").glob("[!.]*")
    monkeypatch.setenv(step.PREPARED, str(run._kept_study(job, tmp_path)))
    begun = step.begin("01_data", job.values)
    assert begun.study.kept == place
    begun.study.save(begun.folder, begun.spectra)
    begun.finish()
    (begun.place / "01_data.ipynb").touch()
    assert run.is_fresh(job)
    place.rename(place.with_name("lost"))
    assert not run.is_fresh(job)
    with pytest.raises(FileNotFoundError, match="Run 01_data again"):
        step.begin("02_benchmarks", {"results": str(tmp_path / "r")})


def test_letter_changed_in_plots_keeps_searches_and_one_in_cnn_does_not(
    monkeypatch, tmp_path
):
    begun = step.begin("01_data", {"results": str(tmp_path / "r")})
    shutil.copytree(_files.PACKAGE, tmp_path / "soilnb")
    monkeypatch.setattr(_files, "PACKAGE", tmp_path / "soilnb")
    before, fresh = (
        begun.search_folder("local", 1),
        stamps.expected(begun),
    )
    for part, keeps in (("plots/style.py", True), ("cnn/network.py", False)):
        with (tmp_path / "soilnb" / part).open("a") as file:
            file.write("# x\n")
        assert (begun.search_folder("local", 1) == before) is keeps
        assert stamps.expected(begun)["source"] != fresh["source"]
