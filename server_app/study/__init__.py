"""`condi study`: methods x data x partitions x holes x seeds, from a TOML file to tables and curves."""
