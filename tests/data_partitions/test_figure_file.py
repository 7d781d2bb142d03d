"""Figures of names from data: a dollar sign is no formula."""

import io

import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from data_partitions.figure_file import save_figure

NAME = r"cost $ of \a $ unit"


def figure():
    """A figure with the name everywhere, also on ticks that only drawing makes."""
    result = Figure()
    ax = result.subplots()
    ax.barh([NAME, "b", f"{NAME} 2"], [1, 2, 3], label=NAME)
    ax.set_title(NAME)
    ax.set_xlabel(NAME)
    ax.annotate(NAME, (1, 1))
    ax.legend(title=NAME)
    result.supxlabel(NAME)
    return result


@pytest.mark.parametrize("file_format", ["svg", "pdf", "png"])
def test_names_are_written_as_they_are(file_format):
    with pytest.raises(ValueError, match="Unknown symbol"):
        figure().savefig(io.BytesIO(), format=file_format)
    file = io.BytesIO()
    save_figure(figure(), file, format=file_format)
    assert file.getvalue()


def test_every_text_is_there():
    from matplotlib import rc_context

    file = io.BytesIO()
    with rc_context({"svg.fonttype": "none"}):
        save_figure(figure(), file, format="svg")
    assert file.getvalue().decode().count(f">{NAME}") == 8
