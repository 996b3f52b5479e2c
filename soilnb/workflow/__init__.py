"""The notebook machinery: parameters, steps, results and the book.

A notebook calls `begin` first and `Step.finish` last, and shows what it found with
`show.figure`, `show.table` and `show.say`.
"""

from soilnb.workflow import show
from soilnb.workflow.answer import write_answer
from soilnb.workflow.cluster import connect
from soilnb.workflow.data import read_reference
from soilnb.workflow.design import design_places
from soilnb.workflow.scores import (
    collect_results,
    merge_scores,
    over_seeds,
    read_repeats,
    read_sites,
)
from soilnb.workflow.step import Step, begin, measured_site
