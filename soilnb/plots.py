"""Every figure, in one style: units on the axes, colours that all readers can tell.

The colours are those of Okabe and Ito (2008); a set of samples has the same colour in
every figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from soilnb.quality import DETECTOR_JUMPS_NM

COLOURS = {
    "library": "#999999",
    "country": "#56B4E9",
    "selected": "#D55E00",
    "site": "#0072B2",
    "local": "#0072B2",
    "test": "#E69F00",
}
SOC_LABEL = "SOC / %"
# Absorption features of soil, nm (Stenberg et al. 2010, Advances in Agronomy 107).
FEATURES_NM = {
    "iron": 480,
    "iron ": 900,
    "OH, water": 1414,
    "C-H": 1730,
    "water": 1915,
    "clay": 2205,
    "C-H ": 2310,
}


def _figure(width: float, height: float, **options: Any) -> tuple[Figure, Any]:
    """Return a figure and its axes in the project's style."""
    mpl.rcParams.update(
        {
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
            "font.size": 10,
        }
    )
    return plt.subplots(figsize=(width, height), **options)


def plot_spectra(
    wavelengths: npt.ArrayLike,
    sets: Mapping[str, npt.NDArray],
    *,
    label: str = "reflectance",
) -> Figure:
    """Plot the median and the middle 90 % of the spectra of each set (Fig. 1b).

    Parameters
    ----------
    wavelengths : array-like of shape (n_wavelengths,)
        nm.
    sets : mapping
        Name to spectra (n_samples, n_wavelengths); sets without a colour in
        `COLOURS` get one.
    label : str, default "reflectance"
        What the spectra are; reflectance as a fraction.

    Returns
    -------
    Figure
    """
    figure, axes = _figure(7, 3.6)
    palette = sns.color_palette("colorblind", len(sets))
    for number, (name, spectra) in enumerate(sets.items()):
        low, median, high = np.quantile(spectra, [0.05, 0.5, 0.95], axis=0)
        colour = COLOURS.get(name, palette[number])
        axes.fill_between(wavelengths, low, high, color=colour, alpha=0.2, lw=0)
        axes.plot(
            wavelengths, median, color=colour, label=f"{name} (n = {len(spectra)})"
        )
    axes.set(xlabel="wavelength / nm", ylabel=label)
    axes.legend()
    return figure


def plot_curves(
    wavelengths: npt.ArrayLike,
    curves: Mapping[str, npt.NDArray],
    *,
    label: str = "reflectance",
) -> Figure:
    """Plot single spectra; the first is the reference that the others differ from.

    Parameters
    ----------
    wavelengths : array-like of shape (n_wavelengths,)
        nm.
    curves : mapping
        Name to spectrum (n_wavelengths,).
    label : str, default "reflectance"
        What the spectra are; reflectance as a fraction.

    Returns
    -------
    Figure
    """
    figure, axes = _figure(7, 3.8)
    palette = [(0, 0, 0), *sns.color_palette("colorblind", len(curves) - 1)]
    for number, (name, curve) in enumerate(curves.items()):
        width = 1.3 if number else 2.2
        axes.plot(wavelengths, curve, color=palette[number], lw=width, label=name)
    axes.set(xlabel="wavelength / nm", ylabel=label)
    axes.legend(fontsize=8)
    return figure


def plot_fields(sites: Mapping[str, pd.DataFrame]) -> Figure:
    """Plot where the samples of each site lie, coloured by SOC (Fig. 4c).

    Parameters
    ----------
    sites : mapping
        Name to a table with the columns longitude and latitude in degrees and soc
        in %.

    Returns
    -------
    Figure
    """
    figure, panels = _figure(3.3 * len(sites), 3, ncols=len(sites), squeeze=False)
    for axes, (name, table) in zip(panels[0], sites.items(), strict=True):
        points = axes.scatter(
            table["longitude"], table["latitude"], c=table["soc"], cmap="cividis", s=14
        )
        # A degree of longitude is shorter than one of latitude.
        axes.set_aspect(1 / np.cos(np.radians(table["latitude"].mean())))
        axes.set(title=name, xlabel="longitude / °", ylabel="latitude / °")
        axes.ticklabel_format(useOffset=False)
        axes.locator_params(nbins=3)
        figure.colorbar(points, ax=axes, label=SOC_LABEL, shrink=0.7)
    return figure


def plot_soc(sets: Mapping[str, npt.NDArray]) -> Figure:
    """Plot the distribution of SOC of each set as a density (Fig. 3a).

    Parameters
    ----------
    sets : mapping
        Name to SOC in %.

    Returns
    -------
    Figure
    """
    figure, axes = _figure(6, 3.4)
    for name, soc in sets.items():
        sns.kdeplot(
            x=soc,
            ax=axes,
            color=COLOURS[name],
            fill=True,
            alpha=0.2,
            cut=0,
            label=f"{name} (n = {len(soc)})",
        )
    axes.set(xlabel=SOC_LABEL, ylabel="density / (1 / %)")
    axes.legend()
    return figure


def plot_scores_pairs(
    scores: Mapping[str, npt.NDArray], explained: Sequence[float]
) -> Figure:
    """Plot the first three principal components in pairs (Fig. 3b).

    Parameters
    ----------
    scores : mapping
        Name to principal component scores (n_samples, at least 3).
    explained : sequence of float
        Share of the variance that each component explains.

    Returns
    -------
    Figure
    """
    figure, panels = _figure(9, 3.2, ncols=3)
    for axes, (first, second) in zip(panels, [(0, 1), (0, 2), (1, 2)], strict=True):
        for name, values in scores.items():
            axes.scatter(
                values[:, first],
                values[:, second],
                s=8 if name in ("library", "country") else 18,
                color=COLOURS[name],
                alpha=0.5 if name in ("library", "country") else 0.9,
                label=name,
                lw=0,
            )
        labels = [f"PC{i + 1} ({explained[i]:.0%})" for i in (first, second)]
        axes.set(xlabel=labels[0], ylabel=labels[1])
    panels[0].legend(markerscale=1.5)
    return figure


def plot_components(curves: Mapping[str, npt.NDArray]) -> Figure:
    """Plot cross-validated RMSE against the number of PLS components.

    Parameters
    ----------
    curves : mapping
        Method to RMSE in % SOC for 1, 2, ... components; the minimum is marked.

    Returns
    -------
    Figure
    """
    figure, axes = _figure(6, 3.4)
    palette = sns.color_palette("colorblind", len(curves))
    for colour, (name, rmse) in zip(palette, curves.items(), strict=True):
        components = np.arange(1, len(rmse) + 1)
        best = int(np.argmin(rmse))
        axes.plot(components, rmse, color=colour, label=name)
        axes.plot(components[best], rmse[best], "o", color=colour)
    axes.set(xlabel="number of PLS components", ylabel="cross-validated RMSE / %")
    axes.legend()
    return figure


def plot_rmse(scores: pd.DataFrame, reference: str | None = None) -> Figure:
    """Plot the RMSE of each method as a bar, the smallest on top.

    Parameters
    ----------
    scores : DataFrame
        Columns method and rmse (% SOC).
    reference : str, optional
        Method whose RMSE is drawn as a line.

    Returns
    -------
    Figure
    """
    ordered = scores.sort_values("rmse", ascending=False)
    figure, axes = _figure(6.5, 0.8 + 0.32 * len(ordered))
    bars = axes.barh(ordered["method"], ordered["rmse"], color="#0072B2", alpha=0.8)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    if reference is not None:
        value = scores.loc[scores["method"] == reference, "rmse"].iloc[0]
        axes.axvline(value, color="#D55E00", ls="--", lw=1, label=reference)
        axes.legend(loc="upper right")
    axes.set(xlabel="RMSE of the test samples / %")
    axes.grid(axis="y", visible=False)
    return figure


def plot_measured_predicted(predictions: pd.DataFrame, methods: list[str]) -> Figure:
    """Plot predicted against measured SOC, a panel per method (Fig. 4b).

    Parameters
    ----------
    predictions : DataFrame
        Columns method, measured, predicted (% SOC).
    methods : list of str
        Methods to show, in order.

    Returns
    -------
    Figure
    """
    n_columns = min(3, len(methods))
    n_rows = -(-len(methods) // n_columns)
    figure, panels = _figure(
        3 * n_columns, 3 * n_rows, nrows=n_rows, ncols=n_columns, squeeze=False
    )
    shown = predictions[predictions["method"].isin(methods)]
    values = shown[["measured", "predicted"]].to_numpy()
    pad = 0.05 * np.ptp(values)
    limits = (values.min() - pad, values.max() + pad)
    for axes, method in zip(panels.flat, methods, strict=False):
        rows = shown[shown["method"] == method]
        axes.plot(limits, limits, color="black", lw=0.8)
        axes.scatter(rows["measured"], rows["predicted"], s=16, color="#0072B2", lw=0)
        axes.set(xlim=limits, ylim=limits, aspect="equal", title=method)
        axes.set(xlabel="measured " + SOC_LABEL, ylabel="predicted " + SOC_LABEL)
    for axes in panels.flat[len(methods) :]:
        axes.set_visible(False)
    return figure


def plot_frequency(frequency: npt.NDArray, n_selected: int) -> Figure:
    """Plot in what share of the searches the most often selected rows were chosen.

    Parameters
    ----------
    frequency : ndarray of shape (n_library,)
        Share of the searches that selected each row.
    n_selected : int
        Rows that one search selects.

    Returns
    -------
    Figure
    """
    ordered = np.sort(frequency)[::-1]
    ordered = ordered[: max(int((ordered > 0).sum()), n_selected)]
    figure, axes = _figure(6, 3.2)
    axes.step(np.arange(1, len(ordered) + 1), ordered, where="mid", color="#D55E00")
    axes.axvline(n_selected, color="black", lw=0.8, ls="--")
    axes.text(n_selected, 1.0, " one search selects this many", va="top", fontsize=9)
    axes.set(
        xlabel="library samples, most often selected first",
        ylabel="share of the searches",
        ylim=(0, 1.05),
    )
    return figure


def plot_history(
    history: pd.DataFrame, x: str, y: str, labels: tuple[str, str]
) -> Figure:
    """Plot how the searches went: one line per search.

    Parameters
    ----------
    history : DataFrame
        Columns search, `x` and `y`.
    x, y : str
        Columns to draw.
    labels : tuple of str
        Axis labels with units.

    Returns
    -------
    Figure
    """
    figure, axes = _figure(6, 3.4)
    for _, rows in history.groupby("search"):
        axes.plot(rows[x], rows[y], color="#D55E00", alpha=0.6, lw=1)
    axes.set(xlabel=labels[0], ylabel=labels[1], xscale="log")
    for axis in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        axis(ScalarFormatter())
    axes.invert_xaxis()
    return figure


def plot_training(histories: Mapping[str, npt.NDArray]) -> Figure:
    """Plot validation RMSE against epoch: thin the folds, thick what is kept of them.

    The thick line is the mean over the folds of each fold's lowest RMSE so far.

    Parameters
    ----------
    histories : mapping
        Method to validation RMSE (epochs, n_folds) in % SOC.

    Returns
    -------
    Figure
    """
    figure, panels = _figure(
        3.2 * len(histories), 3, ncols=len(histories), squeeze=False
    )
    for axes, (name, rmse) in zip(panels[0], histories.items(), strict=True):
        epochs = np.arange(1, len(rmse) + 1)
        axes.plot(epochs, rmse, color="#0072B2", alpha=0.3, lw=0.7)
        best_so_far = np.fmin.accumulate(rmse)
        axes.plot(epochs, best_so_far.mean(axis=1), color="#0072B2", lw=2)
        axes.set(title=name, xlabel="epoch", yscale="log")
    panels[0][0].set_ylabel("validation RMSE / %")
    return figure


def plot_gain(gains: pd.DataFrame) -> Figure:
    """Plot each method's gain over the reference with its 95 % interval.

    Parameters
    ----------
    gains : DataFrame
        Index method; columns gain, low, high (% SOC), from `soilnb.study.compare`.

    Returns
    -------
    Figure
    """
    ordered = gains.iloc[::-1]
    figure, axes = _figure(6.5, 0.8 + 0.34 * len(ordered))
    spread = np.abs(ordered[["low", "high"]].sub(ordered["gain"], axis=0)).to_numpy().T
    axes.errorbar(
        ordered["gain"], ordered.index, xerr=spread, fmt="o", color="#0072B2", capsize=3
    )
    axes.axvline(0, color="black", lw=0.8)
    axes.set(xlabel="RMSE of local minus RMSE / %   (right of 0: better than local)")
    return figure


def plot_delta(table: pd.DataFrame) -> Figure:
    """Plot the change in RMSE against local modelling, by method and site (Fig. 4a).

    Parameters
    ----------
    table : DataFrame
        Columns site, method, delta_rmse (percent).

    Returns
    -------
    Figure
    """
    figure, axes = _figure(7.5, 3.6)
    sns.barplot(
        table, x="method", y="delta_rmse", hue="site", palette="colorblind", ax=axes
    )
    axes.axhline(0, color="black", lw=0.8)
    axes.set(xlabel="", ylabel="ΔRMSE against local / percent")
    axes.tick_params(axis="x", rotation=35)
    plt.setp(axes.get_xticklabels(), ha="right")
    return figure


def plot_runs(runs: pd.DataFrame, reference: float) -> Figure:
    """Plot the RMSE of every run as a dot, a row for each kind of run.

    Parameters
    ----------
    runs : DataFrame
        Columns kind and rmse (% SOC), a row for each run; kinds in this order.
    reference : float
        RMSE drawn as a dashed line, that of the local samples alone.

    Returns
    -------
    Figure
    """
    kinds = list(dict.fromkeys(runs["kind"]))
    figure, axes = _figure(6.5, 1 + 0.4 * len(kinds))
    sns.stripplot(
        runs, x="rmse", y="kind", order=kinds, ax=axes, color="#0072B2", jitter=0.15
    )
    axes.axvline(reference, color="#D55E00", ls="--", lw=1)
    axes.set(xlabel="RMSE of the test samples / %", ylabel="")
    return figure


def _mark_features(axes: Any, wavelengths: npt.ArrayLike) -> None:
    """Mark the absorption features within a range at the top of a plot."""
    low, high = np.min(wavelengths), np.max(wavelengths)
    for name, nm in FEATURES_NM.items():
        if low <= nm <= high:
            axes.axvline(nm, color="black", lw=0.7, ls=":")
            axes.annotate(
                name.strip(),
                (nm, 1),
                xycoords=("data", "axes fraction"),
                xytext=(1, -2),
                textcoords="offset points",
                rotation=90,
                va="top",
                fontsize=7,
            )


def plot_band_importance(changes: Mapping[str, pd.DataFrame]) -> Figure:
    """Plot how much each range of bands moves the prediction of networks.

    Parameters
    ----------
    changes : mapping
        Name to a table of `soilnb.cnn.explain.band_importance`, change in % SOC.

    Returns
    -------
    Figure
    """
    figure, axes = _figure(7, 3.6)
    palette = sns.color_palette("colorblind", len(changes))
    for colour, (name, table) in zip(palette, changes.items(), strict=True):
        edges = np.append(table["first_nm"], table["last_nm"].iloc[-1])
        colour = COLOURS.get(name, colour)
        axes.stairs(table["change"], edges, color=colour, lw=1.6, label=name)
    _mark_features(axes, edges)
    axes.set(xlabel="wavelength / nm", ylabel="change of the prediction / %", ylim=0)
    axes.legend(loc="upper right")
    return figure


def plot_filters(filters: pd.DataFrame) -> Figure:
    """Plot where on the spectrum the filters of a network tell samples apart.

    Parameters
    ----------
    filters : DataFrame
        Of `soilnb.cnn.explain.first_filters`: filters in rows, wavelengths (nm) in
        columns; drawn by the wavelength of their maximum, each divided by it.

    Returns
    -------
    Figure
    """
    figure, axes = _figure(7, 4)
    peaks = filters.max(axis=1)
    shown = filters[peaks > 0].div(peaks[peaks > 0], axis=0)
    shown = shown.iloc[np.argsort(shown.to_numpy().argmax(axis=1), kind="stable")]
    nm = shown.columns.to_numpy(dtype=np.float64)
    mesh = axes.pcolormesh(
        nm, np.arange(len(shown)), shown, cmap="cividis", shading="nearest", vmin=0
    )
    _mark_features(axes, nm)
    axes.grid(visible=False)
    axes.set(xlabel="wavelength / nm", ylabel="filters, sorted")
    figure.colorbar(mesh, label="spread between samples / its maximum")
    return figure


def plot_outliers(
    measures: Mapping[str, pd.DataFrame], t2_limit: float, q_limit: float
) -> Figure:
    """Plot T2 against Q of the spectra of each set, with the limits of both.

    Parameters
    ----------
    measures : mapping
        Name to a table with the columns t2 and q, from
        `soilnb.quality.SpectralOutliers`; the first is drawn below the others.
    t2_limit, q_limit : float
        Limits of T2 (dimensionless) and Q (SNV absorbance squared).

    Returns
    -------
    Figure
    """
    figure, axes = _figure(6, 4.4)
    for name, rows in measures.items():
        axes.scatter(
            rows["t2"],
            rows["q"],
            s=8 if name in ("library", "country") else 18,
            color=COLOURS[name],
            alpha=0.5 if name in ("library", "country") else 0.9,
            label=f"{name} (n = {len(rows)})",
            lw=0,
            rasterized=True,  # a library has tens of thousands
        )
    axes.axvline(t2_limit, color="black", lw=0.8, ls="--", label="limits")
    axes.axhline(q_limit, color="black", lw=0.8, ls="--")
    axes.set(
        xlabel="T²: how far out among the components",
        ylabel="Q: what they leave over / (SNV absorbance)²",
        xscale="log",
        yscale="log",
    )
    axes.legend(markerscale=1.5)
    return figure


def plot_noise(
    wavelengths: npt.ArrayLike,
    noise: Mapping[str, npt.NDArray],
    *,
    label: str = "reflectance",
) -> Figure:
    """Plot the noise of each set at each band, with the joints between detectors.

    Parameters
    ----------
    wavelengths : array-like of shape (n_wavelengths,)
        nm.
    noise : mapping
        Name to standard deviations (n_wavelengths,), from `soilnb.quality.noise`;
        sets without a colour in `COLOURS` get one.
    label : str, default "reflectance"
        What the noise is of; reflectance as a fraction.

    Returns
    -------
    Figure
    """
    figure, axes = _figure(7, 3.6)
    palette = sns.color_palette("colorblind", len(noise))
    for colour, (name, level) in zip(palette, noise.items(), strict=True):
        shown = np.where(np.asarray(level) > 0, level, np.nan)  # 0 has no logarithm
        axes.plot(wavelengths, shown, color=COLOURS.get(name, colour), lw=1, label=name)
    for joint in DETECTOR_JUMPS_NM:
        axes.axvline(joint, color="black", lw=0.8, ls=":")
    axes.set(xlabel="wavelength / nm", ylabel=f"noise of {label} (sd)", yscale="log")
    axes.legend()
    return figure
