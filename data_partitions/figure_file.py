"""Write figures whose texts are names from data, in which a dollar sign is no formula."""

from typing import Any


def save_figure(figure: Any, file: Any, **options: Any) -> None:
    """Write a figure of matplotlib with its texts as they are.

    Parameters
    ----------
    figure
        The figure.
    file
        An open file.
    options
        Those of `Figure.savefig`, such as `format`.
    """
    from matplotlib import rc_context
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with rc_context({"text.parse_math": False}):  # drawing makes further ticks, with their labels
        figure.savefig(file, **options)
