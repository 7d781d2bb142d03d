"""The one error of this package."""


class DataError(ValueError):
    """Input that cannot be used: one sentence with what was expected, what came and what to do."""
