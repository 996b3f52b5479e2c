"""Kennard-Stone against its definition and published lists; folds."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from soilnb import selection
from soilnb.selection import kennard_stone, random_folds

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


def test_points_on_a_line():
    # 0 and 10 are farthest apart; 4 is 4 from the nearest of them, 1 and 9 only 1.
    X = np.array([[1.0], [0.0], [4.0], [10.0], [9.0]])
    assert kennard_stone(X, 5).tolist() == [1, 3, 2, 0, 4]


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_definition(seed, monkeypatch):
    monkeypatch.setattr(selection, "_CHUNK_ROWS", 7)
    X = np.random.default_rng(seed).normal(size=(40, 3))
    assert kennard_stone(X, 15).tolist() == kennard_stone_by_definition(X, 15)


def test_ties_take_the_lowest_row():
    # The corners of a square, twice: both diagonals are farthest.
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 2, dtype=float)
    assert kennard_stone(corners, 8).tolist() == [0, 3, 1, 2, 4, 5, 6, 7]


def test_identical_samples_are_each_taken_once():
    assert kennard_stone(np.ones((4, 2)), 4).tolist() == [0, 1, 2, 3]


def test_nirsoil_gives_the_published_list(nirsoil):
    centred = nirsoil["absorbance"] - nirsoil["absorbance"].mean(axis=0)
    scores = np.linalg.svd(centred, full_matrices=False)[0][:, :3]  # equal variances
    assert (kennard_stone(scores, 50) + 1).tolist() == NIRSOIL_50


@pytest.mark.parametrize(("n_samples", "n_folds"), [(30, 10), (34, 10), (5, 5), (7, 2)])
def test_fold_sizes_differ_by_at_most_one(n_samples, n_folds):
    folds = random_folds(n_samples, n_folds, seed=1)
    sizes = np.bincount(folds, minlength=n_folds)
    assert sizes.sum() == n_samples
    assert len(sizes) == n_folds
    assert sizes.max() - sizes.min() <= 1


def test_folds_depend_on_the_seed_only():
    assert (random_folds(100, 10, 1) == random_folds(100, 10, 1)).all()
    assert (random_folds(100, 10, 1) != random_folds(100, 10, 2)).any()
