"""The rules between settings of a description, which the type of one setting cannot express."""

from __future__ import annotations

from collections.abc import Iterator

from data_partitions.description.complaints import Complaint
from data_partitions.description.patches import PatchError, plan_patches
from data_partitions.description.sections import Description, SignalSection
from data_partitions.description.task_consistency import find_task_conflicts
from data_partitions.sentences import join_words, suggest
from data_partitions.signals.units import UnitError, conversion, require_unit

_TEXT_FILES = ("csv",)
_TABLES = ("csv", "parquet")
_EVENTS = (*_TABLES, "meds")
# The formats in which a key of [files] has an effect; those that are absent here have one in all.
FORMATS_OF_KEY = {
    "record": _EVENTS,
    "time": _TABLES,
    "time-unit": _TABLES,
    "time-format": _TABLES,
    "variable": _TABLES,
    "value": _TABLES,
    "value-unit": _EVENTS,
    "separator": _TEXT_FILES,
    "decimal": _TEXT_FILES,
    "encoding": _TEXT_FILES,
    "missing": _EVENTS,
    "ends-of-range": ("edf",),
    "gains": ("wfdb",),
    "rate": (*_TABLES, "npy"),
    "axes": ("npy",),
    "values": ("npy",),
    "records": ("npy",),
    "names": ("npy",),
    "channel-names": ("npy",),
}


def find_conflicts(description: Description) -> Iterator[Complaint]:
    """Yield what does not go together in a description whose settings are each valid."""
    yield from _check_files(description)
    yield from _check_table(description)
    yield from _check_window(description)
    yield from _check_signals(description)
    yield from find_task_conflicts(description)


def _check_files(description: Description) -> Iterator[Complaint]:
    files = description.files
    written = files.model_dump(by_alias=True, exclude_defaults=True)
    for key in written:
        formats = FORMATS_OF_KEY.get(key, (files.format,))
        if files.format not in formats:
            yield Complaint(
                f"files.{key}",
                f"`{key}` has no effect on {files.format} files, only on {join_words(formats)}: remove it",
            )
    if files.format != "meds" and bool(files.variable) != bool(files.value):
        missing = "value" if files.variable else "variable"
        yield Complaint("files", f"long form has both `variable` and `value`: add {missing} = ... to [files]")
    if files.format in _TABLES and not files.time:
        if files.variable:
            yield Complaint("files.variable", "long form has a time in each row: add time = ... to [files]")
        elif files.rate is None:
            yield Complaint(
                "files.format",
                f"{files.format} files have neither time = ... nor rate = ... in [files]: add one",
            )
        if files.record:
            yield Complaint(
                "files.record",
                "files of several recordings have a time in each row: add time = ... to [files]",
            )
    if files.time and files.rate is not None:
        yield Complaint("files.rate", "rows have either a time or a rate: remove `time` or `rate`")
    if files.format == "npy":
        if files.rate is None:
            yield Complaint("files.format", "arrays do not state their rate: add rate = ... (Hz) to [files]")
        if files.channel_names and files.names:
            yield Complaint(
                "files.names", "channels have their names from `names` or `channel-names`: remove one"
            )
        axes = files.axes.split()
        if sorted(axes) not in (
            ["channel", "time"],
            ["channel", "record", "time"],
            ["time"],
            ["record", "time"],
        ):
            yield Complaint(
                "files.axes",
                f'expected the words time, channel and record in the order of the axes, got "{files.axes}"',
            )


def _check_table(description: Description) -> Iterator[Complaint]:
    table, is_meds = description.table, description.files.format == "meds"
    if table.properties and not (is_meds or description.files.variable):
        yield Complaint("table.properties", "`properties` are variables of files in long form: remove it")
    if table.path:
        if not table.record:
            yield Complaint(
                "table.path", "the table has no column of recordings: add record = ... to [table]"
            )
        return
    has_columns = is_meds or bool(table.properties)
    needs = {"table.start": table.start, "table.end": "" if is_meds else table.end}
    needs |= {"split.column": description.split.column, "task.column": description.task.column}
    needs |= {f"covariates.{name}": "" if has_columns else "column" for name in description.covariates}
    needs |= {f"table.join.{name}": "join" for name in table.join}
    for key, value in needs.items():
        if value:
            yield Complaint(key, f"`{key}` is of a table: add path = ... to [table]")
    for key, value in (("patient", table.patient), ("site", table.site)):
        if value and "{" not in value and value not in table.properties:
            yield Complaint(
                f"table.{key}",
                f'without a table `{key}` is a pattern of fields of the path, such as "{{record:4}}": write '
                "one, or add path = ... to [table]",
            )


def _check_window(description: Description) -> Iterator[Complaint]:
    window, signals = description.window, description.signals
    if window.grid is not None and all(signal.rate is not None for signal in signals.values()):
        yield Complaint("window.grid", "`grid` is for signals without a rate, but all have one: remove it")
    if window.align == "annotations" and description.annotations is None:
        yield Complaint("window.align", 'align = "annotations" needs a section [annotations]: add it')
    if window.align == "annotations" and window.stride is not None:
        yield Complaint("window.stride", "windows start at annotations: remove `stride` or `align`")
    if keep := window.keep:
        classes = description.task.classes
        if description.annotations is None:
            yield Complaint("window.keep", "`keep` needs a section [annotations]: add it")
        elif keep.around not in classes:
            hint = suggest(keep.around, classes) or f": expected one of {join_words(classes)}"
            yield Complaint("window.keep", f'`keep` is around "{keep.around}", which is no class{hint}')


def _check_signals(description: Description) -> Iterator[Complaint]:
    valid = True
    for name, signal in description.signals.items():
        key = f"signals.{name}"
        yield from _check_units(key, signal)
        if signal.rate is None and description.window.grid is None:
            valid = False
            yield Complaint(key, f"signal {name} has no rate: add rate = ... (Hz), or grid = ... to [window]")
        if signal.rate is not None and description.files.format == "meds":
            yield Complaint(
                f"{key}.rate", "events have no rate: remove `rate`, and set grid = ... in [window]"
            )
        if signal.rate is not None and signal.within != "last":
            yield Complaint(f"{key}.within", "`within` is for signals without a rate: remove it, or `rate`")
        if signal.rate is not None and signal.channel_units:
            yield Complaint(
                f"{key}.channel-units", "`channel-units` is for signals without a rate: remove it"
            )
        channels = signal.channels or (name,)
        for channel in signal.channel_units:
            if channel not in channels:
                names = [each for each in channels if isinstance(each, str)]
                hint = suggest(channel, names) or f": expected one of {join_words(names)}"
                sentence = f'`channel-units` names "{channel}", which is no channel of signal {name}{hint}'
                yield Complaint(f"{key}.channel-units", sentence)
        if signal.scale == 0:
            yield Complaint(f"{key}.scale", "expected a factor other than 0")
    if valid:
        try:
            plan_patches(description)
        except PatchError as error:
            yield Complaint(error.key, str(error))


def _check_units(key: str, signal: SignalSection) -> Iterator[Complaint]:
    if not signal.unit.strip():
        yield Complaint(key, 'there is no unit: add unit = "mV" or another, or "a.u." for an arbitrary one')
        return
    try:
        require_unit(signal.unit)
    except UnitError as error:
        sentence = str(error) if str(error).endswith("?") else f'{error}: for an arbitrary one write "a.u."'
        yield Complaint(f"{key}.unit", sentence)
        return
    units = {"file-unit": signal.file_unit}
    units |= {f"channel-units.{channel}": unit for channel, unit in signal.channel_units.items()}
    for setting, unit in units.items():
        try:
            conversion(unit or signal.unit, signal.unit)
        except UnitError as error:
            yield Complaint(f"{key}.{setting}", str(error))
