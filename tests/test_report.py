"""The report of a farm: its numbers, its warnings, two sheets of paper, a phone."""

import html
import json
import re

import numpy as np
import pandas as pd
import pytest
from command_helpers import browse
from farm_helpers import BULK_DENSITY, DEPTH, farm_answer, without_intervals

from soilnb.datasets import load_site
from soilnb.workflow.report import write_geojson, write_report

FACTS = {
    "site": "skane",
    "library": "farms",
    "library_text": "The library has 1,101 samples of seven farms, which is small.",
    "library_weight": 0.3,
    "profile": "quick",
    "seed": 1,
    "level": 0.9,
    "target": 5,
    "n_more": 14,
    "synthetic": False,
    "notes": ["Organic matter by loss on ignition was divided by 1.724."],
    "versions": {"python": "3.12.3", "tensorflow": "2.21.0"},
    "command": "soilnb farm skane --seed 1",
    "bulk_density": BULK_DENSITY,
    "depth": DEPTH,
}
LETTERS = "a sample with a long name of its owner's, number"


@pytest.fixture(scope="module")
def skane():
    return farm_answer("skane")[:3]


@pytest.fixture
def page(tmp_path):
    """A factory of the page: its source and what it says, without tags."""

    def write(tables, spectra=None, **facts):
        file = tmp_path / "report.html"
        write_report(file, *tables, facts=FACTS | facts, spectra=spectra)
        source = file.read_text()
        body = source[source.index("<body>") :]
        text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))
        return source, text

    return write


def _crowded():
    """All that takes room: a banner, ten long names, no interval, no coordinates."""
    estimates, farm, weights, _ = farm_answer("sao-paulo")
    wanted = estimates["next"].notna()
    estimates.loc[wanted, "sample_id"] = [f"{LETTERS} {n}" for n in range(wanted.sum())]
    estimates[["lower", "upper"]] = np.nan
    site = load_site("sao-paulo")
    facts = {"synthetic": True, "notes": FACTS["notes"] * 12}
    spectra = site.wavelengths, {"site": site.reflectance}
    tables = estimates, without_intervals(farm, "kennard_stone"), weights
    return tables, spectra, facts


def test_numbers_of_the_page_are_those_of_the_tables(skane, page):
    estimates, farm, weights = skane
    _, text = page(skane)
    for row in farm.to_dict("records"):
        for name in ("", "lab_"):
            assert f"{row[name + 'mean']:.2f}" in text
            interval = f"{row[name + 'lower']:.2f} to {row[name + 'upper']:.2f}"
            assert interval in text
    field = farm.set_index("population").loc["field"]
    assert f"{field['stock']:.1f} Mg/ha" in text
    assert f"{field['stock_lower']:.1f} to {field['stock_upper']:.1f} Mg/ha" in text
    assert "to a depth of 20 cm, with 1.40 g of dry soil per cm³" in text
    assert f"±{field['relative_error']:.1f} %" in text
    for _, row in estimates[estimates["next"].notna()].iterrows():
        why = "widest interval" if row["in_domain"] else "outside the domain"
        line = f"{row['next']} {row['sample_id']} {row['estimate']:.2f} "
        line += f"{row['lower']:.2f} to {row['upper']:.2f} {why}"
        assert line in text
    unmeasured = estimates[estimates["soc"].isna()]
    n_trusted = unmeasured["in_domain"].sum()
    assert f"{n_trusted} of the {len(unmeasured)} estimates can be trusted" in text
    n_outside = (~estimates["in_domain"]).sum()
    assert f"{n_outside} samples outside the domain." in text
    assert f"far from every measured spectrum ({n_outside})." in text
    # dtl_i_global 0.28 and plsr_rs_local 0.02.
    assert "carry 30 % of the weight" in text
    for row in weights.to_dict("records"):
        assert f"{row['nested_rmse']:.2f} {100 * row['weight']:.0f} " in text
    assert "DTL-I: deep transfer learning of instances" in text


def test_page_says_how_it_was_made(skane, page):
    _, text = page(skane)
    for said in (FACTS["library_text"], FACTS["command"], *FACTS["notes"]):
        assert said in text
    assert "profile quick, seed 1" in text
    assert "python 3.12.3, tensorflow 2.21.0." in text
    assert "were chosen by chance (random)" in text
    assert "Synthetic" not in text
    assert "Synthetic data." in page(skane, synthetic=True)[1]


def test_nothing_is_loaded_from_elsewhere_and_the_page_is_small(skane, page):
    source, _ = page(skane)
    assert "http" not in source
    assert "<script" not in source
    assert "<link" not in source
    assert "url(" not in source
    assert {found[:11] for found in re.findall(r'src="([^"]*)', source)} == {
        "data:image/"
    }
    assert len(source) < 1_500_000
    assert source == page(skane)[0]  # the same answer is the same file


def test_names_of_users_are_text(skane, page):
    estimates, farm, weights = skane
    estimates = estimates.copy()
    first = estimates.index[estimates["next"] == 1]
    estimates.loc[first, "sample_id"] = "<script>alert(1)</script>"
    source, _ = page((estimates, farm, weights), site="Smith & <b>Sons</b>")
    assert "<script" not in source
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in source
    assert "Smith &amp; &lt;b&gt;Sons&lt;/b&gt;" in source


@pytest.mark.parametrize(
    ("design", "why"),
    [
        ("kennard_stone", "(the Kennard-Stone method), not by chance"),
        ("unknown", "not known how the samples for the laboratory were chosen"),
        ("random", "Too few samples were measured."),
    ],
)
def test_mean_without_interval_says_why(skane, page, design, why):
    estimates, farm, weights = skane
    farm = without_intervals(farm, design)
    _, text = page((estimates, farm, weights), n_more=None)
    assert "The mean has no interval." in text
    assert why in text
    assert "cannot be held against the aim of ±5 %" in text
    assert "nan" not in text.lower().split()


def test_too_few_for_intervals_no_stock_and_no_transfer_are_said(skane, page):
    estimates, farm, weights = skane
    bare = estimates.assign(lower=np.nan, upper=np.nan)
    alone = weights.assign(weight=(weights["candidate"] == "local") * 1.0)
    farm = farm.assign(stock=np.nan, stock_lower=np.nan, stock_upper=np.nan)
    facts = {"bulk_density": None, "depth": None, "library_weight": 0.0}
    _, text = page((bare, farm, alone), **facts)
    assert "No estimate has an interval: with 30 laboratory values" in text
    assert "carry no weight" in text
    assert "Mg/ha" not in text
    assert "nan" not in text.lower().split()


@pytest.mark.parametrize(
    ("target", "n_more", "said"),
    [
        (
            5,
            14,
            "About 14 more laboratory values , drawn in the same way",
        ),
        (5, 1, "About 1 more laboratory value , drawn in the same way"),
        (5, None, "How many more laboratory values would reach it cannot be said."),
        (
            50,
            0,
            "The aim is reached: no more laboratory values are needed for this mean; "
            "the {n_outside} samples outside the domain would still gain from them.",
        ),
    ],
)
def test_page_says_how_many_more_values_reach_the_target(
    skane, page, target, n_more, said
):
    _, text = page(skane, target=target, n_more=n_more)
    n_outside = (~skane[0]["in_domain"]).sum()
    assert said.format(n_outside=n_outside) in text


def test_samples_without_a_place_are_shown_in_order_instead(page):
    tables, spectra, facts = _crowded()
    source, text = page(tables, spectra, **facts)
    assert "The samples came without coordinates, so there is no map." in text
    assert source.count("<img") == 3
    assert "The map" in page(farm_answer("santa-catarina")[:3])[1]


def test_tables_that_were_files_give_the_same_page(skane, page, tmp_path):
    files = []
    for number, table in enumerate(skane):
        file = tmp_path / f"{number}.csv"
        table.to_csv(file, index=False)
        # "null_model" is a candidate, not a gap.
        known = {"dtype": {"sample_id": str}, "keep_default_na": False}
        files.append(pd.read_csv(file, na_values=[""], **known))
    assert page(files)[1] == page(skane)[1]
    facts = {name: value for name, value in FACTS.items() if name != "seed"}
    with pytest.raises(ValueError, match="'facts' lacks seed"):
        write_report(tmp_path / "report.html", *skane, facts=facts)


def test_geojson_has_points_of_what_has_a_place_and_null_for_what_is_missing(tmp_path):
    estimates = farm_answer("santa-catarina")[0]
    estimates.loc[0, "latitude"] = np.nan
    estimates.loc[1, "sample_id"] = "Å 'quoted' \"id\" / <b>"
    file = tmp_path / "farm.geojson"
    write_geojson(file, estimates)
    collection = json.loads(
        file.read_text(encoding="utf-8"), parse_constant=pytest.fail
    )
    assert collection["type"] == "FeatureCollection"
    assert len(collection["features"]) == len(estimates) - 1
    for feature, (_, row) in zip(
        collection["features"], estimates.iloc[1:].iterrows(), strict=True
    ):
        place = [row["longitude"], row["latitude"]]
        assert feature["geometry"] == {"type": "Point", "coordinates": place}
        told = feature["properties"]
        assert set(told) == set(estimates) - {"longitude", "latitude"}
        assert told["sample_id"] == row["sample_id"]
        assert told["estimate"] == pytest.approx(row["estimate"], abs=1e-12)
        for name in ("soc", "lower", "next"):
            assert (told[name] is None) == pd.isna(row[name])
        assert told["in_domain"] is bool(row["in_domain"])
    write_geojson(file, farm_answer("skane")[0])  # metres from a corner
    assert json.loads(file.read_text())["features"] == []


@pytest.mark.slow
@pytest.mark.parametrize("case", ["map", "tall map", "crowded"])
def test_page_prints_on_two_sheets(browser, skane, page, tmp_path, case):
    tables, spectra, facts = (skane, None, {}) if "map" in case else _crowded()
    if case == "tall map":
        estimates = skane[0].assign(northing=4 * skane[0]["northing"])
        tables, facts = (estimates, *skane[1:]), {"synthetic": True}
    page(tables, spectra, **facts)
    printed = tmp_path / "report.pdf"
    address = (tmp_path / "report.html").as_uri()
    browse(browser, tmp_path, address, f"--print-to-pdf={printed}")
    content = printed.read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b", content)) == 2
    # A4 is 595 by 842 points.
    width, height = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", content).groups()
    assert (round(float(width)), round(float(height))) == (595, 842)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["map", "crowded"])
def test_page_is_no_wider_than_a_phone(browser, skane, page, tmp_path, case):
    tables, spectra, facts = (skane, None, {}) if case == "map" else _crowded()
    source, _ = page(tables, spectra, **facts)
    assert 'name="viewport" content="width=device-width' in source
    frame = tmp_path / "phone.html"
    measure = "this.title = this.contentDocument.documentElement.scrollWidth"
    frame.write_text(
        f'<iframe onload="{measure}" style="width: 360px; height: 800px; border: 0" '
        f'srcdoc="{html.escape(source)}"></iframe>'
    )
    dom = browse(
        browser, tmp_path, frame.as_uri(), "--virtual-time-budget=5000", "--dump-dom"
    )
    assert int(re.search(r'title="(\d+)"', dom).group(1)) <= 360
