"""From the files of a data set to what each site of a federation holds.

`sources/` reads data sets, `federation` gives patients to sites, `partition` is the store of one site,
`missingness` makes simulated holes, and `prepare` is the command that goes all the way.
"""

from data_partitions.errors import DataError

__all__ = ["DataError"]
