"""RS-LOCAL: which library samples help to model one site.

Many small PLSR models are fitted, each on a random subset of the library, and
tried on the local samples. Library rows that keep poor company are dropped,
and the rest are tried again, until the wanted number of rows remains.
"""

from soilnb.rslocal.search import Selection, select_instances, selection_size
