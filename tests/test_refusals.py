"""What the science refuses: each wrong call with a part of its sentence."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cnn_helpers import TINY, planted
from rslocal_helpers import make_regions
from sklearn.exceptions import NotFittedError

from soilnb.cnn import (
    SMALL,
    Architecture,
    ConvBlock,
    FCBlock,
    FoldModels,
    band_importance,
    build,
    cross_validate,
    first_filters,
)
from soilnb.cnn.shapes import tail_shapes
from soilnb.cnn.tuning.space import Space
from soilnb.datasets.coordinates import degrees_from_utm
from soilnb.datasets.twin import make_library, make_site
from soilnb.datasets.twin.optics import absorption
from soilnb.metrics import ccc, delta_rmse, evaluate, mean_error, r2, rmse, rpiq
from soilnb.pls import PLS1, choose_n_components, cross_validated_rmse
from soilnb.preprocessing import (
    absorbance,
    band_depth,
    check_wavelengths,
    derivative,
    resample,
    snv,
    working_grid,
)
from soilnb.quality import (
    SpectralOutliers,
    check_spectra,
    detector_steps,
    duplicated_spectra,
    find_joints,
    noise,
    noisy_edges,
)
from soilnb.rslocal import select_instances, selection_size
from soilnb.selection import (
    draw_samples,
    kennard_stone,
    random_folds,
    spectral_strata,
)
from soilnb.study import cv_plus

RNG = np.random.default_rng(1)
NAN = np.nan
NM = np.arange(400.0, 2500.0, 10.0)
BAND = ([[0.4, 0.36, 0.6]], [2150.0, 2190.0, 2250.0])  # and its wavelengths
ROWS = RNG.normal(size=(20, 6))
PLANE = RNG.normal(size=(40, 2)) @ RNG.normal(size=(2, 8))
SMOOTH = np.linspace(0.2, 0.4, len(NM)) + RNG.uniform(0, 0.1, (9, 1))
LINE = np.arange(9.0)[:, None]
X6, Y6 = np.arange(12.0).reshape(6, 2), np.arange(6.0)
REGIONS = make_regions(300, seed=1)
(XL, YL), (XS, YS) = REGIONS["library"], REGIONS["local"]


def cv(**change):
    """Cross-validate twelve samples, some argument being another."""
    X, y = planted(12)
    return cross_validate(
        TINY, **({"X": X, "y": y, "folds": np.arange(12) % 3} | change)
    )


def network(n_wavelengths=30):
    """An untrained network."""
    return build(SMALL, n_wavelengths)


def spoilt(values, place, value):
    """A copy of an array with another value at a place."""
    copy = np.array(values)
    copy[place] = value
    return copy


def select(X=XL, y=YL, X_local=XS, y_local=YS, **settings):
    """Select 20 of 300 rows, some argument being another."""
    settings = {"n_selected": 20, "n_repeats": 10, "n_components": 5, **settings}
    return select_instances(X, y, X_local, y_local, **settings)


def start(**change):
    """Ask whether a search may start with SMALL after a change."""
    return Space(60, max_weights=30_000).check(replace(SMALL, **change))


# Of the scores, all of which take a pair of vectors.
PAIRS = {
    "'y_true' has 2 rows but 'y_pred' has 3": ([1.0, 2.0], [1.0, 2.0, 3.0]),
    "'y_pred' has 1 missing": ([1.0, 2.0], [1.0, NAN]),
    "'y_true' must be 1D": ([[1.0, 2.0]], [1.0, 2.0]),
}
# fmt: off
VALUES = {
    # metrics
    "both the constant 2": lambda: ccc([2.0, 2.0], [2.0, 2.0]),
    "'y_true' is the constant 2": lambda: r2([2.0, 2.0], [1.0, 3.0]),
    "'rmse_local' must be above 0, got 0": lambda: delta_rmse(0.0, 0.4),
    # preprocessing
    r"maximum of 45\. Divide percent by 100\.": lambda: absorbance([[0.3, 45.0]]),
    r"2 zero or negative .* \(first at row 1\)":
        lambda: absorbance([[0.3, 0.4], [0.0, 0.2], [-0.1, 0.2]]),
    "'reflectance' has 1 missing": lambda: absorbance([[0.3, NAN]]),
    # Constant though the numbers are inexact.
    r"1 constant rows \(first at row 1\)": lambda: snv([[0.1, 0.2, 0.3], 3 * [0.1]]),
    "at least 2 wavelengths": lambda: snv([[0.1], [0.2]]),
    # 2300 ... 2480 are 19 bands
    r"420-2480 nm and .* 2300-2500 nm share 19": lambda: working_grid([2300, 2500]),
    r"shape \(1, 3\) but 'wavelengths' has 2":
        lambda: resample([[1, 2, 3]], [400, 410], [400]),
    "at least 2 values": lambda: check_wavelengths([400]),
    "increasing, got 410 followed by 400": lambda: check_wavelengths([410, 400]),
    "got 400 followed by 400": lambda: check_wavelengths([400, 400]),
    "measured at 2150, 2190 and 2300": lambda: band_depth(*BAND, (2150, 2300), 2190),
    "on both sides of 2190": lambda: band_depth(*BAND, (2200, 2250), 2190),
    r"band, got 4\. Use 3 or 5": lambda: derivative(np.ones((1, 9)), window_length=4),
    r"between 3 and 9 \(columns of 'spectra'\)": lambda: derivative(np.ones((1, 9))),
    "'polyorder' must be between 1 and 4":
        lambda: derivative(np.ones((1, 9)), window_length=5, polyorder=5),
    # selection
    r"'n_samples' must be between 2 and 3 \(rows": lambda: kennard_stone(np.eye(3), 4),
    r"even and at least 4 .* got 7\. Give an even number, or use the":
        lambda: draw_samples(LINE, 7),
    "at least 4 for the design 'stratified'": lambda: draw_samples(LINE, 2),
    r"'n_samples' must be between 2 and 9 \(rows of 'X'\), got 10":
        lambda: draw_samples(LINE, 10),
    "Unknown design 'strata'. Did you mean 'stratified'":
        lambda: draw_samples(LINE, 4, design="strata"),
    "'seed' must be at least 0, got -3": lambda: draw_samples(LINE, 4, seed=-3),
    r"between 1 and 3 \(rows of 'X'\), got 4": lambda: spectral_strata(np.eye(3), 4),
    "'X' has 1 missing": lambda: kennard_stone([[0.0], [NAN]], 2),
    "'n_folds' must be between 2 and 5 .* got 6": lambda: random_folds(5, 6, seed=1),
    "'seed' must be at least 0, got -1": lambda: random_folds(5, 2, seed=-1),
    # quality
    r"'reflectance' has 1 infinite .* at row 1":
        lambda: duplicated_spectra([[0.1, 0.2], [np.inf, 0.1]]),
    r"must be 2D .* got shape \(2,\)": lambda: duplicated_spectra([0.1, 0.2]),
    "cannot tell the rows of 'reflectance' apart":
        lambda: duplicated_spectra(RNG.uniform(0.3, 0.3001, (7_000, 12))),
    r"shape \(9, 210\) but 'wavelengths' has 209":
        lambda: detector_steps(SMOOTH, NM[1:]),
    "at least 4 strictly increasing .* got 3":
        lambda: detector_steps(SMOOTH[:, :3], NM[:3]),
    "increasing .* Sort the bands": lambda: detector_steps(SMOOTH, NM[::-1]),
    "at most 2 nm apart, got 10 nm": lambda: find_joints(SMOOTH, NM),
    "'spectra' must have at least 10 rows .* 9": lambda: noise(SMOOTH, NM),
    "at least 5 strictly increasing .* got 4": lambda: noise(SMOOTH[:, :4], NM[:4]),
    "'noise' has 3 rows but 'wavelengths' has 2":
        lambda: noisy_edges([1, 1, 1], [400, 410]),
    "at one band at least, got NaN only": lambda: noisy_edges([NAN, NAN], [400, 410]),
    "'measures' has 7 rows but 'reflectance'":
        lambda: check_spectra(SMOOTH, NM, pd.DataFrame(np.zeros((7, 2)))),
    r"between 1 and 1 \(the rank of 'X' is 2": lambda: SpectralOutliers(2).fit(PLANE),
    r"takes all 2\. Give 0\.\d+ or less":
        lambda: SpectralOutliers(explained=0.9999999).fit(PLANE),
    "at least 2 directions, .* got rank 1":
        lambda: SpectralOutliers().fit(PLANE[:, :1] * np.ones(4)),
    "at least 2 directions, .* got rank 0":
        lambda: SpectralOutliers().fit(np.ones((10, 4))),
    "between 1 and 3 .* got 7":
        lambda: SpectralOutliers(7).fit(RNG.normal(size=(5, 50))),
    "minimum of 3 is required": lambda: SpectralOutliers().fit(ROWS[:2]),
    "contains NaN": lambda: SpectralOutliers().fit(spoilt(ROWS, (3, 0), NAN)),
    "'confidence' must .* between 0 and 1, got 9":
        lambda: SpectralOutliers(confidence=99).fit(ROWS),
    "'explained' must .* between 0 and 1, got 1":
        lambda: SpectralOutliers(explained=1).fit(ROWS),
    "expecting 6 features": lambda: SpectralOutliers(2).fit(ROWS).measure(ROWS[:, :5]),
    # pls
    "'n_components' must be at least 1, got 0": lambda: PLS1(0).fit(X6, Y6),
    "Input y contains NaN": lambda: PLS1(2).fit(X6, spoilt(Y6, 5, NAN)),
    "'folds' must be 6 whole numbers": lambda: cross_validated_rmse(X6, Y6, [0, 1], 2),
    "Unknown rule 'one_sd'":
        lambda: choose_n_components(X6, Y6, np.arange(6) % 2, 2, rule="one_sd"),
    "at least 2 different folds":
        lambda: cross_validated_rmse(X6, Y6, np.zeros(6, int), 2),
    "'X' has 6 rows but 'y' has 5":
        lambda: cross_validated_rmse(X6, Y6[:5], np.arange(6), 2),
    # rslocal
    "'n_library' must be at least 4, got 3": lambda: selection_size(3),
    "'n_selected' must be between 2 and 299": lambda: select(n_selected=300),
    "'n_selected' must be between 2 and 49":
        lambda: select(XL[:50], YL[:50], n_selected=50),
    "'subset_size' must be between 2 and 20 .* 21": lambda: select(subset_size=21),
    "'n_repeats' must be between 1 and": lambda: select(n_repeats=0),
    "'drop_fraction' must be above 0 .* 0.0": lambda: select(drop_fraction=0.0),
    "'drop_fraction' must be above 0 .* nan": lambda: select(drop_fraction=NAN),
    "'n_components' must be between 1 and 19": lambda: select(n_components=0),
    "between 1 and 19 .rows of a subset - 1": lambda: select(n_components=20),
    "'n_components' must be between 1 and 4": lambda: select(subset_size=5),
    "'n_components' must be between 1 and 3":
        lambda: select(XL[:, :3], X_local=XS[:, :3], n_components=4),
    "Unknown n_components 'auto'. Use 'cv'": lambda: select(n_components="auto"),
    "'n_searches' must be at least 1": lambda: select(n_searches=0),
    "'seed' must be between 0": lambda: select(seed=-1),
    "'y_library' has 1 missing.*first at row 17": lambda: select(y=spoilt(YL, 17, NAN)),
    "'X_local' has 1 missing or infinite.*row 4":
        lambda: select(X_local=spoilt(XS, (4, 7), np.inf).astype("f4")),
    "3 constant columns .first: column 7.":
        lambda: select(spoilt(XL, (slice(None), [7, 107, 207]), 1.0)),
    "'y_local' is the constant 1": lambda: select(y_local=np.ones(30)),
    "'y_library' is the constant 0": lambda: select(y=np.zeros(300)),
    "'X_local' has 210 columns but 'X_library'": lambda: select(X_local=XS[:, 1:]),
    "'X_local' has 30 rows but 'y_local' has 29": lambda: select(y_local=YS[1:]),
    r"All \d+ models of iteration 1 failed": lambda: select(y_local=YS * 1e200),
    # cnn: architecture
    "'filters' must be at least 1, got 0": lambda: ConvBlock(0, 9),
    "Unknown padding 'full'": lambda: ConvBlock(8, 9, padding="full"),
    "Unknown pooling 'mean'": lambda: ConvBlock(8, 9, pooling="mean"),
    "Did you mean 'relu'": lambda: FCBlock(8, "rely"),
    "'dropout' must be at least 0": lambda: FCBlock(8, dropout=1.0),
    "at least one block": lambda: Architecture((), ()),
    "'epochs' must be at least 1": lambda: replace(SMALL, epochs=0),
    "Did you mean 'adam'": lambda: replace(SMALL, optimiser="adm"),
    "must be above 0, got 0": lambda: replace(SMALL, learning_rate=0),
    "has no setting 'filter'. Did you mean 'filters'":
        lambda: Architecture.from_dict({"conv": [{"filter": 8}]}),
    "Architecture has no setting 'batch'":
        lambda: Architecture.from_dict(SMALL.to_dict() | {"batch": 8}),
    r"between 0 and 4 \(blocks\), got 5":
        lambda: tail_shapes(replace(SMALL, fc=3 * SMALL.fc), 31, 5),
    # cnn: training
    "at least 2 different numbers": lambda: cv(folds=np.zeros(12, int)),
    "'X' has 12 rows but 'folds' has 11": lambda: cv(folds=np.arange(11)),
    "'X' has 12 rows but 'y' has 11": lambda: cv(y=np.arange(11.0)),
    "'seed' must be at least 0": lambda: cv(seed=-1),
    "'max_epochs' must be at least 1": lambda: cv(max_epochs=0),
    "Did you mean 'inner'": lambda: cv(stopping="iner"),
    "Unknown dtype 'float16'": lambda: cv(dtype="float16"),
    "kernel of 7 but only 5 values": lambda: cv(X=np.ones((12, 5))),
    "'X' has 5 wavelengths but .* 30":
        lambda: FoldModels([network()]).predict(np.ones((2, 5))),
    "at least one model": lambda: FoldModels([]),
    # cnn: search and what networks look at
    "learning_rate = 0.5, outside the Float": lambda: start(learning_rate=0.5),
    "n_fc = 0, outside the Int": lambda: start(fc=()),
    "conv1_kernel = 20, outside the Int": lambda: start(conv=(ConvBlock(32, 20),)),
    "patience = 5, but the search trains with 30": lambda: start(patience=5),
    "weights, but 'max_weights' is 30,000": lambda: start(),
    "'X' has 30 columns but 'wavelengths' has 29":
        lambda: first_filters(network(), np.ones((6, 30)), NM[:29]),
    "'residuals' has 9 rows but 'places' has 8":
        lambda: cv_plus(np.ones(9), np.zeros(8, int), [[1.0]]),
    "'residuals' has 1 missing or infinite":
        lambda: cv_plus([1.0, NAN], [0, 0], [[1.0]]),
    "'zone' must be between 1 and 60, got 61":
        lambda: degrees_from_utm([5e5], [1e6], 61, is_south=False),
    "'n_repeats' must be at least 1, got 0":
        lambda: band_importance(None, np.ones((6, 30)), NM[:30], n_repeats=0),
    # twin
    "Unknown site of the twin 't": lambda: make_site("twin-norway"),
    "Did you mean 'twin-sweden'": lambda: make_site("twin-swede"),
    "'seed' must be at least 1, got 0": lambda: make_library(0),
    "'seed' must be at least 1, got -2": lambda: make_site("twin-usa", -2),
    "Unknown end-member 'gold'": lambda: absorption("gold", [500.0]),
}
KINDS = {
    "'zone' must be a whole number":
        lambda: degrees_from_utm([5e5], [1e6], 22.5, is_south=False),
    "'n_samples' must be a whole number": lambda: kennard_stone(np.eye(3), 2.0),
    "'n_components' must be a whole number": lambda: PLS1(2.5).fit(X6, Y6),
    "'n_components' must .* got 2.0": lambda: SpectralOutliers(2.0).fit(ROWS),
    "'n_components' must .* got 5.0": lambda: select(n_components=5.0),
    "'n_repeats' must be a whole number": lambda: select(n_repeats=0.01),
    "'drop_fraction' must be above 0": lambda: select(drop_fraction="5 %"),
    "'seed' must be a whole number.* None": lambda: select(seed=None),
    "'kernel' must be a whole number": lambda: ConvBlock(8, 2.5),
    "'batch_normalisation' must be True or False, got 'no'":
        lambda: FCBlock(8, batch_normalisation="no"),
    "'dropout' must be a number": lambda: FCBlock(8, dropout="a"),
    "tuple of ConvBlock": lambda: Architecture(ConvBlock(8, 9), ()),
    "only ConvBlock, got FC": lambda: Architecture((FCBlock(8),), ()),
    "1D array of whole numbers": lambda: cv(folds=np.arange(12) / 2),
    "'memory_bytes' must be a whole number": lambda: cv(memory_bytes=0.5),
    "'seed' must be a whole number.* 1.5": lambda: make_library(1.5),
    "'seed' must be a whole number.* True": lambda: make_site("twin-usa", True),
}
# fmt: on


@pytest.mark.parametrize("score", [rmse, mean_error, ccc, r2, rpiq, evaluate])
def test_scores_refuse_what_does_not_match(score):
    for message, pair in PAIRS.items():
        with pytest.raises(ValueError, match=message):
            score(*pair)


@pytest.mark.parametrize("message", VALUES)
def test_values_are_refused(message):
    with pytest.raises(ValueError, match=message):
        VALUES[message]()


@pytest.mark.parametrize("message", KINDS)
def test_kinds_are_refused(message):
    with pytest.raises(TypeError, match=message):
        KINDS[message]()


@pytest.mark.parametrize(
    "wrong", [(2480, 420), (420,), (420, NAN), "420-2480", (True, False), None]
)
def test_a_range_that_is_not_two_increasing_numbers_is_refused(wrong):
    with pytest.raises(ValueError, match="'wavelength_range' must be two increasing"):
        working_grid([400, 2500], wrong)


def test_what_is_not_fitted_or_not_there_is_refused(tmp_path):
    for estimator in (PLS1(2).predict, SpectralOutliers().measure):
        with pytest.raises(NotFittedError):
            estimator(ROWS)
    with pytest.raises(FileNotFoundError, match=r"No 'fold_01.keras' in"):
        FoldModels.load(tmp_path)
