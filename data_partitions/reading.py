"""Reading records one by one, on all cores where there are many."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

import numpy as np

from data_partitions.errors import DataError
from data_partitions.report import Report

Record = TypeVar("Record")

WORTH_PROCESSES = 500  # records from which on several processes pay for their start
AHEAD = 512  # records read before they are asked for, at most


def read_each(
    read_one: Callable[[Record], np.ndarray], records: list[Record], report: Report
) -> Iterator[np.ndarray | None]:
    """`read_one` of each record in order; None for one that it refuses, of which `report` is told.

    `read_one` must be picklable: header parsing is Python, so that only processes make use of more cores.
    """
    outcome = partial(_outcome, read_one)
    outcomes = map(outcome, records) if len(records) < WORTH_PROCESSES else _spread(outcome, records)
    for window in outcomes:
        if isinstance(window, DataError):
            report.leave_out(window)
            window = None
        yield window


def _outcome(read_one: Callable[[Record], np.ndarray], record: Record) -> np.ndarray | DataError:
    try:
        return read_one(record)
    except DataError as error:
        return error


def _spread(function: Callable, items: list) -> Iterator:
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for start in range(0, len(items), AHEAD):
            yield from pool.map(function, items[start : start + AHEAD], chunksize=16)
