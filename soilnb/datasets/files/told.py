"""What a user may say of a file, where the file does not say it itself."""

import re
from dataclasses import dataclass, fields
from typing import NoReturn

from soilnb._validation import check_choice

CHOICES = {
    "quantity": ("reflectance", "percent", "absorbance"),
    "axis": ("wavelength", "wavenumber", "micrometre"),
    "soc_kind": ("organic_carbon", "organic_matter", "total_carbon", "ln", "log10"),
    "soc_unit": ("%", "g/kg", "g/100g", "mg/kg"),
    "replicates": ("average", "separate"),
    "below_detection": ("half", "unmeasured"),
}


class TableError(ValueError):
    """A file that cannot be read as a table of spectra; `problems` says why."""

    def __init__(self, *problems: str) -> None:
        """Keep every problem; the message is the first."""
        super().__init__(problems[0])
        self.problems = problems


def refuse(*problems: str) -> NoReturn:
    """Raise TableError."""
    raise TableError(*problems)


@dataclass(frozen=True)
class Told:
    """What was said of a file; "" for what it shall say itself.

    Attributes
    ----------
    quantity : str
        "reflectance" (fraction), "percent" (reflectance in percent) or "absorbance".
    axis : str
        What the names of the bands are: "wavelength" (nm), "wavenumber" (cm-1) or
        "micrometre".
    soc_column, id_column : str
        Columns with the soil organic carbon (SOC) and with the names of the samples.
    soc_kind : str
        "organic_carbon"; "organic_matter", which is divided by 1.724; "total_carbon",
        taken as it is; or the logarithm "ln" or "log10" of SOC.
    soc_unit : str
        "%", "g/kg", "g/100g" or "mg/kg", of mass.
    replicates : str
        Of several scans of one soil: "average" them, or keep them "separate", all on
        one side of every split.
    below_detection : str
        Of SOC such as "<0.2" or 0: "half" of the limit (of the smallest value, where
        none is given), or "unmeasured".
    country : str
        Country of all samples, in place of the column.
    """

    quantity: str = ""
    axis: str = ""
    soc_column: str = ""
    soc_kind: str = ""
    soc_unit: str = ""
    id_column: str = ""
    replicates: str = ""
    below_detection: str = ""
    country: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a choice that there is not."""
        for name, choices in CHOICES.items():
            check_choice(getattr(self, name), name, ("", *choices))


OPTIONS = tuple(field.name for field in fields(Told))


def parse_options(text: str) -> dict[str, str]:
    """Return the options of a text such as "soc_column=SOM, soc_kind=organic_matter".

    A ValueError for what is no option, is given twice or has no such value.

    >>> parse_options("soc_column=SOC, %, soc_unit=g/kg")
    {'soc_column': 'SOC, %', 'soc_unit': 'g/kg'}
    """
    options: dict[str, str] = {}
    for part in re.split(r",\s*(?=\w+\s*=)", text.strip()) if text.strip() else ():
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name in options:
            msg = (
                "Options of a file must be name=value, each name once, with commas "
                f"between, got {part.strip()!r}. Try soc_column=SOM, soc_unit=g/kg."
            )
            raise ValueError(msg)
        check_choice(name, "option of a file", OPTIONS)
        options[name] = value
    Told(**options)
    return options
