"""The library rows of the site's country, however its rows spell it."""

import numpy as np
import pandas as pd
import pytest

from soilnb.datasets import INFO_COLUMNS, SpectralLibrary
from soilnb.study.independent import country_rows, why_no_country


def with_countries(countries):
    """Return a library whose rows name these countries."""
    n_rows = len(countries)
    info = {column: [f"{column}-{i}" for i in range(n_rows)] for column in INFO_COLUMNS}
    info |= {"country": countries}
    spectra = np.full((n_rows, 2), 0.3)
    return SpectralLibrary(
        "made", spectra, [400, 500], np.ones(n_rows), pd.DataFrame(info)
    )


LIBRARY = with_countries(["Norway"] * 3 + ["SWEDEN"] * 30 + [" Sweden"] * 25)


@pytest.mark.parametrize(
    "countries",
    [
        ["Sweden"] * 3,
        ["Sweden", "sweden", "SWEDEN"],
        [" Sweden", "Sweden ", "Sweden"],
        ["", "Sweden", " "],
    ],
)
def test_country_is_found_however_the_rows_spell_it(countries):
    rows = country_rows(LIBRARY, with_countries(countries))
    assert rows.tolist() == list(range(3, 58))


def test_site_in_several_countries_has_no_country_library_and_says_so():
    site = with_countries(["Sweden", "Norway", "norway", ""])
    assert len(country_rows(LIBRARY, site)) == 0
    assert why_no_country(LIBRARY, site).endswith(
        "the site's rows name several countries: Norway, Sweden."
    )


@pytest.mark.parametrize(
    ("countries", "named"), [(["norway", ""], "(norway) "), (["", " "], "")]
)
def test_too_few_rows_or_no_name_is_said(countries, named):
    site = with_countries(countries)
    assert len(country_rows(LIBRARY, site)) == 0
    assert f"country {named}among Norway, SWEDEN." in why_no_country(LIBRARY, site)
