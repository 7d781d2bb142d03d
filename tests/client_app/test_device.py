"""Sites that share a card."""

import threading
import time

import pytest
import torch

from client_app import device


@pytest.fixture
def together(monkeypatch, tmp_path):
    """`together(cards)`: how many sites computed at the same time at most, each on the card named."""
    monkeypatch.setattr(device.os, "access", lambda *_: False)
    monkeypatch.setattr(device.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(device, "_card", lambda card: card)

    def most(cards):
        inside, counts = set(), []

        def work(number, card):
            with device.exclusive_use(card):
                inside.add(number)
                counts.append(len(inside))
                time.sleep(0.05)
                inside.discard(number)

        threads = [threading.Thread(target=work, args=each) for each in enumerate(cards)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return max(counts)

    return most


def test_sites_on_one_card_take_turns(together):
    assert together(["a"] * 4) == 1


def test_sites_on_cards_of_their_own_or_on_processors_do_not_wait(together):
    assert together(["a", "b"]) == 2
    assert together([None] * 3) == 3


def test_a_processor_is_no_card():
    assert device._card(torch.device("cpu")) is None
