"""What the sections of `dataset.toml` have in common, and how their values are read."""

from __future__ import annotations

import re
from datetime import date, time
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.fields import FieldInfo

from data_partitions.description.durations import format_seconds, parse_seconds
from data_partitions.manifest import SPLITS, Split


class Section(BaseModel):
    """A section of the file: unknown keys are refused, and an underscore is a hyphen in the file."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        alias_generator=lambda name: name.replace("_", "-"),
        validate_by_alias=True,
        validate_by_name=True,
    )


def local(default: Any = ..., **options: Any) -> Any:
    """Declare a field that may differ between the hospitals of a federation."""
    return Field(default, json_schema_extra={"local": True}, **options)


def is_local(field: FieldInfo) -> bool:
    """Return whether a field may differ between hospitals."""
    return isinstance(field.json_schema_extra, dict) and "local" in field.json_schema_extra


def fields_by_key(section: type[Section]) -> dict[str, FieldInfo]:
    """Return the fields of a section by their keys in the file."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def section_class(section: type[Section], keys: tuple[str, ...]) -> type[Section] | None:
    """Return the class of the section at `keys` below another, such as ("signals", "I"); None for a value."""
    if not keys:
        return section
    field = fields_by_key(section).get(keys[0])
    if field is None:
        return None
    candidates = [field.annotation, *get_args(field.annotation)]
    nested = next((c for c in candidates if isinstance(c, type) and issubclass(c, Section)), None)
    if nested is None:
        return None
    is_named = get_origin(field.annotation) is dict
    return section_class(nested, keys[2:] if is_named else keys[1:]) if len(keys) > is_named else None


def _to_text(value: Any) -> Any:
    """Return a number or a date of TOML as text, since cells of tables are compared as texts."""
    if isinstance(value, bool):
        raise ValueError(f'expected a text in quotes, such as "True", got {str(value).lower()}')
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value) if isinstance(value, int | float) else value


def _to_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


def _to_channels(value: Any) -> Any:
    """Return names of channels, each a text or a difference of two."""
    entries = list(_to_list(value))
    if len(entries) == 3 and entries[1] == "-":
        entries = [entries]
    return tuple(_to_channel(entry) for entry in entries)


def _to_channel(entry: Any) -> Any:
    is_difference = isinstance(entry, list | tuple) and len(entry) == 3 and entry[1] == "-"
    names = [_to_text(entry[0]), _to_text(entry[2])] if is_difference else [_to_text(entry)]
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f'expected names such as ["C3-M2", ["C3", "-", "M2"]], got {entry!r}')
    return (names[0], "-", names[1]) if is_difference else names[0]


def _to_range(value: Any) -> Any:
    """Return two numbers of which the first is lower."""
    is_pair = isinstance(value, list | tuple) and len(value) == 2
    if not (is_pair and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)):
        raise ValueError("expected the lowest and the highest value, such as [0, 300]")
    if not value[0] < value[1]:
        raise ValueError(f"expected the lowest value first, got {value[0]:g} and {value[1]:g}")
    return tuple(value)


def _check_take(value: Any) -> Any:
    if not (isinstance(value, str) and re.fullmatch(r"all|first|last|random:[1-9]\d*", value)):
        raise ValueError('expected "all", "first", "last" or a number such as "random:3"')
    return value


def _check_separator(value: Any) -> Any:
    if not (isinstance(value, str) and len(value) == 1 and value not in '\r\n"'):
        raise ValueError(f'expected one character, such as ";" or "\\t", got {value!r}')
    return value


def _check_encoding(value: Any) -> Any:
    try:
        "".encode(value)  # also refuses codecs that are not of text
    except (LookupError, TypeError, ValueError):
        raise ValueError(f'expected an encoding, such as "utf-8" or "latin-1", got {value!r}') from None
    return value


def _to_patch(value: Any) -> Any:
    return value if value == "auto" else parse_seconds(value)


def _patch_text(patch: float | str) -> str:
    return patch if isinstance(patch, str) else format_seconds(patch)


def _check_shares(shares: dict[Split, float]) -> dict[Split, float]:
    if set(shares) != set(SPLITS) or any(share < 0 for share in shares.values()):
        raise ValueError("expected { train = 0.7, val = 0.15, test = 0.15 } or other shares of the three")
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError(f"expected shares that add up to 1, got {sum(shares.values()):g}")
    return {split: shares[split] for split in SPLITS}


# Texts, for which the file may have numbers without quotes.
Text = Annotated[str, BeforeValidator(_to_text)]
# A list of texts, for which the file may have a single one.
Texts = Annotated[tuple[Text, ...], BeforeValidator(_to_list)]
# In the file "10 s" or "5 min"; here s.
Seconds = Annotated[float, BeforeValidator(parse_seconds), Field(gt=0), PlainSerializer(format_seconds)]
PatchSeconds = Annotated[float | Literal["auto"], BeforeValidator(_to_patch), PlainSerializer(_patch_text)]
# A channel of the file, or the difference of two: ["C3", "-", "M2"].
ChannelNames = str | tuple[str, Literal["-"], str]
Channels = Annotated[tuple[ChannelNames, ...], BeforeValidator(_to_channels)]
Range = Annotated[tuple[float, float], BeforeValidator(_to_range)]
Take = Annotated[str, BeforeValidator(_check_take)]
Separator = Annotated[str, BeforeValidator(_check_separator)]
Encoding = Annotated[str, BeforeValidator(_check_encoding)]
Shares = Annotated[dict[Split, float], AfterValidator(_check_shares)]
