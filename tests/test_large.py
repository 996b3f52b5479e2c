"""A library that is large: held once, in single precision, shared by sites.

Each test calls matrices of more than 100,000 values large, as is the library of `skane`
then, and compares with what the same matrix gives as an ordinary one.
"""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from soilnb import _blocks
from soilnb.baselines import (
    Local,
    MemoryBasedLearner,
    fit_plsr,
    fit_plsr_spiked,
    spiked_local_rmse,
)
from soilnb.pls import PLS1, choose_n_components, cross_validated_rmse
from soilnb.pls.products import Products
from soilnb.preprocessing import snv_absorbance
from soilnb.quality import duplicated_spectra
from soilnb.study import Study, is_whole, nearest_in_library, select_rows, sweep_weights
from soilnb.study.kept import SEEN


@pytest.fixture
def large(monkeypatch):
    """Call the library of `skane` large from now on."""
    return lambda: monkeypatch.setattr(_blocks, "LARGE_VALUES", 100_000)


@pytest.fixture
def shared(skane, tmp_path, large):
    """The study of `skane`, saved and loaded as that of a large library."""
    large()
    folder = tmp_path / "skane" / "01_data"
    folder.mkdir(parents=True)
    skane.with_split().save(folder, tmp_path / ".spectra")
    return Study.load(folder)


def test_blocks_hold_every_row_once(monkeypatch):
    monkeypatch.setattr(_blocks, "BLOCK_ROWS", 4)
    assert [*_blocks.row_blocks(10)] == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert not [*_blocks.row_blocks(0)]


def test_spectra_of_a_large_matrix_are_those_of_its_rows(skane, large):
    expected = snv_absorbance(skane.library.reflectance)
    large()
    seen = snv_absorbance(skane.library.reflectance)
    assert (expected.dtype, seen.dtype) == (np.float64, np.float32)
    np.testing.assert_array_equal(seen, expected.astype(np.float32))


def test_products_give_the_regression_that_the_spectra_give(skane, large):
    X, y, folds = skane.samples("global")
    model = PLS1(20).fit(X, y)
    rmse = cross_validated_rmse(X, y, folds, 20)
    size = choose_n_components(X, y, folds, 20)
    chosen = fit_plsr(X, y, folds, max_components=20)
    large()
    found = PLS1(20).fit(X, y)
    both = chosen, fit_plsr(X, y, folds, max_components=20)
    assert both[0].n_components == both[1].n_components == size
    np.testing.assert_allclose(*(one.predict(X) for one in both), atol=1e-6)
    np.testing.assert_allclose(found.predict_all(X), model.predict_all(X), atol=1e-6)
    scores = np.abs(found.transform(X[:9])), np.abs(model.transform(X[:9]))
    np.testing.assert_allclose(*scores, atol=1e-7)  # as documented, but for the sign
    assert found.n_components_fitted_ == model.n_components_fitted_
    np.testing.assert_allclose(cross_validated_rmse(X, y, folds, 20), rmse, rtol=1e-7)
    assert choose_n_components(X, y, folds, 20) == size


def test_products_of_parts_add_up_with_their_votes():
    # By hand: 1, 2 and, three times, 6 have mean 21 / 5, squares 25.8 + 0 around it:
    # (3.2^2 + 2.2^2 + 3 x 1.8^2) = 24.8.
    first = Products.of([[1.0], [2.0]], [1.0, 2.0])
    both = first.plus(Products.of([[6.0]], [6.0]), votes=3)
    assert (both.n, both.mean[0]) == (5, pytest.approx(4.2))
    np.testing.assert_allclose(both.sums, 24.8)
    assert first.plus(Products.of(np.empty((0, 1)), [])) is first


def test_components_that_do_not_exist_repeat_the_last():
    x = np.arange(6.0)
    products = Products.of(np.column_stack([x, 2 * x]), 3 * x)
    coef, intercept, rotations = products.fit(3)
    assert len(rotations) == 1
    np.testing.assert_allclose(coef @ [1, 2], 3)
    np.testing.assert_allclose(intercept, 0, atol=1e-12)
    constant = Products.of(np.column_stack([x, 2 * x]), np.full(6, 2.0))
    assert not constant.fit(2)[0].any()


def test_a_large_matrix_with_a_gap_is_refused(skane, large):
    X, y, folds = skane.samples("global")
    X = X.copy()
    X[7, 3] = np.nan
    large()
    for call in (
        lambda: cross_validated_rmse(X, y, folds, 5),
        lambda: PLS1(3).fit(X, y),
        lambda: fit_plsr(X, y, folds),
        lambda: MemoryBasedLearner().fit((X, y), skane.samples("local")[:2]),
    ):
        with pytest.raises(ValueError, match=r"1 missing or infinite .* row 7"):
            call()
    with pytest.raises(ValueError, match="at least 2 different folds, got 1"):
        fit_plsr(skane.samples("global").X, y, np.zeros(len(y), int))


@pytest.mark.parametrize("weight", [1, 30])
def test_spiking_of_a_large_library_is_that_of_its_rows(skane, large, weight):
    library, local = skane.samples("global"), skane.samples("local")
    model = fit_plsr_spiked(library, local, weight=weight)
    error = spiked_local_rmse(library, local, weight=weight, n_components=9)
    large()
    found = fit_plsr_spiked(library, local, weight=weight)
    assert found.n_components == model.n_components
    np.testing.assert_allclose(
        found.predict(skane.X_test), model.predict(skane.X_test), atol=1e-6
    )
    again = spiked_local_rmse(library, local, weight=weight, n_components=9)
    assert again == pytest.approx(error, rel=1e-7)


def test_one_reading_of_a_large_library_serves_every_weight(skane, large):
    expected = sweep_weights(skane, (1, 100))
    large()
    np.testing.assert_allclose(sweep_weights(skane, (1, 100)), expected, rtol=1e-6)


@pytest.mark.parametrize("method", [MemoryBasedLearner, Local])
def test_neighbours_in_a_large_library_are_the_same(skane, large, method):
    library, local = skane.samples("global"), skane.samples("local")
    expected = method().fit(library, local)
    large()
    found = method().fit(library, local)
    assert found.n_neighbours_ == expected.n_neighbours_
    np.testing.assert_allclose(
        found.predict(skane.X_test), expected.predict(skane.X_test), atol=1e-7
    )


def test_constant_spectra_of_a_large_library_correlate_with_nothing(skane, large):
    X, y, _ = skane.samples("global")
    X = X.copy()
    X[4] = 1
    large()
    with pytest.raises(ValueError, match="'X_library' has 1 constant rows"):
        Local().fit((X, y), skane.samples("local")[:2])


def test_copies_are_found_in_single_precision_and_in_blocks(skane, monkeypatch):
    spectra = skane.library.reflectance[:300].copy()
    spectra[200], spectra[250] = spectra[3], spectra[7] + 1e-4
    spectra[100, :5] = np.nan
    monkeypatch.setattr(_blocks, "BLOCK_ROWS", 64)
    found = duplicated_spectra(spectra)
    assert found[[200, 250]].tolist() == [3, 7]
    np.testing.assert_array_equal(found, duplicated_spectra(spectra.astype(float)))


def test_a_study_of_a_large_library_shares_its_spectra(skane, shared, tmp_path):
    assert shared.fingerprint == skane.fingerprint
    assert shared.with_split(seed=2).fingerprint != skane.fingerprint
    whole, known = shared.samples("global"), skane.samples("global")
    assert isinstance(whole.X, np.memmap)
    np.testing.assert_array_equal(whole.X, known.X.astype(np.float32))
    np.testing.assert_array_equal(shared.library.reflectance, skane.library.reflectance)
    assert shared.library.info.equals(skane.library.info)
    for part in ("global", "country"):  # few rows are as exact as of any library
        few, expected = shared.samples(part, 60), skane.samples(part, 60)
        np.testing.assert_array_equal(few.X, expected.X)
        np.testing.assert_array_equal(few.folds, expected.folds)
    np.testing.assert_array_equal(shared.localised([5, 2]).X, skane.localised([5, 2]).X)
    other = tmp_path / "other"
    other.mkdir()
    shared.with_split(seed=2).save(other)
    assert len([*(tmp_path / ".spectra").glob("[!.]*")]) == 1
    assert Study.load(other).kept == shared.kept


def test_an_ordinary_study_makes_only_the_spectra_that_are_asked_for(skane):
    fresh = replace(skane)
    few, rows = fresh.samples("global", 60), fresh.localised([5, 2])
    assert "_X_library" not in fresh.__dict__
    drawn = skane.draw(len(skane.library), 60)
    np.testing.assert_array_equal(few.X, skane.samples("global").X[drawn])
    np.testing.assert_array_equal(rows.X[:2], skane.samples("global").X[[5, 2]])


def test_shared_spectra_are_whole_or_not_there(skane, shared, tmp_path):
    folder = tmp_path / "skane" / "01_data"
    assert is_whole(folder)
    partial = shared.kept.with_name(f".{shared.kept.name}.partial")
    shared.kept.rename(partial)  # as left by a process that was killed
    (partial / SEEN).write_bytes(b"half")
    assert not is_whole(folder)
    with pytest.raises(FileNotFoundError, match=r"are not at .*\. Run 01_data again\."):
        Study.load(folder)
    skane.with_split().save(folder, tmp_path / ".spectra")
    assert is_whole(folder)
    assert not partial.exists()
    np.testing.assert_array_equal(Study.load(folder).spectra(), shared.spectra())


def test_a_results_folder_may_be_moved(shared, tmp_path):
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    shutil.move(tmp_path, moved)
    again = Study.load(moved / "skane" / "01_data")
    assert os.path.commonpath([again.kept, moved]) == str(moved)


def test_distance_to_a_large_library_is_that_to_its_rows(skane, shared):
    found, expected = nearest_in_library(shared), nearest_in_library(replace(skane))
    # The fixture calls matrices large: the second is computed in the same way.
    np.testing.assert_allclose(found["distance"], expected["distance"], rtol=1e-5)


def test_large_and_ordinary_distances_agree(skane, large):
    expected = nearest_in_library(skane)
    large()
    found = nearest_in_library(skane)
    assert found["group"].tolist() == expected["group"].tolist()
    np.testing.assert_allclose(found["distance"], expected["distance"], rtol=1e-9)
    np.testing.assert_allclose(found["ratio"], expected["ratio"], rtol=1e-9)


def test_rows_are_selected_among_those_drawn(skane):
    options = {"n_selected": 20, "n_repeats": 5, "drop_fraction": 0.3}
    found = select_rows(skane, "global", n_most=200, **options)
    drawn = skane.draw(len(skane.library), 200)
    assert np.isin(found.indices, drawn).all()
    assert np.isin(found.searches, drawn).all()
    chosen = np.flatnonzero(found.frequency)
    np.testing.assert_array_equal(chosen, found.indices)
    assert np.isin(np.flatnonzero(~np.isnan(found.scores)), drawn).all()
    assert not np.isnan(found.scores[chosen]).any()
    whole = select_rows(skane, "global", n_most=10**6, **options)
    plain = select_rows(skane, "global", **options)
    np.testing.assert_array_equal(whole.indices, plain.indices)


def test_plsr_on_a_map_of_a_file(skane, shared):
    model = fit_plsr(*shared.samples("global"), max_components=25)
    assert np.isfinite(model.predict(skane.X_test)).all()
    exact = PLS1(model.n_components).fit(
        skane.samples("global").X.astype(np.float32).astype(np.float64),
        skane.library.soc,
    )
    np.testing.assert_allclose(
        model.predict(skane.X_test), exact.predict(skane.X_test), atol=1e-6
    )
