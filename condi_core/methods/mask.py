"""No imputation: zeros (the mean) where nothing was observed, and the mask beside them."""

from condi_core.methods.method import Method

METHOD = Method("mask", "zeros and the mask, no imputation", fill=None)
