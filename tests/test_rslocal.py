"""RS-LOCAL against plain loops, planted truths and its own settings."""

import tracemalloc

import numpy as np
import pytest
from rslocal_helpers import assert_same, make_regions, select
from sklearn.cross_decomposition import PLSRegression

from soilnb.metrics import rmse
from soilnb.pls import PLS1, choose_n_components
from soilnb.rslocal import inputs, search, select_instances, selection_size, subsets


def error_on_test(case, X, y):
    """RMSE on the test samples of a PLSR of ten components, or of eight on 30 rows.

    Ten would learn the one law of the site, with its little noise, from 30 samples.
    """
    X_test, y_test = case["test"]
    model = PLS1(10 if len(y) > 30 else 8).fit(X, y)
    return rmse(y_test, model.predict(X_test))


def search_by_definition(library, local, k, b, r, n_components, seed):
    """The method as published, with scikit-learn and plain loops."""
    (X, y), (X_local, y_local) = library, local
    pool, first_scores = np.arange(len(y)), None
    iteration = 0
    while len(pool) > k:
        total, count = np.zeros(len(pool)), np.zeros(len(pool))
        for model in range(round(len(pool) * b / k)):
            drawn = subsets.draw_subset(seed, 0, iteration, model, len(pool), k)
            rows = pool[drawn]
            pls = PLSRegression(n_components=n_components, scale=False)
            predicted = pls.fit(X[rows], y[rows]).predict(X_local).ravel()
            total[drawn] += rmse(y_local, predicted)
            count[drawn] += 1
        with np.errstate(invalid="ignore"):
            scores = total / count
        first_scores = scores if first_scores is None else first_scores
        n_dropped = min(max(1, round(len(pool) * r)), len(pool) - k)
        ranked = np.argsort(np.nan_to_num(scores, nan=-np.inf), kind="stable")
        pool = np.sort(pool[ranked[: len(pool) - n_dropped]])
        iteration += 1
    return pool, first_scores


def test_agrees_with_a_plain_scikit_learn_loop():
    case = make_regions(60, seed=3)
    settings = {"n_components": 4, "seed": 7}
    expected, _ = search_by_definition(
        case["library"], case["local"], k=12, b=3, r=0.2, **settings
    )
    ours = select(case, n_selected=12, n_repeats=3, drop_fraction=0.2, **settings)
    assert ours.indices.tolist() == expected.tolist()


def test_scores_of_one_iteration_agree_with_a_plain_loop(small):
    # A cull of nearly all rows: the only iteration is the first.
    expected_rows, expected = search_by_definition(
        small["library"], small["local"], k=20, b=10, r=0.99, n_components=5, seed=1
    )
    ours = select(small, drop_fraction=0.99)
    assert len(ours.history) == 1
    np.testing.assert_allclose(ours.scores, expected, rtol=1e-4)
    assert ours.indices.tolist() == expected_rows.tolist()


def test_useful_samples_are_found_among_six_other_regions():
    precision, selected, random, whole, local = [], [], [], [], []
    for seed in range(5):
        case = make_regions(2000, seed)
        X, y = case["library"]
        chosen = select_instances(
            *case["library"], *case["local"], n_selected=100, n_repeats=50
        ).indices
        anything = np.random.default_rng(seed).choice(2000, 100, replace=False)
        precision.append(case["useful"][chosen].mean())
        selected.append(error_on_test(case, X[chosen], y[chosen]))
        random.append(error_on_test(case, X[anything], y[anything]))
        whole.append(error_on_test(case, X, y))
        local.append(error_on_test(case, *case["local"]))
    assert np.mean(precision) >= 0.40  # chance: 0.20
    assert np.mean(selected) < 0.5 * np.mean(random)
    assert np.mean(selected) < 0.5 * np.mean(whole)
    assert np.mean(selected) < np.mean(local)


def test_number_of_models_at_the_papers_scale():
    # Counted independently: K = 50,422, k = 100, b = 50, r = 0.05.
    settings = inputs.Settings(100, 100, 50, 0.05, 10, 0, 1)
    sizes = list(settings.pool_sizes(50_422))
    assert sum(settings.n_models(size) for size in sizes) == 503_234
    assert sizes[1] == 50_422 - 2_521
    # Small libraries are halved.
    assert [selection_size(n) for n in (50_422, 200, 199)] == [100, 100, 99]
    assert selection_size(60, n_selected=20) == 20


def test_draws_are_distinct_uniform_and_depend_on_every_number():
    draws = np.array(
        [subsets.draw_subset(1, 0, 0, model, 40, 10) for model in range(4000)]
    )
    assert all(len(set(draw)) == 10 for draw in draws)
    counts = np.bincount(draws.ravel(), minlength=40)
    # Binomial: mean 1000, SD sqrt(4000 x 1/4 x 3/4) = 27.
    assert abs(counts - 1000).max() < 5 * 27
    reference = subsets.draw_subset(1, 2, 3, 4, 40, 10).tolist()
    for numbers in [(2, 2, 3, 4), (1, 3, 3, 4), (1, 2, 4, 4), (1, 2, 3, 5)]:
        assert subsets.draw_subset(*numbers, 40, 10).tolist() != reference
    assert sorted(subsets.draw_subset(2**63 - 1, 0, 0, 0, 5, 5)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("pool_size", "size"), [(7, 7), (120, 100), (9_000, 100)])
def test_draws_are_the_first_steps_of_a_shuffle_of_all_positions(pool_size, size):
    def mix(state):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return state, z ^ (z >> 31)

    for model in range(40):
        state = 0
        for part in (1, 2, 3, model):
            state = mix(state ^ part)[1]
        shuffled = [*range(pool_size)]
        for i in range(size):
            state, z = mix(state)
            j = i + ((z >> 32) * (pool_size - i) >> 32)
            shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
        drawn = subsets.draw_subset(1, 2, 3, model, pool_size, size)
        assert drawn.tolist() == shuffled[:size]


@pytest.mark.parametrize(
    ("n_library", "settings"),
    [
        (21, {}),  # one iteration, one row dropped
        (40, {"n_repeats": 1, "drop_fraction": 0.9}),  # fewer drawn than to drop
        (30, {"drop_fraction": 1e-6}),  # rounds to no row at all
        (22, {"n_repeats": 1, "n_selected": 21}),  # a single model
        (50, {"subset_size": 6, "n_repeats": 1}),  # as many components as rows allow
        (50, {"n_selected": 2, "n_repeats": 1, "n_components": 1}),
        (50, {"n_selected": 2, "n_repeats": 1, "n_components": "cv"}),
    ],
)
def test_exactly_the_wanted_number_of_distinct_rows(small, n_library, settings):
    case = {**small, "library": tuple(part[:n_library] for part in small["library"])}
    chosen = select(case, **settings).indices
    wanted = settings.get("n_selected", 20)
    assert len(set(chosen.tolist())) == wanted
    assert (np.diff(chosen) > 0).all()
    assert 0 <= chosen[0] <= chosen[-1] < n_library


def test_a_single_model_leaves_out_the_row_it_did_not_draw():
    case = make_regions(22, seed=1)
    result = select(case, n_selected=21, n_repeats=1)
    assert result.history["n_models"].tolist() == [1]
    # Only drawn rows can be dropped, and the row never drawn has no score.
    assert np.isnan(result.scores).sum() == 1
    assert np.flatnonzero(np.isnan(result.scores))[0] in result.indices


def test_duplicate_spectra_are_no_obstacle(small):
    X, y = small["library"]
    case = {**small, "library": (np.repeat(X[:30], 5, axis=0), np.repeat(y[:30], 5))}
    result = select(case)
    assert len(set(result.indices.tolist())) == 20
    assert np.isfinite(result.history["rmse_median"]).all()


def test_never_drawn_rows_stay_and_ties_keep_the_lower_row():
    means = np.array([2.0, np.nan, 1.0, 2.0, 2.0])
    assert search._keep_best(means, 2).tolist() == [0, 1, 2]
    assert search._keep_best(means, 4).tolist() == [1]
    assert search._keep_best(np.array([np.nan, np.nan, 5.0]), 2).tolist() == [0, 1]


def test_failed_models_are_skipped():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(30, 4)).astype("f4"), rng.normal(size=30).astype("f4")
    y[0] = np.nan  # fails every model that holds row 0
    spectra = subsets.Spectra(X, y, X[1:8], y[1:8])
    pool = np.arange(30, dtype=np.int32)
    draw = subsets.Draw(1, 0, 0, 5, 2, 0)
    tally = subsets.tally_task(spectra, pool, draw, range(200))
    failed = np.isnan(tally.rmse)
    holds_row_0 = [0 in subsets.draw_subset(1, 0, 0, m, 30, 5) for m in range(200)]
    assert failed.tolist() == holds_row_0
    assert tally.counts[0] == tally.sums[0] == 0
    assert tally.counts.sum() == 5 * (~failed).sum()


def test_several_searches_are_independent_and_combined_by_frequency(small):
    result = select(small, n_searches=5)
    assert result.searches.shape == (5, 20)
    np.testing.assert_array_equal(result.searches[0], select(small).indices)
    assert len({tuple(rows) for rows in result.searches}) == 5
    counts = np.bincount(result.searches.ravel(), minlength=300)
    np.testing.assert_allclose(result.frequency, counts / 5)
    ranked = sorted(range(300), key=lambda i: (-counts[i], result.scores[i], i))
    assert result.indices.tolist() == sorted(ranked[:20])


def test_seed_and_history(small):
    result = select(small, seed=1)
    assert_same(result, select(small, seed=1))
    assert result.indices.tolist() != select(small, seed=2).indices.tolist()
    history = result.history
    assert history["pool_size"].iloc[:2].tolist() == [300, 285]  # 5 % fewer
    assert history["n_models"].iloc[:2].tolist() == [150, 142]  # pool x 10 / 20
    assert (history["rmse_q05"] <= history["rmse_median"]).all()
    assert history["rmse_median"].iloc[-1] < 0.7 * history["rmse_median"].iloc[0]


def test_the_unit_of_the_property_scales_the_scores_only(small):
    (X, y), (X_local, y_local) = small["library"], small["local"]
    in_percent = select(small)
    in_g_per_kg = select({"library": (X, y * 10), "local": (X_local, y_local * 10)})
    np.testing.assert_array_equal(in_percent.indices, in_g_per_kg.indices)
    np.testing.assert_allclose(in_percent.scores * 10, in_g_per_kg.scores, rtol=1e-4)


def test_progress_counts_the_models(small):
    calls = []
    result = select(small, n_searches=2, progress=lambda *call: calls.append(call))
    done, totals, texts = zip(*calls, strict=True)
    assert np.diff((0, *done)).tolist() == result.history["n_models"].tolist()
    assert set(totals) == {done[-1]}
    assert texts[-1] == "search 2 of 2, 20 rows left"


def test_inputs_are_not_changed_and_may_be_lists(small):
    before = [part.copy() for part in (*small["library"], *small["local"])]
    expected = select(small)
    as_lists = {
        name: [part.tolist() for part in small[name]]
        for name in small
        if name in ("library", "local")
    }
    assert_same(select(as_lists), expected)
    for part, copy in zip((*small["library"], *small["local"]), before, strict=True):
        np.testing.assert_array_equal(part, copy)


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_the_unit_of_the_spectra_does_not_matter(small, factor):
    (X, y), (X_local, y_local) = small["library"], small["local"]
    scaled = {"library": (X * factor, y), "local": (X_local * factor, y_local)}
    assert select(scaled).indices.tolist() == select(small).indices.tolist()


def test_cross_validated_components_agree_with_the_estimator(small):
    (X, y), (X_local, y_local) = small["library"], small["local"]
    spectra = subsets.Spectra(X, y, X_local, y_local)  # in double precision
    for size in (20, 33):
        draw = subsets.Draw(1, 0, 0, size, 15, 10)
        tally = subsets.tally_task(
            spectra, np.arange(300, dtype=np.int32), draw, range(20)
        )
        for model in range(20):
            rows = subsets.draw_subset(1, 0, 0, model, 300, size)
            expected = choose_n_components(X[rows], y[rows], np.arange(size) % 10, 15)
            pls = PLS1(expected).fit(X[rows], y[rows])
            assert tally.n_components[model] == expected
            assert tally.rmse[model] == pytest.approx(
                rmse(y_local, pls.predict(X_local)), rel=1e-9
            )
        assert len(set(tally.n_components)) > 3


def test_cross_validation_finds_how_many_components_the_data_have():
    rng = np.random.default_rng(1)
    parts = rng.normal(size=(230, 3)) * [3, 2, 1]
    X = parts @ rng.normal(size=(3, 40)) + 1e-3 * rng.normal(size=(230, 40))
    y = parts @ [1.0, -1.0, 1.0] + 0.3 * rng.normal(size=230)
    case = {"library": (X[:200], y[:200]), "local": (X[200:], y[200:])}
    result = select(case, n_selected=50, n_components="cv")
    assert (result.history["n_components"] == 3).all()
    assert (select(case, n_components=4).history["n_components"] == 4).all()


def test_single_precision_input_gives_the_same_and_stays_small():
    case = make_regions(20_000, seed=1, n_test=1)
    single = {
        name: tuple(part.astype("f4") for part in case[name])
        for name in ("library", "local")
    }
    double = {
        name: tuple(part.astype("f8") for part in parts)
        for name, parts in single.items()
    }
    settings = {"n_selected": 100, "n_repeats": 1, "drop_fraction": 0.5}
    expected = select(double, **settings)
    tracemalloc.start()
    assert_same(select(single, **settings), expected)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Beside the library itself: one standardised copy, and masks while it is checked.
    assert peak < 1.5 * single["library"][0].nbytes
