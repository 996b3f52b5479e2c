"""The reference results in words and in tables for people, not for files."""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from soilnb.datasets import place_label
from soilnb.methods import LOCAL, METHODS, in_order, label
from soilnb.study.recommend import RULE_SITES
from soilnb.study.scoring import VERDICT_TEST_MIN

KINDS = {  # of repetition: in words, as of `soilnb.study.Case`
    "seeds": "Kennard-Stone split",
    "random_splits": "random splits",
    "learning_curve": "learning curve",
}
_TRANSFER = ("dtl_i_global", "dtl_r_global", "dtl_ir_global")
SD_LEAST = 5  # runs: of fewer the lowest and the highest are given, no sd
_ANSWER = ("recommended", *_TRANSFER, "cnn_small", "plsr_local", "plsr_rs_local")


def parts_of(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield title and rows of each library, profile and kind of repetition."""
    for (library, profile), rows in table.groupby(["library", "profile"], sort=False):
        for kind, words in KINDS.items():
            part = rows[rows["kind"] == kind].dropna(axis="columns", how="all")
            if len(part):
                yield f"Library {library}, profile {profile}, {words}", part


def seeds_apart(scores: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield, with how many seeds they have, methods that may stand in one table.

    First those with most seeds, then the others beside `local` of the seeds they have.
    """
    n_seeds = scores.groupby("method")["seed"].nunique()
    for n in sorted(n_seeds.unique(), reverse=True):
        rows = scores[scores["method"].map(n_seeds) == n]
        words = f"{n} seed{'s' if n > 1 else ''}"
        if n < n_seeds.max():
            same = scores["seed"].isin(rows["seed"]) & (scores["method"] == "local")
            rows = pd.concat([scores[same], rows])
        yield words, rows


def rmse_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the RMSE of each method and site as text, the lowest of a site in bold.

    With numbers of test samples and seeds; for methods of as many (`seeds_apart`).
    """
    order = in_order(scores["method"])
    runs = scores.groupby(["method", "site"], sort=False)["rmse"]
    mean, texts = runs.mean().unstack(), runs.agg(in_words).unstack()
    columns = {}
    for site, part in scores.groupby("site", sort=False):
        best, known = mean[site].idxmin(), texts[site].fillna("–")
        cells = {label(name): _bold(known[name], name == best) for name in order}
        ends = sorted({part["n_test"].min(), part["n_test"].max()})
        cells["test samples"] = "\N{EN DASH}".join(map(str, ends))
        columns[site] = cells | {"seeds": f"{part['seed'].nunique()}"}
    return pd.DataFrame(columns).rename_axis("method")


def in_words(runs: Iterable[float]) -> str:
    """Return the mean of some runs, their sd from five on, else lowest and highest.

    >>> in_words([0.3, 0.4]), in_words([0.25]), in_words([0.1, 0.2, 0.3, 0.4, 0.5])
    ('0.35 (0.30 to 0.40)', '0.25', '0.30 ± 0.16')
    """
    values = np.asarray(list(runs), dtype=np.float64)
    mean = values.mean()
    if len(values) == 1:
        return f"{mean:.2f}"
    if len(values) < SD_LEAST:
        return f"{mean:.2f} ({values.min():.2f} to {values.max():.2f})"
    return f"{mean:.2f} ± {values.std(ddof=1):.2f}"


def against_best_local(scores: pd.DataFrame) -> pd.DataFrame:
    """Return how each farm's transfers do against its best method without a library.

    Index site; "best local" (label), which knows the test and has as many seeds as
    `local`, "its RMSE" (% SOC, mean over its seeds), and the others' ratios to that.
    """
    n_seeds = scores.groupby("method")["seed"].nunique()
    is_fair = [
        METHODS[name].kind == "plain" or n_seeds[name] == n_seeds["local"]
        for name in scores["method"]
    ]
    scores = scores[is_fair]
    mean = scores.groupby(["site", "method"], sort=False)["rmse"].mean().unstack()
    local = mean[[name for name in LOCAL if name in mean]]
    best = local.idxmin(axis=1)
    table = pd.DataFrame({"best local": best.map(label), "its RMSE": local.min(axis=1)})
    for name in ("local", *_TRANSFER):
        if name in mean:
            table[label(name)] = mean[name] / table["its RMSE"]
    return table


def gain_table(gains: pd.DataFrame) -> pd.DataFrame:
    """Return the gain of each transfer over `local` as text, in bold what is sure."""
    found = gains[gains["method"].str.startswith("dtl")]
    order = in_order(found["method"])
    table = pd.DataFrame(index=pd.Index([label(name) for name in order], name="method"))
    for site, part in found.groupby("site", sort=False):
        texts = {}
        for row in part.itertuples():
            text = f"{row.gain:+.3f} ({row.low:+.3f} to {row.high:+.3f})"
            is_sure = (row.low > 0 or row.high < 0) and row.n_test >= VERDICT_TEST_MIN
            texts[row.method] = _bold(text.replace("-", "\N{MINUS SIGN}"), is_sure)
        table[site] = [texts.get(name, "–") for name in order]
    return table


def answers(over: pd.DataFrame, choices: pd.DataFrame) -> list[str]:
    """Return what the real farms say together, in five sentences.

    For the library, profile and n_local of most real sites in over_sites and choices.
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


def library_alone(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the RMSE (% SOC, by site) of two models of the library and of `local`."""
    mean = scores.groupby(["site", "method"], sort=False)["rmse"].mean().unstack()
    return mean[["local", "global", "plsr_global"]].rename(columns=label)


def chosen_and_blended(choices: pd.DataFrame, draws: pd.DataFrame) -> pd.DataFrame:
    """Return RMSE over that of `local` for the method chosen and for the blend.

    Index site. The choice is of one split, the blend a geometric mean over many draws.
    """
    rmse = draws.pivot_table("rmse", ["site", "design", "draw"], "method").dropna()
    ratio = np.log(rmse["blend"] / rmse["local"]).groupby("site").mean()
    chosen = choices.set_index("site")["test_ratio"].rename("one chosen by the rule")
    return pd.DataFrame({chosen.name: chosen, "blend of nine": np.exp(ratio)}).dropna()


def worth_of_strata(draws: pd.DataFrame, n_drawn: int = 30) -> pd.DataFrame:
    """Return how many values a simple draw without spectra needs for the same error.

    As the root mean square error over the draws falls with the root of the number.
    """
    plain = draws[draws["method"] == "plsr_one_se"]
    errors = plain.groupby(["site", "design"])[["mean_error", "lab_error"]].agg(_rms)
    alone = errors["lab_error"].xs("random", level="design")
    both = errors["mean_error"].xs("stratified", level="design")
    needed = n_drawn * (alone / both) ** 2
    return pd.DataFrame({"strata and spectra": n_drawn, "at random, without": needed})


def story(
    alone: pd.DataFrame,
    selection: pd.DataFrame,
    curve: pd.DataFrame,
    weighed: pd.DataFrame,
    strata: pd.DataFrame,
) -> list[str]:
    """Return the turns of the plot in five sentences, one for each figure."""
    worse = alone.iloc[:, 1:].min(axis=1) - alone.iloc[:, 0]
    means = curve.groupby("n_local")["ratio"].min()
    ratios = ", ".join(f"{ratio:.2f}" for ratio in means)
    is_sure = (curve["high"] < 1).any()
    sizes = ", ".join(str(n) for n in means.index)
    chosen, blended = weighed.iloc[:, 0], weighed.iloc[:, 1]
    n = len(selection)
    better = int((selection["selected"] < selection["random"]).sum())
    lower = int((selection["selected"] < selection["alone"]).sum())
    needed = strata.iloc[:, 1]
    typical = np.exp(np.log(needed).mean())
    return [
        f"A library alone fails: without a sample of the farm the better of two models "
        f"is off by {worse.min():.1f} to {worse.max():.1f} % SOC more than a network "
        f"of thirty local samples, over {len(alone)} farms.",
        f"Selected library rows beside the farm's own beat random ones at {better} of "
        f"{n} farms and the farm's own samples alone at {lower}, though two searches "
        f"share only {100 * selection['overlap'].median():.0f} % of their rows "
        f"(chance: {100 * selection['chance'].median():.0f} %).",
        "Transfer may help while the farm has few samples of its own, and soon no "
        f"more: the best of three has {ratios} times the error of the local network "
        f"with {sizes} local samples; {'not every' if is_sure else 'every'} interval "
        "over the farms contains 1.",
        f"A rule that picks one method picks a loser at {(chosen > 1).sum()} of "
        f"{len(chosen)} farms (worst: {chosen.max():.2f} times the error of the local "
        "network, on one split); weighting them all is worse at "
        f"{(blended > 1).sum()}, by {blended.max():.2f} times at most, on the mean of "
        "many draws.",
        f"With strata and spectra {strata.iloc[0, 0]:.0f} laboratory values do for the "
        f"farm's mean what about {typical:.0f} do that are drawn at random without "
        f"them ({needed.min():.0f} to {needed.max():.0f}, by farm).",
    ]


def farm_verdict(gains: pd.DataFrame) -> str:
    """Return in one sentence what transfer from the global library does at a farm."""
    rows = gains[gains["method"].isin(_TRANSFER)].set_index("method")
    if rows.empty or rows["n_test"].iloc[0] < VERDICT_TEST_MIN:
        return "Too few test samples to say whether transfer helps."
    groups = {
        "Transfer helps": rows.index[rows["low"] > 0],
        "Transfer harms": rows.index[rows["high"] < 0],
    }
    told = [
        f"{words}: {', '.join(map(label, names))}"
        for words, names in groups.items()
        if len(names)
    ]
    return "; ".join(told) + "." if told else "Transfer makes no difference that shows."


def draw_sentences(draws: pd.DataFrame) -> list[str]:
    """Return what many draws (of `repeat_draws`) say of blend, intervals and mean."""
    rmse = draws.pivot_table("rmse", ["site", "design", "draw"], "method").dropna()
    ratios = np.exp(np.log(rmse["blend"] / rmse["local"]).groupby("site").mean())
    mean = np.exp(np.log(ratios).mean())
    held = draws[draws["method"] == "blend"].groupby("site")["coverage"].mean()
    plain = draws[draws["method"] == "plsr_one_se"]
    by_design = plain.groupby("design")
    errors = by_design[["mean_error", "lab_error"]].agg(_rms)
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
        f"({place_label(ratios.idxmax())}).",
        f"Of its 90 % intervals {100 * held.mean():.0f} % hold the truth, by farm "
        f"{100 * held.min():.0f} to {100 * held.max():.0f} %.",
        f"The mean of the farm, with spectra by parsimonious PLSR, is off by "
        f"{'; '.join(means)}.",
    ]


def _rms(values: pd.Series) -> float:
    """Return the root mean square."""
    return np.sqrt(np.mean(values**2))


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
    n_sites = part["n_sites"].max()
    return f"With {sizes} local samples, {n_sites} sites: {'; '.join(texts)}."


def _choice(tested: pd.Series) -> str:
    """Return how `recommended` fares where its rule was not made."""
    others = tested.drop([*RULE_SITES], errors="ignore")
    n = len(others)
    words = f"Recommended, on the {n} sites that had no part in fixing its rule"
    if others.empty:
        return f"{words}: none."
    mean = np.exp(np.log(others).mean())
    return f"{words}: mean {mean:.2f}, worst {others.max():.2f} ({others.idxmax()})."


def _bold(text: str, is_bold: bool) -> str:
    """Return a text, in bold or not; it is not broken into lines."""
    text = text.replace(" ", "\N{NO-BREAK SPACE}")
    return f"<b>{text}</b>" if is_bold else text
