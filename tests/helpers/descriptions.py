"""Descriptions of data sets for tests."""

from data_partitions.description.sections import Description


def describe(**sections) -> Description:
    """Return a description of two ECG leads in WFDB records; `sections` replace or add to its own."""
    fields = {
        "dataset": {"name": "holter"},
        "files": {"format": "wfdb", "path": "{record}.hea"},
        "window": {"length": "10 s"},
        "signals": {
            "I": {"unit": "mV", "rate": 100},
            "V1": {"unit": "mV", "rate": 100, "channels": ("V1", "chest")},
        },
    }
    return Description.model_validate(fields | sections)
