"""Laboratories of the twin: how reflectance and carbon were measured."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilnb._validation import Floats
from soilnb.datasets.twin.optics import MIN_REFLECTANCE
from soilnb.datasets.twin.table_1 import TABLES

DETECTOR_JOINTS_NM = (1000.0, 1830.0)  # silicon to InGaAs, InGaAs to cooled InGaAs
EDGE_NOISE = 6.0  # added to 1 at 400 and at 2500 nm: little light, weak detectors
EDGE_LENGTHS_NM = (25.0, 60.0)  # of the decay of noise from 400 and from 2500 nm
SCAN_GAIN_SD = 0.02  # brightness from scan to scan: packing, distance, lamp
SCAN_STEP_SD = 0.002  # step of a detector from scan to scan: temperature


@dataclass(frozen=True)
class Laboratory:
    """Its spectrometer, drying and carbon method; `twin.toml` explains the fields."""

    method: str
    shift_nm: float
    gain: float
    offset: float
    steps: tuple[float, float]
    noise: float
    humidity: float
    recovery: float
    carbon_error: float


LABORATORIES = {name: Laboratory(*one) for name, one in TABLES["laboratories"].items()}


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
