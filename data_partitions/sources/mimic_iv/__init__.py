"""MIMIC-IV: `tables` reads the files, `events` bins measurements by hour, `dataset` makes the windows."""

from data_partitions.sources.mimic_iv.dataset import DATASET, download, index, pass_key, read, schema

__all__ = ["DATASET", "download", "index", "pass_key", "read", "schema"]
