"""The one list of methods."""

import pandas as pd

from soilnb.methods import METHODS, in_order, label, labelled


def test_every_method_has_a_label_of_its_own():
    assert len({method.label for method in METHODS.values()}) == len(METHODS)
    assert all(name == method.name for name, method in METHODS.items())
    # Unknown ones come last and keep their names.
    assert in_order(["mine", "local", "plsr_local"]) == ["plsr_local", "local", "mine"]
    assert label("mine") == "mine"


def test_labels_stand_in_column_index_or_level():
    table = pd.DataFrame({"method": ["mbl", "mine"], "site": ["a", "b"], "rmse": 0.3})
    assert labelled(table)["method"].tolist() == ["memory-based", "mine"]
    by_method = labelled(table.set_index("method"))
    assert by_method.index.tolist() == ["memory-based", "mine"]
    assert by_method.index.name == "method"
    by_both = labelled(table.set_index(["site", "method"]))
    assert by_both.index.tolist() == [("a", "memory-based"), ("b", "mine")]
    assert by_both.index.names == ["site", "method"]
    assert table["method"].tolist() == ["mbl", "mine"]  # the table given stays
    # An index without a name stays.
    plain = labelled(pd.DataFrame({"rmse": [1.0]}, index=["mbl"]))
    assert plain.index.tolist() == ["mbl"]
