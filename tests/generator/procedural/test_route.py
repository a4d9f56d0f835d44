"""Ways of things that move: where one is depends on the time and the walker, and changes without a jump."""

import math

import numpy as np
import pytest
from spatia.generator.procedural.route import BEND_M, CELL_M, WALKER_RADIUS_M, Route

SPEED_M_S, RADIUS_M, STEP_S = 1.0, 0.3, 1 / 24


def square(side_m: float, room_m: float) -> Route:
    """A square way round an obstacle, with so much room on both sides of the way."""
    corners = np.array([(2.0, 2.0), (2.0 + side_m, 2.0), (2.0 + side_m, 2.0 + side_m), (2.0, 2.0 + side_m)])
    cells = round((side_m + 4.0) / CELL_M)
    y, x = (np.mgrid[0:cells, 0:cells] + 0.5) * CELL_M - 2.0
    out = np.maximum(np.maximum(-x, x - side_m), np.maximum(-y, y - side_m))
    free = np.abs(out) <= room_m
    return Route("person", corners, np.arange(5) * side_m, SPEED_M_S, RADIUS_M, 7, free)


def on(route: Route, walker: tuple[float, float], seconds: float) -> np.ndarray:
    """(N, 2) where it is, a picture apart."""
    stances = [route.at(float(t), walker) for t in np.arange(0.0, seconds, STEP_S)]
    return np.array([(at.x, at.y) for at in stances])


def is_free(route: Route, places: np.ndarray) -> bool:
    cells = np.floor(places / CELL_M).astype(int)
    return bool(route.free[cells[:, 1], cells[:, 0]].all())


@pytest.mark.parametrize("room_m", [0.15, 1.5])
@pytest.mark.parametrize("walker", [(4.0, 2.0), (4.0, 2.3), (3.7, 1.8), (2.05, 2.0), (2.0, 4.9)])
def test_nothing_jumps_while_the_walker_stands(room_m: float, walker: tuple[float, float]) -> None:
    steps = np.linalg.norm(np.diff(on(square(5.0, room_m), walker, 90.0), axis=0), axis=1)
    assert steps.max() < 2.0 * SPEED_M_S * STEP_S


@pytest.mark.parametrize("room_m", [0.15, 1.5])
def test_the_walker_is_kept_clear_of_within_the_free_room(room_m: float) -> None:
    route, walker = square(5.0, room_m), (4.0, 2.1)
    places = on(route, walker, 60.0)
    assert np.linalg.norm(places - walker, axis=1).min() >= RADIUS_M + WALKER_RADIUS_M
    assert is_free(route, places)


def test_where_there_is_room_the_walker_is_passed() -> None:
    route, walker = square(5.0, 1.5), (4.0, 2.1)
    places, alone = on(route, walker, 20.0), on(route, (99.0, 99.0), 20.0)
    assert np.linalg.norm(places - alone, axis=1).max() < RADIUS_M + WALKER_RADIUS_M + 0.2
    passing = np.abs(alone[:, 0] - walker[0]) + np.abs(alone[:, 1] - walker[1]) < 0.3
    assert np.linalg.norm(places - alone, axis=1)[passing].min() > 0.3


def test_where_there_is_none_it_turns_back() -> None:
    route, walker = square(5.0, 0.15), (4.0, 2.0)
    places = on(route, walker, 2 * route.length_m / SPEED_M_S)
    beyond = places[(np.abs(places[:, 1] - 2.0) < 0.1)]
    assert (beyond[:, 0] > walker[0]).any()
    assert (beyond[:, 0] < walker[0]).any()
    moves = np.diff(places, axis=0)[:-1], np.diff(places, axis=0)[1:]
    assert (moves[0] * moves[1]).sum(1).min() >= -1e-9, "it stands before it goes back"
    assert (np.linalg.norm(moves[0], axis=1) < 1e-9).any()


def test_it_faces_where_it_goes_both_ways() -> None:
    route, walker = square(5.0, 0.15), (4.0, 2.0)
    for t in np.arange(0.0, 80.0, 0.37):
        here, then = route.at(float(t), walker), route.at(float(t) + 0.02, walker)
        step = np.array((then.x - here.x, then.y - here.y))
        if np.linalg.norm(step) > 0.015:
            assert np.dot(step / np.linalg.norm(step), (math.cos(here.heading), math.sin(here.heading))) > 0.6


def test_it_steps_no_further_than_it_moves() -> None:
    route, walker = square(5.0, 0.15), (4.0, 2.0)
    walked = [route.at(float(t), walker).walked for t in np.arange(0.0, 90.0, STEP_S)]
    assert (np.diff(walked) >= -1e-9).all()
    assert np.diff(walked).max() <= SPEED_M_S * STEP_S + 1e-9


def test_a_walker_far_from_the_way_changes_nothing() -> None:
    route = square(5.0, 1.5)
    for t in (0.0, 3.3, 77.7):
        assert route.at(t, (4.5, 4.5)) == route.at(t)


def test_a_walker_round_whom_the_whole_way_runs_is_waited_for() -> None:
    route = square(0.6, 0.5)
    places = on(route, (2.3, 2.3), 5.0)
    assert np.ptp(places, axis=0).max() < 1e-9


def test_two_stretches_whose_bends_would_overlap_are_waited_before() -> None:
    route = square(1.0, 2.0)
    assert 2 * (2 * BEND_M + 2 * (RADIUS_M + WALKER_RADIUS_M)) > 4.0
    steps = np.linalg.norm(np.diff(on(route, (2.5, 1.7), 30.0), axis=0), axis=1)
    assert steps.max() < 2.0 * SPEED_M_S * STEP_S
