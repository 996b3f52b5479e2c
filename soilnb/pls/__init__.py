"""Partial least squares for one soil property (PLS1), compiled."""

from soilnb.pls.kernel import fit_path
from soilnb.pls.model import (
    PLS1,
    check_columns,
    choose_n_components,
    cross_validated_rmse,
)
from soilnb.pls.products import Products, add_up, cross_validated, products_by_fold
