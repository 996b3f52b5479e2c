"""What the twin must match, Table 1 of Shen et al. (2022), and what it is made of."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("twin.toml")
TABLES: dict[str, dict[str, Any]] = tomllib.loads(_FILE.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class CarbonTable:
    """One row of the table: soil organic carbon, % of mass."""

    n: int
    mean: float
    sd: float
    min: float
    q1: float
    median: float
    q3: float
    max: float
    area_km2: float = float("nan")  # of a site


# Shen et al. (2022), doi:10.1016/j.isprsjprs.2022.04.009, Table 1.
TABLE_1 = {
    "global": CarbonTable(50_422, 2.28, 3.56, 0.04, 0.55, 1.26, 2.50, 35.04),
    "China": CarbonTable(5_183, 1.61, 1.85, 0.04, 0.78, 1.27, 1.94, 31.40),
    "Sweden": CarbonTable(2_319, 6.14, 6.99, 0.08, 2.08, 3.56, 6.49, 35.04),
    "USA": CarbonTable(4_155, 1.20, 1.98, 0.04, 0.22, 0.52, 1.30, 24.16),
    "twin-china": CarbonTable(135, 1.74, 0.58, 0.89, 1.41, 1.59, 2.05, 4.54, 164.7),
    "twin-sweden": CarbonTable(108, 2.25, 0.57, 1.31, 1.78, 2.23, 2.63, 4.47, 0.8),
    "twin-usa": CarbonTable(216, 1.62, 0.63, 0.78, 1.10, 1.43, 2.05, 3.74, 0.1),
}
TWIN_SITES = {"twin-china": "China", "twin-sweden": "Sweden", "twin-usa": "USA"}
NAMED_COUNTRIES = ("China", "Sweden", "USA")
REST = "rest of the world"
COUNTRIES = (*NAMED_COUNTRIES, REST)
