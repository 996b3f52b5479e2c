"""A farm's answer as a person gets it: choose, measure, estimate, measure more."""

import json

import numpy as np
import pandas as pd
import pytest
from command_helpers import soilnb

from soilnb.datasets import load_site
from soilnb.workflow.book import build_book
from soilnb.workflow.design import choose_samples
from soilnb.workflow.params import check_parameters
from soilnb.workflow.steps import read_cells


@pytest.fixture(scope="module")
def farm():
    """Sixty samples of uppsala under another name, their true SOC by sample."""
    site = load_site("uppsala").on_grid(np.arange(420, 2481, 10)).take(np.arange(60))
    bands = [f"{wavelength:g}" for wavelength in site.wavelengths]
    table = pd.DataFrame(site.reflectance, columns=bands)
    table.insert(0, "sample_id", [f"p{n}" for n in range(60)])
    table.insert(1, "latitude", np.linspace(59.0, 59.01, 60))
    table.insert(2, "longitude", np.linspace(17.0, 17.02, 60))
    return table, pd.Series(site.soc, index=table["sample_id"])


@pytest.fixture
def scans(farm, tmp_path):
    """The farm's file: spectra and places, no SOC."""
    file = tmp_path / "mine.csv"
    farm[0].to_csv(file, index=False)
    return file


def test_choose_writes_a_draw_to_be_filled_in(scans):
    done = soilnb("choose", scans, "-n", "12", "--seed", "3")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(scans.with_name("mine-chosen.csv"))
    columns = "sample_id order design stratum inclusion_probability soc"
    assert list(table) == columns.split()
    assert table["order"].tolist() == list(range(1, 13))
    assert (table["stratum"].value_counts() == 2).all()
    assert table["inclusion_probability"].to_numpy() == pytest.approx(2 / 10)
    assert table["soc"].isna().all()
    assert "12 of the 60 samples" in done.stdout
    assert "It serves the models and the mean" in done.stdout
    # Where it is told, and the same draw for the same seed.
    files = [scans.with_name(name) for name in ("a.csv", "b.csv")]
    for file in files:
        words = ("choose", scans, "-n", "10", "--design", "random", "-o", file)
        assert soilnb(*words).returncode == 0
    assert files[0].read_text() == files[1].read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-n", "61"], r"'-n' must be between 2 and 60 \(scans\)"),
        (["-n", "11"], "even"),
        (["-n", "8"], "'-n' must be at least 10, which soilnb estimate needs, got 8"),
        (["-o", "out.txt"], "'-o' must end in .csv"),
        (["-p", "n_local=20"], "which changes nothing in a draw"),
        (["-n", "10", "--design", "judgement"], "Unknown design 'judgement'"),
        (["-p", "quantity=volts"], "quantity"),
    ],
)
def test_choose_refuses_in_one_sentence(scans, words, message):
    done = soilnb("choose", scans, *words)
    assert done.returncode == 1
    assert done.stderr.startswith("soilnb: ")
    assert pd.Series([done.stderr]).str.contains(message).item(), done.stderr
    assert not scans.with_name("mine-chosen.csv").exists()


def test_choose_draws_soils_where_their_scans_are_kept(farm, tmp_path):
    table = farm[0]
    rng = np.random.default_rng(2)
    parts = [table.assign(sample_id=table["sample_id"] + f"_{n}") for n in (1, 2, 3)]
    for part in parts:
        part.iloc[:, 3:] *= rng.normal(1, 0.002, (60, 1))
    file, out = tmp_path / "scans.csv", tmp_path / "drawn.csv"
    pd.concat(parts).to_csv(file, index=False)
    given = {"site": str(file), "replicates": "separate"}
    said = choose_samples(given, 12, "stratified", 1, out)
    assert "12 of the 60 samples of scans" in said[0]
    drawn = pd.read_csv(out)
    assert set(drawn["sample_id"]) <= set(table["sample_id"])
    assert drawn["inclusion_probability"].to_numpy() == pytest.approx(2 / 10)


def test_choose_says_which_of_the_drawn_samples_are_measured_already(farm, tmp_path):
    table, soc = farm
    file, out = tmp_path / "some.csv", tmp_path / "drawn.csv"
    known = soc.where(np.arange(60) < 20).to_numpy()
    table.assign(soc=known).to_csv(file, index=False)
    said = choose_samples({"site": str(file)}, 12, "stratified", 1, out)
    n_known = pd.read_csv(out)["sample_id"].isin(soc.index[:20]).sum()
    assert 0 < n_known < 12
    assert f" {n_known} of them are measured already" in said[0]


def test_choose_overwrites_neither_scans_nor_laboratory_values(scans):
    done = soilnb("choose", scans, "-n", "10", "-o", scans)
    assert "holds something else" in done.stderr
    lab = scans.with_name("mine-chosen.csv")
    assert soilnb("choose", scans, "-n", "10").returncode == 0
    assert soilnb("choose", scans, "-n", "10", "--seed", "2").returncode == 0
    pd.read_csv(lab).assign(soc=1.5).to_csv(lab, index=False)
    before = lab.read_text()
    done = soilnb("choose", scans, "-n", "10")
    assert "holds laboratory values. Give another name with -o." in done.stderr
    assert lab.read_text() == before


@pytest.mark.slow
def test_a_farm_is_chosen_measured_estimated_and_measured_again(farm, scans, tmp_path):
    truth = farm[1]
    place = ["--profile", "tiny", "-p", f"results={tmp_path / 'r'}"]
    assert soilnb("choose", scans, "-n", "20").returncode == 0
    lab = scans.with_name("mine-chosen.csv")
    chosen = pd.read_csv(lab)
    chosen["soc"] = truth[chosen["sample_id"]].to_numpy()
    chosen.to_csv(lab, index=False)
    stock = ["-p", "bulk_density=1.3", "-p", "depth_cm=30", "-p", "level=0.8"]
    done = soilnb("estimate", scans, "--measured", lab, *place, *stock)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "r" / "farms" / "mine" / "10_your_farm"
    estimates = pd.read_csv(folder / "estimates.csv").set_index("sample_id")
    columns = "soc estimate lower upper level in_domain reason next latitude longitude"
    assert list(estimates) == columns.split()
    assert estimates["soc"].notna().sum() == 20
    rest = estimates[estimates["soc"].isna()]
    assert (rest["lower"] <= rest["estimate"]).all()
    assert (rest["estimate"] <= rest["upper"]).all()
    assert set(estimates["level"]) == {0.8}
    held = (rest["lower"] <= truth[rest.index]) & (truth[rest.index] <= rest["upper"])
    assert held.mean() > 0.5  # of 40, where 0.8 is meant
    farm_table = pd.read_csv(folder / "farm.csv").set_index("population")
    scanned = farm_table.loc["scans"]
    assert scanned["lower"] < scanned["mean"] < scanned["upper"]
    assert scanned["stock"] == pytest.approx(scanned["mean"] * 1.3 * 30)
    assert farm_table.loc["field", "upper"] > scanned["upper"]
    assert f"{scanned['mean']:.2f} % SOC" in done.stdout
    assert "http" not in (folder / "report.html").read_text().split("</style>")[0]
    features = json.loads((folder / "estimates.geojson").read_text())["features"]
    assert len(features) == 60
    # The first five of `next` are measured, without a design.
    asked = rest.dropna(subset="next").sort_values("next").index[:5]
    more = pd.DataFrame({"sample_id": asked, "soc": truth[asked].to_numpy()})
    pd.concat([chosen, more]).to_csv(lab, index=False)
    done = soilnb("estimate", scans, "--measured", lab, *place)
    assert done.returncode == 0, done.stderr
    again = pd.read_csv(folder / "estimates.csv").set_index("sample_id")
    assert again["soc"].notna().sum() == 25
    assert again.loc[asked, "next"].isna().all()
    design = pd.read_csv(folder / "farm.csv")["design"]
    assert set(design) == {"stratified"}


@pytest.mark.slow
def test_a_farm_with_few_measured_samples_has_a_book_that_says_so(farm, tmp_path):
    table, truth = farm
    file = tmp_path / "few.csv"
    some = table.assign(soc=truth.to_numpy())
    some.loc[12:, "soc"] = np.nan
    some.drop(columns=["latitude", "longitude"]).to_csv(file, index=False)
    place = ["--site", file, "-p", f"results={tmp_path / 'r'}"]
    done = soilnb("run", "all", "--profile", "tiny", *place)
    assert done.returncode == 0, done.stderr
    assert "12 samples are measured, and a test needs n_local + 5" in done.stdout
    assert "09_compare" in done.stdout.split("Left out: ")[1].split("\n")[0]
    folder = tmp_path / "r" / "farms" / "few"
    assert not (folder / "02_benchmarks").exists()
    scanned = pd.read_csv(folder / "10_your_farm" / "farm.csv")
    assert scanned["lower"].isna().all()  # the design is not known
    values = {"site": str(file), "results": str(tmp_path / "r")}
    page = build_book(check_parameters("09_compare", values), tmp_path / "b")
    first = page.parent / "book" / "intro.html"
    assert "without an interval" in first.read_text()
    left_out = page.parent / "notebooks" / "05_dtl_instances.html"
    assert "Not run for this farm" in left_out.read_text()


@pytest.mark.slow
def test_a_farm_beside_the_synthetic_library_says_so_in_every_figure(farm, tmp_path):
    table, truth = farm
    file = tmp_path / "mine.csv"
    measured = truth.to_numpy().copy()
    measured[50:] = np.nan
    table.assign(soc=measured).to_csv(file, index=False)
    told = ["-p", "country=Sweden", "-p", "quantity=reflectance", "-p", "n_repeats=1"]
    place = ["--profile", "tiny", "-p", f"results={tmp_path / 'r'}"]
    how = ["--site", file, "--library", "twin", *told, *place]
    done = soilnb("run", "10_your_farm", *how)
    assert done.returncode == 0, done.stderr
    assert "50 samples are measured, 10 have no SOC" in done.stdout
    folder = tmp_path / "r" / "twin" / "mine"
    estimates = pd.read_csv(folder / "10_your_farm" / "estimates.csv")
    assert np.isfinite(estimates["estimate"]).all()
    assert "Synthetic data." in (folder / "10_your_farm" / "report.html").read_text()
    figures = [
        output["metadata"]["image/png"]["caption"]
        for step in ("01_data", "10_your_farm")
        for cell in read_cells(folder / step / f"{step}.ipynb")
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    real = [text for text in figures if "spectra as they were measured" in text]
    assert len(real) == 1
    for caption in figures:
        assert caption.startswith("Contains synthetic data") == (caption not in real)
