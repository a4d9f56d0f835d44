"""Chunks go through several threads and come out in order."""

import threading
from collections.abc import Callable
from typing import TypeVar

import pytest
from spatia.saves.parallel import FEW, MAX_BATCH, map_batched, num_threads

Result = TypeVar("Result")


def mapped(function: Callable[[int], Result], count: int) -> list[Result]:
    """One item in a batch."""
    items = range(count)
    return list(
        map_batched(lambda batch: [function(i) for i in batch], items, count, weigh=lambda _: 1, batch_weight=1)
    )


def test_results_come_in_the_order_of_the_items() -> None:
    first = threading.Event()

    def slow_first(i: int) -> int:
        if i == 0 and num_threads() > 1:
            assert first.wait(20)
        if i == 1:
            first.set()
        return 2 * i

    assert mapped(slow_first, 50) == list(range(0, 100, 2))


def test_few_items_stay_on_this_thread() -> None:
    names = set(mapped(lambda _: threading.current_thread().name, FEW - 1))
    assert names == {threading.current_thread().name}


def test_what_is_raised_is_raised_here_and_stops_the_rest() -> None:
    seen: list[int] = []

    def fail(i: int) -> int:
        seen.append(i)
        if i == 3:
            raise ValueError("three")
        return i

    with pytest.raises(ValueError, match="three"):
        mapped(fail, 10_000)
    assert len(seen) < 100


@pytest.mark.parametrize(("weight", "sizes"), [(3, [3, 1]), (1000, [3, 2])])
def test_a_batch_ends_when_it_is_large_enough(weight: int, sizes: list[int]) -> None:
    seen: list[int] = []

    def note(batch: list[int]) -> list[int]:
        seen.append(len(batch))
        return batch

    items = [1, 1, weight - 2, 5] + [0] * (weight == 1000)
    assert list(map_batched(note, items, len(items), weigh=lambda i: i, batch_weight=weight)) == items
    assert seen == sizes


def test_a_batch_of_small_items_ends_all_the_same() -> None:
    lengths = map_batched(lambda batch: [len(batch)] * len(batch), range(100), 0, weigh=lambda _: 0, batch_weight=1)
    assert sorted(set(lengths)) == [100 - MAX_BATCH, MAX_BATCH]
