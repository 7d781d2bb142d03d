"""Labels by the table and by annotations."""

from pathlib import Path

import numpy as np
import pytest

from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.described.annotated_labels import label_recording, label_windows
from data_partitions.sources.described.annotations import Annotation
from data_partitions.sources.described.label_texts import compare_texts, require_texts
from data_partitions.sources.described.labels import LabelRule
from data_partitions.sources.described.listing import ListedRecording
from tests.helpers.descriptions import describe

NAN = float("nan")
RHYTHMS = {"sinus": ("SR", "N"), "afib": ("AF",)}


def rule_of(**task):
    return LabelRule(describe(task=task))


def listed(*texts, column="label"):
    return [ListedRecording(str(i), str(i), "", Path(), {column: text}) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("task", "names", "text", "labels"),
    [
        ({"kind": "none"}, (), "1", []),
        ({"kind": "binary"}, ("event",), "1", [1]),
        ({"kind": "binary"}, ("event",), "1.0", [1]),
        ({"kind": "binary", "name": "died", "event": ["yes"]}, ("died",), "no", [0]),
        ({"kind": "binary"}, ("event",), "", [NAN]),
        ({"kind": "single-label", "classes": RHYTHMS}, ("sinus", "afib"), "N", [1, 0]),
        ({"kind": "ordinal", "classes": RHYTHMS}, ("sinus", "afib"), "AF", [0, 1]),
        ({"kind": "single-label", "classes": RHYTHMS}, ("sinus", "afib"), "", [NAN, NAN]),
        ({"kind": "multi-label", "classes": RHYTHMS, "separator": ";"}, ("sinus", "afib"), "N; AF", [1, 1]),
        ({"kind": "multi-label", "classes": RHYTHMS, "separator": ";"}, ("sinus", "afib"), "", [0, 0]),
        ({"kind": "regression", "name": "los", "unit": "d"}, ("los",), "2.5", [2.5]),
        ({"kind": "regression"}, ("event",), "", [NAN]),
    ],
)
def test_the_text_of_a_row_gives_the_labels(task, names, text, labels):
    column = {} if task["kind"] == "none" else {"column": "label"}
    rule = rule_of(**task, **column)
    assert rule.names == names
    np.testing.assert_array_equal(rule.label_row({"label": text}), np.array(labels, np.float32))


def test_multi_label_columns_have_an_event_each():
    rule = rule_of(kind="multi-label", columns={"MI": "mi", "CD": "cd"}, event=["yes"])
    assert rule.names == ("MI", "CD")
    assert rule.label_row({"mi": "yes", "cd": ""}).tolist() == [1, 0]
    assert rule.label_row({"mi": "no", "cd": "no"}).tolist() == [0, 0]
    assert np.isnan(rule.label_row({"mi": "", "cd": ""})).all()


def test_dropped_texts_exclude_and_numbers_must_be_numbers():
    assert rule_of(kind="binary", column="label", drop=["?"]).label_row({"label": "?"}) is None
    for text in ("long", "inf"):
        with pytest.raises(DataError, match=f'label is "{text}", where a number was expected'):
            rule_of(kind="regression", column="label").label_row({"label": text})


def test_a_misspelt_class_is_refused_with_the_nearest_word():
    rule = rule_of(kind="single-label", column="label", classes={"sinus": ["sinus rhythm"], "afib": ["AFIB"]})
    with pytest.raises(
        DataError,
        match='task.classes: 2 rows with "sinus rythm" in label, of no class: is it "sinus rhythm" of',
    ):
        require_texts(rule, listed("sinus rythm", "sinus rythm", "AFIB"), PreparationLog())
    log = PreparationLog()
    require_texts(rule, listed("AFIB", ""), log)
    assert log.notes == ['task.classes: no row has the class sinus ("sinus rhythm") in label.']


def test_an_event_that_is_spelt_differently_is_refused_and_an_absent_one_noted():
    rule = rule_of(kind="binary", column="label", event=["yes"])
    with pytest.raises(DataError, match='no row has "yes" in label: did you mean "Yes"'):
        require_texts(rule, listed("Yes", "No"), PreparationLog())
    log = PreparationLog()
    require_texts(rule, listed("0", "0"), log)
    assert log.notes == ['task.event: no row has "yes" in label: there are "0" (2).']


def test_each_text_of_no_class_is_an_error_and_absent_texts_are_not():
    classes = {"sinus": ["SR", "N"], "afib": ["AFIB", "AFL"], "pvc": ["PVC"], "block": ["LBBB"]}
    rule = rule_of(kind="single-label", column="label", classes=classes, drop=["noise"])
    counts = {"SR": 50, "AFIB": 20, "AFIBB": 3, "pvc": 2, "noise": 1, "?": 1, "": 4}
    hint = "Correct it, or add it to a class or to task.drop"
    assert [tuple(fault) for fault in compare_texts(rule, counts, "row")] == [
        (
            "error",
            "task.classes",
            f'3 rows with "AFIBB" in label, of no class: is it "AFIB" of class afib? {hint}',
        ),
        (
            "error",
            "task.classes",
            f'2 rows with "pvc" in label, of no class: is it "PVC" of class pvc? {hint}',
        ),
        ("error", "task.classes", '1 row with "?" in label, of no class: add it to a class or to task.drop'),
        ("fact", "task.classes.sinus", 'no row has "N" in label'),
        ("fact", "task.classes.afib", 'no row has "AFL" in label'),
        ("warning", "task.classes", 'no row has the class block ("LBBB") in label'),
    ]


def test_event_texts_that_no_row_has_are_named():
    rule = rule_of(kind="binary", column="label", event=["AFIB", "AFLL", "X"])
    assert [tuple(f)[::2] for f in compare_texts(rule, {"AFIB": 3, "AFL": 2, "SR": 9}, "row")] == [
        ("warning", 'no row has "AFLL" in label: did you mean "AFL"?'),
        ("fact", 'no row has "X" in label'),
    ]


def test_kinds_with_classes_need_them():
    with pytest.raises(DataError, match="needs its classes"):
        rule_of(kind="single-label", column="label")
    with pytest.raises(DataError, match='a label cannot be called "split"'):
        rule_of(kind="single-label", column="label", classes={"a": ["N"], "split": ["S"]})
    with pytest.raises(DataError, match='"N" stands for two classes'):
        rule_of(kind="ordinal", column="label", classes={"a": ["N"], "b": ["N"]})


def annotated(**task):
    return LabelRule(describe(task=task, annotations={"from": "wfdb", "path": "atr"}))


def test_a_window_has_the_event_that_begins_in_it_or_lasts_into_it():
    rule = annotated(kind="binary", event=["V", "(AF"])
    events = [
        Annotation(2, 0, "N"),
        Annotation(10, 0, "V"),
        Annotation(25, 10, "(AF"),
        Annotation(50, 0, "N"),
    ]
    labels = label_windows(rule, events, np.arange(0, 60, 10.0), 10.0)
    assert labels[:, 0].tolist() == [0, 1, 1, 1, 0, 0]
    assert label_recording(rule, events, 60.0).tolist() == [1]


def test_a_window_has_the_class_that_covers_most_of_it():
    rule = annotated(kind="single-label", classes=RHYTHMS, drop=["?"])
    states = [Annotation(0, 13, "N"), Annotation(13, 12, "AF"), Annotation(25, 100, "?")]
    labels = label_windows(rule, states, np.arange(0, 40, 10.0), 10.0)
    np.testing.assert_array_equal(labels, [[1, 0], [0, 1], [0, 1], [NAN, NAN]])
    with pytest.raises(
        DataError, match='"AFL", which no class has: correct it to "AF", or add it to a class'
    ):
        label_windows(rule, [Annotation(0, 10, "AFL")], np.zeros(1), 10.0)


def test_labels_of_many_annotations_equal_those_counted_one_by_one():
    rng = np.random.default_rng(0)
    rule = annotated(kind="multi-label", classes=RHYTHMS)
    events = sorted(
        Annotation(float(onset), float(duration), str(text))
        for onset, duration, text in zip(
            rng.uniform(-20, 1000, 300),
            rng.choice([0, 0, 5, 60], 300),
            rng.choice(["SR", "AF"], 300),
            strict=True,
        )
    )
    starts = np.arange(0, 1000, 7.0)
    expected = [
        [
            any(
                a.text == text and (start <= a.onset < start + 10 or a.onset < start < a.onset + a.duration)
                for a in events
            )
            for text in ("SR", "AF")
        ]
        for start in starts
    ]
    np.testing.assert_array_equal(label_windows(rule, events, starts, 10.0), expected)
