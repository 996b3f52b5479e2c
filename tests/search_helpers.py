"""Data, and a quick stand-in for training, that the tests of the search share."""

from types import SimpleNamespace

import numpy as np

RNG = np.random.default_rng(5)
X = RNG.normal(size=(12, 60)).cumsum(axis=1)
Y = 2.0 + X[:, 40] - X[:, 10]
FOLDS = np.arange(12) % 3


def quick_rmse(values):
    """A cheap RMSE with a best optimiser, learning rate, depth and pooling."""
    rate = np.log10(values["learning_rate"]) + 3
    penalty = 0.5 * rate**2 + 0.2 * (values["optimiser"] != "nadam")
    penalty += 0.15 * (values["n_fc"] - 1) + 0.1 * abs(values["n_conv"] - 2)
    penalty += 0.2 * (values["conv1_pooling"] != "max")
    return float(0.3 * np.exp(penalty + 0.1 * np.log(values["conv1_filters"] / 16)))


def quick_training(task, values, rungs):
    """Stand in for the cross-validation of a network."""
    return SimpleNamespace(rmse=quick_rmse(values), best_epoch=np.ones(3, int))


def path(result):
    """What was tried and how it did, in order."""
    return [(one.number, one.values, one.status, one.score) for one in result.tried]
