"""CondI at each site alone: own relation, own imputer, own task model; no weights are averaged.

What sites would learn without a federation: the lower reference. Of others a site has the schema and the
sums for standardisation in the roster, and the round that is kept is the one that is best by the validation
of all. Weights travel to the coordinator, which keeps each site's own for it and writes one file per site.
"""

from dataclasses import replace

from condi_core.averaging import keep_separate
from condi_core.methods import condi

METHOD = replace(
    condi.METHOD, name="local", summary="CondI, local training", combine=keep_separate, scope="local"
)
