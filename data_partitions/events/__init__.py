"""Tables over time: rows with a time, in csv files, parquet files and MEDS shards, and windows on a grid.

`EventReader` reads files as measurements, `index_recordings` lists the recordings that files have, and
`read_windows` brings the measurements into windows.
"""
