"""What the columns of a table may be: record, patient, site, label, covariate, or split."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from data_partitions.checks.guess.known_signals import plain_name
from data_partitions.checks.guess.tables import ColumnFacts

MIN_MATCHING_SHARE = 0.5  # of the files or rows, for a column to name the records
MAX_CLASSES = 20
MAX_SITES = 500

PATIENT_WORDS = tuple("patientid patient subjectid subject uniquepid mrn pid person personid".split())
SITE_WORDS = ("hospitalid", "hospital", "site", "center", "centre", "clinic", "institution")
UNIT_WORDS = ("icutype", "unittype", "ward", "wardid", "careunit", "firstcareunit")
LABEL_WORDS = (
    "label", "inhospitaldeath", "hospitaldeath", "death", "died", "dead", "mortality", "expired",
    "hospitalexpireflag", "outcome", "class", "target", "diagnosis", "diagnoses", "diagnosticsuperclass",
    "rhythm", "rhythms", "arrhythmia", "unitdischargestatus", "hospitaldischargestatus", "dischargestatus",
    "event", "stage", "y",
)  # fmt: skip
SPLIT_WORDS = ("split", "fold", "stratfold", "set", "partition")
SEX_WORDS = ("sex", "gender", "geschlecht")
COVARIATES: Mapping[str, tuple[tuple[str, ...], str, tuple[float, float], tuple[float, ...]]] = {
    "age": (("age", "anchorage", "ageyears", "admissionage", "alter"), "years", (0, 120), (40, 65, 80)),
    "weight": (("weight", "admissionweight", "weightkg"), "kg", (0.3, 400), ()),
    "height": (("height", "admissionheight", "heightcm"), "cm", (20, 250), ()),
}
EVENT_TEXTS = tuple("1 1.0 true yes y t died dead deceased expired death positive".split())
SEXES = {"female": ("f", "female", "w", "woman", "weiblich"), "male": ("m", "male", "man", "männlich")}


def find_record_column(columns: Mapping[str, Collection[str]], records: Collection[str]) -> tuple[str, float]:
    """Return the column whose texts are the names of records, and the share of the records that it has."""
    wanted = set(records)
    shares = {name: len(wanted & set(texts)) / max(len(wanted), 1) for name, texts in columns.items()}
    best = max(shares, key=lambda name: shares[name], default="")
    return (best, shares[best]) if best and shares[best] >= MIN_MATCHING_SHARE else ("", 0.0)


def find_by_words(names: Iterable[str], words: Iterable[str]) -> str:
    """Return the column whose name is the earliest of some words; "" if none is."""
    by_form = {plain_name(name): name for name in reversed(list(names))}
    return next((by_form[word] for word in words if word in by_form), "")


def find_labels(columns: Mapping[str, ColumnFacts]) -> list[str]:
    """Return the columns that may be the label, the likeliest first."""
    by_form = {plain_name(name): name for name in columns}
    usable = [
        name for name, facts in columns.items() if 1 < facts.distinct and facts.kind in ("text", "number")
    ]
    exact = [by_form[word] for word in LABEL_WORDS if by_form.get(word) in usable]
    similar = [
        name
        for name in usable
        if name not in exact
        and columns[name].distinct <= MAX_CLASSES
        and any(len(word) > 4 and word in plain_name(name) for word in LABEL_WORDS)
    ]
    return exact + similar


def find_site(columns: Mapping[str, ColumnFacts]) -> str:
    """Return the column that names hospitals, or else units; "" if none does."""
    for words in (SITE_WORDS, UNIT_WORDS):
        name = find_by_words(columns, words)
        if name and 1 < columns[name].distinct <= MAX_SITES:
            return name
    return ""


def find_patient(columns: Mapping[str, ColumnFacts]) -> str:
    """Return the column that names patients; "" if none does."""
    name = find_by_words(columns, PATIENT_WORDS)
    return name if name and columns[name].distinct > 1 else ""


def find_event_text(texts: Iterable[str]) -> str:
    """Return which of two texts stands for the event; "" if neither is known to."""
    by_form = {text.casefold(): text for text in texts}
    return next((by_form[text] for text in EVENT_TEXTS if text in by_form), "")


def group_sexes(texts: Iterable[str]) -> dict[str, list[str]]:
    """Return the texts that stand for each sex; texts that are not known are their own category."""
    groups: dict[str, list[str]] = {}
    for text in texts:
        name = next((name for name, forms in SEXES.items() if text.casefold() in forms), "")
        groups.setdefault(name or text, []).append(text)
    return groups


def safe_name(text: str) -> str:
    """Return a text as the name of a class or a signal: no slashes, and no dot at the start."""
    return re.sub(r"[/\\]", "-", text).lstrip(".").strip()[:100] or "unnamed"
