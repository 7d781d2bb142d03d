"""Show the progress of a study: a bar on a terminal, and plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from server_app.study.progress import StudyProgress

REFRESHES_PER_SECOND = 2
BAR_WIDTH = 24


class StudyDisplay:
    """Prints lines about a study, above a bar where a person looks at it.

    Parameters
    ----------
    console : where to write
    num_methods : number of cells of a run

    Attributes
    ----------
    progress : how far the study is; None before its first run
    """

    def __init__(self, console: Console, num_methods: int) -> None:
        self.console = console
        self.num_methods = num_methods
        self.progress: StudyProgress | None = None
        self._doing = ""
        self._live = Live(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
        )

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """Print a line."""
        self._doing = ""
        self.console.print(Text(line), soft_wrap=True)

    def show_log(self, line: str) -> None:
        """Show a line of a run's log below the bar, if there is one."""
        self._doing = line

    def _draw(self) -> Group:
        """Draw cells done of all, the time left, and what runs now."""
        if self.progress is None:
            return Group()
        progress, n = self.progress, self.num_methods
        done, total = progress.num_done * n, len(progress.expected) * n
        table = Table.grid(padding=(0, 2))
        table.add_row(
            f"{done} of {total} cells",
            ProgressBar(total=total, completed=done, width=BAR_WIDTH),
            progress.time_left,
        )
        lines = [
            Text(text, overflow="ellipsis", no_wrap=True) for text in (progress.label, self._doing) if text
        ]
        return Group(table, *lines)
