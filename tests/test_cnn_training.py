"""Training all folds together: as Keras does, in the memory there is, repeatably."""

import gc
import os
import weakref
from dataclasses import replace

import numpy as np
import pytest
from cnn_helpers import FULL, N_WAVELENGTHS, TINY, folds_of_sizes, keras_rule, planted
from command_helpers import python

from soilnb.cnn import (
    Architecture,
    ConvBlock,
    FCBlock,
    NetworkTooBigError,
    build,
    cross_validate,
    memory,
)
from soilnb.cnn._tensorflow import keras, tf
from soilnb.cnn.architecture import ACTIVATIONS, OPTIMISERS
from soilnb.cnn.folds import (
    INITIAL,
    SHUFFLE,
    epoch_rows,
    generator,
    initial_weights,
    make_folds,
)
from soilnb.cnn.layers import drop
from soilnb.cnn.stack import MOST_IDLE, FoldStack, _idle
from soilnb.cnn.training import _Run


def train_in_keras(
    architecture, model, reset, Xs, ys, fold, seed, n_epochs, use_fit=False
):
    """Watched RMSE of plain Keras after each epoch: same weights, same batches."""
    size = architecture.batch_size
    rng = generator(seed, fold.position, INITIAL)
    reset(initial_weights(architecture, Xs.shape[1], rng))
    shuffler = generator(seed, fold.position, SHUFFLE)
    history = []
    for _ in range(n_epochs):
        rows = epoch_rows(fold, size, shuffler).ravel()
        rows = rows[rows >= 0]
        if use_fit:
            model.fit(Xs[rows], ys[rows], batch_size=size, shuffle=False, verbose=0)
        else:
            for start in range(0, len(rows), size):
                batch = rows[start : start + size]
                model.train_on_batch(Xs[batch], ys[batch])
        predicted = np.asarray(model(Xs[fold.watched]))[:, 0]
        history.append(np.sqrt(np.mean((predicted - ys[fold.watched]) ** 2)))
    return np.array(history)


def keras_histories(architecture, X, y, folds, seed, n_epochs, dtype, use_fit):
    """Histories of `train_in_keras` by fold position, in the unit of y."""
    model = build(architecture, X.shape[1], dtype=dtype)
    reset = keras_rule(architecture, model)
    histories = {}
    for fold in folds:
        scale = fold.scaling
        Xs = ((X - scale.band_mean) / scale.band_sd).astype(dtype)
        ys = ((y - scale.y_mean) / scale.y_sd).astype(dtype)
        history = train_in_keras(
            architecture, model, reset, Xs, ys, fold, seed, n_epochs, use_fit
        )
        histories[fold.position] = history * scale.y_sd
    return histories


def assert_agrees_with_keras(
    architecture, folds, n_epochs=10, dtype="float32", which=None, use_fit=False
):
    """Compare the RMSE after every epoch: 1e-4 in float32, 1e-6 in float64."""
    tolerance = 1e-4 if dtype == "float32" else 1e-6
    if architecture.optimiser == "nadam":
        tolerance = 1e-4  # Keras rounds its constants to float32, in float64 too
    X, y = planted(len(folds))
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)  # the precision of the optimiser's own numbers
    try:
        result = cross_validate(
            replace(architecture, patience=n_epochs),
            X,
            y,
            folds,
            seed=5,
            max_epochs=n_epochs,
            dtype=dtype,
        )
        parts = make_folds(X.astype(dtype), y, folds)[slice(None, None, which)]
        histories = keras_histories(
            architecture, X, y, parts, 5, n_epochs, dtype, use_fit
        )
    finally:
        keras.config.set_floatx(before)
    for position, expected in histories.items():
        np.testing.assert_allclose(
            result.history[:, position], expected, rtol=tolerance
        )


# ---- the same as Keras -----------------------------------------------------------


DEEP = Architecture(
    conv=(
        ConvBlock(4, 5, 2, activation="elu"),
        ConvBlock(3, 4, 3, activation="leaky_relu", padding="same"),
    ),
    fc=(FCBlock(5, "selu"), FCBlock(4, "relu")),
)


@pytest.mark.parametrize(
    ("architecture", "sizes", "options"),
    [
        # 20 training samples a fold: batches of 16 and 4.
        (TINY, (20, 20), {"use_fit": True}),
        (FULL, (10, 10, 10), {"use_fit": True, "which": 2}),
        # n = 42: 30, 31, 32, 33 training samples, 2, 2, 2 and 3 batches of at most 16.
        (TINY, (12, 11, 10, 9), {}),
        (FULL, (12, 11, 10, 9), {}),
        # n = 33: 17 training samples in batches of 16 and 1, and 16 in a single one.
        (TINY, (16, 17), {}),
        # Several channels and other activations.
        (DEEP, (9, 9), {}),
    ],
)
def test_folds_train_as_keras(architecture, sizes, options):
    assert_agrees_with_keras(architecture, folds_of_sizes(*sizes), **options)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_each_optimiser_trains_as_keras_in_float64(optimiser):
    # Sizes as above; the first and the last fold have 2 and 3 batches.
    assert_agrees_with_keras(
        replace(FULL, optimiser=optimiser),
        folds_of_sizes(12, 11, 10, 9),
        n_epochs=30,
        dtype="float64",
        which=3,
    )


def test_dropout_drops_the_stated_share_and_keeps_the_mean():
    values = drop(tf.ones((3, 16, 31, 200)), 0.3, tf.constant([1, 2])).numpy()
    assert (values == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert values.mean() == pytest.approx(1.0, abs=0.01)
    assert values.max() == pytest.approx(1 / 0.7)


def test_dropout_drops_the_same_in_all_folds_and_other_places_in_the_next_step():
    ones = tf.ones((3, 16, 200))
    first, again, following = (
        drop(ones, 0.3, tf.constant([1, step])).numpy() for step in (1, 1, 2)
    )
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(first, again)
    # Alike where both keep or both drop: 0.7^2 + 0.3^2.
    assert (first == following).mean() == pytest.approx(0.58, abs=0.03)


def test_dropout_trains_as_in_keras_in_distribution():
    """Same starts and batches, other draws: the mean difference of RMSE is zero."""
    n_seeds, n_epochs = 24, 10
    X, y = planted(34)
    folds = np.arange(34) % 2
    fold = make_folds(X, y, folds)[0]
    Xs = (X - fold.scaling.band_mean) / fold.scaling.band_sd
    ys = (y - fold.scaling.y_mean) / fold.scaling.y_sd
    sure = replace(TINY, learning_rate=0.02)
    dropping = replace(
        sure, conv=(ConvBlock(4, 7, 3, dropout=0.3),), fc=(FCBlock(6, dropout=0.5),)
    )
    keras.utils.set_random_seed(1)
    model = build(dropping, N_WAVELENGTHS)
    reset = keras_rule(dropping, model)
    stack, without, plain = np.empty((3, n_seeds))
    for seed in range(n_seeds):
        stack[seed], without[seed] = (
            cross_validate(one, X, y, folds, seed=seed, max_epochs=n_epochs).history[
                -1, 0
            ]
            for one in (dropping, sure)
        )
        plain[seed] = train_in_keras(
            dropping, model, reset, Xs, ys, fold, seed, n_epochs
        )[-1]

    def t_value(differences):
        return differences.mean() / differences.std(ddof=1) * np.sqrt(n_seeds)

    assert abs(t_value(stack - plain * fold.scaling.y_sd)) < 3
    assert t_value(stack - without) > 4  # the same test sees dropout that is missing


def test_a_stack_that_has_trained_trains_others_as_a_new_one():
    dropping = replace(FULL, fc=(FCBlock(6, dropout=0.4),))
    X, y = planted(60, seed=2)

    def train(n_samples, **options):
        some = X[:n_samples], y[:n_samples], np.arange(n_samples) % 3
        found = cross_validate(dropping, *some, max_epochs=4, **options)
        return found, [weight.copy() for one in found.trained for weight in one.weights]

    _idle.clear()
    first, kept = train(30)
    (stack,) = _idle
    second = train(60, seed=5)
    assert _idle == [stack]  # more samples and steps, and the same graph
    now = [weight for one in first.trained for weight in one.weights]
    for old, weight in zip(kept, now, strict=True):
        np.testing.assert_array_equal(weight, old)  # what was read stays
    _idle.clear()
    new = train(60, seed=5)
    np.testing.assert_array_equal(second[0].history, new[0].history)
    np.testing.assert_array_equal(second[0].out_of_fold, new[0].out_of_fold)
    for one, other in zip(second[1], new[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_folds_that_have_stopped_leave_and_the_others_train_the_same(monkeypatch):
    X, y = planted(60, seed=3)
    fc = (FCBlock(6, dropout=0.4),)
    patient = replace(FULL, conv=FULL.conv[:1], fc=fc, patience=5, epochs=60)
    sizes = []
    train = FoldStack.train
    monkeypatch.setattr(
        FoldStack,
        "train",
        lambda self, rows: sizes.append(rows.shape[2]) or train(self, rows),
    )
    leaving = cross_validate(patient, X, y, np.arange(60) % 6)
    assert set(sizes) >= {6, 3}
    monkeypatch.setattr(
        _Run, "_leaving", lambda _, stopped, n: np.full(6, stopped.all() or n == 60)
    )
    sizes.clear()
    staying = cross_validate(patient, X, y, np.arange(60) % 6)
    assert set(sizes) == {6}
    assert len(set(leaving.best_epoch)) > 1
    np.testing.assert_array_equal(leaving.best_epoch, staying.best_epoch)
    near = {"rtol": 1e-5, "atol": 1e-6}  # the ends of arrays round in another way
    np.testing.assert_allclose(leaving.history, staying.history, **near)
    np.testing.assert_allclose(leaving.out_of_fold, staying.out_of_fold, **near)
    for one, other in zip(leaving.trained, staying.trained, strict=True):
        for weight, same in zip(one.weights, other.weights, strict=True):
            np.testing.assert_allclose(weight, same, **near)


def test_few_stacks_wait_for_another_training():
    X, y = planted(12)
    for n_nodes in range(2, MOST_IDLE + 4):
        small = replace(TINY, fc=(FCBlock(n_nodes),))
        cross_validate(small, X, y, np.arange(12) % 2, max_epochs=1)
    last = [stack.architecture.fc[0].nodes for stack in _idle]
    assert last == list(range(4, MOST_IDLE + 4))
    assert all(not len(stack._get("X")) for stack in _idle)  # no samples wait


# ---- memory and devices ----------------------------------------------------------


def test_a_gpu_would_not_round_its_products():
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_folds_in_turns_train_as_together():
    X, y = planted(30)
    folds = np.arange(30) % 5
    dropping = replace(FULL, fc=(FCBlock(6, dropout=0.4),))
    together = cross_validate(dropping, X, y, folds, max_epochs=5)
    enough = memory.fold_bytes(dropping, N_WAVELENGTHS) * 2.5
    assert memory.folds_at_once(dropping, 31, 5, memory_bytes=int(enough)) == 2
    turns = cross_validate(
        dropping, X, y, folds, max_epochs=5, memory_bytes=int(enough)
    )
    np.testing.assert_allclose(turns.history, together.history, rtol=1e-5)
    np.testing.assert_allclose(turns.out_of_fold, together.out_of_fold, rtol=1e-5)


def test_a_network_too_big_for_the_memory_is_refused_before_training():
    X, y = planted(20, n_wavelengths=211)
    nodes = FCBlock(1_000_000)
    huge = Architecture(conv=(ConvBlock(256, 3),), fc=(nodes, nodes, nodes))
    # 209 * 256 * 1e6 + 2 * 1e12 weights of 4 bytes, five times: over 40,000 GB.
    message = r"2,0\d\d,[\d,]+ weights for 211 .* of 2 folds takes about \d+,\d+\.\d GB"
    with pytest.raises(NetworkTooBigError, match=message):
        cross_validate(huge, X, y, np.arange(20) % 2)


def test_memory_counts_what_the_optimiser_remembers():
    # 1000 * 1000 weights in all that matters; 3 copies for sgd, 5 for adam.
    wide = Architecture((ConvBlock(1, 1),), (FCBlock(1000), FCBlock(1000)))
    slim = replace(wide, optimiser="sgd")
    sizes = [memory.fold_bytes(one, 1) for one in (wide, slim)]
    assert sizes[0] / sizes[1] == pytest.approx(5 / 3, rel=0.2)
    double = memory.fold_bytes(wide, 1, dtype="float64")
    assert double == pytest.approx(2 * sizes[0], rel=1e-6)


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    whole = memory._unused_bytes()
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._unused_bytes() == pytest.approx(whole, rel=0.2)
    (tmp_path / "memory.max").write_text("5000\n")
    assert memory._unused_bytes() == 4000


def test_weights_are_given_back_after_a_candidate():
    def in_use():
        gc.collect()
        try:
            return tf.config.experimental.get_memory_info("CPU:0")["current"]
        except ValueError:  # not counted on this processor
            kept = [
                v for v in gc.get_objects() if type(v).__name__ == "ResourceVariable"
            ]
            return sum(variable.numpy().nbytes for variable in kept)

    X, y = planted(20)
    wide = Architecture((ConvBlock(8, 7),), (FCBlock(1000), FCBlock(1000)))
    before = in_use()
    cross_validate(wide, X, y, np.arange(20) % 4, max_epochs=1)
    assert in_use() - before < 1e6  # 1.2 million weights * 4 folds * 20 bytes


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_search_of_many_architectures_does_not_fill_the_memory(activation):
    X, y = planted(8)
    parts = make_folds(X, y, np.arange(8) % 2)
    first = ConvBlock(2, 5, 2, activation=activation, dropout=0.1, pooling="max")
    second = ConvBlock(2, 3, activation=activation, batch_normalisation=True)
    tiny = Architecture(conv=(first, second), fc=(FCBlock(2, activation),))
    stack = _Run(tiny, X.shape[1], X, y, None, 1, 1, None, None)._make_stack(parts)
    graph = weakref.ref(stack.graph().graph)
    del stack
    gc.collect()
    assert graph() is None


# ---- separate processes ----------------------------------------------------------


def run_python(code):
    """Run `code` in a new process; return what it wrote to stdout and stderr."""
    plain = {k: v for k, v in os.environ.items() if "TF_CPP" not in k}
    done = python(code, env=plain)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


TRAIN = """
import numpy as np
from soilnb.cnn import Architecture, ConvBlock, FCBlock, cross_validate
rng = np.random.default_rng(0)
X = rng.normal(size=(36, 40))
first = ConvBlock(8, 7, 2, batch_normalisation=True, pooling="max", dropout=0.2)
second = ConvBlock(8, 3, padding="same", pooling="average")
network = Architecture((first, second), (FCBlock(16, dropout=0.2),))
result = cross_validate(network, X, X[:, 3], np.arange(36) % 4, max_epochs=3)
print(result.out_of_fold.tobytes().hex())
"""


def test_two_processes_agree_to_the_last_bit_and_write_nothing_to_stderr(capsys):
    exec(TRAIN, {})  # this process, whatever it has trained before
    first, second = capsys.readouterr(), run_python(TRAIN)
    assert len(first.out) > 100
    assert second == (first.out, "")


def test_an_unknown_name_is_an_attribute_error():
    import soilnb.cnn

    assert "cross_validate" in dir(soilnb.cnn)
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        _ = soilnb.cnn.train
