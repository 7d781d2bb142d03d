"""Methods with options in a study: each is a method of its own, in runs that can have it."""

from __future__ import annotations

import pytest

from server_app.study.design import read_study
from server_app.study.errors import StudyError
from server_app.study.labels import explain_labels, method_label
from server_app.study.variants import share_runs, split_variant
from tests.helpers.fake_runs import STUDY, FakeRuns, tiny_study

METHODS = ["mask", "fedprox", "fedprox mu=0.10"]


def test_each_variant_is_a_method_and_runs_where_its_method_is_once(tmp_path, monkeypatch):
    run = FakeRuns()
    cells = tiny_study(
        tmp_path, run, monkeypatch, methods=METHODS, seeds=[0], missingness={}
    ).run_missing_cells()
    assert [(s["method"], s["compare-with"], s["method-options"]) for s in run.started] == [
        ("mask", "fedprox", ""),
        ("fedprox", "", "fedprox.mu=0.1"),
    ]
    assert [cell.method for cell in cells] == ["mask", "fedprox", "fedprox mu=0.1"]
    assert len({cell.run for cell in cells}) == 2
    again = FakeRuns()
    more = [*METHODS, "fedprox mu=1"]
    cells = tiny_study(
        tmp_path, again, monkeypatch, methods=more, seeds=[0], missingness={}
    ).run_missing_cells()
    assert [s["method-options"] for s in again.started] == ["fedprox.mu=1"] and len(cells) == 4


@pytest.mark.parametrize(
    ("methods", "complaint"),
    [
        (["fedprox nu=1"], "method 'fedprox' has no option 'nu' (did you mean 'mu'?)"),
        (["mask", "fedprx mu=1"], "unknown method 'fedprx' (did you mean 'fedprox'?)"),
        (["fedprox mu"], "key 'methods': must be pairs such as 'first=0.1 second=0.2', each key once"),
        (["fedprox mu=0.1", "fedprox mu=0.10"], "methods has 'fedprox mu=0.1' twice"),
    ],
)
def test_an_impossible_variant_is_refused_in_a_sentence(methods, complaint):
    with pytest.raises(StudyError) as refused:
        read_study(STUDY | {"methods": methods})
    assert complaint in str(refused.value) and "\n" not in str(refused.value)


def test_variants_share_as_few_runs_as_they_can():
    rates = dict.fromkeys(["fedadam", "fedadam rate=1", "mask", "fedadam rate=2", "condi", "estimate"], 0.1)
    assert [list(run) for run in share_runs(rates)] == [
        ["fedadam", "mask", "condi", "estimate"],
        ["fedadam rate=1"],
        ["fedadam rate=2"],
    ]


def test_labels_have_the_options():
    assert split_variant("pepsy controls=8 selected=2") == ("pepsy", {"controls": 8, "selected": 2})
    assert method_label("fedprox mu=0.1") == "FedProx (mu=0.1)" and method_label("fedprox") == "FedProx"
    assert explain_labels(["fedprox mu=0.1"]) == "FedProx: zeros and mask, FedProx (fedprox)"
