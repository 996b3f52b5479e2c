"""The mean of a farm after a draw: laboratory alone, or with spectra's help."""

from soilnb.sampling.draws import DRAWN_BY, PROBABILITY_DESIGNS, Draw
from soilnb.sampling.intervals import n_for_half_width, unit_sd
from soilnb.sampling.mean import (
    POPULATIONS,
    MeanEstimate,
    estimate_mean,
    relative_error,
)
from soilnb.sampling.stocks import BULK_DENSITIES_G_CM3, DEPTHS_CM, stock

__all__ = [
    "BULK_DENSITIES_G_CM3",
    "DEPTHS_CM",
    "DRAWN_BY",
    "POPULATIONS",
    "PROBABILITY_DESIGNS",
    "Draw",
    "MeanEstimate",
    "estimate_mean",
    "n_for_half_width",
    "relative_error",
    "stock",
    "unit_sd",
]
