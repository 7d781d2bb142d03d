"""CondI with centralised training: the upper reference, in a simulation only.

One node reads the data of all sites, with the missingness that each window has at its own site. It takes as
many steps as one site, each over as many windows as all sites together use in one step.
"""

from dataclasses import replace

from condi_core.methods import condi

METHOD = replace(
    condi.METHOD,
    name="pooled",
    summary="CondI, centralised training",
    label="CondI, centralised training",
    scope="centralised",
)
