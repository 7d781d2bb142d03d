"""Progress of a study: the time that is left, and what a person sees of it."""

import io

import pytest
from rich.console import Console

from server_app.study.display import StudyDisplay
from server_app.study.progress import StudyProgress, describe_seconds


class FakeClock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_without_an_estimate_time_is_known_after_the_first_run():
    clock = FakeClock()
    progress = StudyProgress([1.0, 1.0, 0.2, 0.2], clock=clock)
    progress.start_run("first")
    assert progress.time_left == "time left is not known yet"
    clock.now += 600
    progress.end_run()
    assert progress.seconds_left == pytest.approx(600 * 1.4)
    progress.start_run("second")
    clock.now += 100
    assert progress.seconds_left == pytest.approx(600 * 1.4 - 100)
    clock.now += 1000
    assert progress.seconds_left == pytest.approx(600 * 0.4), "a run that takes longer has no negative time"


def test_an_estimate_is_corrected_by_runs_that_finished():
    clock = FakeClock()
    progress = StudyProgress([0.0, 100.0, 50.0], in_seconds=True, clock=clock)
    assert progress.time_left == "about 2 min left"
    progress.end_run()  # its cells existed: it was not started
    progress.start_run("second")
    clock.now += 200
    progress.end_run()
    assert progress.seconds_left == pytest.approx(100), "twice the estimate"
    progress.start_run("third")
    clock.now += 1
    progress.end_run(completed=False)
    assert progress.seconds_left == 0 and progress.num_done == 3


@pytest.mark.parametrize(
    ("seconds", "text"), [(40.2, "40 s"), (720, "12 min"), (4 * 3600, "4.0 h"), (90000, "25 h")]
)
def test_durations_have_few_digits(seconds, text):
    assert describe_seconds(seconds) == text


def show(is_terminal):
    file = io.StringIO()
    display = StudyDisplay(Console(file=file, force_terminal=is_terminal, width=60), num_methods=3)
    display.progress = StudyProgress([60.0, 60.0], in_seconds=True, clock=FakeClock())
    with display:
        display.say("preparing " + 80 * "x")
        display.progress.start_run("ecg, seed 0")
        display.show_log("imputer round 1/3")
        display.console.print(display._draw()) if is_terminal else None
    return file.getvalue()


def test_a_terminal_has_a_bar_with_cells_time_and_what_runs_now():
    text = show(is_terminal=True)
    for part in ("0 of 6 cells", "about 2 min left", "ecg, seed 0", "imputer round 1/3"):
        assert part in text


def test_a_file_has_plain_lines():
    assert show(is_terminal=False) == "preparing " + 80 * "x" + "\n"
