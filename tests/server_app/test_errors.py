"""Which line of a log, or of a reason, the user reads."""

from server_app.errors import line_with_error

UVICORN = """
INFO:     Started server process [7]
INFO:     Waiting for application startup.
ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 8000): address already in use
INFO:     Waiting for application shutdown.
INFO:     Application shutdown complete.
"""


def test_the_line_that_says_why_is_quoted_and_not_the_last_one():
    assert line_with_error(UVICORN).endswith("address already in use")
    with_names = UVICORN + "2026-11-30T16:05:12Z INFO [uvicorn.error] Application shutdown complete.\n"
    assert line_with_error(with_names).endswith("address already in use")
    assert line_with_error('Traceback\n  File "x.py"\nOSError: no space left\n\n') == "OSError: no space left"


def test_a_log_without_an_error_is_quoted_by_its_last_line():
    assert line_with_error("one\ntwo\n") == "two"
    assert line_with_error("  \n") == "it printed nothing"
