"""Typed parameters: what a notebook declares, what values may be, what profiles say."""

import ast
import re
import symtable
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from soilnb import datasets
from soilnb._validation import check_choice, check_int, suggestion
from soilnb.preprocessing import check_wavelength_range
from soilnb.sampling import BULK_DENSITIES_G_CM3, DEPTHS_CM, DRAWN_BY
from soilnb.study import check_level
from soilnb.workflow.steps import PATHS, ROOT, notebook_path, read_cells, resolve

Rule = Callable[[str, Any], object]


def profiles() -> dict[str, dict[str, int | str]]:
    """Return the profiles: name to the value of each parameter they set."""
    return tomllib.loads((ROOT / "data" / "profiles.toml").read_text())


@cache
def declared(step: str) -> dict[str, tuple[str, Any]]:
    """Return a notebook's parameters: name to (type name, default)."""
    source = next(
        "".join(cell["source"])
        for cell in read_cells(notebook_path(step))
        if "parameters" in cell["metadata"].get("tags", [])
    )
    return {
        node.target.id: (ast.unparse(node.annotation), ast.literal_eval(node.value))
        for node in ast.parse(source).body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.value is not None
    }


@cache
def assigned(step: str) -> set[str]:
    """Return the names that a notebook's own cells assign or import."""
    cells = read_cells(notebook_path(step))
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    symbols = symtable.symtable("\n".join(code), step, "exec").get_symbols()
    bound = (one for one in symbols if one.is_assigned() or one.is_imported())
    return {one.get_name() for one in bound}


def _between(low: int, high: int) -> Rule:
    """Return a rule for whole numbers."""
    return lambda name, value: check_int(value, name, low, high)


def _one_of(*choices: str) -> Rule:
    """Return a rule for names."""
    return lambda name, value: check_choice(value, name, choices)


def _rule(is_right: Callable[[Any], object], says: str) -> Rule:
    """Return a rule that says what is wrong with a {value} of the parameter {name}."""

    def check(name: str, value: Any) -> None:
        if not is_right(value):
            msg = says.format(name=name, value=value)
            raise ValueError(msg)

    return check


def _profile_or(low: int, high: int) -> Rule:
    """Return a rule for whole numbers that are 0 for the profile's value."""
    return _rule(
        lambda value: not value or low <= value <= high,
        f"{{name!r}} must be 0 (the profile's) or between {low:,} and {high:,}, got "
        "{value}. Give 0, or a number in that range.",
    )


def _number_between(low: float, high: float, unit: str) -> Rule:
    """Return a rule for numbers that are 0 where nothing is given."""

    def check(name: str, value: float) -> None:
        if value and not low <= value <= high:
            is_per_m3 = name.startswith("bulk") and value > 100
            msg = (
                f"{name!r} must be between {low:g} and {high:g} {unit}, or 0 where it "
                f"is not known, got {value:g}."
                f"{' Divide kg/m3 by 1000.' * is_per_m3}"
            )
            raise ValueError(msg)

    return check


def _check_options(name: str, value: Any) -> None:
    """Check the options of a file."""
    try:
        datasets.parse_options(value)
    except ValueError as error:
        msg = f"In {name!r}: {error}"
        raise ValueError(msg) from error


_NAMES = ("site", "library", "results", "data")
_COLUMNS = ("target_column", "region_column", "key_column")
_COUNTS = ("regional_draws", "layer_repeats", "contrastive_seeds", "n_seeds")
_EPOCHS = ("epochs", "library_epochs", "retrain_epochs")
_TEXT = _rule(str.strip, "{name!r} must not be empty. Give a name or a path.")
RULES: dict[str, Rule] = {
    **dict.fromkeys((*_NAMES, *_COLUMNS), _TEXT),
    **dict.fromkeys(_COUNTS, _between(0, 100)),
    **dict.fromkeys(_EPOCHS, _between(0, 100_000)),
    **dict.fromkeys(("n_trials", "n_library_trials"), _between(0, 9999)),
    **dict.fromkeys(("layer_steps", "tuning_steps"), _profile_or(10, 100_000)),
    **dict.fromkeys(("layer_trees", "forest_trees"), _profile_or(5, 10_000)),
    "profile": lambda name, value: check_choice(value, name, profiles()),
    "seed": _between(1, 2**31),
    "n_local": _between(10, 10_000),
    "n_folds": _between(0, 1000),
    "wavelength_range": lambda _, value: value and check_wavelength_range(tuple(value)),
    **{name: _one_of("", *choices) for name, choices in datasets.CHOICES.items()},
    "library_file": _check_options,
    "design": _one_of("", *DRAWN_BY),
    "n_sites": _profile_or(500, 10_000_000),
    "n_regions": _profile_or(2, 1000),
    "n_strata": _between(2, 10),
    "budget": _between(4, 100_000),
    "second_view": _rule(
        lambda value: not value or datasets.is_table(value),
        "{name!r} must be the path of a CSV file, got {value!r}. Give one.",
    ),
    "measured": _rule(
        lambda value: not (value and Path(value).is_dir()),
        "{name!r} must be a table, got the folder {value!r}. Give a file in it.",
    ),
    "pretrain_epochs": _between(0, 1000),
    "test_folds": _between(0, 5),
    "encoder_blocks": _between(0, 12),
    "label_sizes": _between(0, 3),
    "level": lambda _, value: check_level(value),
    "target": _rule(
        lambda value: 0 < value < 100,
        "{name!r} must be above 0 and below 100 percent, got {value}. Try 20.",
    ),
    "bulk_density": _number_between(*BULK_DENSITIES_G_CM3, "g/cm3"),
    "bulk_density_sd": _number_between(0, 1, "g/cm3"),
    "depth_cm": _number_between(*DEPTHS_CM, "cm"),
    "depth_sd": _number_between(0, 100, "cm"),
    "n_draws": _between(0, 1000),
    "extra_weight": _between(1, 1000),
    "n_selected": _between(10, 100_000),
    "n_repeats": _between(0, 10_000),
    "n_searches": _profile_or(2, 1000),
    "n_most": _profile_or(100, 10_000_000),
    "n_components": _between(1, 50),
    "drop_fraction": _rule(
        lambda value: 0 < value <= 0.5,
        "{name!r} must be above 0 and at most 0.5, got {value}. Try 0.05.",
    ),
    "repeat_choice": _one_of("", "yes", "no"),
    "scheduler": _rule(
        lambda value: not value or re.fullmatch(r"local|\w+://[^\s:]+:\d+", value),
        "{name!r} must be 'local' or an address such as 'tcp://10.0.0.1:8786', or "
        "empty for the threads of this computer, got {value!r}.",
    ),
    "n_library": _profile_or(50, 10_000_000),
    "max_weights": _profile_or(150_000, 10**9),  # SMALL, the first trial, needs as many
}
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "str": (str, "text"),
    "bool": (bool, "true or false"),
}


def _check_type(name: str, kind: str, value: Any) -> None:
    """Raise TypeError where a value is not of the declared type."""
    inner, hint = kind, ""
    if is_list := kind.startswith("list"):
        inner = kind[5:-1] or "float"
        hint = f" Try {name}=[500,900], or in papermill -y '{name}: [500, 900]'."
    elif kind == "str":
        hint = f" Plain papermill keeps text as it is typed with: -r {name} VALUE."
    types, expected = _KINDS[inner]
    items = value if is_list and isinstance(value, list) else [value]
    fits = isinstance(value, list) == is_list and all(
        isinstance(item, types) and isinstance(item, bool) == (inner == "bool")
        for item in items
    )
    if not fits:
        expected = f"a list of {inner}" if is_list else expected
        msg = f"{name!r} must be {expected}, got {value!r}.{hint}"
        raise TypeError(msg)


def _hint(name: str, names: Iterable[str]) -> str:
    """Return what may have been meant by a name that there is not."""
    option = name.removeprefix("library_")
    if name != option in datasets.OPTIONS:
        return f" Of a library's file say library_file='{option}=...'."
    return suggestion(name, names)


def check_parameters(step: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters of a step: the given ones, the defaults, the profile's.

    Paths are absolute then.
    """
    known = declared(step)
    for name in given:
        if name not in known:
            says = f"Unknown parameter {name!r} of {step}.{_hint(name, known)}"
            msg = f"{says} It has {', '.join(known)}."
            raise ValueError(msg)
    values = {name: default for name, (_, default) in known.items()} | dict(given)
    for name, value in values.items():
        _check_type(name, known[name][0], value)
        if name in RULES:
            RULES[name](name, value)
    if {"n_components", "n_selected"} <= set(values):
        most = values["n_selected"] - 1
        check_int(values["n_components"], "n_components", 1, most, " (n_selected - 1)")
    if values.get("wavelength_range") == []:
        suits = datasets.wavelength_range(values["site"], values["library"])
        values["wavelength_range"] = list(suits)
    for name in PATHS & set(values):
        values[name] = resolve(values[name])
    profile = profiles()[values["profile"]] if "profile" in values else {}
    return {
        name: profile[name] if value in (0, "") and name in profile else value
        for name, value in values.items()
    }


def parse_assignments(
    assignments: list[str], steps: list[str]
) -> dict[str, dict[str, Any]]:
    """Return, for each step, the values that ``name=value`` texts give it."""
    found: dict[str, dict[str, Any]] = {step: {} for step in steps}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            msg = f"'-p' takes name=value, got {assignment!r}. Try -p seed=2."
            raise ValueError(msg)
        owners = [step for step in steps if name in declared(step)]
        if not owners:
            names = sorted({key for step in steps for key in declared(step)})
            hint = _hint(name, names)
            msg = f"Unknown parameter {name!r}.{hint} There are {', '.join(names)}."
            raise ValueError(msg)
        if name in found[owners[0]]:
            msg = f"{name!r} is given twice, got {assignment!r} too. Give it once."
            raise ValueError(msg)
        for step in owners:
            found[step][name] = _parse(declared(step)[name][0], text)
    return found


def _parse(kind: str, text: str) -> Any:
    """Return the value of a text as the declared type, if it has one."""
    if kind == "str":
        return text
    try:
        value = ast.literal_eval(text.capitalize() if kind == "bool" else text)
    except (ValueError, SyntaxError):
        value = text
    return list(value) if isinstance(value, tuple) else value
