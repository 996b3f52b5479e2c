"""How the tests of a user's file spoil it and see it refused."""

import pytest

from soilnb.datasets import inspect_file, read_file

BANDS = [str(wavelength) for wavelength in range(420, 2481, 10)]


def put(column, row, value):
    def change(frame):
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value

    return change


def rename(column="soc", new="soc", factor=1.0):
    def change(frame):
        if factor != 1:
            frame[column] *= factor
        return frame.rename(columns={column: new})

    return change


def bands_as(style):
    return lambda frame: frame.rename(columns={band: style(band) for band in BANDS})


def long(frame):
    names = {"variable": "wavelength_nm", "value": "reflectance"}
    return frame.melt(["sample_id", "soc"]).rename(columns=names)


def assert_refused(path, message, **options):
    """The file is refused with `message`, by both functions."""
    with pytest.raises(ValueError, match=message):
        read_file(path, **options)
    report = inspect_file(path, **options)
    assert report.library is None
    assert report.problems[0].endswith(".")
    return report
