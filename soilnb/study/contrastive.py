"""What encoders that were trained without labels are worth, beside plain models."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from soilnb._files import replacing
from soilnb._validation import Rows
from soilnb.baselines import fit_random_forest
from soilnb.cnn.contrastive import (
    BATCH_SIZE,
    EncoderSize,
    TwoEncoders,
    loss_chance,
    loss_floor,
    retrieval,
    standardise,
)
from soilnb.datasets import Pairs
from soilnb.metrics import r2
from soilnb.selection import group_folds, hold_out, random_folds

Floats = npt.NDArray[np.floating]

LINEAR = ("pretrained", "untrained", "raw", "pca")
TREES = ("forest", "boosting")
NETWORKS = ("scratch", "fine_tuned")
PARTS = ("", "_first", "_second")  # embeddings of both views, and of one alone
MODELS = (*LINEAR, *TREES, *NETWORKS)
SIZES = {"edgeroi": (50, 100, 250)}  # labels
OTHER_SIZES = (100, 300, 1000)
N_FOLDS = 5
FEW_LABELLED = 1000  # labelled places: two folds of fewer are too small a test
N_COMPONENTS = 64  # of a view, as many as an embedding has
LARGE_BATCH = 1024
PENALTIES = np.logspace(-1, 5, 13)
MOST_CLASSES = 20  # of a fact in words that is read out
CELL_EPOCHS = 2  # epochs of pre-training that a cell takes about as long as


@dataclass(frozen=True)
class Budget:
    """How much work the study is."""

    n_epochs: int = 25  # of pre-training
    n_steps: int = 150  # batches that fine-tune, or train from scratch, at most
    n_folds: int = 5  # that are a test, of five; above one, all where places are few
    n_trees: int = 100  # of the forest
    n_blocks: int = 2  # of an encoder
    n_sizes: int = 3  # numbers of labels, at most: the largest ones


class Cell(NamedTuple):
    """One split and number of labels; models of a cell see the same samples."""

    split: str  # "random" or "blocked"
    n: int
    seed: int


class Start(NamedTuple):
    """What a pre-training leaves."""

    untrained: list[Any]  # weights
    pretrained: list[Any]
    tables: dict[str, list[dict[str, Any]]]  # epochs, facts


def study_pairs(
    sets: Sequence[Pairs],
    table: str,
    *,
    folder: Path,
    budget: Budget | None = None,
    n_seeds: int = 1,
    seed: int = 1,
    progress: Callable[[float, float, str], object] | None = None,
) -> pd.DataFrame:
    """Return one table of some data sets, computed piece by piece.

    `table` is "scores" (data, split, n, model, seed, r2), "epochs" (losses, retrieval
    and use in the course of pre-training) or "facts" (what is read out of the first
    view). Each pre-training, and each cell of a data set, a split, a number of labels
    and a seed, is kept in a file of `folder` and not computed again. The first `seed`,
    of `n_seeds`, is that of weights, batches, folds and labels; `progress` is called as
    progress(done, total, text), in epochs of pre-training.

    Pre-training, and the principal components, see the views of all places, as who
    draws a map has them; no label and no test value.
    """
    budget, parts = budget or Budget(), []
    jobs = [(pairs, s) for pairs in sets for s in range(seed, seed + n_seeds)]
    sizes = {pairs.name: plan_cells(pairs, seed, budget.n_sizes) for pairs in sets}
    lengths = (budget.n_epochs + CELL_EPOCHS * len(sizes[p.name]) for p, _ in jobs)
    total = sum(lengths)
    done, size = 0.0, EncoderSize(depth=budget.n_blocks)

    def report(epochs: float, text: str) -> None:
        if progress is not None:
            progress(done + epochs, total, text)

    for pairs, one in jobs:
        encoders = cache(lambda views=pairs.views: TwoEncoders(views, size))
        file = folder / f"{pairs.name}-{one}.npz"
        if not file.is_file():
            made = pretrain(pairs, encoders(), one, budget, report)
            with replacing(file) as partial, partial.open("wb") as stream:
                arrays: list[Any] = [*made.untrained, *made.pretrained]
                np.savez(stream, *arrays, tables=np.array(json.dumps(made.tables)))
        start = _read(file)
        done += budget.n_epochs
        features = cache(_features(pairs, encoders, start))
        for cell in (cell._replace(seed=one) for cell in sizes[pairs.name]):
            name = f"{pairs.name}-{one}-{cell.split}-{cell.n}.json"
            if not (folder / name).is_file():
                report(0, f"{pairs.name}, {cell.n} labels, {cell.split} folds")
                found = predict_cell(pairs, features(), encoders, start, cell, budget)
                with replacing(folder / name) as partial:
                    partial.write_text(json.dumps(_score(found)))
            done += CELL_EPOCHS
            if table == "scores":
                facts = {"data": pairs.name, "split": cell.split, "n": cell.n}
                scores = json.loads((folder / name).read_text())
                parts += [facts | row | {"seed": one} for row in scores]
        if table != "scores":
            facts = {"data": pairs.name, "seed": one}
            parts += [facts | row for row in start.tables[table]]
    report(0, "")
    order = ["data", "split", "n", "model", "seed", "r2"]
    return pd.DataFrame(parts, columns=order if table == "scores" else None).round(4)


def _read(file: Path) -> Start:
    """Return what a pre-training has left."""
    with np.load(file) as kept:
        tables = json.loads(str(kept["tables"]))
        weights = [kept[f"arr_{place}"] for place in range(len(kept.files) - 1)]
    half = len(weights) // 2
    return Start(weights[:half], weights[half:], tables)


def splits(pairs: Pairs) -> tuple[str, ...]:
    """Return how folds can be dealt: blocked ones need places, on five blocks."""
    if pairs.block is None:
        return ("random",)
    n_blocks = len(np.unique(pairs.block[pairs.labelled]))
    return ("random", "blocked") if n_blocks >= N_FOLDS else ("random",)


def deal(pairs: Pairs, split: str, seed: int) -> Rows:
    """Return the fold of each labelled place."""
    if split == "random" or pairs.block is None:
        return random_folds(len(pairs.labelled), N_FOLDS, seed)
    return group_folds(pairs.block[pairs.labelled], N_FOLDS, seed)


def plan_cells(pairs: Pairs, seed: int, n_sizes: int = 3) -> list[Cell]:
    """Return the cells of one seed: sizes that the training folds hold."""
    folds = {split: deal(pairs, split, seed) for split in splits(pairs)}
    largest = {split: max(np.bincount(of)) for split, of in folds.items()}
    n_known = len(pairs.labelled) - max(largest.values()) * 1.02  # of any seed
    sizes = [n for n in SIZES.get(pairs.name, OTHER_SIZES) if n <= n_known]
    sizes = sizes or [int(0.6 * n_known)]
    return [Cell(split, n, seed) for split in largest for n in sizes[-n_sizes:]]


def pretrain(
    pairs: Pairs,
    encoders: TwoEncoders,
    seed: int,
    budget: Budget,
    report: Callable[[float, str], object],
) -> Start:
    """Pre-train on all places; note losses, retrieval and use on the way."""
    untrained = encoders.draw(seed)
    is_watched = hold_out(len(pairs), seed=seed)
    shuffled = np.random.default_rng(seed).permutation(len(pairs))
    # Neighbours follow each other in the tables: batches of them would be harder.
    parts = np.flatnonzero(~is_watched), shuffled[is_watched[shuffled]]
    batch = min(BATCH_SIZE, len(parts[1]) // 2)
    large = min(LARGE_BATCH, len(parts[1]))
    looks = {0, budget.n_epochs} | {2**k for k in range(10)}
    rows = []
    for epoch in encoders.pretrain(*parts, budget.n_epochs, batch, seed=seed):
        words = f"epoch {epoch.number} of {budget.n_epochs}"
        loss = f"validation loss {epoch.validation_loss:.2f}"
        report(epoch.number, f"pre-training on {pairs.name}, {words}, {loss}")
        found = retrieval(*epoch.watched, batch)
        use = {f"r2_{split}{of}": np.nan for split in splits(pairs) for of in PARTS}
        if epoch.number in looks:
            use |= _use(pairs, encoders, seed, budget)
        made = {
            "epoch": epoch.number,
            "loss": epoch.loss,
            "validation_loss": epoch.validation_loss,
            "floor": loss_floor(batch),
            "chance": loss_chance(batch),
            "batch_size": batch,
            "large_batch": large,
            "top1_large": retrieval(*epoch.watched, large)["top1"],
        }
        rows.append(made | found | use)
    pretrained = encoders.weights()
    facts = []
    for name, values in pairs.facts.items():
        flat = standardise(pairs.views[0]).reshape(len(pairs), -1)
        views: dict[str, Floats] = {"raw": flat}
        for kind, weights in (("untrained", untrained), ("pretrained", pretrained)):
            encoders.set_weights(weights)
            views[kind] = encoders.embed(np.arange(len(pairs)))[0]
        facts += _read_fact(name, values, views, seed)
    return Start(untrained, pretrained, {"epochs": rows, "facts": facts})


def _use(
    pairs: Pairs, encoders: TwoEncoders, seed: int, budget: Budget
) -> dict[str, float]:
    """Return the R2 that is read out with the most labels."""
    first, second = encoders.embed(pairs.labelled)
    both = np.concatenate([first, second], axis=1)
    most = {cell.split: cell for cell in plan_cells(pairs, seed)}
    return {
        f"r2_{split}{of}": _readout(pairs, X, cell, budget)
        for split, cell in most.items()
        for of, X in zip(PARTS, (both, first, second), strict=True)
    }


def _ridge(X: Floats, y: Floats, train: Rows, test: Rows) -> Floats:
    """Return a linear read-out; leaving one out chooses its penalty."""
    model = make_pipeline(StandardScaler(), RidgeCV(PENALTIES)).fit(X[train], y[train])
    return np.clip(model.predict(X[test]), y[train].min(), y[train].max())


def _tests(pairs: Pairs, cell: Cell, budget: Budget) -> Iterator[tuple[Rows, Rows]]:
    """Yield the labels, nested by number, and the tests of each fold, as rows."""
    folds = deal(pairs, cell.split, cell.seed)
    is_small = budget.n_folds > 1 and len(folds) < FEW_LABELLED
    for fold in range(N_FOLDS if is_small else budget.n_folds):
        rng = np.random.default_rng([cell.seed, fold])
        known = rng.permutation(np.flatnonzero(folds != fold))
        yield known[: cell.n], np.flatnonzero(folds == fold)


def _readout(pairs: Pairs, X: Floats, cell: Cell, budget: Budget) -> float:
    """Return the R2 of a linear read-out of features of the labelled places."""
    y = pairs.y[pairs.labelled]
    tests = _tests(pairs, cell, budget)
    parts = [(y[test], _ridge(X, y, train, test)) for train, test in tests]
    measured, predicted = zip(*parts, strict=True)
    return r2(np.concatenate(measured), np.concatenate(predicted))


def _read_fact(
    name: str, values: npt.NDArray, views: dict[str, Floats], seed: int
) -> list[dict[str, Any]]:
    """Return how well a fact is read out: accuracy of words, R2 of numbers."""
    test = hold_out(len(values), seed=seed)
    is_text = values.dtype.kind not in "fi"
    if is_text and len(np.unique(values[~test])) > MOST_CLASSES:
        return []
    scores = {}
    if is_text:
        names, counts = np.unique(values[~test], return_counts=True)
        scores["chance"] = float(np.mean(values[test] == names[counts.argmax()]))
    last = RidgeClassifierCV(PENALTIES) if is_text else RidgeCV(PENALTIES)
    for kind, X in views.items():
        model = make_pipeline(StandardScaler(), last).fit(X[~test], values[~test])
        scores[kind] = float(model.score(X[test], values[test]))
    return [{"fact": name, "view": kind, "score": v} for kind, v in scores.items()]


def _features(
    pairs: Pairs, encoders: Callable[[], TwoEncoders], start: Start
) -> Callable[[], dict[str, Floats]]:
    """Return what computes the inputs of the models without a network of their own."""

    def compute() -> dict[str, Floats]:
        known, found = pairs.labelled, {}
        for kind in ("pretrained", "untrained"):
            encoders().set_weights(getattr(start, kind))
            found[kind] = np.concatenate(encoders().embed(known), axis=1)
        parts = []
        for view in pairs.views:
            flat = standardise(view).reshape(len(pairs), -1)
            n = min(N_COMPONENTS, *flat.shape)
            parts.append(PCA(n, random_state=1).fit(flat).transform(flat[known]))
        found["pca"] = np.concatenate(parts, axis=1)
        return found | {"raw": pairs.flat()[known], "plain": pairs.plain()[known]}

    return compute


def predict_cell(
    pairs: Pairs,
    features: dict[str, Floats],
    encoders: Callable[[], TwoEncoders],
    start: Start,
    cell: Cell,
    budget: Budget,
) -> pd.DataFrame:
    """Return model, place, measured and predicted, within the range of the labels.

    Both networks begin with the same head, LayerNorm before it, and as many steps.
    """
    known, found = pairs.labelled, []
    y = pairs.y[known]
    for train, test in _tests(pairs, cell, budget):
        predicted = {name: _ridge(features[name], y, train, test) for name in LINEAR}
        X = features["plain"]
        options: dict[str, Any] = {"n_trees": budget.n_trees, "max_features": 1 / 3}
        forest = fit_random_forest(X[train], y[train], seed=cell.seed, **options)
        boosting = GradientBoostingRegressor(
            n_estimators=2 * budget.n_trees,
            learning_rate=0.05,
            subsample=0.5,
            max_features=1 / 3,
            random_state=cell.seed,
        )
        predicted["forest"] = forest.predict(X[test])
        predicted["boosting"] = boosting.fit(X[train], y[train]).predict(X[test])
        mean, sd = y[train].mean(), y[train].std() or 1.0
        scaled = (y[train] - mean) / sd
        starts = {"scratch": start.untrained, "fine_tuned": start.pretrained}
        for name, weights in starts.items():
            encoders().set_weights(weights)
            rows = known[train]
            tuned = encoders().tune(rows, scaled, budget.n_steps, seed=cell.seed)
            predicted[name] = tuned.predict(known[test]) * sd + mean
        facts = {"place": known[test], "measured": y[test]}
        ends = y[train].min(), y[train].max()
        found += [
            pd.DataFrame({"model": name, **facts, "predicted": np.clip(values, *ends)})
            for name, values in predicted.items()
        ]
    return pd.concat(found, ignore_index=True)


def _score(predictions: pd.DataFrame) -> list[dict[str, Any]]:
    """Return R2 by model, of the predictions of all folds at once."""
    by_model = predictions.groupby("model", sort=False)[["measured", "predicted"]]
    return [{"model": name, "r2": r2(*part.to_numpy().T)} for name, part in by_model]


def compare(scores: pd.DataFrame, model: str, other: str) -> pd.DataFrame:
    """Return what a model gains over another one of the same labels and tests.

    Columns: data, split, n; gain (mean difference of R2 over the seeds), lowest and
    highest (of the seeds), better (share of seeds with a gain).
    """
    keys = ["data", "split", "n"]
    wide = scores.pivot_table("r2", [*keys, "seed"], "model", sort=False)
    of_seeds = (wide[model] - wide[other]).groupby(keys, sort=False)
    table = of_seeds.agg(gain="mean", lowest="min", highest="max")
    share = (wide[model] > wide[other]).groupby(keys, sort=False).mean()
    return table.assign(better=share).reset_index()


def by_view(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return what is read out of both encoders and of each alone, before and after.

    Columns: data, split, of ("both", "first" or "second"); untrained and pretrained
    (R2, means over the seeds), better (share of seeds with a gain).
    """
    columns = [name for name in epochs if name.startswith("r2_")]
    ends = epochs[epochs["epoch"].isin([0, epochs["epoch"].max()])]
    long = ends.melt(["data", "seed", "epoch"], columns, "column", "r2").dropna()
    parts = long["column"].str.split("_", expand=True).reindex(columns=[1, 2])
    long["split"], long["of"] = parts[1], parts[2].fillna("both")
    keys = ["data", "split", "of"]
    wide = long.pivot_table("r2", [*keys, "seed"], "epoch", sort=False)
    wide.columns = ["untrained", "pretrained"]
    is_better = wide["pretrained"] > wide["untrained"]
    of_seeds = wide.assign(better=is_better).groupby(keys, sort=False)
    return of_seeds.mean().reset_index()
