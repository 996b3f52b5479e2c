"""The prepared study of one site, and what is asked of it.

A study fixes, once, which rows are local, which are test, which library rows may
be used and which fold every row is in. All models are fitted on what it hands out
and all are scored by it, on the same test samples.
"""

from soilnb.study.prepared import Study, prepare
from soilnb.study.scoring import METHODS, Fits, compare, predict_with, verdict

__all__ = ["METHODS", "Fits", "Study", "compare", "predict_with", "prepare", "verdict"]
