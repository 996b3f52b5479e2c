"""Every figure, in one style: units on the axes, colours that all readers can tell."""

from soilnb.plots.comparison import plot_choice, plot_learning_curve, plot_sites
from soilnb.plots.contrastive import (
    CONTRASTIVE_MODELS,
    plot_contrastive_loss,
    plot_label_curves,
    plot_paired,
    plot_readouts,
    plot_retrieval_and_use,
)
from soilnb.plots.delta import plot_delta
from soilnb.plots.farm import (
    POPULATIONS,
    plot_blend_weights,
    plot_draws,
    plot_estimates,
    plot_farm_map,
    plot_farm_mean,
)
from soilnb.plots.layers import (
    LAYER_MODELS,
    plot_layer_correlations,
    plot_layer_leaks,
    plot_layer_map,
    plot_sparse_layers,
)
from soilnb.plots.maps import has_coordinates, plot_fields, plot_map, plot_point_map
from soilnb.plots.models import (
    plot_components,
    plot_crews,
    plot_frequency,
    plot_gain,
    plot_history,
    plot_measured_predicted,
    plot_rmse,
    plot_runs,
    plot_weights,
)
from soilnb.plots.networks import (
    plot_band_importance,
    plot_depths,
    plot_filters,
    plot_training,
    plot_trials,
)
from soilnb.plots.regional import (
    plot_coverage,
    plot_ensemble_weights,
    plot_gain_by_skill,
    plot_gains,
    plot_levels,
    plot_paths,
    plot_regions,
    plot_schemes,
)
from soilnb.plots.samples import (
    plot_curves,
    plot_noise,
    plot_outliers,
    plot_scores_pairs,
    plot_soc,
    plot_spectra,
)
from soilnb.plots.sampling import (
    DESIGN_LABELS,
    plot_allocation,
    plot_design_errors,
    plot_needed,
    plot_stops,
    plot_strata,
    plot_worth,
)
from soilnb.plots.story import plot_by_farm, plot_curve_over_farms, plot_farm_card
from soilnb.plots.style import COLOURS, FEATURES_NM
