"""Linear interpolation in time between observed samples; the mean where a modality has none.

The task model is exchanged and averaged per modality.
"""

from condi_core.imputer.interpolation import linear_interpolation
from condi_core.methods.method import Method

METHOD = Method(
    "linear", "linear interpolation", label="linear interpolation", interpolate=linear_interpolation
)
