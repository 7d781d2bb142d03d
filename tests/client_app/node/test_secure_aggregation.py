"""What a site refuses under secure aggregation, whatever the coordinator asks."""

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Stage

from client_app.app import app as client_app
from tests.helpers.local_grid import LocalGrid


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
