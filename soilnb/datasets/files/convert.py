"""A folder with one spectrum in each file, as instruments leave it, made one table."""

import logging
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from soilnb._files import replacing
from soilnb.datasets.files.columns import (
    HIGH,
    MAX_MICROMETRES,
    MIN_WAVELENGTHS,
    SAY_MIR,
    Floats,
)
from soilnb.datasets.files.roles import Told, refuse
from soilnb.datasets.files.samples import STEM
from soilnb.datasets.files.table import UTF16_STARTS
from soilnb.datasets.files.tables import read_laboratory

Spectrum = tuple[Floats, Floats]  # wavelengths in nm, and values

NUMBERS = re.compile(r"[-+]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?")
MAX_NM = 3000  # an axis that goes further is of wavenumbers
OF_FIELD = (".sed", ".sig")  # their last column is the reflectance
TEXTS = (".txt", ".csv", ".tsv", ".dat", ".asc", ".spectrum", ".dpt", *OF_FIELD)
COUNTER = re.compile(r"^(?:(.*?\D)\d{3,5}|(.*?)[._-]\d+)$")  # of an instrument


def convert_folder(folder: Path, out: Path, *, table: Path | None = None) -> list[str]:
    """Make one table of a folder that has a spectrum in each file.

    ASD files (.asd) and Bruker OPUS files (.0, .1, ...) need the optional packages of
    ``soilnb[vendor]``. Text files have a wavelength (nm, micrometres or wavenumbers)
    and a value in each line, below any header. The name of a file in `folder` is that
    of its sample, or of its scan; a scan belongs to the sample of the laboratory's
    `table` (names and SOC) of its name, or of its name without a counter at the end.

    Written to `out`, which must not exist: sample_id, SOC under the name that it has in
    the `table`, and a column for each wavelength in nm. Returned are sentences on what
    was done. A ValueError says if no file can be read, or two have different
    wavelengths, or `out` exists; a FileNotFoundError if the folder or the table does
    not exist; an ImportError if an optional package is missing.
    """
    for path in filter(None, (folder, table)):
        if not path.exists():
            msg = f"There is no file or folder '{path}'. Check the path."
            raise FileNotFoundError(msg)
    if out.exists() or out.suffix != ".csv":
        msg = f"'-o' must end in .csv and not exist yet, got {str(out)!r}."
        raise ValueError(msg)
    spectra, unread = _read_folder(folder)
    nm = _common_axis(spectra)
    frame = pd.DataFrame(
        {name: values for name, (_, values) in spectra.items()},
        index=[f"{wavelength:.6g}" for wavelength in nm],
    ).T
    lines = [f"{len(frame)} spectra, {len(nm)} bands from {nm[0]:g} to {nm[-1]:g} nm."]
    if np.median(nm) > HIGH:
        lines.append(f"They look like {SAY_MIR.format(nm[0], nm[-1])}")
    ids = list(frame.index)
    if table is not None:
        ids, soc, column, note = _join(ids, table)
        frame.insert(0, column, soc)
        lines.append(note)
    frame.insert(0, "sample_id", ids)
    with replacing(out) as partial:
        frame.to_csv(partial, index=False)
    if unread:
        some = ", ".join(unread[:3]) + ", ..." * (len(unread) > 3)
        lines.append(f"{len(unread)} files hold no spectrum and were left out: {some}.")
    return [*lines, f"Look at it with: soilnb data check {out}"]


def _read_folder(folder: Path) -> tuple[dict[str, Spectrum], list[str]]:
    """Return the spectra of a folder by their names, and the files that have none."""
    spectra: dict[str, Spectrum] = {}
    unread = []
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    repeated = Counter(file.stem for file in files)
    for file in files:
        found = _read_one(file.resolve())
        if found is None or len(found[0]) < MIN_WAVELENGTHS:
            unread.append(file.name)
            continue
        place = file.relative_to(folder)
        name = file.stem if repeated[file.stem] == 1 else place.as_posix()
        order = np.argsort(found[0])
        spectra[name] = found[0][order], found[1][order]
    if not spectra:
        refuse(
            f"{folder.name!r} has no file with a spectrum: ASD (.asd), OPUS (.0) or "
            f"text with a wavelength and a value in each line, got {len(unread)} other "
            "files. Give the folder of the spectra, exported as text if need be."
        )
    return spectra, unread


def _read_one(file: Path) -> Spectrum | None:
    """Return the spectrum of a file, None if it has none, by what it is called."""
    suffix = file.suffix.lower()
    if suffix in TEXTS:
        return _read_text(file)
    if not re.fullmatch(r"\.(asd|\d+)", suffix):
        return None
    kind, package, read = "OPUS", "brukeropus", _read_opus
    if suffix == ".asd":
        kind, package, read = "ASD", "pyasdreader", _read_asd
    try:
        return read(file)
    except ImportError as error:
        msg = f"Reading {kind} files needs {package}: pip install 'soilnb[vendor]'."
        raise ImportError(msg) from error
    except Exception:  # what a package raises at a damaged file is up to it
        return None


def _common_axis(spectra: dict[str, Spectrum]) -> Floats:
    """Return the wavelengths of all spectra, or raise TableError where they differ."""
    (first, (nm, _)), *rest = spectra.items()
    for name, (other, _) in rest:
        if len(other) != len(nm) or not np.allclose(other, nm, atol=0.01):
            refuse(
                f"The spectra must have the same wavelengths, got {len(nm)} from "
                f"{nm[0]:g} to {nm[-1]:g} nm in {first!r} and {len(other)} from "
                f"{other[0]:g} to {other[-1]:g} nm in {name!r}. Give the files of one "
                "instrument and setting."
            )
    return nm


def _join(ids: list[str], table: Path) -> tuple[list[str], list[str], str, str]:
    """Return the sample and SOC of each spectrum, its name, and what was joined."""
    measured, carbon = read_laboratory(table, Told(soc_kind="organic_carbon"))
    pairs = [*measured.cells[["sample_id", "soc"]].itertuples(index=False, name=None)]
    soc = {name.lower(): (name, text) for name, text in pairs}

    def find(name: str) -> tuple[str, str]:
        stems = (name, COUNTER.sub(r"\1\2", name), STEM.sub(r"\1", name))
        keys = (text.lower().rstrip("._- ") for text in stems)
        return next((soc[key] for key in keys if key in soc), (name, ""))

    found = [find(name) for name in ids]
    n = len({*found} & {*pairs})
    if not n:
        refuse(
            f"No sample of {table.name} (first: {next(iter(soc))!r}) has a file of its "
            f"name (first: {ids[0]!r}). Name the samples as the files."
        )
    note = f"{n} of {len(soc)} samples of {table.name} have a spectrum."
    names, texts = ([*column] for column in zip(*found, strict=True))
    return names, texts, carbon.name, note


def _read_asd(file: Path) -> Spectrum | None:
    """Return the reflectance of an ASD file."""
    from unittest.mock import patch  # loads asyncio, too: only where it is used

    with patch("logging.FileHandler"), patch("logging.basicConfig"):
        from pyASDReader import ASDFile  # it begins a log where it is imported
    logging.getLogger("pyASDReader").setLevel(logging.CRITICAL)
    content = ASDFile(str(file))
    parts = (content.spectrumData, content.referenceData)
    if not content.metadata or any(getattr(p, "spectra", None) is None for p in parts):
        return None
    raw, white = (np.asarray(part.spectra, dtype=float) for part in parts)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(white > 0, raw / white, np.nan)
    return np.asarray(content.wavelengths[: len(values)], dtype=float), values


def _read_opus(file: Path) -> Spectrum | None:
    """Return reflectance or absorbance of a Bruker OPUS file."""
    from brukeropus import read_opus

    content = read_opus(str(file))
    for key in ("r", "a", "logr"):
        if key in content.all_data_keys:
            data = getattr(content, key)
            nm, values = (np.asarray(part, dtype=float) for part in (data.wl, data.y))
            if values.shape == nm.shape:  # else it is a series of spectra
                return 1000 * nm, -values if key == "logr" else values
    return None


def _read_text(file: Path) -> Spectrum | None:
    """Return the spectrum of a text file with two numbers in each line, or more."""
    content, more = file.read_bytes(), file.suffix.lower() in OF_FIELD
    encoding = "utf-16" if content.startswith(UTF16_STARTS) else "utf-8"
    text = content.decode(encoding, "replace")
    pairs = [_pair(line.strip().strip(";,"), more=more) for line in text.splitlines()]
    table = np.array([pair for pair in pairs if pair], dtype=float)
    if len(table) < MIN_WAVELENGTHS or len({*table[:, 0]}) < len(table):
        return None
    axis, values = table.T
    if axis.max() < MAX_MICROMETRES:
        axis = 1000 * axis
    elif axis.max() > MAX_NM or re.search(r"wave ?number|cm.?-1", text[:2000], re.I):
        axis = 1e7 / axis
    return axis, values


def _pair(line: str, *, more: bool) -> list[float]:
    """Return the first and last number of a line of two, or more, and nothing else."""
    cells = re.split(r"[;\t ]+" if re.search(r"[;\t ]", line) else ",", line)
    is_pair = len(cells) == 2 or (more and len(cells) > 2)
    if not (is_pair and all(NUMBERS.fullmatch(cell) for cell in cells)):
        return []
    return [float(cell.replace(",", ".")) for cell in (cells[0], cells[-1])]
