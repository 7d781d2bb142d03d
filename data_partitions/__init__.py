"""Turn the files of a data set into the windows that each site of a federation holds.

`sources` reads data sets, `assignment` gives patients to sites, `partition` is the store of one site and
`federation` that of several. `recordings` reads and writes single files, and `prepare` turns a data set into
a federation.
"""

from data_partitions.errors import DataError

__all__ = ["DataError"]
