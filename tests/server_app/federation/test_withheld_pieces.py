"""Secure aggregation withholds sums over fewer than three sites: of answers, and of owners of a modality."""

from functools import partial

import numpy as np
import pytest
from flwr.common import parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import Stage
from flwr.compat.common.recorddict_compat import recorddict_to_fitres
from safetensors.numpy import load_file

from client_app.node import secure_aggregation as at_site
from condi_core.ownership import aggregation_weights
from server_app.errors import RunError, TooFewSitesError
from tests.helpers.secure_rounds import failing, stage, write_four_sites
from tests.helpers.secure_rounds import secure_round as do_round
from tests.helpers.tiny_federation import write_tiny

SECURE = {"secure-aggregation": True, "averaging": "mean", "imputer.rounds": 1, "imputer.samples": 0}
A, B, C, D = range(4)


@pytest.fixture
def make_round(tmp_path, small_settings):
    """`make_round(action, number)`: a round of four sites, of which three have a, two d, and all b and c."""
    federation = write_four_sites(tmp_path / "four")
    return partial(do_round, federation, small_settings())


def num_sent(grid, at):
    """Return how many requests of a stage were sent."""
    return sum(stage(message) == at for message in grid.sent)


def moved_modalities(secure_round, state):
    """Return which modalities the changed weights of modalities and pairs belong to: `(row, row or None)`."""
    moved = set()
    for name, owner in secure_round.training.strategy.owners.items():
        for modality in range(4):
            for other in range(4):
                counts = np.zeros((4, 4))
                counts[modality, other] = 1
                weight = aggregation_weights(owner, counts, 0.0, state[name].shape)
                changed = (state[name] != secure_round.base[name]) & (weight > 0)
                if changed.any():
                    moved.add((modality, other))
    return moved


@pytest.mark.parametrize("action", ["relation", "imputer", "task"])
def test_what_two_sites_have_is_neither_sent_nor_changed(make_round, monkeypatch, action):
    sent, weighted = [], at_site.weighted_update

    def keep(*args):
        message = weighted(*args)
        sent.append(parameters_to_ndarrays(recorddict_to_fitres(message.content, keep_input=True).parameters))
        return message

    monkeypatch.setattr(at_site, "weighted_update", keep)
    secure_round = make_round(action)
    state = secure_round.train().state
    moved = moved_modalities(secure_round, state)
    assert moved and all(D not in pair for pair in moved)
    assert {A, B, C} == {modality for pair in moved for modality in pair}
    assert num_sent(secure_round.grid, Stage.SETUP) == 4, "the roster shows it, so nothing is repeated"
    assert len(sent) == 4
    for *_, counts, _windows in sent:
        assert not counts[D].any() and not counts[:, D].any() and counts[B, C]


def test_what_two_sites_with_an_answer_trained_is_withheld_before_unmasking(make_round, capsys):
    secure_round = make_round("imputer")
    secure_round.grid.tamper = failing(0, Stage.COLLECT_MASKED_VECTORS)  # one of three sites with a
    trained = secure_round.train()
    moved = moved_modalities(secure_round, trained.state)
    assert {B, C} == {modality for pair in moved for modality in pair}
    assert trained.exchange.failures == {"site-0": "no answer in time"}
    assert num_sent(secure_round.grid, Stage.COLLECT_MASKED_VECTORS) == 4 + 3
    assert num_sent(secure_round.grid, Stage.UNMASK) == 3, "only the sum without a was unmasked"
    assert "imputer, round 1: fewer than 3 sites that answered trained a, which" in capsys.readouterr().out
    for name, owner in secure_round.training.strategy.owners.items():
        if owner.kind == "shared":
            expected = secure_round.plain("site-1", "site-2", "site-3").state[name]
            np.testing.assert_allclose(trained.state[name], expected, atol=5e-7, rtol=1e-6)


def test_a_modality_that_one_site_met_in_its_windows_is_withheld(make_round, monkeypatch):
    weighted = at_site.weighted_update

    def without_b(request, reply, owners):
        """Let the windows of this round have modality b at one site alone."""
        if request.content["config"]["site"] != "site-2":
            counts = np.array(reply.content["metrics"]["counts"]).reshape(4, 4)
            counts[B] = counts[:, B] = 0
            reply.content["metrics"]["counts"] = counts.ravel().tolist()
        return weighted(request, reply, owners)

    monkeypatch.setattr(at_site, "weighted_update", without_b)
    secure_round = make_round("task")
    moved = moved_modalities(secure_round, secure_round.train().state)
    assert {A, C} == {modality for pair in moved for modality in pair}
    assert num_sent(secure_round.grid, Stage.UNMASK) == 4 and num_sent(secure_round.grid, Stage.SETUP) == 8


def test_a_site_that_claims_withheld_modalities_does_not_repeat_a_round(make_round, monkeypatch):
    secure_round = make_round("task")

    def claim(request, reply):
        if stage(request) == Stage.COLLECT_MASKED_VECTORS and request.metadata.dst_node_id == 1003:
            reply.content["fitres.metrics"]["trained"] = bytes([1] * 16)
        return reply

    secure_round.grid.tamper = claim
    assert len(secure_round.train().exchange.seconds) == 4
    assert num_sent(secure_round.grid, Stage.SETUP) == 4


def test_a_reply_without_its_modalities_ends_the_attempt_before_unmasking(make_round):
    secure_round = make_round("task")

    def spoil(request, reply):
        if stage(request) == Stage.COLLECT_MASKED_VECTORS and request.metadata.dst_node_id == 1003:
            reply.content["fitres.metrics"]["trained"] = bytes(15)
        return reply

    secure_round.grid.tamper = spoil
    with pytest.raises(TooFewSitesError, match="a site did not follow the protocol"):
        secure_round.train()
    assert not num_sent(secure_round.grid, Stage.UNMASK)


@pytest.mark.parametrize("at", [Stage.SETUP, Stage.SHARE_KEYS, Stage.COLLECT_MASKED_VECTORS])
def test_the_sum_over_two_of_three_sites_is_never_unmasked(tmp_path, small_settings, at):
    federation = write_tiny(tmp_path / "three")
    secure_round = do_round(federation, small_settings(), "task", sites=3)
    secure_round.grid.tamper = failing(1, at)
    with pytest.raises(
        TooFewSitesError, match="only 2 of 3 sites remain, .* needs 3 here .site-1: no answer"
    ):
        secure_round.train()
    assert not num_sent(secure_round.grid, Stage.UNMASK)


def test_two_drop_outs_of_four_sites_withhold_the_sum(make_round):
    secure_round = make_round("task")
    first, second = (failing(site, Stage.COLLECT_MASKED_VECTORS) for site in (1, 2))
    secure_round.grid.tamper = lambda request, reply: first(request, reply) and second(request, reply)
    with pytest.raises(TooFewSitesError, match="only 2 of 4 sites remain"):
        secure_round.train()
    assert not num_sent(secure_round.grid, Stage.UNMASK)


def test_a_run_says_which_modalities_are_not_trained(tmp_path, run_local, capsys):
    directory, _ = run_local(write_four_sites(tmp_path / "four"), SECURE, nodes=4)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: fewer than 3")]
    assert lines == [
        "note: fewer than 3 sites have d and both modalities of 3 of 6 pairs: secure-aggregation trains "
        "nothing that belongs to these, which keeps its initial weights"
    ]
    spectrum = load_file(directory.path / "imputer.safetensors")["closed_form.cross_spectra.0.spectrum"]
    assert not spectrum[D, :3].any() and not spectrum[:3, D].any() and spectrum[A, B].any()


def test_a_run_without_a_modality_of_three_sites_is_refused(tmp_path, run_local):
    missing = {0: ("a", "b"), 1: ("a", "b"), 2: ("c", "d"), 3: ("c", "d")}
    federation = write_tiny(tmp_path / "four", sites=4, missing_modalities=missing)
    with pytest.raises(RunError, match="fewer than 3 sites train, and no modality has as many sites"):
        run_local(federation, SECURE, nodes=4)
    assert not (tmp_path / "runs").exists()
