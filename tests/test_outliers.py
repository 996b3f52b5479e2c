"""Outliers among spectra by T2 and Q, against algebra and simulation."""

import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn.utils.estimator_checks import check_estimator

from soilnb.quality import SpectralOutliers


def sample_with(rng, n_samples, eigenvalues):
    """Rows whose covariance is diagonal with these eigenvalues, exactly."""
    contrasts = rng.normal(size=(n_samples, len(eigenvalues)))
    contrasts = np.linalg.qr(contrasts - contrasts.mean(axis=0))[0]
    return contrasts * np.sqrt((n_samples - 1) * np.asarray(eigenvalues))


def test_two_bands_worked_by_hand():
    # Means are 0 and the bands are uncorrelated, so the component is the first band,
    # of variance 10 / 4 = 2.5; the second has 0.04 / 4 = 0.01 left for Q.
    X = [[-2.0, 0.1], [-1.0, -0.1], [0.0, 0.0], [1.0, -0.1], [2.0, 0.1]]
    outliers = SpectralOutliers(n_components=1).fit(X)
    measures = outliers.measure([[5.0, 0.0], [0.0, 0.5]])
    np.testing.assert_allclose(measures["t2"], [25 / 2.5, 0], atol=1e-12)
    np.testing.assert_allclose(measures["q"], [0, 0.25], atol=1e-12)
    assert outliers.explained_ == pytest.approx(2.5 / 2.51)
    # F(0.99; 1, 4) = 21.198: 1 (25 - 1) / (5 (5 - 1)) F.
    assert outliers.t2_limit_ == pytest.approx(1.2 * 21.1977, rel=1e-5)
    # Fitted rows: at most (n - 1)^2 / n = 3.2, and Beta(1/2, 3/2) is F / (F + 3) with
    # F(0.99; 1, 3) = 34.116.
    assert outliers.t2_limit_fitted_ == pytest.approx(3.2 * 34.116 / 37.116, rel=1e-5)
    # One eigenvalue: chi-square(0.99; 1) = 6.6349, exactly; wider for new rows.
    assert outliers.q_limit_fitted_ == pytest.approx(0.01 * 6.634897, rel=1e-6)
    assert outliers.q_limit_ == pytest.approx(0.01 * 6.634897 * 4 / 3 * 7 / 5, rel=1e-6)


def test_t2_and_q_agree_with_the_eigenvectors_of_the_covariance(rng):
    X = rng.normal(size=(60, 12)) @ rng.normal(size=(12, 12)) + 3
    new = rng.normal(size=(7, 12)) * 4
    values, vectors = np.linalg.eigh(np.cov(X.T))
    values, vectors = values[::-1], vectors[:, ::-1]
    centred = new - X.mean(axis=0)
    inside = vectors[:, :4] @ np.diag(1 / values[:4]) @ vectors[:, :4].T
    outside = np.eye(12) - vectors[:, :4] @ vectors[:, :4].T
    outliers = SpectralOutliers(n_components=4).fit(X)
    measures = outliers.measure(new)
    np.testing.assert_allclose(measures["t2"], [c @ inside @ c for c in centred])
    np.testing.assert_allclose(measures["q"], [c @ outside @ c for c in centred])
    np.testing.assert_allclose(outliers.variances_, values[:4])


@pytest.mark.parametrize("shape", [(200, 30), (25, 80)])
def test_t2_and_q_of_the_fitted_rows_have_known_sums(rng, shape):
    n = shape[0]
    X = rng.normal(size=shape) * np.geomspace(10, 0.1, shape[1])
    outliers = SpectralOutliers(n_components=5).fit(X)
    measures = outliers.measure(X, is_new=False)
    total = ((X - X.mean(axis=0)) ** 2).sum()
    assert measures["t2"].sum() == pytest.approx(5 * (n - 1))
    left_over = total - (n - 1) * outliers.variances_.sum()
    assert measures["q"].sum() == pytest.approx(left_over)
    assert outliers.explained_ == pytest.approx(1 - left_over / total)


def alarms(rng, n_rows, confidence):
    """Shares above the limits of T2 and Q: 80 normal libraries x (new, fitted) x 2."""
    scale = 1 / np.arange(1, 26)  # falls off as the eigenvalues of spectra do
    flags = ["t2_outlier", "q_outlier"]
    shares = []
    for _ in range(80):
        X = rng.normal(size=(n_rows, 25)) * scale
        outliers = SpectralOutliers(n_components=5, confidence=confidence).fit(X)
        new = outliers.measure(rng.normal(size=(500, 25)) * scale)
        fitted = outliers.measure(X, is_new=False)
        shares.append([new[flags].mean(), fitted[flags].mean()])
    return np.array(shares)


@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_false_alarms_on_normal_spectra_are_as_many_as_promised(rng, confidence):
    shares = alarms(rng, 300, confidence)
    error = shares.std(axis=0, ddof=1) / 80**0.5  # of the mean of 80 libraries
    # The largest of estimated eigenvalues are too large, the others too small: 5 %.
    allowed = 4 * error + 0.05 * (1 - confidence)
    assert (np.abs(shares.mean(axis=0) - (1 - confidence)) < allowed).all()


def test_a_small_library_gives_no_more_false_alarms_on_new_spectra(rng):
    # 60 rows: without the wider limit, Q would alarm at 3 to 4 % of new spectra.
    t2, q = alarms(rng, 60, 0.99).mean(axis=0)[0]
    assert t2 < 0.011
    assert q < 0.016


def test_limit_of_q_meets_its_share_where_jackson_and_mudholkar_miss_it(rng):
    # Eigenvalues 1 / k^2: h0 is near 0, and their limit leaves out every other alarm.
    eigenvalues = 1 / np.arange(1, 51.0) ** 2
    q = (rng.normal(size=(100_000, 50)) ** 2) @ eigenvalues
    X = sample_with(rng, 1000, [9, *eigenvalues])
    outliers = SpectralOutliers(n_components=1).fit(X)
    assert (q > outliers.q_limit_fitted_).mean() == pytest.approx(0.01, abs=0.0012)
    first, second, third = (np.sum(eigenvalues**power) for power in (1, 2, 3))
    h0 = 1 - 2 * first * third / (3 * second**2)
    spread = stats.norm.ppf(0.99) * np.sqrt(2 * second * h0**2) / first
    limit = first * (1 + spread + second * h0 * (h0 - 1) / first**2) ** (1 / h0)
    assert (q > limit).mean() < 0.007


def test_limit_of_q_agrees_with_jackson_and_mudholkar_on_equal_eigenvalues(rng):
    X = sample_with(rng, 500, [9] + 20 * [1])
    ours = SpectralOutliers(n_components=1).fit(X).q_limit_fitted_
    # h0 = 1/3 with 20 equal eigenvalues: 20 (1 - 2 / 180 + z sqrt(2 / 180))^3.
    theirs = 20 * (1 - 2 / 180 + stats.norm.ppf(0.99) * np.sqrt(2 / 180)) ** 3
    assert ours == pytest.approx(theirs, rel=2e-3)


def test_an_extreme_mixture_is_found_by_t2_and_a_foreign_band_by_q(rng):
    loadings = np.linalg.qr(rng.normal(size=(30, 4)))[0].T
    X = rng.normal(size=(300, 3)) * [5, 3, 2] @ loadings[:3]
    X += rng.normal(0, 0.05, X.shape)
    outliers = SpectralOutliers(n_components=3).fit(X)
    in_the_plane = X.mean(axis=0) + 6 * 5 * loadings[0]
    off_the_plane = X.mean(axis=0) + 2 * loadings[3]
    found = outliers.measure([in_the_plane, off_the_plane, X.mean(axis=0)])
    assert found["t2_outlier"].tolist() == [True, False, False]
    assert found["q_outlier"].tolist() == [False, True, False]


def test_fewest_components_that_explain_the_share_are_taken(rng):
    X = sample_with(rng, 100, [80, 15, 4, 0.9, 0.1])
    for explained, expected in [(0.7, 1), (0.9, 2), (0.96, 3), (0.995, 4)]:
        assert SpectralOutliers(explained=explained).fit(X).n_components_ == expected


def test_spectra_are_measured_one_by_one_and_not_changed(rng):
    X = rng.normal(size=(50, 10))
    before = X.copy()
    outliers = SpectralOutliers(n_components=3).fit(X)
    alone = outliers.measure(X[7:8])
    np.testing.assert_allclose(outliers.measure(X)["q"][7], alone["q"][0])
    np.testing.assert_array_equal(X, before)


def test_outliers_keep_the_estimator_contract():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checks that scikit-learn skips
        check_estimator(SpectralOutliers(n_components=1))
