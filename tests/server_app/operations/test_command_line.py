"""How commands that follow a run end when it fails."""

import pytest
import typer

from server_app.operations.command_line import exit_on_run_errors
from server_app.operations.run_log import ReadableLog, RunFailedError

REASON = "The federation cannot start: no site has data"


@pytest.mark.parametrize(
    "printed", [f"ERROR :     {REASON[0].lower()}{REASON[1:]}", "task-condi   round  1/5"]
)
def test_a_reason_is_printed_once_whether_or_not_it_is_in_the_log(printed, capsys):
    log = ReadableLog()
    log(printed)
    with pytest.raises(typer.Exit) as ended, exit_on_run_errors(log):
        raise RunFailedError(REASON, [printed])
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err.casefold().count(REASON.casefold()) == 1
