"""A large library as sums: what PLSR reads of it, once for any weight of spiking."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from soilnb import pls
from soilnb._blocks import is_large
from soilnb._validation import check_matrix, check_rows, check_vector
from soilnb.baselines.inputs import Floats
from soilnb.selection import Samples


@dataclass(frozen=True, eq=False)
class Summary:
    """The squares and products of a library's rows, by fold."""

    parts: dict[int, pls.Products]

    def fit(self, max_components: int) -> pls.PLS1:
        """Return PLSR of the library alone, of cross-validated size."""
        _check_names(self.parts)
        whole = pls.add_up(self.parts.values())
        squares = pls.cross_validated(
            self.parts, min(max_components, len(whole.mean) - 1)
        )
        return pls.PLS1.from_products(whole, int(squares.argmin()) + 1)

    def fit_spiked(self, local: Samples, weight: int, max_components: int) -> pls.PLS1:
        """Return PLSR on library and copies of the local samples, cross-validated."""
        of_local = self._of(local)
        names = sorted({*self.parts, *of_local})
        _check_names(names)
        none = pls.Products.of(np.empty((0, local.X.shape[1])), [])
        squares = np.zeros(min(max_components, local.X.shape[1]))
        for held_out in names:
            rest = [self._spiked(n, of_local, weight) for n in names if n != held_out]
            coef, intercept, _ = pls.add_up(rest).fit(len(squares))
            own = self.parts.get(held_out, none), of_local.get(held_out, none)
            for part, vote in zip(own, (1, weight), strict=True):
                squares += vote * part.squared_errors(coef, intercept)
        whole = pls.add_up(self._spiked(name, of_local, weight) for name in names)
        return pls.PLS1.from_products(whole, int(squares.argmin()) + 1)

    def held_out_squares(self, local: Samples, weight: int, most: int) -> Floats:
        """Return, for each size, the mean squared error of local samples held out."""
        of_local, library = self._of(local), pls.add_up(self.parts.values())
        squares = np.zeros(min(most, local.X.shape[1]))
        for held_out, own in of_local.items():
            rest = library
            for name, part in of_local.items():
                rest = rest if name == held_out else rest.plus(part, weight)
            coef, intercept, _ = rest.fit(len(squares))
            squares += own.squared_errors(coef, intercept)
        return squares / len(local.y)

    def _of(self, local: Samples) -> dict[int, pls.Products]:
        """Return the products of the local samples, by fold."""
        first = next(iter(self.parts.values()))
        pls.check_columns(local.X, "X_local", first.sums[:, :-1], "X_library")
        return pls.products_by_fold(local.X, local.y, local.folds)

    def _spiked(
        self, name: int, of_local: dict[int, pls.Products], weight: int
    ) -> pls.Products:
        """Return the products of a fold of the library and copies of the local one."""
        own, part = of_local.get(name), self.parts.get(name)
        if own is None:
            return self.parts[name]
        none = pls.Products.of(np.empty((0, own.mean.size - 1)), [])
        return (part or none).plus(own, weight)


def summarise(library: Samples | Summary) -> Samples | Summary:
    """Return a large library as sums, so that it is read once; others as they are."""
    if isinstance(library, Summary) or not is_large(getattr(library[0], "shape", ())):
        return library
    X, y = library.X, check_vector(library.y, "y_library")
    check_rows(X, "X_library", y, "y_library")
    check_rows(library.folds, "library_folds", X, "X_library")
    parts = pls.products_by_fold(X, y, library.folds)
    if not all(np.isfinite(part.sums).all() for part in parts.values()):
        check_matrix(X, "X_library")  # says where
    return Summary(parts)


def _check_names(names: Collection[int]) -> None:
    """Raise ValueError where there is nothing to hold out."""
    if len(names) < 2:
        msg = f"'folds' must hold at least 2 different folds, got {len(names)}."
        raise ValueError(msg)
