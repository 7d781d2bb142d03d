"""The file of a study: what it may contain, and how it expands to scenarios."""

from collections import Counter

import pytest

from server_app.operations.run_config import default_settings
from server_app.study.design import Scenario, Study, load_study, read_study
from server_app.study.errors import StudyError
from server_app.study.federations import federation_name
from server_app.study.preset_files import preset_summaries
from tests.helpers.fake_runs import STUDY


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"method": ["mask"]}, "unknown key 'method' (did you mean 'methods'?)"),
        ({"methods": ["maks"]}, "unknown method 'maks' (did you mean 'mask'?)"),
        ({"methods": ["mask", "mask"]}, "methods has 'mask' twice"),
        ({"seeds": [0, -1]}, "seed -1 is not a whole number from 0"),
        ({"seeds": [2**63]}, "seed 9223372036854775808 is not a whole number from 0 to 9223372036854775807"),
        (
            {"partition": {"split": "iid", "seed": 2**63}},
            "key 'partition.0.seed': input should be less than 9223372036854775808",
        ),
        ({"seeds": []}, "key 'seeds': list should have at least 1 item"),
        ({"data": {"a": {"dataset": "ptbxl"}}}, "key 'data.a.dataset': input should be 'demo', 'ptb-xl'"),
        ({"data": {"a": {"dataset": "demo", "sorce": "x"}}}, "'sorce' of data.a (did you mean 'source'?)"),
        ({"data": {"a": {"source": "x"}}}, "data.a: expected one of dataset, file and federation, got none"),
        (
            {"data": {"a": {"dataset": "demo", "file": "x"}}},
            "data.a: expected one of dataset, file and federation, got dataset and file",
        ),
        ({"data": {"a": {"federation": "f", "source": "x"}}}, "data.a: a federation is prepared already"),
        ({"data": {"a": {"federation": "f", "local": "x"}}}, "data.a: local has no effect without file"),
        (
            {"data": {"a": {"federation": "f"}}, "partition": {"split": "iid", "sites": 2}},
            "partition has no effect on a federation",
        ),
        ({"partition": {"split": "iid", "site": 3}}, "'site' of partition.0 (did you mean 'sites'?)"),
        ({"missingness": {"point": [0.1]}}, "unknown key 'point' of missingness (did you mean 'points'?)"),
        ({"missingness": {"points": []}}, "missingness: points has no entry"),
        (
            {"missingness": {"points": [[0.1, 0.2]]}},
            "missingness: expected a value of points or a list of values, got [[0.1, 0.2]]",
        ),
        (
            {"missingness": {"points": {"a": 1}}},
            "expected a value of points or a list of values, got {'a': 1}",
        ),
        ({"missingness": {"points": [0.1, {"a": 1}]}}, "list of values, got [0.1, {'a': 1}]: write numbers"),
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
        ({"settings": {"seed": 1}}, "setting 'seed' follows from the study: write seeds"),
        (
            {"settings": {"missingness": {"points": 0.1}}},
            "setting 'missingness.points' follows from the study: write [missingness]",
        ),
        ({"settings": {"name": "x"}}, "setting 'name' cannot be set in a study"),
        ({"local-epochs": 2, "settings": {"task": {"steps": 3}}}, "'task.steps' follows from local-epochs"),
        ({"learning-rates": [0.1, 0.0]}, "key 'learning-rates.1': input should be greater than 0"),
        (
            {"methods": ["mask", "fednova"], "settings": {"secure-aggregation": True, "averaging": "mean"}},
            "method 'fednova' needs the update of each single site and cannot be combined",
        ),
        ({"metric": "dice"}, "unknown metric 'dice': choose from auroc, auprc, f1, accuracy, kappa"),
    ],
)
def test_an_invalid_file_is_refused_in_a_sentence(changes, reason):
    with pytest.raises(StudyError) as error:
        read_study(STUDY | changes)
    assert reason in str(error.value) and "\n" not in str(error.value)


def test_all_errors_are_reported_at_once():
    with pytest.raises(StudyError) as error:
        read_study(STUDY | {"methods": ["x"], "missingness": {"y": 1}, "settings": {"z": 1}})
    assert all(f"'{name}'" in str(error.value) for name in "xyz")


def test_a_missing_file_or_one_that_is_not_toml_is_refused(tmp_path):
    with pytest.raises(StudyError, match="there is no study nowhere.toml: name a TOML file, or one of the"):
        load_study("nowhere.toml")
    (tmp_path / "bad.toml").write_text("methods = [")
    with pytest.raises(StudyError, match="cannot read .*bad.toml: "):
        load_study(str(tmp_path / "bad.toml"))


def test_more_sites_than_there_are_are_refused(tmp_path):
    text = 'methods = ["mask"]\nseeds = [0]\nsettings.min-sites = 4\n'
    sites = '[data.waves]\ndataset = "demo"\n[partition]\nsplit = "iid"\nsites = 3\n'
    ready = '[data.waves]\nfederation = "f"\n'
    for name in ("a", "b", "c"):
        (tmp_path / "f" / name).mkdir(parents=True)
        (tmp_path / "f" / name / "manifest.json").touch()
    for data in (sites, ready):
        (tmp_path / "study.toml").write_text(text + data)
        with pytest.raises(StudyError, match="'min-sites': expected at most 3, the number of sites that"):
            load_study(str(tmp_path / "study.toml"))
    (tmp_path / "study.toml").write_text(text.replace("4", "3") + ready)
    assert load_study(str(tmp_path / "study.toml")).methods == ["mask"]


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


def test_the_label_of_test_windows_has_their_whole_missingness():
    missingness = {"points": 0.3, "gaps": 0.3, "gap-patches": 5}
    tests = ["", "points=0.8", "gaps=0 modality-by-window=0.25", "points=0 gaps=0"]
    scenarios = read_study(STUDY | {"missingness": missingness, "test-missingness": tests}).scenarios
    assert {s.missingness_label for s in scenarios} == {"points=0.3 gaps=0.3 gap-patches=5"}
    assert [s.missingness_in_test_label for s in scenarios] == [
        "points=0.3 gaps=0.3 gap-patches=5",
        "points=0.8 gaps=0.3 gap-patches=5",
        "points=0.3 modality-by-window=0.25",
        "none",
    ]


def test_missingness_that_a_study_does_not_name_is_off_and_other_settings_have_their_defaults():
    study = read_study(STUDY | {"settings": {"task": {"width": 64}}})
    settings = study.run_settings(study.scenarios[1], seed=7)
    differing = {k for k, v in settings.items() if v != default_settings()[k]}
    assert differing == {
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


def test_presets_are_valid_and_have_a_summary():
    summaries = preset_summaries()
    assert list(summaries) == ["honest", "paper", "quick"]
    for name, summary in summaries.items():
        study = load_study(name)
        assert "mask" in study.methods and "condi" in study.methods and len(summary) > 40
    paper = load_study("paper")
    assert {s.missingness for s in paper.scenarios} == {
        (("modality-by-window", a), ("points", b)) for a in (0.2, 0.8) for b in (0.2, 0.8)
    }


def test_a_federation_depends_on_the_seed_only_if_its_partition_is_random():
    def names(**partition):
        study = read_study(STUDY | {"partition": partition})
        return {federation_name(study, study.scenarios[0], seed) for seed in (0, 1, 2)}

    assert len(names(split="natural")) == 1
    assert len(names(split="natural", modalities=9)) == 3
    assert len(names(split="dirichlet", sites=4)) == 3
    assert len(names(split="dirichlet", sites=4, seed=5)) == 1
    assert names(split="dirichlet", sites=4).isdisjoint(names(split="dirichlet", sites=4, alpha=0.1))


def test_missingness_that_hides_the_same_is_one_scenario():
    data = {"x": {"dataset": "demo"}}
    missingness = [
        {"points": [0, 0.5]},
        {"gaps": [0, 0.5], "gap-patches": 5},
        {"points": 0.5, "gaps": 0.0, "gap-patches": 3},
    ]
    scenarios = Study(methods=["mask"], seeds=[0], data=data, missingness=missingness).scenarios
    assert [s.missingness for s in scenarios] == [(), (("points", 0.5),), (("gaps", 0.5), ("gap-patches", 5))]


def test_labels_of_scenarios():
    study = read_study(STUDY | {"partition": {"split": "dirichlet", "sites": 32, "modalities": 8}})
    assert study.scenarios[0].label == "waves, dirichlet 0.5, 32 sites, 8 modalities, missingness points=0.2"
    assert isinstance(study.scenarios[0], Scenario)
