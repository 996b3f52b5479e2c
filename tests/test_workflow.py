"""Parameters, steps and the command: what is refused, what is fresh, what is shown."""

import base64
import re
import shlex
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest
from command_helpers import soilnb
from matplotlib import pyplot as plt

from soilnb.datasets import LIBRARIES, SITES
from soilnb.workflow import book, data, execute, params, run, show, stamps
from soilnb.workflow.steps import OF_SITE, STEPS, plan_steps


def test_every_step_has_a_notebook_whose_parameters_all_have_rules():
    free = {"country", "measured", "collect"}  # any text; a file; true or false
    free |= {"soc_column", "id_column"}  # names that a file has
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


@pytest.mark.parametrize(
    ("step_name", "given", "message"),
    [
        ("01_data", {"n_locl": 30}, "'n_locl' of 01_data. Did you mean 'n_local'"),
        ("01_data", {"n_local": "abc"}, "'n_local' must be a whole number, got 'abc'"),
        ("01_data", {"n_local": 3}, "'n_local' must be between 10 and 10000, got 3"),
        ("01_data", {"n_local": True}, "'n_local' must be a whole number, got True"),
        ("01_data", {"site": 7}, "'site' must be text, got 7.*-r site VALUE"),
        ("01_data", {"site": " "}, "'site' must not be empty"),
        ("01_data", {"seed": 5_000_000_000}, "'seed' must be between 1 and"),
        ("01_data", {"profile": "quik"}, "profile 'quik'. Did you mean 'quick'"),
        ("01_data", {"wavelength_range": [9, 1]}, "two increasing numbers in nm"),
        ("01_data", {"wavelength_range": ["a", "b"]}, "must be a list of float"),
        ("01_data", {"quantity": "refl"}, "Unknown quantity 'refl'"),
        (
            "01_data",
            {"library_file": "axis=nm"},
            "In 'library_file': Unknown axis 'nm'",
        ),
        (
            "01_data",
            {"library_quantity": "percent"},
            "Of a library's file say library_file='quantity=...'",
        ),
        ("01_data", {"soc_unit": "g/dm3"}, "Unknown soc_unit 'g/dm3'"),
        ("01_data", {"measured": "."}, "'measured' must be a table, got the folder"),
        ("03_rs_local", {"drop_fraction": 0.9}, "'drop_fraction' must be above 0"),
        (
            "03_rs_local",
            {"n_selected": 10, "n_components": 10},
            r"'n_components' must be between 1 and 9 \(n_",
        ),
        ("03_rs_local", {"n_searches": 1}, r"must be 0 \(the profile's\) or"),
        ("04_cnn", {"n_library": 1}, r"'n_library' must be 0 \(the profile's\) or"),
        ("04_cnn", {"max_weights": 5}, r"must be 0 .*150,000.* got 5\. G"),
    ],
)
def test_wrong_parameter_names_rule_value_and_remedy(step_name, given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        params.check_parameters(step_name, given)


@pytest.mark.parametrize(
    ("step_name", "name", "value"),
    [
        ("03_rs_local", "n_repeats", 7),
        ("03_rs_local", "n_searches", 3),
        ("04_cnn", "n_library", 70),
        ("04_cnn", "max_weights", 200_000),
    ],
)
def test_zero_takes_the_profiles_value_and_a_given_one_wins(step_name, name, value):
    of_profile = params.profiles()["quick"][name]
    for given, expected in ((0, of_profile), (value, value)):
        assert params.check_parameters(step_name, {name: given})[name] == expected


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
    steps = ["01_data", "03_rs_local", "04_cnn", "05_dtl_instances"]
    assert plan_steps(["05_dtl_instances"]) == steps
    assert {*steps, "06_dtl_representations"} < set(plan_steps(["07_dtl_both"]))
    jobs = run.plan(["01_data"], ["skane", "skane"], {"library": "farms"}, [])
    assert len(jobs) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("all --site skan", "Unknown site 'skan'. Did you mean 'skane'"),
        ("all --library farm", "Unknown library 'farm'. Did you mean 'farms'"),
        ("04_cn", "Unknown step '04_cn'. Did you mean '04_cnn'"),
        ("all -p n_locl=30", "Unknown parameter 'n_locl'. Did you mean"),
        ("all -p n_local=121", "at least n_local + 5 = 126 samples, got 125"),
        ("all -j 0", "'-j' must be at least 1, got 0"),
        ("all -j x", "invalid int value: 'x'"),
        ("all --sead 2", "unrecognized arguments: --sead 2"),
        ("all -p seed=1 -p seed=2", "'seed' is given twice"),
        ("all --site nowhere.csv", "There is no file 'nowhere.csv'. Check the"),
        ("all --site=", "'site' must not be empty"),
        ("all --site a/skane.csv", "Rename the file"),
    ],
)
def test_command_refuses_at_once_in_one_line(words, message, tmp_path):
    done = soilnb("run", *words.split(), "-p", f"results={tmp_path / 'results'}")
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_results_that_cannot_be_written_are_refused():
    done = soilnb("run", "all", "-p", f"results={__file__}")
    assert done.returncode == 1
    assert "'results' must be a folder that can be written" in done.stderr


def without_soc(frame):
    return frame.drop(columns="soc")


REFLECTANCE = ["-p", "quantity=reflectance"]
FEW = ["-p", "n_components=25", "-p", "n_local=20", "-p", "n_folds=3"]


def few_bands(frame):
    return frame[["sample_id", "soc", *frame.columns[2:22]]]


def without_shape(frame):
    size = frame.iloc[:, 2:].mean(axis=1).to_numpy()[:, np.newaxis]
    frame.iloc[:, 2:] = 0.3 + 0.2 * size + np.linspace(0, 0.01, frame.shape[1] - 2)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (without_soc, ["--site", "FILE"], "got 0 with SOC among 30"),
        # Nothing is left of a good site before it.
        (without_soc, ["--site", "skane", "--site", "FILE"], "got 0 with SOC among 30"),
        (
            few_bands,
            ["--site", "FILE", *FEW, *REFLECTANCE],
            "'n_components' must be between 1 and 20",
        ),
        (
            without_shape,
            ["--library", "FILE"],
            "Say it with: -p library_file=quantity=reflectance (or absorbance)",
        ),
    ],
)
def test_file_that_cannot_be_used_is_refused_before_anything_is_written(
    write_csv, tmp_path, change, options, message
):
    path = write_csv(change)
    options = [str(path) if word == "FILE" else word for word in options]
    done = soilnb("run", "all", *options, "-p", f"results={tmp_path / 'r'}")
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "r").exists()


def test_the_line_that_a_library_s_check_ends_with_mends_it(write_csv):
    def change(frame):
        frame = pd.concat([frame, frame.assign(sample_id="b" + frame["sample_id"])])
        return frame.rename(columns={"soc": "Humus"})

    path = str(write_csv(change))
    lines, _ = data.check_library(path, params.check_parameters("01_data", {}))
    said, line = lines[-1].split(": -p ")
    assert said == "Say it with"
    given = params.parse_assignments(shlex.split(line), ["01_data"])["01_data"]
    assert given == {"library_file": "soc_column=Humus, soc_kind=organic_matter"}
    lines, usable = data.check_library(path, params.check_parameters("01_data", given))
    assert usable
    assert "  Organic matter was divided by 1.724 to give SOC." in lines
    given = {"site": str(write_csv(name="good.csv")), "library": path}
    lines, usable = data.check_file(params.check_parameters("01_data", given))
    assert not usable
    assert lines[-1].endswith("library_file=soc_column=Humus, soc_kind=organic_matter'")


def in_part(frame):
    frame.loc[:20, "soc"] = np.nan


@pytest.mark.parametrize(
    ("change", "options", "parts"),
    [
        (
            None,
            [*REFLECTANCE, "-p", "n_local=20"],
            ["20 local and 10 test samples, 207 bands"],
        ),
        (
            without_soc,
            [],
            [
                "0 samples, 30 are to be estimated",
                "A study can be made as soon as some samples have SOC.",
            ],
        ),
    ],
)
def test_check_says_what_it_understood(write_csv, change, options, parts):
    done = soilnb("data", "check", *options, write_csv(change))
    assert done.returncode == 0, done.stdout
    assert all(part in done.stdout for part in parts)
    assert done.stdout.strip().endswith("Nothing is wrong.")


@pytest.mark.parametrize(
    ("change", "options", "part"),
    [
        (None, REFLECTANCE, "at least n_local + 5 = 35 samples, got 30"),
        (in_part, [], "got 9 with SOC"),
        (without_soc, ["--as-library"], "no column 'soc'"),
        (in_part, ["--as-library"], "at least 50 rows for a run, got 9."),
        (
            lambda frame: frame.rename(columns={"soc": "SOM"}),
            [],
            "Say it with: -p soc_column=SOM -p soc_kind=organic_matter",
        ),
    ],
)
def test_check_says_what_is_wrong(write_csv, change, options, part):
    done = soilnb("data", "check", *options, write_csv(change))
    assert done.returncode == 1
    assert part in done.stdout.partition("\nWrong:\n")[2]
    assert "Nothing is wrong" not in done.stdout


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


@pytest.mark.parametrize("failures", [1, 2, 9])
def test_kernel_that_is_never_heard_of_is_started_again(monkeypatch, failures):
    timeouts = []

    def start(order, start_timeout):
        timeouts.append(start_timeout)
        if len(timeouts) <= failures:
            heard = f"Kernel didn't respond in {start_timeout} seconds"
            raise RuntimeError("Kernel died" if failures == 9 else heard)

    monkeypatch.setattr(execute, "_end_with_parent", lambda: None)
    monkeypatch.setattr(execute, "_execute", start)
    monkeypatch.setattr(sys, "argv", ["execute", "{}"])
    if failures == 9:  # a notebook that fails is not run again
        with pytest.raises(RuntimeError, match="Kernel died"):
            execute.main()
        assert len(timeouts) == 1
        return
    execute.main()
    assert timeouts == list(execute.START_TIMEOUTS[: failures + 1])


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
    # Options of files leave built-in sites alone.
    sites = ["skane", str(paths[0])]
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


def test_book_without_a_farms_or_other_chapters_says_what_to_run(monkeypatch, tmp_path):
    values = params.check_parameters("09_compare", {"results": str(tmp_path)})
    with pytest.raises(run.StepError, match="soilnb run all --site skane"):
        book.build_book(values, tmp_path / "build")

    def find_mismatch(folder, steps):  # as if those of the farm were there
        is_farm = folder.name == "skane"
        return None if is_farm else stamps.find_mismatch(folder, steps)

    monkeypatch.setattr(book, "find_mismatch", find_mismatch)
    for step in OF_SITE:
        place = tmp_path / "farms" / "skane" / step
        place.mkdir(parents=True)
        (place / f"{step}.ipynb").touch()
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
    for text in ("0.12", "-0.004", "12.3"):
        assert f">{text}<" in shown[0].data


def test_table_has_names_for_people_and_its_file_those_of_files(monkeypatch):
    shown = []
    monkeypatch.setattr(show, "display", lambda *given, **_: shown.extend(given))
    frame = pd.DataFrame({"site": ["skane"], "raca": [0.5]}, index=["my-farm"])
    show.table(frame, caption="c")
    table, _, link = shown[0].data.partition("</div>")
    assert all(f">{name}<" in table for name in ("Skåne", "RaCA", "my-farm"))
    file = base64.b64decode(re.search(r"base64,([^\"]+)", link)[1]).decode()
    assert file.split() == [",site,raca", "my-farm,skane,0.5"]


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


def test_a_value_is_kept_as_myst_nb_keeps_it(monkeypatch):
    from IPython.core import formatters
    from myst_nb.ext import glue

    def shown(value):
        return {"text/plain": repr(value)}, {}

    kept = []
    for place, name in ((show, "display"), (glue, "ipy_display")):
        monkeypatch.setattr(place, name, lambda *a, **b: kept.append((a, b)))
    for place in (show, formatters):
        monkeypatch.setattr(place, "format_display_data", shown)
    show.glue("data_n_local", 30)
    glue.glue("data_n_local", 30, display=False)
    ours, theirs = kept
    assert ours == theirs


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
