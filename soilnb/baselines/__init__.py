"""The methods to beat.

Partial least squares regression (PLSR) on local or library samples, spiking and
extra-weighted spiking, random forest and Cubist, memory-based learning and LOCAL.
"""

from soilnb.baselines.memory import Local, MemoryBasedLearner
from soilnb.baselines.plsr import fit_plsr, fit_plsr_spiked, spiked_local_rmse
from soilnb.baselines.trees import fit_cubist, fit_random_forest

__all__ = [
    "Local",
    "MemoryBasedLearner",
    "fit_cubist",
    "fit_plsr",
    "fit_plsr_spiked",
    "fit_random_forest",
    "spiked_local_rmse",
]
