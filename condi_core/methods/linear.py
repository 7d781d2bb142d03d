"""Straight lines in time between observed samples; the mean where there are none. Travels: as `mean`."""

from condi_core.imputer.interpolation import linear_interpolation
from condi_core.methods.method import Method

METHOD = Method("linear", "linear interpolation", interpolate=linear_interpolation)
