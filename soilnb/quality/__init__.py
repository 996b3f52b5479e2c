"""Quality control of spectra: copies, outliers, steps between detectors, noise.

Nothing here drops a row or a band. Each function says what it finds; what is done about
it is decided, and said, where the spectra are used.
"""

from soilnb.quality.copies import SAME_REFLECTANCE, duplicated_spectra
from soilnb.quality.instrument import (
    DETECTOR_JUMPS_NM,
    detector_steps,
    find_joints,
    noise,
    noisy_edges,
)
from soilnb.quality.outliers import SpectralOutliers
from soilnb.quality.summary import check_spectra
