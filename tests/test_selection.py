"""Kennard-Stone against its definition and published lists; strata, draws, folds."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from soilnb import selection
from soilnb.selection import (
    draw_samples,
    kennard_stone,
    random_folds,
    spectral_strata,
)

# prospectr's tests: NIRsoil, k = 50, three principal components divided by their
# standard deviations; counted from 1. The order within the first pair is ours.
NIRSOIL_50 = [
    377, 687, 410, 619, 87, 618, 611, 283, 317, 666, 789, 635, 147, 822, 285, 313,
    737, 803, 819, 383, 823, 204, 591, 252, 825, 272, 402, 39, 330, 590, 286, 608,
    363, 234, 701, 718, 287, 270, 571, 192, 614, 1, 386, 615, 126, 755, 734, 428,
    466, 426,
]  # fmt: skip


def kennard_stone_by_definition(X, n_samples):
    """The textbook, on the whole distance matrix."""
    distances = cdist(X, X)
    pairs = np.argwhere(distances == distances.max())
    chosen = sorted(int(row) for row in pairs[0])
    while len(chosen) < n_samples:
        rest = [row for row in range(len(X)) if row not in chosen]
        nearest = [distances[row, chosen].min() for row in rest]
        chosen.append(rest[int(np.argmax(nearest))])
    return chosen


# The corners of a square, twice: both diagonals are farthest.
CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 2, dtype=float)
WORKED = [
    # 0 and 10 are farthest apart; 4 is 4 from the nearest of them, 1 and 9 only 1.
    (kennard_stone(np.array([[1.0], [0], [4], [10], [9]]), 5), [1, 3, 2, 0, 4]),
    (kennard_stone(CORNERS, 8), [0, 3, 1, 2, 4, 5, 6, 7]),  # ties: the lowest row
    (kennard_stone(np.ones((4, 2)), 4), [0, 1, 2, 3]),
    # 7 rows, 3 strata of 3, 2, 2: the first cut takes 3 rows, the second 2 of 4.
    (spectral_strata(np.arange(7.0)[:, None], 3), [1, 1, 1, 2, 2, 3, 3]),
    (spectral_strata(np.ones((6, 4)), 3), [1, 1, 2, 2, 3, 3]),  # in the order of rows
]


@pytest.mark.parametrize(("found", "expected"), WORKED)
def test_rows_worked_by_hand(found, expected):
    assert found.tolist() == expected


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_definition(seed, monkeypatch):
    monkeypatch.setattr(selection, "_CHUNK_ROWS", 7)
    X = np.random.default_rng(seed).normal(size=(40, 3))
    assert kennard_stone(X, 15).tolist() == kennard_stone_by_definition(X, 15)


def test_nirsoil_gives_the_published_list(nirsoil):
    centred = nirsoil["absorbance"] - nirsoil["absorbance"].mean(axis=0)
    scores = np.linalg.svd(centred, full_matrices=False)[0][:, :3]  # equal variances
    assert (kennard_stone(scores, 50) + 1).tolist() == NIRSOIL_50


@pytest.mark.parametrize(("n_samples", "n_folds"), [(30, 10), (34, 10), (5, 5), (7, 2)])
def test_fold_sizes_differ_by_at_most_one_and_folds_are_the_seeds(n_samples, n_folds):
    folds = random_folds(n_samples, n_folds, seed=1)
    sizes = np.bincount(folds, minlength=n_folds)
    assert sizes.sum() == n_samples
    assert len(sizes) == n_folds
    assert sizes.max() - sizes.min() <= 1
    assert (folds == random_folds(n_samples, n_folds, 1)).all()
    assert (folds != random_folds(n_samples, n_folds, 2)).any()


@pytest.mark.parametrize(("n_rows", "n_strata"), [(30, 15), (37, 5), (7, 7), (9, 1)])
def test_strata_are_numbered_from_one_and_sizes_differ_by_at_most_one(n_rows, n_strata):
    X = np.random.default_rng(1).normal(size=(n_rows, 8))
    sizes = np.bincount(spectral_strata(X, n_strata))[1:]
    assert len(sizes) == n_strata
    assert sizes.sum() == n_rows
    assert sizes.max() - sizes.min() <= 1


def test_each_group_is_cut_where_it_is_widest():
    # 8 points of a plane. All of them are widest along x: cut into x < 50 and x > 50.
    # The left group is then wider in y (0 to 40), the right one in x (100 to 130).
    X = [[0, 0], [1, 40], [0, 1], [1, 39], [100, 20], [130, 20], [101, 20], [129, 20]]
    strata = spectral_strata(X, 4)
    pairs = [set(np.flatnonzero(strata == h).tolist()) for h in range(1, 5)]
    assert sorted(map(sorted, pairs)) == [[0, 2], [1, 3], [4, 6], [5, 7]]


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (9, 3), (3, 9)])
def test_strata_are_cut_on_the_scores_of_a_principal_component_analysis(shape):
    X = np.random.default_rng(4).normal(size=shape) + 3
    expected = PCA(min(5, *shape), svd_solver="full").fit_transform(X)
    assert selection._scores(X)[:, : expected.shape[1]] == pytest.approx(
        expected, abs=1e-6
    )


def test_strata_do_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(3)
    X, order = rng.normal(size=(50, 6)), rng.permutation(50)
    assert (spectral_strata(X[order], 7) == spectral_strata(X, 7)[order]).all()


def test_stratified_draw_takes_two_of_each_stratum_and_one_in_its_first_half():
    X = np.random.default_rng(1).normal(size=(47, 9))
    strata = spectral_strata(X, 10)
    draw = draw_samples(X, 20, seed=4)
    assert draw["row"].is_unique
    assert (draw["stratum"] == strata[draw["row"]]).all()
    assert sorted(draw["stratum"][:10]) == list(range(1, 11))
    assert draw["stratum"][:10].tolist() == draw["stratum"][10:].tolist()
    assert draw["stratum"][:10].tolist() != list(range(1, 11))
    assert draw["order"].tolist() == list(range(1, 21))
    # 47 rows in 10 strata: seven hold 5 (2/5), three hold 4 (2/4).
    assert sorted(draw["inclusion_probability"]) == [0.4] * 14 + [0.5] * 6


def test_every_row_is_drawn_as_often_as_its_inclusion_probability_says():
    # 9 rows in 2 strata of 5 and 4: 2/5 and 2/4. 1,000 draws: sd 0.016.
    X = np.arange(9.0)[:, None]
    drawn = [draw_samples(X, 4, seed=seed)["row"] for seed in range(1000)]
    share = np.bincount(np.concatenate(drawn), minlength=9) / 1000
    assert share == pytest.approx([0.4] * 5 + [0.5] * 4, abs=0.06)


def test_draws_without_strata_have_equal_probabilities_or_none():
    X = np.random.default_rng(1).normal(size=(40, 3))
    draw = draw_samples(X, 7, design="random")
    assert draw["row"].is_unique
    assert (draw["inclusion_probability"] == 7 / 40).all()
    assert (draw["design"] == "random").all()
    ordered = draw_samples(X, 5, design="kennard_stone")
    assert ordered["row"].tolist() == kennard_stone(X, 5).tolist()
    assert ordered["inclusion_probability"].isna().all()
    for one in (draw, ordered):
        assert one["stratum"].isna().all()
        assert one["stratum"].dtype == "Int64"


@pytest.mark.parametrize("design", ["stratified", "random"])
def test_a_draw_depends_on_the_seed_only(design):
    X = np.random.default_rng(1).normal(size=(60, 4))
    first, again, other = (
        draw_samples(X, 10, design=design, seed=seed) for seed in (1, 1, 2)
    )
    assert first.equals(again)
    assert first["row"].tolist() != other["row"].tolist()
    whole = draw_samples(X[:8], 8, design=design)
    assert sorted(whole["row"]) == list(range(8))
