"""Parameters, steps and the command: what is refused, what is fresh, what is shown."""

import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from soilnb.datasets import LIBRARIES, SITES, folder_name
from soilnb.workflow import book, execute, params, run, show, stamps
from soilnb.workflow.steps import OF_SITE, STEPS, plan_steps


def soilnb(*arguments, **options):
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "soilnb", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_every_step_has_a_notebook_whose_parameters_all_have_rules():
    free = {"country", "measured", "collect"}  # any text; a file; true or false
    for name, entry in STEPS.items():
        declared = params.declared(name)
        shared = {"site", "library", "profile", "seed"} if entry.site else set()
        assert shared | {"results"} <= set(declared)
        assert set(declared) - set(params.RULES) <= free


def test_steps_read_only_earlier_steps():
    order = list(STEPS)
    for name, entry in STEPS.items():
        earlier = (*entry.reads, *entry.uses)
        assert all(order.index(other) < order.index(name) for other in earlier)
        assert all(set(STEPS[other].reads) <= set(earlier) for other in entry.reads)


def test_zero_takes_the_profiles_value_and_a_given_value_wins():
    quick = params.check_parameters("03_rs_local", {"profile": "quick"})
    assert quick["n_repeats"] == params.profiles()["quick"]["n_repeats"]
    given = params.check_parameters("03_rs_local", {"n_repeats": 7})
    assert given["n_repeats"] == 7


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n_locl", 30, "Unknown parameter 'n_locl' of 01_data. Did you mean 'n_local'"),
        ("n_local", "abc", "'n_local' must be a whole number, got 'abc'"),
        ("n_local", 3, "'n_local' must be between 10 and 10000, got 3"),
        ("n_local", True, "'n_local' must be a whole number, got True"),
        ("site", 7, "'site' must be text, got 7.*-r site VALUE"),
        ("site", " ", "'site' must not be empty"),
        ("seed", 5_000_000_000, "'seed' must be between 1 and"),
        ("profile", "quik", "Unknown profile 'quik'. Did you mean 'quick'"),
        ("wavelength_range", [2480, 420], "two increasing numbers in nm"),
        ("wavelength_range", ["a", "b"], "must be a list of float"),
        ("quantity", "refl", "Unknown quantity 'refl'"),
        ("soc_unit", "g/dm3", "Unknown soc_unit 'g/dm3'"),
    ],
)
def test_wrong_parameter_names_rule_value_and_remedy(name, value, message):
    with pytest.raises((ValueError, TypeError), match=message):
        params.check_parameters("01_data", {name: value})


def test_drop_fraction_must_leave_something():
    with pytest.raises(ValueError, match=r"'drop_fraction' must be above 0 and at"):
        params.check_parameters("03_rs_local", {"drop_fraction": 0.9})


def test_search_must_have_room_for_the_small_network():
    with pytest.raises(
        ValueError, match=r"'max_weights' must be 0 .*150,000.* got 5\. G"
    ):
        params.check_parameters("04_cnn", {"max_weights": 5})
    given = params.check_parameters("04_cnn", {"max_weights": 0})
    assert given["max_weights"] == params.profiles()["quick"]["max_weights"]


def test_assignments_are_read_as_the_declared_type():
    steps = ["01_data", "03_rs_local"]
    given = params.parse_assignments(
        ["seed=2", "wavelength_range=[500, 900]", "site=007", "n_repeats=5"], steps
    )
    assert given["01_data"] == {
        "seed": 2,
        "wavelength_range": [500, 900],
        "site": "007",
    }
    assert given["03_rs_local"] == {"seed": 2, "site": "007", "n_repeats": 5}
    with pytest.raises(ValueError, match="takes name=value, got 'seed'"):
        params.parse_assignments(["seed"], steps)


def test_plan_brings_the_steps_that_are_read():
    assert plan_steps(["05_dtl_instances"]) == [
        "01_data",
        "03_rs_local",
        "04_cnn",
        "05_dtl_instances",
    ]


def test_choice_and_comparison_read_all_models():
    assert set(plan_steps(["07_dtl_both"])) >= {"05_dtl_instances"}
    assert "06_dtl_representations" in plan_steps(["07_dtl_both"])


def test_components_must_be_fewer_than_the_samples_of_a_subset():
    given = {"n_selected": 10, "n_components": 10}
    with pytest.raises(
        ValueError, match=r"'n_components' must be between 1 and 9 \(n_"
    ):
        params.check_parameters("03_rs_local", given)
    assert params.check_parameters("03_rs_local", given | {"n_components": 9})


@pytest.mark.parametrize(
    ("step_name", "name"), [("03_rs_local", "n_searches"), ("04_cnn", "n_library")]
)
def test_numbers_of_the_profile_are_0_or_enough(step_name, name):
    with pytest.raises(ValueError, match=rf"'{name}' must be 0 \(the profile's\) or"):
        params.check_parameters(step_name, {name: 1})
    assert params.check_parameters(step_name, {name: 0})[name] > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["all", "--site", "skan"], "Unknown site 'skan'. Did you mean 'skane'"),
        (["all", "--library", "farm"], "Unknown library 'farm'. Did you mean 'farms'"),
        (["04_cn"], "Unknown step '04_cn'. Did you mean '04_cnn'"),
        (["all", "-p", "n_locl=30"], "Unknown parameter 'n_locl'. Did you mean"),
        (["all", "-p", "n_local=121"], "at least n_local + 5 = 126 samples, got 125"),
        (["all", "-j", "0"], "'-j' must be at least 1, got 0"),
        (["all", "-j", "x"], "invalid int value: 'x'"),
        (["all", "--sead", "2"], "unrecognized arguments: --sead 2"),
        (["all", "-p", "seed=1", "-p", "seed=2"], "'seed' is given twice"),
        (["all", "--site", "nowhere.csv"], "There is no file 'nowhere.csv'. Check the"),
        (["all", "--site", ""], "'site' must not be empty"),
    ],
)
def test_command_refuses_at_once_in_one_line(arguments, message, tmp_path):
    done = soilnb("run", *arguments, "-p", f"results={tmp_path / 'results'}")
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_results_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").touch()
    done = soilnb("run", "all", "-p", f"results={tmp_path / 'file'}")
    assert done.returncode == 1
    assert "'results' must be a folder that can be written" in done.stderr


def test_broken_csv_is_refused_before_anything_is_written(write_csv, tmp_path):
    path = write_csv(lambda frame: frame.drop(columns="soc"))
    done = soilnb("run", "all", "--site", path, "-p", f"results={tmp_path / 'r'}")
    assert done.returncode == 1
    assert "got 0 with SOC among 30" in done.stderr
    assert not (tmp_path / "r").exists()
    path = write_csv(lambda frame: frame.rename(columns={"soc": "SOM"}))
    checked = soilnb("data", "check", path)
    assert checked.returncode == 1
    assert "Column 'SOM' is organic matter" in checked.stdout
    said = "Say it with: -p soc_column=SOM -p soc_kind=organic_matter"
    assert checked.stdout.strip().endswith(said)


def test_check_says_that_all_samples_are_to_be_estimated(write_csv):
    path = write_csv(lambda frame: frame.drop(columns="soc"))
    checked = soilnb("data", "check", path)
    assert checked.returncode == 0, checked.stdout
    assert "0 samples, 30 are to be estimated" in checked.stdout
    assert "A study can be made as soon as some samples have SOC." in checked.stdout
    assert checked.stdout.strip().endswith("Nothing is wrong.")
    assert soilnb("data", "check", "--as-library", path).returncode == 1


def test_bad_second_site_leaves_nothing_of_the_good_first(write_csv, tmp_path):
    bad = write_csv(lambda frame: frame.drop(columns="soc"))
    sites = ["--site", "skane", "--site", bad]
    done = soilnb("run", "all", *sites, "-p", f"results={tmp_path / 'r'}")
    assert done.returncode == 1
    assert not (tmp_path / "r").exists()


def test_components_that_the_data_cannot_give_are_refused_at_once(write_csv, tmp_path):
    few = write_csv(lambda frame: frame[["sample_id", "soc", *frame.columns[2:22]]])
    options = ["-p", "n_components=25", "-p", "n_local=20", "-p", "n_folds=3"]
    options += ["-p", "quantity=reflectance", "-p", f"results={tmp_path / 'r'}"]
    done = soilnb("run", "all", "--site", few, *options)
    assert done.returncode == 1
    assert "'n_components' must be between 1 and 20" in done.stderr
    assert not (tmp_path / "r").exists()


def test_what_was_understood_of_a_file_is_said_before_it_is_run(write_csv, tmp_path):
    path = write_csv(lambda frame: frame.assign(soc=frame["soc"] * 2))
    options = [f"results={tmp_path}", "n_local=20", "quantity=reflectance"]
    given = {"site": str(path), "library": "farms", "profile": "tiny"}
    jobs = run.plan(["01_data"], [str(path)], given, options)
    lines = run.check_data(jobs, tmp_path)
    assert any(
        line.startswith("farm: SOC was taken as % (its median is ")
        and line.endswith("; if it is in g/kg, say soc_unit='g/kg'.")
        for line in lines
    )


def test_check_says_what_it_understood_of_a_good_file(write_csv):
    options = ["-p", "quantity=reflectance", "-p", "n_local=20"]
    done = soilnb("data", "check", write_csv(), *options)
    assert done.returncode == 0, done.stdout
    assert "20 local and 10 test samples, 207 bands" in done.stdout
    assert "Nothing is wrong." in done.stdout


def test_check_counts_the_samples_that_a_study_needs(write_csv):
    done = soilnb("data", "check", write_csv(), "-p", "quantity=reflectance")
    assert done.returncode == 1
    assert "at least n_local + 5 = 35 samples, got 30" in done.stdout
    assert "Nothing is wrong" not in done.stdout


def test_library_file_that_is_not_understood_is_named_with_its_own_parameter(
    write_csv, tmp_path
):
    library = write_csv(_without_shape, name="library.csv")
    done = soilnb("run", "all", "--library", library, "-p", f"results={tmp_path / 'r'}")
    assert done.returncode == 1
    assert "say library_quantity='reflectance' or library_quantity=" in done.stderr


def _without_shape(frame):
    size = frame.iloc[:, 2:].mean(axis=1).to_numpy()[:, np.newaxis]
    frame.iloc[:, 2:] = 0.3 + 0.2 * size + np.linspace(0, 0.01, frame.shape[1] - 2)


@pytest.mark.parametrize("failures", [1, 2])
def test_kernel_that_is_never_heard_of_is_started_again(monkeypatch, failures):
    timeouts = []

    def start(order, start_timeout):
        timeouts.append(start_timeout)
        if len(timeouts) <= failures:
            msg = f"Kernel didn't respond in {start_timeout} seconds"
            raise RuntimeError(msg)

    monkeypatch.setattr(execute, "_end_with_parent", lambda: None)
    monkeypatch.setattr(execute, "_execute", start)
    monkeypatch.setattr(sys, "argv", ["execute", "{}"])
    execute.main()
    assert timeouts == list(execute.START_TIMEOUTS[: failures + 1])


def test_failing_notebook_is_not_run_again(monkeypatch):
    calls = []

    def fail(order, start_timeout):
        calls.append(start_timeout)
        msg = "Kernel died"
        raise RuntimeError(msg)

    monkeypatch.setattr(execute, "_end_with_parent", lambda: None)
    monkeypatch.setattr(execute, "_execute", fail)
    monkeypatch.setattr(sys, "argv", ["execute", "{}"])
    with pytest.raises(RuntimeError, match="Kernel died"):
        execute.main()
    assert len(calls) == 1


def test_empty_range_is_that_of_the_site():
    given = params.check_parameters("01_data", {"site": "skane"})
    assert given["wavelength_range"] == [420, 2480]
    given = params.check_parameters("01_data", {"site": "twin-usa", "library": "twin"})
    assert given["wavelength_range"] == [400, 2500]
    given = params.check_parameters("01_data", {"site": "twin-usa"})
    assert given["wavelength_range"] == [420, 2480]


def test_list_names_every_site_and_library():
    listed = soilnb("data", "list").stdout
    for name in (*SITES, *LIBRARIES, "CC BY-SA 4.0", "GPL-3", "synthetic"):
        assert name in listed


def test_fetch_says_what_a_file_is_and_how_to_cite_it(shared_data, monkeypatch):
    monkeypatch.setenv("SOILNB_DATA", str(shared_data))
    done = soilnb("data", "fetch", "nirsoil")
    assert done.returncode == 0, done.stderr
    assert "nirsoil.RData" in done.stdout
    assert "MIT" in done.stdout
    assert "Dardenne" in done.stdout


def test_fetch_of_an_unknown_or_missing_file_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("SOILNB_DATA", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # a closed port
    unknown = soilnb("data", "fetch", "wheatbel")
    assert "Did you mean 'wheatbelt'?" in unknown.stderr
    for done in (
        soilnb("data", "fetch", "csiro"),
        soilnb("run", "01_data", "--library", "open", "-p", f"results={tmp_path}/r"),
    ):
        assert done.returncode == 1
        assert len(done.stderr.strip().splitlines()) == 1
        assert "'farms' and 'twin' need no download" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_library_is_checked_as_one(write_csv):
    """A library may lack SOC in some rows, a site only if enough are left."""

    def without_soc(frame):
        frame.loc[:20, "soc"] = np.nan

    path = write_csv(without_soc)
    assert soilnb("data", "check", path).returncode == 1
    done = soilnb("data", "check", "--as-library", path)
    assert done.returncode == 1  # a run needs more rows
    assert "21 of 30 rows" in done.stdout
    assert "at least 50 rows for a run, got 9." in done.stdout


def test_command_does_not_load_tensorflow():
    code = (
        "import sys; from soilnb.workflow import run, book, params;"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_library_and_site_files_of_one_name_are_both_watched(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "soil.csv").write_text(name)
    found = stamps.data_digests(
        {
            "library": str(tmp_path / "a" / "soil.csv"),
            "site": str(tmp_path / "b" / "soil.csv"),
        }
    )
    assert list(found) == ["library soil.csv", "site soil.csv"]
    assert len(set(found.values())) == 2


def test_two_files_that_would_share_a_results_folder_are_refused(write_csv, tmp_path):
    (tmp_path / "b").mkdir()
    paths = [write_csv(name="soil.csv"), write_csv(name="b/soil.csv")]
    with pytest.raises(ValueError, match="would share the results folder 'soil'"):
        run.plan(["01_data"], list(map(str, paths)), {"library": "farms"}, [])


def test_site_named_twice_is_run_once():
    jobs = run.plan(["01_data"], ["skane", "skane"], {"library": "farms"}, [])
    assert len(jobs) == 1


def test_options_of_files_leave_built_in_sites_alone(write_csv):
    sites = ["skane", str(write_csv())]
    jobs = run.plan(["01_data"], sites, {}, ["quantity=reflectance"])
    assert [job.values["quantity"] for job in jobs] == ["", "reflectance"]


def test_figure_without_alt_text_stops_the_book():
    output = nbformat.v4.new_output("display_data", {"image/png": "x"})
    cell = nbformat.v4.new_code_cell(outputs=[output])
    with pytest.raises(run.StepError, match="has no alt text"):
        book._move_alt_text(cell, "fig")
    output.metadata["image/png"] = {"alt": "A line.", "caption": "Fig."}
    book._move_alt_text(cell, "fig")
    assert cell.metadata["mystnb"]["image"]["alt"] == "A line."


def test_book_without_results_says_what_to_run(tmp_path):
    values = params.check_parameters("09_compare", {"results": str(tmp_path)})
    with pytest.raises(run.StepError, match="soilnb run all --site skane"):
        book.build_book(values, tmp_path / "build")


def test_book_without_the_chapters_that_need_no_farm_says_what_to_run(
    monkeypatch, tmp_path
):
    def find_mismatch(folder, steps):  # as if those of the farm were there
        is_farm = folder.name == "skane"
        return None if is_farm else stamps.find_mismatch(folder, steps)

    monkeypatch.setattr(book, "find_mismatch", find_mismatch)
    for step in OF_SITE:
        place = tmp_path / "farms" / "skane" / step
        place.mkdir(parents=True)
        (place / f"{step}.ipynb").touch()
    values = params.check_parameters("09_compare", {"results": str(tmp_path)})
    with pytest.raises(run.StepError, match=r"no results of 15_twin\. Run it first: s"):
        book.build_book(values, tmp_path / "build")


def test_shown_figure_carries_its_alt_text_and_is_closed(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr(show, "display", lambda *a, **k: shown.append((a, k)))
    figure, _ = plt.subplots()
    file = tmp_path / "fig1.png"
    show.figure(figure, alt="A line.", caption="Fig. 1.", file=file)
    dots_per_metre = int.from_bytes(file.read_bytes().split(b"pHYs")[1][:4], "big")
    assert round(dots_per_metre * 0.0254) == 300
    vector = file.with_suffix(".pdf").read_bytes()
    assert vector.startswith(b"%PDF")
    assert b"CreationDate" not in vector  # the same figure gives the same file
    assert shown[0][1]["metadata"]["image/png"]["alt"] == "A line."
    assert not plt.fignum_exists(figure.number)


def test_table_rounds_the_columns_that_are_named_to_their_own_digits(monkeypatch):
    shown = []
    monkeypatch.setattr(show, "display", lambda *given, **_: shown.extend(given))
    frame = pd.DataFrame({"rmse": [0.1234], "low": [-0.0041], "delta_rmse": [12.345]})
    show.table(frame, caption="c", digits=show.GAIN_DIGITS)
    assert [f">{text}<" in shown[0].data for text in ("0.12", "-0.004", "12.3")] == [
        True
    ] * 3


def test_synthetic_data_is_labelled_in_figure_alt_text_caption_and_table(monkeypatch):
    shown = []
    monkeypatch.setattr(show, "display", lambda *a, **k: shown.append((a, k)))
    show.label_synthetic(True)
    try:
        figure, _ = plt.subplots()
        show.figure(figure, alt="A line.", caption="Fig. 1.")
        show.table(pd.DataFrame({"a": [1]}), caption="Table 1.")
    finally:
        show.label_synthetic(False)
    label = "Contains synthetic data (the twin)."
    assert shown[0][1]["metadata"]["image/png"] == {
        "alt": f"{label} A line.",
        "caption": f"{label} Fig. 1.",
    }
    assert [text.get_text() for text in figure.texts] == ["contains synthetic data"]
    assert f"{label} Table 1." in shown[2][0][0].data


def test_progress_says_what_is_left_and_leaves_it_for_the_command(
    monkeypatch, tmp_path
):
    file = tmp_path / "progress"
    monkeypatch.setenv("SOILNB_PROGRESS", str(file))
    progress = show.Progress("searching")
    progress.start -= 10
    progress(1, 4)
    assert "about 30.0 s left" in file.read_text()
    progress(4, 4)
    assert "done in" in file.read_text()


def test_file_named_like_a_built_in_site_is_refused():
    with pytest.raises(ValueError, match="Rename the file"):
        folder_name("somewhere/skane.csv")
