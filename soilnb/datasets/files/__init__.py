"""A user's own file of spectra: opened, told apart, checked, read."""

from soilnb.datasets.files.convert import convert_folder
from soilnb.datasets.files.report import FileReport, inspect_file, read_file
from soilnb.datasets.files.roles import CHOICES, OPTIONS, parse_options
from soilnb.datasets.files.table import LISTED, find_files, is_table, stem
from soilnb.datasets.files.tables import read_candidates
