"""CondI with local training: each site has its own cross-spectrum, imputer and task model.

It is the lower reference: what sites would learn without a federation. All sites still share the schema and
the sums for standardisation, and the best round is chosen by the validation of all sites. Weights
are sent to the coordinator, which keeps a version per site, averages none, and writes one file per site.
"""

from dataclasses import replace

from condi_core.averaging import keep_separate
from condi_core.methods import condi

METHOD = replace(
    condi.METHOD,
    name="local",
    summary="CondI, local training",
    label="CondI, local training",
    combine=keep_separate,
    scope="local",
)
