"""Last observation carried forward; the mean before the first one.

The task model is exchanged and averaged per modality.
"""

from condi_core.imputer.interpolation import last_value
from condi_core.methods.method import Method

METHOD = Method("last", "last value carried forward", label="last value", interpolate=last_value)
