"""The search for an architecture: proposals, trials, their log, what mattered."""

from soilnb.cnn.tuning.log import Trial
from soilnb.cnn.tuning.result import SearchResult
from soilnb.cnn.tuning.tune import METHODS, initial_trials, search
