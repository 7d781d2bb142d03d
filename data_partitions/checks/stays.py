"""Check tables over time: what the stays and their measurements are like."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from data_partitions.checks.finding import CheckReport, list_reasons
from data_partitions.checks.listing_findings import check_listing, find_duplicates
from data_partitions.checks.signal_findings import Measured, find_signal_smells
from data_partitions.checks.stay_findings import (
    check_cells,
    check_empty_windows,
    check_leakage,
    check_presence,
    check_sites,
    check_times,
    describe_sample,
    find_identical_signals,
)
from data_partitions.checks.stay_sample import find_equal_stays, measure_stays, sample_stays
from data_partitions.checks.survey_findings import tabulate_signals
from data_partitions.checks.text_findings import check_covariates, check_texts
from data_partitions.checks.window_cells import count_cells
from data_partitions.description.sections import Description
from data_partitions.preparation_log import PreparationLog, ProgressCallback
from data_partitions.sources.described.stays import list_stays


def check_stays(
    description: Description, source: Path, report: CheckReport, progress: ProgressCallback
) -> None:
    """Check the stays, and the measurements of a bounded number of them; DataError if there are none."""
    log = PreparationLog(progress=progress)
    stays = list_stays(description, source, log)
    recordings = stays.listing.recordings
    if log.rejected:
        report.add("warning", "source", list_reasons(log.rejected))
    report.extend(check_listing(stays.listing, "stay"))
    report.extend(check_texts(description, recordings))
    report.extend(check_covariates(description, recordings))
    sample = sample_stays(description, stays, progress)
    report.extend(describe_sample(sample, len(recordings)))
    report.extend(check_presence(description, sample))
    report.extend(check_times(description, sample))
    cells = count_cells(description, source, stays, sample)
    report.extend(check_empty_windows(description, cells))
    report.extend(check_leakage(description, stays, sample))
    by_signal: dict[str, Measured] = {}
    places: dict[str, Counter[tuple[str, float | None]]] = {}
    for name, signal in sample.signals.items():
        limits = description.signals[name].range
        measured = measure_stays(signal, sample.stays, limits)
        by_signal[name] = measured
        places[name] = Counter({(description.signals[name].unit, None): len(measured)})
    shares = cells.observed_shares(description.window.least_observed)
    observed = dict(zip(sample.signals, shares.tolist(), strict=True))
    total = len(sample.stays) - sample.unreadable
    report.tables.append(tabulate_signals(description, places, total, by_signal, observed, "stay"))
    report.extend(find_signal_smells(description, by_signal, "stay"))
    report.extend(find_identical_signals(sample))
    report.extend(check_cells(description, sample))
    report.extend(check_sites(sample, {listed.record: listed.site for listed in recordings}))
    patient_of = {listed.record: listed.patient for listed in recordings}
    if description.files.format != "meds":
        report.extend(find_duplicates(find_equal_stays(sample.signals, sample.stays), patient_of))
