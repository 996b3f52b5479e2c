import numpy as np
import pytest

from soilnb.preprocessing import (
    PREPROCESSINGS,
    absorbance,
    band_depth,
    derivative,
    reflectance,
    resample,
    snv,
    working_grid,
)


def test_absorbance_is_the_logarithm_of_one_over_reflectance():
    # log10(1 / 0.1) = 1, log10(1 / 0.01) = 2, log10(1 / 1) = 0
    assert np.allclose(absorbance([[0.1, 0.01, 1.0]]), [[1, 2, 0]])


def test_reflectance_undoes_absorbance_and_leaves_its_input_alone():
    fractions = np.random.default_rng(1).uniform(0.01, 1.4, (5, 8))
    before = fractions.copy()
    assert np.allclose(reflectance(absorbance(fractions)), before)
    assert np.array_equal(fractions, before)


def test_snv_of_a_straight_line_is_worked_out_by_hand():
    # mean 2, deviations -1 0 1, sd with n - 1 is 1; twice as steep gives the same
    assert np.allclose(snv([[1, 2, 3], [10, 12, 14]]), [[-1, 0, 1], [-1, 0, 1]])


def test_snv_rows_have_mean_0_and_sd_1():
    scaled = snv(np.random.default_rng(2).uniform(0, 1, (6, 50)))
    assert np.allclose(scaled.mean(axis=1), 0)
    assert np.allclose(scaled.std(axis=1, ddof=1), 1)


def test_snv_ignores_offset_and_scale_of_a_spectrum():
    spectra = np.random.default_rng(3).uniform(0, 1, (4, 30))
    assert np.allclose(snv(3 * spectra + 0.5), snv(spectra))


def test_snv_agrees_with_prospectr_on_nirsoil(nirsoil):
    # prospectr::standardNormalVariate, maximum of the first spectrum
    assert snv(nirsoil["absorbance"][:1]).max() == pytest.approx(2.63444, abs=5e-6)


def test_working_grid_is_the_multiples_of_10_inside_both_ranges():
    grid = working_grid(np.arange(355, 2494), (420, 2480))
    assert np.array_equal(grid, np.arange(420, 2481, 10))
    # 1003 rounds up to 1010, 2397 down to 2390
    assert working_grid([1003, 2397])[[0, -1]].tolist() == [1010, 2390]


def test_resample_is_linear_and_keeps_measured_bands():
    # 405 lies half way between 0.2 and 0.4; 418 at 0.8 between 0.4 and 0.3
    result = resample([[0.2, 0.4, 0.3]], [400, 410, 420], [400, 405, 418, 420])
    assert np.allclose(result, [[0.2, 0.3, 0.32, 0.3]])
    assert result.dtype == np.float64


def test_resample_never_extrapolates():
    result = resample(np.ones((2, 2)), [400, 420], [390, 400, 420, 430])
    assert np.array_equal(np.isnan(result[0]), [True, False, False, True])


def test_resample_keeps_a_measured_band_beside_a_missing_one():
    result = resample([[1.0, 2.0, np.nan]], [400, 410, 420], [400, 410, 415, 420])
    assert np.array_equal(result, [[1.0, 2.0, np.nan, np.nan]], equal_nan=True)


def test_resample_agrees_with_numpy_interp():
    rng = np.random.default_rng(4)
    wavelengths = np.sort(rng.uniform(400, 900, 60))
    spectra = rng.uniform(0, 1, (5, 60)).astype(np.float32)
    grid = np.arange(410, 890, 7.0)
    grid = grid[(grid > wavelengths[0]) & (grid < wavelengths[-1])]
    expected = [np.interp(grid, wavelengths, row) for row in spectra]
    assert np.allclose(resample(spectra, wavelengths, grid), expected)


def test_band_depth_is_measured_from_the_line_between_the_shoulders():
    # At 2190 nm the line from 0.4 (2150) to 0.6 (2250) is 0.48; 1 - 0.36 / 0.48 = 0.25.
    nm = [2150.0, 2190.0, 2250.0]
    depth = band_depth([[0.4, 0.36, 0.6], [0.4, 0.48, 0.6]], nm, (2150, 2250), 2190)
    np.testing.assert_allclose(depth, [0.25, 0.0], atol=1e-12)


def test_derivative_of_a_parabola_is_exact_to_the_edges():
    # x squared has slope 2 x, and a polynomial of degree 2 fits it without error
    x = np.arange(15.0)
    assert np.allclose(derivative([x**2, 3 * x + 7]), [2 * x, np.full(15, 3.0)])


def test_derivative_is_the_slope_of_a_fit_to_each_window():
    spectra = np.random.default_rng(4).normal(size=(3, 12))
    slopes = derivative(spectra, window_length=5, polyorder=3)
    offsets = np.arange(-2, 3)
    for row in range(3):
        for band in range(2, 10):
            fit = np.polynomial.Polynomial.fit(
                offsets, spectra[row, band - 2 : band + 3], 3, domain=[-1, 1]
            )
            assert slopes[row, band] == pytest.approx(fit.deriv()(0.0))


def test_derivative_agrees_with_prospectr_on_nirsoil(nirsoil):
    # prospectr::savitzkyGolay(m = 1, p = 1, w = 3), largest of the first spectrum
    slopes = derivative(nirsoil["absorbance"][:1], window_length=3, polyorder=1)
    assert np.abs(slopes[:, 1:-1]).max() == pytest.approx(0.00528, abs=5e-6)


def test_derivative_ignores_an_offset():
    spectra = np.random.default_rng(5).normal(size=(3, 30))
    assert np.allclose(derivative(spectra + 4), derivative(spectra))


def test_preprocessings_start_from_reflectance():
    fractions = np.random.default_rng(6).uniform(0.1, 0.9, (4, 20))
    made = {name: function(fractions) for name, function in PREPROCESSINGS.items()}
    assert np.array_equal(made["reflectance"], fractions)
    assert np.allclose(made["SNV of absorbance"], snv(made["absorbance"]))
    assert np.allclose(
        made["first derivative of absorbance"], derivative(made["absorbance"])
    )
