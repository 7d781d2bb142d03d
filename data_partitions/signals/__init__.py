"""Bring the channels of a file to the names, units, rates and ranges of a model."""
