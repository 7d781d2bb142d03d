"""No imputation: zeros (the mean) where nothing was observed, and the mask beside them."""

from condi_core.methods.method import Method

METHOD = Method("mask", "no imputation: zeros and the mask", fill=None)
