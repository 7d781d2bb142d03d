r"""Tables of a study in LaTeX with the lines of booktabs, to be read by `\input` in a paper."""

from __future__ import annotations

import re
from collections.abc import Sequence

from data_partitions.table import Cell, Table, printable

PREAMBLE = "% Needs \\usepackage{booktabs,graphicx}.\n"
# A table that is wider than the text is made smaller.
FIT = r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\n": " ",
    "±": r"$\pm$",
    "–": "--",
    "—": "---",
    "→": r"$\rightarrow$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "−": "$-$",
    "²": "$^{2}$",
} | {character: "\\" + character for character in "&%$#_{}"}
_SPACE_BEFORE_PERCENT = re.compile(r"(?<=\d) (?=\\%)")
_MINUS = re.compile(r"(?<!\S)-(?=\d)")


def escape_latex(text: object) -> str:
    """Escape text of LaTeX; numbers have a minus sign in place of a hyphen, and a thin space before %."""
    escaped = "".join(_ESCAPES.get(c, c) for c in _MINUS.sub("−", printable(text)))
    return _SPACE_BEFORE_PERCENT.sub(r"\\,", escaped)


def to_latex(table: Table, label: str) -> str:
    r"""Write a table as a float with its title as the caption and its note below.

    Parameters
    ----------
    table : the table
    label : key for `\ref`, of letters, digits, colons and hyphens
    """
    alignment = "".join("r" if numeric else "l" for numeric in table.numeric)
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escape_latex(table.title)}}}",
        rf"  \label{{{label}}}",
        FIT,
        rf"  \begin{{tabular}}{{{alignment}}}",
        r"    \toprule",
        f"    {_row([escape_latex(name) for name in table.columns])}",
        r"    \midrule",
        *(f"    {_row([_cell(cell) for cell in row])}" for row in table.cells),
        r"    \bottomrule",
        r"  \end{tabular}}",
    ]
    if table.note:
        note = table.note.replace("* marks", "Bold marks").replace("~ marks", "underlining marks")
        lines.append(rf"  \par\smallskip\footnotesize {escape_latex(note)}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell) -> str:
    text = escape_latex(cell.text)
    if cell.mark == "best":
        return rf"\textbf{{{text}}}"
    return rf"\underline{{{text}}}" if cell.mark == "tie" else text
