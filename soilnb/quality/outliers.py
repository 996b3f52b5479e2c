"""Spectra unlike those of a library: T2 and Q on its principal components."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from soilnb._validation import Floats, check_int
from soilnb.quality.checks import check_share


class SpectralOutliers(BaseEstimator):
    """Outliers by T2 and Q on the principal components of a library.

    T2 is large where a spectrum lies far out among the components, an extreme
    mixture of what the library knows; Q is large where the components do not
    describe it, something that the library does not know.

    Parameters
    ----------
    n_components : int, optional
        Number of components; by default as many as `explained` asks for.
    explained : float, default 0.99
        Share of the variance that the components explain, between 0 and 1.
    confidence : float, default 0.99
        Share of ordinary spectra that lie below each limit, between 0 and 1.

    Attributes
    ----------
    n_components_, n_features_in_ : int
        Number of components, A, and of wavelengths.
    mean_, components_, variances_ : ndarray
        Mean spectrum, orthonormal loadings (A, n_wavelengths), and variances (A,) of
        the scores, divided by n - 1.
    explained_ : float
        Share of the variance that the components explain.
    t2_limit_, q_limit_, t2_limit_fitted_, q_limit_fitted_ : float
        Limits for new spectra, and for those that the components were fitted on.

    Notes
    -----
    With scores t, T2 is the sum of t squared / variance over the components
    (Hotelling); Q is the sum of squares of what the components leave over, in the
    squared unit of the spectra. The limits assume normal spectra, and real libraries
    are mixtures: take them as a scale, not as a test.

    T2 of a new spectrum follows A (n^2 - 1) / (n (n - A)) F(A, n - A), that of a fitted
    one, which has drawn the components towards itself, (n - 1)^2 / n Beta(A / 2, (n - A
    - 1) / 2) (Tracy, Young and Mason 1992, Journal of Quality Technology 24(2), 88-95).
    The limit of Q is from the chi-square with the first three moments of a sum of
    squared normals weighted by the eigenvalues left over (Imhof 1961, Biometrika
    48(3-4), 419-426); that of Jackson and Mudholkar (1979, Technometrics 21(3),
    341-349) is too wide for spectra (at 0.99 it finds one in 170), the two-moment one
    too narrow (one in 70). For new spectra it is (n - 1) / (n - 1 - A) (1 + (A + 1) /
    n) times wider, as A components take up some of the noise of n spectra. Where n is
    only some tens, T2 of new spectra and Q of fitted ones are on the safe side (n = 60,
    A = 5: one alarm in 200 at 0.99).

    Examples
    --------
    >>> X = [[-2.0, 0.1], [-1.0, -0.1], [0.0, 0.0], [1.0, -0.1], [2.0, 0.1]]
    >>> outliers = SpectralOutliers(n_components=1).fit(X)
    >>> outliers.measure([[5.0, 0.0], [0.0, 0.5]]).round(2)
         t2     q  t2_outlier  q_outlier
    0  10.0  0.00       False      False
    1   0.0  0.25       False       True
    """

    def __init__(
        self,
        n_components: int | None = None,
        explained: float = 0.99,
        confidence: float = 0.99,
    ) -> None:
        self.n_components = n_components
        self.explained = explained
        self.confidence = confidence

    def fit(self, X: npt.ArrayLike, y: object = None) -> SpectralOutliers:  # noqa: ARG002
        """Fit mean, components and limits to at least three spectra, without `y`."""
        check_share(self.explained, "explained")
        check_share(self.confidence, "confidence")
        least = {"ensure_min_samples": 3, "ensure_min_features": 2}
        spectra = validate_data(self, X, dtype=np.float64, **least)
        self.mean_ = spectra.mean(axis=0)
        # The triangle has the singular values of the spectra, and p rows at most.
        triangle = np.linalg.qr(spectra - self.mean_, mode="r")
        _, singular, components = np.linalg.svd(triangle, full_matrices=False)
        rounding = singular[0] * max(spectra.shape) * np.finfo(np.float64).eps
        eigenvalues = singular[singular > rounding] ** 2 / (len(spectra) - 1)
        size = self._choose_n_components(eigenvalues)
        self.n_components_ = size
        self.components_ = components[:size]
        self.variances_ = eigenvalues[:size]
        self.explained_ = float(eigenvalues[:size].sum() / eigenvalues.sum())
        self._set_limits(len(spectra), eigenvalues[size:])
        return self

    def _choose_n_components(self, eigenvalues: Floats) -> int:
        """Return the number of components, or raise where nothing is left for Q."""
        rank = len(eigenvalues)
        if rank < 2:
            msg = (
                "'X' must vary in at least 2 directions, one for T2 and one for Q, got "
                f"rank {rank}. Give more rows that differ."
            )
            raise ValueError(msg)
        if self.n_components is not None:
            what = f" (the rank of 'X' is {rank}, and Q needs what is left)"
            check_int(self.n_components, "n_components", 1, rank - 1, what)
            return int(self.n_components)
        shares = np.cumsum(eigenvalues) / eigenvalues.sum()
        size = int(np.searchsorted(shares, self.explained)) + 1
        if size >= rank:
            msg = (
                f"'explained' must leave a component for Q, got {self.explained}, "
                f"which takes all {rank}. Give {shares[-2]:.6g} or less."
            )
            raise ValueError(msg)
        return size

    def _set_limits(self, n_rows: int, left_over: Floats) -> None:
        """Set the limits of T2 and Q, for fitted and for new spectra."""
        n, size, level = n_rows, self.n_components_, self.confidence
        beta = stats.beta.ppf(level, size / 2, (n - size - 1) / 2)
        self.t2_limit_fitted_ = float((n - 1) ** 2 / n * beta)
        f = stats.f.ppf(level, size, n - size)
        self.t2_limit_ = float(size * (n**2 - 1) / (n * (n - size)) * f)
        first, second, third = (float((left_over**p).sum()) for p in (1, 2, 3))
        degrees = second**3 / third**2  # of the chi-square with these three moments
        quantile = float(stats.chi2.ppf(level, degrees))
        apart = (quantile - degrees) * (second / degrees) ** 0.5
        self.q_limit_fitted_ = first + apart
        wider = (n - 1) / (n - 1 - size) * (1 + (size + 1) / n)
        self.q_limit_ = wider * self.q_limit_fitted_

    def measure(self, X: npt.ArrayLike, *, is_new: bool = True) -> pd.DataFrame:
        """Return T2 and Q of spectra, and which are above the limits.

        One row per spectrum, prepared like those that were fitted: t2 (dimensionless),
        q (squared unit of `X`), t2_outlier and q_outlier. `is_new` is False for the
        spectra that were given to `fit`: their limits are lower.
        """
        check_is_fitted(self)
        spectra = validate_data(self, X, dtype=np.float64, reset=False)
        centred = spectra - self.mean_
        scores = centred @ self.components_.T
        t2 = (scores**2 / self.variances_).sum(axis=1)
        q = ((centred - scores @ self.components_) ** 2).sum(axis=1)
        t2_limit = self.t2_limit_ if is_new else self.t2_limit_fitted_
        q_limit = self.q_limit_ if is_new else self.q_limit_fitted_
        found = pd.DataFrame({"t2": t2, "q": q})
        return found.assign(t2_outlier=t2 > t2_limit, q_outlier=q > q_limit)
