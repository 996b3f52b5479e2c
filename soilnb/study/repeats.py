"""A study run again and again: other seeds, other splits, fewer local samples.

What is finished is kept in a file, so that an interrupted run goes on.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.exceptions import ConvergenceWarning

from soilnb._files import replacing
from soilnb._validation import check_choice, check_int
from soilnb.cnn import Architecture
from soilnb.metrics import evaluate
from soilnb.study.blend import blend
from soilnb.study.models import fit_models
from soilnb.study.nested import side_by_side
from soilnb.study.networks import library_networks
from soilnb.study.prepared import Study
from soilnb.study.recommend import BLENDED, CANDIDATES, choose, nested_predictions
from soilnb.study.scoring import Fits
from soilnb.study.split import N_TEST_MIN, ConstantSocError

KINDS = ("seeds", "random_splits", "learning_curve")
CURVE_N_LOCAL = 50  # split of a learning curve, of which fewer samples are used
CURVE_SITE_MIN = 90  # samples of a site that is worth a learning curve

Progress = Callable[[int, int, str], object]


@dataclass(frozen=True)
class Case:
    """One repetition of a study, with its seed and number of local samples.

    Kinds: "seeds" (the Kennard-Stone split; other selections, first weights and folds),
    "random_splits" (the local samples are drawn by the seed as well), "learning_curve"
    (the first `n_local` of 50 Kennard-Stone samples, all sizes tested on the same
    samples).
    """

    kind: str
    seed: int
    n_local: int

    def __post_init__(self) -> None:
        """Check the values."""
        check_choice(self.kind, "kind", KINDS)
        check_int(self.seed, "seed", 1)
        check_int(self.n_local, "n_local", 1)

    def of(self, study: Study) -> Study:
        """Return the study of this case: another split of the same site and library.

        A curve is refused to a site with fewer than 90 samples.
        """
        if self.kind != "learning_curve":
            split = "random" if self.kind == "random_splits" else "kennard_stone"
            return study.resplit(split=split, n_local=self.n_local, seed=self.seed)
        n_samples = study.n_measured
        if n_samples < CURVE_SITE_MIN:
            msg = (
                f"'site' {study.site.name!r} must have at least {CURVE_SITE_MIN} "
                f"samples for a learning curve, got {n_samples}. Leave the curve out."
            )
            raise ValueError(msg)
        most = study.resplit(n_local=CURVE_N_LOCAL, seed=self.seed)
        return most.first_local(self.n_local)


def plan_cases(
    study: Study, seeds: Iterable[int], curve_seeds: Iterable[int], sizes: Iterable[int]
) -> list[Case]:
    """Return the cases of a study: seeds, then random splits, then a learning curve.

    Those of the first two kinds are of `seeds`, with as many local samples as the study
    has; the curve is of `curve_seeds` and `sizes`, without those too few for the
    study's folds, and needs a site of at least 90 samples.
    """
    n_local, seeds = study.n_local, list(seeds)
    cases = [Case("seeds", seed, n_local) for seed in seeds]
    cases += [Case("random_splits", seed, n_local) for seed in seeds]
    if study.n_measured < CURVE_SITE_MIN:
        return cases
    enough = [n for n in sizes if n >= study.n_folds]
    return cases + [Case("learning_curve", s, n) for s in curve_seeds for n in enough]


def refit(
    study: Study,
    *,
    architectures: Mapping[str, Architecture],
    folder: Path,
    network: Mapping[str, Any],
    selection: Mapping[str, Any],
    methods: Iterable[str] | None = None,
    choose_with: int = 0,
    client: Any = None,
    **epochs: Any,
) -> Fits:
    """Fit the nine models of one case and, where asked, choose one of them anew.

    Parameters
    ----------
    study : Study
        The study of the case.
    architectures, selection, methods
        As of `fit_models`.
    folder, network : Path, mapping
        Where networks of libraries are kept: known ones are used again; and options of
        `library_networks`: max_epochs, n_library.
    choose_with : int, default 0
        Number of local samples with which `recommended` is chosen and `blend` made, by
        one search of RS-LOCAL and at most three networks for each fold; 0 for never.
    client : dask.distributed.Client, optional
        Where RS-LOCAL computes.
    **epochs : int
        max_epochs and retrain_epochs of `fit_models`.
    """
    networks = library_networks(study, architectures, folder=folder, **network)
    options = {**selection, "client": client}
    common = {"networks": networks, "selection": options, **epochs}
    fits = fit_models(study, architectures, methods=methods, **common)
    if len(study.local) == choose_with:
        start = time.perf_counter()
        nested = nested_predictions(
            study,
            architectures,
            networks,
            n_networks=min(3, study.n_folds),
            selection=options | {"n_searches": 1},
            **epochs,
        )
        chosen = choose(nested.table(CANDIDATES))
        fits.models["recommended"] = fits.models[chosen.method]
        fits.models["blend"] = blend(nested, [n for n in BLENDED if n in nested.local])
        seconds = time.perf_counter() - start
        fits.seconds |= {"recommended": seconds, "blend": seconds}
    return fits


def unseen(study: Study, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions (of `repeat`) of samples that are not local in a study.

    Architectures that were found with its local samples may be judged on these. A case
    is left out where fewer than five are left, or all have the same SOC.
    """
    searched = study.site.info["sample_id"].iloc[study.local]
    left = predictions[~predictions["sample_id"].isin(searched)]
    cases = left.groupby(["kind", "n_local", "seed"], sort=False)
    tested = cases["sample_id"].transform("nunique") >= N_TEST_MIN
    return left[tested & (cases["measured"].transform("nunique") > 1)]


def repeat(
    study: Study,
    cases: Iterable[Case],
    fit: Callable[[Study], Fits],
    file: str | Path,
    *,
    settings: Mapping[str, Any],
    profile: str = "full",
    progress: Progress | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit and score a study several times; go on where an interrupted call stopped.

    Every case is written to `file` when it is finished, and is not computed again by
    the next call. Up to four are fitted at once, which changes no result.

    Parameters
    ----------
    study : Study
        The prepared study; its site and library are those of every case.
    cases : iterable of Case
        What to run; a case given twice is run once, one whose local or test samples
        all have the same SOC not at all.
    fit : callable
        Returns the fitted models of a study; `fit_models`, with its architectures.
    file : path
        Parquet file of one site, written by one process at a time. Made if missing; its
        folder, too.
    settings : mapping
        All that decides what `fit` does, as plain values or architectures. A file of
        other settings, or of another study, is refused.
    profile : str, default "full"
        Noted in the tables.
    progress : callable, optional
        Called as progress(done, total, text) after each case, counting those that were
        not finished before.

    Returns
    -------
    scores : DataFrame
        As `score_cases`.
    predictions : DataFrame
        One row per case, method and test sample: library, site, kind, seed, n_local,
        study (its fingerprint), method, profile, sample_id, measured, predicted (SOC
        in %), seconds (of the method's fit).
    """
    file, wanted = Path(file), list(dict.fromkeys(cases))
    if not wanted:
        msg = "'cases' must hold at least one case, got none."
        raise ValueError(msg)
    text = _settings_text(settings)
    finished = _read_finished(file, text)
    for case in wanted:
        if case in finished:
            _check_same_study(case, case.of(study), finished[case], file)
    waiting = [case for case in wanted if case not in finished]
    study.samples("global")  # its spectra are made once for all cases
    with warnings.catch_warnings(), side_by_side() as threads:
        # For all threads: a model that ignores it by itself ends that of the others.
        warnings.simplefilter("ignore", ConvergenceWarning)
        running = {
            threads.submit(_fit_case, case, study, fit, profile): case
            for case in waiting
        }
        for number, future in enumerate(as_completed(running), start=1):
            case, table = running[future], future.result()
            if table is not None:
                finished[case] = table
                _write_finished(file, finished, text)
            if progress is not None:
                progress(number, len(waiting), _words(case))
    tables = [finished[case] for case in wanted if case in finished]
    if not tables:
        msg = "'cases' must hold one whose samples differ in SOC, got none."
        raise ValueError(msg)
    predictions = pd.concat(tables, ignore_index=True)
    return score_cases(predictions), predictions


def _fit_case(
    case: Case, study: Study, fit: Callable[[Study], Fits], profile: str
) -> pd.DataFrame | None:
    """Return the predictions of one case, None where its samples do not differ."""
    try:
        own = case.of(study)
    except ConstantSocError:
        return None
    return _tidy(case, own, fit(own), profile)


def _words(case: Case) -> str:
    """Return a case in words."""
    kind = case.kind.replace("_", " ")
    return f"{kind}: seed {case.seed}, {case.n_local} local samples"


def _settings_text(settings: Mapping[str, Any]) -> str:
    """Return settings as one line of JSON, the same for the same settings."""

    def plain(value: Any) -> Any:
        if isinstance(value, Architecture):
            return value.to_dict()
        msg = (
            "'settings' must hold plain values and architectures, got "
            f"{type(value).__name__}. Convert it."
        )
        raise TypeError(msg)

    return json.dumps(dict(settings), sort_keys=True, default=plain)


def _tidy(case: Case, study: Study, fits: Fits, profile: str) -> pd.DataFrame:
    """Return the predictions of one case, with all that is known of it."""
    scores, predictions = fits.score(profile)
    seconds = predictions["method"].map(scores.set_index("method")["seconds"])
    table = predictions.assign(
        library=study.library.name,
        site=study.site.name,
        **asdict(case),
        study=study.fingerprint,
        seconds=seconds,
    )
    first = ["library", "site", *asdict(case), "study"]
    return table[[*first, *(name for name in table if name not in first)]]


def _read_finished(file: Path, settings: str) -> dict[Case, pd.DataFrame]:
    """Return the predictions of the cases in a file, none where there is no file."""
    if not file.exists():
        return {}
    table = pd.read_parquet(file)
    if "settings" not in table:
        msg = f"'file' {file.name!r} was not written by 'repeat'. Give another name."
        raise ValueError(msg)
    stored = table.pop("settings").iloc[0]
    if stored != settings:
        msg = (
            f"'file' {file.name!r} was made with other settings: "
            f"{_differences(json.loads(stored), json.loads(settings))}. Give another "
            "file, or the settings it was made with."
        )
        raise ValueError(msg)
    keys = ["kind", "seed", "n_local"]
    return {
        Case(str(kind), int(seed), int(n_local)): part.reset_index(drop=True)
        for (kind, seed, n_local), part in table.groupby(keys, sort=False)
    }


def _differences(stored: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Return which settings differ, and how."""
    names = [
        name
        for name in dict(stored) | dict(given)
        if stored.get(name, ...) != given.get(name, ...)
    ]
    return "; ".join(
        f"{name} was {stored.get(name, 'not given')!r}, is "
        f"{given.get(name, 'not given')!r}"
        for name in names
    )


def _check_same_study(
    case: Case, study: Study, predictions: pd.DataFrame, file: Path
) -> None:
    """Raise ValueError where a finished case belongs to other data."""
    stored = predictions["study"].iloc[0]
    if stored != study.fingerprint:
        msg = (
            f"'file' {file.name!r} holds another study ({_words(case)}): its "
            f"fingerprint is {stored}, expected {study.fingerprint}. Give each site, "
            "library and split a file of its own."
        )
        raise ValueError(msg)


def _write_finished(
    file: Path, finished: Mapping[Case, pd.DataFrame], settings: str
) -> None:
    """Write all finished cases at once: a reader finds the old file or the new one."""
    table = pd.concat(finished.values(), ignore_index=True)
    with replacing(file) as partial:
        table.assign(settings=settings).to_parquet(partial, index=False)


def score_cases(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of every case and method, from the predictions of `repeat`.

    One row for each: library, site, kind, n_local, profile, seed, method, n_test, rmse,
    mean_error, ccc, r2, rpiq, seconds.
    """
    keys = ["library", "site", "kind", "n_local", "profile", "seed", "method"]
    rows = []
    for names, part in predictions.groupby(keys, sort=False):
        metrics = evaluate(part["measured"], part["predicted"]).drop("n")
        facts = dict(zip(keys, names, strict=True)) | {"n_test": len(part)}
        rows.append(facts | dict(metrics) | {"seconds": part["seconds"].iloc[0]})
    return pd.DataFrame(rows)
