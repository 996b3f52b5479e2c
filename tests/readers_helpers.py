"""How the tests of a user's file spoil it and see it refused."""

import pytest

from soilnb.datasets import inspect_file, read_file

BANDS = [str(wavelength) for wavelength in range(420, 2481, 10)]


def put(column, row, value):
    def change(frame):
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value

    return change


def assert_refused(path, message, **options):
    """The file is refused with `message`, by both functions."""
    with pytest.raises(ValueError, match=message):
        read_file(path, **options)
    report = inspect_file(path, **options)
    assert report.library is None
    assert report.problems[0].endswith(".")
    return report
