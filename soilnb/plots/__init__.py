"""Every figure, in one style: units on the axes, colours that all readers can tell."""

from soilnb.plots.models import (
    plot_components,
    plot_delta,
    plot_frequency,
    plot_gain,
    plot_history,
    plot_measured_predicted,
    plot_rmse,
    plot_runs,
)
from soilnb.plots.networks import (
    plot_band_importance,
    plot_filters,
    plot_training,
    plot_trials,
)
from soilnb.plots.samples import (
    plot_curves,
    plot_fields,
    plot_noise,
    plot_outliers,
    plot_scores_pairs,
    plot_soc,
    plot_spectra,
)
from soilnb.plots.style import COLOURS, FEATURES_NM

__all__ = [
    "COLOURS",
    "FEATURES_NM",
    "plot_band_importance",
    "plot_components",
    "plot_curves",
    "plot_delta",
    "plot_fields",
    "plot_filters",
    "plot_frequency",
    "plot_gain",
    "plot_history",
    "plot_measured_predicted",
    "plot_noise",
    "plot_outliers",
    "plot_rmse",
    "plot_runs",
    "plot_scores_pairs",
    "plot_soc",
    "plot_spectra",
    "plot_training",
    "plot_trials",
]
