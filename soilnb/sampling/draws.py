"""Which samples of a population were measured, and what the draw tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._validation import Floats, Rows, check_choice, check_int, check_rows
from soilnb.sampling.allocation import check_sizes

# Draws with chance in them: only these give the mean an interval.
PROBABILITY_DESIGNS = ("stratified", "random")
DRAWN_BY = (*PROBABILITY_DESIGNS, "kennard_stone", "unknown")


def draw_from_strata(
    strata: npt.ArrayLike, n_drawn: npt.ArrayLike, *, seed: int = 1
) -> pd.DataFrame:
    """Draw members of each stratum at random, without replacement.

    `strata` (n_population,) are the stratum of each member, as of `make_strata`, with
    two members at least; `n_drawn` (n_strata,) how many to draw of each, by increasing
    stratum, as of `allocate` (a ValueError if more than it has); `seed` is at least 0.

    One row per drawn member, in the order to measure: row (from 0), order (from 1),
    stratum and inclusion_probability, n_h / N_h. All strata come once, in random order,
    then each in proportion: who stops early has seen every stratum.

    >>> draw_from_strata([1, 1, 1, 1, 2, 2], [2, 2])["inclusion_probability"].tolist()
    [0.5, 1.0, 0.5, 1.0]
    """
    check_int(seed, "seed", 0)
    names, groups, counts = np.unique(strata, return_inverse=True, return_counts=True)
    sizes, drawn = check_sizes(counts), np.asarray(n_drawn)
    if drawn.shape != sizes.shape or not ((drawn >= 1) & (drawn <= sizes)).all():
        msg = (
            f"'n_drawn' must be between 1 and the candidates of each stratum, "
            f"{sizes.tolist()}, got {drawn.tolist()}."
        )
        raise ValueError(msg)
    rng = np.random.default_rng(seed)
    parts = []
    for place in rng.permutation(len(names)):
        candidates = np.flatnonzero(groups == place)
        rows = rng.choice(candidates, drawn[place], replace=False)
        part = {
            "row": rows,
            "order": np.arange(len(rows)) / len(rows),
            "stratum": names[place],
            "inclusion_probability": len(rows) / len(candidates),
        }
        parts.append(pd.DataFrame(part))
    table = pd.concat(parts).sort_values("order", kind="stable", ignore_index=True)
    return table.assign(order=np.arange(1, len(table) + 1))


@dataclass(frozen=True, eq=False)
class Draw:
    """Which samples of a population were measured, and how they were chosen.

    Parameters
    ----------
    n_population : int
        Number of samples with a spectrum, N.
    rows : array-like of int, shape (n,)
        Measured rows that the design drew, from 0 to N - 1.
    strata : array-like of int, shape (n,)
        Stratum of each of them; 0 throughout for a draw without strata.
    stratum_sizes : mapping of int to int
        Rows of the population in each stratum, those of `certain` left out;
        {0: N - c} for a draw without strata.
    certain : array-like of int, shape (c,), optional
        Rows that were measured for another reason than the draw, known by value.
    design : str, default "unknown"
        "stratified", "random", "kennard_stone" or "unknown". A ValueError if a row is
        given twice, a stratum has no drawn row or more than its size, or the sizes and
        `certain` do not add up to `n_population`.

    Notes
    -----
    `certain` holds *every* row that meets the reason. Where samples are measured later
    because they lie far out, the drawn ones that lie as far out move from `rows` to
    `certain` (and out of their stratum's size). Else far-out samples count twice: the
    mean of the laboratory alone is off by c / N of their distance from the mean, that
    with predictions by c / N of their mean residual.

    Examples
    --------
    >>> Draw(9, [0, 3, 5, 8], [1, 1, 2, 2], {1: 5, 2: 4}, design="stratified").n_drawn
    4
    """

    n_population: int
    rows: Rows
    strata: Rows
    stratum_sizes: Mapping[int, int]
    certain: Rows = field(default_factory=lambda: np.empty(0, np.intp))
    design: str = "unknown"

    def __post_init__(self) -> None:
        """Refuse what does not add up."""
        check_int(self.n_population, "n_population", 2)
        check_choice(self.design, "design", DRAWN_BY)
        for name in ("rows", "strata", "certain"):
            object.__setattr__(self, name, _whole_numbers(getattr(self, name), name))
        check_rows(self.strata, "strata", self.rows, "rows")
        _check_measured(np.r_[self.rows, self.certain], self.n_population)
        _check_strata(self)

    @property
    def n_drawn(self) -> int:
        """Number of measured rows that the design drew, n."""
        return len(self.rows)

    @property
    def is_probability(self) -> bool:
        """Whether the draw tells the error of its mean: chance, two per stratum."""
        pairs = np.unique(self.strata, return_counts=True)[1].min() >= 2
        return self.design in PROBABILITY_DESIGNS and bool(pairs)


def _whole_numbers(values: npt.ArrayLike, name: str) -> Rows:
    """Return 1D whole numbers; an empty list is one too."""
    numbers = np.asarray(values)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        msg = (
            f"{name!r} must be 1D whole numbers, "
            f"got {numbers.dtype} of shape {numbers.shape}."
        )
        raise TypeError(msg)
    return numbers.astype(np.intp)


def _check_measured(rows: Rows, n_population: int) -> None:
    """Raise ValueError if a measured row is not of the population or comes twice."""
    outside = rows[(rows < 0) | (rows >= n_population)]
    if len(outside):
        msg = (
            f"'rows' and 'certain' must be between 0 and {n_population - 1} (rows of "
            f"the population), got {outside[0]}."
        )
        raise ValueError(msg)
    numbers, counts = np.unique(rows, return_counts=True)
    if len(numbers) < len(rows):
        msg = (
            f"'rows' and 'certain' hold row {numbers[counts > 1][0]} twice. "
            "Give each measured row once."
        )
        raise ValueError(msg)


def _check_strata(draw: Draw) -> None:
    """Raise ValueError unless every stratum has drawn rows and the sizes add up."""
    if not draw.n_drawn:
        msg = "'rows' is empty. The mean needs at least one drawn row."
        raise ValueError(msg)
    numbers, counts = np.unique(draw.strata, return_counts=True)
    drawn = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    for stratum in sorted({*drawn, *draw.stratum_sizes}):
        size = draw.stratum_sizes.get(stratum, 0)
        n_rows = drawn.get(stratum, 0)
        if not 1 <= n_rows <= size:
            msg = (
                f"Stratum {stratum} has {n_rows} drawn rows and a size of {size}. "
                "Give it a size and a drawn row, or join it with another stratum."
            )
            raise ValueError(msg)
    total = sum(draw.stratum_sizes.values()) + len(draw.certain)
    if total != draw.n_population:
        msg = (
            f"'stratum_sizes' and 'certain' add up to {total}, "
            f"but 'n_population' is {draw.n_population}."
        )
        raise ValueError(msg)


class Drawn(NamedTuple):
    """The drawn rows by stratum: place of the stratum, rows drawn, rows there are."""

    places: Rows
    n_drawn: Rows
    sizes: Rows

    @classmethod
    def of(cls, draw: Draw) -> Drawn:
        """Return the drawn rows of a draw by stratum."""
        numbers, places, n_drawn = np.unique(
            draw.strata, return_inverse=True, return_counts=True
        )
        sizes = np.array([draw.stratum_sizes[h] for h in numbers.tolist()])
        return cls(places, n_drawn, sizes)

    def _means(self, values: Floats) -> Floats:
        """Return the mean of each stratum's drawn values."""
        return np.bincount(self.places, values) / self.n_drawn

    def mean(self, values: Floats) -> float:
        """Return the stratified mean of drawn values."""
        return float(self.sizes @ self._means(values) / self.sizes.sum())

    def covariance(self, first: Floats, second: Floats) -> float:
        """Return the covariance of two stratified means, over draws."""
        first, second = (v - self._means(v)[self.places] for v in (first, second))
        products = first * second
        within = np.bincount(self.places, products) / (self.n_drawn - 1)
        shares = self.sizes / self.sizes.sum()
        unseen = 1 - self.n_drawn / self.sizes
        return float((shares**2 * unseen * within / self.n_drawn).sum())
