"""The description of a data set: `dataset.toml`, the file on which the hospitals of a federation agree."""
