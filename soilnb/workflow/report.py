"""A farm's answer on two pages of paper, and its samples for a map program."""

import base64
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy.typing as npt
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from soilnb import methods, plots
from soilnb._files import replacing

TEMPLATE = Path(__file__).with_name("report.html")
MAX_SVG = 400_000  # bytes; a larger figure (thousands of samples) becomes a bitmap


def write_report(
    file: Path,
    estimates: pd.DataFrame,
    farm: pd.DataFrame,
    weights: pd.DataFrame,
    *,
    facts: Mapping[str, Any],
    spectra: tuple[npt.ArrayLike, Mapping[str, npt.NDArray]] | None = None,
) -> None:
    """Write a farm's answer as one HTML page, with style and figures in it.

    `facts` are what the template names and no other argument has; `spectra`, as of
    `plots.plot_spectra`, are drawn where the samples have no place.
    """
    names = "site library library_text library_weight profile seed level target n_more"
    names += " synthetic notes versions command bulk_density depth"
    if missing := [name for name in names.split() if name not in facts]:
        msg = f"'facts' lacks {', '.join(missing)}. Give it, None where unknown."
        raise ValueError(msg)
    figures = {"mean": plots.plot_farm_mean(farm)}
    if plots.has_coordinates(estimates):
        figures["map"] = plots.plot_farm_map(estimates)
    else:
        figures["estimates"] = plots.plot_estimates(estimates)
        if spectra is not None:
            figures["spectra"] = plots.plot_spectra(*spectra)
    drawn = {name: _inline(figure) for name, figure in figures.items()}
    ordered = weights.sort_values(["weight", "nested_rmse"], ascending=[False, True])
    named = methods.labelled(ordered)
    strict: dict[str, Any] = {"autoescape": True, "undefined": jinja2.StrictUndefined}
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, **strict)
    environment.tests["known"] = pd.notna
    environment.filters |= {"number": _number, "plain": "{:g}".format}
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        **facts,
        **_counts(estimates),
        farm={row["population"]: row for row in farm.to_dict("records")},
        populations=plots.POPULATIONS,
        designs={name: one.words for name, one in methods.DESIGNS.items()},
        mean_figure=drawn.pop("mean"),
        figures=drawn,
        candidates=named.to_dict("records"),
        words=re.findall(r"[A-Z-]{2,}", " ".join(named["candidate"])),
    )
    with replacing(file) as partial:
        partial.write_text(page, encoding="utf-8")


def write_geojson(file: Path, estimates: pd.DataFrame) -> None:
    """Write the samples with longitude and latitude as points (GeoJSON, RFC 7946)."""
    degrees = ["longitude", "latitude"]
    table = estimates.reindex(columns=[*dict.fromkeys([*estimates, *degrees])])
    known = table.dropna(subset=degrees)
    rows = known.drop(columns=degrees).to_json(orient="records", double_precision=15)
    points = known[degrees].astype(float).to_numpy().tolist()
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": point},
            "properties": row,
        }
        for point, row in zip(points, json.loads(rows), strict=True)
    ]
    collection = {"type": "FeatureCollection", "features": features}
    with replacing(file) as partial:
        text = json.dumps(collection, ensure_ascii=False, allow_nan=False, indent=1)
        partial.write_text(text, encoding="utf-8")


def _number(value: Any, digits: int = 2) -> str:
    """Return a number for people, or a dash where there is none."""
    return "–" if pd.isna(value) else f"{value:.{digits}f}"


def _counts(estimates: pd.DataFrame) -> dict[str, Any]:
    """Return what the page says about single samples."""
    # A table that was a file has lost what a file cannot say.
    estimates = estimates.astype({"next": "Int64"}).fillna({"reason": ""})
    measured = estimates["soc"].notna()
    outside = estimates[~estimates["in_domain"].astype(bool)]
    unmeasured = estimates[~measured]
    wanted = estimates[estimates["next"].notna()].sort_values("next")
    return {
        "n_samples": len(estimates),
        "n_measured": int(measured.sum()),
        "lowest": estimates["soc"].min(),
        "highest": estimates["soc"].max(),
        "n_unmeasured": len(unmeasured),
        "n_trusted": int(unmeasured["in_domain"].sum()),
        "n_outside": len(outside),
        "reasons": outside["reason"].replace("", "no reason noted").value_counts(),
        "has_intervals": bool(unmeasured["lower"].notna().any()),
        "wanted": wanted.to_dict("records"),
    }


def _inline(figure: Figure) -> str:
    """Return a figure as the address of an image that holds it; close it."""
    svg: dict[str, Any] = {"metadata": {"Date": None}}
    with mpl.rc_context({"svg.hashsalt": "soilnb"}):  # the same figure, the same file
        for kind, options in (("svg+xml", svg), ("png", {"dpi": 150})):
            stream = io.BytesIO()
            figure.savefig(stream, format=kind[:3], bbox_inches="tight", **options)
            if len(content := stream.getvalue()) <= MAX_SVG:
                break
    plt.close(figure)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
