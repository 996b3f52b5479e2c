"""What a choice does to plain methods, against the methods themselves."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from soilnb.baselines import fit_plsr, fit_plsr_spiked
from soilnb.metrics import rmse
from soilnb.pls import PLS1, cross_validated_rmse
from soilnb.preprocessing import PREPROCESSINGS
from soilnb.study import compare_preprocessings, sweep_weights


def test_each_weight_has_the_errors_of_its_own_model(short_skane):
    library, local = short_skane.samples("global"), short_skane.samples("local")
    found = sweep_weights(short_skane, (1, 20))
    assert found.index.tolist() == [1, 20]
    for weight, row in found.iterrows():
        model = fit_plsr_spiked(library, local, weight=weight)
        predicted = model.predict(short_skane.X_test)
        measured = short_skane.site.soc[short_skane.test]
        assert row["test samples"] == pytest.approx(rmse(measured, predicted))
        held_out = np.empty(30)
        for fold in range(3):
            out = local.folds == fold
            copies = np.repeat(np.flatnonzero(~out), weight)
            X = np.vstack([library.X, local.X[copies]])
            y = np.concatenate([library.y, local.y[copies]])
            held_out[out] = PLS1(model.n_components).fit(X, y).predict(local.X[out])
        expected = pytest.approx(rmse(local.y, held_out))
        assert row["local samples, held out"] == expected


def test_preprocessings_are_compared_without_the_test_samples(short_skane):
    found = compare_preprocessings(short_skane, n_trees=10)
    assert found.index.tolist() == list(PREPROCESSINGS)
    local, measured = short_skane.samples("local"), short_skane.site.soc
    of_snv = found.loc["SNV of absorbance"]
    lowest = cross_validated_rmse(*local, 15).min()
    assert of_snv["PLSR, folds"] == pytest.approx(lowest, rel=1e-4)
    predicted = fit_plsr(*local, max_components=15).predict(short_skane.X_test)
    error = rmse(measured[short_skane.test], predicted)
    assert of_snv["PLSR, test"] == pytest.approx(error, rel=1e-4)
    soc = measured.copy()
    soc[short_skane.test] = np.linspace(80, 90, len(short_skane.test))
    spoilt = replace(short_skane, site=replace(short_skane.site, soc=soc))
    again = compare_preprocessings(spoilt, n_trees=10)
    folds, test = ["PLSR, folds", "forest, folds"], ["PLSR, test", "forest, test"]
    pd.testing.assert_frame_equal(again[folds], found[folds])
    assert (again[test] > 50).all(axis=None)
