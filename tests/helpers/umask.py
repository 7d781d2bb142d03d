"""The umask of this process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the umask while the block runs."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
