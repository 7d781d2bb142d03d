"""The annotated templates of `dataset.toml`, one for each format of files."""

from pathlib import Path

FOLDER = Path(__file__).parent / "templates"


def read_template(format: str) -> str:
    """Return the template for files of a format of `FilesSection`, as TOML with a comment for each key."""
    return (FOLDER / f"{format}.toml").read_text(encoding="utf-8")
