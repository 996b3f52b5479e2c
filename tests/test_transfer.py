"""Deep transfer learning of instances."""

import numpy as np
import pytest

from soilnb.cnn import Architecture, ConvBlock, FCBlock, cross_validate
from soilnb.transfer import dtl_i, localised_data

TINY = Architecture(conv=(ConvBlock(3, kernel=5, stride=2),), fc=(FCBlock(4),))


@pytest.fixture
def site():
    """Ten selected instances and six local samples."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(16, 21))
    y = X[:, 4] + 2.0
    return X[:10], y[:10], X[10:], y[10:]


def test_selected_rows_come_first_and_local_rows_are_marked(site):
    X_selected, y_selected, X_local, y_local = site
    pooled = localised_data(*site)
    np.testing.assert_array_equal(pooled.X[~pooled.is_local], X_selected)
    np.testing.assert_array_equal(pooled.X[10:], X_local)
    np.testing.assert_array_equal(pooled.y, [*y_selected, *y_local])
    assert pooled.is_local.tolist() == [False] * 10 + [True] * 6


def test_dtl_i_is_the_cross_validation_of_the_pooled_rows(site):
    X_selected, y_selected, X_local, y_local = site
    folds = np.arange(16) % 4
    calls = []
    result = dtl_i(
        TINY,
        *site,
        folds=folds,
        seed=7,
        max_epochs=2,
        progress=lambda *call: calls.append(call),
    )
    expected = cross_validate(
        TINY,
        np.vstack([X_selected, X_local]),
        np.concatenate([y_selected, y_local]),
        folds,
        seed=7,
        max_epochs=2,
    )
    np.testing.assert_array_equal(result.history, expected.history)
    np.testing.assert_array_equal(result.out_of_fold, expected.out_of_fold)
    assert [call[:2] for call in calls] == [(2, 2)]


def test_rows_on_another_grid_are_refused(site):
    X_selected, y_selected, X_local, y_local = site
    with pytest.raises(ValueError, match="'X_selected' has 21 wavelengths but 'X_loc"):
        localised_data(X_selected, y_selected, X_local[:, :20], y_local)


def test_folds_must_cover_selected_and_local_rows(site):
    with pytest.raises(ValueError, match="'X' has 16 rows but 'folds' has 6"):
        dtl_i(TINY, *site, folds=np.arange(6))


def test_values_must_match_their_spectra(site):
    X_selected, y_selected, X_local, y_local = site
    with pytest.raises(ValueError, match="'X_local' has 6 rows but 'y_local' has 5"):
        localised_data(X_selected, y_selected, X_local, y_local[:5])
