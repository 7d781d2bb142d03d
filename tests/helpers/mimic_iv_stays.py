"""Stays of MIMIC-IV with the events that a test names, and what is made of them."""

import numpy as np
import pandas as pd
import pytest

from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.mimic_iv import index, read
from data_partitions.sources.mimic_iv.events import WINDOW_HOURS
from data_partitions.sources.mimic_iv.items import VARIABLES
from tests.helpers.generated_mimic_iv import make_tables, write_tables

EVENTS = {"chart": "chartevents", "lab": "labevents", "output": "outputevents"}
H = 3600


def empty_tables(stays=1, version="3.1"):
    """Tables of stays of which nothing was measured."""
    tables = make_tables(stays, version=version)
    return {n: t.iloc[:0] if n in EVENTS.values() else t.copy() for n, t in tables.items()}


def with_events(tables, *events):
    """Tables with events (table, stay number, seconds after its intime, item, value) added, in that order."""
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


def prepared(folder, **options):
    """Index, windows (None: left out) and log."""
    log = PreparationLog()
    table = index(folder, log, **options)
    return table, list(read(folder, table, log, **options)), log


def hours_of(folder, *events, **options):
    """Of one stay with these events: {variable: {hour: value}} of what was observed, and the log."""
    write_tables(folder, with_events(empty_tables(), *[(kind, 0, *rest) for kind, *rest in events]))
    _, [window], log = prepared(folder, **options)
    if window is None:
        return {}, log
    assert window.shape == (len(VARIABLES), WINDOW_HOURS, 1)
    assert window.dtype == np.float32
    found = {
        name: {int(hour): pytest.approx(float(row[hour, 0]), rel=1e-6) for hour in np.flatnonzero(seen)}
        for name, row, seen in zip(VARIABLES, window, np.isfinite(window[:, :, 0]), strict=True)
    }
    return {name: hours for name, hours in found.items() if hours}, log
