"""Laboratories of the twin: how reflectance and carbon were measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilnb.datasets.twin.optics import MIN_REFLECTANCE

Floats = npt.NDArray[np.float64]

DETECTOR_JOINTS_NM = (1000.0, 1830.0)  # silicon to InGaAs, InGaAs to cooled InGaAs
EDGE_NOISE = 6.0  # added to 1 at 400 and at 2500 nm: little light, weak detectors
EDGE_LENGTHS_NM = (25.0, 60.0)  # of the decay of noise from 400 and from 2500 nm
SCAN_GAIN_SD = 0.02  # brightness from scan to scan: packing, distance, lamp
SCAN_STEP_SD = 0.002  # step of a detector from scan to scan: temperature


@dataclass(frozen=True)
class Laboratory:
    """One laboratory: its spectrometer, its drying of soil, its carbon method."""

    method: str  # of measuring carbon
    shift_nm: float  # a band is measured this far above the wavelength it is said to be
    gain: float  # reflectance is multiplied by it (white reference) ...
    offset: float  # ... then this is added (stray light, dark current)
    steps: tuple[float, float]  # relative error of the first and the third detector
    noise: float  # sd of reflectance at 10 nm, away from the edges
    humidity: float  # water relative to air-dry soil at 50 % relative humidity
    recovery: float  # share of the true carbon that the method reports
    carbon_error: float  # sd of the logarithm of reported carbon, for the same soil


# Carbon: wet oxidation after Walkley and Black finds 0.75-0.9 of it where no factor is
# applied, and too much where 1.3 is applied to soils that need less; dry combustion
# finds all, and some carbonate; loss on ignition with one factor for all soils is high.
# No method repeats itself better than 5 % on subsamples of a soil. Spectrometers: about
# 1 nm, some % of white reference and under 1 % at a joint of detectors separate good
# instruments. Drying: from 105 degrees Celsius (little water left) to humid air.
# fmt: off
LABORATORIES = {
    # method, shift_nm, gain, offset, steps,
    #                noise, humidity, recovery, carbon_error
    "A": Laboratory("wet oxidation",     0.9, 0.96,  0.004, ( 0.004, -0.006),
                     12e-5, 1.15, 0.86, 0.08),
    "B": Laboratory("heated oxidation", -0.7, 1.03, -0.001, (-0.006,  0.003),
                     20e-5, 0.95, 0.95, 0.06),
    "C": Laboratory("dry combustion",    0.2, 1.00,  0.002, ( 0.001,  0.002),
                      4e-5, 0.90, 1.00, 0.05),
    "D": Laboratory("loss on ignition", -1.2, 0.94,  0.012, ( 0.008, -0.004),
                      8e-5, 0.70, 1.08, 0.10),
    "E": Laboratory("dry combustion",    0.4, 1.02,  0.000, (-0.003, -0.002),
                      6e-5, 0.85, 1.00, 0.05),
    "F": Laboratory("dry combustion",   -0.3, 0.98,  0.003, ( 0.002,  0.005),
                      8e-5, 0.75, 1.02, 0.06),
    "G": Laboratory("wet oxidation",     1.1, 1.05, -0.002, (-0.008,  0.008),
                     15e-5, 1.25, 0.80, 0.10),
    "H": Laboratory("oxidation x 1.3",  -0.9, 0.92,  0.008, ( 0.005, -0.009),
                     30e-5, 1.10, 1.06, 0.08),
}
# fmt: on


def true_carbon(
    reported: Floats, laboratory: Laboratory, rng: np.random.Generator
) -> Floats:
    """Return the carbon (%) that colours the soils a laboratory reported on."""
    error = laboratory.carbon_error * rng.normal(size=len(reported))
    return reported / laboratory.recovery * np.exp(error)


def measured(
    reflectance: Floats,
    wavelengths: Floats,
    laboratory: Laboratory,
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Return the scans by a laboratory of soils at its shifted wavelengths."""
    n = len(reflectance)
    gain = laboratory.gain * np.exp(SCAN_GAIN_SD * rng.normal(size=n))
    scans = reflectance * gain[:, None]
    first, third = DETECTOR_JOINTS_NM
    detectors = (wavelengths <= first, wavelengths > third)
    for detector, step in zip(detectors, laboratory.steps, strict=True):
        scan_step = 1 + step + SCAN_STEP_SD * rng.normal(size=n)
        scans[:, detector] *= scan_step[:, None]
    scans += laboratory.offset
    scans += noise_sd(wavelengths, laboratory) * rng.normal(size=scans.shape)
    return np.maximum(scans, MIN_REFLECTANCE).astype(np.float32)


def noise_sd(wavelengths: Floats, laboratory: Laboratory) -> Floats:
    """Return the standard deviation of a scan's noise at each wavelength."""
    blue, infrared = EDGE_LENGTHS_NM
    edges = np.exp((400 - wavelengths) / blue) + np.exp((wavelengths - 2500) / infrared)
    return laboratory.noise * (1 + EDGE_NOISE * edges)
