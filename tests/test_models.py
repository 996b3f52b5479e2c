"""The nine models of a study: which rows, folds, networks and seeds each one gets."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from soilnb import _files, cnn, transfer
from soilnb.cnn import PUBLISHED, SMALL, Architecture, ConvBlock, feasible
from soilnb.cnn.tuning import SearchResult, Trial
from soilnb.cnn.tuning.space import Space, to_architecture
from soilnb.datasets import load_library, load_site
from soilnb.rslocal import select_instances
from soilnb.study import (
    NINE_MODELS,
    available_models,
    describe_search,
    fit_models,
    library_architectures,
    library_network,
    library_networks,
    prepare,
    search_library_network,
    select_rows,
)
from soilnb.study import networks as networks_module
from soilnb.study.networks import fit_network, network_key

TINY = Architecture(conv=(ConvBlock(2, kernel=9, stride=9),), fc=(), batch_size=64)
FEW = {"max_epochs": 2, "n_library": 60, "selection": {"n_repeats": 2}}


@pytest.fixture(scope="module")
def skane(short_skane):
    return short_skane


@pytest.fixture(scope="module")
def vaud(farms):
    return prepare(farms, load_site("vaud"), n_folds=3)


@pytest.fixture(scope="module")
def tiny():
    """Every architecture small, each another one."""
    return {
        name: Architecture(conv=(ConvBlock(2, kernel=9, stride=stride),), fc=())
        for name, stride in zip(
            ("local", "global", "country", "dtl_i_global", "dtl_i_country"),
            range(9, 14),
            strict=True,
        )
    }


@pytest.fixture(scope="module")
def fits(skane, tiny):
    """All nine, really trained."""
    return fit_models(skane, tiny, **FEW)


@pytest.fixture
def calls(monkeypatch):
    """What every training was called with, in order; nothing is trained."""
    made = []

    def watch(module, name):
        def function(architecture, *data, **options):
            made.append(
                SimpleNamespace(name=name, a=architecture, data=data, **options)
            )
            return SimpleNamespace(models=f"models of call {len(made)}")

        monkeypatch.setattr(module, name, function)

    watch(cnn, "cross_validate")
    for name in ("dtl_i", "dtl_r", "dtl_ir"):
        watch(transfer, name)
    return made


def by_method(study, calls, **options):
    """The calls of all nine models, each under the name of its method."""
    fit_models(study, {}, **FEW | options)
    return dict(zip(NINE_MODELS, calls, strict=True))


def test_all_nine_are_fitted_and_scored_on_the_test_samples(fits):
    assert tuple(fits.models) == NINE_MODELS
    scores, predictions = fits.score("tiny")
    assert scores["method"].tolist() == list(NINE_MODELS)
    assert (scores["n_test"] == 95).all()
    assert np.isfinite(scores["rmse"]).all()
    assert len(predictions) == 9 * 95
    shared = {"selection_global", "selection_country"}
    assert set(fits.seconds) == {*NINE_MODELS, *shared}
    assert all(seconds > 0 for seconds in fits.seconds.values())


def test_each_model_is_what_its_own_function_makes(skane, tiny, fits):
    local, few = skane.samples("local"), {"seed": 1, "max_epochs": 2}
    alone = cnn.cross_validate(tiny["local"], *local, **few)
    np.testing.assert_array_equal(alone.history, fits.models["local"].history)

    country = skane.samples("country")
    chosen = select_instances(
        *country[:2], *local[:2], n_selected=60, n_repeats=2, seed=1
    ).indices
    rows = (
        np.concatenate([country.X[chosen], local.X]),
        np.concatenate([country.y[chosen], local.y]),
        skane.localised_folds(60),
    )
    both = transfer.dtl_i(tiny["dtl_i_country"], *rows, **few)
    np.testing.assert_array_equal(both.history, fits.models["dtl_i_country"].history)

    library = fits.models["country"].models
    retrained = transfer.dtl_r(tiny["country"], library, *local, **few)
    found = fits.models["dtl_r_country"]
    np.testing.assert_array_equal(retrained.history, found.history)
    assert (retrained.base, retrained.n_frozen) == (found.base, found.n_frozen)

    mixed = transfer.dtl_ir(tiny["country"], library, *rows, n_local=30, **few)
    np.testing.assert_array_equal(mixed.history, fits.models["dtl_ir_country"].history)


def test_seed_decides_everything(skane, tiny, fits):
    wanted = ["local", "dtl_i_country"]
    again = fit_models(skane, tiny, methods=wanted, **FEW)
    other = prepare(
        load_library("farms"),
        load_site("skane"),
        n_folds=3,
        wavelength_range=(1000, 2400),
        seed=2,
    )
    changed = fit_models(other, tiny, methods=wanted, **FEW)
    for method in wanted:
        first = fits.models[method].predict(skane.X_test)
        np.testing.assert_array_equal(again.models[method].predict(skane.X_test), first)
        assert not np.allclose(changed.models[method].predict(skane.X_test), first)


def test_local_and_dtl_r_share_folds_and_so_do_dtl_i_and_dtl_ir(skane, calls):
    made = by_method(skane, calls)
    number = {method: place + 1 for place, method in enumerate(made)}
    for library, n_selected in (("global", 100), ("country", 60)):
        assert made[f"dtl_r_{library}"].data[-1] is skane.local_folds
        for method in (f"dtl_i_{library}", f"dtl_ir_{library}"):
            folds = skane.localised_folds(n_selected)
            assert made[method].data[-1].tolist() == folds.tolist()
        # Retraining starts from the network of its library.
        for method in (f"dtl_r_{library}", f"dtl_ir_{library}"):
            assert made[method].data[0] == f"models of call {number[library]}"
    assert made["local"].data[-1] is skane.local_folds


def test_both_instance_methods_get_the_same_selected_rows_of_their_library(
    skane, calls
):
    made, local = by_method(skane, calls), skane.samples("local")
    for library in ("global", "country"):
        rows = select_rows(skane, library, n_repeats=2).indices
        of_library = skane.samples(library)
        for method in (f"dtl_i_{library}", f"dtl_ir_{library}"):
            X, y, _ = made[method].data[-3:]
            np.testing.assert_array_equal(X, [*of_library.X[rows], *local.X])
            np.testing.assert_array_equal(y, [*of_library.y[rows], *local.y])
        assert made[f"dtl_ir_{library}"].n_local == 30


def test_architectures_go_to_their_models_and_the_small_one_to_the_rest(
    skane, calls, tiny
):
    given = {name: tiny[name] for name in ("local", "global", "dtl_i_country")}
    fit_models(skane, given, **FEW)
    used = {method: call.a for method, call in zip(NINE_MODELS, calls, strict=True)}
    expected = dict.fromkeys(NINE_MODELS, SMALL) | given
    expected |= {"dtl_r_global": tiny["global"], "dtl_ir_global": tiny["global"]}
    assert used == expected


def test_epochs_of_retraining_are_those_of_training_unless_given(skane, calls):
    epochs = {
        method: call.max_epochs
        for method, call in by_method(skane, calls, retrain_epochs=5).items()
    }
    retrained = {name for name in NINE_MODELS if name.startswith(("dtl_r", "dtl_ir"))}
    assert epochs == {name: 5 if name in retrained else 2 for name in NINE_MODELS}
    calls.clear()
    made = by_method(skane, calls)
    assert {call.max_epochs for call in made.values()} == {2}


def test_library_network_has_at_most_so_many_rows_and_selection_all(skane, calls):
    made = by_method(skane, calls)
    assert len(made["global"].data[1]) == len(made["country"].data[1]) == 60
    X, y, folds = skane.samples("global", 60)
    rows = skane.draw(len(skane.library), 60)
    np.testing.assert_array_equal(X, skane.samples("global").X[rows])
    np.testing.assert_array_equal(y, skane.samples("global").y[rows])
    np.testing.assert_array_equal(folds, skane.library_folds[rows])
    frequency = select_rows(skane, "global", n_repeats=2).frequency
    assert len(frequency) == len(skane.library) > 60


def test_what_is_shared_is_made_once(skane, calls):
    transfers = [name for name in NINE_MODELS if name.endswith("_country")]
    fits = fit_models(skane, {}, methods=transfers, **FEW)
    names = [call.name for call in calls]
    assert names == ["dtl_i", "cross_validate", "dtl_r", "dtl_ir"]
    assert list(fits.models) == transfers  # the network was needed, but not asked for
    assert set(fits.seconds) == {*transfers, "country", "selection_country"}


def test_network_handed_in_is_not_trained_again(skane, tiny, fits):
    calls = []
    again = fit_models(
        skane,
        tiny,
        methods=["global", "dtl_r_global"],
        networks={"global": fits.models["global"].models},  # FoldModels: from a file
        progress=lambda *call: calls.append(call),
        **FEW,
    )
    assert np.isnan(again.seconds["global"])
    assert not any("global, epoch" in text and "dtl" not in text for *_, text in calls)
    for method in ("global", "dtl_r_global"):
        np.testing.assert_array_equal(
            again.models[method].predict(skane.X_test),
            fits.models[method].predict(skane.X_test),
        )


def test_rows_handed_in_are_not_selected_again(skane, calls):
    rows = np.arange(5, 25)
    fits = fit_models(
        skane, {}, methods=["dtl_i_global"], selections={"global": rows}, **FEW
    )
    X, _, folds = calls[0].data
    np.testing.assert_array_equal(X[:20], skane.samples("global").X[rows])
    assert len(folds) == 20 + 30
    assert set(fits.seconds) == {"dtl_i_global"}


def test_network_key_is_the_same_for_other_splits_of_the_site(skane):
    drawn = skane.resplit(split="random")
    keys = {
        network_key(study, library, architecture=TINY, max_epochs=2)
        for library in ("global", "country")
        for study in (skane, drawn, skane.first_local(10))
    }
    assert len(keys) == 2  # one for each library
    histories = [
        fit_network(study, "global", TINY, max_epochs=2, n_library=60).history
        for study in (skane, drawn)
    ]
    np.testing.assert_array_equal(*histories)


def test_network_key_differs_with_all_that_a_network_depends_on(skane, vaud):
    seeded = skane.resplit(seed=2)
    keys = [
        network_key(skane, "global", architecture=TINY, max_epochs=2),
        network_key(skane, "global", architecture=TINY, max_epochs=3),
        network_key(skane, "global", architecture=SMALL, max_epochs=2),
        network_key(skane, "global", 60, architecture=TINY, max_epochs=2),
        network_key(seeded, "global", architecture=TINY, max_epochs=2),
        network_key(vaud, "global", architecture=TINY, max_epochs=2),
    ]
    assert len(set(keys)) == len(keys)


def test_letter_in_figures_or_workflow_costs_no_network_and_one_in_cnn_all(
    skane, monkeypatch, tmp_path
):
    code = tmp_path / "soilnb"
    shutil.copytree(_files.PACKAGE, code)
    monkeypatch.setattr(_files, "PACKAGE", code)
    first = network_key(skane, "global", 60, architecture=TINY)
    for room in ("plots/style.py", "workflow/show.py", "study/paper.py", "methods.py"):
        (code / room).write_text("# another letter")
    assert network_key(skane, "global", 60, architecture=TINY) == first
    (code / "cnn" / "layers.py").write_text("# another letter")
    assert network_key(skane, "global", 60, architecture=TINY) != first


def test_networks_of_all_libraries_are_told_of_as_one_and_trained_once(skane, tmp_path):
    calls, how = [], {"max_epochs": 2, "n_library": 60, "folder": tmp_path}
    given = {"local": SMALL, "country": TINY, "global": TINY}
    found = library_networks(skane, given, progress=lambda *c: calls.append(c), **how)
    assert list(found) == ["global", "country"]
    assert [call[0] for call in calls] == sorted(call[0] for call in calls)
    assert calls[-1][:2] == (200, 200)
    calls.clear()
    how["progress"] = lambda *call: calls.append(call)
    again = library_network(skane.first_local(10), "global", TINY, **how)
    np.testing.assert_array_equal(again.history, found["global"].history)
    assert again.seconds == found["global"].seconds
    assert calls == [(1, 1, "the global network was trained before and is used again")]
    files = [file.suffix for file in tmp_path.iterdir()]
    assert sorted(files) == 2 * [".lock"] + 2 * [".npz"]
    how["folder"] = tmp_path / "another"
    alone = library_network(skane, "country", TINY, **how)
    np.testing.assert_array_equal(found["country"].history, alone.history)


def test_twin_has_the_published_networks_where_its_bands_are_enough(skane):
    of = library_architectures
    assert of(skane) == {"global": SMALL, "country": SMALL}
    library = replace(skane.library, name="twin")
    site = replace(skane.site, name="twin-sweden")
    twin = replace(skane, library=library, site=site)
    fits = feasible(PUBLISHED["sweden"], len(twin.wavelengths))
    assert of(twin)["country"] == (PUBLISHED["sweden"] if fits else SMALL)
    assert of(twin, is_small=True) == of(skane)


def test_large_library_is_trained_in_larger_batches(skane, tmp_path, monkeypatch):
    used = []

    def fit(*parts, **_):
        used.append(parts[-1])
        return SimpleNamespace(save=Path.touch)

    monkeypatch.setattr(networks_module, "fit_network", fit)
    for large in (len(skane.library), len(skane.library) - 1):
        monkeypatch.setattr(networks_module, "LARGE_LIBRARY", large)
        library_network(skane, "global", TINY, folder=tmp_path / str(large))
    assert used == [TINY, replace(TINY, batch_size=128, patience=10)]


def test_search_for_a_library_s_network_goes_on_where_it_is_kept(
    skane, tmp_path, quick
):
    how = {"max_epochs": 2, "max_weights": 100_000, "folder": tmp_path}
    first = search_library_network(skane, "country", 2, **how)
    assert first.trials["number"].tolist() == [1, 2]
    more = search_library_network(skane.first_local(10), "country", 3, **how)
    assert more.trials["score"][:2].tolist() == first.trials["score"].tolist()
    settings = json.loads(next(tmp_path.glob("*.search/search.json")).read_text())
    assert settings["stopping"] == "inner"  # the rows that score have no other part


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        (
            [0.30, 0.284],
            "Best of 2 trials: 0.28 % SOC, cross-validated, with {size} weights; the "
            "small network has 0.30 % SOC. Taken: the small network.",
        ),
        (
            [0.30, 0.254],
            "Best of 2 trials: 0.25 % SOC, cross-validated, with {size} weights; the "
            "small network has 0.30 % SOC. Taken: what was found.",
        ),
        (
            [None, 0.254],
            "Best of 2 trials: 0.25 % SOC, cross-validated, with {size} weights; the "
            "small network failed. Taken: what was found.",
        ),
        (
            [0.30, 0.31],
            "None of 2 trials is better than the small network: 0.30 % SOC, "
            "cross-validated.",
        ),
    ],
)
def test_what_a_search_found_and_took_is_told(scores, told):
    space = Space(211)
    other = space.draw(np.random.default_rng(1))
    tried = [
        Trial(number, values, "failed" if score is None else "completed", score)
        for number, (values, score) in enumerate(
            zip((space.check(SMALL), other), scores, strict=True), 1
        )
    ]
    size = f"{cnn.n_weights(to_architecture(other), 211):,}"
    found = SearchResult(tuple(tried), space)
    assert describe_search(found) == told.format(size=size)


def test_site_without_country_library_has_five_models(vaud, calls):
    fits = fit_models(vaud, {}, **FEW)
    assert tuple(fits.models) == available_models(vaud)
    assert len(fits.models) == 5
    assert not any("country" in name for name in fits.models)


def test_progress_rises_to_its_total_and_names_the_model(skane, tiny):
    calls = []
    wanted = ["dtl_r_country", "dtl_i_country", "local"]
    fit_models(
        skane,
        tiny,
        methods=wanted,
        progress=lambda *call: calls.append(call),
        **FEW | {"max_epochs": 20},
    )
    done = [call[0] for call in calls]
    assert done == sorted(done)
    assert {total for _, total, _ in calls} == {300}
    assert {50, 100, 150, 200, 300} <= set(done)
    assert calls[-1] == (300, 300, "dtl_r_country")
    at = {text.split(" of ")[0]: done for done, _, text in calls}
    assert at["local"] == 100
    assert at["dtl_i_country, search 1"] == 100  # the selection is no part of it


@pytest.mark.parametrize(
    ("architectures", "options", "message"),
    [
        ({}, {"methods": ["dtl_global"]}, "Unknown method 'dtl_global'. Did you mean"),
        ({}, {"methods": ["dtl_r_country"]}, "'vaud', which has no country library"),
        ({}, {"networks": {"country": None}}, "'library' must be 'global' for the s"),
        ({}, {"selections": {"countries": [1]}}, "Unknown library 'countries'. Did y"),
        ({"dtl_r_global": TINY}, {}, "Unknown architecture 'dtl_r_global'"),
    ],
)
def test_model_that_cannot_be_fitted_is_refused(vaud, architectures, options, message):
    with pytest.raises(ValueError, match=message):
        fit_models(vaud, architectures, **options)
