"""Work on many chunks with a few threads, in order and without holding them all."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_THREADS = 4
"""More gain little: some parts hold the interpreter's lock."""
MAX_BATCH = 64
"""Items in one batch, however small they are."""
FEW = 16
"""Fewer items than this are not worth starting threads, and an autosave shall not take a second core."""


def num_threads() -> int:
    """Threads that this machine has room for."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MAX_THREADS, available))


def map_batched(
    function: Callable[[list[Item]], list[Result]],
    items: Iterable[Item],
    count: int,
    *,
    weigh: Callable[[Item], int],
    batch_weight: int,
) -> Iterator[Result]:
    """Results in the order of the items, which a function takes several at a time.

    Args:
        function: As many results as items; called on other threads, what it raises is raised here.
        items: Taken as they are needed.
        count: How many items there are.
        weigh: How large an item is.
        batch_weight: Items that are as large together go in one batch.
    """
    batches = _batches(items, weigh, batch_weight)
    if count < FEW or num_threads() == 1:
        for batch in batches:
            yield from function(batch)
        return
    for results in _map_threaded(function, batches):
        yield from results


def _batches(items: Iterable[Item], weigh: Callable[[Item], int], batch_weight: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    weight = 0
    for item in items:
        batch.append(item)
        weight += weigh(item)
        if weight >= batch_weight or len(batch) == MAX_BATCH:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch


def _map_threaded(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
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
