"""Pre-training without labels: the loss, the encoders, honest cells, two tables."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from soilnb import plots
from soilnb.datasets import Pairs, load_pairs
from soilnb.study import contrastive as study
from soilnb.workflow import begin
from soilnb.workflow.data import REFERENCE

BRIEF = study.Budget(n_epochs=2, n_steps=20, n_folds=1, n_trees=5)
TABLES = ("scores", "epochs", "facts")


@pytest.fixture(scope="module")
def cnn():
    """The networks; they load TensorFlow."""
    from soilnb.cnn import contrastive

    return contrastive


def make_pairs(n=150, y=None):
    """Two views that share one of two causes; the property hangs on both of these."""
    rng = np.random.default_rng(1)
    shared, own = rng.normal(size=(2, n, 1))
    first = np.hstack([shared, own, rng.normal(size=(n, 2))])
    second = np.hstack([shared + 0.1 * rng.normal(size=(n, 1)), -shared])
    made = (shared + own)[:, 0] + 0.1 * rng.normal(size=n)
    made[120:] = np.nan  # not labelled
    return Pairs(
        name="made",
        views=(first.astype(np.float32), second.astype(np.float32)),
        names=("one", "two"),
        y=made if y is None else y,
        label="made",
        block=np.arange(n) // 10,
        facts={
            "sign": np.where(own[:, 0] > 0, "plus", "minus"),
            "shared": shared[:, 0],
        },
    )


# The loss


def test_loss_of_embeddings_that_are_worked_out_by_hand(cnn):
    eye = np.eye(128)
    # All cosines 0 but the partner's 1: -2 + ln(e^2 + 254) = ln(1 + 254 e^-2).
    right_angles = np.log(1 + 254 * np.exp(-2))
    assert float(cnn.nt_xent(eye, eye)) == pytest.approx(right_angles, abs=1e-9)
    assert right_angles == pytest.approx(3.566010, abs=1e-6)
    two = float(cnn.nt_xent(np.eye(2), np.eye(2)))
    assert two == pytest.approx(0.239545, abs=1e-6)  # ln(1 + 2 e^-2)
    same = np.ones((128, 5))
    assert float(cnn.nt_xent(same, same)) == pytest.approx(np.log(255), abs=1e-9)
    assert cnn.loss_chance(128) == pytest.approx(np.log(255))


def test_floor_is_the_loss_of_a_simplex_and_is_not_zero(cnn, rng):
    corners = np.eye(128) - 1 / 128  # all cosines between them are -1/127
    floor = float(cnn.nt_xent(corners, corners))
    assert floor == pytest.approx(cnn.loss_floor(128), abs=1e-9)
    assert floor == pytest.approx(3.550710, abs=1e-6)
    for _ in range(5):  # nothing near it is lower
        moved = corners + 0.01 * rng.normal(size=corners.shape)
        assert float(cnn.nt_xent(moved, moved)) > floor


def test_random_pairs_have_about_the_loss_of_chance(cnn, rng):
    first, second = rng.normal(size=(2, 128, 4096))
    loss = float(cnn.nt_xent(first, second))
    assert loss == pytest.approx(cnn.loss_chance(128), abs=0.02)


def test_loss_agrees_with_a_loop_and_keeps_its_symmetries(cnn, rng):
    a, b = rng.normal(size=(2, 7, 3))
    unit = np.vstack([a, b])
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    by_loop = 0.0
    for i in range(14):
        others = [np.exp(unit[i] @ unit[k] / 0.3) for k in range(14) if k != i]
        by_loop -= np.log(np.exp(unit[i] @ unit[(i + 7) % 14] / 0.3) / sum(others)) / 14
    loss = float(cnn.nt_xent(a, b, 0.3))
    assert loss == pytest.approx(by_loop, abs=1e-9)
    order, (turn, _) = rng.permutation(7), np.linalg.qr(rng.normal(size=(3, 3)))
    sizes = rng.uniform(0.1, 9, (7, 1))
    for one, two in (
        (a[order], b[order]),
        (b, a),
        (sizes * a, b),
        (a @ turn, b @ turn),
    ):
        assert float(cnn.nt_xent(one, two, 0.3)) == pytest.approx(loss, abs=1e-9)
    assert abs(float(cnn.nt_xent(a @ turn, b, 0.3)) - loss) > 0.01


def test_gradient_is_that_of_central_differences_and_knows_no_length(cnn, rng):
    from soilnb.cnn._tensorflow import tf

    a, b = (tf.Variable(part) for part in rng.normal(size=(2, 5, 4)))
    with tf.GradientTape() as tape:
        loss = cnn.nt_xent(a, b)
    slope = tape.gradient(loss, a).numpy()
    for place in np.ndindex(5, 4):
        step = np.zeros((5, 4))
        step[place] = 1e-5
        ends = [float(cnn.nt_xent(a + sign * step, b)) for sign in (1, -1)]
        assert slope[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=5e-9)
    np.testing.assert_allclose((slope * a.numpy()).sum(axis=1), 0, atol=1e-12)


def test_retrieval_counts_partners_and_gives_ties_away(cnn):
    eye = np.eye(6)
    found = cnn.retrieval(eye, eye, 3)
    assert found == {"top1": 1, "top5": 1, "mean_rank": 1}
    assert cnn.retrieval(np.ones((6, 2)), np.ones((6, 2)), 6)["top1"] == 0
    # Places 0 and 1 exchanged in the second view: theirs is second in both directions.
    swapped = cnn.retrieval(eye, (eye + 0.1)[[1, 0, 2, 3, 4, 5]], 6)
    assert swapped["top1"] == pytest.approx(4 / 6)
    with pytest.raises(ValueError, match=r"'batch_size' .* got 7"):
        cnn.retrieval(eye, eye, 7)


# The encoders


def test_encoders_of_published_size_have_the_published_weights(cnn):
    def count(*args, **more):
        return cnn.count_weights(cnn.build_encoder(*args, **more))

    assert count((64, 64, 14), cnn.IMAGE_PUBLISHED) == 85_894_016
    whole = count((61, 14), cnn.SERIES_PUBLISHED)
    assert count((61, 14), cnn.SERIES_PUBLISHED, head=False) == 18_921_984
    assert whole - 18_921_984 == 3_997_824
    assert count((61, 13), cnn.SERIES_PUBLISHED, head=False) == 18_921_472
    with pytest.raises(ValueError, match="multiple of the patch of 4 cells, got"):
        cnn.build_encoder((15, 16, 2))


def test_first_weights_are_those_that_the_library_of_the_source_draws(cnn):
    # PyTorch: kernels and biases between plus and minus 1 / sqrt(nodes before them).
    images = np.zeros((2, 8, 8, 3), np.float32)
    encoders = cnn.TwoEncoders((images, images))
    encoders.draw(1)
    drawn = encoders.encoder.trainable_variables
    zeros = [w.numpy() for w in drawn if w.name in ("token", "places")]
    assert len(zeros) == 4
    assert not any(np.any(weight) for weight in zeros)
    patches = next(w for w in drawn if tuple(w.shape) == (48, 64)).numpy()
    limit = 48**-0.5  # squares of 4 by 4 cells and 3 bands
    assert 0.99 * limit < np.abs(patches).max() <= limit
    assert patches.std() == pytest.approx(limit / 3**0.5, rel=0.05)
    bias = next(w for w in drawn if w.name == "bias").numpy()
    assert 0.8 * limit < np.abs(bias).max() <= limit


def test_images_are_turned_into_the_eight_positions_of_a_square(cnn):
    images = np.broadcast_to(np.arange(4.0).reshape(1, 2, 2, 1), (8, 2, 2, 1))
    turns = np.array(list(np.ndindex(2, 2, 2)), bool)
    turned = {tuple(one.ravel()) for one in cnn._turned(images, turns).numpy()}
    assert len(turned) == 8
    series = np.ones((8, 3, 2))
    assert cnn._turned(series, turns) is series


@pytest.fixture(scope="module")
def trained(cnn):
    """Encoders of the made pairs, and what their pre-training left."""
    encoders = cnn.TwoEncoders(make_pairs().views)
    budget = study.Budget(n_epochs=30, n_steps=20, n_folds=1, n_trees=5)
    start = study.pretrain(make_pairs(), encoders, 1, budget, lambda *_: None)
    return encoders, start


def test_pretraining_finds_partners_and_forgets_what_they_do_not_share(trained):
    _, start = trained
    epochs = pd.DataFrame(start.tables["epochs"])
    assert epochs["validation_loss"].iloc[-1] < epochs["validation_loss"].iloc[0] - 0.3
    assert (epochs["validation_loss"] > epochs["floor"]).all()
    assert epochs["top1"].iloc[-1] > 3 / epochs["batch_size"].iloc[0]
    facts = pd.DataFrame(start.tables["facts"]).set_index(["fact", "view"])["score"]
    assert facts["shared", "pretrained"] > 0.9
    assert facts["sign", "pretrained"] < facts["sign", "untrained"]


def test_a_test_value_made_absurd_changes_no_prediction(trained):
    encoders, start = trained
    pairs, cell = make_pairs(), study.Cell("blocked", 60, 1)
    test = study.deal(pairs, "blocked", 1) == 0
    absurd = pairs.y.copy()
    absurd[pairs.labelled[test]] = 1e6
    tables = []
    for one in (pairs, make_pairs(y=absurd)):
        features = study._features(one, lambda: encoders, start)()
        given = (one, features, lambda: encoders, start, cell, BRIEF)
        tables.append(study.predict_cell(*given))
    before, after = tables
    assert set(before["model"]) == set(study.MODELS)
    assert set(before["place"]) == set(pairs.labelled[test])
    np.testing.assert_array_equal(before["predicted"], after["predicted"])
    assert (after["measured"] == 1e6).all()


def test_labels_change_nothing_in_pretraining(trained, cnn):
    encoders, _ = trained
    of_labels = []
    for pairs in (make_pairs(), make_pairs(y=np.arange(150.0))):
        made = study.pretrain(pairs, encoders, 2, BRIEF, lambda *_: None)
        of_labels.append(made.pretrained)
    for one, two in zip(*of_labels, strict=True):
        np.testing.assert_array_equal(one, two)


def test_folds_are_paired_nested_and_whole_blocks():
    pairs = make_pairs()
    cells = study.plan_cells(pairs, 1)
    assert {cell.split for cell in cells} == {"random", "blocked"}
    few, many = (
        next(study._tests(pairs, study.Cell("blocked", n, 1), BRIEF)) for n in (20, 60)
    )
    assert set(few[0]) < set(many[0])
    assert not set(many[0]) & set(many[1])
    folds = pd.Series(study.deal(pairs, "blocked", 1))
    assert folds.groupby(pairs.block[pairs.labelled]).nunique().max() == 1


def test_an_interrupted_study_goes_on_with_the_same_tables(
    tmp_path, trained, monkeypatch
):
    # Encoders are compiled once for all runs; each draws its weights anew.
    monkeypatch.setattr(study, "TwoEncoders", lambda *_: trained[0])
    given = {"budget": BRIEF, "n_seeds": 2}
    whole = [
        study.study_pairs([make_pairs()], table, folder=tmp_path / "whole", **given)
        for table in TABLES
    ]
    assert list(whole[0]) == ["data", "split", "n", "model", "seed", "r2"]

    def interrupt(done, total, text):
        if done >= total / 2 + 3:
            raise KeyboardInterrupt

    more = given | {"folder": tmp_path / "cut"}
    with pytest.raises(KeyboardInterrupt):
        study.study_pairs([make_pairs()], "scores", progress=interrupt, **more)
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "cut").iterdir()}
    assert 3 <= len(kept) < len(list((tmp_path / "whole").iterdir()))
    for table, wanted in zip(TABLES, whole, strict=True):
        again = study.study_pairs([make_pairs()], table, **more)
        pd.testing.assert_frame_equal(again, wanted)
    assert all(file.stat().st_mtime_ns == time for file, time in kept.items())


def test_gain_is_the_mean_of_paired_differences():
    rows = [("a", 1, 0.5), ("b", 1, 0.3), ("a", 2, 0.4), ("b", 2, 0.5)]
    scores = pd.DataFrame(rows, columns=["model", "seed", "r2"])
    scores = scores.assign(data="x", split="random", n=9)
    (row,) = study.compare(scores, "a", "b").itertuples()
    assert row.gain == pytest.approx(0.05)
    assert (row.lowest, row.highest) == (pytest.approx(-0.1), pytest.approx(0.2))
    assert row.better == 0.5


def test_encoders_are_read_alone_before_and_after():
    rows = [(1, 0, 0.1, 0.2), (1, 9, 0.3, 0.1), (2, 0, 0.1, 0.2), (2, 9, 0.5, 0.5)]
    epochs = pd.DataFrame(
        rows, columns=["seed", "epoch", "r2_random", "r2_random_first"]
    )
    epochs = pd.concat([epochs, epochs.assign(epoch=4, r2_random=np.nan)])
    both, first = study.by_view(epochs.assign(data="x")).itertuples()
    assert (both.split, both.of, first.of) == ("random", "both", "first")
    assert (both.untrained, both.pretrained, both.better) == (0.1, 0.4, 1)
    assert (first.untrained, first.better) == (0.2, 0.5)
    assert first.pretrained == pytest.approx(0.3)


# Data


def test_data_sets_have_their_views(shared_data, monkeypatch):
    monkeypatch.setenv("SOILNB_DATA", str(shared_data))
    raca, edgeroi = load_pairs("raca", n_places=700), load_pairs("edgeroi")
    assert [view.shape for view in raca.views] == [(700, 39), (700, 61, 13)]
    assert len(raca.labelled) == 700
    assert [view.shape[1:] for view in edgeroi.views] == [(16, 16, 3), (16, 16, 2)]
    assert len(edgeroi.labelled) == 341
    assert len(edgeroi) > 5000
    assert raca.plain().shape == (700, 39 + 4 * 13)
    assert edgeroi.plain().shape[1] == 15
    middle = edgeroi.views[1][:, 8, 8]
    np.testing.assert_array_equal(edgeroi.plain()[:, 9:11], middle)


def write_pair(folder, change=None, n=120):
    """Write a user's two tables, which `change` may spoil."""
    rng = np.random.default_rng(3)
    first = pd.DataFrame({"id": [f"p{i:03d}" for i in range(n)]})
    first["soc"] = np.where(np.arange(n) < 90, rng.uniform(1, 3, n), np.nan)
    first["latitude"], first["longitude"] = rng.uniform(40, 50, (2, n))
    first["use"] = rng.choice(["field", "wood"], n)
    second = first[["id"]].assign(rain=rng.normal(size=n), heat=rng.normal(size=n))
    if change:
        first, second = change(first, second)
    first.to_csv(folder / "one.csv", index=False)
    second.iloc[::-1].to_csv(folder / "two.csv", index=False)
    return folder / "one.csv", folder / "two.csv"


def test_two_tables_of_ones_own_are_joined_by_their_key(tmp_path):
    pairs = load_pairs(*write_pair(tmp_path, lambda a, b: (a, b.iloc[5:])))
    assert len(pairs) == 115
    assert len(pairs.labelled) == 85
    table = pd.read_csv(tmp_path / "one.csv")
    np.testing.assert_allclose(pairs.y, np.log(table["soc"][5:]))
    wanted = pd.read_csv(tmp_path / "two.csv").set_index("id").loc["p005", "rain"]
    assert pairs.views[1][0, 0] == pytest.approx(wanted)
    assert study.splits(pairs) == ("random", "blocked")
    assert list(pairs.facts) == ["use"]


def set_cell(column, value):
    """Return what writes a value into the first row of the first table."""

    def change(first, second):
        first[column] = first[column].astype(object)
        first.loc[0, column] = value
        return first, second

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b: (a.drop(columns="soc"), b), "'one.csv', which has no 'soc'"),
        (lambda a, b: (a, b.drop(columns="id")), "'two.csv', which has no 'id'"),
        (lambda a, b: (a, b.iloc[:99]), "must share 100 keys or more, .* got 99, 90"),
        (
            lambda a, b: (a, b[["id"]].assign(soil="clay")),
            "'two.csv' must have numeric features .* none",
        ),
        (set_cell("id", "p001"), "'id' of 'one.csv' must have each key once"),
        (set_cell("latitude", None), "without gaps, got 1 gaps in 'latitude'"),
        (set_cell("soc", "much"), "'soc' of 'one.csv' must hold numbers, got 'much'"),
    ],
)
def test_a_pair_that_cannot_be_used_is_refused_at_once(tmp_path, change, message):
    first, second = write_pair(tmp_path, change)
    given = {"data": str(first), "second_view": str(second), "profile": "tiny"}
    with pytest.raises(ValueError, match=message) as error:
        begin("12_contrastive", given | {"results": str(tmp_path / "r")})
    assert str(error.value).endswith(".")
    assert not (tmp_path / "r").exists()


def test_half_a_pair_is_refused(tmp_path):
    first, second = write_pair(tmp_path)
    with pytest.raises(ValueError, match=r"'second_view' must be a CSV file .* none"):
        load_pairs(first)
    with pytest.raises(ValueError, match=r"'second_view' belongs to a file .* 'raca'"):
        load_pairs("raca", second)
    with pytest.raises(FileNotFoundError, match="Check the path of 'second_view'"):
        load_pairs(first, tmp_path / "none.csv")
    with pytest.raises(ValueError, match="'second_view' must be the path of a CSV"):
        begin("12_contrastive", {"data": str(first), "second_view": "climate"})


# The chapter


def test_without_data_and_network_the_chapter_has_its_reference_tables(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("SOILNB_DATA", str(tmp_path / "none"))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    step = begin("12_contrastive", {"profile": "tiny", "results": str(tmp_path / "r")})
    assert "soilnb data fetch raca" in step.missing
    scores = step.table("contrastive", study.study_pairs, [], "scores")
    pd.testing.assert_frame_equal(scores, pd.read_csv(REFERENCE / "contrastive.csv"))


def test_reference_results_are_complete_and_draw_all_figures():
    scores, epochs, facts = (
        pd.read_csv(REFERENCE / f"contrastive{part}.csv")
        for part in ("", "_epochs", "_facts")
    )
    assert list(scores) == ["data", "split", "n", "model", "seed", "r2"]
    cells = scores.groupby(["data", "split", "n"])["model"].agg(set)
    assert set(cells["raca"].index.get_level_values("n")) == {100, 300, 1000}
    assert set(cells["edgeroi"].index.get_level_values("n")) == {50, 100, 250}
    assert all(models == set(study.MODELS) for models in cells)
    assert scores.groupby("seed").size().nunique() == 1
    over_raw = study.compare(scores, "pretrained", "raw").set_index(["data", "n"])
    assert (over_raw.loc[("raca", 1000), "gain"] < 0).all()
    over_pca = study.compare(scores, "pretrained", "pca").set_index(["data", "n"])
    assert (over_pca.loc[("edgeroi", 250), "gain"] > 0).all()
    last = epochs[epochs["epoch"] == epochs["epoch"].max()]
    assert (last["validation_loss"] > last["floor"]).all()
    kept = facts.groupby(["fact", "view"])["score"].mean()
    assert kept["land use", "pretrained"] < kept["land use", "untrained"]
    for figure in (
        plots.plot_contrastive_loss(epochs),
        plots.plot_retrieval_and_use(epochs),
        plots.plot_label_curves(scores),
        plots.plot_readouts(facts),
        plots.plot_paired(scores[scores["data"] == "edgeroi"]),
    ):
        assert figure.axes[0].get_ylabel() or figure.axes[0].get_xlabel()
    plt.close("all")


@pytest.mark.slow
def test_the_chapter_runs_on_two_tables_of_ones_own(tmp_path):
    import papermill

    from soilnb.workflow.steps import notebook_path

    first, second = map(str, write_pair(tmp_path))
    given = {"data": first, "second_view": second, "profile": "tiny"}
    given |= {"results": str(tmp_path / "r")}
    papermill.execute_notebook(
        notebook_path("12_contrastive"),
        tmp_path / "out.ipynb",
        given,
        progress_bar=False,
    )
    place = tmp_path / "r" / "companions" / "12_contrastive"
    assert set(pd.read_csv(place / "contrastive.csv")["data"]) == {"one"}
