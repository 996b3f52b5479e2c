"""What a user may say of a file, and what the names of its columns say."""

import difflib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple, NoReturn

from soilnb._validation import check_choice, suggestion

CHOICES = {
    "quantity": ("reflectance", "percent", "absorbance"),
    "axis": ("wavelength", "wavenumber", "micrometre"),
    "soc_kind": ("organic_carbon", "organic_matter", "total_carbon", "ln", "log10"),
    "soc_unit": ("%", "g/kg", "g/100g", "mg/kg"),
    "replicates": ("average", "separate"),
    "below_detection": ("half", "unmeasured"),
}
WORDS = {
    what: {*words.split()}
    for what, words in {
        "spread": "sd se std err error pred predicted cv n ratio particulate dissolved "
        "microbial biomass",
        "organic": "org organic organique organico organica organischer organisch orga "
        "organisk",
        "carbon": "carbon carbone carbono kohlenstoff kol",
        "matter": "matter matiere materia substanz substance",
        "inorganic": "inorganic inorg anorganic anorganisch tic sic ic",
        "organic_matter": "som om mos loi mull humus humusgehalt organicmatter",
        "organic_carbon": "soc oc toc corg orgc cox oxc organiccarbon orgcarbon",
        "unclear": "ciso cwb carb corgb",  # by some method, mostly organic
        "total_carbon": "tc ct ctot totc totalcarbon",
        "id": "sample samples sampleid sampleno id labid labno probe probennummer "
        "muestra echantillon pointid",
        "axis": "wavelength wavelengths wl nm lambda wavenumber wavenumbers wave "
        "wellenlänge longueuronde longueurdonde longituddeonda comprimentodeonda",
        "value": "reflectance refl value values absorbance abs spectrum spectra r "
        "percent intensity reflexion reflektanz réflectance reflectancia refletância",
    }.items()
}
# Such as ln(SOC) and SOC_log10, as one word.
LOGARITHM = re.compile(
    r"^(log10|log1p|log|ln|sqrt)(?=soc|oc|toc|corg|organic|c$)"
    r"|(?:oc|corg|carbon)(log10|log1p|log|ln|sqrt)$"
)
OF_INDEX = ("__index_level_0__",)  # the names of the rows in Parquet, by pandas
# In Chinese; in Spanish, French and Portuguese (Mo and Co are metals).
OTHER_WORDS = {"有机碳": " soc ", "有机质": " som ", "样品": " sample "}
OTHER_WORDS |= {r"(?<![A-Za-z])MO(?![A-Za-z\d])": "som"}
OTHER_WORDS |= {r"(?<![A-Za-z])CO(?![A-Za-z\d])": "ciso"}
# Units in a name, of its words and numbers in one line.
UNITS = {
    "stock": r" (t|mg|kg) ha | kg m 2 | stocks? | density ",
    "volume": r" (g|kg|mg) (dm|cm|m|l|ml)( 3)? ",
    "mg/kg": r" mg (c )?kg | mgkg | ppm ",
    "g/100g": r" g 100 g ",
    "g/kg": r" g (c )?kg | gkg | mg (c )?g | ‰ | permill?e? ",
    "%": r" (%|pct|perc|percent|percentage|prozent|wt|dag kg) ",
}
ADVICE = {
    "organic_matter": "is organic matter, which is not SOC: say soc_column={name!r} "
    "and soc_kind='organic_matter' to divide it by 1.724",
    "total_carbon": "is total carbon, which holds the carbon of carbonates, too: "
    "where the soil has none, say soc_column={name!r}",
    "log": "is a logarithm: say soc_column={name!r}, its base, soc_kind='ln' or "
    "soc_kind='log10', and the unit before it was taken, soc_unit='%' or "
    "soc_unit='g/kg'",
    "transformed": "is a transformed value: give SOC itself, in % or g/kg of mass",
    "stock": "is a stock, not a content: SOC in % or g/kg of mass is needed (a stock "
    "divided by bulk density and depth)",
    "volume": "is carbon of a volume of soil, not of mass: divide it by the bulk "
    "density, to have % or g/kg",
    "inorganic": "is inorganic carbon, not SOC: organic carbon (total minus "
    "inorganic) is needed",
    "unclear": "may be SOC: say soc_column={name!r}, and what it is, "
    "soc_kind='organic_carbon' or soc_kind='organic_matter'",
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
    """What was said of a file, as in `read_file`; "" for what it shall say itself."""

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


class Meaning(NamedTuple):
    """What the name of a column says of the carbon in it: a kind and a unit, or ""."""

    kind: str = ""
    unit: str = ""


class Carbon(NamedTuple):
    """The column of SOC: its place, None for none, name, kind, and what to say."""

    position: int | None = None
    name: str = ""
    kind: str = ""
    unit: str = ""
    problem: str = ""
    note: str = ""


def _split(name: str) -> str:
    """Return a name in lower case without accents, with a space between its words."""
    for word, known in OTHER_WORDS.items():
        name = re.sub(word, known, name)
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain).lower() + " ‰" * ("‰" in name)


def read_name(name: str) -> Meaning:
    """Return what a column holds by its name; kind "" if that is no carbon."""
    split = _split(name)
    words = [w for w in re.findall(r"[a-z]+|\d+|[%‰]", split) if w not in ("per", "gc")]
    line, joined = f" {' '.join(words)} ", "".join(re.findall(r"[a-z]+|10", split))
    unit = next((unit for unit, form in UNITS.items() if re.search(form, line)), "")
    form = LOGARITHM.search(joined)
    kind = _kind({*words, joined[form.end() :] if form else ""}, split)
    if kind in ("", "inorganic") or unit in ("stock", "volume"):
        return Meaning(unit if kind and kind != "inorganic" else kind)
    if form:
        kind = form[1] or form[2]
        kind = kind if kind in ("log", "ln", "log10") else "transformed"
    return Meaning(kind, unit)


def _kind(words: set[str], plain: str) -> str:
    """Return the kind of carbon that some words mean, "" for none."""
    has = {what: bool(words & known) for what, known in WORDS.items()}
    joined = re.sub(r"[\W\d_]+", "", plain)
    carbon = has["carbon"] or bool(re.search(r"carbon(?!at)", joined))
    carbon |= "c" in words and bool(re.search(r"(^|[\W_])c($|[\W_])", plain))
    organic = has["organic"] or "organic" in joined
    unclear = has["unclear"] or difflib.get_close_matches(plain, ["soc"])
    kinds = {
        "": has["spread"],
        "inorganic": has["inorganic"] or "inorganic" in joined,
        "organic_matter": has["organic_matter"] or (organic and has["matter"]),
        "organic_carbon": has["organic_carbon"] or (organic and carbon),
        "unclear": organic or unclear,
        "total_carbon": carbon or has["total_carbon"],
    }
    return next((kind for kind, is_so in kinds.items() if is_so), "")


def find_carbon(
    names: Mapping[int, str], told: Told, *, required: bool = True
) -> Carbon:
    """Return which of some columns is SOC, or why none can be taken."""
    position, problem = _find(names, told.soc_column, "soc_column", "soc")
    if problem:
        return Carbon(problem=problem)
    if position is not None:
        return _take(position, names[position] if told.soc_column else "soc", told)
    found = {p: read_name(name).kind for p, name in names.items()}
    found = {p: kind for p, kind in found.items() if kind}
    plain = [p for p, kind in found.items() if kind == "organic_carbon"]
    only = plain or [*found]
    if len(only) == 1 and (plain or told.soc_kind):
        return _take(only[0], names[only[0]], told)
    if plain:
        listed = " or ".join(f"soc_column={names[p]!r}" for p in plain[:3])
        return Carbon(problem=f"{len(plain)} columns may be SOC: say {listed}.")
    sentences = ["There is no column 'soc' (soil organic carbon)."]
    if not found:
        return Carbon(problem=f"{sentences[0]} Add it." if required else "")
    sentences += [_advise(names[p], kind) for p, kind in list(found.items())[:3]]
    if not required:
        sentences.append("Where no sample was measured, remove it.")
    return Carbon(problem=" ".join(sentences))


def _take(position: int, name: str, told: Told) -> Carbon:
    """Return a column as SOC, as was told or as its name says."""
    said = read_name(name)
    kind = told.soc_kind or said.kind or "organic_carbon"
    if said.kind in ("stock", "volume", "inorganic"):
        return Carbon(problem=_advise(name, said.kind))
    is_asked = kind == "organic_matter" and not told.soc_kind
    if kind not in CHOICES["soc_kind"] or is_asked:
        return Carbon(problem=_advise(name, kind))
    unit = told.soc_unit or said.unit
    if kind in ("ln", "log10") and not unit:
        return Carbon(problem=_advise(name, "log"))
    note = ""
    if name.lower() != "soc":
        words = kind.replace("_", " ")
        note = f"Column {name!r} was taken as SOC ({words}{' in ' * bool(unit)}{unit})."
        if kind == "total_carbon":
            note = f"{note} It holds the carbon of carbonates, if there are any."
    return Carbon(position, name, kind, unit, note=note)


def _advise(name: str, kind: str) -> str:
    """Return the sentence for a column that is not taken as it is."""
    text = ADVICE.get(kind, ADVICE["log"]).format(name=name)
    return f"Column {name!r} {text}."


def find_ids(names: Mapping[int, str], told: Told) -> tuple[int | None, str, str]:
    """Return which column names the samples, a problem and a note."""
    position, problem = _find(names, told.id_column, "id_column", "sample_id")
    if problem or position is not None:
        return position, problem, ""
    found, whole = [], []
    for place, name in names.items():
        words = re.findall(r"[a-z]+", _split(name))
        close = difflib.get_close_matches(name.lower(), ["sample_id"])
        whole += [place] * ("".join(words) in WORDS["id"])
        found += [place] * bool(WORDS["id"] & {*words} or close)
    found = whole or found
    if not found:  # as pandas and R write the names of the rows
        other = {0: ("", "Unnamed: 0")}
        found = [p for p, n in names.items() if n in other.get(p, OF_INDEX)]
    if len(found) == 1:
        name = names[found[0]]
        what = f"Column {name!r}" if name else "The first column, without a name,"
        return found[0], "", f"{what} was taken as sample_id."
    listed = " or ".join(f"id_column={names[p]!r}" for p in found[:3])
    hint = f"Say {listed}" if listed else "Add it"
    others = [name for name in names.values() if name and not read_name(name).kind]
    if others and not listed:
        hint += f". If another column names the samples, say id_column={others[0]!r}"
    problem = f"There is no column 'sample_id' (one name per sample). {hint}."
    return None, problem, ""


def _find(
    names: Mapping[int, str], told: str, option: str, usual: str
) -> tuple[int | None, str]:
    """Return the column that was told, else the usual one, in any case; a problem."""
    wanted = told or usual
    found = [p for p, name in names.items() if name == wanted]
    found += [p for p, name in names.items() if name.lower() == wanted.lower()]
    if found or not told:
        return next(iter(found), None), ""
    listed = [name for name in names.values() if name]
    some = ", ".join(map(repr, listed[:8])) + ", ..." * (len(listed) > 8)
    return None, (
        f"{option!r} must be a column of the file, got {told!r}."
        f"{suggestion(told, listed)} It has {some}."
    )
