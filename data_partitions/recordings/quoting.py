"""Text of files in messages, which are one short sentence whatever a file has."""


def shorten(text: str, length: int = 40) -> str:
    """Return the start of a text, on one line."""
    return " ".join(text[: 4 * length].split())[:length]
