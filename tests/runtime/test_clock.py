"""The fixed step."""

from hypothesis import given
from hypothesis import strategies as st
from spatia.runtime.clock import MAX_FRAME_TIME_S, MAX_TICKS_PER_FRAME, FixedStep, SimulatedClock


@given(st.lists(st.floats(0.0, 0.1), max_size=50))
def test_ticks_follow_the_time_that_passed(times: list[float]) -> None:
    step = FixedStep(1 / 60)
    ticks = sum(step.take(t) for t in times)
    assert abs((ticks + step.dropped_ticks) / 60 - sum(times)) <= 1 / 60 + 1e-6


def test_a_hitch_slows_the_walk_instead_of_starting_a_spiral() -> None:
    step = FixedStep(1 / 60)
    assert step.take(10.0) == MAX_TICKS_PER_FRAME
    assert step.dropped_ticks == int(MAX_FRAME_TIME_S * 60) - MAX_TICKS_PER_FRAME


def test_time_that_runs_backwards_is_no_tick() -> None:
    step = FixedStep(1 / 60)
    assert step.take(-1.0) == 0
    assert step.overstep == 0.0


def test_overstep_is_the_part_of_a_tick_that_has_passed() -> None:
    step = FixedStep(0.1)
    assert step.take(0.125) == 1
    assert abs(step.overstep - 0.25) < 1e-9


def test_simulated_time_moves_only_when_told() -> None:
    clock = SimulatedClock()
    before = clock.now_s()
    clock.wait_until(2.0)
    clock.wait_until(1.0)
    clock.advance(0.5)
    assert (before, clock.now_s()) == (0.0, 2.5)
