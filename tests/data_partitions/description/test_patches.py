"""A window is divided into patches with whole samples of every signal."""

import pytest

from data_partitions.description.patches import plan_patches
from data_partitions.description.reading import read_description
from tests.helpers.described import write_description


def plan(folder, length, rates, window=""):
    signals = "".join(
        f'[signals.s{i}]\nunit = "mV"\n' + (f"rate = {rate}\n" if rate else "")
        for i, rate in enumerate(rates)
    )
    path = write_description(folder, ('"10 s"', f'"{length}"\n{window}'))
    head, _, tail = path.read_text().partition("[signals.CC5]")
    path.write_text(head + signals + tail[tail.index("[task]") :])
    return plan_patches(read_description(path))


@pytest.mark.parametrize(
    "length, rates, window, patches, samples",
    [
        ("10 s", [250], "", 125, [20]),
        ("10 s", [100], "", 200, [5]),
        ("10 s", [360], "", 200, [18]),
        ("30 s", [100, 100, 1], "", 30, [100, 100, 1]),
        ("30 s", [256, 0.2], "", 6, [1280, 1]),
        ("10 s", [25.3], "", 253, [1]),
        ("24 h", [None], 'grid = "1 h"', 24, [1]),
        ("24 h", [None], 'grid = "5 min"', 144, [2]),
        ("24 h", [None], 'grid = "5 min"\npatch = "1 h"', 24, [12]),
        ("1 h", [1, None], 'grid = "1 min"', 60, [60, 1]),
        ("1 s", [1], "", 1, [1]),
    ],
)
def test_the_number_of_patches_is_chosen(length, rates, window, patches, samples, tmp_path):
    result = plan(tmp_path, length, rates, window)
    assert result.patches == patches and list(result.samples.values()) == samples


def test_the_choice_is_said(tmp_path):
    note = plan(tmp_path, "30 s", [100, 100, 1]).note
    assert note == "A window has 30 patches of 1 s, each with 100 samples of s0, s1; 1 of s2."
