"""Results of few test patients, and of labels that few windows have, are marked wherever they are shown."""

import pytest

from server_app.artifacts.run_record import read_run
from server_app.report import small_groups
from server_app.report.page import write_report
from server_app.report.small_groups import OF_LABELS, OF_SITES, mark_label
from tests.helpers.finished_runs import Page

BY_SITE = "Classification of the test windows of each site"
BY_LABEL = ("Results of each label", "Operating points on test windows")


def names(page, caption):
    return [row[0][0] for row in page.tables[caption][1:]]


@pytest.mark.parametrize(("min_patients", "is_marked"), [(6, True), (1, False)])
def test_sites_and_labels_with_few_patients_are_marked(run, monkeypatch, min_patients, is_marked):
    monkeypatch.setattr(small_groups, "MIN_PATIENTS", min_patients)
    page = Page(write_report(run, limit=0.0).read_text())
    of_imputation = [c for c in page.tables if c.startswith("Imputation RMSE on the test windows of each")]
    assert of_imputation
    for caption in (BY_SITE, *of_imputation):
        assert len(names(page, caption)) == 3
        assert all(name.endswith("†") == is_marked for name in names(page, caption)), caption
    assert (OF_SITES in page.text) == is_marked


@pytest.mark.parametrize("few", [1, 10**6])
def test_a_label_is_marked_when_few_windows_have_or_lack_it(run, monkeypatch, few):
    monkeypatch.setattr(small_groups, "MIN_PATIENTS", few)
    page = Page(write_report(run, limit=0.0).read_text())
    for caption in BY_LABEL:
        assert names(page, caption)
        assert all(name.endswith("†") == (few > 1) for name in names(page, caption))
    assert (OF_LABELS in page.text) == (few > 1)


def test_windows_without_a_label_count_as_those_with_it(run, monkeypatch):
    ((_, sums),) = read_run(run).validation_sums["task-condi"].items()
    positives, negatives = (part.sum() for part in small_groups.histograms(sums, 1))
    fewest = min(positives, negatives)
    monkeypatch.setattr(small_groups, "MIN_PATIENTS", fewest)
    assert mark_label("death", sums, 1) == "death"
    monkeypatch.setattr(small_groups, "MIN_PATIENTS", fewest + 1)
    assert mark_label("death", sums, 1) == "death †"
