"""The file of a study: what it may say, and how it expands to scenarios."""

from collections import Counter

import pytest

from server_app.operations.run_config import default_settings
from server_app.study.design import Scenario, Study, StudyError, load_study, presets, read_study
from server_app.study.federations import federation_name
from tests.helpers.fake_runs import STUDY


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"method": ["mask"]}, "unknown key 'method' (did you mean 'methods'?)"),
        ({"methods": ["maks"]}, "unknown method 'maks' (did you mean 'mask'?)"),
        ({"methods": ["mask", "mask"]}, "methods has 'mask' twice"),
        ({"seeds": [0, -1]}, "seed -1 is not a whole number from 0"),
        ({"seeds": []}, "key 'seeds': list should have at least 1 item"),
        ({"data": {"a": {"dataset": "ptbxl"}}}, "key 'data.a.dataset': input should be 'demo', 'ptb-xl'"),
        ({"data": {"a": {"dataset": "demo", "sorce": "x"}}}, "'sorce' of data.a (did you mean 'source'?)"),
        ({"partition": {"split": "iid", "site": 3}}, "'site' of partition.0 (did you mean 'sites'?)"),
        ({"missingness": {"point": [0.1]}}, "unknown key 'point' of missingness (did you mean 'points'?)"),
        ({"missingness": {"points": []}}, "missingness: points has no entry"),
        (
            {"missingness": {"points": [0.2, 1.2]}},
            "setting 'missingness.points': expected a share from 0 to 1, got 1.2",
        ),
        (
            {"test-missingness": ["points=2"]},
            "setting 'test-missingness': points: expected a share from 0 to 1, got 2",
        ),
        ({"settings": {"task": {"round": 1}}}, "unknown setting 'task.round' (did you mean 'task.rounds'?)"),
        ({"settings": {"task": {"rounds": 0}}}, "setting 'task.rounds': "),
        ({"settings": {"seed": 1}}, "setting 'seed' is the study's own: write seeds"),
        (
            {"settings": {"missingness": {"points": 0.1}}},
            "setting 'missingness.points' is the study's own: write [missingness]",
        ),
        ({"settings": {"name": "x"}}, "setting 'name' cannot be set in a study"),
        ({"local-epochs": 2, "settings": {"task": {"steps": 3}}}, "'task.steps' follows from local-epochs"),
        ({"learning-rates": [0.1, 0.0]}, "key 'learning-rates.1': input should be greater than 0"),
        ({"metric": "loss"}, "unknown metric 'loss'"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_in_a_sentence(changes, why):
    with pytest.raises(StudyError) as refused:
        read_study(STUDY | changes)
    assert why in str(refused.value) and "\n" not in str(refused.value)


def test_everything_that_is_wrong_is_named_at_once():
    with pytest.raises(StudyError) as refused:
        read_study(STUDY | {"methods": ["x"], "missingness": {"y": 1}, "settings": {"z": 1}})
    assert all(f"'{name}'" in str(refused.value) for name in "xyz")


def test_a_file_that_is_not_there_or_not_toml(tmp_path):
    with pytest.raises(
        StudyError, match="there is no study at nowhere.toml: give a TOML file, or one of the"
    ):
        load_study("nowhere.toml")
    (tmp_path / "bad.toml").write_text("methods = [")
    with pytest.raises(StudyError, match="cannot read .*bad.toml: "):
        load_study(str(tmp_path / "bad.toml"))


def test_the_grid_is_all_combinations():
    table = STUDY | {
        "data": {"a": {"dataset": "demo"}, "b": {"dataset": "demo"}},
        "partition": [{"split": "natural"}, {"split": "dirichlet", "sites": 3, "alpha": 0.1}],
        "missingness": [{"points": [0.1, 0.2, 0.3], "modality-by-window": [0.0, 0.5]}, {"gaps": 0.4}, {}],
        "test-missingness": ["", "points=0.9"],
    }
    scenarios = read_study(table).scenarios
    assert len(scenarios) == len(set(scenarios)) == 2 * 2 * (3 * 2 + 1 + 1) * 2
    assert Counter(s.missingness_label for s in scenarios)["points=0.3 modality-by-window=0.5"] == 8
    assert Counter(s.missingness_label for s in scenarios)["none"] == 8


def test_what_test_windows_lack_is_told_whole():
    missingness = {"points": 0.3, "gaps": 0.3, "gap-patches": 5}
    tests = ["", "points=0.8", "gaps=0 modality-by-window=0.25", "points=0 gaps=0"]
    scenarios = read_study(STUDY | {"missingness": missingness, "test-missingness": tests}).scenarios
    assert {s.missingness_label for s in scenarios} == {"points=0.3 gaps=0.3 gap-patches=5"}
    assert [s.tested_label for s in scenarios] == [
        "points=0.3 gaps=0.3 gap-patches=5",
        "points=0.8 gaps=0.3 gap-patches=5",
        "points=0.3 modality-by-window=0.25",
        "none",
    ]


def test_shares_that_a_study_does_not_name_are_nothing_and_the_rest_as_in_a_run():
    study = read_study(STUDY | {"settings": {"task": {"width": 64}}})
    settings = study.run_settings(study.scenarios[1], seed=7)
    changed = {k for k, v in settings.items() if v != default_settings()[k]}
    assert changed == {
        "missingness.points",
        "missingness.gaps",
        "missingness.modality-by-window",
        "seed",
        "task.width",
    }
    assert (
        settings["missingness.points"] == 0.8
        and settings["missingness.gaps"] == 0.0
        and settings["seed"] == 7
    )


def test_presets_are_valid_and_say_what_they_are():
    assert list(presets()) == ["honest", "paper", "quick"]
    for name in presets():
        study, _ = load_study(name)
        assert "mask" in study.methods and "condi" in study.methods and len(presets()[name]) > 40
    paper, _ = load_study("paper")
    assert {s.missingness for s in paper.scenarios} == {
        (("modality-by-window", a), ("points", b)) for a in (0.2, 0.8) for b in (0.2, 0.8)
    }


def test_a_federation_is_drawn_anew_by_seed_where_something_is_random():
    def names(**partition):
        study = read_study(STUDY | {"partition": partition})
        return {federation_name(study, study.scenarios[0], seed) for seed in (0, 1, 2)}

    assert len(names(split="natural")) == 1
    assert len(names(split="natural", modalities=9)) == 3
    assert len(names(split="dirichlet", sites=4)) == 3
    assert len(names(split="dirichlet", sites=4, seed=5)) == 1
    assert names(split="dirichlet", sites=4).isdisjoint(names(split="dirichlet", sites=4, alpha=0.1))


def test_holes_that_lose_the_same_are_one_scenario():
    data = {"x": {"dataset": "demo"}}
    missingness = [
        {"points": [0, 0.5]},
        {"gaps": [0, 0.5], "gap-patches": 5},
        {"points": 0.5, "gaps": 0.0, "gap-patches": 3},
    ]
    found = Study(methods=["mask"], seeds=[0], data=data, missingness=missingness).scenarios
    assert [s.missingness for s in found] == [(), (("points", 0.5),), (("gaps", 0.5), ("gap-patches", 5))]


def test_scenarios_say_what_they_are():
    study = read_study(STUDY | {"partition": {"split": "dirichlet", "sites": 32, "modalities": 8}})
    assert study.scenarios[0].label == "waves, dirichlet 0.5, 32 sites, 8 modalities, missingness points=0.2"
    assert isinstance(study.scenarios[0], Scenario)
