"""The methods to beat.

Partial least squares regression (PLSR) on local or library samples, spiking and
extra-weighted spiking, random forest and Cubist, a Gaussian process and support
vectors, memory-based learning and LOCAL.
"""

from soilnb.baselines.kernels import fit_gaussian_process, fit_support_vectors
from soilnb.baselines.memory import Local, MemoryBasedLearner
from soilnb.baselines.plsr import (
    fit_plsr,
    fit_plsr_spiked,
    fit_plsr_weighted,
    spiked_local_rmse,
)
from soilnb.baselines.summary import Summary, summarise
from soilnb.baselines.trees import fit_cubist, fit_random_forest
