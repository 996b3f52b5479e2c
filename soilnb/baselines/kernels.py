"""Kernel methods for few samples: a Gaussian process and support vectors."""

import warnings

import numpy.typing as npt
from sklearn import config_context
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    WhiteKernel,
)
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from soilnb._validation import check_int, check_xy

MAX_SCORES = 10  # principal components that the process sees
_GRID = {
    "regressor__svr__C": (0.3, 1.0, 3.0, 10.0, 30.0),
    "regressor__svr__gamma": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
}


def fit_gaussian_process(X: npt.ArrayLike, y: npt.ArrayLike) -> Pipeline:
    """Fit a Gaussian process on the first principal components of the spectra.

    `X` are spectra as the model shall see them, here SNV absorbance, (n_samples,
    n_wavelengths), `y` the soil property, (n_samples,). Here and in all `fit_`
    functions, a ValueError if they are not finite or do not match. After the scaling of
    the bands come at most 10 components, and the process, whose kernel is constant
    times RBF, plus linear, plus white noise (Rasmussen and Williams 2006).

    >>> X = [[i, i + 1.0] for i in range(0, 12, 2)]
    >>> y = [row[0] for row in X]
    >>> fit_gaussian_process(X, y).predict([[5.0, 6.0]]).round(2).tolist()
    [5.0]
    """
    X, y = check_xy(X, y)
    size = min(MAX_SCORES, len(X) - 1, X.shape[1])
    kernel = ConstantKernel() * RBF(10.0, (1e-1, 1e3)) + DotProduct() + WhiteKernel(0.1)
    process = GaussianProcessRegressor(kernel, normalize_y=True)
    steps = make_pipeline(StandardScaler(), PCA(size, svd_solver="full"), process)
    with warnings.catch_warnings():  # a bound that is reached is an answer
        warnings.simplefilter("ignore", ConvergenceWarning)
        return steps.fit(X, y)


def fit_support_vectors(
    X: npt.ArrayLike, y: npt.ArrayLike, *, seed: int = 1
) -> GridSearchCV:
    """Fit a support vector regression whose parameters are cross-validated.

    The kernel is RBF on standardised bands; the property is standardised, too. At least
    5 rows; `seed` is that of the five folds that choose penalty and width.

    >>> X = [[i, i + 1.0] for i in range(0, 20, 2)]
    >>> model = fit_support_vectors(X, [row[0] for row in X])
    >>> abs(model.predict([[9.0, 10.0]]).item() - 9) < 1
    True
    """
    check_int(seed, "seed", 0)
    X, y = check_xy(X, y)
    steps = make_pipeline(StandardScaler(), SVR())
    scaler = StandardScaler()
    model = TransformedTargetRegressor(steps, transformer=scaler, check_inverse=False)
    folds = KFold(5, shuffle=True, random_state=seed)
    search = GridSearchCV(model, _GRID, scoring="neg_mean_squared_error", cv=folds)
    # 126 fits of milliseconds each: their checks would take as long, and ours is done.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        return search.fit(X, y)
