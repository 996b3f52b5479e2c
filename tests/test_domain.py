"""Samples unlike the measured ones: how many are marked, which, and why."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA

from soilnb.datasets import load_site
from soilnb.selection import draw_samples, random_folds
from soilnb.study import find_domain, nearest_in_library, prepare
from soilnb.study.domain import REASONS


@pytest.fixture(scope="module", params=["skane", "uppsala"])
def site(request, farms):
    return prepare(farms, load_site(request.param), wavelength_range=(450, 2400))


@pytest.fixture(scope="module")
def skane(farms):
    return prepare(farms, load_site("skane"), wavelength_range=(450, 2400))


def drawn(study, n=30, seed=1, n_folds=10):
    """The study of a simple random draw; all other samples are test samples."""
    local = draw_samples(study.X_site, n, design="random", seed=seed)["row"].to_numpy()
    return study.with_split(
        local=local,
        test=np.setdiff1d(np.arange(len(study.site)), local),
        local_folds=random_folds(n, n_folds, seed),
        n_folds=n_folds,
    )


def with_spectrum(study, row, spectrum):
    """The study with another spectrum (SNV absorbance) of one of its rows."""
    made = replace(study)
    X = study.X_site.copy()
    X[row] = spectrum
    made.__dict__["X_site"] = X
    return made


def test_about_five_percent_of_a_random_draw_are_marked(site):
    shares = [
        1 - find_domain(drawn(site, seed=seed))["in_domain"].mean()
        for seed in range(1, 21)
    ]
    # Of 20 draws; a single one has between 0 and 20 %.
    assert 0.02 < np.mean(shares) < 0.10


def test_table_has_a_row_per_test_sample(skane):
    study = drawn(skane)
    table = find_domain(study)
    assert list(table) == ["distance", "in_domain", "reason"]
    assert len(table) == len(study.test)
    np.testing.assert_array_equal(table["in_domain"], table["distance"] <= 1)
    assert (table.loc[table["in_domain"], "reason"] == "").all()
    outside = table.loc[~table["in_domain"], "reason"]
    assert len(outside)
    assert set(outside) <= set(REASONS.values())


def test_a_shape_that_no_measured_spectrum_has_is_told(skane):
    study = drawn(skane)
    place = 7
    spectrum = study.X_test[place].copy()
    spectrum[60:64] += 0.4  # a narrow band, that components do not have
    table = find_domain(with_spectrum(study, study.test[place], spectrum))
    assert not table.loc[place, "in_domain"]
    assert table.loc[place, "reason"] == REASONS["q"]
    # No other sample is judged by it.
    others = np.arange(len(table)) != place
    expected = find_domain(study)[others]
    pd.testing.assert_frame_equal(table[others], expected)


def test_an_extreme_mixture_of_measured_spectra_is_told(skane):
    # Along the weakest of five components it is far out for T2, but near in distance.
    study = drawn(skane)
    X = study.samples("local").X
    mean = X.mean(axis=0)
    _, singular, components = np.linalg.svd(X - mean, full_matrices=False)
    step = 12 * singular[4] / np.sqrt(len(X) - 1)
    table = find_domain(
        with_spectrum(study, study.test[0], mean + step * components[4])
    )
    assert table.loc[0, "reason"] == REASONS["t2"]
    assert table.loc[0, "distance"] > 2
    # A measured spectrum is inside.
    table = find_domain(with_spectrum(study, study.test[0], X[0]))
    assert table.loc[0, "in_domain"]


def test_soils_of_other_farms_are_outside_and_a_farm_in_itself(skane, farms):
    study = drawn(skane)
    bands = farms.on_grid(study.wavelengths)
    soils = bands.take(np.isfinite(bands.reflectance).all(axis=1))
    made = replace(study, site=soils, local=np.arange(1), test=np.arange(len(soils)))
    far = study.with_split(test=len(study.site) + made.test)
    far.__dict__["X_site"] = np.vstack([study.X_site, made.X_test])
    group = soils.info["group"].to_numpy()
    inside = find_domain(far)["in_domain"].groupby(group).mean()
    assert inside["SL.125"] > 0.9  # skane itself
    assert len(inside) == 5
    assert inside.drop("SL.125").max() < 0.05


def test_order_of_rows_does_not_matter(skane, rng):
    study = drawn(skane)
    expected = find_domain(study)
    order = rng.permutation(len(study.test))
    found = find_domain(study.with_split(test=study.test[order]))
    pd.testing.assert_frame_equal(found, expected.iloc[order].reset_index(drop=True))
    order = rng.permutation(30)
    local, folds = study.local[order], study.local_folds[order]
    found = find_domain(study.with_split(local=local, local_folds=folds))
    pd.testing.assert_frame_equal(found, expected)
    # Nor does the number of a fold.
    found = find_domain(study.with_split(local_folds=9 - study.local_folds))
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("n_folds", [2, 10])
def test_ten_samples_are_enough(skane, n_folds):
    shares = []
    for seed in range(1, 11):
        table = find_domain(drawn(skane, 10, seed, n_folds))
        assert np.isfinite(table["distance"]).all()
        shares.append(1 - table["in_domain"].mean())
    # The limit is the largest of ten: one in eleven is beyond it.
    assert 0.02 < np.mean(shares) < 0.2


def measure(known, new):
    """Logarithms of nearest distance, T2 and Q, by scikit-learn's components."""
    pca = PCA(5, svd_solver="full").fit(known)
    scores = pca.transform(new)
    left = new - pca.inverse_transform(scores)
    nearest = [min(np.linalg.norm(known - one, axis=1)) for one in new]
    t2 = (scores**2 / pca.explained_variance_).sum(axis=1)
    return np.log(np.column_stack([nearest, t2, (left**2).sum(axis=1)]))


@pytest.mark.parametrize("n_drawn", [30, 22, 12])
def test_rule_worked_step_by_step_with_other_components(skane, n_drawn):
    study = drawn(skane)
    rows = study.local[:n_drawn]  # the others were measured beside the draw
    X, _, folds = study.samples("local")
    of_local, of_test = np.empty((30, 3)), []
    for number in range(10):
        kept = X[folds != number]
        of_local[folds == number] = measure(kept, X[folds == number])
        of_test.append(measure(kept, study.X_test))
    of_draw = of_local[:n_drawn]
    centre, spread = of_draw.mean(axis=0), of_draw.std(axis=0, ddof=1)
    own = np.sort(((of_draw - centre) / spread).max(axis=1))
    # The 95 % quantile of n + 1: of 30 at place 29.45, of 22 at 21.85, of 12 the last.
    place = min(0.95 * (n_drawn + 1), n_drawn)
    limit = np.interp(place, np.arange(1, n_drawn + 1), own)
    scores = ((np.mean(of_test, axis=0) - centre) / spread).max(axis=1)
    table = find_domain(study, rows)
    np.testing.assert_array_equal(table["in_domain"], scores <= limit)
    np.testing.assert_allclose(table["distance"], np.exp(scores - limit), rtol=1e-6)


def test_nearest_in_library_is_the_nearest_row_and_what_is_usual_between_groups(skane):
    found = nearest_in_library(skane)
    X = skane.samples("global").X
    groups = skane.library.info["group"].to_numpy()
    apart = np.linalg.norm(skane.X_site[3] - X, axis=1)
    assert found["distance"][3] == pytest.approx(apart.min(), rel=1e-5)
    assert found["group"][3] == groups[apart.argmin()]
    # All rows of the library, one by one: the nearest row of any other group.
    usual = [
        np.linalg.norm(X[groups != groups[row]] - X[row], axis=1).min()
        for row in range(len(X))
    ]
    ratio = found["distance"] / np.median(usual)
    np.testing.assert_allclose(found["ratio"], ratio, rtol=1e-4)
