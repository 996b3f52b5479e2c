"""The prose of the book: what it cites, links and says of the rules is there."""

import doctest
import re
from itertools import pairwise

import pytest
import yaml

from soilnb.methods import METHODS
from soilnb.study import NINE_MODELS
from soilnb.study.recommend import MARGIN
from soilnb.workflow import book
from soilnb.workflow.printed import _in_order
from soilnb.workflow.steps import ROOT, STEPS, Job, notebook_path, read_cells

BOOK = ROOT / "book"
PAGES = {str(page.relative_to(BOOK)): page.read_text() for page in BOOK.rglob("*.md")}
LESSONS = [name for name in PAGES if name.startswith("course/lesson_")]


def _notebook_text(step):
    """All cells of a notebook, as they are written."""
    return "\n".join(
        "".join(cell["source"]) for cell in read_cells(notebook_path(step))
    )


def test_every_key_that_is_cited_is_in_the_bibliography():
    known = re.findall(
        r"^@\w+{(\w+),", (ROOT / "book/references.bib").read_text(), re.M
    )
    assert len(set(known)) == len(known)
    texts = [*PAGES.values(), *map(_notebook_text, STEPS)]
    cited = {
        key.strip()
        for text in texts
        for keys in re.findall(r"{cite(?::\w+)?}`([^`]+)`", text)
        for key in keys.split(",")
    }
    assert len(cited) > 15
    assert cited <= set(known)


def test_every_page_is_in_the_contents_and_the_other_way_round():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    listed = set(_in_order(toc))
    pages = {f"book/{name.removesuffix('.md')}" for name in PAGES}
    assert listed == pages | {f"notebooks/{step}" for step in STEPS}


def test_method_page_names_every_method():
    missing = [name for name in METHODS if f"`{name}`" not in PAGES["method.md"]]
    assert missing == []
    assert len(NINE_MODELS) == 9
    assert f"by at least {100 * MARGIN:g} %" in PAGES["method.md"]


def test_numbers_in_the_prose_are_recorded_by_the_notebook_that_is_named():
    for name, text in PAGES.items():
        for step, key in re.findall(r"notebooks/(\w+)\.ipynb::(\w+)", text):
            recorded = re.search(rf"\b{key}=", _notebook_text(step))
            assert recorded, f"{name}: {step} does not record {key}"


def test_chapters_are_numbered_and_begin_with_their_answer():
    for step in STEPS:
        title, _, rest = _notebook_text(step).partition("\n")
        letter = {"15": "A", "16": "B"}.get(step[:2])
        name = f"Appendix {letter}" if letter else f"Chapter {int(step[:2])}"
        assert title.startswith(f"# {name}. "), step
        assert "**In one sentence.**" in rest[:300], step
        # A link names its chapter: the title, a question, would break the sentence.
        assert not re.search(r"{doc}`\d\d_\w+`", rest), step


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_can_be_taught_from_its_page(name):
    text = PAGES[name]
    heads = re.findall(r"^## (.+)$", text, re.M)
    assert heads == [
        *["Aims", "Before", "Timetable", "On the board", "What goes wrong", "Homework"]
    ]
    minutes = int(re.search(r"^\*(\d+) minutes", text, re.M)[1])
    assert 50 <= minutes <= 90
    times = [tuple(map(int, m)) for m in re.findall(r"^\| (\d+)–(\d+) \|", text, re.M)]
    assert times[0][0] == 0
    assert times[-1][1] == minutes
    for (_, end), (start, _) in pairwise(times):
        assert end == start


def test_computing_of_a_lesson_is_that_of_its_chapters():
    rows = re.findall(
        r"\(lesson_(\d)\.md\).*{run-time}`([\w ]+)`", PAGES["course/index.md"]
    )
    assert len(rows) == len(LESSONS)
    for number, steps in rows:
        head, _, rest = PAGES[f"course/lesson_{number}.md"].partition("## Aims")
        assert steps.split() == re.findall(r"notebooks/(\w+)\.ipynb", head)
        assert set(re.findall(r"{run-time}`(\w+)`", rest)) <= set(steps.split())


def test_times_of_steps_are_added_and_what_was_not_run_does_not_count(
    tmp_path, monkeypatch
):
    values = {"results": str(tmp_path), "library": "farms", "site": "skane"}
    jobs = {step: Job(step, values) for step in STEPS}
    for step, seconds in (("01_data", 20.5), ("04_cnn", 41.0)):
        jobs[step].place.mkdir(parents=True)
        (jobs[step].place / "step.json").write_text(f'{{"seconds": {seconds}}}')
    monkeypatch.setattr(book, "_is_run", lambda job: job.place.is_dir())
    page = tmp_path / "page.md"
    page.write_text("{run-time}`01_data 04_cnn 14_sampling`, {run-time}`14_sampling`")
    book._write_times(tmp_path, [*jobs.values()])
    assert page.read_text() == "1 min 02 s, –"


def test_there_are_eight_lessons_and_a_quiz_whose_answers_unfold():
    assert len(LESSONS) == 8
    quiz = PAGES["course/quiz.md"]
    questions = re.findall(r"^\d+\. .+$", quiz, re.M)
    assert len(questions) == quiz.count(":::{dropdown} Answer") >= 16


EXERCISES = PAGES["course/exercises.md"]


def test_every_exercise_of_the_course_has_one_solution():
    asked = re.findall(r"{exercise}[^\n]*\n:label: ([\w-]+)", EXERCISES)
    solved = re.findall(r"{solution} ([\w-]+)", EXERCISES)
    assert asked == solved
    assert len(asked) >= 12


@pytest.mark.parametrize(
    "code", re.findall(r"```pycon\n(.*?)```", EXERCISES, re.DOTALL)
)
def test_solutions_of_the_course_run_as_they_stand(code):
    example = doctest.DocTestParser().get_doctest(code, {}, "solution", None, 0)
    said = []
    found = doctest.DocTestRunner().run(example, out=said.append)
    assert found.attempted
    assert not found.failed, "".join(said)
