"""Where spectra come from: built-in libraries and sites, and a user's own files."""

from soilnb.datasets.farms import FARM_SITES, FARMS, Farm, load_farm, load_farms
from soilnb.datasets.files import (
    CHOICES,
    OPTIONS,
    FileReport,
    convert_folder,
    find_files,
    inspect_file,
    is_table,
    parse_options,
    read_candidates,
    read_file,
)
from soilnb.datasets.library import (
    INFO_COLUMNS,
    SYNTHETIC,
    SpectralLibrary,
    concatenate,
    describe,
)
from soilnb.datasets.names import (
    LIBRARIES,
    SITES,
    describe_origin,
    folder_name,
    load_library,
    load_site,
    place_label,
    wavelength_range,
)
from soilnb.datasets.open import (
    OPEN_SITES,
    OpenFile,
    data_folder,
    fetch,
    load_open,
    open_files,
)
from soilnb.datasets.pairs import Pairs, load_pairs
from soilnb.datasets.profiles import Profiles, equal_area_spline, load_profiles
from soilnb.datasets.regions import Sites, load_sites
from soilnb.datasets.sets import DataSet, data_sets, fetch_set
from soilnb.datasets.twin import TWIN_SITES, make_library, make_site
