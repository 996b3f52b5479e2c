"""The scores that steps left: of one site, of all sites, and the reference results."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd

from soilnb._files import replacing
from soilnb.datasets import OPTIONS
from soilnb.methods import in_order
from soilnb.metrics import delta_rmse
from soilnb.study import over_sites
from soilnb.workflow.data import REFERENCE
from soilnb.workflow.stamps import find_mismatch, read_stamp, sites
from soilnb.workflow.step import Step
from soilnb.workflow.steps import OF_SITE, ROOT, STEPS, by_role

# What two sites need not share to be compared in one table.
_OWN = {"site", "results", "measured", "scheduler", *OPTIONS}
_MERGES = by_role("merges")
_READ = STEPS[_MERGES].reads
_REPEATS = STEPS[_MERGES].uses[0]
_REPEATED = (*STEPS[_REPEATS].reads, _REPEATS)
_CHOOSES = _READ[-1]  # the step that recommends is the last of them
_RUN_VERSIONS = ("python", "soilnb", "tensorflow", "keras", "LimeSoDa")


def _left(site_folder: Path, name: str) -> list[Path]:
    """Return the files of a name that the steps of one site left."""
    files = (site_folder / step / name for step in _READ)
    return [file for file in files if file.exists()]


def _read_scores(site_folder: Path) -> pd.DataFrame:
    """Return the scores of one site's steps, with the change against `local`."""
    files = _left(site_folder, "scores.csv")
    scores = pd.concat(map(pd.read_csv, files), ignore_index=True)
    reference = scores.loc[scores["method"] == "local", "rmse"]
    if len(reference):
        scores["delta_rmse"] = delta_rmse(reference.iloc[0], scores["rmse"])
    order = in_order(scores["method"])
    ordered = scores.sort_values("method", key=lambda names: names.map(order.index))
    return ordered.astype({"n_components": "Int64"}).reset_index(drop=True)


def _read_all_scores(site_folder: Path) -> pd.DataFrame:
    """Return the scores of one site's steps, as kind "seeds", and its repetitions."""
    scores = _read_scores(site_folder).assign(kind="seeds")
    repeats = pd.read_csv(site_folder / _REPEATS / "repeats.csv")
    known = (repeats["kind"] == "seeds") & repeats["seed"].isin(scores["seed"])
    columns = ["library", "site", "kind", "n_local", "profile", "seed", "method"]
    both = pd.concat([scores, repeats[~known]], ignore_index=True)
    return both[[*columns, *(name for name in repeats if name not in columns)]]


def merge_scores(step: Step) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the scores and predictions of all steps of this site.

    One row per method, with `delta_rmse` against `local` (Eq. 1, percent), and one per
    method and test sample.
    """
    files = _left(step.site_folder, "predictions.parquet")
    predictions = pd.concat(map(pd.read_parquet, files), ignore_index=True)
    return _read_scores(step.site_folder), predictions


def read_sites(step: Step) -> tuple[pd.DataFrame, list[str]]:
    """Return the scores of every site that may be compared with this one.

    Those are the sites whose results belong together and were made with the same
    library, version and parameters. The second value has the others, each with the
    reason.
    """
    tables, skipped = [], []
    own = _settings(step.site_folder)
    for folder in sites(step.site_folder.parent, "*"):
        problem = find_mismatch(folder, _READ)
        found = {} if problem else _settings(folder)
        differ = sorted({key[1] for key in own if own[key] != found.get(key)})
        if problem:
            skipped.append(f"{folder.name}: {problem[1]}")
        elif differ:
            skipped.append(f"{folder.name}: made with another {', '.join(differ)}")
        else:
            tables.append(_read_scores(folder))
    return pd.concat(tables, ignore_index=True), skipped


def read_repeats(step: Step, scores: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return `scores` with those of other seeds, and in words how many there are."""
    tables = [scores.assign(kind="seeds")]
    for folder in sites(step.site_folder.parent, "*"):
        if find_mismatch(folder, _REPEATED):
            continue
        repeats = pd.read_csv(folder / _REPEATS / "repeats.csv")
        others = (repeats["kind"] == "seeds") & (repeats["seed"] != step.study.seed)
        others &= repeats["profile"] == step.values["profile"]
        others &= repeats["site"].isin(set(scores["site"]))
        tables.append(repeats[others])
    found = pd.concat(tables, ignore_index=True)
    counts = found.groupby("site")["seed"].nunique()
    low, high = counts.min(), counts.max()
    number = f"{low}" if low == high else f"{low} to {high}"
    return found, f"{number} seed{'s' if high > 1 else ''} of the nine models"


def over_seeds(step: Step, gains: pd.DataFrame) -> pd.DataFrame:
    """Return the gains of one seed, those of several seeds in their place.

    `gains` are those of `compare`. What this site's repetitions with the same split
    have tried with more seeds takes their values, `recommended` those of the method
    that it is; the column n_seeds says how many there are. One seed may be an outlier,
    so it is no headline.
    """
    found = gains.assign(n_seeds=1)
    if find_mismatch(step.place.parent, _REPEATED):
        return found
    repeats = pd.read_csv(step.read(_REPEATS, "gains.csv")).query("kind == 'seeds'")
    repeats = repeats.set_index("method")
    both = [name for name in repeats.index if name in found.index]
    found.loc[both] = repeats.loc[both, found.columns]
    if "recommended" in found.index and "recommended" not in both:
        table = pd.read_csv(step.read(_CHOOSES, "choice.csv"), index_col="candidate")
        (method,) = table.index[table["chosen"]]
        found.loc["recommended"] = found.loc[method]
    return found.astype({"n_test": int, "n_seeds": int})


def collect_results(results: str | Path, folder: Path = REFERENCE) -> list[str]:
    """Write the reference results: tables of all sites whose runs are complete.

    All tables in `folder` are replaced, or none; those of draws and of selections stay
    where no run has any. Return the sites that were left out, each with the reason.
    """
    results = ROOT / Path(results).expanduser()
    steps = [step for step in OF_SITE if step != _MERGES]
    places, left_out = [], []
    for place in sorted(path.parent for path in results.glob(f"*/*/{steps[0]}")):
        if problem := find_mismatch(place, steps):
            left_out.append(f"{place.parent.name}/{place.name}: {problem[1]}")
        else:
            places.append(place)
    if not places:
        msg = f"'results' must hold a complete run of a site, got none in {results}."
        raise ValueError(msg)
    scores = [_read_all_scores(place) for place in places]
    gains = [pd.read_csv(place / _REPEATS / "gains.csv") for place in places]
    together = pd.concat(scores, ignore_index=True)
    tables = {
        "scores": together,
        "gains": pd.concat(gains, ignore_index=True),
        "over_sites": over_sites(together),
        "choices": pd.DataFrame(map(_choice, places, scores)),
        "runs": pd.DataFrame(_facts(place, steps) for place in places),
    }
    where_there = {
        "farm_draws": f"{by_role('answers')}/draws.csv",
        "selection": f"{by_role('selects')}/selection.csv",
    }
    for name, left_in in where_there.items():
        left = (place / left_in for place in places)
        if found := [pd.read_csv(one) for one in left if one.exists()]:
            tables[name] = pd.concat(found, ignore_index=True)
    with ExitStack() as stack:  # in their places when all of them are written
        for name, table in tables.items():
            file = stack.enter_context(replacing(folder / f"{name}.csv"))
            table.to_csv(file, index=False, float_format="%.5g")
    return left_out


def _choice(place: Path, scores: pd.DataFrame) -> dict[str, Any]:
    """Return what was chosen without the test samples, and what they say of it."""
    nested = pd.read_csv(_left(place, "choice.csv")[0]).set_index("candidate")
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


def _facts(place: Path, steps: Iterable[str]) -> dict[str, Any]:
    """Return how the results of a site were made."""
    stamps = [read_stamp(place / step) for step in steps]
    parameters, versions = stamps[0]["parameters"], stamps[0]["versions"]
    return {
        "library": place.parent.name,
        "site": place.name,
        "profile": parameters["profile"],
        "seed": parameters["seed"],
        "minutes": sum(stamp["seconds"] for stamp in stamps) / 60,
        **{name: versions[name] for name in _RUN_VERSIONS},
    }


def _settings(site_folder: Path) -> dict[tuple[str, str], Any]:
    """Return all that a site must share with another, by step and name."""
    found: dict[tuple[str, str], Any] = {}
    for step in _READ:
        facts = read_stamp(site_folder / step)
        values = facts["parameters"] | {
            "library": next(v for k, v in facts["data"].items() if k[:8] == "library "),
            "version of soilnb": facts["versions"]["soilnb"],
        }
        found |= {(step, name): values[name] for name in set(values) - _OWN}
    return found
