"""Work on many files in several processes, with progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from data_partitions.errors import DataError
from data_partitions.preparation_log import ProgressCallback

MIN_ITEMS = 400  # below, starting processes takes longer than the work
MAX_PROCESSES = 8
CHUNKS_PER_PROCESS = 20  # so that progress is seen, and no process is idle at the end

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_files(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    step: str,
    progress: ProgressCallback,
    min_items: int = MIN_ITEMS,
) -> list[Result]:
    """Return `work(item)` of each item, in order; with `min_items` and more, from several processes.

    `work` is a function of a module, which other processes can import, and returns its errors.
    """
    processes = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, MAX_PROCESSES)
    results: list[Result] = []
    if processes == 1 or len(items) < min_items:
        for item in items:
            results.append(work(item))
            progress(step, len(results), len(items))
        return results
    chunk = max(1, len(items) // (processes * CHUNKS_PER_PROCESS))
    try:
        # Forked processes would share the locks of the thread that draws the progress.
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            for result in pool.map(work, items, chunksize=chunk):
                results.append(result)
                progress(step, len(results), len(items))
    except BrokenProcessPool:
        raise DataError(
            "a process that read files was ended by the system, perhaps for want of memory"
        ) from None
    return results
