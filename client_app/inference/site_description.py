"""The description of a model's data set, with what a site states about its own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from client_app.inference.suitability import SPARSE_STEP_SECONDS
from condi_core.windows import Schema
from data_partitions import DataError
from data_partitions.description.agreed_text import describe_difference, find_agreed_lines
from data_partitions.description.durations import format_seconds
from data_partitions.description.reading import description_from_text, read_description
from data_partitions.description.sections import Description
from data_partitions.descriptions import FOLDER, read_shipped_description
from data_partitions.signals.signal_spec import SignalSpec, specs_of_description


class SiteSettings(NamedTuple):
    """Files with what a site states about its own files.

    The agreed part of `description` must be that of the model; `local` has settings that differ from it, or
    from the description in the model.
    """

    description: Path | None = None
    local: Path | None = None

    @property
    def are_stated(self) -> bool:
        """Whether there is a file."""
        return self != SiteSettings()


def describe_site(schema: Schema, settings: SiteSettings) -> Description:
    """Return the description that a model has, with the settings of a site.

    In a model without a description, modalities have their own names, units, rates and ranges. DataError when
    a file is not valid, or its agreed part is not that of the model.
    """
    if settings.description is None:
        text = schema.description or _describe_modalities(schema)
        return _add_shipped_names(description_from_text(text, settings.local))
    description = read_description(settings.description, settings.local)
    lines = find_agreed_lines(description)
    difference = describe_difference(description.agreed_text(), schema.description, lines)
    if schema.description and difference:
        raise DataError(
            f"{settings.description} is not the description that the model was trained by: {difference}"
        )
    if missing := [name for name in schema.names if name not in description.signals]:
        raise DataError(
            f"{settings.description} describes no signal {', '.join(missing)}, which the model reads"
        )
    return description


def specs_of_model(schema: Schema, description: Description) -> tuple[SignalSpec, ...]:
    """Return the modalities in the order, units, rates and ranges of a model, with the names of the site."""
    specs = {spec.name: spec for spec in specs_of_description(description)}
    return tuple(
        specs[m.name]._replace(
            unit=m.unit, rate=m.samples_per_patch / schema.patch_seconds, range=m.range or specs[m.name].range
        )
        for m in schema.modalities
    )


def file_options(description: Description) -> dict[str, Any]:
    """Return how the files of the site are written, as far as it is stated, as `open_recording` takes it."""
    stated = description.files.model_fields_set - {"format", "path"}
    return {name: getattr(description.files, name) for name in sorted(stated)}


def _add_shipped_names(description: Description) -> Description:
    """Add the names of channels that are known of an open data set, where the site states none."""
    if not (FOLDER / f"{description.dataset.name}.toml").exists():
        return description
    shipped = read_shipped_description(description.dataset.name).signals
    signals = {
        name: signal.model_copy(update={"channels": (name, *shipped[name].channels)})
        if name in shipped and not signal.channels
        else signal
        for name, signal in description.signals.items()
    }
    return description.model_copy(update={"signals": signals})


def _describe_modalities(schema: Schema) -> str:
    """Write the modalities of a model as the text of a description."""
    lines = [
        f"dataset.name = {json.dumps(schema.dataset)}",
        f"window.length = {json.dumps(format_seconds(schema.patches * schema.patch_seconds))}",
    ]
    for m in schema.modalities:
        key, step = f"signals.{json.dumps(m.name)}", schema.patch_seconds / m.samples_per_patch
        lines.append(f"{key}.unit = {json.dumps(m.unit)}")
        if step < SPARSE_STEP_SECONDS:
            lines.append(f"{key}.rate = {float(1 / step)!r}")
        elif not any(line.startswith("window.grid") for line in lines):
            lines.append(f"window.grid = {json.dumps(format_seconds(step))}")
        if m.range:
            lines.append(f"{key}.range = {json.dumps(list(m.range))}")
    return "".join(line + "\n" for line in lines)
