"""What a notebook shows: figures with alt text, tables, sentences, progress."""

import base64
import json
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
from IPython import get_ipython
from IPython.core.formatters import format_display_data
from IPython.display import HTML, Markdown, display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from soilnb.datasets import place_label

# Decimals of a table of `soilnb.study.compare`: an interval near 0 needs its sign.
GAIN_DIGITS = {"gain": 3, "low": 3, "high": 3, "delta_rmse": 1}
_TAG = re.compile(r"<[^>]+>")
ANSWERS = "answers.json"  # beside the notebooks of the student edition
TOLERANCE = 0.02  # relative, of a number that a student answers
_GLUE = "application/papermill.record/"  # what myst_nb and papermill look for
_LABEL = "Contains synthetic data (the twin)."
_state = SimpleNamespace(is_synthetic=False)


def label_synthetic(is_synthetic: bool) -> None:
    """Say whether figures and tables from here on carry the label of synthetic data."""
    _state.is_synthetic = is_synthetic


def _labelled(text: str) -> str:
    """Return a caption or alt text, with the label where the data is synthetic."""
    return f"{_LABEL} {text}" if _state.is_synthetic else text


def figure(drawn: Figure, *, alt: str, caption: str, file: Path | None = None) -> None:
    """Show a figure once, with what it shows in words, and close it.

    `alt` says what a reader who cannot see it must know; `file` is where copies for
    print are left, a bitmap (.png, 300 dots per inch) and a vector file (.pdf).
    """
    alt, caption = _labelled(alt), _labelled(caption)
    if _state.is_synthetic:
        place = {"ha": "right", "va": "bottom", "color": "#D55E00"}
        drawn.text(1, 1, "contains synthetic data", **place)  # type: ignore[arg-type]
    display(drawn, metadata={"image/png": {"alt": alt, "caption": caption}})
    display(Markdown(f"*{caption}*"), metadata={"soilnb": "caption"})
    if file is not None:
        save(drawn, file)
    plt.close(drawn)


def save(drawn: Figure, file: Path) -> None:
    """Leave a figure as a bitmap (.png, 300 dots per inch) and a vector file (.pdf)."""
    options: dict[str, Any] = {"dpi": 300, "bbox_inches": "tight"}
    drawn.savefig(file.with_suffix(".png"), **options)
    # Without its date, the same figure is the same file.
    drawn.savefig(file.with_suffix(".pdf"), metadata={"CreationDate": None}, **options)
    plt.close(drawn)


def table(
    frame: pd.DataFrame, *, caption: str, digits: int | Mapping[str, int] = 2
) -> None:
    """Show a table with a caption, numbers rounded, missing ones as a dash.

    `digits` are decimals of all floating-point columns, or by name; the others have
    two. Below it is a link that saves the table, unrounded, as a CSV file. Sites and
    data sets have the names that people use; in the file they keep their own.
    """
    named = digits if isinstance(digits, Mapping) else {}
    others = 2 if isinstance(digits, Mapping) else digits
    shown = frame.rename(index=place_label, columns=place_label)
    for name in shown.columns.intersection(["site", "data", "group"]):
        shown[name] = shown[name].map(place_label)
    style = shown.style.format(precision=others, na_rep="–")
    for column in frame.columns.intersection([*named]):
        style = style.format(precision=named[column], na_rep="–", subset=[column])
    style = style.set_caption(_labelled(caption))
    html = style.to_html(table_attributes='class="soilnb-table"')
    link = _csv_link(frame, caption)
    display(HTML(f'<div class="soilnb-scroll">{html}</div>{link}'))


def _csv_link(frame: pd.DataFrame, caption: str) -> str:
    """Return a link that holds a table as a CSV file: it needs no network."""
    text = _TAG.sub("", frame.to_csv().replace("\N{NO-BREAK SPACE}", " "))
    content = base64.b64encode(text.encode()).decode()
    name = re.sub(r"\W+", "-", caption.partition(".")[0].lower()).strip("-")[:60]
    return (
        f'<p class="soilnb-csv"><a download="{name}.csv" '
        f'href="data:text/csv;charset=utf-8;base64,{content}">{name}.csv</a></p>'
    )


def say(text: str) -> None:
    """Show a sentence that was written from the run's own numbers (Markdown)."""
    display(Markdown(text))


def check(exercise: str, answer: Any, hint: str = "") -> None:
    """Check the answer to an exercise; the full edition notes it instead.

    Beside the notebooks of the student edition the file answers.json has the answers
    and hints of the run that it was made from: an answer that differs, numbers by more
    than 2 %, raises an AssertionError with the hint. An ellipsis is no answer yet.
    """
    file = Path(ANSWERS)
    if not file.is_file():
        noted = {"soilnb": "answer", "exercise": exercise, "hint": hint}
        display(Markdown(""), metadata=noted | {"answer": _plain(answer)})
        return
    if answer is ...:
        say("Not answered yet: put your answer in place of the dots.")
        return
    known = json.loads(file.read_text())[exercise]
    if not _agree(_plain(answer), known["answer"]):
        msg = f"Not yet. Hint: {known['hint']}"
        raise AssertionError(msg)
    say("Right.")


def _plain(answer: Any) -> Any:
    """Return an answer as JSON has it: a number, a text, a bool, or a list of them."""
    if hasattr(answer, "tolist"):
        answer = answer.tolist()
    if isinstance(answer, (list, tuple)):
        return [_plain(one) for one in answer]
    return answer


def _agree(answer: Any, known: Any) -> bool:
    """Return whether an answer is the known one, numbers within the tolerance."""
    if isinstance(known, list):
        is_list = isinstance(answer, list) and len(answer) == len(known)
        return is_list and all(map(_agree, answer, known))
    if isinstance(known, (bool, str)):
        return answer == known
    is_number = isinstance(answer, (int, float)) and not isinstance(answer, bool)
    return is_number and abs(answer - known) <= max(TOLERANCE * abs(known), 1e-9)


def glue(name: str, value: Any) -> None:
    """Keep a value for pages of the book, as `myst_nb.glue` does.

    That function takes seconds to import, in every notebook.
    """
    shown, metadata = format_display_data(value)
    kept = {f"{_GLUE}{kind}": text for kind, text in shown.items()}
    metadata["scrapbook"] = {"name": name, "mime_prefix": _GLUE}
    display(kept, raw=True, metadata=metadata)


def duration(seconds: float) -> str:
    """Return a time for people, such as 4.2 s or 1 min 15 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


class Progress:
    """A line that says how far a long computation is and how long it still takes.

    Call it with (done, total, text). The line is also in the file that SOILNB_PROGRESS
    names, which ``soilnb run`` shows.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.start = time.perf_counter()
        self.shown = 0.0
        self.handle: Any = None  # the line appears at the first call

    def __call__(self, done: int, total: int, text: str = "") -> None:
        """Note that `done` of `total` units are done."""
        now = time.perf_counter()
        elapsed = now - self.start
        if done >= total:
            line = f"{self.what}: done in {duration(elapsed)}"
        elif now - self.shown < 0.5:
            return
        else:
            left = duration(elapsed / max(done, 1) * (total - done))
            line = f"{self.what}: {text or f'{done} of {total}'}, about {left} left"
        self.shown = now
        if self.handle:
            self.handle.update(Markdown(line))
        elif get_ipython() is not None:
            self.handle = display(Markdown(line), display_id=True)
        elif sys.stdout.isatty():
            sys.stdout.write(f"\r\033[K{'' if done >= total else line}")
            sys.stdout.flush()
        if file := os.environ.get("SOILNB_PROGRESS"):
            Path(file).write_text(line)
