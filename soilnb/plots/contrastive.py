"""Pre-training without labels: its loss, what it finds, and what that is worth."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soilnb.datasets import place_label
from soilnb.plots import style

CONTRASTIVE_MODELS = {  # label, colour, line
    "pretrained": ("pre-trained, linear", "#D55E00", "-"),
    "untrained": ("untrained, linear", "#E69F00", "--"),
    "raw": ("raw inputs, linear", "#0072B2", "-"),
    "pca": ("components, linear", "#56B4E9", "--"),
    "forest": ("random forest", "#333333", "-"),
    "boosting": ("gradient boosting", "#999999", "--"),
    "scratch": ("network from scratch", "#009E73", "--"),
    "fine_tuned": ("pre-trained, fine-tuned", "#CC79A7", "-"),
}
SPLITS = {"random": "random folds", "blocked": "blocked folds"}
VIEWS = {
    "raw": "the view itself",
    "untrained": "untrained encoder",
    "pretrained": "after pre-training",
    "chance": "commonest class",
}


def _names(table: pd.DataFrame) -> list[str]:
    """Return the data sets of a table, in their order."""
    return list(table["data"].unique())


def _wide(table: pd.DataFrame, width: float, height: float, n_rows: int = 1) -> Any:
    """Return a figure with a column for each data set."""
    n = len(_names(table))
    return style.make_figure(width * n, height, ncols=n, nrows=n_rows, squeeze=False)


def plot_contrastive_loss(epochs: pd.DataFrame) -> Figure:
    """Plot the loss by epoch between its floor and chance, a panel for each data set.

    `epochs` is of `soilnb.study.contrastive.study_pairs`; a line is a seed.
    """
    figure, panels = _wide(epochs, 4.2, 3.4)
    for axes, name in zip(panels[0], _names(epochs), strict=True):
        own = epochs[epochs["data"] == name]
        lines = {"loss": "training", "validation_loss": "validation"}
        for colour, (column, label) in zip(
            style.SITE_COLOURS, lines.items(), strict=False
        ):
            for number, (_, part) in enumerate(own.groupby("seed")):
                text = label if not number else None
                axes.plot(part["epoch"], part[column], color=colour, label=text)
        for column, text in (("floor", "lowest possible"), ("chance", "chance")):
            axes.axhline(own[column].iloc[0], color="black", lw=1, ls="--")
            at = (own["epoch"].max(), own[column].iloc[0])
            axes.annotate(text, at, ha="right", va="bottom", fontsize=8)
        axes.set(title=f"{place_label(name)}, batches of {own['batch_size'].iloc[0]}")
        axes.set_xlabel("epoch of pre-training")
    panels[0][0].set_ylabel("NT-Xent")
    return style.legend_under(figure, panels[0][0], 2)


def plot_retrieval_and_use(epochs: pd.DataFrame) -> Figure:
    """Plot retrieval and linear read-out by epoch on one axis, for each data set.

    `epochs` is of `soilnb.study.contrastive.study_pairs`; lines are means over seeds.
    """
    figure, panels = _wide(epochs, 4.2, 3.6)
    shown = {
        "top1": ("place found among {batch_size}", style.SITE_COLOURS[0], "-"),
        "top1_large": ("place found among {large_batch}", style.SITE_COLOURS[0], ":"),
        "r2_random": ("R² of log SOC, random folds", style.SITE_COLOURS[4], "-"),
        "r2_blocked": ("R² of log SOC, blocked folds", style.SITE_COLOURS[4], "--"),
    }
    for axes, name in zip(panels[0], _names(epochs), strict=True):
        own = epochs[epochs["data"] == name]
        for column, (label, colour, line) in shown.items():
            if column not in own or own[column].isna().all():
                continue
            mean = own.groupby("epoch")[column].mean().dropna()
            text = label.format(**own.iloc[0].to_dict())
            axes.plot(mean.index, mean, color=colour, ls=line, marker="o", label=text)
        axes.axhline(0, color="black", lw=0.8)
        axes.set(title=place_label(name), xlabel="epoch of pre-training")
        style.legend_below(axes, 1)
    panels[0][0].set_ylabel("share found, or R²")
    return figure


def plot_label_curves(scores: pd.DataFrame) -> Figure:
    """Plot R2 against the number of labels, by data set and split.

    `scores` is of `soilnb.study.contrastive.study_pairs`. Points are means over seeds,
    bars their range; nothing is drawn below −0.55.
    """
    splits = [name for name in SPLITS if name in set(scores["split"])]
    figure, panels = _wide(scores, 4.4, 3.1 * len(splits), len(splits))
    for column, name in enumerate(_names(scores)):
        for row, split in enumerate(splits):
            is_own = (scores["data"] == name) & (scores["split"] == split)
            axes = panels[row][column]
            _draw_curves(axes, scores[is_own])
            axes.set_title(f"{place_label(name)}, {SPLITS[split]}", fontsize=9)
            axes.set_ylabel("R²" if column == 0 else "")
        axes.set_xlabel("labels")
    return style.legend_under(figure, panels[0][0], 4)


def _draw_curves(axes: Axes, own: pd.DataFrame) -> None:
    """Draw a line for each model."""
    for place, (model, (label, colour, line)) in enumerate(CONTRASTIVE_MODELS.items()):
        found = own[own["model"] == model].groupby("n")["r2"]
        mean = found.mean()
        spread = np.abs([mean - found.min(), found.max() - mean])
        look: dict[str, Any] = {"color": colour, "ls": line, "marker": "o", "ms": 3.5}
        at = mean.index * 1.02 ** (place - 3.5)
        axes.errorbar(at, mean, spread, label=label, elinewidth=0.7, lw=1.4, **look)
    axes.axhline(0, color="black", lw=0.8)
    axes.set_xscale("log")
    style.plain_numbers(axes.xaxis, sorted(own["n"].unique()))
    means = own.groupby(["n", "model"])["r2"].mean()
    axes.set_ylim(max(means.min(), -0.5) - 0.05, own["r2"].max() + 0.05)


def plot_readouts(facts: pd.DataFrame) -> Figure:
    """Plot what is read out of the first view before and after its encoder.

    `facts` is of `soilnb.study.contrastive.study_pairs`. Bars are means over seeds.
    """
    names = list(facts["fact"].unique())
    figure, axes = style.make_figure(2.6 + 2.2 * len(names), 3.4)
    colours = ("#0072B2", "#E69F00", "#D55E00", "#BBBBBB")
    for place, (view, label) in enumerate(VIEWS.items()):
        own = facts[facts["view"] == view].groupby("fact")["score"].mean()
        heights, colour = own.reindex(names), colours[place]
        x = np.arange(len(names)) + 0.2 * (place - 1.5)
        bars = axes.bar(x, heights, 0.19, color=colour, label=label)
        texts = ["" if np.isnan(v) else f"{v:.2f}" for v in heights]
        axes.bar_label(bars, texts, fontsize=8, padding=2)
    axes.set_xticks(range(len(names)), names)
    axes.grid(axis="x", visible=False)
    axes.set_ylabel("share right, or R²")
    style.legend_below(axes, 2)
    return figure


def plot_paired(scores: pd.DataFrame, than: str = "untrained") -> Figure:
    """Plot R2 less that of another model with the same labels, a row for each model.

    `scores` is of `soilnb.study.contrastive.study_pairs`, of one data set. A dot is a
    seed with the most labels, the bar the mean.
    """
    own = scores[scores["n"] == scores["n"].max()]
    splits = [name for name in SPLITS if name in set(own["split"])]
    shape: dict[str, Any] = {"ncols": len(splits), "sharey": True, "squeeze": False}
    figure, panels = style.make_figure(4.0 * len(splits) + 1, 3.2, **shape)
    models = [name for name in CONTRASTIVE_MODELS if name != than]
    for axes, split in zip(panels[0], splits, strict=True):
        part = own[own["split"] == split].pivot_table("r2", "seed", "model")
        gains = part.sub(part[than], axis=0)[models]
        for row, model in enumerate(models):
            look: dict[str, Any] = {"color": CONTRASTIVE_MODELS[model][1]}
            axes.plot(gains[model], [row] * len(gains), "o", ms=5, alpha=0.6, **look)
            axes.vlines(gains[model].mean(), row - 0.3, row + 0.3, lw=2.5, **look)
        axes.axvline(0, color="black", lw=1)
        axes.set(title=SPLITS[split])
        axes.set_xlabel(f"R² less that of: {CONTRASTIVE_MODELS[than][0]}")
    labels = [CONTRASTIVE_MODELS[name][0] for name in models]
    panels[0][0].set_yticks(range(len(models)), labels)
    panels[0][0].set_ylim(len(models) - 0.5, -0.5)
    return figure
