"""Models fitted on a study, scored on its test samples and compared in pairs."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._validation import Floats
from soilnb.baselines import fit_plsr
from soilnb.methods import LOCAL, METHODS, in_order, label
from soilnb.metrics import delta_rmse, evaluate
from soilnb.study.prepared import Study

# With fewer, the interval of `compare` misses a true gain of zero in one case of eleven
# or more, not in one of twenty (see its Notes).
VERDICT_TEST_MIN = 30
RESAMPLED_MOST = 5_000_000  # values that `compare` holds at once: 40 MB


@dataclass
class Fits:
    """Fitted models of one step, and their seconds, by method; scored together."""

    study: Study
    models: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def fit(
        self, method: str, function: Callable[..., Any], *args: Any, **options: Any
    ) -> None:
        """Call `function`, keep the model it returns, note the time it took."""
        start = time.perf_counter()
        self.models[method] = function(*args, **options)
        self.seconds[method] = time.perf_counter() - start

    def score(self, profile: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Predict the test samples and compare with the measured SOC.

        The scores have one row per method, with its metrics and seconds; the
        predictions one per method and test sample, measured and predicted in % SOC.
        """
        study = self.study
        measured = study.site.soc[study.test]
        ids = study.site.info["sample_id"].to_numpy()[study.test]
        where = {"library": study.library.name, "site": study.site.name}
        made = {"profile": profile, "seed": study.seed}
        sizes = {"n_local": study.n_local, "n_test": len(study.test)}
        scores, predictions = [], []
        for method, model in self.models.items():
            predicted = model.predict(study.X_test)
            size = getattr(model, "n_components", getattr(model, "n_components_", None))
            metrics = dict(evaluate(measured, predicted).drop("n"))
            rest = {"n_components": size, "seconds": round(self.seconds[method], 3)}
            of_method = {**where, "method": method, **made, **sizes, **metrics, **rest}
            scores.append(of_method)
            rows = {"sample_id": ids, "method": method, **made, "measured": measured}
            predictions.append(pd.DataFrame(rows | {"predicted": predicted}))
        table = pd.DataFrame(scores).astype({"n_components": "Int64"})
        return table, pd.concat(predictions, ignore_index=True)


def predict_with(study: Study, rows: npt.ArrayLike) -> Floats:
    """Predict SOC (%) of the test samples by PLSR on library rows and local ones."""
    some = study.localised(rows) if np.size(rows) else study.samples("local")
    return fit_plsr(*some, max_components=15).predict(study.X_test)


def spread_of(study: Study) -> str:
    """Return what every method must beat, in a sentence for the caption of a table."""
    measured = study.site.soc[study.test]
    null = np.sqrt(np.mean((measured - study.samples("local").y.mean()) ** 2))
    return (
        f"The mean of the local samples has an RMSE of {null:.2f} % SOC; the standard "
        f"deviation of the test samples is {measured.std(ddof=1):.2f} %."
    )


def compare(
    predictions: pd.DataFrame,
    *,
    reference: str = "local",
    n_resamples: int = 5000,
    seed: int = 1,
) -> pd.DataFrame:
    """Return each method's gain over a reference on the same test samples.

    The test samples are drawn with replacement, the same draw for both methods, so
    the interval is of the paired difference. It says how sure the gain is for other
    samples of this farm; it does not cover another choice of local samples or
    another farm.

    `predictions` has the columns sample_id, method, measured, predicted, for one site,
    with the method `reference`; `n_resamples` are drawn by the `seed`. The table, by
    method, has rmse, gain (RMSE of the reference minus RMSE, in % SOC), low and high
    (its 95 % percentile interval), delta_rmse (Eq. 1, percent) and n_test (number of
    test samples).

    Notes
    -----
    With few test samples the interval is too narrow. Simulated with a true gain of
    zero, it excludes zero in 17 % of cases at 5 test samples, 12.5 % at 10, 9 % at 20,
    8 % at 32 and 6 % at 95, where 5 % are meant.
    """
    wide = predictions.pivot(index="sample_id", columns="method", values="predicted")
    if reference not in wide:
        msg = f"'reference' must be one of {', '.join(wide)}, got {reference!r}."
        raise ValueError(msg)
    measured = predictions.drop_duplicates("sample_id").set_index("sample_id")
    errors = wide.sub(measured["measured"], axis=0) ** 2
    rmse = np.sqrt(errors.mean())
    resampled = _resampled_rmse(errors.to_numpy(), n_resamples, seed)
    base = resampled[:, [errors.columns.get_loc(reference)]]
    low, high = np.quantile(base - resampled, [0.025, 0.975], axis=0)
    gain = {"rmse": rmse, "gain": rmse[reference] - rmse, "low": low, "high": high}
    table = pd.DataFrame(gain)
    table["delta_rmse"] = delta_rmse(rmse[reference], rmse)
    table["n_test"] = len(errors)
    return table.reindex(in_order(table.index))


def _resampled_rmse(squares: Floats, n_resamples: int, seed: int) -> Floats:
    """Return the RMSE of each method (column) in each bootstrap sample (row)."""
    generator = np.random.default_rng(seed)
    at_once = max(1, RESAMPLED_MOST // squares.size)
    parts = []
    for done in range(0, n_resamples, at_once):
        size = (min(at_once, n_resamples - done), len(squares))
        draws = generator.integers(len(squares), size=size)
        parts.append(np.sqrt(squares[draws].mean(axis=1)))
    return np.concatenate(parts)


def winners(scores: pd.DataFrame, gains: pd.DataFrame) -> dict[str, list[str]]:
    """Return which methods stand out on one farm, from its scores and `compare`.

    "lowest" are the methods with the lowest RMSE, `local` first if it is one; "better"
    and "worse" those that differ from the reference beyond their interval, none where
    there are fewer than 30 test samples. `recommended` is one of the others: it is left
    out.
    """
    made = scores[scores["method"] != "recommended"]
    tied = made.loc[made["rmse"] == made["rmse"].min(), "method"]
    sure = gains[gains["n_test"] >= VERDICT_TEST_MIN]
    return {
        "lowest": sorted(tied, key=lambda method: method != "local"),
        "better": list(sure.index[sure["low"] > 0]),
        "worse": list(sure.index[sure["high"] < 0]),
    }


def best_plain(gains: pd.DataFrame) -> str:
    """Return in one sentence how the best plain methods do in `compare`.

    Those that know the farm's samples alone, and those that take a library as well, are
    named apart: only the first say what a farm can have without a library.
    """
    rmse = gains["rmse"]
    plain = rmse[[name for name in rmse.index if METHODS[name].kind == "plain"]]
    is_local = plain.index.isin(LOCAL)
    parts = {
        "with local samples only": plain[is_local],
        "with the library": plain[~is_local].drop("null_model", errors="ignore"),
    }
    named = [
        f"{words} it is {label(part.idxmin())} ({part.min():.2f} % SOC)"
        for words, part in parts.items()
        if len(part)
    ]
    text = f"The best plain method: {', '.join(named)}"
    if plain.min() <= rmse.min():
        return f"{text}; no network has a smaller error on this farm."
    return f"{text}."


def change(delta_rmse: float) -> str:
    """Return a change in RMSE against `local` (percent, positive is better) in words.

    >>> change(-11.6)
    'raises the error of the local network by 11.6 %'
    """
    error = "the error of the local network"
    if not round(abs(delta_rmse), 1) > 0:
        return f"leaves {error} as it is"
    verb = "lowers" if delta_rmse > 0 else "raises"
    return f"{verb} {error} by {abs(delta_rmse):.1f} %"


def verdict(gain: pd.Series, name: str) -> str:
    """Return in one sentence whether a method helped on one farm.

    Takes a row of `compare` or `paired`, maybe with n_seeds, and what to call the
    method. Fewer than 30 test samples never tell: their interval is too narrow.

    >>> verdict(pd.Series({"low": -0.1, "high": 0.2, "n_test": 95}), "DTL-I")
    'In this run the test samples cannot tell DTL-I and local modelling apart.'
    """
    if gain["n_test"] < VERDICT_TEST_MIN:
        return (
            f"There are {gain['n_test']:.0f} test samples: so few cannot tell {name} "
            "and local modelling apart."
        )
    n_seeds = gain.get("n_seeds", 1)
    where = "In this run" if n_seeds == 1 else f"Over {n_seeds:.0f} seeds"
    others = "another seed or split" if n_seeds == 1 else "another split"
    beyond = (
        f"than local modelling, beyond what its test samples leave open; {others} may "
        "differ."
    )
    if gain["low"] > 0:
        return f"{where} {name} was better {beyond}"
    if gain["high"] < 0:
        return f"{where} {name} was worse {beyond}"
    return f"{where} the test samples cannot tell {name} and local modelling apart."
