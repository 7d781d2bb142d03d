"""Check a description against files: `condi dataset check dataset.toml --source FOLDER`."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_partitions.checks.finding import CheckReport, Finding, describe_error, list_reasons
from data_partitions.checks.guess.folder import sample_evenly
from data_partitions.checks.lead_findings import find_lead_smells
from data_partitions.checks.listing_findings import check_listing, find_duplicates
from data_partitions.checks.recording_sample import MAX_RECORDINGS, sample_recordings
from data_partitions.checks.signal_findings import (
    Measured,
    find_opposite_signals,
    find_signal_smells,
    find_unscaled,
)
from data_partitions.checks.stays import check_stays
from data_partitions.checks.survey import RecordingFile, SurveyedFile, survey_files
from data_partitions.checks.survey_findings import check_survey, tabulate_signals
from data_partitions.checks.text_findings import check_annotations, check_covariates, check_texts
from data_partitions.checks.window_findings import (
    check_windows,
    describe_tensor,
    describe_time,
    tabulate_windows,
)
from data_partitions.description.sections import Description
from data_partitions.duplicates import find_equal_files
from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog, ProgressCallback
from data_partitions.sentences import count_noun
from data_partitions.sources.described.labels import LabelRule
from data_partitions.sources.described.listing import Listing, list_recordings
from data_partitions.sources.described.reader import DescribedDataset
from data_partitions.sources.described.stays import is_over_time


def check_dataset(description: Description, source: Path, progress: ProgressCallback) -> CheckReport:
    """Check the files of a source against a description: all headers, and samples of some of them.

    Problems of the files are findings, not exceptions.
    """
    report = CheckReport()
    report.extend([describe_tensor(description)])
    try:
        if is_over_time(description):
            check_stays(description, source, report, progress)
        else:
            check_recordings(description, source, report, progress)
    except DataError as error:
        report.extend([describe_error(error)])
    if not report.has_errors:
        check_preparation(description, source, report, progress)
    report.findings = [_locate(finding, description) for finding in report.findings]
    return report


def _locate(finding: Finding, description: Description) -> Finding:
    """Add the line of the description to an error about one of its settings."""
    place = description.place(finding.subject)
    if finding.level != "error" or finding.subject == "source" or not place:
        return finding
    return finding._replace(sentence=f"{finding.sentence} ({place})")


def write_command(description: Description, file: Path, source: Path, local: Path | None) -> str:
    """Return the command that prepares the files, as it would be typed."""
    words = ["condi", "prepare", str(file), "--source", str(source)]
    words += ["--local", str(local)] if local else []
    words += ["--split", "column"] if description.table.site else ["--site", "NAME"]
    words += ["--out", "FOLDER"]
    return " ".join(word if word in ("NAME", "FOLDER") else shlex.quote(word) for word in words)


def check_recordings(
    description: Description, source: Path, report: CheckReport, progress: ProgressCallback
) -> None:
    """Check the table, the headers of all files, and samples of some; DataError if there are none."""
    listing = list_recordings(description, source)
    report.extend(check_listing(listing, "file"))
    report.extend(check_texts(description, listing.recordings))
    report.extend(check_covariates(description, listing.recordings))
    report.extend(check_annotations(description, source, listing.recordings))
    record_of = {
        RecordingFile(listed.file, listed.part): listed.record
        for listed in listing.recordings
        if listed.file is not None
    }
    files = survey_files(list(record_of), description, progress)
    report.extend(check_survey(description, files))
    usable = [file for file in files if not file.error]
    if not usable:
        return
    report.extend(_find_equal_files(usable, listing, record_of))
    chosen = sample_evenly(usable, MAX_RECORDINGS)
    samples = sample_recordings([file.file for file in chosen], description, progress)
    errors = {sample.file: sample.error for sample in samples if sample.error}
    if errors:
        sentence = f"samples of {count_noun(len(errors), 'file')} cannot be read: "
        report.add("warning", "source", sentence + list_reasons(list(errors.values())))
    samples = [sample for sample in samples if not sample.error]
    usable = [file for file in usable if file.file not in errors]
    if len(chosen) < len(usable):
        sentence = f"headers of all {len(usable)} files were read, and samples of {len(chosen)} of them"
        report.add("fact", "files", sentence)
    by_signal: dict[str, Measured] = {
        name: [(sample.file.name, sample.signals[name]) for sample in samples if name in sample.signals]
        for name in description.signals
    }
    observed = {
        name: sum(s.observed for _, s in measured) / max(sum(s.samples for _, s in measured), 1)
        for name, measured in by_signal.items()
    }
    places = _count_places(usable)
    report.tables.append(tabulate_signals(description, places, len(usable), by_signal, observed, "file"))
    if unscaled := find_unscaled(description, by_signal):
        report.extend([unscaled])
    else:
        report.extend(find_signal_smells(description, by_signal, "file"))
    if samples:
        correlations = np.stack([sample.correlations for sample in samples])
        names = [sample.file.name for sample in samples]
        report.extend(find_opposite_signals(description, names, correlations, by_signal))
        report.extend(find_lead_smells(samples))


def _count_places(files: Sequence[SurveyedFile]) -> dict[str, Counter[tuple[str, float | None]]]:
    places: dict[str, Counter[tuple[str, float | None]]] = defaultdict(Counter)
    for file in files:
        for name, place in file.places.items():
            places[name][place.unit, place.rate] += 1
    return places


def _find_equal_files(
    files: Sequence[SurveyedFile], listing: Listing, record_of: dict[RecordingFile, str]
) -> list[Finding]:
    signal_files = [file.signal_file for file in files]
    if None in signal_files or len(set(signal_files)) < len(files):  # several recordings in one file
        return []
    groups = find_equal_files([path for path in signal_files if path is not None])
    patient_of = {listed.record: listed.patient for listed in listing.recordings}
    names = [[record_of[files[i].file] for i in group] for group in groups]
    return list(find_duplicates(names, patient_of))


def check_preparation(
    description: Description, source: Path, report: CheckReport, progress: ProgressCallback
) -> None:
    """Cut the recordings into windows as the preparation does, and judge what becomes of them."""
    log = PreparationLog(progress=progress)
    try:
        index = DescribedDataset(description).index(source, log)
    except DataError as error:
        report.extend([describe_error(error)])
        return
    labels, kind = LabelRule(description).names, description.task.kind
    report.tables.append(tabulate_windows(index, labels, kind))
    report.extend(check_windows(index, labels, kind))
    report.extend([describe_time(description, index)])
    said = " ".join(finding.sentence for finding in report.findings)
    for sentence in log.counted():
        if sentence.partition(": ")[2] not in said or ": " not in sentence:  # the headers say conversions
            report.add("fact", "windows", sentence.rstrip("."))
    rejected = [sentence for sentence in log.rejected if sentence.rpartition("/")[2] not in said]
    if rejected:
        report.add("warning", "windows", f"left out: {list_reasons(rejected)}")
