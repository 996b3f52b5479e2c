"""Optics of the twin: what soil constituents absorb, and how a soil reflects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilnb._validation import Floats, check_choice
from soilnb.datasets.twin.table_1 import TABLES


@dataclass(frozen=True)
class EndMember:
    """What a pure constituent absorbs; `twin.toml` explains the fields."""

    floor: float = 0.0
    decays: Sequence[tuple[float, float]] = ()
    edges: Sequence[tuple[float, float, float]] = ()
    bands: Sequence[tuple[float, float, float]] = ()


END_MEMBERS = {name: EndMember(**one) for name, one in TABLES["end_members"].items()}
ORGANIC = ("fresh", "humus", "charred")

SCATTERING_NM = 1000.0  # wavelength at which scattering is 1 for a loam
MIN_REFLECTANCE = 0.004  # no dark current or noise takes a white-referenced scan below


@dataclass(frozen=True)
class Soils:
    """What samples consist of, as far as light is concerned."""

    amounts: dict[str, Floats]  # mass fractions; % of organic matter that shows
    scattering: Floats  # at 1000 nm, relative to a loam
    exponent: Floats  # scattering is wavelength to the power of minus this


def absorption(end_member: str, wavelengths: npt.ArrayLike) -> Floats:
    """Return a constituent's absorption per mass fraction (organic matter: per %)."""
    check_choice(end_member, "end-member", END_MEMBERS)
    member = END_MEMBERS[end_member]
    nm = np.asarray(wavelengths, dtype=np.float64)
    total = np.full(nm.shape, member.floor)
    for height, length in member.decays:
        total += height * np.exp(-(nm - 400) / length)
    for height, position, width in member.edges:
        total += height / (1 + np.exp((nm - position) / width))
    for height, centre, sd in member.bands:
        total += height * np.exp(-0.5 * ((nm - centre) / sd) ** 2)
    return total


def kubelka_munk(absorption_to_scattering: npt.ArrayLike) -> Floats:
    """Return the reflectance 1 + K/S - sqrt((K/S)^2 + 2 K/S) of an opaque layer."""
    # Kubelka & Munk (1931), Zeitschrift fuer technische Physik 12, 593-601.
    ratio = np.asarray(absorption_to_scattering, dtype=np.float64)
    # The same as the formula above without its cancellation for dark soils.
    return 1 / (1 + ratio + np.sqrt(ratio * (ratio + 2)))


def soil_reflectance(soils: Soils, wavelengths: npt.ArrayLike) -> Floats:
    """Return the true reflectance of soils, a fraction (n_samples, n_wavelengths)."""
    nm = np.asarray(wavelengths, dtype=np.float64)
    ratio = np.zeros((len(soils.scattering), len(nm)))
    # One by one: the last digits of a matrix product depend on the number of threads.
    for end_member, amount in soils.amounts.items():
        ratio += amount[:, None] * absorption(end_member, nm)
    ratio /= soils.scattering[:, None]
    ratio *= np.exp(soils.exponent[:, None] * np.log(nm / SCATTERING_NM))
    return kubelka_munk(ratio)


def one_soil(amounts: Mapping[str, float], wavelengths: npt.ArrayLike) -> Floats:
    """Return the reflectance of one soil that scatters as a loam."""
    one = np.ones(1)
    arrays = {name: amount * one for name, amount in amounts.items()}
    return soil_reflectance(Soils(arrays, one, 0.3 * one), wavelengths)[0]
