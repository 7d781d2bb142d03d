"""Clinical fidelity: beats that are missed or invented, and the place and height of the others."""

import numpy as np
import pandas as pd


def ecg(spikes, heights, time=5000):
    """A signal of 10 s at 500 Hz with narrow peaks, each 40 ms wide."""
    t = np.arange(time)[:, None]
    return (np.array(heights) * np.exp(-0.5 * ((t - np.array(spikes)) / 6) ** 2)).sum(1)


def test_missed_and_invented_beats_and_the_place_and_height_of_the_others_are_measured(
    load_benchmark, monkeypatch
):
    fidelity = load_benchmark("fidelity")
    monkeypatch.setattr(fidelity, "delineate", lambda signal, peaks: 2 * (np.full(len(peaks), np.nan),))
    beats = np.arange(300, 4800, 400)
    real = ecg(beats, [1.0] * len(beats))
    annotation = fidelity.Annotation(
        beats.astype(float), beats - 20.0, beats + 20.0, np.full(len(beats), np.nan)
    )
    hidden = np.zeros(5000, bool)
    hidden[1800:3400] = True  # the beats at 1900, 2300, 2700 and 3100
    moved = beats.astype(float)
    heights = np.ones(len(beats))
    moved[beats == 1900] += 10  # 20 ms late
    heights[beats == 2300] = 0.8
    heights[beats == 2700] = 0.0
    completed = ecg([*moved, 2500], [*heights, 1.0])
    rows = fidelity.score_record(annotation, real, completed, hidden)
    scores = fidelity.summarise(rows)
    assert scores["beats"] == 4 and scores["missed, %"] == 25 and scores["invented, %"] == 25
    matched = pd.DataFrame(rows).dropna(subset="R, ms")
    np.testing.assert_allclose(matched["R, ms"], [20, 0, 0], atol=2)
    np.testing.assert_allclose(matched["height, %"], [0, 20, 0], atol=1)
