"""Deep transfer learning (DTL) from a soil spectral library to a local site.

Instances (DTL-I): library samples that RS-LOCAL selected train beside the local ones.
Representations (DTL-R): a network of the library keeps its first layers and retrains
the others. Both (DTL-IR). After Shen et al. (2022), ISPRS Journal of Photogrammetry
and Remote Sensing 188, 190-200.
"""

from soilnb.transfer.instances import dtl_i
from soilnb.transfer.regional import (
    bayesian_update,
    ensemble_weight,
    gsoilcpm_weights,
    regional_bias,
)
from soilnb.transfer.representations import Retraining, choose_base, dtl_ir, dtl_r
