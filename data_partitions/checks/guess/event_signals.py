"""The signals of a draft that are read from tables over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from data_partitions.checks.guess.draft import NO_UNIT, Draft, section_name
from data_partitions.checks.guess.event_sample import EventSample
from data_partitions.checks.guess.known_signals import KnownSignal, find_known, plain_name
from data_partitions.checks.guess.roles import COVARIATES, SEX_WORDS, find_site, safe_name
from data_partitions.checks.guess.table_sections import write_site
from data_partitions.checks.guess.tables import ColumnFacts, describe_column
from data_partitions.column_names import split_unit
from data_partitions.errors import DataError
from data_partitions.sentences import count_noun, list_some
from data_partitions.signals.units import UnitError, is_arbitrary, require_unit

MAX_SIGNALS = 60
MIN_SHARE_OF_RECORDINGS = 0.02
MIN_SHARE_OF_PROPERTY = 0.9
BY_NAME = "by the name: correct it if that is wrong"
MAX_OUTSIDE = 0.2  # of the values, for a range to belong to a signal


def find_properties(sample: EventSample) -> list[str]:
    """Return the variables that are properties of the recording: measured once in nearly each."""
    total = len(sample.times_of_recording)
    properties = []
    for name, values in sample.values.items():
        observed = ~np.isnan(values)
        recordings = len(np.unique(sample.recordings[name][observed]))
        if total > 5 and recordings > MIN_SHARE_OF_PROPERTY * total and observed.sum() <= 1.02 * recordings:
            properties.append(name)
    return properties


def write_event_signals(draft: Draft, sample: EventSample, properties: Sequence[str]) -> None:
    """Write `[signals]`: the variables or columns that are measured in enough recordings."""
    total = max(len(sample.times_of_recording), 1)
    recordings = {}
    for name, values in sample.values.items():
        count = len(np.unique(sample.recordings[name][~np.isnan(values)]))
        if count and name not in properties:
            recordings[name] = count
    names = [name for name, count in recordings.items() if count >= MIN_SHARE_OF_RECORDINGS * total]
    if len(names) > MAX_SIGNALS:
        names = sorted(names, key=lambda name: -recordings[name])[:MAX_SIGNALS]
    if not names:
        raise DataError("no column or variable has numbers: start from condi dataset new csv")
    for name in names:
        section = section_name("signals", safe_name(name))
        draft.comment(section, _describe_values(sample.values[name], recordings[name], total))
        _write_signal(draft, section, name, sample)
    if properties:
        draft.comment(
            section, f"Left out, as they are measured once in nearly all: {list_some(properties, 20)}."
        )
    if rare := [name for name in recordings if name not in names]:
        draft.comment(section, f"Left out, as few recordings have them: {list_some(rare, 30)}.")


def write_properties(
    draft: Draft, sample: EventSample, properties: Sequence[str], known: Mapping[str, ColumnFacts]
) -> dict[str, ColumnFacts]:
    """Write `table.properties` of files in long form: those that are covariates or name a site."""
    facts = {}
    for name in properties:
        numbers = pd.Series(sample.values[name]).dropna()
        texts = numbers.map(lambda number: f"{number:g}")
        if name not in known:
            facts[name] = describe_column(name, texts)
    words = [word for names, *_ in COVARIATES.values() for word in names] + list(SEX_WORDS)
    used = {name: fact for name, fact in facts.items() if plain_name(name) in words}
    site = find_site(facts)
    if site:
        used[site] = facts[site]
    if used:
        draft.set("table", "properties", list(used), "the first value of each recording")
        if site and not find_site(known):
            write_site(draft, facts[site])
    return used


def _write_signal(draft: Draft, section: str, name: str, sample: EventSample) -> None:
    values = sample.values[name]
    values = values[~np.isnan(values)]
    candidates = find_known(name) or find_known(split_unit(name)[0])
    fitting = [known for known in candidates if _share_outside(values, known) <= MAX_OUTSIDE]
    known = next(iter(fitting or candidates), None)
    fits = bool(fitting)
    stated = sorted((u for u in sample.units.get(name, {}) if u), key=lambda unit: -sample.units[name][unit])
    note = ""
    if not stated and (unit := _unit_in_name(name)):
        stated, note = [unit], BY_NAME
    if len(stated) > 1:
        note = f"the rows also state {list_some(stated[1:])}, which are converted"
    if stated:
        draft.set(section, "unit", stated[0], note)
    elif known and fits:
        draft.set(section, "unit", known.unit, BY_NAME)
    elif known:
        expected = f"{known.low:g} to {known.high:g} {known.unit}"
        draft.set(
            section, "unit", NO_UNIT, f"by its name it would be {expected}, but it is not: give the unit"
        )
    else:
        draft.set(section, "unit", NO_UNIT, "nothing states the unit: give it")
    if name != safe_name(name):
        draft.set(section, "channels", [name])
    if known and fits and (not stated or stated[0] == known.unit):
        draft.set(section, "range", [known.low, known.high], "" if not stated else BY_NAME)


def _unit_in_name(name: str) -> str:
    """Return the unit in brackets after the name of a column; "" if there is none that is understood."""
    unit = split_unit(name)[1]
    try:
        require_unit(unit)
    except UnitError:
        return ""
    return "" if is_arbitrary(unit) else unit


def _share_outside(values: np.ndarray, known: KnownSignal) -> float:
    return float(np.mean((values < known.low) | (values > known.high)))


def _describe_values(values: np.ndarray, recordings: int, total: int) -> str:
    low, middle, high = np.percentile(values[~np.isnan(values)], (1, 50, 99))
    return (
        f"{low:.4g} to {high:.4g}, median {middle:.4g}; in {recordings} of {count_noun(total, 'recording')}."
    )
