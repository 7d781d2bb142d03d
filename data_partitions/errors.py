"""The base of this package's errors."""


class DataError(ValueError):
    """Input cannot be used. The message is one sentence: what was expected, what came and what to do."""
