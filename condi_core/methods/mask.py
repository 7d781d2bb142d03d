"""No imputation: zeros (the mean) where nothing was observed, and the mask beside them.

FedAvg (McMahan et al. 2017, arXiv:1602.05629) per modality. Travels: the task model.
"""

from condi_core.methods.method import Method

METHOD = Method("mask", "zeros and the mask")
