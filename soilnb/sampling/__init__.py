"""How many samples, where, and what they say: strata, draws, means, change, stocks."""

from soilnb.sampling.allocation import ALLOCATIONS, allocate, mean_variance
from soilnb.sampling.change import (
    Change,
    detectable_change,
    independent_change,
    paired_change,
)
from soilnb.sampling.draws import (
    DRAWN_BY,
    PROBABILITY_DESIGNS,
    Draw,
    draw_from_strata,
)
from soilnb.sampling.intervals import expected_half_width, n_for_half_width, unit_sd
from soilnb.sampling.mean import (
    POPULATIONS,
    MeanEstimate,
    estimate_listed,
    estimate_mean,
    relative_error,
)
from soilnb.sampling.stocks import BULK_DENSITIES_G_CM3, DEPTHS_CM, stock
from soilnb.sampling.strata import STRATA_BY, make_strata, stratum_sd
from soilnb.sampling.target import (
    SAMPLING_DESIGNS,
    assess_strata,
    compare_designs,
    describe_strata,
    judge_stopping,
    simulate_draws,
)
