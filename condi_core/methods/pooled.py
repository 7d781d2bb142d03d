"""CondI with the data of all sites in one place: the upper reference, in a simulation only.

One node reads all sites as one, with the holes that each window has at its own site. It takes the steps of
one site, each over as many windows as all sites together look at in one. Weights travel to it and back.
"""

from dataclasses import replace

from condi_core.methods import condi

METHOD = replace(condi.METHOD, name="pooled", summary="CondI, centralised training", scope="centralised")
