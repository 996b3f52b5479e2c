"""The blend: weights from errors of other folds, and the plain candidates it weighs."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from soilnb.pls import PLS1, cross_validated_rmse
from soilnb.study import blend, nested_predictions, select_rows
from soilnb.study.blend import SHRINKAGE, stacking_weights
from soilnb.study.nested import Nested, without_fold

SELECTION = {"n_repeats": 2, "n_selected": 20}
PLAIN = ("null_model", "plsr_one_se", "gp_local", "plsr_rs_local")


@pytest.fixture(scope="module")
def skane(short_skane):
    return short_skane


@pytest.fixture(scope="module")
def plain(skane):
    """What plain candidates predict: nothing is trained."""
    return nested_predictions(skane, {}, {}, candidates=PLAIN, selection=SELECTION)


def made_up(study, seed=1, **bias):
    """Predictions of candidates that are off by their bias and by chance."""
    rng = np.random.default_rng(seed)
    y, n_test = study.samples("local").y, len(study.test)
    local = {name: y + off + rng.normal(0, 0.3, len(y)) for name, off in bias.items()}
    test = {name: rng.uniform(1, 3, (study.n_folds, n_test)) for name in bias}
    return Nested(study, pd.DataFrame(local), test)


def objective(weights, errors, shrinkage):
    """What the weights minimise, as the docstring of `blend` says it."""
    m = errors.shape[1]
    pull = shrinkage * np.mean(errors**2) * m * np.sum((weights - 1 / m) ** 2)
    return np.mean((errors @ weights) ** 2) + pull


ERRORS = [[1, 2], [1, -2], [-1, 2], [-1, -2]]


@pytest.mark.parametrize(
    ("errors", "shrinkage", "expected"),
    [
        # Mean squares 1 and 4, mean product 0: w^2 + 4 (1 - w)^2 is least at w = 4 / 5.
        (ERRORS, 0.0, [0.8, 0.2]),
        # s^2 = 2.5, m = 2: plus 0.2 * 2.5 * 2 * 2 (w - 1/2)^2 = 2 (w - 1/2)^2;
        # 2 w - 8 (1 - w) + 4 (w - 1/2) = 0 at w = 10 / 14.
        (ERRORS, 0.2, [5 / 7, 2 / 7]),
        # The second errs like the first, but twice as much: any share is a loss.
        ([[1.0, 2.0], [-1.0, -2.0], [0.5, 1.0]], 0.0, [1, 0]),
        (np.zeros((9, 3)), SHRINKAGE, [1 / 3] * 3),  # no error at all
    ],
)
def test_weights_worked_by_hand(errors, shrinkage, expected):
    np.testing.assert_allclose(stacking_weights(errors, shrinkage), expected, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shrinkage", [0.0, SHRINKAGE, 2.0])
def test_weights_are_those_of_another_solver(seed, shrinkage):
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(5, 40)), int(rng.integers(2, 7))
    common = rng.normal(size=(n, 1))  # errors of real candidates are alike
    errors = (common + rng.normal(size=(n, m))) * rng.uniform(0.2, 2, m)
    found = stacking_weights(errors, shrinkage)
    assert found.sum() == pytest.approx(1)
    assert found.min() >= 0
    solved = minimize(
        objective,
        np.full(m, 1 / m),
        (errors, shrinkage),
        method="SLSQP",
        bounds=[(0, 1)] * m,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    least = objective(solved.x, errors, shrinkage)
    assert objective(found, errors, shrinkage) == pytest.approx(least, rel=1e-6)
    if n > 3 * m:  # else without shrinkage many weights are as good
        np.testing.assert_allclose(found, solved.x, atol=1e-3)


def test_a_single_candidate_is_the_blend(skane, plain):
    mix = blend(plain, ["plsr_one_se"])
    assert mix.table["weight"].tolist() == [1.0]
    np.testing.assert_allclose(mix.local, plain.local["plsr_one_se"])
    np.testing.assert_allclose(mix.test, plain.test["plsr_one_se"])
    errors = plain.local["plsr_one_se"] - skane.samples("local").y
    assert mix.table["nested_rmse"].item() == pytest.approx(np.sqrt(np.mean(errors**2)))


def test_blend_is_the_weighted_mean_worked_fold_by_fold(skane):
    nested = made_up(skane, first=0.0, second=0.5, third=-0.2)
    mix = blend(nested)
    y, weights = skane.samples("local").y, []
    predicted = nested.local.to_numpy()
    each = np.array([nested.test[name] for name in nested.local])
    for number in range(3):
        of_fold = skane.local_folds == number
        errors = (predicted - y[:, None])[~of_fold]
        weights.append(stacking_weights(errors, SHRINKAGE))
        expected = predicted[of_fold] @ weights[-1]
        np.testing.assert_allclose(mix.local[of_fold], expected)
        expected = sum(
            w * one[number] for w, one in zip(weights[-1], each, strict=True)
        )
        np.testing.assert_allclose(mix.test[number], expected)
    np.testing.assert_allclose(mix.table["weight"], np.mean(weights, axis=0))
    np.testing.assert_allclose(mix.estimates, sum(mix.test) / 3)


def test_errors_of_a_fold_have_no_say_in_its_own_weights(skane):
    nested = made_up(skane, first=0.0, second=0.5)
    of_fold = skane.local_folds == 1
    soc = skane.site.soc.copy()
    soc[skane.local[of_fold]] = 90.0
    study = replace(skane, site=replace(skane.site, soc=soc))
    before, after = blend(nested), blend(replace(nested, study=study))
    np.testing.assert_array_equal(after.local[of_fold], before.local[of_fold])
    np.testing.assert_array_equal(after.test[1], before.test[1])
    # They do decide on the weights of the other folds.
    assert not np.isclose(after.local[~of_fold], before.local[~of_fold]).all()
    # Nor do its predictions, but for being weighted: here each is one higher.
    local = nested.local.copy()
    local.loc[of_fold] += 1.0
    shifted = blend(replace(nested, local=local))
    np.testing.assert_allclose(shifted.local[of_fold], before.local[of_fold] + 1)
    np.testing.assert_array_equal(shifted.test[1], before.test[1])


def test_predictions_below_zero_become_zero(skane):
    nested = made_up(skane, first=0.0, second=0.1)
    low = {name: values.copy() for name, values in nested.test.items()}
    low["first"][:, 0] = low["second"][:, 0] = -1.0
    low["first"][:, 1], low["second"][:, 1] = -1.0, 2.0
    local = nested.local.copy()
    local.iloc[0] = -3.0
    mix = blend(replace(nested, test=low, local=local))
    assert mix.local[0] == 0
    assert (mix.test[:, 0] == 0).all()
    # One that is cut pulls down as much as a prediction of 0, not of -1.
    zero = {name: np.maximum(values, 0) for name, values in low.items()}
    same = blend(replace(nested, test=zero, local=local.clip(lower=0)))
    np.testing.assert_array_equal(mix.test, same.test)
    np.testing.assert_array_equal(mix.table, same.table)


def test_a_blend_predicts_its_test_samples_only(skane, plain):
    mix = blend(plain)
    np.testing.assert_array_equal(mix.predict(skane.X_test), mix.estimates)
    with pytest.raises(ValueError, match=r"test samples of the study.*got.*.3 rows"):
        mix.predict(skane.X_test[:3])


def test_inputs_are_not_modified(skane):
    nested = made_up(skane, first=-3.0, second=0.1)
    local = nested.local.copy()
    blend(nested)
    pd.testing.assert_frame_equal(nested.local, local)


def without_first_fold(study):
    """Spectra, SOC and folds of the local samples outside of fold 0."""
    inner = without_fold(study, 0)
    kept = study.local[study.local_folds != 0]
    np.testing.assert_array_equal(inner.local, kept)
    return inner, study.X_site[kept], study.site.soc[kept]


def test_null_predicts_the_mean_of_the_other_folds(skane, plain):
    _, _, y = without_first_fold(skane)
    first = skane.local_folds == 0
    np.testing.assert_allclose(plain.local["null_model"][first], y.mean())
    np.testing.assert_allclose(plain.test["null_model"][0], y.mean())


def test_plsr_takes_the_smallest_size_within_one_standard_error(skane, plain):
    inner, X, y = without_first_fold(skane)
    squares = np.empty((12, len(y)))
    for number in np.unique(inner.local_folds):
        held_out = inner.local_folds == number
        for size in range(1, 13):
            model = PLS1(size).fit(X[~held_out], y[~held_out])
            squares[size - 1, held_out] = (
                model.predict(X[held_out]) - y[held_out]
            ) ** 2
    means = squares.mean(axis=1)
    tried = cross_validated_rmse(X, y, inner.local_folds, 12)
    np.testing.assert_allclose(np.sqrt(means), tried)
    best = squares[means.argmin()]
    limit = best.mean() + best.std(ddof=1) / np.sqrt(len(y))
    size = next(number for number, mean in enumerate(means, 1) if mean <= limit)
    assert size < means.argmin() + 1  # else the rule would not show
    model = PLS1(size).fit(X, y)
    first = skane.local_folds == 0
    expected = model.predict(skane.X_site[skane.local[first]])
    np.testing.assert_allclose(plain.local["plsr_one_se"][first], expected)
    np.testing.assert_allclose(
        plain.test["plsr_one_se"][0], model.predict(skane.X_test)
    )


def test_plsr_on_the_selection_is_fitted_on_rows_selected_without_the_fold(
    skane, plain
):
    inner, X, y = without_first_fold(skane)
    rows = select_rows(inner, "global", **SELECTION).indices
    library = skane.samples("global")
    X, y = np.concatenate([library.X[rows], X]), np.concatenate([library.y[rows], y])
    errors = cross_validated_rmse(X, y, inner.localised_folds(len(rows)), 15)
    model = PLS1(int(errors.argmin()) + 1).fit(X, y)
    first = skane.local_folds == 0
    expected = model.predict(skane.X_site[skane.local[first]])
    np.testing.assert_allclose(plain.local["plsr_rs_local"][first], expected)
    expected = model.predict(skane.X_test)
    np.testing.assert_allclose(plain.test["plsr_rs_local"][0], expected)


def test_no_fold_has_a_part_in_its_plain_predictions(skane, plain):
    soc = skane.site.soc.copy()
    first = skane.local_folds == 0
    soc[skane.local[first]] = 90.0
    soc[skane.test] = 90.0
    spoilt = replace(skane, site=replace(skane.site, soc=soc))
    after = nested_predictions(spoilt, {}, {}, candidates=PLAIN, selection=SELECTION)
    for name in PLAIN:
        np.testing.assert_array_equal(
            after.local[name][first], plain.local[name][first]
        )
        np.testing.assert_array_equal(after.test[name][0], plain.test[name][0])
        assert not np.isclose(after.test[name][1], plain.test[name][1]).any()
