"""What a choice does to plain methods: the weight of spiking, the preprocessing."""

from collections.abc import Iterable

import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from soilnb.baselines import (
    fit_plsr,
    fit_plsr_spiked,
    fit_random_forest,
    spiked_local_rmse,
    summarise,
)
from soilnb.metrics import evaluate
from soilnb.pls import cross_validated_rmse
from soilnb.preprocessing import PREPROCESSINGS
from soilnb.study.prepared import Study


def sweep_weights(study: Study, weights: Iterable[int]) -> pd.DataFrame:
    """Return two errors of PLSR on the global library, spiked with each weight.

    Index weight (copies of each local sample); RMSE (% SOC) of the local samples, each
    fold predicted by the library and the other ones, and of the test samples.
    """
    library, local = summarise(study.samples("global")), study.samples("local")
    measured = study.site.soc[study.test]
    errors = {}
    for weight in weights:
        model = fit_plsr_spiked(library, local, weight=weight)
        size = model.n_components
        held_out = spiked_local_rmse(library, local, weight=weight, n_components=size)
        tested = evaluate(measured, model.predict(study.X_test))["rmse"]
        errors[weight] = {"local samples, held out": held_out, "test samples": tested}
    return pd.DataFrame(errors).T.rename_axis("weight")


def compare_preprocessings(study: Study, n_trees: int = 500) -> pd.DataFrame:
    """Return errors of PLSR and of a forest on the local samples, each preprocessing.

    Index preprocessing; RMSE (% SOC) of either method, over the local folds (of the
    forest with 100 trees a fold) and on the test samples (with `n_trees`).
    """
    measured = study.site.soc[study.test]
    _, y, folds = study.samples("local")
    small = RandomForestRegressor(100, random_state=study.seed)
    errors = {}
    for name, preprocess in PREPROCESSINGS.items():
        X_all = preprocess(study.site.reflectance)
        X, X_test = X_all[study.local], X_all[study.test]
        plsr = fit_plsr(X, y, folds, max_components=15)
        forest = fit_random_forest(X, y, seed=study.seed, n_trees=n_trees)
        held_out = cross_val_predict(small, X, y, cv=PredefinedSplit(folds))
        errors[name] = {
            "PLSR, folds": cross_validated_rmse(X, y, folds, 15).min(),
            "PLSR, test": evaluate(measured, plsr.predict(X_test))["rmse"],
            "forest, folds": evaluate(y, held_out)["rmse"],
            "forest, test": evaluate(measured, forest.predict(X_test))["rmse"],
        }
    return pd.DataFrame(errors).T
