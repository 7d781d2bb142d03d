"""Differential privacy of sites: the bound of an average, its noise, and epsilon."""

import json
import math
import random
import re

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from condi_core.averaging import SiteUpdate
from condi_core.config import RunConfig
from condi_core.serialization import unpack_arrays
from server_app.errors import RunError
from server_app.federation.aggregation import choose_aggregator
from server_app.federation.differential_privacy import clip_update, compute_site_epsilon, private_average
from server_app.federation.records import to_record
from tests.helpers.run_settings import PROJECT, flat_defaults
from tests.helpers.small_models import BASE, OWNERS, counts_with, filled

OFF = {"smallest-count": 0, "noise-multiplier": 0.0, "clip-imputer": 1.0, "clip-task": 1.0, "delta": 1e-5}
EVERYTHING = counts_with(0, 1, 2, 3)


def norm(update):
    return math.sqrt(sum(float((a.astype(float) ** 2).sum()) for a in update.values()))


def minus(one, two):
    return {name: one[name].astype(float) - two[name] for name in one}


@pytest.mark.parametrize(
    ("mu", "delta", "expected"),
    [
        (1 / 3.730631634944469, 1e-5, 1.0),  # the noise that Balle and Wang's calibration gives
        (1.0, 0.12693673750664397, 1.0),  # cdf(-1/2) - e cdf(-3/2)
        (2.0, 0.6826894921370859, 0.0),  # total variation of normals two deviations apart: cdf(1) - cdf(-1)
        (1.0, 0.9, 0.0),
    ],
)
def test_epsilon_of_one_average_has_the_known_values(mu, delta, expected):
    assert compute_site_epsilon(2 / mu, 1, delta) == pytest.approx(expected, rel=1e-7, abs=1e-6)


@pytest.mark.parametrize("averages", [1, 4, 25])
@pytest.mark.parametrize("multiplier", [0.8, 3.0, 20.0])
def test_delta_at_epsilon_is_the_divergence_of_all_averages_together(averages, multiplier):
    """The divergence of two products of normals, by integration over the sum of their log-ratios."""
    delta = 1e-4
    e = compute_site_epsilon(multiplier, averages, delta)
    variance = averages * (2 / multiplier) ** 2  # of the log-ratio, whose mean is half of it
    ratio, step = np.linspace(-12, 12, 400_001, retstep=True)
    loss = variance / 2 + math.sqrt(variance) * ratio
    density = np.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    assert (density * np.maximum(-np.expm1(e - loss), 0)).sum() * step == pytest.approx(delta, rel=1e-3)


def test_epsilon_of_several_rounds_equals_that_of_one_with_less_noise():
    assert compute_site_epsilon(5.0, 16, 1e-5) == pytest.approx(
        compute_site_epsilon(5 / 4, 1, 1e-5), rel=1e-8
    )
    assert compute_site_epsilon(1.0, 0, 1e-5) == 0
    assert compute_site_epsilon(1e-3, 1, 1e-5) == pytest.approx(2000**2 / 2, rel=0.01)  # almost no noise


def test_all_arrays_of_an_update_are_clipped_by_one_factor():
    long, short = {"a": np.full(9, 3.0), "b": np.full((2, 2), -4.0)}, {"a": np.full(4, 0.25)}
    cut = clip_update(long, 1.5)
    assert norm(cut) == pytest.approx(1.5, rel=1e-14)
    assert cut["a"][0] / cut["b"][0, 0] == pytest.approx(-3 / 4)
    assert clip_update(short, 0.5) is short, "not longer than the norm"


def test_no_site_moves_the_average_by_more_than_the_bound():
    rng, clip = np.random.default_rng(0), 0.7

    def site(size, windows=2.0, counts=EVERYTHING):
        update = {k: (v + size * rng.standard_normal(v.shape)).astype(np.float32) for k, v in BASE.items()}
        return SiteUpdate(update, counts, windows)

    others = [site(1.0), site(0.01), site(5.0, windows=1e6)]
    anything = [
        site(0),
        site(1e-3),
        site(1e30),
        site(1.0, 1e9),
        site(9.0, 0.1, counts_with(2)),
        site(1.0, 1, 0 * counts_with()),
    ]
    reference = private_average(BASE, OWNERS, [*others, site(1.0)], clip, 0.0, 4)
    for replaced in anything:
        moved = minus(private_average(BASE, OWNERS, [*others, replaced], clip, 0.0, 4), reference)
        assert norm(moved) <= 2 * clip / 4 + 1e-5
    moved = minus(private_average(BASE, OWNERS, others, clip, 0.0, 4), reference)
    assert norm(moved) == pytest.approx(clip / 4, rel=1e-4), "a site that does not answer counts as zero"
    # The bound is reached, whatever the windows: by an update and its opposite.
    there, back = (SiteUpdate(filled(size), EVERYTHING, 1.0) for size in (10, -10))
    base = {name: np.zeros_like(a) for name, a in BASE.items()}
    ends = [private_average(base, OWNERS, [*others[:1], x], clip, 0.0, 2) for x in (there, back)]
    assert norm(minus(*ends)) == pytest.approx(2 * clip / 2, rel=1e-5)


def test_missing_modalities_are_no_part_of_an_update():
    out = private_average(BASE, OWNERS, [SiteUpdate(filled(50), counts_with(0), 2.0)] * 2, 1e9, 0.0, 2)
    assert out["rows"][:, 0].tolist() == [50, 2, 4, 6] and out["shared"].tolist() == [50, 50]
    assert out["pairs"][0, 0, 0] == 50 and not out["pairs"][0, 1:].any() and not out["pairs"][1:].any()


@pytest.mark.parametrize(("multiplier", "clip", "sites"), [(1.0, 1.0, 1), (0.5, 4.0, 3), (2.0, 0.1, 4)])
def test_noise_has_the_standard_deviation_that_epsilon_assumes(multiplier, clip, sites):
    base = {"shared": np.zeros((300, 200), np.float32), "kept": np.ones(5, np.float32)}
    still = [SiteUpdate({"shared": base["shared"]}, EVERYTHING, 2.0)] * sites
    out = private_average(base, OWNERS, still, clip, multiplier, sites)
    noise = out["shared"] / (multiplier * clip / sites)
    assert noise.std() == pytest.approx(1, abs=0.01) and noise.mean() == pytest.approx(0, abs=0.02)
    assert (noise**4).mean() == pytest.approx(3, abs=0.15)
    assert np.abs(noise).max() > 3.7 and len(np.unique(noise)) > 0.99 * noise.size
    assert np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1] == pytest.approx(0, abs=0.02)
    assert out["kept"] is base["kept"], "what sites did not train is not touched"
    assert out["shared"].dtype == np.float32


def test_noise_does_not_depend_on_seeds():
    drawn = []
    for _ in range(2):
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        drawn.append(
            private_average(BASE, OWNERS, [SiteUpdate(filled(1), EVERYTHING, 1.0)], 1.0, 1.0, 1)["rows"]
        )
    assert (drawn[0] != drawn[1]).all()


@pytest.mark.slow
def test_without_noise_the_norms_of_clipping_do_not_matter(federation, run_local, finished_run):
    one, _ = finished_run()
    two, _ = run_local(federation, {"name": "two", "privacy.clip-imputer": 1e-9, "privacy.clip-task": 1e-9})
    for name in ("imputer", "task-condi"):
        a, b = (load_file(d.path / f"{name}.safetensors") for d in (one, two))
        assert all(np.array_equal(a[k], b[k]) for k in a)
    assert "privacy" not in json.loads((one.path / "result.json").read_text())


@pytest.mark.slow
def test_a_private_run_reports_its_epsilon(federation, run_local, finished_run, capsys):
    plain, _ = finished_run()
    changes = {"privacy.noise-multiplier": 0.5, "privacy.clip-imputer": 1e-4, "privacy.clip-task": 1e-3}

    def worse(request, reply):
        """Give the second round larger errors, so that the first would be the best."""
        settings = request.content["config"]
        if request.metadata.message_type == "evaluate.imputer" and settings["server-round"] == 2:
            sums = {k: 100 * array for k, array in unpack_arrays(reply.content["arrays"]).items()}
            sums |= {k: a * np.array([0.01, 1, 1, 1, 1]) for k, a in sums.items()}
            reply.content["arrays"] = to_record(sums)
        return reply

    directory, grid = run_local(federation, changes | {"compare-with": "mask", "name": "private"}, worse)
    lines = [json.loads(line) for line in open(directory.path / "history.jsonl")]
    scores = [line["metrics"]["score"] for line in lines if line["phase"] == "imputer"]
    assert scores[1] > 5 * scores[0]
    budget = json.loads((directory.path / "result.json").read_text())["privacy"]
    assert budget["averages"] == 6 and budget["noise-multiplier"] == 0.5  # two rounds, of three models
    assert budget["epsilon"] == compute_site_epsilon(0.5, 6, 1e-5)
    output = capsys.readouterr().out
    assert f"Differential privacy of a site: epsilon {budget['epsilon']:.3g} at delta 1e-05" in output
    assert "was not written" not in output
    assert not [m for m in grid.sent if m.metadata.message_type == "train.relation"]

    rounds = [m for m in grid.sent if m.metadata.message_type == "train.imputer"]
    first, second = (unpack_arrays(rounds[i].content["arrays"]) for i in (0, -1))
    final = load_file(directory.path / "imputer.safetensors")
    trained = {k for k in first if not np.array_equal(first[k], second[k])}
    assert not any("standardiser" in k or k.endswith("spectrum") for k in trained) and len(trained) > 20
    before = load_file(plain.path / "imputer.safetensors")
    assert all(np.array_equal(final[k], before[k]) for k in final if "standardiser" in k)
    for one, two in ((first, second), (second, final)):  # the last round is selected
        moved = np.concatenate([(two[k].astype(float) - one[k]).ravel() for k in trained])
        assert moved.std() == pytest.approx(0.5 * 1e-4 / 3, rel=0.1)


@pytest.mark.parametrize("answers", [None, float("nan")])
def test_noise_does_not_show_that_a_site_was_refused_or_did_not_answer(federation, run_local, answers):
    changes = {"privacy.noise-multiplier": 0.5, "privacy.clip-imputer": 1e-4, "imputer.rounds": 1}

    def fail(request, reply):
        if request.metadata.message_type == "train.imputer" and request.metadata.group_id == "site-2":
            if answers is None:
                return None
            arrays = unpack_arrays(reply.content["arrays"])
            reply.content["arrays"] = to_record(
                {name: np.full_like(a, answers) for name, a in arrays.items()}
            )
        return reply

    directory, grid = run_local(federation, changes | {"task.rounds": 1}, fail)
    [line] = [json.loads(text) for text in open(directory.path / "history.jsonl") if '"imputer"' in text]
    assert list(line["failures"]) == ["site-2"]
    start = unpack_arrays(
        next(m for m in grid.sent if m.metadata.message_type == "train.imputer").content["arrays"]
    )
    final = load_file(directory.path / "imputer.safetensors")
    trained = [name for name in start if not np.array_equal(start[name], final[name])]
    moved = np.concatenate([(final[name].astype(float) - start[name]).ravel() for name in trained])
    assert moved.std() == pytest.approx(0.5 * 1e-4 / 3, rel=0.1), "three sites were asked"


def test_with_client_sampling_the_divisor_is_the_number_of_sampled_sites(small_settings):
    flat = small_settings({"privacy.noise-multiplier": 1e-9, "sites-per-round": 0.5})
    update = SiteUpdate({"shared": np.full(2, 9.0)}, EVERYTHING, 1.0)
    out = choose_aggregator(RunConfig.from_flat(flat), 6, 1.0)({"shared": np.zeros(2)}, OWNERS, [update])
    assert out["shared"] == pytest.approx(np.full(2, 1 / math.sqrt(2) / 3), rel=1e-6)


def test_documents_state_epsilon_of_the_settings_beside_it():
    settings = flat_defaults()
    methods = RunConfig.from_flat(settings).methods
    averages = settings["imputer.rounds"] + len(methods) * settings["task.rounds"]
    fewer = settings["imputer.rounds"] + settings["task.rounds"]
    text = (PROJECT / "docs" / "results.md").read_text()
    assert (averages, fewer) == (13, 8)
    assert (
        f"gives out 13 averages, with epsilon {compute_site_epsilon(1.0, 13, 1e-5):.0f} at noise 1"
        in " ".join(text.split())
    )
    assert re.search(rf"\| noise 1 \|.*\| {compute_site_epsilon(1.0, 8, 1e-5):.0f} \|", text)


@pytest.mark.slow
def test_an_average_released_before_an_interruption_is_released_once(federation, run_local):
    changes = {"privacy.noise-multiplier": 1.0, "task.rounds": 1}

    def cut_off(request, reply):
        settings = request.content["config"]
        scored = request.metadata.message_type == "evaluate.imputer" and settings["server-round"] == 2
        return None if scored else reply

    with pytest.raises(RunError, match="imputer, round 2"):
        run_local(federation, changes | {"name": "broken"}, cut_off)
    resumed, _ = run_local(federation, changes | {"resume": str(federation.parent / "runs" / "broken")})
    assert json.loads((resumed.path / "result.json").read_text())["privacy"]["averages"] == 2 + 1
