"""What a farm's answer leaves: tables, a report, and sentences for the book."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from soilnb._files import replacing
from soilnb.datasets import OPTIONS, SITES, folder_name, place_label
from soilnb.methods import DESIGNS
from soilnb.preprocessing import absorbance, snv, working_grid
from soilnb.selection import draw_samples
from soilnb.study import VERDICT_TEST_MIN, Blend, Farm, change, n_needed, stock_of
from soilnb.study.split import N_LOCAL_MIN, UNTESTED
from soilnb.workflow.data import read_reference, read_site
from soilnb.workflow.params import check_parameters
from soilnb.workflow.report import write_geojson, write_report
from soilnb.workflow.stamps import run_command
from soilnb.workflow.step import Step
from soilnb.workflow.steps import by_role

# What may change the spectra that are chosen from, and where results go.
_OF_SCANS = (*OPTIONS, "wavelength_range", "library", "results")
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
        f" Intervals of {level:.0%} need {n_needed(level)} drawn samples, and there "
        f"are {n_drawn}: none is given."
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
        f"{facts['library_weight']:.0%} of the blend's weight.",
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
        f"{size} Over all seeds on this farm, instance transfer "
        f"{change(one['delta_rmse'])}: {verdict}{few}."
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


def choose_samples(
    given: dict[str, Any], n_samples: int, design: str, seed: int, out: Path
) -> list[str]:
    """Write which samples of a file to measure; return what to say of the draw."""
    file = given["site"]
    _check_choice(given, n_samples, out)
    values = check_parameters(by_role("prepares"), given)
    site = read_site(values).by_soil()
    grid = working_grid(site.wavelengths, tuple(values["wavelength_range"]))
    X = snv(absorbance(site.on_grid(grid).reflectance))
    try:
        drawn = draw_samples(X, n_samples, design=design, seed=seed)
    except ValueError as error:  # it speaks of n_samples and X
        text = str(error).replace("'n_samples'", "'-n'").replace("rows of 'X'", "scans")
        raise ValueError(text) from error
    ids = site.info["sample_id"].to_numpy()[drawn["row"]]
    table = drawn.drop(columns="row").assign(soc="")
    table.insert(0, "sample_id", ids)
    with replacing(out) as partial:
        table.to_csv(partial, index=False)
    words = ["soilnb", "estimate", file, "--measured", str(out)]
    for name in sorted(set(given) - {"site"}):
        words += ["-p", f"{name}={given[name]}"]
    return [
        f"{n_samples} of the {len(site)} samples of {folder_name(file)} are listed in "
        f"{out}.",
        DESIGNS[design].says,
        f"Fill in its column soc, then: {shlex.join(words)}",
    ]


def _check_choice(given: dict[str, Any], n_samples: int, out: Path) -> None:
    """Raise where there is nothing to choose from, or a file would be lost."""
    file = given["site"]
    if file in SITES:
        msg = (
            f"'FILE' must be a CSV or Parquet file, got the site {file!r}, which is "
            f"measured throughout. Its answer: soilnb estimate {file}"
        )
        raise ValueError(msg)
    for name in given:
        if name not in ("site", *_OF_SCANS):
            msg = (
                f"'-p' takes {', '.join(_OF_SCANS)} here, got {name!r}, which changes "
                "nothing in a draw. Leave it out."
            )
            raise ValueError(msg)
    if n_samples < N_LOCAL_MIN:
        msg = (
            f"'-n' must be at least {N_LOCAL_MIN}, which soilnb estimate needs, got "
            f"{n_samples}. Give more."
        )
        raise ValueError(msg)
    check_out(out, Path(file))


def check_out(out: Path, file: Path) -> None:
    """Raise where a draw would be written over something else, or to no table."""
    if out.suffix != ".csv":
        msg = f"'-o' must end in .csv, got {str(out)!r}. Give another name."
        raise ValueError(msg)
    if out.exists():
        known = pd.read_csv(out, nrows=0 if out == file else None)
        is_draw = "inclusion_probability" in known
        if not is_draw or known["soc"].notna().any():
            held = "laboratory values" if is_draw else "something else"
            msg = f"'-o' {str(out)!r} holds {held}. Give another name with -o."
            raise ValueError(msg)
