"""Optics of the twin: what soil constituents absorb, and how a soil reflects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilnb._validation import check_choice

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EndMember:
    """What a pure constituent absorbs, relative to the scattering of a loam."""

    floor: float = 0.0  # absorption at all wavelengths
    # Electrons (height at 400 nm, length_nm of the decay); charge transfer, a plateau
    # (height, position_nm, width_nm); vibrations, Gaussian (height, centre_nm, sd_nm).
    decays: tuple[tuple[float, float], ...] = ()
    edges: tuple[tuple[float, float, float], ...] = ()
    bands: tuple[tuple[float, float, float], ...] = ()


# Heights are for a mass fraction of one (water, too), but for the three kinds of
# organic matter, where they are for 1 % of the soil. Positions of bands: Clark (1999),
# Manual of Remote Sensing 3, chapter 1; Stenberg et al. (2010), Advances in Agronomy
# 107, 163-215; Scheinost et al. (1998), Clays and Clay Minerals 46, 528-536 (iron
# oxides). Heights: such that soils look like the real farms of this package.
END_MEMBERS = {
    "quartz": EndMember(floor=0.07, decays=((1.6, 150.0),)),  # and feldspar
    "mafic": EndMember(  # magnetite, pyroxene and other dark minerals, Fe2+
        floor=4.0, decays=((3.0, 400.0),), bands=((1.5, 1050.0, 180.0),)
    ),
    "kaolinite": EndMember(
        floor=0.10,
        decays=((1.5, 180.0),),
        bands=(
            (0.20, 1395.0, 8.0),
            (0.28, 1414.0, 8.0),
            (0.30, 2165.0, 14.0),
            (0.65, 2207.0, 15.0),
            (0.10, 2320.0, 16.0),
            (0.10, 2355.0, 14.0),
            (0.16, 2385.0, 14.0),
            (0.7, 2720.0, 170.0),
        ),
    ),
    "smectite": EndMember(
        floor=0.25,
        decays=((2.4, 230.0),),
        bands=(
            (0.22, 1414.0, 12.0),
            (0.42, 2207.0, 19.0),
            (0.08, 2290.0, 20.0),
            (0.6, 2720.0, 170.0),
        ),
    ),
    "illite": EndMember(  # and mica
        floor=0.30,
        decays=((2.2, 220.0),),
        bands=(
            (0.25, 1100.0, 180.0),
            (0.10, 1412.0, 14.0),
            (0.36, 2205.0, 20.0),
            (0.11, 2345.0, 19.0),
            (0.10, 2440.0, 20.0),
            (0.5, 2720.0, 170.0),
        ),
    ),
    "gibbsite": EndMember(
        floor=0.05,
        decays=((1.0, 180.0),),
        bands=(
            (0.45, 1455.0, 22.0),
            (0.25, 1525.0, 30.0),
            (1.1, 2268.0, 24.0),
            (1.0, 2720.0, 190.0),
        ),
    ),
    "goethite": EndMember(
        floor=0.5,
        edges=((46.0, 540.0, 26.0), (4.0, 740.0, 60.0)),
        bands=((12.0, 480.0, 32.0), (3.0, 650.0, 50.0), (4.5, 925.0, 90.0)),
    ),
    "haematite": EndMember(
        floor=1.5,
        edges=((90.0, 580.0, 16.0), (8.0, 740.0, 45.0)),
        bands=((25.0, 535.0, 30.0), (4.0, 650.0, 45.0), (9.0, 870.0, 65.0)),
    ),
    "carbonate": EndMember(  # calcite and dolomite
        floor=0.03,
        decays=((1.1, 150.0),),
        bands=(
            (0.04, 1870.0, 22.0),
            (0.08, 1995.0, 25.0),
            (0.06, 2160.0, 22.0),
            (0.15, 2300.0, 24.0),
            (0.42, 2338.0, 19.0),
            (0.6, 2530.0, 35.0),
        ),
    ),
    "water": EndMember(  # hygroscopic; each band is steep on its short-wave side
        bands=(
            (0.2, 970.0, 35.0),
            (0.4, 1200.0, 50.0),
            (1.2, 1414.0, 16.0),
            (2.2, 1450.0, 40.0),
            (0.7, 1550.0, 80.0),
            (6.5, 1910.0, 17.0),
            (6.0, 1940.0, 32.0),
            (2.6, 2010.0, 70.0),
            (8.0, 2800.0, 260.0),
        )
    ),
    "fresh": EndMember(  # litter and roots: brown, with bands of C-H and C-O
        floor=0.025,
        decays=((1.25, 125.0),),
        bands=(
            (0.020, 670.0, 18.0),
            (0.008, 1500.0, 70.0),
            (0.007, 1727.0, 16.0),
            (0.005, 1765.0, 16.0),
            (0.022, 2100.0, 60.0),
            (0.011, 2309.0, 18.0),
            (0.008, 2348.0, 16.0),
            (0.12, 2800.0, 280.0),
        ),
    ),
    "humus": EndMember(  # humified: dark brown, weak bands
        floor=0.025,
        decays=((1.55, 260.0),),
        bands=(
            (0.003, 1727.0, 18.0),
            (0.009, 2100.0, 80.0),
            (0.005, 2309.0, 20.0),
            (0.004, 2348.0, 18.0),
            (0.09, 2800.0, 280.0),
        ),
    ),
    "charred": EndMember(floor=0.15, decays=((1.7, 600.0),)),  # black, no bands
}
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
