"""The compiled PLS1 against scikit-learn's NIPALS and against algebra."""

import warnings

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.utils.estimator_checks import check_estimator

from soilnb.pls import PLS1, choose_n_components, cross_validated_rmse, fit_path
from soilnb.preprocessing import snv
from soilnb.selection import random_folds


def reference(X, y, X_new, n_components):
    """Predictions of scikit-learn for 1 to n_components, one row each."""
    models = [
        PLSRegression(n_components=a, scale=False).fit(X, y)
        for a in range(1, n_components + 1)
    ]
    return np.array([model.predict(X_new).ravel() for model in models])


def test_real_spectra_agree_with_scikit_learn(nirsoil):
    known = np.isfinite(nirsoil["Ciso"])
    X, y = nirsoil["absorbance"][known], nirsoil["Ciso"][known]
    training = np.arange(len(y)) % 3 > 0
    ours = PLS1(20).fit(X[training], y[training]).predict_all(X[~training])
    theirs = reference(X[training], y[training], X[~training], 20)
    assert np.abs(ours - theirs).max() < 1e-10 * y.std()


def single_precision(X, y, X_new):
    """Predictions for 1 to 10 components of the fit in float32, one row each."""
    coef, intercept, n_fitted = fit_path(X.astype("f4"), y.astype("f4"), 10)
    assert (coef.dtype, intercept.dtype, n_fitted) == (np.float32, np.float32, 10)
    return coef.astype(float) @ X_new.T + intercept[:, np.newaxis]


def test_single_precision_agrees_on_subsets_of_real_spectra(nirsoil, rng):
    known = np.isfinite(nirsoil["Ciso"])
    X, y = snv(nirsoil["absorbance"][known][:, ::5]), nirsoil["Ciso"][known]
    for _ in range(5):
        order = rng.permutation(len(y))
        rows, others = order[:100], order[100:]
        ours = single_precision(X[rows], y[rows], X[others])
        theirs = reference(X[rows], y[rows], X[others], 10)
        assert np.abs(ours - theirs).max() < 1e-4 * y.std()


def test_scores_are_those_of_scikit_learn_but_for_the_sign(rng):
    X, y, X_new = (
        rng.normal(size=(40, 30)),
        rng.normal(size=40),
        rng.normal(size=(7, 30)),
    )
    theirs = PLSRegression(n_components=5, scale=False).fit(X, y)
    ours = PLS1(5).fit(X, y)
    signs = np.sign(np.sum(ours.transform(X) * theirs.transform(X), axis=0))
    np.testing.assert_allclose(
        ours.transform(X_new) * signs, theirs.transform(X_new), atol=1e-10
    )
    products = ours.transform(X).T @ ours.transform(X)
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-10)


def test_all_components_equal_least_squares(rng):
    X, y = rng.normal(size=(30, 5)), rng.normal(size=30)
    design = np.column_stack([X, np.ones(30)])
    solution = np.linalg.lstsq(design, y)[0]
    model = PLS1(5).fit(X, y)
    np.testing.assert_allclose(model.coef_, solution[:5], atol=1e-12)
    assert model.intercept_ == pytest.approx(solution[5], abs=1e-12)
    # Slope (sum of xy) / (sum of xx) about the means: (2 + 0 + 4) / 2 = 3.
    model = PLS1(1).fit([[1.0], [2.0], [3.0]], [0.0, 2.0, 6.0])
    assert model.coef_ == pytest.approx(3)
    assert model.intercept_ == pytest.approx(8 / 3 - 6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 30), (9, 3), (12, 12)])
def test_exhausted_rank_repeats_the_last_component(rng, dtype, shape):
    X, y = rng.normal(size=shape).astype(dtype), rng.normal(size=shape[0]).astype(dtype)
    rank = min(shape[0] - 1, shape[1])
    coef, intercept, n_fitted = fit_path(X, y, 15)
    assert n_fitted == rank
    assert (coef[rank:] == coef[rank - 1]).all()
    assert (intercept[rank:] == intercept[rank - 1]).all()
    assert np.isfinite(coef).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_to_learn_predicts_the_mean(rng, dtype):
    same_spectra = np.tile(rng.normal(size=20), (10, 1)).astype(dtype)
    y = rng.normal(size=10).astype(dtype)
    coef, intercept, n_fitted = fit_path(same_spectra, y, 3)
    assert n_fitted == 0
    assert (coef == 0).all()
    np.testing.assert_allclose(intercept, y.mean(), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
def test_a_constant_property_is_predicted_as_it_is(rng, dtype, value):
    X = rng.normal(size=(10, 20)).astype(dtype)
    coef, intercept, n_fitted = fit_path(X, np.full(10, value, dtype), 3)
    assert n_fitted == 0
    assert (coef == 0).all()
    np.testing.assert_allclose(intercept, value, rtol=1e-6)


def test_one_sample_is_predicted_for_all(rng):
    X = rng.normal(size=(1, 20))
    coef, intercept, n_fitted = fit_path(X, np.array([4.0]), 3)
    assert n_fitted == 0
    assert (coef == 0).all()
    assert intercept.tolist() == [4.0, 4.0, 4.0]
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        PLS1(1).fit(X, [4.0])
    # An estimator of nothing predicts the mean and has no scores.
    model = PLS1(3).fit(np.ones((5, 4)), np.arange(5.0))
    assert model.n_components_fitted_ == 0
    np.testing.assert_allclose(model.predict_all(np.eye(4)), 2.0)
    assert model.transform(np.eye(4)).shape == (4, 0)


def test_duplicate_rows_count_as_one_direction(rng):
    X = np.repeat(rng.normal(size=(3, 20)), 5, axis=0)
    y = rng.normal(size=15)
    coef, intercept, n_fitted = fit_path(X, y, 10)
    assert n_fitted == 2
    # Three distinct spectra, two components: each gets the mean of its five values.
    means = np.repeat(y.reshape(3, 5).mean(axis=1), 5)
    np.testing.assert_allclose(X @ coef[-1] + intercept[-1], means, atol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["spectra", "property"])
def test_values_that_are_not_finite_are_not_hidden(rng, value, where):
    X, y = rng.normal(size=(10, 5)), rng.normal(size=10)
    if where == "spectra":
        X[3, 2] = value
    else:
        y[3] = value
    assert np.isnan(fit_path(X, y, 2)[1]).any()


def test_scikit_learn_estimator_contract():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checks that scikit-learn skips
        check_estimator(PLS1())


def test_fewer_components_equal_a_smaller_model(rng):
    X, y = rng.normal(size=(30, 10)), rng.normal(size=30)
    model = PLS1(6).fit(X, y)
    small = PLS1(2).fit(X, y)
    np.testing.assert_allclose(model.predict_all(X)[1], small.predict(X))
    np.testing.assert_allclose(model.predict_all(X)[5], model.predict(X))
    # Processors that add in another order round the last digit otherwise.
    np.testing.assert_allclose(model.coef_path_[1], small.coef_, rtol=1e-12)


def test_cross_validation_pools_the_held_out_rows(rng):
    X, y = rng.normal(size=(34, 12)), rng.normal(size=34)
    folds = random_folds(34, 10, seed=1)
    predicted = np.empty((5, 34))
    for fold in range(10):
        out = folds == fold
        predicted[:, out] = reference(X[~out], y[~out], X[out], 5)
    expected = np.sqrt(np.mean((predicted - y) ** 2, axis=1))
    errors = cross_validated_rmse(X, y, folds, 5)
    np.testing.assert_allclose(errors, expected, rtol=1e-10)
    assert choose_n_components(X, y, folds, 5) == np.argmin(expected) + 1


def test_planted_number_of_components_is_found(rng):
    scores = rng.normal(size=(80, 3)) * [3, 2, 1]
    X = scores @ rng.normal(size=(3, 40)) + 1e-3 * rng.normal(size=(80, 40))
    y = scores @ [1.0, -1.0, 1.0] + 0.3 * rng.normal(size=80)
    assert choose_n_components(X, y, random_folds(80, 10, seed=1), 15) == 3


def test_components_tried_fit_the_smallest_training_set(rng):
    X, y = rng.normal(size=(8, 20)), rng.normal(size=8)
    # Without the four rows of fold 0, four remain: three components.
    assert len(cross_validated_rmse(X, y, [0, 0, 0, 0, 1, 1, 2, 2], 15)) == 3
    assert len(cross_validated_rmse(X[:, :2], y, [0, 0, 0, 0, 1, 1, 2, 2], 15)) == 2


@pytest.mark.parametrize("seed", range(5))
def test_parsimonious_size_is_the_smallest_within_one_standard_error(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(30, 12)) * np.linspace(3, 0.2, 12)
    y = X[:, :3].sum(axis=1) + rng.normal(0, 2, 30)
    folds = random_folds(30, 10, seed)
    squares = np.empty((8, 30))
    for fold in range(10):
        out = folds == fold
        squares[:, out] = (reference(X[~out], y[~out], X[out], 8) - y[out]) ** 2
    means = squares.mean(axis=1)
    lowest = means.argmin()
    limit = means[lowest] + squares[lowest].std(ddof=1) / np.sqrt(30)
    expected = min(size for size in range(1, 9) if means[size - 1] <= limit)
    assert choose_n_components(X, y, folds, 8, rule="one_se") == expected
    assert choose_n_components(X, y, folds, 8) == lowest + 1 >= expected
