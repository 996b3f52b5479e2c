"""Columns of published libraries, and how the tests write and read such tables."""

import numpy as np
import pytest

from soilnb.datasets.files.report import read_file

# Column names as published, see soilnb.datasets.files.layouts.
OSSL_NM = np.arange(350, 2501, 2)
OSSL_BANDS = [f"scan_visnir.{nm}_ref" for nm in OSSL_NM]
OSSL_MIR = [f"scan_mir.{number}_abs" for number in range(600, 660, 2)]
OSSL_ID = "id.layer_uuid_txt"
OSSL_SOC = "oc_usda.c729_w.pct"
ICRAF_NM = np.arange(350, 2501, 10)
ICRAF_BANDS = [f"W{nm}" for nm in ICRAF_NM]
N = 50


def write(table, path, **options):
    """Write a table as the suffix says, missing cells as R does: NA."""
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, na_rep="NA", **options)
    return path


def write_folder(tables, folder, suffix=".csv", **options):
    folder.mkdir()
    for name, table in tables.items():
        write(table, folder / f"{name}{suffix}", **options)
    return folder


def split_ossl(ossl):
    """The separate tables of OSSL, joined by the layer's id."""
    ids = ["dataset.code_ascii_txt", OSSL_ID]
    lab = [column for column in ossl if column.endswith("_w.pct")]
    spectral = ["id.scan_local_c", *OSSL_BANDS, *OSSL_MIR]
    site = [column for column in ossl if column not in (*ids, *lab, *spectral)]
    return {
        "ossl_soilsite_L0_v1.2": ossl[[*ids, *site]],
        "ossl_soillab_L1_v1.2": ossl[[*ids, *lab]][::-1],  # in another order
        "ossl_visnir_L0_v1.2": ossl[[*ids, "id.scan_local_c", *OSSL_BANDS]],
        "ossl_mir_L0_v1.2": ossl[[*ids, "id.scan_local_c", *OSSL_MIR]],
    }


def read_library(path, **options):
    return read_file(path, soc_required=False, **options)


def assert_refused(path, message, **options):
    with pytest.raises(ValueError, match=message):
        read_library(path, **options)
