"""The notebook machinery: parameters, steps, results and the book.

The notebooks call `begin` first and `Step.finish` last, and show what they found
with the functions of `soilnb.workflow.show`.
"""

from soilnb.workflow.show import Progress, record, say, show, table
from soilnb.workflow.step import Step, begin, merge_scores, read_sites

__all__ = [
    "Progress",
    "Step",
    "begin",
    "merge_scores",
    "read_sites",
    "record",
    "say",
    "show",
    "table",
]
