"""`condi study`: methods x data sets x partitions x missingness x seeds, from a TOML file to tables."""
