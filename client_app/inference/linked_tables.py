"""Links from a folder of completed files to the tables and annotations of the original ones.

With them, the description of the original files is also that of the completed ones.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from data_partitions.description.sections import Description
from data_partitions.sources.described.files import match_files
from data_partitions.storage import make_private_directory


def find_tables(description: Description, data: Path) -> list[Path]:
    """Find the files of a description, other than recordings, that are in a folder; none beside a file."""
    table, annotations = description.table, description.annotations
    patterns = [table.path, *(joined.path for joined in table.join.values())]
    patterns += [description.task.file, description.split.file]
    if annotations is not None and annotations.path:
        is_suffix = annotations.source == "wfdb" and annotations.path.isidentifier()
        patterns.append(f"**/*.{annotations.path}" if is_suffix else annotations.path)
    if not data.is_dir():
        return []
    return [match.path for pattern in filter(None, patterns) for match in match_files(data, pattern)]


def link_tables(tables: Collection[Path], root: Path, out: Path) -> list[str]:
    """Link to the files below `root` at the same places below `out`, if nothing is there.

    Returns a sentence about each file that could not be linked; those outside of `root` cannot.
    """
    failed: list[str] = []
    base = Path(os.path.abspath(root))
    for file in tables:
        # Without ".."; a link in the folder has its place there, whatever it points to.
        place = Path(os.path.abspath(file))
        if not place.is_relative_to(base):
            failed.append(
                f"{file} is not linked in {out}, as it is outside of {root}: copy it to {out} and name it "
                "there in the description of the completed files"
            )
            continue
        link = out / place.relative_to(base)
        if os.path.lexists(link):
            continue
        try:
            make_private_directory(link.parent)
            # Relative, so that both folders can be moved together.
            link.symlink_to(os.path.relpath(file.resolve(), link.parent.resolve()))
        except OSError as error:
            failed.append(f"{file} is not linked in {out} ({error.strerror}): copy it to use it there")
    return failed
