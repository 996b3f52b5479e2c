"""Which column holds the carbon and which the samples, told by their names."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from soilnb._validation import suggestion
from soilnb.datasets.files.told import SOC_KINDS, Told

SPREAD = {"sd", "se", "std", "err", "error", "pred", "predicted", "cv", "n", "ratio"}
ORGANIC = {"org", "organic", "organique", "organico", "organica", "organischer"}
ORGANIC |= {"organisch", "orga", "organisk"}
CARBON = {"c", "carbon", "carbone", "carbono", "kohlenstoff", "kol"}
MATTER = {"matter", "matiere", "materia", "substanz", "substance"}
ORGANIC_CARBON = {"soc", "oc", "toc", "corg", "orgc", "cox", "oxc", "organiccarbon"}
UNCLEAR = {"ciso", "cwb", "carb", "corgb"}  # by some method, mostly organic
ORGANIC_MATTER = {"som", "om", "mos", "loi", "mull", "humus", "organicmatter"}
TOTAL_CARBON = {"tc", "ct", "ctot", "totc", "totalcarbon"}
INORGANIC = {"inorganic", "inorg", "anorganic", "anorganisch", "tic", "sic"}
LOGARITHM = re.compile(r"^(log10|log1p|log|ln|sqrt)(?=soc|oc|toc|corg|organic|c$)")
# Units in a name, of its words and numbers in one line.
UNITS = {
    "stock": r" (t|mg|kg) ha | kg m 2 | stocks? | density ",
    "volume": r" (g|kg|mg) (dm|cm|m|l|ml)( 3)? ",
    "mg/kg": r" mg kg | mgkg | ppm ",
    "g/100g": r" g 100 g ",
    "g/kg": r" g kg | gkg | ‰ | permille ",
    "%": r" (%|pct|perc|percent|prozent|wt) ",
}
ID_WORDS = {"sample", "samples", "sampleid", "sampleno", "id", "labid", "labno"}
ID_WORDS |= {"probe", "probennummer", "muestra", "echantillon", "pointid"}
WHAT = {"soc": "soil organic carbon", "sample_id": "one name per sample"}
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


@dataclass(frozen=True)
class Meaning:
    """What the name of a column says of the carbon in it: a kind and a unit, or ""."""

    kind: str = ""
    unit: str = ""


def read_name(name: str) -> Meaning:
    """Return what a column holds by its name; kind "" if that is no carbon.

    >>> read_name("SOC (g/kg)"), read_name("log_SOC").kind, read_name("C_percent").kind
    (Meaning(kind='organic_carbon', unit='g/kg'), 'log', 'total_carbon')
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain + " ‰" * ("‰" in name)).lower()
    words = [w for w in re.findall(r"[a-z]+|\d+|[%‰]", split) if w not in ("per", "gc")]
    line, joined = f" {' '.join(words)} ", "".join(re.findall(r"[a-z]+|10", split))
    unit = next((unit for unit, form in UNITS.items() if re.search(form, line)), "")
    form = LOGARITHM.match(joined)
    kind = _kind({*words, joined[form.end() :] if form else ""}, plain.lower())
    if kind in ("", "inorganic") or (unit in ("stock", "volume") and kind):
        return Meaning(unit if kind and kind != "inorganic" else kind)
    if form:
        kind = {"log": "log", "ln": "ln", "log10": "log10"}.get(form[1], "transformed")
    return Meaning(kind, unit)


def _kind(words: set[str], plain: str) -> str:
    """Return the kind of carbon that some words mean, "" for none."""
    joined = re.sub(r"[\W\d_]+", "", plain)
    single = bool(re.search(r"(^|[\W_])c($|[\W_])", plain))
    carbon = bool(words & (CARBON - {"c"})) or ("c" in words and single)
    carbon = carbon or bool(re.search(r"carbon(?!at)", joined))
    organic = bool(words & ORGANIC) or "organic" in joined
    if words & SPREAD:
        return ""
    if words & INORGANIC or "inorganic" in joined:
        return "inorganic"
    if words & ORGANIC_MATTER or (organic and words & MATTER):
        return "organic_matter"
    if words & ORGANIC_CARBON or (organic and carbon):
        return "organic_carbon"
    if organic or words & UNCLEAR or difflib.get_close_matches(plain, ["soc"]):
        return "unclear"
    return "total_carbon" if carbon or words & TOTAL_CARBON else ""


@dataclass(frozen=True)
class Carbon:
    """The column of SOC: its place, None for none, name, kind, and what to say."""

    position: int | None = None
    name: str = ""
    kind: str = ""
    unit: str = ""
    problem: str = ""
    note: str = ""


def find_carbon(
    names: Mapping[int, str], told: Told, *, required: bool = True
) -> Carbon:
    """Return which of some columns is SOC, or why none can be taken."""
    if told.soc_column:
        position = _named(names, told.soc_column)
        if position is None:
            return Carbon(problem=_no_such("soc_column", told.soc_column, names))
        return _take(position, names[position], told)
    if (position := _named(names, "soc")) is not None:
        return _take(position, "soc", told)
    found = {p: read_name(name) for p, name in names.items() if read_name(name).kind}
    plain = {p: m for p, m in found.items() if m.kind == "organic_carbon"} or found
    if len(plain) == 1 and (told.soc_kind or {"organic_carbon"} & _kinds(plain)):
        position = next(iter(plain))
        return _take(position, names[position], told)
    if len(plain) > 1 and _kinds(plain) == {"organic_carbon"}:
        listed = " or ".join(f"soc_column={names[p]!r}" for p in list(plain)[:3])
        return Carbon(problem=f"{len(plain)} columns may be SOC: say {listed}.")
    no_column = f"There is no column 'soc' ({WHAT['soc']})."
    if not found:
        return Carbon(problem=f"{no_column} Add it." if required else "")
    sentences = [_advice(names[p], m.kind) for p, m in list(found.items())[:3]]
    if not required:
        sentences.append("Where no sample was measured, remove it.")
    return Carbon(problem=" ".join([no_column, *sentences]))


def _kinds(found: Mapping[int, Meaning]) -> set[str]:
    """Return the kinds of carbon of some columns."""
    return {meaning.kind for meaning in found.values()}


def _take(position: int, name: str, told: Told) -> Carbon:
    """Return a column as SOC, as was told or as its name says."""
    said = read_name(name)
    kind = told.soc_kind or said.kind or "organic_carbon"
    if said.kind in ("stock", "volume", "inorganic"):
        return Carbon(problem=_advice(name, said.kind))
    is_asked = kind == "organic_matter" and not told.soc_kind
    if kind not in SOC_KINDS or is_asked:
        return Carbon(problem=_advice(name, kind))
    unit = told.soc_unit or said.unit
    if kind in ("ln", "log10") and not unit:
        return Carbon(problem=_advice(name, "log"))
    note = ""
    if name.lower() != "soc":
        words = kind.replace("_", " ")
        note = f"Column {name!r} was taken as SOC ({words}{' in ' * bool(unit)}{unit})."
        if kind == "total_carbon":
            note = f"{note} It holds the carbon of carbonates, if there are any."
    return Carbon(position, name, kind, unit, note=note)


def _advice(name: str, kind: str) -> str:
    """Return the sentence for a column that is not taken as it is."""
    text = ADVICE.get(kind, ADVICE["log"]).format(name=name)
    return f"Column {name!r} {text}."


def find_ids(names: Mapping[int, str], told: Told) -> tuple[int | None, str, str]:
    """Return which column names the samples, a problem and a note."""
    if told.id_column:
        position = _named(names, told.id_column)
        problem = _no_such("id_column", told.id_column, names)
        return position, "" if position is not None else problem, ""
    if (position := _named(names, "sample_id")) is not None:
        return position, "", ""
    found = [p for p, name in names.items() if _sounds_like_id(name)]
    if not found and names.get(0) in ("", "Unnamed: 0"):
        found = [0]  # as pandas and R write the names of the rows
    if len(found) == 1:
        name = names[found[0]]
        what = f"Column {name!r}" if name else "The first column, without a name,"
        return found[0], "", f"{what} was taken as sample_id."
    listed = " or ".join(f"id_column={names[p]!r}" for p in found[:3])
    hint = f"Say {listed}" if listed else "Add it"
    problem = f"There is no column 'sample_id' ({WHAT['sample_id']}). {hint}."
    return None, problem, ""


def _sounds_like_id(name: str) -> bool:
    """Return whether a name may be that of the samples' column."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    words = re.findall(r"[a-z]+", split)
    return bool(ID_WORDS & {*words, "".join(words)}) or bool(
        difflib.get_close_matches(name.lower(), ["sample_id"])
    )


def _named(names: Mapping[int, str], wanted: str) -> int | None:
    """Return the column of a name, in any case where there is none of its own."""
    exact = [p for p, name in names.items() if name == wanted]
    other = [p for p, name in names.items() if name.lower() == wanted.lower()]
    return next(iter(exact + other), None)


def _no_such(option: str, value: str, names: Mapping[int, str]) -> str:
    """Return the message for a column that was told and is not there."""
    listed: Sequence[str] = [name for name in names.values() if name]
    hint = suggestion(value, listed)
    some = ", ".join(map(repr, listed[:8])) + ", ..." * (len(listed) > 8)
    return (
        f"{option!r} must be a column of the file, got {value!r}.{hint} It has {some}."
    )
