"""The twin beside what it stands for: the paper's Table 1, and real spectra."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.decomposition import PCA

from soilnb.datasets.library import SpectralLibrary, describe
from soilnb.datasets.twin.table_1 import TABLE_1, TWIN_SITES
from soilnb.preprocessing import absorbance, band_depth, snv
from soilnb.quality import noise


def compare_carbon(
    library: SpectralLibrary, sites: Mapping[str, SpectralLibrary]
) -> pd.DataFrame:
    """Return the statistics of SOC of the twin's parts, beside the paper's Table 1.

    The last column is the largest difference, over the paper's sd of that row.
    """
    parts = {"global": library.soc}
    for country in ("China", "Sweden", "USA"):
        parts[country] = library.soc[(library.info["country"] == country).to_numpy()]
    parts |= {name: site.soc for name, site in sites.items()}
    rows = {}
    for name, soc in parts.items():
        statistics, paper = describe(soc), TABLE_1[name]
        wanted = {key: getattr(paper, key) for key in statistics.index}
        worst = (statistics - pd.Series(wanted)).abs().max() / paper.sd
        rows[name] = statistics.to_dict() | {"worst error / sd": worst}
    return pd.DataFrame(rows).T.astype({"n": int})


def own_provinces(
    library: SpectralLibrary, sites: Mapping[str, SpectralLibrary]
) -> pd.DataFrame:
    """Return each site's province, and how many of the library's rows are of it."""
    rows = {}
    for name, site in sites.items():
        own = site.info.iloc[0]
        of_province = (library.info["province"] == own["province"]).to_numpy()
        of_country = (library.info["country"] == TWIN_SITES[name]).to_numpy()
        rows[name] = {
            "province": own["province"],
            "soil": own["soil_type"],
            "laboratory": own["laboratory"],
            "rows of the province": of_province.sum(),
            "share of the country": f"{of_province.sum() / of_country.sum():.0%}",
            "share of the library": f"{of_province.mean():.1%}",
        }
    return pd.DataFrame(rows).T


def darkening(library: SpectralLibrary) -> pd.Series:
    """Return, by province, what ten times the SOC multiplies R at 600 nm by."""
    red = np.log10(library.reflectance[:, library.wavelengths == 600].ravel())
    carbon = np.log10(library.soc)
    groups = dict(library.info.groupby("province").indices)
    groups["everywhere"] = np.arange(len(library))
    slopes = {name: np.polyfit(carbon[i], red[i], 1)[0] for name, i in groups.items()}
    return 10 ** pd.Series(slopes)


def describe_spectra(part: SpectralLibrary) -> dict[str, Any]:
    """Return numbers of spectra that tell real soils from made ones, by name."""
    nm, R = part.wavelengths, part.reflectance
    X = snv(absorbance(R))
    explained = np.cumsum(PCA().fit(X).explained_variance_ratio_)
    level, at600 = noise(R, nm), R[:, nm == 600].ravel()
    clay = band_depth(R, nm, (2120, 2250), 2210)

    def correlation(values: npt.NDArray[Any]) -> float:
        return float(np.corrcoef(part.soc, values)[0, 1])

    return {
        "samples": len(part),
        "components for 99 %": 1 + np.searchsorted(explained, 0.99),
        "for 99.9 %": 1 + np.searchsorted(explained, 0.999),
        "for 99.99 %": 1 + np.searchsorted(explained, 0.9999),
        "r(SOC, R at 600 nm)": correlation(at600),
        "r(SOC, depth at 2210 nm)": correlation(clay),
        "depth at 1920 nm": np.median(band_depth(R, nm, (1830, 2120), 1920)),
        "depth at 2210 nm": np.median(clay),
        "depth at 2340 nm": np.median(band_depth(R, nm, (2290, 2390), 2340)),
        "noise 1500-1750 nm / 1e-5": 1e5 * np.median(level[(nm > 1500) & (nm < 1750)]),
        "noise from 2400 nm / 1e-5": 1e5 * np.median(level[nm >= 2400]),
    }
