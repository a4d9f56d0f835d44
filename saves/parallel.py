"""Work on many chunks with a few threads, in order and without holding them all."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_THREADS = 4
"""More gain little: the parts that hold the interpreter's lock take a third of the time."""
FEW = 16
"""Fewer items than this are not worth starting threads, and an autosave shall not take a second core."""


def num_threads() -> int:
    """Threads that this machine has room for."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MAX_THREADS, available))


def map_ordered(function: Callable[[Item], Result], items: Iterable[Item], count: int) -> Iterator[Result]:
    """Results in the order of the items; at most a few are under way at a time.

    Args:
        function: Called on other threads; what it raises is raised here.
        items: Taken as they are needed.
        count: How many items there are.
    """
    if count < FEW or num_threads() == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(num_threads(), thread_name_prefix="spatia-codec") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * num_threads():
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
