"""Soil organic carbon of one farm, by transfer from soil spectral libraries.

Import the module that is needed, for example ``from soilnb import metrics``.
Nothing heavy is imported here.
"""

__version__ = "0.1.0"
