"""What an import may load: the heavy packages only where they are used."""

from command_helpers import python

# In this order in one process; what a module may load, a later one may, too.
NEVER = {
    "soilnb": "numpy tensorflow",
    "soilnb.datasets": "sklearn scipy tensorflow matplotlib dask LimeSoDa pooch rdata",
    "soilnb.study.paper": "tensorflow keras matplotlib",
    "soilnb.study": "tensorflow keras",
    "soilnb.transfer": "tensorflow keras",
    "soilnb.cnn.tuning": "tensorflow keras keras_tuner",
    "soilnb.workflow.run": "tensorflow keras",
    "soilnb.workflow.book": "tensorflow keras",
}
CODE = """
import importlib, sys
for module, heavy in {never}.items():
    importlib.import_module(module)
    for name in heavy.split():
        if name in sys.modules:
            sys.exit(f"{{module}} loads {{name}}")
from soilnb.cnn import PUBLISHED, SMALL, Scaling, feasible
assert feasible(PUBLISHED["usa"], 207)
assert "tensorflow" not in sys.modules
"""


def test_imports_load_nothing_heavy_before_it_is_used():
    done = python(CODE.format(never=NEVER))
    assert done.returncode == 0, done.stderr
