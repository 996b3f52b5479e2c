"""The prepared study of one site, and what is asked of it.

A study fixes, once, which rows are local, which are test, which library rows may
be used and which fold every row is in. All models are fitted on what it hands out
and all are scored by it, on the same test samples.
"""

from soilnb.study.blend import Blend, blend
from soilnb.study.domain import find_domain, nearest_in_library
from soilnb.study.draws import repeat_draws
from soilnb.study.farm import (
    Farm,
    estimate_farm,
    estimate_samples,
    make_farm,
    stock_of,
    summarise_farm,
)
from soilnb.study.independent import LIBRARY_ROWS_MIN
from soilnb.study.intervals import check_level, cv_plus, n_needed
from soilnb.study.kept import is_whole
from soilnb.study.models import NINE_MODELS, available_models, fit_models
from soilnb.study.networks import (
    describe_search,
    library_architectures,
    library_network,
    library_networks,
    search_library_network,
    select_rows,
)
from soilnb.study.prepared import Study, prepare
from soilnb.study.recommend import (
    BLENDED,
    CANDIDATES,
    RULE_SITES,
    Choice,
    choose,
    nested_predictions,
)
from soilnb.study.related import explained, why_unrelated
from soilnb.study.repeats import Case, plan_cases, refit, repeat, score_cases, unseen
from soilnb.study.scoring import (
    VERDICT_TEST_MIN,
    Fits,
    best_plain,
    change,
    compare,
    predict_with,
    spread_of,
    verdict,
    winners,
)
from soilnb.study.split import N_TEST_MIN
from soilnb.study.sweeps import compare_preprocessings, sweep_weights
from soilnb.study.uncertainty import over_sites, paired, sign_flip_test, smallest_p
