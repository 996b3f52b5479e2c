"""A Gaussian process that guesses the score of an architecture from those tried.

keras-tuner's own has one length scale for all 64 hyperparameters and takes the distance
between two choices from their order in a list. A few dozen trials cannot teach 64
length scales either. So the settings of all Conv-blocks share one, those of all
FC-blocks and the two numbers of blocks as well; epochs, batch size, optimiser and
learning rate, which act on every network, have their own. A choice is either the same
or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    ConstantKernel,
    Hyperparameter,
    Kernel,
    StationaryKernelMixin,
)

from soilnb.cnn.tuning.log import Trial
from soilnb.cnn.tuning.space import Space

Array = npt.NDArray[np.float64]

# Share of the variance of the scores that is noise: another seed of the same network
# changes its cross-validated RMSE by a tenth or so. keras-tuner's 1e-4 believes it.
NOISE = 0.05
# Length scales and amplitude before any trial, and how far from it they may well be, on
# the log scale. Without this prior, 30 trials would be fitted too well.
PRIOR_SCALE, PRIOR_SD = 1.5, 0.5
_TINY, _HUGE = 1e-6, 1e6  # bounds that are never reached
# A score above this many times the median is taken as that: how bad hardly matters, and
# one of a thousand would leave no room for differences among the good ones.
WORST_RATIO = 2.0


def group_names(names: Sequence[str]) -> list[str]:
    """Return the group of each hyperparameter; those of one share a length scale."""
    starts = {"n_": "blocks", "conv": "conv", "fc": "fc"}
    return [
        next((group for start, group in starts.items() if name.startswith(start)), name)
        for name in names
    ]


class BlockMatern(StationaryKernelMixin, Kernel):
    """Matérn kernel (nu = 5/2) of the mean squared difference in each group."""

    def __init__(
        self,
        groups: Sequence[str],
        is_category: npt.NDArray[np.bool_],  # without order: 0 or 1 apart
        length_scales: Array,  # by group, in alphabetical order
    ) -> None:
        self.groups = groups
        self.is_category = is_category
        self.length_scales = length_scales
        self._last: tuple[Array, Array] | None = None  # rows, and what _within returned

    @property
    def hyperparameter_length_scales(self) -> Hyperparameter:
        """What is fitted, for scikit-learn."""
        n_groups = len(set(self.groups))
        return Hyperparameter("length_scales", "numeric", (_TINY, _HUGE), n_groups)

    def __call__(
        self, X: Array, Y: Array | None = None, eval_gradient: bool = False
    ) -> Array | tuple[Array, Array]:
        """Return the kernel between rows, and its derivative by log length scales."""
        squares = self._within(X) if Y is None else self._mean_squares(X, Y)
        squares = squares / self.length_scales[:, None, None] ** 2
        root = np.sqrt(5 * squares.sum(axis=0))
        decay = np.exp(-root)
        kernel = (1 + root + root**2 / 3) * decay
        if not eval_gradient:
            return kernel
        return kernel, np.moveaxis(5 / 3 * (1 + root) * decay * squares, 0, -1)

    def _within(self, X: Array) -> Array:
        """Return the mean squares between rows; a fit asks for the same many times."""
        if self._last is None or self._last[0] is not X:
            self._last = (X, self._mean_squares(X, X))
        return self._last[1]

    def _mean_squares(self, X: Array, Y: Array) -> Array:
        """Return the mean squared difference in each group (n_groups, n, m)."""
        groups, is_category = np.asarray(self.groups), np.asarray(self.is_category)
        squares = []
        for group in np.unique(groups):
            ordered = np.flatnonzero((groups == group) & ~is_category)
            chosen = np.flatnonzero((groups == group) & is_category)
            total = np.zeros((len(X), len(Y)))
            if len(ordered):
                total += cdist(X[:, ordered], Y[:, ordered], "sqeuclidean")
            if len(chosen):
                total += cdist(X[:, chosen], Y[:, chosen], "hamming") * len(chosen)
            squares.append(total / (len(ordered) + len(chosen)))
        return np.array(squares)

    def diag(self, X: Array) -> Array:
        """Return the kernel of each row with itself."""
        return np.ones(len(X))


def make_surrogate(
    names: Sequence[str], is_category: npt.NDArray[np.bool_]
) -> GaussianProcessRegressor:
    """Return the unfitted Gaussian process; its sd is without a trial's noise."""
    groups = group_names(names)
    scales = np.full(len(set(groups)), PRIOR_SCALE)
    amplitude = ConstantKernel(PRIOR_SCALE, (_TINY, _HUGE))
    return GaussianProcessRegressor(
        amplitude * BlockMatern(groups, is_category, scales),
        alpha=NOISE,
        normalize_y=True,
        optimizer=_most_probable,
    )


def _most_probable(
    objective: Callable[[Array], tuple[float, Array]], start: Array, bounds: Array
) -> tuple[Array, float]:
    """Return the kernel's parameters that are most probable; `start` is the prior's."""

    def with_prior(theta: Array) -> tuple[float, Array]:
        value, gradient = objective(theta)
        distance = (theta - start) / PRIOR_SD
        return value + float(distance @ distance) / 2, gradient + distance / PRIOR_SD

    found = minimize(with_prior, start, jac=True, bounds=bounds, method="L-BFGS-B")
    return found.x, float(found.fun)


def observations(space: Space, trials: Sequence[Trial]) -> tuple[Array, Array]:
    """Return points and log scores of ended trials; twice the median if failed."""
    scores = np.array([np.nan if t.score is None else t.score for t in trials])
    known = scores[np.isfinite(scores)]
    worst = WORST_RATIO * float(np.median(known)) if len(known) else 1.0
    filled = np.where(np.isnan(scores), worst, np.clip(scores, _TINY * worst, worst))
    return np.array([space.point(trial.values) for trial in trials]), np.log(filled)


def total_effects(
    predict: Callable[[Array], Array],
    space: Space,
    n_points: int,
    rng: np.random.Generator,
) -> Array:
    """Return each hyperparameter's total effect on a function (Jansen)."""
    drawn = rng.random((n_points, len(space)))
    before = predict(space.snap(drawn))
    variance = before.var() or 1.0
    shares = np.empty(len(space))
    for column in range(len(space)):
        changed = drawn.copy()
        changed[:, column] = rng.random(n_points)
        after = predict(space.snap(changed))
        shares[column] = ((after - before) ** 2).mean() / (2 * variance)
    return shares


def left_out_r2(gpr: GaussianProcessRegressor) -> float:
    """Return R2 of predicting each trial from the others, the kernel as fitted."""
    # Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, eq. 5.12.
    inverse = cho_solve((gpr.L_, True), np.eye(len(gpr.L_)))
    errors = gpr.alpha_ / np.diag(inverse)
    return float(1 - np.mean(errors**2) / (np.var(gpr.y_train_) or 1.0))
