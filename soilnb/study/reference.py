"""The reference results in words and in tables for people, not for files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from soilnb.methods import in_order, label
from soilnb.study.recommend import RULE_SITES
from soilnb.study.scoring import VERDICT_TEST_MIN

KINDS = {  # of repetition: in words, as of `soilnb.study.Case`
    "seeds": "Kennard-Stone split",
    "random_splits": "random splits",
    "learning_curve": "learning curve",
}
_TRANSFER = ("dtl_i_global", "dtl_r_global", "dtl_ir_global")
_ANSWER = ("recommended", *_TRANSFER, "cnn_small", "plsr_local", "plsr_rs_local")


def parts_of(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield title and rows of each library, profile and kind of repetition."""
    for (library, profile), rows in table.groupby(["library", "profile"], sort=False):
        for kind, words in KINDS.items():
            part = rows[rows["kind"] == kind].dropna(axis="columns", how="all")
            if len(part):
                yield f"Library {library}, profile {profile}, {words}", part


def rmse_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the RMSE of each method and site as text, the lowest of a site in bold.

    Mean and sd over the seeds, with the numbers of test samples and seeds; bold is
    HTML.
    """
    order = in_order(scores["method"])
    by_both = scores.groupby(["method", "site"], sort=False)["rmse"]
    mean, sd = by_both.mean().unstack(), by_both.std().unstack()
    columns = {}
    for site, part in scores.groupby("site", sort=False):
        best = mean[site].idxmin()
        columns[site] = {
            label(name): _bold(
                _with_spread(mean[site][name], sd[site][name]), name == best
            )
            for name in order
        } | {
            "test samples": _range(part["n_test"]),
            "seeds": f"{part['seed'].nunique()}",
        }
    return pd.DataFrame(columns).rename_axis("method")


def gain_table(gains: pd.DataFrame) -> pd.DataFrame:
    """Return the gain of each transfer over `local` as text, by method and site.

    Bold (HTML): the interval leaves out zero, and the test samples are enough.
    """
    found = gains[gains["method"].str.startswith("dtl")]
    order = in_order(found["method"])
    table = pd.DataFrame(index=pd.Index([label(name) for name in order], name="method"))
    for site, part in found.groupby("site", sort=False):
        texts = {row.method: _gain_text(row) for row in part.itertuples()}
        table[site] = [texts.get(name, "–") for name in order]
    return table


def answers(over: pd.DataFrame, choices: pd.DataFrame) -> list[str]:
    """Return what the real farms say together, in five sentences.

    From over_sites.csv and choices.csv of the reference results, for the library,
    profile and number of local samples with most real sites: all splits, and
    `recommended`.
    """
    over = over[over["library"] != "twin"]
    splits = over[over["kind"] != "learning_curve"]
    if splits.empty:
        return ["There are no reference results of real farms.", *["None."] * 4]
    most = splits.loc[splits["n_sites"].idxmax()]
    same = ["library", "profile"]
    over = over[(over[same] == most[same]).all(axis=1)].set_index("kind")
    choices = choices[(choices[same] == most[same]).all(axis=1)]
    now = over[over["n_local"] == most["n_local"]]
    return [
        f"On {most['n_sites']} real sites with the library “{most['library']}” and the "
        f"profile “{most['profile']}”, RMSE relative to that of the local network, "
        "mean and 95 % interval over the sites:",
        _ratios("With the Kennard-Stone split", _of(now, "seeds", _ANSWER)),
        _ratios("With random splits", _of(now, "random_splits", _TRANSFER)),
        _curve(_of(over, "learning_curve", _TRANSFER)),
        _choice(choices.set_index("site")["test_ratio"]),
    ]


def draw_sentences(draws: pd.DataFrame) -> list[str]:
    """Return what many draws (of `repeat_draws`) say of blend, intervals and mean."""
    rmse = draws.pivot_table("rmse", ["site", "design", "draw"], "method").dropna()
    ratios = np.exp(np.log(rmse["blend"] / rmse["local"]).groupby("site").mean())
    mean = np.exp(np.log(ratios).mean())
    held = draws[draws["method"] == "blend"].groupby("site")["coverage"].mean()
    plain = draws[draws["method"] == "plsr_one_se"]
    by_design = plain.groupby("design")
    errors = by_design[["mean_error", "lab_error"]].agg(lambda e: (e**2).mean() ** 0.5)
    covered = 100 * plain.groupby(["design", "site"])["mean_covered"].mean()
    means = [
        f"after {name} draws {one.mean_error:.1f} % instead of {one.lab_error:.1f} %, "
        f"held by {covered[name].mean():.0f} % of its 95 % intervals, by farm "
        f"{covered[name].min():.0f} to {covered[name].max():.0f} %"
        for name, one in errors.iterrows()
    ]
    return [
        f"The blend has {mean:.2f} times the RMSE of the local network over "
        f"{len(ratios)} farms, and {ratios.max():.2f} times on the worst "
        f"({ratios.idxmax()}).",
        f"Of its 90 % intervals {100 * held.mean():.0f} % hold the truth, by farm "
        f"{100 * held.min():.0f} to {100 * held.max():.0f} %.",
        f"The mean of the farm, with spectra by parsimonious PLSR, is off by "
        f"{'; '.join(means)}.",
    ]


def _of(over: pd.DataFrame, kind: str, methods: Iterable[str]) -> pd.DataFrame:
    """Return the rows of some methods, in the order of the methods and of n_local."""
    over = over[over.index == kind]
    parts = [over[over["method"] == name].sort_values("n_local") for name in methods]
    return pd.concat(parts)


def _ratios(words: str, part: pd.DataFrame) -> str:
    """Return the ratios of some methods, with their intervals where there are any."""
    texts = [
        f"{label(row.method)} {row.ratio:.2f}"
        + (f" ({row.low:.2f} to {row.high:.2f})" if pd.notna(row.low) else "")
        for row in part.itertuples()
    ]
    return f"{words}: {'; '.join(texts) or 'none'}."


def _curve(part: pd.DataFrame) -> str:
    """Return the ratios of some methods by the number of local samples."""
    if part.empty:
        return "With other numbers of local samples: none."
    texts = [
        f"{label(name)} {', '.join(f'{ratio:.2f}' for ratio in rows['ratio'])}"
        for name, rows in part.groupby("method", sort=False)
    ]
    sizes = ", ".join(str(n) for n in sorted(part["n_local"].unique()))
    return (
        f"With {sizes} local samples, {part['n_sites'].max()} sites: "
        f"{'; '.join(texts)}."
    )


def _choice(tested: pd.Series) -> str:
    """Return how `recommended` fares where its rule was not made."""
    others = tested.drop([*RULE_SITES], errors="ignore")
    words = (
        f"Recommended, on the {len(others)} sites that had no part in fixing its rule"
    )
    if others.empty:
        return f"{words}: none."
    mean = np.exp(np.log(others).mean())
    return f"{words}: mean {mean:.2f}, worst {others.max():.2f} ({others.idxmax()})."


def _bold(text: str, is_bold: bool) -> str:
    """Return a text, in bold or not; it is not broken into lines."""
    text = text.replace(" ", "\N{NO-BREAK SPACE}")
    return f"<b>{text}</b>" if is_bold else text


def _with_spread(mean: float, sd: float) -> str:
    """Return a mean, with its standard deviation where it is known."""
    if pd.isna(mean):
        return "–"
    return f"{mean:.2f}" if pd.isna(sd) else f"{mean:.2f} ± {sd:.2f}"


def _range(counts: pd.Series) -> str:
    """Return the lowest and highest number, or the only one."""
    low, high = counts.min(), counts.max()
    return f"{low}" if low == high else f"{low}\N{EN DASH}{high}"


def _gain_text(row: Any) -> str:
    """Return a gain with its interval, bold where it is sure."""
    text = f"{row.gain:+.3f} ({row.low:+.3f} to {row.high:+.3f})"
    is_sure = (row.low > 0 or row.high < 0) and row.n_test >= VERDICT_TEST_MIN
    return _bold(text.replace("-", "\N{MINUS SIGN}"), is_sure)
