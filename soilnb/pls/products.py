"""PLS1 of very many samples, from their sums of squares and products.

The training sets of a cross-validation are sums of such matrices, made in one pass, so
that ten folds cost what one does. Squares double the digits that rounding takes: hence
only for large matrices, in double precision, whatever that of the spectra.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from soilnb._blocks import row_blocks
from soilnb._validation import Floats

_ROWS_AT_ONCE = 16_384  # a tenth of them, one fold, makes a product that is not small
_ROUNDING = 1e-14  # of the squares, relative: a smaller direction is noise


@dataclass(frozen=True, eq=False)
class Products:
    """Number of samples, their mean, and the sums of squares and products around it.

    `mean` is (p + 1,) and `sums` (p + 1, p + 1): the bands, then the property.
    """

    n: float
    mean: Floats
    sums: Floats

    @classmethod
    def of(cls, X: npt.ArrayLike, y: npt.ArrayLike) -> Products:
        """Return those of some samples, X (n_samples, p) and y (n_samples,)."""
        values = np.column_stack([X, y]).astype(np.float64, copy=False)
        if not len(values):
            return cls(0.0, *(np.zeros(values.shape[1:] * k) for k in (1, 2)))
        mean = values.mean(axis=0)
        values -= mean
        return cls(float(len(values)), mean, values.T @ values)

    def plus(self, other: Products, votes: float = 1.0) -> Products:
        """Return those of both, each sample of the other counted so many times."""
        if not other.n:
            return self
        n = self.n + votes * other.n
        apart, share = other.mean - self.mean, votes * other.n / n
        between = self.n * share * np.outer(apart, apart)
        sums = self.sums + votes * other.sums + between
        return Products(n, self.mean + share * apart, sums)

    def fit(self, n_components: int) -> tuple[Floats, Floats, Floats]:
        """Return coefficients (a, p), intercepts (a,) by size, and the rotations.

        The second improved kernel algorithm of Dayal and MacGregor (1997), Journal of
        Chemometrics 11(1), 73-85. Components beyond the data repeat the last one.
        """
        squares, covariance = self.sums[:-1, :-1], self.sums[:-1, -1].copy()
        p, least = len(covariance), _ROUNDING * np.trace(self.sums[:-1, :-1])
        coef, rotations, loadings = np.zeros((3, n_components, p))
        fitted, now = 0, np.zeros(p)
        for a in range(n_components):
            length = np.linalg.norm(covariance)
            if not length**2 > least * _ROUNDING * self.sums[-1, -1]:
                break
            weights = covariance / length
            rotation = weights - (loadings[:a] @ weights) @ rotations[:a]
            size = rotation @ squares @ rotation
            if not size > least:
                break
            loadings[a], rotations[a] = squares @ rotation / size, rotation
            along = rotation @ covariance / size
            covariance -= size * along * loadings[a]
            now = now + along * rotation
            coef[a], fitted = now, a + 1
        coef[fitted:] = now
        return coef, self.mean[-1] - coef @ self.mean[:-1], rotations[:fitted]

    def squared_errors(self, coef: Floats, intercept: Floats) -> Floats:
        """Return the sum of squared errors of each model on these samples."""
        squares, covariance = self.sums[:-1, :-1], self.sums[:-1, -1]
        off = coef @ self.mean[:-1] + intercept - self.mean[-1]
        around = np.einsum("ap,pq,aq->a", coef, squares, coef, optimize=True)
        return around - 2 * coef @ covariance + self.sums[-1, -1] + self.n * off**2


def add_up(parts: Iterable[Products]) -> Products:
    """Return the products of all samples of several parts."""
    return reduce(Products.plus, parts)


def products_by_fold(
    X: npt.NDArray, y: npt.ArrayLike, folds: npt.ArrayLike
) -> dict[int, Products]:
    """Return the products of the rows of each fold, read once, some at a time."""
    values, labels = np.asarray(y, np.float64), np.asarray(folds)
    names = np.unique(labels)
    found = {int(name): Products.of(X[:0], values[:0]) for name in names}
    for rows in row_blocks(len(X), _ROWS_AT_ONCE):
        block, of_block = np.asarray(X[rows], np.float64), labels[rows]
        for name in names:
            own = of_block == name
            found[int(name)] = found[int(name)].plus(
                Products.of(block[own], values[rows][own])
            )
    return found


def cross_validated(parts: Mapping[int, Products], n_components: int) -> Floats:
    """Return the sum of squared errors of each size, each fold held out in turn."""
    squares = np.zeros(n_components)
    for held_out, part in parts.items():
        rest = add_up(one for name, one in parts.items() if name != held_out)
        coef, intercept, _ = rest.fit(n_components)
        squares += part.squared_errors(coef, intercept)
    return squares
