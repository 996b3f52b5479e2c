"""The methods to beat: recomputed with scikit-learn and explicit loops."""

import sys

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor

from soilnb.baselines import (
    Local,
    MemoryBasedLearner,
    fit_cubist,
    fit_gaussian_process,
    fit_plsr,
    fit_plsr_spiked,
    fit_plsr_weighted,
    fit_random_forest,
    fit_support_vectors,
    spiked_local_rmse,
)
from soilnb.selection import Samples, random_folds


def make_soils(n_samples, seed, shift=0.0, n_bands=40):
    """Spectra of four constituents; the property is the sum of two, and a shift."""
    rng = np.random.default_rng(seed)
    loadings = np.random.default_rng(99).normal(size=(4, n_bands))
    scores = rng.normal(size=(n_samples, 4))
    X = scores @ loadings + 0.05 * rng.normal(size=(n_samples, n_bands))
    return X, scores[:, 0] + scores[:, 1] + shift + 0.1 * rng.normal(size=n_samples)


def test_weight_three_equals_three_explicit_copies():
    X, y = make_soils(60, seed=1)
    X_local, y_local = make_soils(12, seed=2, shift=2)
    folds, local_folds = random_folds(60, 5, seed=1), random_folds(12, 5, seed=2)
    library, local = Samples(X, y, folds), Samples(X_local, y_local, local_folds)
    spiked = fit_plsr_spiked(library, local, weight=3)
    expected = fit_plsr(
        np.vstack([X, X_local, X_local, X_local]),
        np.concatenate([y, y_local, y_local, y_local]),
        np.concatenate([folds, local_folds, local_folds, local_folds]),
        max_components=25,
    )
    assert spiked.n_components == expected.n_components
    np.testing.assert_allclose(spiked.coef_, expected.coef_, atol=1e-9)


def test_extra_weight_pulls_the_library_to_the_site():
    X, y = make_soils(200, seed=1)
    X_local, y_local = make_soils(20, seed=2, shift=2)
    X_test, y_test = make_soils(100, seed=3, shift=2)
    folds, local_folds = random_folds(200, 10, seed=1), random_folds(20, 10, seed=2)
    bias = [abs(np.mean(fit_plsr(X, y, folds).predict(X_test) - y_test))]
    for weight in (1, 20):
        local = Samples(X_local, y_local, local_folds)
        model = fit_plsr_spiked(Samples(X, y, folds), local, weight=weight)
        bias.append(abs(np.mean(model.predict(X_test) - y_test)))
    assert bias[0] > bias[1] > bias[2]


def test_rmse_of_spiking_holds_out_local_rows_only():
    X, y = make_soils(50, seed=1)
    X_local, y_local = make_soils(9, seed=2, shift=2)
    folds = random_folds(9, 3, seed=1)
    errors = []
    for fold in range(3):
        out = folds == fold
        spiked = np.vstack([X, X_local[~out], X_local[~out]])
        values = np.concatenate([y, y_local[~out], y_local[~out]])
        model = PLSRegression(n_components=3, scale=False).fit(spiked, values)
        errors.extend(model.predict(X_local[out]).ravel() - y_local[out])
    local = Samples(X_local, y_local, folds)
    found = spiked_local_rmse((X, y), local, weight=2, n_components=3)
    assert found == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-9)


def test_random_forest_is_scikit_learns_with_the_seed():
    X, y = make_soils(30, seed=1)
    expected = RandomForestRegressor(n_estimators=20, random_state=5).fit(X, y)
    forest = fit_random_forest(X, y, seed=5, n_trees=20)
    np.testing.assert_array_equal(forest.predict(X), expected.predict(X))
    assert fit_random_forest(X[:5], y[:5], seed=1).n_estimators == 500


def test_cubist_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cubist", None)
    with pytest.raises(ModuleNotFoundError, match=r"Install it: pip install cubist\."):
        fit_cubist([[0.0], [1.0]], [1.0, 2.0])


def test_cubist_finds_a_law_for_each_side_of_a_threshold():
    pytest.importorskip("cubist", reason="the optional package cubist")
    rng = np.random.default_rng(1)
    X, X_test = rng.normal(size=(200, 3)), rng.normal(size=(100, 3))

    def law(X):
        return np.where(X[:, 0] > 0, 10 + 2 * X[:, 1], -3 * X[:, 2])

    model = fit_cubist(X, law(X))
    far = np.abs(X_test[:, 0]) > 0.1  # the threshold is not known exactly
    errors = (model.predict(X_test) - law(X_test))[far]
    assert np.sqrt(np.mean(errors**2)) < 0.3
    np.testing.assert_array_equal(
        fit_cubist(X, law(X)).predict(X_test), model.predict(X_test)
    )


def learn_by_definition(library, local, sizes, max_components):
    """Nearest-neighbour validation with scikit-learn and plain loops."""
    X, y = np.vstack([library[0], local[0]]), np.concatenate([library[1], local[1]])
    left, singular, _ = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    share = np.cumsum(singular**2) / np.sum(singular**2)
    scores = left[:, : np.searchsorted(share, 0.99, side="right") + 1]
    rmse = np.empty((len(sizes), max_components))
    for i, size in enumerate(sizes):
        for a in range(1, max_components + 1):
            errors = []
            for row in range(len(library[1]), len(y)):
                distance = np.linalg.norm(scores - scores[row], axis=1)
                nearest = [r for r in np.argsort(distance) if r != row][:size]
                model = PLSRegression(n_components=a, scale=False)
                predicted = model.fit(X[nearest], y[nearest]).predict(X[[row]])
                errors.append(predicted.item() - y[row])
            rmse[i, a - 1] = np.sqrt(np.mean(np.square(errors)))
    return rmse


def test_memory_based_learner_validates_each_local_row_without_itself():
    library, local = make_soils(50, seed=1), make_soils(8, seed=2)
    learner = MemoryBasedLearner(n_neighbours=(12, 25), max_components=4)
    learner.fit(library, local)
    expected = learn_by_definition(library, local, (12, 25), 4)
    np.testing.assert_allclose(learner.validation_rmse_, expected, rtol=1e-8)
    best = np.unravel_index(np.argmin(expected), expected.shape)
    assert learner.n_neighbours_ == (12, 25)[best[0]]
    assert learner.n_components_ == best[1] + 1


def test_memory_based_learner_limits_neighbours_to_the_rows():
    library, local = make_soils(20, seed=1), make_soils(10, seed=2)
    learner = MemoryBasedLearner(max_components=3).fit(library, local)
    assert learner.n_neighbours_ == 29
    learner = MemoryBasedLearner((10, 25, 100), max_components=3).fit(library, local)
    assert list(learner.validation_rmse_.index) == [10, 25]


def predict_by_definition(X, y, spectrum, sizes):
    """LOCAL with scikit-learn's loadings, component by component."""
    predicted, weights = [], []
    for a in sizes:
        model = PLSRegression(n_components=a, scale=False).fit(X, y)
        residual = spectrum - X.mean(axis=0)
        for weight, loading in zip(
            model.x_weights_.T, model.x_loadings_.T, strict=True
        ):
            residual = residual - (residual @ weight) * loading
        s = np.sqrt(np.mean(residual**2))
        g = np.sqrt(np.mean(model.coef_**2))
        predicted.append(model.predict(spectrum[np.newaxis]).item())
        weights.append(1 / (s * g))
    return np.average(predicted, weights=weights)


def best_correlated(X, spectrum, size, excluded=None):
    """Rows of the best correlated spectra, without one row."""
    correlation = np.array([np.corrcoef(row, spectrum)[0, 1] for row in X])
    return [row for row in np.argsort(-correlation) if row != excluded][:size]


def test_local_predicts_by_its_definition():
    library, local = make_soils(50, seed=1), make_soils(6, seed=2)
    X, y = np.vstack([library[0], local[0]]), np.concatenate([library[1], local[1]])
    learner = Local((12, 25), min_components=2, max_components=6).fit(library, local)
    for size in (12, 25):
        errors = []
        for row in range(50, 56):
            near = best_correlated(X, X[row], size, excluded=row)
            predicted = predict_by_definition(X[near], y[near], X[row], range(2, 7))
            errors.append(predicted - y[row])
        rmse = np.sqrt(np.mean(np.square(errors)))
        assert learner.validation_rmse_[size] == pytest.approx(rmse, rel=1e-8)
    assert learner.n_neighbours_ == learner.validation_rmse_.idxmin()
    queries, _ = make_soils(5, seed=3)
    expected = []
    for spectrum in queries:
        near = best_correlated(X, spectrum, learner.n_neighbours_)
        expected.append(predict_by_definition(X[near], y[near], spectrum, range(2, 7)))
    np.testing.assert_allclose(learner.predict(queries), expected, rtol=1e-8)


def test_local_does_not_depend_on_units_or_the_order_of_the_library():
    (X, y), local = make_soils(60, seed=1), make_soils(10, seed=2)
    queries, _ = make_soils(8, seed=3)
    learner = Local((20, 40)).fit((X, y), local)
    expected = learner.predict(queries)
    order = np.random.default_rng(1).permutation(60)
    shuffled = Local((20, 40)).fit((X[order], y[order]), local)
    np.testing.assert_allclose(shuffled.predict(queries), expected, atol=1e-9)
    scaled = Local((20, 40)).fit((3 * X, 10 * y + 5), (3 * local[0], 10 * local[1] + 5))
    np.testing.assert_allclose(scaled.predict(3 * queries), 10 * expected + 5)


def test_local_ends_its_mean_where_the_spectra_end():
    # Two constituents and no noise: two components describe every spectrum and the
    # law; asked for 5 to 15, both numbers of neighbours find it without error.
    rng = np.random.default_rng(1)
    scores, loadings = rng.normal(size=(30, 2)), rng.normal(size=(2, 12))
    X, y = scores @ loadings, scores[:, 0] - 2 * scores[:, 1]
    known = (X[:15], y[:15]), (X[15:20], y[15:20])
    learner = Local((8, 16), min_components=5).fit(*known)
    np.testing.assert_allclose(learner.predict(X[20:]), y[20:], atol=1e-9)


def test_local_gives_the_mean_where_the_neighbours_do_not_vary():
    (X, _), (X_local, _) = make_soils(20, seed=1), make_soils(5, seed=2)
    learner = Local((10,)).fit((X, np.full(20, 7.0)), (X_local, np.full(5, 7.0)))
    np.testing.assert_allclose(learner.predict(X_local), 7.0)


def test_local_gives_the_mean_for_the_mean_spectrum():
    # The mean of the four rows is the query: no component leaves anything of it, so
    # the weights 1 / (s g) are infinite, and every prediction is the mean of y, 5.
    query = np.array([8.0, 16.0, 24.0, 40.0])
    first, second = np.array([1.0, 0.0, -1.0, 2.0]), np.array([0.0, 2.0, 1.0, 1.0])
    X = query + np.vstack([first, -first, second, -second])
    y = np.array([1.0, 3.0, 5.0, 11.0])
    learner = Local((4,), min_components=1).fit((X, y), (-query[np.newaxis], [0.0]))
    assert learner.predict(query[np.newaxis]).tolist() == pytest.approx([5.0])


X, Y = make_soils(10, seed=1)
FLAT = np.vstack([X[:4], np.ones((2, 40)), X[4:]])
SOILS = Samples(X, Y, np.arange(10) % 5)
NARROW = SOILS._replace(X=X[:, :3])
UNEVEN = SOILS._replace(folds=[0, 1])
Memory = MemoryBasedLearner
MEMORY = Memory(max_components=2).fit(SOILS, SOILS)
LOCAL = Local((5,)).fit(SOILS, SOILS)
REFUSALS = [
    (fit_plsr_spiked, (SOILS, SOILS), {"weight": 0}, "'weight' must be at least 1, go"),
    (fit_plsr_spiked, (SOILS, NARROW), {}, "'X_local' has 3 columns but 'X_library' h"),
    (fit_plsr_spiked, (SOILS, UNEVEN), {}, "'local_folds' has 2 rows but 'X_local' ha"),
    (fit_plsr_spiked, (UNEVEN, SOILS), {}, "'library_folds' has 2 rows but 'X_library"),
    (
        spiked_local_rmse,
        (SOILS, SOILS),
        {"weight": 0, "n_components": 1},
        "'weight' must be at least 1, got 0",
    ),
    (
        spiked_local_rmse,
        (SOILS, UNEVEN),
        {"n_components": 1},
        "'local_folds' has 2 rows but 'X_local' has",
    ),
    (fit_cubist, (X, Y[:9]), {}, "'X' has 10 rows but 'y' has 9"),
    (fit_gaussian_process, (X, Y[:9]), {}, "'X' has 10 rows but 'y' has 9"),
    (fit_support_vectors, (X * [[np.nan]], Y), {}, "'X' has 400 missing or infinite"),
    (fit_support_vectors, (X[:4], Y[:4]), {}, "splits"),
    (fit_random_forest, (X, Y), {"seed": -1}, "'seed' must be at least 0"),
    (fit_random_forest, (X, Y[:9]), {"seed": 1}, "'X' has 10 rows but 'y' has 9"),
    (Memory(()).fit, (SOILS, SOILS), {}, "'n_neighbours' must hold at least one"),
    (Memory((1,)).fit, (SOILS, SOILS), {}, "'n_neighbours' must be at least 2"),
    (Memory(max_components=1.5).fit, (SOILS, SOILS), {}, "'max_components' must be a"),
    (Memory().predict, (X,), {}, "not fitted yet"),
    (MEMORY.predict, (X[:, :3],), {}, "'X' has 3 columns"),
    (Local(min_components=16).fit, (SOILS, SOILS), {}, "'min_components' must be betw"),
    (Local().fit, (SOILS, (FLAT, range(12))), {}, r"'X_local' has 2 constant rows \("),
    (Local().predict, (X,), {}, "not fitted yet"),
    (LOCAL.predict, (X[:, :3],), {}, "'X' has 3 columns"),
    (LOCAL.predict, (FLAT,), {}, "'X' has 2 constant rows"),
]


@pytest.mark.parametrize(("function", "data", "options", "message"), REFUSALS)
def test_what_cannot_be_used_is_refused(function, data, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        function(*data, **options)


def test_spiking_weight_and_size_are_the_best_for_local_samples_held_out():
    X, y = make_soils(60, seed=1)
    X_local, y_local = make_soils(12, seed=2, shift=2)
    folds = random_folds(12, 5, seed=2)
    errors = {}
    for weight in (1, 5, 20):
        for size in range(1, 7):
            squared = 0.0
            for fold in range(5):
                out = folds == fold
                spectra = np.vstack([X, np.repeat(X_local[~out], weight, axis=0)])
                values = np.concatenate([y, np.repeat(y_local[~out], weight)])
                model = PLSRegression(size, scale=False).fit(spectra, values)
                predicted = model.predict(X_local[out]).ravel()
                squared += np.sum((predicted - y_local[out]) ** 2)
            errors[weight, size] = squared
    weight, size = min(errors, key=errors.get)
    assert (weight, size) not in {(1, 1), (1, 6)}  # else the choice would not show
    expected = PLSRegression(size, scale=False).fit(
        np.vstack([X, np.repeat(X_local, weight, axis=0)]),
        np.concatenate([y, np.repeat(y_local, weight)]),
    )
    found = fit_plsr_weighted(
        Samples(X, y, random_folds(60, 5, seed=1)),
        Samples(X_local, y_local, folds),
        weights=(1, 5, 20),
        max_components=6,
    )
    assert found.n_components == size
    np.testing.assert_allclose(found.predict(X), expected.predict(X).ravel(), atol=1e-9)


@pytest.mark.parametrize("fit", [fit_gaussian_process, fit_support_vectors])
def test_kernel_methods_do_not_depend_on_units(fit):
    X, y = make_soils(30, seed=1)
    X_new, _ = make_soils(10, seed=2)
    expected = fit(X, y).predict(X_new)
    scaled = fit(3 * X + 1, 10 * y + 5).predict(3 * X_new + 1)
    np.testing.assert_allclose(scaled, 10 * expected + 5, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("fit", [fit_gaussian_process, fit_support_vectors])
def test_kernel_methods_learn_what_bends(fit):
    X, _ = make_soils(60, seed=1)
    scores = PCA(2).fit(X)
    bent = np.tanh(scores.transform(X) @ [0.2, 0.1])
    X_new, _ = make_soils(40, seed=2)
    truth = np.tanh(scores.transform(X_new) @ [0.2, 0.1])
    folds = random_folds(60, 5, seed=1)
    plain = np.mean((fit_plsr(X, bent, folds).predict(X_new) - truth) ** 2)
    assert np.mean((fit(X, bent).predict(X_new) - truth) ** 2) < 0.7 * plain


def test_gaussian_process_sees_at_most_ten_components():
    X, y = make_soils(30, seed=1)
    assert fit_gaussian_process(X, y)["pca"].n_components_ == 10
    assert fit_gaussian_process(X[:6], y[:6])["pca"].n_components_ == 5


def test_folds_of_support_vectors_follow_the_seed():
    X, y = make_soils(12, seed=1)
    X_new, _ = make_soils(5, seed=2)
    first, again = (fit_support_vectors(X, y, seed=3).predict(X_new) for _ in "12")
    np.testing.assert_array_equal(first, again)
    found = {fit_support_vectors(X, y, seed=seed).best_score_ for seed in (1, 2, 3)}
    assert len(found) == 3
