"""The twin: a synthetic library at the scale of the paper, whose truth is known.

Nobody may redistribute the 50,422 spectra of Shen et al. (2022), so the twin stands in:
as many rows, the same bands, the same statistics of soil organic carbon (SOC) in every
library and site, and spectra computed from the optics of soil. No soil was measured.

How a row is made
-----------------
1. `carbon`: the reported SOC of a country has the statistics of the paper's Table 1;
   it is given to samples in the order of a score, of which the province sets the level.
2. `provinces` and `soils`: the province sets which minerals and which organic matter a
   sample has, and how they go with its carbon.
3. `optics`: absorption is the sum over constituents, scattering depends on texture, and
   reflectance follows from their ratio after Kubelka and Munk (1931).
4. `laboratories`: the spectrometer shifts and scales and adds noise; the carbon that
   colours the soil is the reported one corrected for the laboratory's method.

What makes it difficult, and why
--------------------------------
* Provinces differ in minerals because climate and parent material do, so a band or a
  brightness that tells carbon in one is clay, iron or carbonate in another.
* Provinces differ in how carbon colours a soil (fresh litter is pale brown, charred
  humus black) and in what else rises with it (clay in the tropics; less carbonate on
  loess; less iron in podzols): the relation of SOC to the spectrum is local.
* Laboratories differ in wavelength scale, white reference, detector steps, noise,
  drying, and in the share of carbon that their method finds.
* A farm is one corner of one province, seen by one laboratory. Column `province` of a
  site and of the library says which rows share its minerals and its relation.

Soils, provinces and laboratories are in `twin.toml`, other constants in these modules.
They were chosen for soil reasons, and such that spectra, and how well a model of one
province predicts that province, are as with real farms; none was chosen by the success
of a transfer.
"""

from soilnb.datasets.twin.make import TWIN_RANGE_NM, make_library, make_site
from soilnb.datasets.twin.table_1 import TABLE_1, TWIN_SITES
