"""Typed parameters: what a notebook declares, what a value may be, what a profile says.

The same checks serve the command line and the first cell of every notebook.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from soilnb._validation import check_choice, check_int, suggestion
from soilnb.datasets import (
    CHOICES,
    OPTIONS,
    is_table,
    parse_options,
    wavelength_range,
)
from soilnb.preprocessing import check_wavelength_range
from soilnb.sampling import BULK_DENSITIES_G_CM3, DEPTHS_CM, DRAWN_BY
from soilnb.study import check_level
from soilnb.workflow.steps import ROOT, notebook_path, read_cells


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
    nodes = [
        node
        for cell in read_cells(notebook_path(step))
        if cell["cell_type"] == "code"
        for node in ast.walk(ast.parse("".join(cell["source"])))
    ]
    stored = {
        node.id
        for node in nodes
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    imported = {
        node.asname or node.name for node in nodes if isinstance(node, ast.alias)
    }
    return stored | imported


def _between(low: int, high: int) -> Callable[[str, Any], None]:
    """Return a rule for whole numbers."""
    return lambda name, value: check_int(value, name, low, high)


def _one_of(*choices: str) -> Callable[[str, Any], None]:
    """Return a rule for names."""
    return lambda name, value: check_choice(value, name, choices)


def _check_share(name: str, value: float) -> None:
    """Raise unless a drop fraction is above 0 and at most 0.5."""
    if not 0 < value <= 0.5:
        msg = f"{name!r} must be above 0 and at most 0.5, got {value}. Try 0.05."
        raise ValueError(msg)


def _check_percent(name: str, value: float) -> None:
    """Raise unless a relative error is above 0 and below 100 percent."""
    if not 0 < value < 100:
        msg = f"{name!r} must be above 0 and below 100 percent, got {value}. Try 20."
        raise ValueError(msg)


def _check_text(name: str, value: str) -> None:
    """Raise where a name is empty."""
    if not value.strip():
        msg = f"{name!r} must not be empty. Give a name or a path."
        raise ValueError(msg)


def _check_table(name: str, value: str) -> None:
    """Raise unless the path of a table is given, or nothing."""
    if value and not is_table(value):
        msg = f"{name!r} must be the path of a CSV file, got {value!r}. Give one."
        raise ValueError(msg)


def _check_scheduler(name: str, value: str) -> None:
    """Raise unless a scheduler is none, local or an address."""
    if value not in ("", "local") and not re.fullmatch(r"\w+://[^\s:]+:\d+", value):
        msg = (
            f"{name!r} must be 'local' or an address such as 'tcp://10.0.0.1:8786', or "
            f"empty for the threads of this computer, got {value!r}."
        )
        raise ValueError(msg)


def _check_range(_: str, value: list[float]) -> None:
    """Raise unless a wavelength range is empty or two increasing wavelengths."""
    if value:
        check_wavelength_range(tuple(value))  # type: ignore[arg-type]


def _profile_or(low: int, high: int) -> Callable[[str, Any], None]:
    """Return a rule for whole numbers that are 0 for the profile's value."""

    def check(name: str, value: int) -> None:
        if value and not low <= value <= high:
            msg = (
                f"{name!r} must be 0 (the profile's) or between {low:,} and {high:,}, "
                f"got {value}. Give 0, or a number in that range."
            )
            raise ValueError(msg)

    return check


def _number_between(low: float, high: float, unit: str) -> Callable[[str, Any], None]:
    """Return a rule for numbers that are 0 where nothing is given."""

    def check(name: str, value: float) -> None:
        if value and not low <= value <= high:
            hint = (
                " Divide kg/m3 by 1000." if name[:4] == "bulk" and value > 100 else ""
            )
            msg = (
                f"{name!r} must be between {low:g} and {high:g} {unit}, or 0 where it "
                f"is not known, got {value:g}.{hint}"
            )
            raise ValueError(msg)

    return check


def _check_options(name: str, value: Any) -> None:
    """Check the options of a file."""
    try:
        parse_options(value)
    except ValueError as error:
        msg = f"In {name!r}: {error}"
        raise ValueError(msg) from error


RULES: dict[str, Callable[[str, Any], object]] = {
    "site": _check_text,
    "library": _check_text,
    "profile": lambda name, value: check_choice(value, name, profiles()),
    "results": _check_text,
    "seed": _between(1, 2**31),
    "n_local": _between(10, 10_000),
    "n_folds": _between(0, 1000),
    "wavelength_range": _check_range,
    **{name: _one_of("", *choices) for name, choices in CHOICES.items()},
    "library_file": _check_options,
    "design": _one_of("", *DRAWN_BY),
    "data": _check_text,
    "target_column": _check_text,
    "region_column": _check_text,
    "n_sites": _profile_or(500, 10_000_000),
    "n_regions": _profile_or(2, 1000),
    "regional_draws": _between(0, 100),
    "n_strata": _between(2, 10),
    "budget": _between(4, 100_000),
    "layer_repeats": _between(0, 100),
    "layer_steps": _profile_or(10, 100_000),
    "layer_trees": _profile_or(5, 10_000),
    "key_column": _check_text,
    "second_view": _check_table,
    "pretrain_epochs": _between(0, 1000),
    "tuning_steps": _profile_or(10, 100_000),
    "test_folds": _between(0, 5),
    "contrastive_seeds": _between(0, 100),
    "encoder_blocks": _between(0, 12),
    "forest_trees": _profile_or(5, 10_000),
    "label_sizes": _between(0, 3),
    "level": lambda _, value: check_level(value),
    "target": _check_percent,
    "bulk_density": _number_between(*BULK_DENSITIES_G_CM3, "g/cm3"),
    "bulk_density_sd": _number_between(0, 1, "g/cm3"),
    "depth_cm": _number_between(*DEPTHS_CM, "cm"),
    "depth_sd": _number_between(0, 100, "cm"),
    "n_draws": _between(0, 1000),
    "extra_weight": _between(1, 1000),
    "n_selected": _between(10, 100_000),
    "n_repeats": _between(0, 10_000),
    "n_searches": _profile_or(2, 1000),
    "n_components": _between(1, 50),
    "drop_fraction": _check_share,
    "epochs": _between(0, 100_000),
    "library_epochs": _between(0, 100_000),
    "retrain_epochs": _between(0, 100_000),
    "n_seeds": _between(0, 100),
    "repeat_choice": _one_of("", "yes", "no"),
    "scheduler": _check_scheduler,
    "n_library": _profile_or(50, 10_000_000),
    "n_trials": _between(0, 9999),
    "n_library_trials": _between(0, 9999),
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
    if kind.startswith("list"):
        inner = kind[5:-1] or "float"
        expected = f"a list of {inner}"
        fits = isinstance(value, list) and all(
            isinstance(item, _KINDS[inner][0]) and not isinstance(item, bool)
            for item in value
        )
    else:
        types, expected = _KINDS[kind]
        fits = isinstance(value, types) and (
            kind == "bool" or not isinstance(value, bool)
        )
    if not fits:
        hint = ""
        if kind == "str":
            hint = f" Plain papermill keeps text as it is typed with: -r {name} VALUE."
        elif kind.startswith("list"):
            hint = f" Plain papermill takes a list with: -y '{name}: [500, 900]'."
        msg = f"{name!r} must be {expected}, got {value!r}.{hint}"
        raise TypeError(msg)


def _hint(name: str, names: Iterable[str]) -> str:
    """Return what may have been meant by a name that there is not."""
    option = name.removeprefix("library_")
    if name != option in OPTIONS:
        return f" Of a library's file say library_file='{option}=...'."
    return suggestion(name, names)


def check_parameters(step: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters of a step: the given ones, the defaults, the profile's."""
    known = declared(step)
    for name in given:
        if name not in known:
            hint = _hint(name, known)
            msg = (
                f"Unknown parameter {name!r} of {step}.{hint} "
                f"It has {', '.join(known)}."
            )
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
        suits = wavelength_range(values["site"], values["library"])
        values["wavelength_range"] = list(suits)
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
            found[step][name] = _parse(name, declared(step)[name][0], text)
    return found


def _parse(name: str, kind: str, text: str) -> Any:
    """Return the value of a text as the declared type."""
    if kind == "str":
        return text
    try:
        value = ast.literal_eval(text.capitalize() if kind == "bool" else text)
    except (ValueError, SyntaxError):
        value = text
    value = list(value) if isinstance(value, tuple) else value
    _check_type(name, kind, value)
    return value
