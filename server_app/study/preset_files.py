"""The studies that come with CondI."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "presets"


def preset_summaries() -> dict[str, str]:
    """Return the names of the presets, each with the first line of its file."""
    return {
        path.stem: path.read_text().splitlines()[0].lstrip("# ") for path in sorted(FOLDER.glob("*.toml"))
    }


def preset_file(name: str) -> Path:
    """Return the TOML file of a preset, which need not exist."""
    return FOLDER / f"{name}.toml"
