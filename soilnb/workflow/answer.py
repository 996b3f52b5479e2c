"""What a farm's answer leaves: tables, a report, and sentences for the book."""

from pathlib import Path

import numpy as np
import pandas as pd

from soilnb.datasets import place_label
from soilnb.methods import DESIGNS
from soilnb.study import VERDICT_TEST_MIN, Blend, Farm, change, n_needed, stock_of
from soilnb.study.split import UNTESTED
from soilnb.workflow.data import read_reference
from soilnb.workflow.report import write_geojson, write_report
from soilnb.workflow.stamps import run_command
from soilnb.workflow.step import Step

_TRANSFER = "kind == 'random_splits' and method == 'dtl_i_global'"


def write_answer(
    step: Step,
    farm: Farm,
    mix: Blend,
    estimates: pd.DataFrame,
    table: pd.DataFrame,
    facts: dict[str, float],
) -> dict[str, str]:
    """Leave a farm's answer in the folder of its step; return it in sentences.

    Writes estimates.csv, farm.csv, weights.csv, report.html and, where there are
    degrees, estimates.geojson. The sentences are `mean`, `error`, `alone`, `library`,
    `design` and `next`; the tables are those of `estimate_samples` and `estimate_farm`,
    the facts those of `summarise_farm`.
    """
    values, study, library = step.values, step.study, _library(step)
    weights = mix.table.reset_index()
    tables = {"estimates": estimates, "farm": table, "weights": weights}
    for name, one in tables.items():
        one.to_csv(step.folder / f"{name}.csv", index=False)
    if estimates[["latitude", "longitude"]].notna().all(axis=1).any():
        write_geojson(step.folder / "estimates.geojson", estimates)
    n_more, stock = facts["n_more"], stock_of(farm, values)
    of_library = {*study.library.notes, UNTESTED}
    own_notes = [note for note in study.notes if note not in of_library]
    own = {key: values[key] for key in ("site", "library", "results")}
    report = {key: values[key] for key in ("profile", "seed", "level", "target")} | {
        "site": place_label(study.site.name),
        "library": study.library.name,
        "library_text": library,
        "library_weight": facts["library_weight"],
        "n_more": None if np.isnan(n_more) else int(n_more),
        "synthetic": study.is_synthetic,
        "notes": [*dict.fromkeys((*farm.notes, *study.site.notes, *own_notes))],
        "versions": step.facts["versions"],
        "command": run_command(step.step, own),
        "bulk_density": stock.get("bulk_density") or None,
        "depth": stock.get("depth_cm") or None,
    }
    spectra = (study.wavelengths, {"site": study.site.reflectance})
    file = step.folder / "report.html"
    write_report(file, estimates, table, weights, facts=report, spectra=spectra)
    rest = estimates[estimates["soc"].isna()]
    n_drawn, level = farm.draw.n_drawn, values["level"]
    few = (
        f" Intervals of {100 * level:g} % need {n_needed(level)} drawn samples, and "
        f"there are {n_drawn}: none is given."
    )
    return {
        "mean": f"The mean of the {len(estimates)} scanned samples is "
        f"{_mean(table.iloc[0])}, that of the field they stand for "
        f"{_mean(table.iloc[1])}.",
        "error": f"A single estimate is off by {facts['nested_rmse']:.2f} % SOC, "
        f"typically; {rest['in_domain'].sum()} of {len(rest)} lie where the measured "
        f"samples can vouch for them.{few * (n_drawn < n_needed(level))}",
        "design": DESIGNS[farm.draw.design].says,
        "alone": "Without chance in the draw nobody can say how many values would be "
        "enough."
        if np.isnan(facts["n_alone"])
        else f"A simple random draw without spectra would have needed "
        f"{facts['n_alone']:.0f} laboratory values for the same half-width; there are "
        f"{n_drawn}.",
        "next": _next(estimates, facts, values["target"]),
        "library": f"{library} Here candidates that use it hold "
        f"{100 * facts['library_weight']:.0f} % of the blend's weight.",
    }


def _mean(scans: pd.Series) -> str:
    """Return a mean in words, with its interval or without."""
    if np.isnan(scans["lower"]):
        return f"{scans['mean']:.2f} % SOC, without an interval"
    low, high = scans["lower"], scans["upper"]
    return f"{scans['mean']:.2f} % SOC (95 % interval {low:.2f} to {high:.2f})"


def _library(step: Step) -> str:
    """Return how large the library is and whether it helps, over all seeds."""
    library = step.study.library
    size = (
        f"The library {library.name!r} holds {len(library):,} samples of "
        f"{library.info['group'].nunique()} farms or sets."
    )
    file = step.read(step.entry.uses[0], "gains.csv")
    if not file.is_file():
        one = read_reference("over_sites").query(_TRANSFER).iloc[0]
        return (
            f"{size} On the {one['n_sites']:.0f} farms of the reference results "
            f"instance transfer had {one['ratio']:.2f} times the error of the local "
            f"network (95 % interval {one['low']:.2f} to {one['high']:.2f})."
        )
    of_splits = pd.read_csv(file).query(_TRANSFER)
    if of_splits.empty:
        return f"{size} Whether transfer helps here, no repetition could tell."
    one = of_splits.iloc[0]
    verdict = "these cannot tell it from chance"
    if one["low"] > 0 or one["high"] < 0:
        verdict = "it helped" if one["low"] > 0 else "it did harm"
    few = " (few test samples)" if one["n_test"] < VERDICT_TEST_MIN else ""
    return (
        f"{size} Over {one['n_seeds']:.0f} random splits of this farm, instance "
        f"transfer {change(one['delta_rmse'])}: {verdict}{few}."
    )


def _next(estimates: pd.DataFrame, facts: dict[str, float], target: float) -> str:
    """Return the next step."""
    first = estimates.dropna(subset="next").sort_values("next")["sample_id"].head(3)
    text = f"To be measured next: {', '.join(map(str, first))} and the others listed."
    if np.isnan(facts["n_more"]):
        return f"{text} For a mean with an interval, draw anew with soilnb choose."
    if facts["n_more"] == 0:
        return f"The mean is known to within {target:g} %. {text}"
    return (
        f"{facts['n_more']:.0f} more laboratory values, drawn in the same way, would "
        f"bring the mean to within {target:g} %. {text}"
    )


def read_answer(place: Path) -> list[str]:
    """Return a finished answer in lines for the terminal."""
    estimates = pd.read_csv(place / "estimates.csv", dtype={"sample_id": str})
    table = pd.read_csv(place / "farm.csv")
    rest = estimates[estimates["soc"].isna()]
    ordered = estimates.dropna(subset="next").sort_values("next")
    design, field = table["design"].iloc[0], table.iloc[1]
    rows = (row for _, row in table.iterrows())
    lines = [f"Mean of the {row['population']}: {_mean(row)}" for row in rows]
    if table["stock"].notna().all():
        ends = f" ({field['stock_lower']:.0f} to {field['stock_upper']:.0f})"
        ends = "" if np.isnan(field["stock_lower"]) else ends
        lines.append(f"Stock of the field: {field['stock']:.0f} Mg/ha{ends}")
    return [
        *lines,
        f"Design of the draw: {design}. {DESIGNS[design].says}",
        f"Estimates: {len(rest)}, of which {rest['in_domain'].sum()} are within the "
        "domain.",
        f"To be measured next: {', '.join(ordered['sample_id'])}",
        f"Report: {place / 'report.html'}",
        f"Tables: {place / 'estimates.csv'}, farm.csv, weights.csv",
    ]
