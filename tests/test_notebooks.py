"""The whole way on real spectra: the chain, its interruption, the book, the browser."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import SHARED_DATA

from soilnb.methods import METHODS
from soilnb.metrics import evaluate
from soilnb.study import BLENDED, NINE_MODELS
from soilnb.workflow import book as pages
from soilnb.workflow import stamps
from soilnb.workflow.params import check_parameters
from soilnb.workflow.scores import collect_results
from soilnb.workflow.steps import ROOT, STEPS, notebook_path

pytestmark = pytest.mark.slow
# Trained with the profile full only; with an optional package only.
ABSENT = {"cnn_published"} | (set() if find_spec("cubist") else {"cubist_local"})
EXPECTED = [method for method in METHODS if method not in ABSENT]


def command(*arguments):
    """Run soilnb as a user does, with the data sets that are beside the repository."""
    there = {"SOILNB_DATA": str(SHARED_DATA)} if SHARED_DATA.is_dir() else {}
    return subprocess.run(
        [sys.executable, "-m", "soilnb", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | there,
    )


def papermill(step, output, *arguments):
    """Run one notebook with plain papermill."""
    script = Path(sys.executable).with_name("papermill")
    return subprocess.run(
        [script, notebook_path(step), output, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


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
    assert scores.columns.tolist() == [
        "library",
        "site",
        "method",
        "profile",
        "seed",
        "n_local",
        "n_test",
        "rmse",
        "mean_error",
        "ccc",
        "r2",
        "rpiq",
        "n_components",
        "seconds",
        "delta_rmse",
    ]
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


def test_second_run_finds_everything_fresh(results):
    start = time.perf_counter()
    steps = ("all", "companions")
    done = command("run", *steps, "--profile", "tiny", "-p", f"results={results}")
    ends = [line.split()[-1] for line in done.stdout.splitlines()]
    assert ends == ["fresh"] * len(STEPS)
    assert time.perf_counter() - start < 20


def test_comparison_without_its_merged_table_is_not_fresh(results, site):
    given = {"profile": "tiny", "results": str(results)}
    values = check_parameters("09_compare", given)
    assert stamps.is_fresh("09_compare", values)
    (site / "scores.csv").rename(site / "hidden.csv")
    assert not stamps.is_fresh("09_compare", values)
    (site / "hidden.csv").rename(site / "scores.csv")


def test_deleted_result_is_made_again_and_what_follows_stays_right(results, site):
    before = (site / "02_benchmarks" / "predictions.parquet").read_bytes()
    (site / "02_benchmarks" / "scores.csv").unlink()
    done = command("run", "all", "--profile", "tiny", "-p", f"results={results}")
    assert done.returncode == 0, done.stderr
    words = {line.split()[0]: line.split()[-1] for line in done.stdout.splitlines()}
    assert words["01_data"] == words["04_cnn"] == "fresh"
    assert words["02_benchmarks"] != "fresh"
    assert (site / "02_benchmarks" / "predictions.parquet").read_bytes() == before


def _wait_for(condition, seconds=150):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def _alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.is_file() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc")
def test_killed_run_leaves_no_half_result_and_goes_on(results, site, tmp_path):
    shutil.copytree(results, tmp_path / "r")
    place = tmp_path / "r" / "farms" / "skane"
    wanted = pd.read_parquet(site / "03_rs_local" / "predictions.parquet")
    shutil.rmtree(place / "03_rs_local")
    options = ["--profile", "tiny", "-p", f"results={tmp_path / 'r'}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "soilnb", "run", "03_rs_local", *options],
        stdout=subprocess.DEVNULL,
    )
    _wait_for((place / ".03_rs_local.partial").is_dir)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    process.send_signal(signal.SIGKILL)
    process.wait()
    _wait_for(lambda: not any(_alive(int(pid)) for pid in children.split()))
    assert not (place / "03_rs_local").exists()
    done = command("run", "03_rs_local", *options)
    assert done.returncode == 0, done.stderr
    assert "fresh" in done.stdout.splitlines()[0]
    again = pd.read_parquet(place / "03_rs_local" / "predictions.parquet")
    pd.testing.assert_frame_equal(again, wanted)


def test_failing_cell_is_named_with_its_cause_and_how_to_go_on(results, tmp_path):
    shutil.copytree(results, tmp_path / "r")
    place = tmp_path / "r" / "farms" / "skane"
    shutil.rmtree(place / "05_dtl_instances")
    damaged = place / "03_rs_local" / "localised.csv"
    options = ["--profile", "tiny", "-p", f"results={tmp_path / 'r'}"]
    script = (
        "import sys; from soilnb.workflow import run;"
        "run.is_fresh = lambda job: job.step != '05_dtl_instances';"
        "from soilnb.__main__ import main; main()"
    )
    damaged.write_text("sample_id,origin,library_row,fold\na,library,99999,0\n")
    done = subprocess.run(
        [sys.executable, "-c", script, "run", "05_dtl_instances", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "05_dtl_instances failed for skane in code cell" in done.stderr
    assert "IndexError" in done.stderr
    assert "run the same command again" in done.stderr


def test_plain_papermill_runs_a_step_with_the_same_answer(results, site, tmp_path):
    shutil.copytree(results, tmp_path / "r")
    options = ["-p", "profile", "tiny", "-p", "results", tmp_path / "r"]
    done = papermill("02_benchmarks", tmp_path / "out.ipynb", *options)
    assert done.returncode == 0, done.stderr
    again = tmp_path / "r" / "farms" / "skane" / "02_benchmarks" / "predictions.parquet"
    pd.testing.assert_frame_equal(
        pd.read_parquet(again),
        pd.read_parquet(site / "02_benchmarks" / "predictions.parquet"),
    )


@pytest.mark.parametrize(
    ("step", "name", "value", "message"),
    [
        ("01_data", "n_locl", "30", "Did you mean 'n_local'?"),
        ("03_rs_local", "n_selected", "many", "'n_selected' must be a whole number"),
    ],
)
def test_plain_papermill_refuses_before_anything_is_written(
    step, name, value, message, tmp_path
):
    options = ["-p", name, value, "-p", "results", tmp_path / "r"]
    done = papermill(step, tmp_path / "out.ipynb", *options)
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
        assert sum(bool(line.strip()) for line in cell.source.splitlines()) <= 20
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
    pages = [*(book / "notebooks").glob("*.html"), *(book / "book").glob("*.html")]
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


def test_book_is_not_built_again_when_nothing_changed(results, book):
    values = check_parameters("09_compare", {"results": str(results)})
    before = (book / "index.html").stat().st_mtime_ns
    pages.build_book(values, book.parent)
    assert (book / "index.html").stat().st_mtime_ns == before


@pytest.fixture(scope="session")
def browser():
    """The path of a Chromium."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return shutil.which(name)
    return pytest.skip("no Chromium on the PATH")


def _rendered(browser, page, folder, width):
    """Return the page as the browser has it after its scripts, from disk."""
    flags = (
        "--headless --no-sandbox --disable-gpu --no-first-run --disable-sync "
        "--disable-background-networking --disable-component-update "
        f"--window-size={width},900 --virtual-time-budget=10000 --dump-dom"
    ).split()
    done = subprocess.run(
        [browser, *flags, f"--user-data-dir={folder}", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


@pytest.mark.parametrize(
    "page", ["book/method.html", "notebooks/01_data.html", "notebooks/04_cnn.html"]
)
def test_page_opens_from_disk_with_its_mathematics(browser, book, tmp_path, page):
    dom = _rendered(browser, book / page, tmp_path, 1280)
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
