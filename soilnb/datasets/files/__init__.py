"""A user's own file of spectra: opened, told apart, checked, read."""

from soilnb.datasets.files.candidates import read_candidates
from soilnb.datasets.files.report import FileReport, inspect_file, read_file
from soilnb.datasets.files.table import find_files, is_table, stem

__all__ = [
    "FileReport",
    "find_files",
    "inspect_file",
    "is_table",
    "read_candidates",
    "read_file",
    "stem",
]
