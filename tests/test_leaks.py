"""Nothing of the test samples reaches a model: neither their SOC nor their spectra.

A site is studied twice. The second time its test samples have an absurd SOC from the
start, and half of them an absurd spectrum after the split. Whatever is selected,
scaled, trained, searched or chosen must be the same to the last bit, and so must be
what is predicted for the other half.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from soilnb import cnn
from soilnb.baselines import (
    Local,
    MemoryBasedLearner,
    fit_cubist,
    fit_plsr,
    fit_plsr_spiked,
    fit_random_forest,
)
from soilnb.cnn import Architecture, ConvBlock
from soilnb.datasets import load_site
from soilnb.study import (
    NINE_MODELS,
    blend,
    fit_models,
    nested_predictions,
    prepare,
    select_rows,
)

TINY = Architecture(
    conv=(ConvBlock(2, kernel=9, stride=9, batch_normalisation=True, dropout=0.1),),
    fc=(),
    batch_size=64,
)
SELECTION = {"n_selected": 40, "n_repeats": 2}


@pytest.fixture(scope="module")
def studies(farms, short_skane):
    """The study of a farm as it is, and with test samples that were spoilt."""
    site, honest = load_site("skane"), short_skane
    options = {"n_folds": 3, "wavelength_range": (1000, 2400)}
    soc = site.soc.copy()
    soc[honest.test] = np.linspace(40, 50, len(honest.test))
    spoilt = prepare(farms, replace(site, soc=soc), **options)
    spectra = spoilt.site.reflectance.copy()
    rng = np.random.default_rng(1)
    rows = honest.test[::2]
    spectra[rows] = rng.uniform(0.01, 0.99, (len(rows), spectra.shape[1]))
    return honest, replace(spoilt, site=replace(spoilt.site, reflectance=spectra))


@pytest.fixture(scope="module")
def nine(studies):
    """All nine models of both studies."""
    small = {"selection": SELECTION, "n_library": 60, "max_epochs": 2}
    names = ("local", "global", "country", "dtl_i_global", "dtl_i_country")
    given = dict.fromkeys(names, TINY)
    return [fit_models(study, given, **small).models for study in studies]


def cross_validation(run):
    """All that a training leaves, but its duration."""
    return {
        "scaling": [vars(one.fold.scaling) for one in run.trained],
        "weights": [one.weights for one in run.trained],
        "history": run.history,
        "out_of_fold": run.out_of_fold,
        "rmse": run.rmse,
    }


def learned(model):
    """All that a model has learned."""
    if isinstance(model, cnn.CrossValidation):
        return cross_validation(model)
    if hasattr(model, "n_frozen"):
        depths = {"base": model.base, "base_rmse": model.base_rmse}
        depths |= {"depths": model.depths, "n_frozen": model.n_frozen}
        return depths | cross_validation(model.result)
    # Of scikit-learn's kind: names of learned attributes end in "_".
    plain = int | float | np.ndarray | pd.DataFrame
    return {
        name: getattr(model, name)
        for name in ("feature_importances_", *vars(model))
        if name.endswith("_") and isinstance(getattr(model, name, None), plain)
    }


def assert_same(first, second):
    """Raise AssertionError unless two results are the same to the last bit."""
    if isinstance(first, Mapping):
        assert list(first) == list(second)
        first, second = list(first.values()), list(second.values())
    if isinstance(first, pd.DataFrame):
        pd.testing.assert_frame_equal(first, second, check_exact=True)
    elif isinstance(first, Sequence) and not isinstance(first, str):
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(first, second)


def assert_blind(studies, models):
    """Raise AssertionError where a model has seen what it must not see."""
    assert_same(*[learned(model) for model in models])
    honest, spoilt = zip(studies, models, strict=True)
    for untouched, step in (("test", np.s_[1::2]), ("local", np.s_[:])):
        np.testing.assert_array_equal(
            *[
                model.predict(study.X_site[getattr(study, untouched)])[step]
                for study, model in (honest, spoilt)
            ]
        )


def rs_local(study):
    """The local samples and the library rows that a search has selected."""
    rows = select_rows(study, "country", **SELECTION).indices
    return study.localised(study.country_rows[rows])


# Whatever else is fitted on a study joins here, as a function of its samples.
# fmt: off
OTHERS = {
    "plsr_local": lambda _, local, __: fit_plsr(*local),
    "rf_local": lambda _, local, __:
        fit_random_forest(*local[:2], seed=1, n_trees=20),
    "cubist_local": lambda _, local, __: fit_cubist(*local[:2]),
    "plsr_global": lambda study, *_: fit_plsr(*study.samples("global")),
    "plsr_country": lambda _, __, country: fit_plsr(*country),
    "rf_country": lambda _, __, country:
        fit_random_forest(*country[:2], seed=1, n_trees=5),
    "plsr_spiked": lambda _, local, country: fit_plsr_spiked(country, local),
    "plsr_weighted": lambda _, local, country:
        fit_plsr_spiked(country, local, weight=4),
    "mbl": lambda _, local, country:
        MemoryBasedLearner(n_neighbours=(50,), max_components=5).fit(country, local),
    "shenk_local": lambda _, local, country: Local().fit(country, local),
    "plsr_rs_local": lambda study, *_: fit_plsr(*rs_local(study)),
}
# fmt: on


def test_split_folds_and_library_are_the_same(studies):
    honest, spoilt = studies
    for name in ("local", "test", "local_folds", "library_folds", "country_folds"):
        np.testing.assert_array_equal(getattr(honest, name), getattr(spoilt, name))
    for part in ("local", "global", "country"):
        assert_same(*[study.samples(part) for study in studies])
    assert_same(honest.country_rows, spoilt.country_rows)
    assert honest.notes == spoilt.notes
    assert not np.isclose(honest.X_test[::2], spoilt.X_test[::2]).all(axis=1).any()
    assert spoilt.site.soc[spoilt.test].min() == 40


@pytest.mark.parametrize("library", ["global", "country"])
def test_selection_is_the_same(studies, library):
    found = [select_rows(study, library, **SELECTION) for study in studies]
    for name in ("indices", "frequency", "searches", "scores"):
        assert_same(*[getattr(selection, name) for selection in found])


@pytest.mark.parametrize("method", NINE_MODELS)
def test_network_is_the_same(studies, nine, method):
    assert_blind(studies, [models[method] for models in nine])


@pytest.mark.parametrize("method", OTHERS)
def test_other_method_is_the_same(studies, method):
    if method == "cubist_local":
        pytest.importorskip("cubist", reason="the optional package cubist")
    fitted = [
        OTHERS[method](study, study.samples("local"), study.samples("country"))
        for study in studies
    ]
    assert_blind(studies, fitted)


def test_architecture_search_is_the_same(studies, tmp_path):
    found = [
        cnn.search(
            *study.samples("local"),
            2,
            tmp_path / name,
            max_epochs=2,
            max_weights=150_000,
        )
        for study, name in zip(studies, ("honest", "spoilt"), strict=True)
    ]
    first, second = (one.trials.drop(columns="seconds") for one in found)
    assert len(first) == 2
    assert_same(first, second)
    assert found[0].best == found[1].best
    assert found[0].score == found[1].score


def test_blend_is_the_same(studies):
    # A network joins; what other candidates learn is compared above.
    names = ("null_model", "plsr_one_se", "gp_local", "plsr_rs_local", "local")
    options = {"candidates": names, "n_networks": 1, "max_epochs": 2}
    found = [
        nested_predictions(study, {"local": TINY}, {}, selection=SELECTION, **options)
        for study in studies
    ]
    assert_same(*[nested.local for nested in found])
    first, second = map(blend, found)
    assert_same(first.table, second.table)
    assert_same(first.local, second.local)
    assert_same(first.test[:, 1::2], second.test[:, 1::2])
    assert not np.isclose(first.test[:, ::2], second.test[:, ::2]).any()


class Peeping:
    """Shifts its predictions to the mean of all spectra it is asked about."""

    def __init__(self, study):
        self.model = fit_plsr(*study.samples("local"))

    def predict(self, X):
        return self.model.predict(X - X.mean(axis=0))


def trained_on_all_samples(study):
    return fit_plsr(study.X_site, study.site.soc, np.arange(len(study.site)) % 3)


def scaled_on_all_spectra(study):
    X = study.samples("local").X / study.X_site.std(axis=0)
    return fit_plsr(X, study.samples("local").y, study.local_folds)


def stopped_by_test_samples(study):
    X, y = study.X_site, study.site.soc
    held_out = np.isin(np.arange(len(y)), study.test).astype(int)
    return cnn.cross_validate(TINY, X, y, held_out, max_epochs=2)


@pytest.mark.parametrize(
    "leak",
    [Peeping, trained_on_all_samples, scaled_on_all_spectra, stopped_by_test_samples],
)
def test_a_leak_is_found(studies, leak):
    with pytest.raises(AssertionError):
        assert_blind(studies, [leak(study) for study in studies])
