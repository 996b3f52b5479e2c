"""What all checks find in one set of spectra."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._validation import check_rows
from soilnb.quality import instrument
from soilnb.quality.copies import duplicated_spectra


def check_spectra(
    reflectance: npt.ArrayLike,
    wavelengths: npt.ArrayLike,
    measures: pd.DataFrame,
    *,
    at: Sequence[float] = instrument.DETECTOR_JUMPS_NM,
) -> pd.DataFrame:
    """Return what every check finds in one set of spectra, as a table.

    Steps are sought in reflectance, where detectors are matched; the number after
    "above" is the median of their limits: smaller steps would not show. Noise is that
    of absorbance, log10(1 / reflectance), because that is what models see.

    `reflectance`, `wavelengths` and the joints `at` are as of `detector_steps`,
    `measures` are T2 and Q of the same rows, from `SpectralOutliers.measure`. Columns:
    check (what was looked for), found (how many), of (out of how many: spectra, or
    bands where the check is of bands) and share. A joint that no spectrum is measured
    across has no row.

    >>> spectra = 0.3 + 1e-4 * np.random.default_rng(1).normal(size=(30, 20))
    >>> nm = np.arange(990, 1010)
    >>> from soilnb.quality import SpectralOutliers
    >>> outliers = SpectralOutliers(n_components=2).fit(spectra)
    >>> measures = outliers.measure(spectra, is_new=False)
    >>> found = check_spectra(spectra + 0.01 * (nm > 1000), nm, measures, at=[1000])
    >>> found.loc[3, "check"], float(found.loc[3, "share"])
    ('step at 1000 nm, above 0.001', 1.0)
    """
    copies = duplicated_spectra(reflectance) >= 0
    check_rows(measures.to_numpy(), "measures", copies, "reflectance")
    found: dict[str, npt.ArrayLike] = {
        "copies of an earlier spectrum": copies,
        "far out among the components (T2)": measures["t2_outlier"],
        "not described by the components (Q)": measures["q_outlier"],
    }
    steps = instrument.detector_steps(reflectance, wavelengths, at=at)
    for joint, judged in steps[steps["limit"].notna()].groupby("joint_nm"):
        least = judged["limit"].median()
        found[f"step at {joint:g} nm, above {least:.1g}"] = judged["is_step"]
    nm = np.asarray(wavelengths, dtype=np.float64)
    values = np.asarray(reflectance, dtype=np.float64)
    absorbance = -np.log10(values, where=values > 0, out=np.full(values.shape, np.nan))
    low, high = instrument.noisy_edges(instrument.noise(absorbance, nm), nm)
    found["noisy bands at the short edge"] = nm < (low or nm[0])
    found["noisy bands at the long edge"] = nm > (high or nm[-1])
    table = pd.DataFrame(
        {name: [np.sum(flags), np.size(flags)] for name, flags in found.items()},
        index=["found", "of"],
    ).T
    table = table.rename_axis("check").reset_index()
    return table.assign(share=table["found"] / table["of"])
