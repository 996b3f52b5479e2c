"""A farm of one's own: from a file to its scores with the synthetic library."""

import subprocess
import sys
from importlib.util import find_spec

import nbformat
import numpy as np
import pandas as pd
import pytest

from soilnb.datasets import load_site
from soilnb.methods import METHODS
from soilnb.workflow.steps import STEPS

pytestmark = pytest.mark.slow


def test_a_farm_of_ones_own_goes_the_whole_way_with_the_synthetic_library(tmp_path):
    """A file of real spectra from Sweden, five of them without SOC, and the twin."""
    farm = load_site("uppsala").on_grid(np.arange(420, 2481, 10)).take(np.arange(55))
    bands = [f"{wavelength:g}" for wavelength in farm.wavelengths]
    table = pd.DataFrame(farm.reflectance, columns=bands)
    table.insert(0, "sample_id", farm.info["sample_id"])
    table.insert(1, "soc", farm.soc)
    table.loc[50:, "soc"] = np.nan
    table.to_csv(tmp_path / "mine.csv", index=False)
    options = ["--site", tmp_path / "mine.csv", "--library", "twin"]
    told = ["-p", "country=Sweden", "-p", "quantity=reflectance"]
    place = ["-p", f"results={tmp_path / 'r'}", "--profile", "tiny"]
    words = ["run", "09_compare", *options, *told, *place]
    done = subprocess.run(
        [sys.executable, "-m", "soilnb", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "50 samples are measured, 5 have no SOC" in done.stdout
    folder = tmp_path / "r" / "twin" / "mine"
    scores = pd.read_csv(folder / "scores.csv")
    assert set(scores["n_test"]) == {20}
    absent = {"cnn_published"} | (set() if find_spec("cubist") else {"cubist_local"})
    assert scores["method"].tolist() == [name for name in METHODS if name not in absent]
    assert np.isfinite(scores["rmse"]).all()
    for step in STEPS["09_compare"].reads:
        for texts in _figures(folder / step / f"{step}.ipynb"):
            own = "the farm's spectra as they were measured" in texts["caption"]
            assert texts["caption"].startswith("Contains synthetic data") != own


def _figures(notebook):
    """Alt text and caption of every figure in an executed notebook."""
    cells = nbformat.read(notebook, as_version=4).cells
    outputs = [out for cell in cells for out in cell.get("outputs", [])]
    return [
        out.metadata["image/png"]
        for out in outputs
        if "image/png" in out.get("data", {})
    ]
