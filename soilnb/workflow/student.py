"""The student edition: solutions left out, cells to fill in, answers that are checked.

An exercise's solution is a `{solution}` block and a code cell tagged hide-cell, whose
last line hands `answer` to `show.check`.
"""

import re
from typing import Any

import nbformat

SOLUTION = re.compile(r"^(`{3,})\{solution\}.*?^\1\s*?$\n?", re.MULTILINE | re.DOTALL)
CHECK = re.compile(r"show\.check\(\s*\"([\w-]+)\"")
TO_FILL = "# {name}: your work. Put your answer in place of the dots.\nanswer = ..."


def without_solutions(text: str) -> str:
    r"""Return a page of the book without its solutions.

    >>> page = "Ask.\n\n```{solution} ex-a\nTwo.\n```\n\nGo on.\n"
    >>> without_solutions(page)
    'Ask.\n\n\nGo on.\n'
    """
    return SOLUTION.sub("", text)


def for_students(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a notebook, executed or not, as students get it."""
    cells: list[nbformat.NotebookNode] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = without_solutions(cell.source)
        is_solution = "hide-cell" in cell.metadata.get("tags", [])
        cells += _to_fill_in(cell) if is_solution else [cell]
    notebook.cells = cells
    return notebook


def _to_fill_in(cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return the cell to fill in and, where the answer is checked, the hidden check."""
    found = CHECK.search(cell.source)
    name = found[1] if found else "exercise"
    own = nbformat.v4.new_code_cell(TO_FILL.format(name=name), id=f"{cell.id}-answer")
    if not found:
        return [own]
    hidden = nbformat.v4.new_code_cell(
        f'show.check("{name}", answer)',
        id=f"{cell.id}-check",
        metadata={"tags": ["remove-cell"], "jupyter": {"source_hidden": True}},
    )
    return [own, hidden]


def answers_of(notebook: nbformat.NotebookNode) -> dict[str, dict[str, Any]]:
    """Return the answers and hints that an executed notebook has noted, by exercise."""
    noted = (
        output.metadata
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.get("metadata", {}).get("soilnb") == "answer"
    )
    return {
        one["exercise"]: {"answer": one["answer"], "hint": one["hint"]} for one in noted
    }
