"""Annotations in WFDB, csv, xml and EDF+ files."""

from datetime import datetime

import edfio
import numpy as np
import pytest
import wfdb

from data_partitions.checks.text_findings import check_annotations
from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.recordings import open_recording
from data_partitions.sources.described.annotations import Annotation, AnnotationReader
from data_partitions.sources.described.listing import ListedRecording, list_recordings
from data_partitions.sources.described.reader import DescribedDataset
from data_partitions.sources.described.recording_times import find_time
from tests.helpers.descriptions import describe
from tests.helpers.wfdb_files import draw_samples, write_record

SECONDS = 60
XML = """<?xml version="1.0"?>{doctype}
<PSGAnnotation><ScoredEvents>
<ScoredEvent><EventConcept>Recording Start Time</EventConcept><Start>0</Start>
<Duration>60</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Stage 2 sleep|2</EventConcept>
<Start>30.0</Start><Duration>30.0</Duration></ScoredEvent>
<ScoredEvent><EventConcept>Wake|0</EventConcept><Start>0</Start><Duration>{duration}</Duration></ScoredEvent>
</ScoredEvents></PSGAnnotation>
"""


@pytest.fixture
def source(tmp_path):
    """Two records of a minute that start at noon."""
    for name in ("r1", "r2"):
        first = f"{name} 3 100 6000 12:00:00 01/02/2026"
        write_record(tmp_path, name, draw_samples(SECONDS), first=first)
    return tmp_path


def read(source, **section):
    """Return the annotations of the first record, and of the second."""
    description = describe(annotations=section)
    reader = AnnotationReader(description, source)
    listing = list_recordings(description, source)
    return [reader.read(listed, open_recording(listed.file)) for listed in listing.recordings]


def test_beats_are_events_and_a_rhythm_lasts_until_the_next(source):
    for name in ("r1", "r2"):
        wfdb.wrann(
            name,
            "atr",
            np.array([10, 100, 250, 3000, 4000]),
            ["+", "N", "V", "+", "N"],
            aux_note=["(N\x00", "", "", "(AFIB", ""],
            fs=100,
            write_dir=str(source),
        )
    expected = [
        Annotation(0.1, 29.9, "(N"),
        Annotation(1.0, 0.0, "N"),
        Annotation(2.5, 0.0, "V"),
        Annotation(30.0, 30.0, "(AFIB"),
        Annotation(40.0, 0.0, "N"),
    ]
    assert read(source, **{"from": "wfdb", "path": "atr"})[0] == expected
    without = read(source, **{"from": "wfdb", "path": "{record}.atr", "drop": ["N", "(N"]})[1]
    assert [a.text for a in without] == ["V", "(AFIB"]


@pytest.mark.parametrize(
    ("time_unit", "onsets", "duration"),
    [("s", ("30", "0"), "30"), ("min", ("0.5", "0"), "0.5"),
     ("datetime", ("2026-02-01 12:00:30", "2026-02-01T12:00:00"), "30")],
)  # fmt: skip
def test_csv_files_have_elapsed_times_or_time_stamps(source, time_unit, onsets, duration):
    for name in ("r1", "r2"):
        rows = [f"{onset},{duration},{text}" for onset, text in zip(onsets, "NW", strict=True)]
        (source / f"{name}.csv").write_text("start,duration,stage\n" + "\n".join(rows) + "\n")
    section = {
        "from": "csv",
        "path": "{record}.csv",
        "onset": "start",
        "text": "stage",
        "time_unit": time_unit,
    }
    assert read(source, **section)[0] == [Annotation(0, 30, "W"), Annotation(30, 30, "N")]


def test_time_stamps_with_a_zone_are_refused_where_the_start_has_none(source):
    for name in ("r1", "r2"):
        (source / f"{name}.csv").write_text("onset,text\n2026-02-01T12:00:30+01:00,a\n")
    sentence = "times of .*r1.csv have a time zone and the start in .*r1.hea has none, and so they cannot be"
    with pytest.raises(DataError, match=sentence):
        read(source, **{"from": "csv", "path": "{record}.csv", "time_unit": "datetime"})


@pytest.mark.parametrize("start", ["", "begin"])
def test_times_of_the_table_with_a_zone_are_refused_where_the_start_has_none(source, start):
    table = {"path": "t.csv", "record": "record", "start": start}
    description = describe(table=table, window={"length": "10 s", "start": "seen"})
    row = {"seen": "2026-02-01 12:00:30", "begin": "2026-02-01 12:00:10"}
    listed = ListedRecording("r1", "p", "", source / "r1.hea", row)
    recording = open_recording(listed.file)
    assert find_time(description, "window.start", listed, recording) == (20 if start else 30)
    row["seen"] += "Z"
    with pytest.raises(DataError, match="times of seen have a time zone and the start in .* has none"):
        find_time(description, "window.start", listed, recording)


def test_one_csv_file_has_the_annotations_of_all_recordings(source):
    (source / "all.csv").write_text("record,onset,text\nr1,5,a\nr2,6,b\nr1,7,c\n")
    annotations = read(source, **{"from": "csv", "path": "all.csv"})
    assert annotations == [[Annotation(5, 0, "a"), Annotation(7, 0, "c")], [Annotation(6, 0, "b")]]


@pytest.mark.parametrize(("record", "ids"), [("1", "1.0"), ("2.0", "2"), ("007", "007.0"), ("a.0", "a.0")])
def test_ids_of_recordings_match_however_whole_numbers_are_written(tmp_path, record, ids):
    write_record(tmp_path, "r", draw_samples(SECONDS))
    (tmp_path / "all.csv").write_text(f"record,onset,text\n{ids},5,a\n")
    reader = AnnotationReader(describe(annotations={"from": "csv", "path": "all.csv"}), tmp_path)
    listed = ListedRecording(record, "p", "", tmp_path / "r.hea", {"record": record})
    assert reader.read(listed, open_recording(listed.file)) == [Annotation(5, 0, "a")]
    assert reader.describe_ids([record]) == []


def test_ids_without_a_recording_and_recordings_without_rows_are_noted(source):
    write_record(source, "r3", draw_samples(SECONDS, seed=3))
    (source / "all.csv").write_text("record,onset,text\nr1,5,a\nr2,5,a\nr4,6,b\n7,7,a\n")
    task = {"kind": "binary", "of": "window", "event": ["a"]}
    description = describe(annotations={"from": "csv", "path": "all.csv"}, task=task)
    log = PreparationLog()
    index = DescribedDataset(description).index(source, log)
    assert set(index["recording_id"]) == {"r1", "r2", "r3"}
    assert 'Recordings without a row of annotations (1): "r3".' in log.notes
    assert 'Rows of annotations that are of no recording (2 ids): "7", "r4".' in log.notes
    findings = [finding.sentence for finding in check_annotations(description, source, recordings(source))]
    assert 'Recordings without a row of annotations (1): "r3"' in findings
    (source / "all.csv").write_text("record,onset,text\nR1,5,a\n")
    sentence = 'no recording has a row in .*all.csv: recordings are "r1", "r2", "r3", and rows are of "R1"'
    with pytest.raises(DataError, match=sentence):
        DescribedDataset(description).index(source, log)
    findings = [finding.level for finding in check_annotations(description, source, recordings(source))]
    assert findings == ["error"]


def recordings(source):
    return list_recordings(describe(), source).recordings


def test_xml_of_the_sleep_research_resource_has_scored_events(source):
    for name in ("r1", "r2"):
        (source / f"{name}-nsrr.xml").write_text(XML.format(doctype="", duration=30))
    section = {"from": "nsrr-xml", "path": "{record}-nsrr.xml", "drop": ["Recording Start Time"]}
    assert read(source, **section)[0] == [Annotation(0, 30, "Wake|0"), Annotation(30, 30, "Stage 2 sleep|2")]


@pytest.mark.parametrize(
    ("name", "encoding"), [("n1.edf", "utf-8"), ("n1.EDF", "utf-8"), ("n1.edf", "latin-1")]
)
def test_annotations_of_edf_files_are_in_the_file_itself(tmp_path, name, encoding):
    signal = edfio.EdfSignal(np.zeros(6000), 100, label="I", physical_dimension="mV", physical_range=(-5, 5))
    annotations = [edfio.EdfAnnotation(10, 20, "apnée"), edfio.EdfAnnotation(40.5, None, "arousal")]
    recording = edfio.Recording(startdate=datetime(2026, 2, 1).date())
    edfio.Edf([signal], annotations=annotations, recording=recording).write(tmp_path / "n1.edf")
    content = (tmp_path / "n1.edf").read_bytes()
    written = content.replace("é".encode(), "é".encode(encoding).ljust(2))
    (tmp_path / "n1.edf").unlink()
    (tmp_path / name).write_bytes(written)
    description = describe(files={"format": "edf", "path": "*"}, annotations={"from": "edf+"})
    (listed,) = list_recordings(description, tmp_path).recordings
    first, second = AnnotationReader(description, tmp_path).read(listed, open_recording(listed.file))
    assert (first.onset, first.duration, first.text.replace(" ", "")) == (10, 20, "apnée")
    assert second == Annotation(40.5, 0, "arousal")


BOMB = '<!DOCTYPE a [<!ENTITY b "x"><!ENTITY c "&b;&b;&b;&b;">]>'


@pytest.mark.parametrize(
    ("kind", "content", "sentence"),
    [
        ("wfdb", None, "recording r1 has 0 files of annotations, where one was expected: r1.ann"),
        ("wfdb", "odd", "is not a readable WFDB annotation file"),
        ("csv", "onset,tekst\n1,a\n", "has no column text: it has onset, tekst"),
        ("csv", "onset,text\nnoon,a\n", 'has onset "noon" and duration "", where times in s were expected'),
        ("csv", "onset,text\ninf,a\n", 'has onset "inf"'),
        ("nsrr-xml", "<a>", "is not a readable xml of scored events"),
        ("nsrr-xml", XML.format(doctype="", duration="long"), "could not convert string to float"),
        ("nsrr-xml", XML.format(doctype=BOMB, duration="&c;"), "EntitiesForbidden"),
        ("edf+", "0", "is not an EDF file"),
    ],
)
def test_what_is_not_understood_is_said_in_one_sentence(source, kind, content, sentence):
    suffix = {"edf+": "edf", "nsrr-xml": "xml"}.get(kind, "ann")
    if content is not None:
        for name in ("r1", "r2"):
            (source / f"{name}.{suffix}").write_text(content)
    with pytest.raises(DataError) as error:
        read(source, **{"from": kind, "path": f"{{record}}.{suffix}"})
    assert sentence in str(error.value) and "\n" not in str(error.value)
