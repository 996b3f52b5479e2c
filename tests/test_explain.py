"""What networks look at, on networks whose answer is known."""

import numpy as np
import pytest

from soilnb.cnn import Architecture, ConvBlock, FCBlock, FoldModels, build
from soilnb.cnn.explain import band_importance, first_filters

NM = np.arange(500.0, 800.0, 10.0)  # 30 bands


def _spectra(n=12):
    return np.random.default_rng(3).normal(size=(n, len(NM)))


def _linear(band):
    """A network that returns twice the value at one band and ignores the others."""
    plain = Architecture(
        conv=(ConvBlock(1, kernel=1, activation="relu"),), fc=(FCBlock(2, "relu"),)
    )
    model = build(plain, len(NM))
    kernel, bias, dense, *_ = model.get_weights()
    weights = np.zeros_like(dense)
    weights[band] = 2.0
    model.set_weights(
        [
            np.ones_like(kernel),
            np.full_like(bias, 100.0),  # keeps the activation in its linear part
            weights,
            np.zeros(2, np.float32),
            np.array([[1.0], [0.0]], np.float32),
            np.zeros(1, np.float32),
        ]
    )
    return FoldModels([model])


def test_only_the_bands_that_the_network_reads_matter():
    found = band_importance(_linear(12), _spectra(), NM)
    assert found["first_nm"].tolist() == [500, 600, 700]
    assert found["last_nm"].tolist() == [590, 690, 790]
    assert found["change"].drop(1).max() == 0  # band 12 is at 620 nm
    # Exchanging independent values of variance v changes 2 x by sqrt(4 * 2 v).
    spread = _spectra()[:, 12].std()
    assert found["change"][1] == pytest.approx(np.sqrt(8) * spread, rel=0.15)


def test_importance_is_the_seeds_and_leaves_the_spectra_alone():
    X = _spectra()
    before = X.copy()
    first = band_importance(_linear(3), X, NM, n_repeats=2, seed=5)
    assert first.equals(band_importance(_linear(3), X, NM, n_repeats=2, seed=5))
    assert not first.equals(band_importance(_linear(3), X, NM, n_repeats=2, seed=6))
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_filter_answers_where_the_samples_differ(padding):
    """Samples that differ at 650 nm only are told apart by windows that hold it."""
    X = np.ones((6, len(NM)))
    X[:, 15] += np.arange(6)
    block = ConvBlock(4, kernel=5, stride=2, padding=padding)
    model = build(Architecture(conv=(block,), fc=()), len(NM))
    found = first_filters(model, X, NM)
    at = found.columns.to_numpy()
    inside = np.abs(at - 650) <= 20  # five bands: two on either side of the middle
    assert len(found) == 4
    assert (found.loc[:, inside] > 0).any(axis=None)
    assert found.loc[:, ~inside].max(axis=None) < 1e-6
