"""Kinds of task."""

import numpy as np
import pytest
from pydantic import ValidationError

from condi_core.task.kind import MULTI_LABEL, SINGLE_LABEL, TASK_KINDS
from tests.helpers.toy import schema


def test_a_schema_has_the_kind_that_its_task_names():
    for name, kind in TASK_KINDS.items():
        assert schema(task=name).task_kind is kind


def test_a_schema_of_an_unknown_task_is_refused():
    with pytest.raises(ValidationError, match="expected one of multi-label, single-label, got 'ranking'"):
        schema(task="ranking")


@pytest.mark.parametrize("kind", [MULTI_LABEL, SINGLE_LABEL], ids=lambda kind: kind.name)
def test_labels_are_counted_and_grouped_by_label(kind):
    labels = np.eye(3)[[0, 2, 2, 1]]
    assert kind.label_counts(labels).tolist() == [1, 1, 2]
    assert [group.sum() for group in kind.label_groups(labels)] == [1, 1, 2, 3, 3, 2]
