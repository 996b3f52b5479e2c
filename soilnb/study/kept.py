"""A study on disk; the spectra of a large library once for all sites and processes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._blocks import row_blocks
from soilnb._files import locked
from soilnb.datasets import SpectralLibrary
from soilnb.preprocessing import snv_absorbance

if TYPE_CHECKING:
    from soilnb.study.prepared import Study

REFLECTANCE, SEEN = "reflectance.npy", "snv_absorbance.npy"

Singles = npt.NDArray[np.float32]


def write_study(study: Study, folder: Path, shared: Path) -> None:
    """Write a study as plain tables and one JSON file; large spectra below `shared`."""
    facts: dict[str, Any] = {}
    if study.is_large:
        kept = study.kept or keep_spectra(study.library, shared)
        facts = {"spectra": os.path.relpath(kept.resolve(), folder.resolve())}
    library = _table(study.library, spectra=not facts)
    country_fold = pd.array([pd.NA] * len(library), dtype="Int64")
    country_fold[study.country_rows] = study.country_folds
    place = library.columns.get_loc("soc")
    library.insert(place, "fold", study.library_folds)
    library.insert(place + 1, "country_fold", country_fold)
    library.to_parquet(folder / "library.parquet")
    _table(study.site).to_parquet(folder / "site.parquet")
    study.split().to_csv(folder / "split.csv", index=False)
    facts |= {
        "library": study.library.name,
        "site": study.site.name,
        "n_folds": study.n_folds,
        "seed": study.seed,
        "notes": list(study.notes),
        "library_notes": list(study.library.notes),
        "site_notes": list(study.site.notes),
        "fingerprint": study.fingerprint,
    }
    (folder / "study.json").write_text(json.dumps(facts, indent=1))


def read_study(folder: Path) -> tuple[dict[str, Any], str]:
    """Return the attributes of a study that `write_study` left, and its fingerprint."""
    facts = json.loads((folder / "study.json").read_text())
    table = pd.read_parquet(folder / "library.parquet")
    info = pd.read_parquet(folder / "site.parquet")
    split = pd.read_csv(  # a sample may be called NA
        folder / "split.csv",
        dtype={"sample_id": str},
        keep_default_na=False,
        na_values={"order": [""], "fold": [""]},
    )
    rows = pd.Series(range(len(info)), index=info["sample_id"])
    ids = split["sample_id"].groupby(split["set"]).agg(list)
    country_fold = table.pop("country_fold").dropna()
    site = _from_table(info, facts["site"], tuple(facts["site_notes"]))
    fields = {
        "library_folds": table.pop("fold").to_numpy(np.int64),
        "country_folds": country_fold.to_numpy(np.int64),
        "site": site,
        "local": rows[ids["local"]].to_numpy(np.int64),
        "test": rows[ids.get("test", [])].to_numpy(np.int64),
        "local_folds": split["fold"].dropna().to_numpy(np.int64),
        "n_folds": facts["n_folds"],
        "seed": facts["seed"],
        "notes": tuple(facts["notes"]),
    }
    spectra: tuple[Any, ...] = ()
    if "spectra" in facts:
        fields["kept"] = (folder / facts["spectra"]).resolve()
        spectra = (
            map_spectra(folder / facts["spectra"], REFLECTANCE),
            site.wavelengths,
        )
    notes = tuple(facts.get("library_notes", ()))
    fields["library"] = _from_table(table, facts["library"], notes, *spectra)
    return fields, facts["fingerprint"]


def is_whole(folder: Path) -> bool:
    """Return whether the spectra that a study in a folder refers to are there."""
    file = folder / "study.json"
    facts = json.loads(file.read_text()) if file.exists() else {"spectra": "none"}
    return (folder / facts.get("spectra", "") / SEEN).exists() or "spectra" not in facts


def _table(part: SpectralLibrary, *, spectra: bool = True) -> pd.DataFrame:
    """Return identity, SOC and, unless they are elsewhere, spectra as one table."""
    parts = [part.info, pd.Series(part.soc, name="soc")]
    if spectra:
        names = [f"{value:g}" for value in part.wavelengths]
        parts.append(pd.DataFrame(part.reflectance, columns=names))
    return pd.concat(parts, axis=1)


def _from_table(
    table: pd.DataFrame,
    name: str,
    notes: tuple[str, ...],
    spectra: Singles | None = None,
    wavelengths: npt.NDArray[np.float64] | None = None,
) -> SpectralLibrary:
    """Return the library that `_table` wrote; its spectra may be elsewhere."""
    info = table.iloc[:, : table.columns.get_loc("soc")]
    if spectra is None or wavelengths is None:
        inside = table.iloc[:, table.columns.get_loc("soc") + 1 :]
        spectra = inside.to_numpy(np.float32)
        wavelengths = inside.columns.to_numpy().astype(np.float64)
    soc = table["soc"].to_numpy(np.float64)
    return SpectralLibrary(name, spectra, wavelengths, soc, info, notes)


def keep_spectra(library: SpectralLibrary, folder: Path) -> Path:
    """Return where a large library's spectra are, written there, whole, if need be.

    The folder is named by the digest of the rows that a study leaves of a library on
    its grid, so that studies share it. Who finds another process at it waits.
    """
    key = hashlib.sha256(library.wavelengths.tobytes())
    key.update(library.reflectance.data)
    place = folder / key.hexdigest()[:16]
    with locked(folder / f".{place.name}.lock"):
        if not place.exists():
            partial = folder / f".{place.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
            partial.mkdir()
            _write(partial / REFLECTANCE, library.reflectance, seen=False)
            _write(partial / SEEN, library.reflectance, seen=True)
            partial.rename(place)
    return place


def map_spectra(folder: Path, name: str) -> Singles:
    """Return one of the arrays, read from the file as it is needed."""
    if not (folder / name).is_file():
        msg = (
            f"The spectra of the library are not at {folder}, where the study has left "
            "them. Run 01_data again."
        )
        raise FileNotFoundError(msg)
    return np.load(folder / name, mmap_mode="r")


def _write(file: Path, reflectance: Singles, *, seen: bool) -> None:
    """Write an array some rows at a time, without it or a map of it in memory."""
    known = {"descr": "<f4", "fortran_order": False, "shape": reflectance.shape}
    with file.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, known)
        for rows in row_blocks(len(reflectance)):
            block = reflectance[rows]
            made = snv_absorbance(block) if seen else block
            stream.write(made.astype("<f4", copy=False).data)
