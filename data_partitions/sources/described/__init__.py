"""A hospital's own files, read as its description says: `DescribedDataset` is a `DatasetReader`."""
