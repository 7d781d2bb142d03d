"""Figures of a study as vector graphics for a paper: SVG and PDF with text as text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from data_partitions.figure_file import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("svg", "pdf")
# Journals accept TrueType fonts (42) and refuse those of matplotlib's default (3).
STYLE: dict[Any, Any] = {"svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "condi", "font.size": 9}
METADATA = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}  # equal results are equal files
MARKERS = "osD^vPX*<>"
NUM_COLOURS = 10


def matplotlib_is_installed() -> bool:
    """Return whether figures can be drawn."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


def remove_frame(ax: Axes) -> None:
    """Leave the axes without the lines at the top and at the right."""
    ax.spines[["top", "right"]].set_visible(False)


def render(figure: Figure, file_format: str) -> bytes:
    """Return a figure as a file, the same bytes for the same figure.

    Parameters
    ----------
    figure : the figure
    file_format : one of `FORMATS`
    """
    from matplotlib import rc_context

    out = io.BytesIO()
    with rc_context(STYLE):
        save_figure(figure, out, format=file_format, metadata=METADATA[file_format])
    return out.getvalue()
