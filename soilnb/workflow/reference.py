"""The reference results as a page of the book.

The tables in data/reference_results are what a long run left. Here they become
Markdown, rounded; the book adds no number of its own to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from soilnb.study import METHODS

TABLES = {  # file without ending: heading, and what its columns mean
    "choices": (
        "The choice made without the test samples",
        "One row for each choice; the RMSE of the test samples decided nothing.",
    ),
    "over_sites": (
        "Over the sites",
        "`ratio` is the geometric mean, over the sites, of the RMSE over that of "
        "`local`: below 1 is better. `low` and `high` are its 95 % interval with the "
        "sites as the sample, `n_better` counts the sites with a ratio below 1, "
        "`p_value` is that of the sign-flip test and `smallest_p` the smallest that so "
        "many sites could have given.",
    ),
}
_APART = {  # what is never averaged over, where a table has it: in words
    "library": "library `{}`",
    "kind": "`{}`",
    "profile": "profile `{}`",
    "n_local": "{} local samples",
}
NONE_YET = "There are no reference results in this copy of the repository."


def reference_page(folder: Path) -> str:
    """Return the reference results as Markdown.

    Parameters
    ----------
    folder : Path
        Holds README.md (how they were made) and scores.csv, choices.csv, over_sites.csv
        as far as there are any. It may be missing.

    Returns
    -------
    str
        The README without its title, a table of RMSE for every library, the other
        tables, and links to the files; one sentence where there is nothing.

    Raises
    ------
    ValueError
        If scores.csv lacks a column.
    """
    parts = []
    if (folder / "README.md").is_file():
        parts.append((folder / "README.md").read_text().partition("\n")[2].strip())
    scores = folder / "scores.csv"
    if scores.is_file():
        parts += _rmse_parts(pd.read_csv(scores))
    for name, (heading, text) in TABLES.items():
        if (file := folder / f"{name}.csv").is_file():
            parts += [f"## {heading}", text, _pipe_table(pd.read_csv(file))]
    files = sorted(file.name for file in folder.glob("*.csv"))
    links = [
        f"- {{download}}`{name} <../data/reference_results/{name}>`" for name in files
    ]
    parts += ["## The files", "\n".join(links)] if files else [NONE_YET]
    return "\n\n".join(parts) + "\n"


def _rmse_parts(scores: pd.DataFrame) -> Iterator[str]:
    """Yield heading, explanation and table of RMSE for each library and setting."""
    for column in ("library", "site", "method", "seed", "rmse"):
        if column not in scores:
            msg = (
                f"'scores.csv' of the reference results must have the column "
                f"{column!r}, got {', '.join(scores)}. Make the file again."
            )
            raise ValueError(msg)
    apart = [name for name in _APART if name in scores]
    for names, part in scores.groupby(apart, sort=False, dropna=False):
        facts = [
            _APART[key].format(name) for key, name in zip(apart, names, strict=True)
        ]
        yield f"## RMSE: {', '.join(facts)}"
        yield (
            "RMSE of the test samples, % SOC: mean over the seeds ± their standard "
            "deviation where there are several. The lowest mean of each site is bold. "
            "A dash: the site has no such method. In the last rows, the test samples "
            "and the seeds."
        )
        yield _pipe_table(_rmse_table(part))


def _rmse_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return RMSE as text, methods in rows and sites in columns."""
    found = scores["method"].unique()
    order = [name for name in METHODS if name in found]
    order += [name for name in found if name not in METHODS]
    by_both = scores.groupby(["method", "site"], sort=False)["rmse"]
    mean, sd = by_both.mean().unstack(), by_both.std().unstack()
    table = pd.DataFrame({"method": order})
    for site in scores["site"].unique():
        texts = [_with_spread(mean[site][m], sd[site][m]) for m in order]
        best = order.index(str(mean[site].idxmin()))
        table[site] = [f"**{t}**" if i == best else t for i, t in enumerate(texts)]
    for name, column in (("test samples", "n_test"), ("seeds", "seed")):
        if column in scores:
            values = scores.groupby("site")[column]
            counts = values.first() if column == "n_test" else values.nunique()
            row = {site: f"{counts[site]}" for site in table.columns[1:]}
            table.loc[len(table)] = {"method": name, **row}
    return table


def _with_spread(mean: float, sd: float) -> str:
    """Return a mean, with its standard deviation where it is known."""
    if pd.isna(mean):
        return "–"
    text = f"{mean:.2f}" if pd.isna(sd) else f"{mean:.2f} ± {sd:.2f}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _pipe_table(table: pd.DataFrame) -> str:
    """Return a table in Markdown; numbers to the right."""
    is_text = [not pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]
    lines = [
        list(table.columns),
        [":--" if text else "--:" for text in is_text],
        *([_cell(value) for value in row] for row in table.itertuples(index=False)),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    """Return a value as text: three digits of a number, a dash for a missing one."""
    if pd.isna(value):
        return "–"
    if isinstance(value, float):
        return f"{value:#.3g}".rstrip(".")
    return str(value).replace("|", "\\|")
