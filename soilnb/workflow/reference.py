"""The reference results: collected from finished runs, and shown as a page of the book.

The tables in data/reference_results are what a long run left. On the page they become
Markdown and pictures, rounded; the book adds no number of its own to them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from soilnb.methods import METHODS, in_order, label
from soilnb.plots import plot_sites
from soilnb.study import RULE_SITES, VERDICT_TEST_MIN, over_sites
from soilnb.workflow.scores import REFERENCE, read_site_scores
from soilnb.workflow.stamps import find_mismatch
from soilnb.workflow.steps import OF_SITE, ROOT

NONE_YET = "There are no reference results in this copy of the repository."
KINDS = {  # of repetition: in words, as of `soilnb.study.Case`
    "seeds": "Kennard-Stone split",
    "random_splits": "random splits",
    "learning_curve": "learning curve",
}
ANSWER_METHODS = (
    "recommended",
    "dtl_i_global",
    "dtl_r_global",
    "dtl_ir_global",
    "cnn_small",
    "plsr_local",
    "plsr_rs_local",
)
_RUN_VERSIONS = ("python", "soilnb", "tensorflow", "keras", "LimeSoDa")
_GAINS = (
    "RMSE of `local` minus RMSE, % SOC, squared errors averaged over the seeds, with "
    "its 95 % bootstrap interval over the test samples. Bold: the interval leaves out "
    "zero, and there are 30 test samples or more. Of so many intervals, some do so by "
    "chance."
)
_OVER_SITES = (
    "Mean ratio of the RMSE to that of `local`, below 1 is better, with its 95 % "
    "interval and the sites as the sample; sites with a ratio below 1; p-value of the "
    "sign-flip test and the smallest that so many sites could have given."
)


# Collecting ---------------------------------------------------------------------------


def collect_results(
    results: Path = ROOT / "results", folder: Path = REFERENCE
) -> list[str]:
    """Write the tables of all sites whose runs are complete.

    Parameters
    ----------
    results : Path, default results
        Where runs leave their results, in <library>/<site>.
    folder : Path, default data/reference_results
        Where the tables go: scores.csv, gains.csv, over_sites.csv, choices.csv and
        runs.csv. What was there is replaced.

    Returns
    -------
    list of str
        The sites that were left out, each with the reason.

    Raises
    ------
    ValueError
        If no site is complete.
    """
    steps = [step for step in OF_SITE if step != "09_compare"]
    scores, gains, choices, runs, left_out = [], [], [], [], []
    for place in sorted(path.parent for path in results.glob("*/*/01_data")):
        problem = find_mismatch(place, steps)
        if problem:
            left_out.append(f"{place.parent.name}/{place.name}: {problem[1]}")
            continue
        scores.append(read_site_scores(place))
        gains.append(pd.read_csv(place / "08_repeats" / "gains.csv"))
        choices.append(_choice(place, scores[-1]))
        runs.append(_facts(place, steps))
    if not scores:
        msg = f"'results' must hold a complete run of a site, got none in {results}."
        raise ValueError(msg)
    together = pd.concat(scores, ignore_index=True)
    tables = {
        "scores": together,
        "gains": pd.concat(gains, ignore_index=True),
        "over_sites": over_sites(together),
        "choices": pd.DataFrame(choices),
        "runs": pd.DataFrame(runs),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, float_format="%.5g")
    return left_out


def _choice(place: Path, scores: pd.DataFrame) -> dict[str, Any]:
    """Return what was chosen without the test samples, and what they say of it."""
    nested = pd.read_csv(place / "07_dtl_both" / "choice.csv").set_index("candidate")
    tested = scores.drop_duplicates("method").set_index("method")
    rmse = tested["rmse"].reindex([*nested.index, "recommended"])
    ratio = rmse / rmse["local"]
    best = ratio[nested.index].idxmin()
    chosen = nested.index[nested["chosen"]][0]
    keys = ["library", "site", "profile", "seed"]
    return tested.loc["recommended", keys].to_dict() | {
        "chosen": chosen,
        "nested_ratio": nested.at[chosen, "ratio"],
        "test_ratio": ratio["recommended"],
        "best": best,
        "best_ratio": ratio[best],
    }


def _facts(place: Path, steps: list[str]) -> dict[str, Any]:
    """Return how the results of a site were made."""
    notes = [json.loads((place / step / "step.json").read_text()) for step in steps]
    parameters, versions = notes[0]["parameters"], notes[0]["versions"]
    return {
        "library": place.parent.name,
        "site": place.name,
        "profile": parameters["profile"],
        "seed": parameters["seed"],
        "minutes": sum(note["seconds"] for note in notes) / 60,
        **{name: versions[name] for name in _RUN_VERSIONS},
    }


# Showing ------------------------------------------------------------------------------


def reference_page(folder: Path) -> str:
    """Return the reference results as Markdown.

    Parameters
    ----------
    folder : Path
        Holds README.md (what the tables are) and what `collect_results` writes, as far
        as there is any. It may be missing.

    Returns
    -------
    str
        The README without its title, for every library the pictures that
        `draw_reference` makes and tables, how they were made, and links to the files;
        one sentence where there is nothing.

    Raises
    ------
    ValueError
        If scores.csv lacks a column.
    """
    parts = []
    if (folder / "README.md").is_file():
        parts.append((folder / "README.md").read_text().partition("\n")[2].strip())
    tables = {file.stem: pd.read_csv(file) for file in sorted(folder.glob("*.csv"))}
    if "scores" in tables:
        _check_scores(tables["scores"])
        for library, scores in tables["scores"].groupby("library", sort=False):
            parts += _library_parts(str(library), scores, tables)
    if "runs" in tables:
        text = "Minutes: of the last run of each step, added up."
        parts += ["## How they were made", text, _pipe_table(tables["runs"])]
    links = [
        f"- {{download}}`{name}.csv <../data/reference_results/{name}.csv>`"
        for name in tables
    ]
    parts += ["## The files", "\n".join(links)] if tables else [NONE_YET]
    return "\n\n".join(parts) + "\n"


def reference_answer(folder: Path) -> str:
    """Return what the real farms say together, as a list in Markdown.

    Parameters
    ----------
    folder : Path
        Holds what `collect_results` writes.

    Returns
    -------
    str
        For the library, profile and number of local samples with most real sites: mean
        ratios of some methods, with random splits and with other numbers of local
        samples, too, and how `recommended` fares at the sites that its rule had not
        seen; one sentence where there is nothing to say.
    """
    if not (folder / "over_sites.csv").is_file():
        return NONE_YET + "\n"
    over, choices = (
        pd.read_csv(folder / f"{n}.csv") for n in ("over_sites", "choices")
    )
    over = over[over["library"] != "twin"]
    splits = over[over["kind"] != "learning_curve"]
    most = splits.loc[splits["n_sites"].idxmax()]
    same = ["library", "profile"]
    over = over[(over[same] == most[same]).all(axis=1)].set_index("kind")
    choices = choices[(choices[same] == most[same]).all(axis=1)]
    tested = choices.set_index("site")["test_ratio"]
    others = tested.drop([*RULE_SITES], errors="ignore")
    transfer = [name for name in ANSWER_METHODS if name.startswith("dtl")]
    wanted = {
        "seeds": ("With the Kennard-Stone split", ANSWER_METHODS),
        "random_splits": ("With random splits", transfer),
    }
    lines = [
        f"On {most['n_sites']} real sites with the library `{most['library']}` and the "
        f"profile `{most['profile']}`, RMSE relative to that of the local network, "
        "mean and 95 % interval over the sites:\n"
    ]
    for kind, (words, methods) in wanted.items():
        part = over[(over.index == kind) & (over["n_local"] == most["n_local"])]
        if texts := [_ratio_text(row) for row in _of(part, methods).itertuples()]:
            lines.append(f"- {words}: {'; '.join(texts)}.")
    curve = _of(over[over.index == "learning_curve"], transfer)
    if len(curve):
        texts = [
            f"{label(name)} {', '.join(f'{ratio:.2f}' for ratio in part['ratio'])}"
            for name, part in curve.groupby("method", sort=False)
        ]
        sizes = ", ".join(str(n) for n in sorted(curve["n_local"].unique()))
        lines.append(
            f"- With {sizes} local samples, {curve['n_sites'].max()} sites: "
            f"{'; '.join(texts)}."
        )
    lines.append(
        f"- `recommended` on the {len(others)} sites that had no part in fixing its "
        f"rule: mean {np.exp(np.log(others).mean()):.2f}, worst {others.max():.2f} "
        f"(`{others.idxmax()}`)."
    )
    return "\n".join([*lines, "\n[Reference results](results.md) has every site.\n"])


def _of(over: pd.DataFrame, methods: Iterable[str]) -> pd.DataFrame:
    """Return the rows of some methods, in the order of the methods and of n_local."""
    parts = [over[over["method"] == name].sort_values("n_local") for name in methods]
    return pd.concat(parts)


def _ratio_text(row: Any) -> str:
    """Return a method's ratio with its interval in words."""
    return f"{label(row.method)} {row.ratio:.2f} ({row.low:.2f} to {row.high:.2f})"


def draw_reference(folder: Path, place: Path) -> None:
    """Draw the pictures of `reference_page`, one for each library with several sites.

    Parameters
    ----------
    folder : Path
        Holds scores.csv; without it nothing is drawn.
    place : Path
        Folder for sites_<library>.png.
    """
    from matplotlib import pyplot as plt

    if not (folder / "scores.csv").is_file():
        return
    scores = pd.read_csv(folder / "scores.csv")
    for library, part in scores.groupby("library", sort=False):
        if not _has_picture(part):
            continue
        seeds = part[part["kind"] == "seeds"]
        figure = plot_sites(seeds, summary=over_sites(seeds))
        figure.savefig(place / f"sites_{library}.png", dpi=150, bbox_inches="tight")
        plt.close(figure)


def _check_scores(scores: pd.DataFrame) -> None:
    """Raise ValueError where a column is missing."""
    for column in ("library", "site", "kind", "method", "seed", "n_local", "rmse"):
        if column not in scores:
            msg = (
                f"'scores.csv' of the reference results must have the column "
                f"{column!r}, got {', '.join(scores)}. Make the file again."
            )
            raise ValueError(msg)


def _has_picture(scores: pd.DataFrame) -> bool:
    """Return whether the sites of a library can be compared in a picture."""
    seeds = scores[scores["kind"] == "seeds"]
    return bool(seeds.loc[seeds["method"] == "local", "site"].nunique() > 1)


def _library_parts(
    library: str, scores: pd.DataFrame, tables: dict[str, pd.DataFrame]
) -> Iterator[str]:
    """Yield what there is to show of one library."""
    profiles = " and ".join(f"`{name}`" for name in scores["profile"].unique())
    synthetic = ", synthetic" if library == "twin" else ""
    yield f"## Library `{library}`{synthetic}, profile {profiles}"
    if _has_picture(scores):
        yield (
            f"```{{figure}} ../data/reference_results/sites_{library}.png\n"
            ":alt: Ratio of RMSE to that of local by method, a dot for each site and "
            "the mean with its interval; left of one is better.\n\n"
            "RMSE relative to the local network with the Kennard-Stone split: a dot "
            "for each site, the mean of the sites and its 95 % interval.\n```"
        )
    if "choices" in tables:
        yield "### The choice made without the test samples"
        yield (
            "`nested_ratio` is the RMSE over that of `local` by which the method was "
            "chosen, `test_ratio` what the test samples say of it; `best` is the "
            "candidate with the lowest test RMSE, which nobody could know."
        )
        choices = tables["choices"]
        yield _pipe_table(
            choices[choices["library"] == library].drop(columns="library")
        )
    for kind, words in KINDS.items():
        part = scores[scores["kind"] == kind]
        if part.empty or kind == "learning_curve":
            continue
        yield f"### RMSE, {words}"
        yield (
            "RMSE of the test samples, % SOC: mean over the seeds ± their standard "
            "deviation where there are several. The lowest mean of each site is bold. "
            "A dash: the site has no such method. In the last rows, the test samples "
            "and the seeds of the nine models; benchmarks have one, and so has "
            "`recommended` with `quick`."
        )
        yield _pipe_table(_rmse_table(part))
        if "gains" in tables:
            gains = tables["gains"]
            gains = gains[(gains["library"] == library) & (gains["kind"] == kind)]
            yield f"### Gain over `local`, {words}"
            yield _GAINS
            yield _pipe_table(_gain_table(gains))
    if "over_sites" in tables:
        over = tables["over_sites"]
        yield from _over_parts(over[over["library"] == library])


def _over_parts(table: pd.DataFrame) -> Iterator[str]:
    """Yield the comparison over the sites of one library, by kind of repetition."""
    for kind, words in KINDS.items():
        part = table[table["kind"] == kind].dropna(axis="columns", how="all")
        if part.empty or part["n_sites"].max() < 2:
            continue
        yield f"### Over the sites, {words}"
        yield _OVER_SITES
        columns = ["method"] + ["n_local"] * (kind == "learning_curve")
        columns += ["ratio", "low", "high", "n_sites", "n_better"]
        columns += ["p_value", "smallest_p"]
        yield _pipe_table(part[columns])


def _rmse_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return RMSE as text, methods in rows and sites in columns."""
    found = scores["method"].unique()
    order = in_order(found)
    by_both = scores.groupby(["method", "site"], sort=False)["rmse"]
    mean, sd = by_both.mean().unstack(), by_both.std().unstack()
    table = pd.DataFrame({"method": order})
    for site in scores["site"].unique():
        texts = [_with_spread(mean[site][m], sd[site][m]) for m in order]
        best = order.index(str(mean[site].idxmin()))
        table[site] = [f"**{t}**" if i == best else t for i, t in enumerate(texts)]
    by_site = scores.groupby("site")
    for name, column in (("test samples", "n_test"), ("seeds", "seed")):
        if column in scores:
            values = by_site[column].agg(_range if column == "n_test" else "nunique")
            row = {site: f"{values[site]}" for site in table.columns[1:]}
            table.loc[len(table)] = {"method": name, **row}
    return table


def _gain_table(gains: pd.DataFrame) -> pd.DataFrame:
    """Return the gains of the transfer methods as text, sites in columns."""
    found = gains[gains["method"].str.startswith("dtl")]
    table = pd.DataFrame({"method": [m for m in METHODS if m in set(found["method"])]})
    for site, part in found.groupby("site", sort=False):
        texts = {row.method: _gain_text(row) for row in part.itertuples()}
        table[site] = table["method"].map(texts)
    return table


def _gain_text(row: Any) -> str:
    """Return a gain with its interval, bold where it is sure."""
    text = f"{row.gain:+.3f} ({row.low:+.3f} to {row.high:+.3f})"
    text = text.replace("-", "\N{MINUS SIGN}").replace(" ", "\N{NO-BREAK SPACE}")
    is_sure = (row.low > 0 or row.high < 0) and row.n_test >= VERDICT_TEST_MIN
    return f"**{text}**" if is_sure else text


def _range(counts: pd.Series) -> str:
    """Return the lowest and highest number, or the only one."""
    low, high = counts.min(), counts.max()
    return f"{low}" if low == high else f"{low}\N{EN DASH}{high}"


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
