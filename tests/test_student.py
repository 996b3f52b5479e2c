"""The student edition: what is left out, what is filled in, what is checked."""

import json
import re

import nbformat
import numpy as np
import pytest

from soilnb.workflow import show
from soilnb.workflow.steps import STEPS, notebook_path
from soilnb.workflow.student import answers_of, for_students, without_solutions

ASKED = re.compile(r"{exercise}\n:label: ([\w-]+)")


@pytest.mark.parametrize("step", STEPS)
def test_every_exercise_has_words_and_an_answer_that_is_checked(step):
    notebook = nbformat.read(notebook_path(step), as_version=4)
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    asked = ASKED.findall(text)
    solved = re.findall(r"{solution} ([\w-]+)", text)
    code = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
    assert asked == solved == re.findall(r"show\.check\(\s*\"([\w-]+)\"", code)
    assert text.count("`answer`") == len(asked)


@pytest.mark.parametrize("step", STEPS)
def test_students_get_cells_to_fill_in_and_no_solution(step):
    notebook = nbformat.read(notebook_path(step), as_version=4)
    n_asked = sum(len(ASKED.findall(cell.source)) for cell in notebook.cells)
    given = for_students(notebook)
    nbformat.validate(given)
    sources = [cell.source for cell in given.cells]
    assert sum("answer = ..." in source for source in sources) == n_asked
    assert not any("{solution}" in source for source in sources)
    hidden = [c for c in given.cells if "remove-cell" in c.metadata.get("tags", [])]
    assert len(hidden) == n_asked
    assert not any("hide-cell" in c.metadata.get("tags", []) for c in given.cells)


def test_a_block_with_a_block_inside_is_left_out_as_a_whole():
    page = "Ask.\n\n````{solution} a\n```bash\nrun\n```\nwords\n````\n\nMore.\n"
    assert "run" not in without_solutions(page)
    assert "words" not in without_solutions(page)
    assert without_solutions(page).split() == ["Ask.", "More."]


@pytest.fixture
def edition(tmp_path, monkeypatch):
    """A folder of the student edition, with the answers of a run."""
    answers = {
        "ex-number": {"answer": 0.5, "hint": "Half."},
        "ex-word": {"answer": "too low", "hint": "Low or high?"},
        "ex-list": {"answer": [1.0, 2], "hint": "Two of them."},
    }
    (tmp_path / show.ANSWERS).write_text(json.dumps(answers))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("ex-number", 0.509),  # within 2 percent
        ("ex-number", np.float64(0.5)),
        ("ex-word", "too low"),
        ("ex-list", np.array([1.0, 2.0])),
    ],
)
def test_a_right_answer_is_said_to_be_right(edition, capsys, exercise, answer):
    show.check(exercise, answer)
    assert "Markdown" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("exercise", "answer", "hint"),
    [
        ("ex-number", 0.512, "Half"),
        ("ex-number", "half", "Half"),
        ("ex-number", True, "Half"),
        ("ex-word", "too high", "Low or high"),
        ("ex-list", [1.0], "Two of them"),
    ],
)
def test_a_wrong_answer_gets_the_hint(edition, exercise, answer, hint):
    with pytest.raises(AssertionError, match=f"Not yet. Hint: {hint}"):
        show.check(exercise, answer)


def test_dots_are_no_answer_and_no_error(edition, monkeypatch):
    said = []
    monkeypatch.setattr(show, "say", said.append)
    show.check("ex-number", ...)
    assert said == ["Not answered yet: put your answer in place of the dots."]


def test_the_run_notes_its_answers_for_the_edition():
    noted = {"soilnb": "answer", "exercise": "ex-a", "answer": 3, "hint": "Count."}
    output = nbformat.v4.new_output("display_data", metadata=noted)
    cell = nbformat.v4.new_code_cell("", outputs=[output])
    notebook = nbformat.v4.new_notebook(cells=[cell])
    assert answers_of(notebook) == {"ex-a": {"answer": 3, "hint": "Count."}}
