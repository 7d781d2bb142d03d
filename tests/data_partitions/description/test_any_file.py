"""Whatever a file has, it is read or refused in sentences with its name."""

import re
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from data_partitions.description.reading import description_from_text, read_description
from data_partitions.description.source_sections import Format
from data_partitions.description.template import read_template
from data_partitions.errors import DataError

VALUES = st.sampled_from(
    [
        '""',
        '"x"',
        "3",
        "-1.5",
        "inf",
        "true",
        "[]",
        "[1, 2, 3]",
        '[["C3", "-", "M2"], 5]',
        "{}",
        "{ a = 1 }",
        '"10 s"',
    ]
    + ["1979-05-27", "07:32:00", "[[[]]]", "{ a = { b = [true] } }", '"\\u0000"', '"a/b"', "nan", "", "0"]
)
KEYS = st.sampled_from(
    ["signals", "signals.CC5", "task.classes", '"a.b"', "files", "window.keep", "like", "x", "task"]
)


def read_any(path, text, local=None):
    path.write_text(text, encoding="utf-8")
    try:
        description = read_description(path, local)
    except DataError as error:
        lines = str(error).splitlines()
        assert 1 <= len(lines) <= 11 and all(len(line) < 500 for line in lines), error
        assert all(re.match(r"\S+\.toml(, line \d+)?: \S|and \d+ more", line) for line in lines), error
        return
    text = description.agreed_text()
    assert description_from_text(text).agreed_text() == text


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_changed_line_is_read_or_refused(tmp_path_factory, data):
    lines = read_template(data.draw(st.sampled_from(get_args(Format)))).splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        number = data.draw(st.integers(0, len(lines) - 1))
        key = lines[number].partition(" = ")[0]
        change = data.draw(st.sampled_from(["value", "section", "remove", "twice", "cut", "add"]))
        if change == "value":
            lines[number] = f"{key} = {data.draw(VALUES)}"
        elif change == "section":
            lines[number] = f"[{data.draw(KEYS)}]"
        elif change == "add":
            lines.insert(number, f"{data.draw(KEYS)} = {data.draw(VALUES)}")
        elif change == "twice":
            lines.insert(number, lines[number])
        else:
            lines[number] = lines[number][: len(lines[number]) // 2] if change == "cut" else ""
    read_any(tmp_path_factory.getbasetemp() / "any.toml", "\n".join(lines))


@settings(max_examples=60, deadline=None)
@given(KEYS, VALUES, KEYS)
def test_any_local_file_is_read_or_refused(tmp_path_factory, key, value, section):
    folder = tmp_path_factory.getbasetemp()
    (folder / "here.toml").write_text(f"{key} = {value}\n[{section}.y]\n", encoding="utf-8")
    read_any(folder / "dataset.toml", read_template("edf"), folder / "here.toml")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    read_any(tmp_path_factory.getbasetemp() / "text.toml", text.replace("\r", ""))
