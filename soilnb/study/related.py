"""Whether the spectra of a site say anything of its SOC at all."""

import numpy as np

from soilnb.pls import cross_validated_rmse
from soilnb.study.prepared import Study
from soilnb.study.split import folds_of

N_FOLDS = 10
MAX_COMPONENTS = 10


def explained(study: Study) -> float:
    """Return the cross-validated R2 of PLSR on all measured samples of a site.

    Ten folds, samples of one soil together; the best of up to ten components, which
    is generous. NaN where fewer than three soils are measured.
    """
    measured = np.flatnonzero(np.isfinite(study.site.soc))
    y = study.site.soc[measured]
    soils = study.soils[measured]
    n_folds = min(N_FOLDS, len(np.unique(soils)))
    if n_folds < 3:
        return np.nan
    folds = folds_of(soils, n_folds, study.seed)
    rmse = cross_validated_rmse(study.X_site[measured], y, folds, MAX_COMPONENTS)
    return float(1 - rmse.min() ** 2 / y.var())


def why_unrelated(study: Study) -> str:
    """Return a warning where spectra explain nothing of the measured SOC, or ""."""
    r2 = explained(study)
    if not r2 <= 0:
        return ""
    n = int(np.isfinite(study.site.soc).sum())
    return (
        f"The spectra explain nothing of the SOC: the cross-validated R2 of PLSR on "
        f"{n} measured samples is {r2:.2f}. SOC and spectra may be of different "
        "samples: compare the ids, and the order of the rows."
    )
