"""What a search found, and which hyperparameters mattered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from soilnb._validation import check_int
from soilnb.cnn.architecture import Architecture
from soilnb.cnn.shapes import n_weights
from soilnb.cnn.tuning.log import COMPLETED, Trial

if TYPE_CHECKING:
    from soilnb.cnn.tuning.space import Space

N_POINTS = 1_000  # architectures at which an importance is averaged
FEWEST_TRIALS = 10  # on fewer it says nothing
# By how much the best trial must be better than the first one to take its place. Fixed
# on skane, uppsala and the twin; benchmarks/budgets.md has the other farms.
MARGIN = 0.1


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The trials of a search, in order, and the space where it looked."""

    tried: tuple[Trial, ...]
    space: Space

    @cached_property
    def best_trial(self) -> Trial:
        """The best trial trained to the end; RuntimeError if there is none."""
        ended = [trial for trial in self.tried if trial.status == COMPLETED]
        if not ended:
            cause = self.tried[-1].cause if self.tried else "there is none"
            msg = (
                f"None of {len(self.tried)} trials could be trained to the end; the "
                f"last one: {cause}. Try more, or limit 'max_weights'."
            )
            raise RuntimeError(msg)
        return min(ended, key=lambda trial: (_score(trial), trial.number))

    @property
    def best(self) -> Architecture:
        """The architecture of the best trial."""
        return self.architecture(self.best_trial)

    @property
    def score(self) -> float:
        """RMSE of the best trial, over all held-out samples, in the unit of y.

        The best of many is optimistic: report a test set.
        """
        return _score(self.best_trial)

    @property
    def taken_trial(self) -> Trial:
        """The best trial where it is clearly better than the first one, else that one.

        With few samples the best of many scores is mostly luck. So the architecture
        that the search was begun with, `start`, stays unless the best has a score that
        is lower by a tenth at least (`MARGIN`), or the first could not be trained.
        """
        first, best = self.tried[0], self.best_trial
        is_clear = _score(best) <= (1 - MARGIN) * _score(first)
        return best if is_clear or first.status != COMPLETED else first

    @property
    def taken(self) -> Architecture:
        """The architecture of the taken trial: the one to train for an answer."""
        return self.architecture(self.taken_trial)

    def architecture(self, trial: Trial) -> Architecture:
        """Return the architecture of a trial."""
        from soilnb.cnn.tuning.space import to_architecture

        return to_architecture(trial.values)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial, in order.

        Scores are RMSE in the unit of y; `best` is the lowest of the completed trials
        so far. `architecture` (JSON) and each hyperparameter follow, missing where not
        active.
        """
        rows = []
        for trial in self.tried:
            architecture = self.architecture(trial)
            row = {
                "number": trial.number,
                "status": trial.status,
                "score": trial.score,
                "best": trial.score if trial.status == COMPLETED else None,
                "cause": trial.cause,
                "seconds": trial.seconds,
                "n_weights": n_weights(architecture, self.space.n_wavelengths),
                "architecture": json.dumps(architecture.to_dict()),
            }
            values = {name: trial.values.get(name) for name in self.space.names}
            rows.append(row | values)
        table = pd.DataFrame(rows)
        numbers = ["score", "best", "seconds"]
        table[numbers] = table[numbers].astype(float)
        table["best"] = table["best"].cummin().ffill()
        return table

    def importance(self, *, seed: int = 1) -> pd.Series:
        """Return how much of the score each hyperparameter decides, largest first.

        In the spirit of functional ANOVA (Hutter, Hoos and Leyton-Brown 2014, PMLR
        32(1), 754-762), with the search's own Gaussian process of the logarithms of the
        scores in place of a forest, and Jansen's total effect (1999, Computer Physics
        Communications 117, 35-43). A few dozen trials know 64 hyperparameters poorly,
        and a guided search knows the bad regions least: the first few shares may be
        read, the order of the others not. One that is seldom active decides little on
        average.

        Parameters
        ----------
        seed : int, default 1
            Seed of the architectures that are asked about.

        Returns
        -------
        Series
            Share of the variance of the score over the space, 0 to 1, alone and
            together with others: they may add up to more than 1. ``attrs["r2"]`` tells
            how well a trial is predicted by the others; near 0 or below, believe none
            of it. A ValueError if there are fewer than 10 trials.
        """
        from soilnb.cnn.tuning.surrogate import (
            left_out_r2,
            make_surrogate,
            observations,
            total_effects,
        )

        check_int(seed, "seed", 0)
        if len(self.tried) < FEWEST_TRIALS:
            msg = (
                f"'importance' needs at least {FEWEST_TRIALS} trials, got "
                f"{len(self.tried)}. Search longer."
            )
            raise ValueError(msg)
        gpr = make_surrogate(self.space.names, self.space.is_category)
        gpr.fit(*observations(self.space, self.tried))
        rng = np.random.default_rng(seed)
        shares = total_effects(gpr.predict, self.space, N_POINTS, rng)
        series = pd.Series(shares, index=self.space.names, name="share")
        series.attrs["r2"] = left_out_r2(gpr)
        return series.rename_axis("hyperparameter").sort_values(ascending=False)


def _score(trial: Trial) -> float:
    """Return the score of a trial that has one."""
    return float("inf") if trial.score is None else trial.score
