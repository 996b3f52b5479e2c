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


def test_reflectance_undoes_absorbance_and_leaves_its_input_alone():
    fractions = np.random.default_rng(1).uniform(0.01, 1.4, (5, 8))
    before = fractions.copy()
    assert np.allclose(reflectance(absorbance(fractions)), before)
    assert np.array_equal(fractions, before)


def test_snv_rows_have_mean_0_and_sd_1():
    scaled = snv(np.random.default_rng(2).uniform(0, 1, (6, 50)))
    assert np.allclose(scaled.mean(axis=1), 0)
    assert np.allclose(scaled.std(axis=1, ddof=1), 1)


NM, LINE = [400, 410, 420], np.arange(15.0)
WORKED = [
    # log10(1 / 0.1) = 1, log10(1 / 0.01) = 2, log10(1 / 1) = 0
    (absorbance([[0.1, 0.01, 1.0]]), [[1, 2, 0]]),
    # mean 2, deviations -1 0 1, sd with n - 1 is 1; twice as steep gives the same
    (snv([[1, 2, 3], [10, 12, 14]]), [[-1, 0, 1], [-1, 0, 1]]),
    # 405 lies half way between 0.2 and 0.4; 418 at 0.8 between 0.4 and 0.3
    (resample([[0.2, 0.4, 0.3]], NM, [400, 405, 418, 420]), [[0.2, 0.3, 0.32, 0.3]]),
    # never extrapolated; what was measured stays beside what was not
    (resample(np.ones((1, 2)), [400, 420], [390, 400, 430]), [[np.nan, 1, np.nan]]),
    (resample([[1, 2, np.nan]], NM, [400, 410, 415, 420]), [[1, 2, np.nan, np.nan]]),
    # At 2190 nm the line from 0.4 (2150) to 0.6 (2250) is 0.48; 1 - 0.36 / 0.48 = 0.25.
    (
        band_depth([[0.4, 0.36, 0.6]], [2150.0, 2190.0, 2250.0], (2150, 2250), 2190),
        [0.25],
    ),
    # x squared has slope 2 x, and a polynomial of degree 2 fits it without error
    (derivative([LINE**2, 3 * LINE + 7]), [2 * LINE, np.full(15, 3.0)]),
]


@pytest.mark.parametrize(("found", "expected"), WORKED)
def test_values_worked_by_hand(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found.dtype == np.float64


def test_snv_and_derivative_agree_with_prospectr_on_nirsoil(nirsoil):
    # prospectr::standardNormalVariate and savitzkyGolay(m = 1, p = 1, w = 3), largest
    # of the first spectrum
    first = nirsoil["absorbance"][:1]
    assert snv(first).max() == pytest.approx(2.63444, abs=5e-6)
    slopes = derivative(first, window_length=3, polyorder=1)
    assert np.abs(slopes[:, 1:-1]).max() == pytest.approx(0.00528, abs=5e-6)


def test_working_grid_is_the_multiples_of_10_inside_both_ranges():
    grid = working_grid(np.arange(355, 2494), (420, 2480))
    assert np.array_equal(grid, np.arange(420, 2481, 10))
    # 1003 rounds up to 1010, 2397 down to 2390
    assert working_grid([1003, 2397])[[0, -1]].tolist() == [1010, 2390]


def test_resample_agrees_with_numpy_interp():
    rng = np.random.default_rng(4)
    wavelengths = np.sort(rng.uniform(400, 900, 60))
    spectra = rng.uniform(0, 1, (5, 60)).astype(np.float32)
    grid = np.arange(410, 890, 7.0)
    grid = grid[(grid > wavelengths[0]) & (grid < wavelengths[-1])]
    expected = [np.interp(grid, wavelengths, row) for row in spectra]
    assert np.allclose(resample(spectra, wavelengths, grid), expected)


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


def test_preprocessings_start_from_reflectance():
    fractions = np.random.default_rng(6).uniform(0.1, 0.9, (4, 20))
    made = {name: function(fractions) for name, function in PREPROCESSINGS.items()}
    assert np.array_equal(made["reflectance"], fractions)
    assert np.allclose(made["SNV of absorbance"], snv(made["absorbance"]))
    assert np.allclose(
        made["first derivative of absorbance"], derivative(made["absorbance"])
    )
