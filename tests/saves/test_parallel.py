"""Chunks go through several threads and come out in order."""

import threading

import pytest
from spatia.saves.parallel import FEW, map_ordered, num_threads


def test_results_come_in_the_order_of_the_items() -> None:
    first = threading.Event()

    def slow_first(i: int) -> int:
        if i == 0 and num_threads() > 1:
            assert first.wait(20)
        if i == 1:
            first.set()
        return 2 * i

    assert list(map_ordered(slow_first, range(50), 50)) == list(range(0, 100, 2))


def test_few_items_stay_on_this_thread() -> None:
    names = set(map_ordered(lambda _: threading.current_thread().name, range(FEW - 1), FEW - 1))
    assert names == {threading.current_thread().name}


def test_what_is_raised_is_raised_here_and_stops_the_rest() -> None:
    seen: list[int] = []

    def fail(i: int) -> int:
        seen.append(i)
        if i == 3:
            raise ValueError("three")
        return i

    with pytest.raises(ValueError, match="three"):
        list(map_ordered(fail, range(10_000), 10_000))
    assert len(seen) < 100
