"""The twin: a synthetic library at the scale of the paper, whose truth is known.

`carbon` gives SOC with the statistics of the paper's Table 1, `provinces` and `soils`
the minerals and the organic matter, `optics` the reflectance, `laboratories` the scan;
chapter 15 says how, and why it is difficult. Soils, provinces and laboratories are in
`twin.toml`, other constants in these modules: they were chosen for soil reasons, none
by the success of a transfer.
"""

from soilnb.datasets.twin.make import TWIN_RANGE_NM, make_library, make_site
from soilnb.datasets.twin.table_1 import TABLE_1, TWIN_SITES
