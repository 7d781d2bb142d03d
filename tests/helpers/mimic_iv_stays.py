"""Stays of MIMIC-IV with events of tests, and their windows."""

import numpy as np
import pandas as pd
import pytest

from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.mimic_iv import index, read
from data_partitions.sources.mimic_iv.events import WINDOW_HOURS
from data_partitions.sources.mimic_iv.items import VARIABLES
from tests.helpers.generated_mimic_iv import make_tables, write_tables

EVENTS = {"chart": "chartevents", "lab": "labevents", "output": "outputevents"}
HOUR = 3600  # s


def make_empty_tables(stays=1, version="3.1"):
    """Make tables of stays without any events."""
    tables = make_tables(stays, version=version)
    return {
        name: table.iloc[:0] if name in EVENTS.values() else table.copy() for name, table in tables.items()
    }


def add_events(tables, *events):
    """Add events (table, stay number, seconds after its intime, item, value), in their order, to tables."""
    for kind, name in EVENTS.items():
        rows = []
        for table, number, second, item, value in events:
            if table == kind:
                stay = tables["icustays"].iloc[number]
                time = stay["intime"] + pd.Timedelta(seconds=second)
                of_stay = {key: stay[key] for key in ("subject_id", "hadm_id", "stay_id")}
                numeric = not isinstance(value, str)
                rows.append(
                    {**of_stay, "charttime": time, "itemid": item, "value": value}
                    | {"valuenum": value if numeric else np.nan}
                )
        if rows:
            added = pd.DataFrame(rows).astype({"value": object}).reindex(columns=tables[name].columns)
            tables[name] = pd.concat([tables[name].astype(object), added], ignore_index=True)
    return tables


def prepare(folder, **options):
    """Return the index, the windows (None where excluded) and the log of a folder."""
    log = PreparationLog()
    table = index(folder, log, **options)
    return table, list(read(folder, table, log, **options)), log


def read_hourly_values(folder, *events, **options):
    """Return the observed values {variable: {hour: value}} of a stay with these events, and the log."""
    write_tables(folder, add_events(make_empty_tables(), *[(kind, 0, *rest) for kind, *rest in events]))
    _, [window], log = prepare(folder, **options)
    if window is None:
        return {}, log
    assert window.shape == (len(VARIABLES), WINDOW_HOURS, 1)
    assert window.dtype == np.float32
    values = {
        name: {int(hour): pytest.approx(float(row[hour, 0]), rel=1e-6) for hour in np.flatnonzero(observed)}
        for name, row, observed in zip(VARIABLES, window, np.isfinite(window[:, :, 0]), strict=True)
    }
    return {name: hours for name, hours in values.items() if hours}, log
