"""Generated 12-lead ECGs in the shape of PTB-XL: `dataset` writes them, `heart` generates them."""

from data_partitions.sources.demo.dataset import DATASET, cached_demo, index, make, prepare_demo, read, schema

__all__ = ["DATASET", "cached_demo", "index", "make", "prepare_demo", "read", "schema"]
