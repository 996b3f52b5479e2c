"""Figures of samples: spectra, SOC, quality."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soilnb.datasets import place_label
from soilnb.plots.style import COLOURS, MANY_POINTS, SOC_LABEL, make_figure
from soilnb.quality import DETECTOR_JUMPS_NM

N_GROUPS = 7  # of a library that have a colour of their own


def plot_spectra(
    wavelengths: npt.ArrayLike,
    sets: Mapping[str, npt.NDArray],
    *,
    label: str = "reflectance",
) -> Figure:
    """Plot the mean and the middle 90 % of the spectra of each set (Fig. 1b).

    Lines are means, bands go from the 5 % to the 95 % quantile of each wavelength (nm).
    `sets` are spectra (n_samples, n_wavelengths) by name, for example library, country
    and site; a later one is drawn over an earlier one, one without rows is left out,
    one without a colour in `COLOURS` gets one. `label` says what the spectra are;
    reflectance as a fraction.
    """
    figure, axes = make_figure(7, 3.8)
    palette = sns.color_palette("colorblind", len(sets))
    for number, (name, spectra) in enumerate(sets.items()):
        if not len(spectra):
            continue
        low, high = np.quantile(spectra, [0.05, 0.95], axis=0)
        colour = COLOURS.get(name, palette[number])
        axes.fill_between(wavelengths, low, high, color=colour, alpha=0.22, lw=0)
        for edge in (low, high):
            axes.plot(wavelengths, edge, color=colour, lw=0.6, alpha=0.7)
        mean, title = np.mean(spectra, axis=0), f"{place_label(name)} (n = "
        axes.plot(wavelengths, mean, color=colour, label=f"{title}{len(spectra):,})")
    axes.set(xlabel="wavelength / nm", ylabel=label)
    axes.set_xlim(np.min(wavelengths), np.max(wavelengths))
    if label == "reflectance":
        axes.set_ylim(bottom=0)
    axes.legend(title="mean; band: middle 90 %", title_fontsize=9)
    return figure


def plot_curves(
    wavelengths: npt.ArrayLike, curves: Mapping[str, npt.NDArray]
) -> Figure:
    """Plot single spectra; the first is the reference that the others differ from.

    `curves` are reflectance, a fraction, (n_wavelengths,), by name.
    """
    figure, axes = make_figure(7, 3.8)
    palette = [(0, 0, 0), *sns.color_palette("colorblind", len(curves) - 1)]
    for number, (name, curve) in enumerate(curves.items()):
        width = 1.3 if number else 2.2
        axes.plot(wavelengths, curve, color=palette[number], lw=width, label=name)
    axes.set(xlabel="wavelength / nm", ylabel="reflectance")
    axes.legend(fontsize=8)
    return figure


def plot_soc(sets: Mapping[str, npt.NDArray]) -> Figure:
    """Plot the distribution of SOC (%) of each set, by name, as a density (Fig. 3a)."""
    figure, axes = make_figure(6, 3.4)
    style = {"fill": True, "alpha": 0.2, "cut": 0}
    for name, soc in sets.items():
        own = {"color": COLOURS[name], "label": f"{name} (n = {len(soc)})"}
        sns.kdeplot(x=soc, ax=axes, **own, **style)
    axes.set(xlabel=SOC_LABEL, ylabel="density / (1 / %)")
    axes.legend()
    return figure


def plot_scores_pairs(
    scores: Mapping[str, npt.NDArray],
    explained: Sequence[float],
    groups: npt.ArrayLike | None = None,
) -> Figure:
    """Plot the first three principal components in pairs (Fig. 3b).

    `scores` (n_samples, at least 3) are by name; `explained` are the shares of the
    variance. `groups` says of each sample of "library" which farm or set it is of: the
    commonest have colours of their own, the others are grey.
    """
    figure, panels = make_figure(9, 3.9, ncols=3)
    for axes, (first, second) in zip(panels, [(0, 1), (0, 2), (1, 2)], strict=True):
        for name, values in scores.items():
            points = values[:, first], values[:, second]
            if name == "library" and groups is not None:
                _draw_groups(axes, *points, np.asarray(groups))
            else:
                _draw_set(axes, *points, name, name)
        labels = [f"PC{i + 1} ({explained[i]:.0%})" for i in (first, second)]
        axes.set(xlabel=labels[0], ylabel=labels[1])
    handles = panels[0].get_legend_handles_labels()
    style = {"ncols": 5, "markerscale": 1.6, "fontsize": 9}
    figure.legend(*handles, loc="outside lower center", **style)
    return figure


def _draw_groups(
    axes: Axes, x: npt.NDArray, y: npt.NDArray, groups: npt.NDArray
) -> None:
    """Draw the samples of a library, the commonest groups in colours of their own."""
    names, counts = np.unique(groups, return_counts=True)
    own = names[np.argsort(-counts, kind="stable")][:N_GROUPS]
    kind = np.where(np.isin(groups, own), groups, "others of the library")
    palette = dict(zip(own, sns.color_palette("pastel", len(own)), strict=True))
    for name in [*own, "others of the library"]:
        if (rows := kind == name).any():
            label = f"library: {place_label(name)}" if name in palette else name
            style: Any = {
                "color": palette.get(name, COLOURS["library"]),
                "label": label,
            }
            style |= {"rasterized": rows.sum() > MANY_POINTS, "s": 9, "lw": 0}
            axes.scatter(x[rows], y[rows], **style)


def _draw_set(
    axes: Axes, x: npt.ArrayLike, y: npt.ArrayLike, name: str, label: str
) -> None:
    """Draw the samples of a set as points, those of a library small and pale."""
    is_many = name in ("library", "country")
    size = {"s": 8, "alpha": 0.5} if is_many else {"s": 18, "alpha": 0.9}
    style: Any = {
        "color": COLOURS[name],
        "rasterized": np.size(x) > MANY_POINTS,
        **size,
    }
    axes.scatter(x, y, label=label, lw=0, **style)


def plot_outliers(
    measures: Mapping[str, pd.DataFrame],
    t2_limit: float,
    q_limit: float,
    groups: npt.ArrayLike | None = None,
) -> Figure:
    """Plot T2 against Q of the spectra of each set, with the limits of both.

    `measures` are tables by name, with the columns t2 (no unit) and q (SNV absorbance
    squared), of `soilnb.quality.SpectralOutliers`; the first is drawn below the others.
    `groups` are as of `plot_scores_pairs`.
    """
    figure, axes = make_figure(6, 5)
    for name, rows in measures.items():
        points = rows["t2"].to_numpy(), rows["q"].to_numpy()
        if name == "library" and groups is not None:
            _draw_groups(axes, *points, np.asarray(groups))
        else:
            _draw_set(axes, *points, name, f"{name} (n = {len(rows)})")
    axes.axvline(t2_limit, color="black", lw=0.8, ls="--", label="limits")
    axes.axhline(q_limit, color="black", lw=0.8, ls="--")
    axes.set(xscale="log", yscale="log")
    axes.set_xlabel("T²: how far out among the components")
    axes.set_ylabel("Q: what they leave over / (SNV absorbance)²")
    figure.legend(loc="outside lower center", ncols=3, markerscale=1.6, fontsize=9)
    return figure


def plot_noise(
    wavelengths: npt.ArrayLike,
    noise: Mapping[str, npt.NDArray],
    *,
    label: str = "reflectance",
    joints: Sequence[float] = DETECTOR_JUMPS_NM,
) -> Figure:
    """Plot the noise of each set at each band, with the joints between detectors.

    `noise` are standard deviations (n_wavelengths,) by name, from
    `soilnb.quality.noise`; wavelengths, label and colours are as of `plot_spectra`.
    `joints` (nm) are dotted lines.
    """
    figure, axes = make_figure(7, 3.6)
    palette = sns.color_palette("colorblind", len(noise))
    for colour, (name, level) in zip(palette, noise.items(), strict=True):
        shown = np.where(np.asarray(level) > 0, level, np.nan)  # 0 has no logarithm
        axes.plot(wavelengths, shown, color=COLOURS.get(name, colour), lw=1, label=name)
    for joint in joints:
        axes.axvline(joint, color="black", lw=0.8, ls=":")
    axes.set(xlabel="wavelength / nm", ylabel=f"noise of {label} (sd)", yscale="log")
    axes.legend()
    return figure
