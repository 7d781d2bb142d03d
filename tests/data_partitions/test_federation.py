import json

import numpy as np
import pytest

from data_partitions import DataError
from data_partitions.description.reading import read_description
from data_partitions.federation import (
    check_patients_apart,
    check_same_schema,
    open_federation,
    sort_site_names,
    write_federation,
)
from data_partitions.partition import write_partition
from data_partitions.sources.described.schema import manifest_fields
from tests.helpers.described import write_description
from tests.helpers.small_partition import index_of, manifest_of, windows_of

HOW = {"dataset": "sleep", "split": "iid", "seed": 3, "made_by": "a test"}


def make_sites(*names: str):
    for name in names:
        yield manifest_of(name), index_of(prefix=name), windows_of()


@pytest.fixture
def federation(tmp_path):
    return write_federation(tmp_path / "all", make_sites("b", "a"), **HOW)


def test_a_written_federation_is_opened(federation):
    opened = open_federation(federation.path)
    assert opened == federation
    assert opened.sites == ("b", "a"), "the order of writing"
    assert opened.path == federation.path
    assert opened.open_site(1).manifest.site == opened.open_site("a").manifest.site == "a"
    assert opened.open_site(0).record_ids[0] == "b000"
    np.testing.assert_array_equal(opened.open_site(0).read([2])[0], opened.open_site(1).read([2])[0])
    assert json.loads((federation.path / "federation.json").read_text()) == {
        "format": 1,
        "sites": ["b", "a"],
        **HOW,
    }


@pytest.mark.parametrize(("site", "sentence"), [("c", 'has no site "c": it has b, a'), (2, "has no site 2")])
def test_an_unknown_site_is_refused(federation, site, sentence):
    with pytest.raises(DataError, match=sentence):
        federation.open_site(site)


def test_directories_that_are_no_federation_are_refused(tmp_path, federation):
    for path, sentence in [
        (tmp_path / "nowhere", "there is no federation at .*nowhere: make one with `condi prepare`"),
        (tmp_path, "has no federation.json and no partitions: give a directory made by .* with --split, or"),
        (federation.path / "a", "is one site, not a federation: give the directory that contains it"),
    ]:
        with pytest.raises(DataError, match=sentence):
            open_federation(path)


def test_partitions_that_lie_side_by_side_are_a_federation(tmp_path):
    for name in ("hospital-10", "hospital-2"):
        write_partition(tmp_path / name, manifest_of(name), index_of(prefix=name), windows_of())
    (tmp_path / "runs").mkdir()
    opened = open_federation(tmp_path)
    assert opened.sites == ("hospital-2", "hospital-10") and opened.info.dataset == "sleep"
    assert opened.open_site("hospital-2").manifest.site == "hospital-2"
    other = manifest_of("x", labels=("REM", "W"))
    write_partition(tmp_path / "x", other, index_of(prefix="x"), windows_of())
    with pytest.raises(DataError, match="x: it does not fit: its labels are REM, W, expected W, REM"):
        open_federation(tmp_path)
    (tmp_path / "x").rename(tmp_path / ".x")
    (tmp_path / "hospital-2").rename(tmp_path / "copy")
    sentence = "copy holds the partition of hospital-2: name the folder hospital-2, or move it out"
    with pytest.raises(DataError, match=sentence):
        open_federation(tmp_path)


def test_a_damaged_federation_is_refused(federation):
    (federation.path / "a").rename(federation.path / "c")
    sentence = "has no folder a, which its federation.json lists: name it so again \\(it has c\\), or prepare"
    with pytest.raises(DataError, match=sentence):
        open_federation(federation.path)
    file = federation.path / "federation.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "sites": ["../all/b"]}))
    with pytest.raises(DataError, match='federation.json: key "sites.0" is wrong'):
        open_federation(federation.path)


def failing_second_site():
    yield from make_sites("a")
    yield manifest_of("b"), index_of(prefix="b"), windows_of(3)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (failing_second_site(), "only 3 windows came"),
        (make_sites("a", "a"), "two sites are called a"),
        (
            [(manifest_of(site), index_of(), windows_of()) for site in "ab"],
            "sites a and b share 6 patient",
        ),
        (
            [
                (manifest_of(s, labels=o), index_of(prefix=s), windows_of())
                for s, o in zip("ab", (("W", "REM"), ("REM", "W")), strict=True)
            ],
            "site b: it does not fit: its labels are REM, W, expected W, REM",
        ),
    ],
)
def test_a_failure_leaves_no_files(tmp_path, parts, sentence):
    with pytest.raises(DataError, match=sentence):
        write_federation(tmp_path / "all", parts, **HOW)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_federation_is_untouched(federation):
    before = federation.open_site("a").fingerprint()
    with pytest.raises(DataError, match="exists already"):
        write_federation(federation.path, make_sites("x"), **HOW)
    assert open_federation(federation.path).open_site("a").fingerprint() == before
    assert [p.name for p in federation.path.parent.iterdir()] == ["all"]


def change_modality(manifest, position, **changes):
    modalities = [m.model_dump() for m in manifest.modalities]
    modalities[position].update(changes)
    return manifest.model_copy(
        update={"modalities": tuple(type(manifest.modalities[0])(**m) for m in modalities)}
    )


def test_sites_of_one_schema_may_have_different_modalities_and_windows():
    manifests = [manifest_of("a"), manifest_of("b", version="2", license="other", counts=(9, 9, 9))]
    assert check_same_schema([*manifests, change_modality(manifest_of("c"), 1, present=True)]) == {}
    assert check_same_schema([]) == {}


@pytest.mark.parametrize(
    ("different", "difference"),
    [
        (manifest_of("x", dataset="icu"), "its dataset is icu, expected sleep"),
        (
            change_modality(manifest_of("x"), 1, name="EMG"),
            "its modalities are EEG Fpz-Cz, EMG, Resp, expected",
        ),
        (change_modality(manifest_of("x"), 0, unit="mV"), "EEG Fpz-Cz has unit mV, expected uV"),
        (
            change_modality(manifest_of("x"), 2, samples_per_patch=2),
            "Resp has samples per patch 2, expected 1",
        ),
        (manifest_of("x", patches=30), "its patches is 30, expected 3"),
        (manifest_of("x", labels=("W", "N1", "REM")), "its labels are W, N1, REM, expected W, REM"),
        (manifest_of("x", task="multi-label"), "its task is multi-label, expected single-label"),
        (
            manifest_of("x", description="a = 1"),
            "it was prepared with a dataset.toml, the others without (as",
        ),
    ],
)
def test_the_site_that_does_not_fit_is_named_even_when_it_comes_first(different, difference):
    problems = check_same_schema([different, manifest_of("a"), manifest_of("b")])
    assert list(problems) == ["x"]
    assert problems["x"].startswith(f"it does not fit: {difference}"), problems
    assert problems["x"].endswith("(as at 2 sites, such as a)")


def test_a_site_with_another_description_is_named_with_the_setting_that_differs(tmp_path):
    other, most = (
        manifest_fields(read_description(write_description(tmp_path, ("range = [-10, 10]", f"range = {r}"))))
        for r in ([-5, 5], [-10, 10])
    )
    lines = {"description_lines": other["description_lines"]}
    manifest = change_modality(manifest_of("x", description=other["description"], **lines), 1, name="EMG")
    problems = check_same_schema([manifest, *(manifest_of(n, description=most["description"]) for n in "ab")])
    # Line 21 of the file is the range of CC5, and CM5, of line 23, is like it.
    assert problems == {
        "x": "it does not fit: its dataset.toml differs in line 21, `signals.CC5.range`: [-5, 5], expected "
        "[-10, 10]; line 23, `signals.CM5.range`: [-5, 5], expected [-10, 10] (as at 2 sites, such as a)"
    }


def test_patients_in_two_sites_are_found():
    assert check_patients_apart({"a": {"1", "2"}, "b": {"3"}}) == []
    problems = check_patients_apart({"a": {"1", "2"}, "b": {"3"}, "c": {"2"}})
    assert problems == ["sites a and c share 1 patient, such as 2: give each to one site"]


def test_site_names_are_sorted_by_their_numbers():
    names = ["rest", "hospital-10", "hospital-9", "hospital-0"]
    assert sort_site_names(names) == ["hospital-0", "hospital-9", "hospital-10", "rest"]
