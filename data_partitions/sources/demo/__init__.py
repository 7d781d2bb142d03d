"""Generated 12-lead ECGs in the shape of PTB-XL: `dataset` writes them, `heart` generates them."""

from data_partitions.sources.demo.dataset import (
    DATASET,
    cached_demo,
    index,
    prepare_demo,
    read,
    schema,
    write_source,
)

__all__ = ["DATASET", "cached_demo", "index", "write_source", "prepare_demo", "read", "schema"]
