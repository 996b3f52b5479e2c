"""The drawn diagrams of the book: readable, described, in themselves complete."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ASSETS = Path(__file__).resolve().parents[1] / "book" / "assets"
DIAGRAMS = sorted(ASSETS.glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(params=DIAGRAMS, ids=lambda file: file.stem)
def diagram(request):
    return ET.parse(request.param).getroot()


def test_diagram_says_what_it_shows_to_who_cannot_see_it(diagram):
    names = diagram.get("aria-labelledby").split()
    described = {part.get("id"): part.text for part in diagram.iter() if part.get("id")}
    assert diagram.get("role") == "img"
    assert len(described[names[0]]) > 10
    assert len(described[names[1]]) > 100


def test_letters_are_large_enough_and_inside(diagram):
    width, height = (float(diagram.get(side)) for side in ("width", "height"))
    assert diagram.get("viewBox") == f"0 0 {width:g} {height:g}"
    for text in diagram.iter(f"{SVG}text"):
        assert float(text.get("font-size")) >= 12
        assert 0 < float(text.get("x")) < width
        assert 0 < float(text.get("y")) < height


def test_diagram_has_a_ground_of_its_own_and_needs_no_other_file(diagram):
    ground = diagram.find(f"{SVG}rect")
    assert (ground.get("width"), ground.get("fill")) == (diagram.get("width"), "#fff")
    assert {part.tag for part in diagram.iter()}.isdisjoint(
        {f"{SVG}image", f"{SVG}style", f"{SVG}script"}
    )


def test_study_design_has_five_runs_that_make_nine_models():
    root = ET.parse(ASSETS / "study-design.svg").getroot()
    at = [(text.get("x"), text.text) for text in root.iter(f"{SVG}text")]
    counts = [int(text) for x, text in at if x == "404" and text.isdigit()]
    assert counts == [1, 2, 2, 2, 2, 9]
    assert sum(counts[:-1]) == counts[-1]


def test_freezing_keeps_one_more_layer_from_row_to_row():
    root = ET.parse(ASSETS / "freezing.svg").getroot()
    boxes = [text for text in root.iter(f"{SVG}text") if text.text in WORDS]
    rows = {}
    for box in boxes:
        if box.get("text-anchor") == "middle":
            rows.setdefault(box.get("y"), []).append(box.text)
    assert [row.count("frozen") for row in rows.values()] == [0, 1, 2, 3, 4]
    for row in rows.values():
        assert row == sorted(row)  # the frozen ones come first


WORDS = ("frozen", "retrained")
