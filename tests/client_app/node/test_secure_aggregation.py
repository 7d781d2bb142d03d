"""What a site refuses under secure aggregation, whatever the coordinator asks."""

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Stage

from client_app.app import app as client_app
from server_app.errors import TooFewSitesError
from tests.helpers.local_grid import LocalGrid
from tests.helpers.secure_rounds import failing, secure_round, stage
from tests.helpers.tiny_federation import write_tiny


def refusal(config, message_type="train", run_config=None):
    """Return the reason with which a site refuses a request."""
    grid = LocalGrid(client_app, [{}], run_config or {})
    request = Message(RecordDict({RECORD_KEY_CONFIGS: ConfigRecord(config)}), 1000, message_type)
    [reply] = grid.send_and_receive([request])
    return reply.error.reason


@pytest.mark.parametrize(("number", "threshold"), [(4, 2), (5, 2), (2, 2)])
def test_a_site_does_not_mask_for_a_minority(number, threshold):
    why = f"this site refuses masks among {number} sites of which {threshold} can unmask it"
    assert refusal({"stage": Stage.SETUP, "sample_num": number, "threshold": threshold}).startswith(why)


@pytest.mark.parametrize("action", ["relation", "imputer", "task"])
def test_a_site_refuses_to_train_without_masks_in_a_secure_run(action, capsys):
    reason = refusal({}, f"train.{action}", {"secure-aggregation": True})
    assert reason.startswith(
        "this site refuses to send its update unmasked: the settings of the run have secure"
    )
    assert f"condi: {reason}" in capsys.readouterr().out
    assert "unmasked" not in refusal({}, f"train.{action}", {"secure-aggregation": False})


@pytest.mark.parametrize(
    "config",
    [
        {"stage": Stage.SHARE_KEYS, "1": [b"one", b"two"], "2": [b"three", b"four"]},
        {"stage": Stage.COLLECT_MASKED_VECTORS, "ctxts": [b""], "srcs": [1]},
        {"stage": Stage.COLLECT_MASKED_VECTORS, "ctxts": [b"", b""], "srcs": [1, 1]},
        {"stage": Stage.UNMASK, "active_nids": [1, 2], "dead_nids": [3]},
        {"stage": Stage.UNMASK, "active_nids": [1, 2, 2], "dead_nids": [3]},
    ],
)
def test_a_site_takes_part_in_no_sum_over_two_sites(config):
    assert refusal(config) == "this site refuses a sum over 2 sites: expected at least 3"


def test_a_site_does_not_give_both_secrets_of_another_site():
    config = {"stage": Stage.UNMASK, "active_nids": [1, 2, 3], "dead_nids": [3]}
    assert refusal(config).startswith(
        "this site refuses to unmask 1 of the sites, which the coordinator names"
    )


def test_a_site_unmasks_a_round_again_only_for_the_same_sites(tmp_path, small_settings):
    federation = write_tiny(tmp_path / "four", sites=4)
    again = secure_round(federation, small_settings(), "task")
    first = again.train()
    second = again.train()
    assert all(abs(first.state[name] - second.state[name]).max() < 1e-6 for name in first.state)
    again.grid.tamper = failing(1, Stage.COLLECT_MASKED_VECTORS)
    before = len(again.grid.sent)
    with pytest.raises(TooFewSitesError, match="site-0: this site refuses to unmask a round again that"):
        again.train()
    unmask = [message for message in again.grid.sent[before:] if stage(message) == Stage.UNMASK]
    assert len(unmask) == 3 and all(reply.has_error() for reply in again.grid.received[-3:])
    other = again._replace(number=2)
    assert len(other.train().exchange.seconds) == 3, "another round may have other sites"
