"""One of four sites sends what no data give: the others finish the run, with models of the same quality."""

import json
from functools import partial

import numpy as np
import pytest
from flwr.app import ConfigRecord
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client_app.app import app as client_app
from condi_core.config import RunConfig
from condi_core.serialization import unpack_arrays
from server_app.artifacts.site_info import SiteInfo
from server_app.errors import MAX_REASON_CHARS
from server_app.federation.records import to_record
from server_app.federation.replies import ReplyError
from server_app.federation.roster_collection import collect_roster
from server_app.federation.spectra import check_spectra
from server_app.federation.standardising_sums import combine_sums
from tests.helpers.local_grid import LocalGrid
from tests.helpers.replayed_app import ReplayedApp
from tests.helpers.run_fixtures import run_in_process
from tests.helpers.site_partition import write_site
from tests.helpers.tiny_federation import write_tiny

HOSTILE = "site-3"
ONE_MODEL = {"compare-with": "", "imputer.samples": 0}


@pytest.fixture(scope="module")
def four_sites(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("four") / "federation", sites=4)


@pytest.fixture(scope="module")
def honest_result(four_sites, tmp_path_factory, small_settings):
    """What a run of four honest sites results in."""
    places = {"federation": str(four_sites), "output": str(tmp_path_factory.mktemp("honest"))}
    directory, _ = run_in_process(small_settings(places | ONE_MODEL))
    return read_result(directory)


def read_result(directory):
    return json.loads((directory.path / "result.json").read_text())


def changing(action, change):
    """Make a tamper function that changes the arrays of the hostile site's replies to an action."""

    def tamper(request, reply):
        to = request.metadata
        if to.message_type == action and to.group_id == HOSTILE and not reply.has_error():
            base = unpack_arrays(request.content["arrays"])
            arrays = unpack_arrays(reply.content["arrays"])
            changed = {
                n: change(a.astype(np.float64), base[n]).astype(a.dtype)
                for n, a in arrays.items()
                if n in base
            }
            reply.content["arrays"] = to_record(arrays | changed)
        return reply

    return tamper


def add_skew(a, base):
    return a + np.arange(a.shape[0])[:, None, None, None]


ATTACKS = {
    "spectra of negative power": ("train.relation", lambda a, base: -4 * a, "negative power"),
    "spectra that are not Hermitian": ("train.relation", add_skew, "not Hermitian"),
    "spectra of large power": ("train.relation", lambda a, base: 1e4 * a, "variance beyond 100"),
    "constant weights of the imputer": ("train.imputer", lambda a, base: np.full_like(a, 1e6), None),
    "long updates of the imputer": ("train.imputer", lambda a, base: base + 1e3 * (a - base), None),
    "reversed updates of the task": ("train.task", lambda a, base: base - 20 * (a - base), None),
}  # fmt: skip


QUICK = ("spectra of negative power", "constant weights of the imputer")


@pytest.mark.parametrize(
    "attack", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ATTACKS]
)
def test_the_others_finish_the_run(four_sites, honest_result, run_local, attack):
    action, change, reason = ATTACKS[attack]
    directory, _ = run_local(four_sites, ONE_MODEL, changing(action, change))
    result = read_result(directory)
    for pattern, rows in result["imputation"].items():
        for row in ("estimate", "condi"):
            assert rows[row]["rmse"] < 1.3 * honest_result["imputation"][pattern][row]["rmse"] + 0.05, pattern
    assert np.isfinite(list(result["task"]["condi"].values())).all()
    lines = [json.loads(line) for line in (directory.path / "history.jsonl").read_text().splitlines()]
    refused = [
        line["failures"].get(HOSTILE, "")
        for line in lines
        if f"train.{line['phase'].split('-')[0]}" == action
    ]
    assert all((reason in text) if reason else not text for text in refused)


@pytest.mark.parametrize("claim", ["windows", "sums"])
def test_what_a_site_claims_of_itself_is_bounded_by_the_others(four_sites, honest_result, run_local, claim):
    def tamper(request, reply):
        if request.metadata.message_type == "query.describe":
            config = reply.content["config"]
            sites = [json.loads(text) for text in config["sites"]]
            for site in sites:
                if site["name"] == HOSTILE:
                    samples = np.array(site["sums"])
                    if claim == "windows":
                        site["manifest"]["windows"]["train"] = 10**9
                    else:
                        samples[:, 1:] = samples[:, :1] * [1e8, 1e16]
                    site["sums"] = samples.tolist()
            reply.content["config"] = ConfigRecord({**config, "sites": [json.dumps(s) for s in sites]})
        if request.metadata.message_type.startswith("train") and not reply.has_error():
            metrics = reply.content.metric_records["metrics"]
            if claim == "windows" and request.metadata.group_id == HOSTILE:
                metrics["windows"] = 1e9
                metrics["counts"] = [1e9] * len(metrics["counts"])
        return reply

    directory, _ = run_local(four_sites, ONE_MODEL, tamper)
    expected, result = honest_result["task"]["condi"], read_result(directory)["task"]["condi"]
    assert result["auroc"] > expected["auroc"] - 0.1


@pytest.mark.parametrize("attack", [name for name in ATTACKS if name.startswith("spectra")])
def test_spectra_that_no_data_have_are_refused(attack):
    _, change, reason = ATTACKS[attack]
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((3, 3, 5)) + 1j * rng.standard_normal((3, 3, 5))
    spectrum = np.einsum("ikf,jkf->ijf", factor, factor.conj())
    honest = np.stack([spectrum.real, spectrum.imag], -1)
    check_spectra({"closed_form.spectrum": honest.astype(np.float32)})
    with pytest.raises(ReplyError, match=reason):
        check_spectra({"closed_form.spectrum": change(honest, None).astype(np.float32)})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"labels": {"train": [float("inf"), 0], "val": None, "test": None}}, "not finite"),
        ({"labels": {"train": [9, 0], "val": None, "test": None}}, "more windows with a label"),
        ({"labelled": {"train": 9, "val": 3, "test": 3}}, "more windows with labels than windows"),
        ({"sums": [[1, 2, 1e300]] * 4}, "values beyond 1e\\+09"),
        ({"sums": [[10**9, 0, 1]] * 4}, "more samples than its windows have"),
    ],
)
def test_numbers_that_no_site_has_are_refused(three_sites, change, why):
    _, _, honest = three_sites
    with pytest.raises(ValueError, match=why):
        SiteInfo.read(1, json.loads(honest["sites"][0]) | change)


@pytest.mark.parametrize(("field", "text"), [("license", "x" * 10**6), ("dataset", "../../x")])
def test_texts_that_fill_reports_or_name_other_folders_are_refused(three_sites, field, text):
    _, _, honest = three_sites
    site = json.loads(honest["sites"][0])
    with pytest.raises(ValueError, match="its answer cannot be read"):
        SiteInfo.read(1, site | {"manifest": site["manifest"] | {field: text}})


def test_standardising_sums_of_three_sites_are_medians_and_of_two_are_added():
    rng = np.random.default_rng(0)
    samples = [rng.normal(5, 2, 1000) for _ in range(4)]
    sums = [np.array([[len(x), x.sum(), (x**2).sum()]]) for x in samples]
    false = np.array([[1000, 1e11, 1e19]])
    count, total, squares = combine_sums([*sums, false])[0]
    assert count == 5000
    assert total / count == pytest.approx(5, abs=0.15)
    assert np.sqrt(squares / count - (total / count) ** 2) == pytest.approx(2, abs=0.15)
    np.testing.assert_allclose(combine_sums(sums[:2]), sums[0] + sums[1])
    rare = [np.array([[2.0, 10.0, 50.0]]) for _ in range(9)]
    np.testing.assert_allclose(combine_sums(rare), [[18, 90, 450]])


def test_sums_of_a_site_that_is_far_from_the_majority_do_not_count_for_a_modality_of_two_sites():
    honest = np.array([[1000.0, 0, 1000], [1000, 5000, 26000]])
    without = honest * [[1], [0]]
    false = [honest * [1, 0, 1e16], honest * [1, 0, 1e-9], honest * [1, 0, 1] + [0, 1e9, 1e15]]
    for claim in false:
        combined = combine_sums([honest, without, without, claim])
        np.testing.assert_allclose(combined[1], honest[1])
    agreeing = combine_sums([honest, without, without, 2 * honest])
    np.testing.assert_allclose(agreeing[1], 3 * honest[1])


ODD_VALUES = [10**400, -1, 1e308, "\ud800", "\x1b[2J", "../x", "x" * 10**6]
JSON_VALUES = st.recursive(
    st.none() | st.integers() | st.sampled_from(ODD_VALUES) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


# Changes of the record around the descriptions; mostly there are none.
ODD_ANSWERS = [{}] * 8 + [
    {"sites": []},
    {"sites": [1]},
    {"sites": "x"},
    {"virtual": True},
    {"wants-federation": True},
]


def paths(value, prefix=()):
    yield prefix
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*prefix, key))


@pytest.fixture(scope="module")
def three_sites(tmp_path_factory, small_settings):
    """`three_sites(tamper)`: a grid of three hospitals; and what the third says of itself."""
    folder, replayed = tmp_path_factory.mktemp("three"), ReplayedApp(client_app)
    names = [f"site-{i}" for i in range(3)]
    nodes = [{"data": str(write_site(folder / name)), "registered": name} for name in names]
    flat = small_settings({"sites-timeout": 0.01, "min-sites": 2, "output": str(folder)})
    grid = LocalGrid(replayed, nodes, flat)
    config = RunConfig.from_flat(flat)
    collect_roster(grid, config, lambda: "")
    answers = [reply.content["config"] for reply in grid.received if "config" in reply.content]
    return partial(LocalGrid, replayed, nodes, flat), config, dict(answers[2])


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_a_site_says_of_itself_the_others_start(three_sites, data):
    make_grid, config, honest = three_sites
    site = json.loads(honest["sites"][0])
    path = data.draw(st.sampled_from(list(paths(site))))
    value = data.draw(JSON_VALUES)
    if path:
        inner = site
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
    else:
        site = value
    answer = honest | {"sites": [json.dumps(site)]} | data.draw(st.sampled_from(ODD_ANSWERS))

    def tamper(request, reply):
        if request.metadata.dst_node_id == 1002 and request.metadata.message_type == "query.describe":
            reply.content["config"] = ConfigRecord(answer)
        return reply

    roster, _ = collect_roster(make_grid(tamper), config, lambda: "")
    assert {"site-0", "site-1"} <= roster.sites.keys() and not roster.virtual
    text = "\n".join(roster.lines())
    text.encode("utf-8")
    assert all(line.isprintable() for line in text.splitlines())
    assert all(len(reason) <= MAX_REASON_CHARS + 20 for reason in roster.excluded.values())
    assert json.dumps(roster.to_json()).isascii()
    assert not {"/", "\\"} & set(roster.schema.dataset), "it names the run directory"
