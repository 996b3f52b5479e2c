"""Made-up regions, and quick selections, that the tests of RS-LOCAL share."""

import numpy as np

from soilnb.rslocal import select_instances

WAVELENGTHS = np.arange(400, 2501, 10)
N_CONSTITUENTS = 14


def make_regions(n_library, seed, n_local=30, n_test=200, useful_share=0.2):
    """A library of one region like the site and six with laws of their own.

    Spectra are mixtures of 14 constituents with scatter, a baseline and noise; the
    property is a linear law of the constituents, measured with an error of 5 % of
    its standard deviation.
    """
    rng = np.random.default_rng(seed)
    pure = np.zeros((N_CONSTITUENTS, len(WAVELENGTHS)))
    for spectrum in pure:
        for _ in range(rng.integers(2, 6)):
            width = np.exp(rng.uniform(np.log(20), np.log(400)))
            distance = (WAVELENGTHS - rng.uniform(400, 2500)) / width
            spectrum += rng.uniform(0.05, 1) * np.exp(-0.5 * distance**2)

    def mixtures(n, composition):
        return np.exp(composition + 0.5 * rng.normal(size=(n, N_CONSTITUENTS)))

    def law():
        weights = rng.normal(size=N_CONSTITUENTS)
        return weights / np.linalg.norm(weights)

    def spectra(parts):
        scatter, offset, slope = rng.normal(size=(3, len(parts), 1))
        signal = (parts @ pure * 0.1 + 0.3) * (1 + 0.03 * scatter)
        baseline = 0.02 * (offset + slope * (WAVELENGTHS - 1450) / 1050)
        return signal + baseline + 5e-4 * rng.normal(size=signal.shape)

    def measured(y):
        return y + 0.05 * y.std() * rng.normal(size=len(y))

    home, home_law = rng.normal(scale=0.3, size=N_CONSTITUENTS), law()
    useful = np.zeros(n_library, bool)
    useful[rng.permutation(n_library)[: round(useful_share * n_library)]] = True
    parts = mixtures(n_library, home)
    y = parts @ home_law
    for region in np.array_split(np.flatnonzero(~useful), 6):
        composition = rng.normal(scale=0.6, size=N_CONSTITUENTS)
        parts[region] = mixtures(len(region), composition)
        y[region] = parts[region] @ (0.4 * home_law + 0.9 * law())
    site = mixtures(n_local + n_test, home)
    X_site, y_site = spectra(site), measured(site @ home_law)
    return {
        "library": (spectra(parts), measured(y)),
        "local": (X_site[:n_local], y_site[:n_local]),
        "test": (X_site[n_local:], y_site[n_local:]),
        "useful": useful,
    }


def select(case, **settings):
    """Select 20 rows quickly, unless told otherwise."""
    settings = {"n_selected": 20, "n_repeats": 10, "n_components": 5, **settings}
    return select_instances(*case["library"], *case["local"], **settings)


def assert_same(first, second):
    """Both selections agree to the last bit."""
    np.testing.assert_array_equal(first.indices, second.indices)
    np.testing.assert_array_equal(first.searches, second.searches)
    np.testing.assert_array_equal(first.frequency, second.frequency)
    np.testing.assert_array_equal(first.scores, second.scores)
    same = [name for name in first.history if name not in ("n_tasks", "seconds")]
    assert first.history[same].equals(second.history[same])
