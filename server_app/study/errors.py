"""The error of a study that cannot be run."""


class StudyError(ValueError):
    """The study cannot be run as it is written; the message says what to write instead."""
