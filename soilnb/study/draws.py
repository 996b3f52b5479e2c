"""The answer for a farm given again and again, each time from another draw."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from soilnb._files import replacing
from soilnb._validation import Progress
from soilnb.study.blend import Blend, blend
from soilnb.study.farm import Farm, estimate_farm, estimate_samples, make_farm
from soilnb.study.nested import Nested
from soilnb.study.prepared import Study


def repeat_draws(
    study: Study,
    cases: Iterable[tuple[str, int]],
    predict: Callable[[Study], Nested],
    file: Path,
    *,
    level: float = 0.9,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Answer for a farm that is measured throughout, from draw after draw.

    `cases` are design and seed of each draw of 30 samples; `predict` returns what the
    candidates predict for a study, as `nested_predictions`; `level` is that of the
    intervals of samples. The draws that are finished are in the CSV `file`, one for
    each way to predict, and not computed again. `progress` is called as progress(done,
    total, text).

    One row per draw and method, the candidates and "blend": site, design, draw, method,
    rmse of the hidden samples (% SOC), coverage and mean width (% SOC) of their
    intervals, then of the mean of the scans: mean_error, mean_covered and
    mean_half_width with spectra, lab_error, lab_covered and lab_half_width without,
    errors and half-widths in percent of the true mean.
    """
    finished = pd.read_csv(file) if file.exists() else pd.DataFrame()
    keys = finished[["design", "draw"]] if len(finished) else finished
    known = set(keys.itertuples(index=False, name=None))
    file.parent.mkdir(parents=True, exist_ok=True)
    waiting = [case for case in cases if case not in known]
    for number, (design, draw) in enumerate(waiting, start=1):
        farm = make_farm(study, design=design, seed=draw)
        rows = score_draw(farm, predict(farm.study), level=level)
        rows.insert(2, "draw", draw)
        finished = pd.concat([finished, rows], ignore_index=True)
        with replacing(file) as partial:
            finished.to_csv(partial, index=False)
        if progress is not None:
            progress(number, len(waiting), f"{design} draw {draw}")
    return finished


def score_draw(farm: Farm, nested: Nested, *, level: float = 0.9) -> pd.DataFrame:
    """Return how far each candidate, and their blend, is from the hidden truth."""
    names: dict[str, Sequence[str] | None] = {name: [name] for name in nested.local}
    if len(names) > 1:
        names["blend"] = None
    rows = [
        {
            "site": farm.study.site.name,
            "design": farm.draw.design,
            "method": method,
            **_score(farm, blend(nested, candidates), level),
        }
        for method, candidates in names.items()
    ]
    return pd.DataFrame(rows)


def _score(farm: Farm, mix: Blend, level: float) -> dict[str, Any]:
    """Return the errors of one method: of the samples, and of the scans' mean."""
    table = estimate_samples(farm, mix, level=level)
    hidden = table.set_index("sample_id").loc[farm.truth.index]
    truth = farm.truth.to_numpy()
    held = (hidden["lower"] <= truth) & (truth <= hidden["upper"])
    mean = np.concatenate([truth, farm.study.samples("local").y]).mean()
    scans = estimate_farm(farm, table).iloc[0]
    found: dict[str, Any] = {
        "rmse": np.sqrt(np.mean((hidden["estimate"] - truth) ** 2)),
        "coverage": held.mean() if hidden["lower"].notna().any() else np.nan,
        "width": (hidden["upper"] - hidden["lower"]).mean(),
    }
    for name, prefix in (("mean", ""), ("lab", "lab_")):
        centre, low, high = scans[[f"{prefix}{e}" for e in ("mean", "lower", "upper")]]
        held_mean = np.nan if np.isnan(low) else float(low <= mean <= high)
        found[f"{name}_error"] = 100 * (centre - mean) / mean
        found[f"{name}_covered"] = held_mean
        found[f"{name}_half_width"] = 100 * (high - centre) / mean
    return found
