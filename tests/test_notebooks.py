"""The whole way on real spectra: the chain, its interruption, the book, the browser."""

import ast
import json
import os
import re
import shutil
import time
from html.parser import HTMLParser
from importlib.util import find_spec

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from command_helpers import (
    begin,
    browse,
    command,
    kill,
    papermill,
    python,
    soilnb,
    wait_for,
)

from soilnb.methods import METHODS
from soilnb.metrics import evaluate
from soilnb.study import BLENDED, NINE_MODELS
from soilnb.workflow import book as pages
from soilnb.workflow import show, stamps
from soilnb.workflow.params import check_parameters, declared
from soilnb.workflow.scores import collect_results
from soilnb.workflow.steps import OF_SITE, ROOT, STEPS, Job, notebook_path

pytestmark = pytest.mark.slow
# Trained with the profile full only; with an optional package only.
ABSENT = {"cnn_published"} | (set() if find_spec("cubist") else {"cubist_local"})
EXPECTED = [method for method in METHODS if method not in ABSENT]


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """Results of the whole chain with the tiny profile for skane, and companions."""
    folder = tmp_path_factory.mktemp("results")
    steps = ("all", "companions")
    done = command("run", *steps, "--profile", "tiny", "-p", f"results={folder}")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def site(results):
    return results / "farms" / "skane"


@pytest.fixture(scope="session")
def book(results, tmp_path_factory):
    """The book of that run; its strict build fails on any warning."""
    values = check_parameters("09_compare", {"results": str(results)})
    return pages.build_book(values, tmp_path_factory.mktemp("build")).parent


def test_reference_results_are_those_of_the_run(results, site, tmp_path):
    assert collect_results(results, tmp_path) == []
    scores = pd.read_csv(tmp_path / "scores.csv")
    first = scores[scores["kind"] == "seeds"].set_index("method")["rmse"]
    merged = pd.read_csv(site / "scores.csv").set_index("method")["rmse"]
    pd.testing.assert_series_equal(first, merged, rtol=1e-4)  # five digits are kept
    assert set(scores["kind"]) == {"seeds", "random_splits", "learning_curve"}
    assert not scores.duplicated(["kind", "n_local", "seed", "method"]).any()
    choice = pd.read_csv(tmp_path / "choices.csv").iloc[0]
    assert choice["test_ratio"] == pytest.approx(
        merged["recommended"] / merged["local"], rel=1e-4
    )
    assert choice["best_ratio"] <= choice["test_ratio"]
    over = pd.read_csv(tmp_path / "over_sites.csv")
    split = over[(over["kind"] == "seeds") & (over["method"] == "global")]
    assert split["ratio"].item() == pytest.approx(
        merged["global"] / merged["local"], rel=1e-4
    )
    assert pd.read_csv(tmp_path / "runs.csv")["profile"].tolist() == ["tiny"]
    gains = pd.read_csv(tmp_path / "gains.csv")
    assert set(gains["kind"]) == {"seeds", "random_splits"}


def test_every_step_leaves_its_results_and_nothing_half_done(site):
    for step, entry in STEPS.items():
        place = site if entry.site else site.parents[1] / "companions"
        assert (place / step / f"{step}.ipynb").is_file()
        assert (place / step / "step.json").is_file()
    assert not list(site.glob(".*.partial"))
    assert not list(site.glob(".*.ipynb"))


def test_scores_hold_every_method_with_the_agreed_columns(site):
    scores = pd.read_csv(site / "scores.csv")
    assert scores["method"].tolist() == EXPECTED
    columns = (
        "library site method profile seed n_local n_test rmse mean_error ccc r2 rpiq "
        "n_components seconds delta_rmse"
    )
    assert scores.columns.tolist() == columns.split()
    local = scores.loc[scores["method"] == "local", "rmse"].iloc[0]
    np.testing.assert_allclose(
        scores["delta_rmse"], (local - scores["rmse"]) / local * 100
    )


def test_scores_are_those_of_the_predictions_on_the_test_samples_only(site):
    split = pd.read_csv(site / "01_data" / "split.csv")
    test = set(split.loc[split["set"] == "test", "sample_id"])
    for file in site.glob("*/predictions.parquet"):
        predictions = pd.read_parquet(file)
        scores = pd.read_csv(file.with_name("scores.csv")).set_index("method")
        for method, rows in predictions.groupby("method"):
            assert set(rows["sample_id"]) == test
            metrics = evaluate(rows["measured"], rows["predicted"])
            assert metrics["rmse"] == pytest.approx(scores.loc[method, "rmse"])
            assert metrics["ccc"] == pytest.approx(scores.loc[method, "ccc"])


def test_saved_networks_predict_what_was_scored(site):
    from soilnb.cnn import FoldModels
    from soilnb.study import Study

    study = Study.load(site / "01_data")
    for method in NINE_MODELS:
        (folder,) = site.glob(f"*/models/{method}")
        predictions = pd.read_parquet(folder.parents[1] / "predictions.parquet")
        scored = predictions.loc[predictions["method"] == method, "predicted"]
        again = FoldModels.load(folder).predict(study.X_test)
        np.testing.assert_allclose(again, scored, rtol=1e-4)


def test_recommended_is_one_of_the_nine_and_chosen_without_the_test(site):
    scores = pd.read_csv(site / "scores.csv").set_index("method")
    choice = pd.read_csv(site / "07_dtl_both" / "choice.csv", index_col="candidate")
    (chosen,) = choice.index[choice["chosen"]]
    assert scores.loc["recommended", "rmse"] == scores.loc[chosen, "rmse"]
    nested = pd.read_csv(site / "07_dtl_both" / "nested.csv")
    split = pd.read_csv(site / "01_data" / "split.csv")
    local = split.loc[split["set"] == "local", "sample_id"]
    errors = (nested["predicted"] - nested["measured"]) ** 2
    of_all = nested.groupby("candidate").groups
    assert set(BLENDED) <= set(of_all)
    assert set(choice.index) <= set(of_all)
    for candidate, rows in of_all.items():
        assert sorted(nested.loc[rows, "sample_id"]) == sorted(local)
        rmse = errors[rows].mean() ** 0.5
        if candidate in choice.index:  # no plain method may be recommended
            assert choice.loc[candidate, "rmse"] == pytest.approx(rmse)


def test_repeats_with_the_first_seed_are_the_models_of_the_chapters(site):
    scores = pd.read_csv(site / "scores.csv").set_index("method")["rmse"]
    repeats = pd.read_csv(site / "08_repeats" / "repeats.csv")
    first = repeats[(repeats["kind"] == "seeds") & (repeats["seed"] == 1)]
    # The nested cross-validation is repeated, too, chooses and weights the same.
    assert set(first["method"]) == {*NINE_MODELS, "recommended", "blend"}
    for row in first.itertuples():
        assert row.rmse == pytest.approx(scores[row.method], rel=1e-4), row.method


def test_a_library_network_is_trained_once_for_all_that_use_it(results):
    files = sorted((results / "farms" / ".networks").glob("*.npz"))
    # The answer for a farm takes the small network, others what a search has found.
    names = [path.name.split("-")[0] for path in files]
    assert names in (["country", "global"], ["country", "global", "global"])


def test_a_library_network_has_the_best_architecture_of_its_search(site):
    place = site / "04_cnn"
    used = json.loads((place / "architectures.json").read_text())
    for library in ("global", "country"):
        trials = pd.read_csv(place / f"trials_{library}.csv")
        best = trials.loc[trials["score"].idxmin()]
        assert len(trials) == 2
        assert used[library] == json.loads(best["architecture"])


def test_second_run_finds_everything_fresh(results, site):
    start = time.perf_counter()
    steps = ("all", "companions")
    done = command("run", *steps, "--profile", "tiny", "-p", f"results={results}")
    ends = [line.split()[-1] for line in done.stdout.splitlines()]
    assert ends == ["fresh"] * len(STEPS)
    assert time.perf_counter() - start < 20
    # A comparison without its merged table is not.
    given = {"profile": "tiny", "results": str(results)}
    job = Job("09_compare", check_parameters("09_compare", given))
    (site / "scores.csv").rename(site / "hidden.csv")
    assert not stamps.is_fresh(job)
    (site / "hidden.csv").rename(site / "scores.csv")
    assert stamps.is_fresh(job)


@pytest.fixture
def copy(results, tmp_path):
    """A copy of the results, and the options of a run that goes on with them."""
    shutil.copytree(results, tmp_path / "r")
    options = ["--profile", "tiny", "-p", f"results={tmp_path / 'r'}"]
    return tmp_path / "r" / "farms" / "skane", options


# What is there when a step is in the midst of its work.
BEGUN = {
    "04_cnn": ".searches/local-*/trial_0002.json",
    "08_repeats": ".searches/repeats-*/repeats.parquet",
}


@pytest.mark.parametrize("step", BEGUN)
def test_killed_run_leaves_no_half_result_and_goes_on(site, copy, step):
    place, options = copy
    shutil.rmtree(place / step)
    shutil.rmtree(place / ".searches")
    process = begin(step, *options)
    wait_for(lambda: [*place.glob(BEGUN[step])])
    kill(process)
    assert not (place / step).exists()
    done = soilnb("run", step, *options)
    assert done.returncode == 0, done.stderr
    assert "fresh" in done.stdout.splitlines()[0]
    (file,) = (site / step).glob("*.parquet")  # of predictions
    again, wanted = (pd.read_parquet(place / step / file.name), pd.read_parquet(file))
    columns = [name for name in wanted if name != "seconds"]
    pd.testing.assert_frame_equal(again[columns], wanted[columns])


def test_failing_cell_is_named_with_its_cause_and_how_to_go_on(copy):
    place, options = copy
    shutil.rmtree(place / "05_dtl_instances")
    damaged = place / "03_rs_local" / "localised.csv"
    script = (
        "import sys; from soilnb.workflow import run;"
        "run.is_fresh = lambda job: job.step != '05_dtl_instances';"
        "from soilnb.__main__ import main; main()"
    )
    damaged.write_text("sample_id,origin,library_row,fold\na,library,99999,0\n")
    done = python(script, "run", "05_dtl_instances", *options)
    assert done.returncode == 1
    assert "05_dtl_instances failed for skane in code cell" in done.stderr
    assert "IndexError" in done.stderr
    assert "run the same command again" in done.stderr


def test_plain_papermill_makes_a_deleted_result_again(site, copy, tmp_path):
    given = {"profile": "tiny", "results": str(tmp_path / "r")}
    (copy[0] / "02_benchmarks" / "scores.csv").unlink()
    jobs = {step: Job(step, check_parameters(step, given)) for step in OF_SITE}
    stale = [step for step in OF_SITE if not stamps.is_fresh(jobs[step])]
    assert stale == ["02_benchmarks"]
    done = papermill("02_benchmarks", tmp_path / "out.ipynb", **given)
    assert done.returncode == 0, done.stderr
    file = "02_benchmarks/predictions.parquet"
    assert (copy[0] / file).read_bytes() == (site / file).read_bytes()
    assert stamps.is_fresh(jobs["04_cnn"])
    assert not stamps.is_fresh(jobs["09_compare"])


@pytest.mark.parametrize(
    ("step", "given", "message"),
    [
        ("01_data", {"n_locl": 30}, "Did you mean 'n_local'?"),
        (
            "03_rs_local",
            {"scheduler": "tcp://127.0.0.1:9"},
            "ConnectionError: 'scheduler' must be the address of",
        ),
    ],
)
def test_plain_papermill_refuses_before_anything_is_written(
    step, given, message, tmp_path
):
    done = papermill(step, tmp_path / "out.ipynb", results=tmp_path / "r", **given)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "r").exists()


def _sentences(source):
    """Words in code that stand in sentences, captions and alt texts aside."""
    tree = ast.parse(source)
    aside = {
        id(part)
        for keyword in ast.walk(tree)
        if isinstance(keyword, ast.keyword) and keyword.arg in ("caption", "alt")
        for part in ast.walk(keyword.value)
    }
    counts = [
        len(node.value.split())
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if id(node) not in aside
    ]
    return sum(count for count in counts if count >= 4)


@pytest.mark.parametrize("step", STEPS)
def test_notebooks_are_committed_without_outputs_and_follow_the_anatomy(step):
    cells = nbformat.read(notebook_path(step), as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    assert not any(cell.outputs or cell.execution_count for cell in code)
    tags = [cell.metadata.get("tags", []) for cell in code]
    assert [tag for tag in tags if "parameters" in tag] == [tags[0]]
    assert any(f'begin("{step}")' in cell.source for cell in code[1:3])
    for cell in code:
        lines = sum(bool(line.strip()) for line in cell.source.splitlines())
        assert lines <= 20
        nodes = list(ast.walk(ast.parse(cell.source)))
        assert not any(isinstance(node, ast.Lambda) for node in nodes), cell.source
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        assert "globals" not in names
        assert not any(isinstance(node, ast.FunctionDef) for node in nodes), cell.source
    finishes = ["step.finish(" in cell.source for cell in code]
    assert finishes == [False] * len(code[1:]) + [True]
    words = len(text.split())
    assert words >= 55 * len(code)
    assert sum(_sentences(cell.source) for cell in code) <= 0.15 * words
    for part in ("Learning objectives", "Run time", "```{exercise}", "## Summary"):
        assert part in text, f"{step} has no {part}"
    assert any("hide-cell" in tag for tag in tags)


def _attributes(node, assigned):
    """Return the names of all attributes, those of names that a cell assigned too."""
    found = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute):
            found.add(one.attr)
        elif isinstance(one, ast.Name) and one.id in assigned:
            others = {k: v for k, v in assigned.items() if k != one.id}
            found |= _attributes(assigned[one.id], others)
    return found


@pytest.mark.parametrize("step", ["11_layers", "12_contrastive", "13_regional"])
def test_kept_work_is_keyed_on_every_parameter_that_it_rests_on(step):
    aside = {"profile", "results", "data", "second_view"}  # files are keyed by content
    aside |= {"n_regions", "layer_repeats", "contrastive_seeds", "label_sizes"}
    aside |= {"seed"} if step == "12_contrastive" else set()  # in each piece's name
    cells = nbformat.read(notebook_path(step), as_version=4).cells
    (cell,) = [c for c in cells if "search_folder(" in c.source]
    nodes = list(ast.walk(ast.parse(cell.source)))
    assigned = {
        n.targets[0].id: n.value
        for n in nodes
        if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name)
    }
    (call,) = [
        n
        for n in nodes
        if isinstance(n, ast.Call) and getattr(n.func, "attr", "") == "search_folder"
    ]
    used = set().union(*(_attributes(one, assigned) for one in call.args))
    assert set(declared(step)) - aside <= used


def test_no_metric_is_typed_by_hand_in_the_prose():
    """A number next to a metric comes from the run, or from a cited paper."""
    pattern = re.compile(r"(RMSE|CCC|R²|RPIQ|gain)\D{0,40}\d+\.\d+")
    for page in (ROOT / "book").glob("*.md"):
        for line in page.read_text().splitlines():
            bare = re.sub(r"{glue:text}`[^`]*`|\$[^$]*\$", "", line)
            if pattern.search(bare):
                assert "{cite" in line, f"{page.name}: {line}"


class _Page(HTMLParser):
    """What a page loads, and its images without alt text."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.silent = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "img" and not values.get("alt"):
            self.silent.append(values.get("src"))
        if tag in ("script", "img", "iframe"):
            self.loaded.append(values.get("src") or "")
        if tag == "link" and values.get("rel") == "stylesheet":
            self.loaded.append(values.get("href") or "")


def test_pages_load_nothing_from_the_network_and_every_image_speaks(book):
    pages = [*(book / "notebooks").glob("*.html"), *(book / "book").rglob("*.html")]
    assert len(pages) >= 15
    for path in pages:
        page = _Page(path.read_text())
        assert not [url for url in page.loaded if url.startswith(("http", "//"))]
        assert not page.silent, f"{path.name}: {page.silent}"


def test_pages_say_how_they_were_made_and_name_no_folder_of_the_machine(book, results):
    page = (book / "notebooks" / "04_cnn.html").read_text()
    assert "How this page was made" in page
    assert "tensorflow" in page
    for path in book.rglob("*.html"):
        text = path.read_text()
        assert str(results) not in text
        assert str(ROOT) not in text


def test_old_addresses_lead_to_pages_from_disk(book):
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    for old, new in config["sphinx"]["config"]["redirects"].items():
        page = book / f"{old}.html"
        assert f"url={new}" in page.read_text()
        assert (page.parent / new).is_file()


def test_prose_shows_the_numbers_of_the_run(book, site):
    scores = pd.read_csv(site / "scores.csv").set_index("method")["rmse"]
    intro = (book / "book" / "intro.html").read_text()
    for method in ("local", "null_model", "dtl_i_global", "blend"):
        assert f"{scores[method]:.2f}" in intro


def test_student_edition_has_no_solution_but_what_answers_are_held_to(
    results, tmp_path
):
    values = check_parameters("09_compare", {"results": str(results)})
    index = pages.build_book(values, tmp_path, is_student=True)
    text = (index.parent / "notebooks" / "01_data.html").read_text()
    assert "answer = ..." in re.sub(r"<[^>]+>", "", text)
    for page in index.parent.rglob("*.html"):
        assert 'class="solution' not in page.read_text()
    answers = json.loads((tmp_path / "notebooks" / show.ANSWERS).read_text())
    asked = {
        name
        for step in STEPS
        for cell in nbformat.read(notebook_path(step), as_version=4).cells
        for name in re.findall(r"show\.check\(\s*\"([\w-]+)\"", cell.source)
    }
    assert set(answers) == asked
    assert all(one["hint"] for one in answers.values())


def test_book_is_not_built_again_when_nothing_changed(results, book):
    values = check_parameters("09_compare", {"results": str(results)})
    before = (book / "index.html").stat().st_mtime_ns
    pages.build_book(values, book.parent)
    assert (book / "index.html").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "page", ["book/method.html", "notebooks/01_data.html", "notebooks/04_cnn.html"]
)
def test_page_opens_from_disk_with_its_mathematics(browser, book, tmp_path, page):
    flags = ("--window-size=1280,900", "--virtual-time-budget=10000", "--dump-dom")
    dom = browse(browser, tmp_path, (book / page).as_uri(), *flags)
    assert "mjx-container" in dom
    visible = re.sub(r"<(script|mjx-assistive-mml)[^>]*>.*?</\1>", "", dom, flags=re.S)
    visible = re.sub(r"<(code|pre)[^>]*>.*?</\1>", "", visible, flags=re.S)
    assert "\\frac" not in re.sub(r"<[^>]+>", "", visible)
    assert "{glue" not in visible


def test_results_are_named_after_the_environment(site):
    facts = json.loads((site / "04_cnn" / "step.json").read_text())
    assert facts["parameters"]["profile"] == "tiny"
    assert set(facts["versions"]) >= {"python", "tensorflow", "numpy"}
    assert os.sep not in "".join(facts["data"])
