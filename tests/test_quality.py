"""Quality control of spectra, against algebra, simulation and real files."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from soilnb.datasets import load_farm, load_farms, load_site
from soilnb.preprocessing import absorbance, resample
from soilnb.quality import (
    check_spectra,
    detector_steps,
    duplicated_spectra,
    find_joints,
    noise,
    noisy_edges,
)

NM = np.arange(400.0, 2500.0, 10.0)


@pytest.fixture
def wheatbelt(shared_data, monkeypatch):
    """Reflectance of 391 soils at 350-2500 nm, every nm, as measured."""
    monkeypatch.setenv("SOILNB_DATA", str(shared_data))
    farm = load_site("wheatbelt")
    return farm.reflectance.astype(np.float64), farm.wavelengths


def smooth_spectra(rng, n_samples, wavelengths):
    """Rising, curved reflectances that differ in brightness and in slope."""
    t = (wavelengths - 400) / 2100
    rise = 1 - np.exp(-3 * t)
    return rng.uniform(0.2, 0.5, (n_samples, 1)) + rise * rng.uniform(
        0.05, 0.2, (n_samples, 1)
    )


# Copies


def test_copies_rounded_to_four_decimals_are_found_with_the_first_of_them(rng):
    spectra = smooth_spectra(rng, 40, NM)
    spectra[[20, 30]] = spectra[7].round(4), spectra[7]
    earlier = duplicated_spectra(spectra)
    assert np.flatnonzero(earlier >= 0).tolist() == [20, 30]
    assert earlier[[20, 30]].tolist() == [7, 7]


def test_copies_agree_with_all_pairs(rng):
    centres = rng.uniform(0.1, 0.6, (60, 30))
    spectra = centres[rng.integers(0, 60, 500)] + rng.uniform(-1e-4, 1e-4, (500, 30))
    distances = cdist(spectra, spectra, "chebyshev")
    expected = [
        next((j for j in range(i) if distances[i, j] <= 1.5e-4), -1) for i in range(500)
    ]
    earlier = duplicated_spectra(spectra)
    assert earlier.tolist() == expected
    assert 0 < (earlier >= 0).sum() < 500


def test_only_rows_measured_at_the_same_bands_are_compared():
    full = np.linspace(0.2, 0.4, 20)
    short = np.where(np.arange(20) < 15, full, np.nan)
    nothing = np.full(20, np.nan)
    spectra = [full, short, full, short, nothing, nothing]
    assert duplicated_spectra(spectra).tolist() == [-1, -1, 0, 1, -1, -1]
    # Being a copy is not passed on.
    spectra = np.array([[0.3], [0.3001], [0.3002], [0.30005]]) + np.zeros(5)
    assert duplicated_spectra(spectra).tolist() == [-1, 0, 1, 0]


def test_many_identical_rows_are_no_burden():
    spectra = np.full((64_000, 20), 0.3)
    spectra[1::2] = 0.4
    earlier = duplicated_spectra(spectra)
    assert earlier[:4].tolist() == [-1, -1, 0, 1]
    assert (earlier[2:] == np.arange(63_998) % 2).all()


def test_the_farms_hold_one_copy_and_no_false_one(nirsoil):
    assert (duplicated_spectra(10 ** -nirsoil["absorbance"]) == -1).all()
    # Two soils of Santa Catarina have the same spectrum in the source, to the digit.
    farms = load_farms()
    copies = duplicated_spectra(farms.reflectance)
    ids = farms.info["sample_id"]
    found = {ids[row]: ids[copies[row]] for row in np.flatnonzero(copies >= 0)}
    assert found == {"SC.93-081": "SC.93-080"}
    first, second = farms.reflectance[ids.isin(["SC.93-080", "SC.93-081"])]
    np.testing.assert_array_equal(first, second)


def test_rounding_to_three_decimals_is_neither_a_step_nor_without_noise(rng):
    nm = np.arange(900.0, 1100.0)
    spectra = smooth_spectra(rng, 300, nm).round(3)
    assert detector_steps(spectra, nm, at=range(950, 1050)).is_step.mean() < 2e-3
    # Slopes of 0.1 per 1000 bands: ten bands share a value, most differences are 0.
    nm = np.arange(400.0, 2500.0)
    level = noise(smooth_spectra(rng, 100, nm).round(3), nm)
    assert 1e-5 < np.median(level) < 3e-4


# Steps between detectors


def test_step_worked_by_hand_at_uneven_bands():
    # Left line: 0.30 at 990, 0.31 at 1000, so 0.315 at 1005; right line: 0.35 at 1010,
    # 0.37 at 1030, so 0.345 at 1005: a step of 0.03.
    nm = np.array([*range(900, 1001, 10), 1010, 1030, *range(1040, 1100, 10)])
    spectrum = np.interp(nm, [900, 1000], [0.21, 0.31])
    spectrum[nm > 1000] = np.interp(nm[nm > 1000], [1010, 1090], [0.35, 0.43])
    found = detector_steps([spectrum], nm, at=[1000, 1005])
    np.testing.assert_allclose(found["step"], 0.03)
    assert found["is_step"].all()


def test_a_parabola_has_no_step_and_a_step_has_its_size(rng):
    t = (NM - 1450) / 1000
    curves = 0.4 + rng.uniform(-0.1, 0.1, (5, 3)) @ [t**0, t, t**2]
    size = rng.uniform(-0.01, 0.01, (5, 1))
    steps = detector_steps(curves + size * (NM > 1000), NM)
    at_1000, at_1830 = (steps[steps["joint_nm"] == joint] for joint in (1000, 1830))
    np.testing.assert_allclose(at_1000["step"], size[:, 0], atol=1e-12)
    np.testing.assert_allclose(at_1830["step"], 0, atol=1e-12)
    assert at_1000["is_step"].all()
    assert not at_1830["is_step"].any()


def test_noise_is_hardly_ever_called_a_step(rng):
    spectra = 0.4 + rng.normal(0, 1e-3, (20_000, 40))
    steps = detector_steps(spectra, np.arange(981, 1021), at=[1000])
    assert steps["is_step"].mean() < 1e-3
    # Five times the noise of a difference with weights 1/2, 3/2, 3/2, 1/2.
    assert steps["limit"].min() == pytest.approx(5 * 1e-3 * 5**0.5, rel=0.15)
    assert steps["step"].std() == pytest.approx(1e-3 * 5**0.5, rel=0.03)


@pytest.mark.parametrize("set_name", ["SL.125", "UL.120", "CV.98", "SC.93", "SSP.460"])
def test_curvature_of_real_farms_is_not_called_a_step(set_name):
    farm = load_farm(set_name)
    assert detector_steps(farm.reflectance, farm.wavelengths)["is_step"].mean() < 0.01


def test_a_step_planted_in_a_real_farm_is_found_with_its_size():
    farm = load_farm("UL.120")
    for joint in (1000, 1830):
        planted = farm.reflectance + 0.002 * (farm.wavelengths > joint)
        steps = detector_steps(planted, farm.wavelengths, at=[joint])
        assert steps["is_step"].all()
        assert steps["step"].median() == pytest.approx(0.002, abs=2e-5)


def test_real_spectra_with_a_step_are_found_as_measured_and_at_10_nm(wheatbelt):
    reflectance, nm = wheatbelt
    grid = np.arange(350, 2501, 10)
    for spectra, bands in [
        (reflectance, nm),
        (resample(reflectance, nm, grid), grid),
    ]:
        steps = detector_steps(spectra, bands).groupby("joint_nm")
        assert steps["is_step"].mean()[1000] > 0.75
        assert steps["step"].median()[1000] == pytest.approx(0.0037, abs=2e-4)
        assert steps["is_step"].mean()[1830] == 0


def test_instruments_tell_where_their_detectors_meet(wheatbelt):
    farm = load_farm("SL.125")
    found = find_joints(*wheatbelt)
    assert found["joint_nm"].tolist() == [1000, 1800]
    found = find_joints(farm.reflectance, farm.wavelengths)
    assert found["joint_nm"].tolist() == [970, 1789]


def test_spectra_without_a_step_have_no_joint(nirsoil):
    found = find_joints(10 ** -nirsoil["absorbance"], nirsoil["wavelengths"])
    assert found.columns.tolist() == ["joint_nm", "step", "share"]
    assert len(found) == 0


def test_what_is_not_measured_has_no_step(rng):
    spectra = smooth_spectra(rng, 3, NM)
    spectra[1, NM < 1000] = np.nan
    steps = detector_steps(spectra, NM, at=[395, 400, 1000, 2490, 3000])
    judged = steps["limit"].notna()
    assert steps["joint_nm"][judged].unique().tolist() == [1000]
    assert steps["row"][judged].tolist() == [0, 2]
    assert not steps["is_step"][~judged].any()


# Noise


def test_planted_noise_is_measured_at_its_size(rng):
    sd = np.full(len(NM), 5e-4)
    sd[NM < 500], sd[NM > 2300] = 6e-3, 4e-3
    spectra = smooth_spectra(rng, 800, NM) + rng.normal(size=(800, len(NM))) * sd
    level = noise(spectra, NM)
    away = (np.abs(NM - 495) > 30) & (np.abs(NM - 2305) > 30)
    # The sampling error of a MAD of 800 is 1.17 / sqrt(800) = 4 %.
    np.testing.assert_allclose(level[away], sd[away], rtol=0.17)
    assert np.mean(level[away] / sd[away]) == pytest.approx(1, abs=0.02)
    first, last = noisy_edges(level, NM)  # five bands see the edge two bands early
    assert 500 <= first <= 520
    assert 2280 <= last <= 2300


def test_planted_noise_is_measured_at_uneven_bands(rng):
    nm = np.sort(rng.choice(np.arange(400.0, 1400.0), 300, replace=False))
    cubic = rng.normal(size=(600, 4)) @ ((nm - 900) / 500) ** np.arange(4)[:, None]
    level = noise(cubic + rng.normal(0, 1e-3, cubic.shape), nm)
    assert level.mean() == pytest.approx(1e-3, rel=0.02)
    assert noise(cubic, nm).max() < 1e-10


def test_bad_spectra_do_not_raise_the_noise(rng):
    spectra = smooth_spectra(rng, 400, NM) + rng.normal(0, 1e-3, (400, len(NM)))
    level = noise(spectra, NM).mean()
    spectra[::10] += rng.normal(0, 0.1, (40, len(NM)))
    assert noise(spectra, NM).mean() == pytest.approx(level, rel=0.2)


def test_rows_that_are_not_measured_are_passed_over(rng):
    spectra = 0.4 + rng.normal(0, 1e-3, (60, len(NM)))
    spectra[:30, NM < 600] = np.nan
    spectra[:55, NM > 2000] = np.nan
    level = noise(spectra, NM)
    assert np.isfinite(level[NM < 1950]).all()
    assert np.isnan(level[NM > 2020]).all()
    assert noisy_edges(level, NM) == (None, None)


def test_edges_are_cut_up_to_the_first_quiet_band_only():
    nm = np.arange(400.0, 500.0, 5.0)
    level = np.full(20, 1e-3)
    assert noisy_edges(level, nm) == (None, None)
    level[[0, 1, 10, 19]] = 9e-3
    assert noisy_edges(level, nm) == (410, 490)
    assert noisy_edges(np.minimum(level, 4.9e-3), nm) == (None, None)
    level[0] = np.nan
    assert noisy_edges(level, nm) == (410, 490)
    assert noisy_edges(level / 1000, nm) == (None, None)  # below any rounding


def test_moist_dark_soils_are_noisy_at_both_edges_in_absorbance(nirsoil):
    farm = load_farm("CV.98")
    reflectance = farm.reflectance.astype(np.float64)
    first, last = noisy_edges(
        noise(absorbance(reflectance), farm.wavelengths), farm.wavelengths
    )
    assert 400 < first < 430
    assert 2440 < last < 2480
    # In reflectance they are not: there is hardly any light to be noisy.
    assert noisy_edges(noise(reflectance, farm.wavelengths), farm.wavelengths) == (
        None,
        None,
    )
    nm = nirsoil["wavelengths"]
    assert noisy_edges(noise(nirsoil["absorbance"], nm), nm) == (None, None)


# All checks of one set


def test_the_table_counts_what_was_planted(rng):
    nm = np.arange(900.0, 1100.0)
    spectra = smooth_spectra(rng, 200, nm) + rng.normal(0, 2e-4, (200, 200))
    spectra[:, :12] += rng.normal(0, 5e-3, (200, 12))
    spectra[:40, nm > 1000] += 0.01
    spectra[150] = spectra[10]
    measures = pd.DataFrame(
        {"t2_outlier": np.arange(200) < 7, "q_outlier": np.arange(200) < 3}
    )
    table = check_spectra(spectra, nm, measures).set_index("check")
    assert table["found"].tolist()[:4] == [1, 7, 3, 41]
    assert table["found"]["noisy bands at the short edge"] == pytest.approx(12, abs=2)
    assert table["found"]["noisy bands at the long edge"] == 0
    assert table["of"].tolist() == [200] * 6
    np.testing.assert_allclose(table["share"], table["found"] / 200)
    assert table.index.str.contains("at 1000 nm, above 0.00").sum() == 1
    assert not table.index.str.contains("1830").any()  # not measured there
