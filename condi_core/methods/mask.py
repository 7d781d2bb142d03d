"""No imputation: the task model reads zeros (the mean) where nothing was observed, and the mask.

FedAvg (McMahan et al. 2017, arXiv:1602.05629) per modality. The task model is exchanged.
"""

from condi_core.methods.method import Method

METHOD = Method("mask", "zeros and the mask", label="FedAvg")
