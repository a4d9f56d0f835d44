"""Tasks: goals, distances, success, SPL, what is newly seen."""

from typing import Any

import numpy as np
import pytest
from spatia.runtime.agent_actions import Action
from spatia.runtime.collision import CELL_M, Survey
from spatia.runtime.environment import WalkEnv
from spatia.runtime.errors import UserError
from spatia.runtime.floor_plan import FloorPlan, Ground
from spatia.runtime.tasks import Exploration, PointGoal, PointGoalTask, task_of
from spatia.runtime.world import World
from spatia.tests.fakes import MODULE
from spatia.tests.runtime.tiny import EYE_HEIGHT_M, WALL_M, tiny_world
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.transforms import level_frame

INSTANT = f"{MODULE}:InstantGenerator"
SIZE = (48, 36)


def _ahead(metres: float, right_m: float = 0.0) -> np.ndarray:
    """A place so far from the start of the tiny world over its floor, whose fitted plane is tilted a little."""
    frame = level_frame(tiny_world().info.up_world)
    return frame @ np.array([right_m, EYE_HEIGHT_M, metres])


AHEAD = _ahead(1.5)


def _env(task: Any, world: World | None = None, **arguments: Any) -> WalkEnv:
    return WalkEnv(world or tiny_world(), task=task, **{"generator": "none", "size": SIZE, **arguments})


def _go(env: WalkEnv, *actions: Any) -> list[tuple[Any, ...]]:
    return [env.step(action) for action in actions]


def _walled_world() -> World:
    """A wall across the way, 1.4 m ahead, that reaches 1.6 m to either side."""
    world = tiny_world()
    axes = (np.arange(-1.6, 1.6, 0.02), np.arange(-0.3, EYE_HEIGHT_M, 0.02), np.arange(1.4, 1.46, 0.02))
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)
    batch = PointBatch.uniform(
        points, np.full(points.shape, 128, np.uint8), priority=priority_of(PointClass.OBSERVED), keyframe=1
    )
    world.memory.insert(batch)
    return world


# -- the plan of the floor --------------------------------------------------------------------------------------------


def _survey(blocking: list[tuple[int, int]], floor: list[tuple[int, int]] = []) -> Survey:  # noqa: B006 - never changed
    def columns(cells: list[tuple[int, int]]) -> np.ndarray:
        return np.array(cells, np.int64).reshape(-1, 2)

    return Survey(np.eye(3), 1.2, np.zeros(3), columns(blocking), columns(floor))


def _wall(x_from: int, x_to: int, z: int) -> list[tuple[int, int]]:
    return [(x, z) for x in range(x_from, x_to)]


def test_a_free_way_is_the_straight_line() -> None:
    plan = FloorPlan(_survey([], [(-40, -40), (40, 40)]), 4.0)
    way = plan.way([-1.0, -1.0], [1.0, 1.3])
    assert way.is_geodesic
    assert way.length_m == pytest.approx(np.hypot(2.0, 2.3))
    assert plan.distances_to(np.array([1.0, 1.3])).at([-1.0, -1.0]) == pytest.approx(np.hypot(2.0, 2.3))


def test_a_way_leads_around_a_wall_at_a_bodys_distance() -> None:
    plan = FloorPlan(_survey(_wall(-20, 20, 20), [(-60, -60), (60, 60)]), 4.0)
    a, b = np.array([0.0, 0.0]), np.array([0.0, 2.0])
    way = plan.way(a, b)
    reach = 0.22 + CELL_M / 2
    corners = [np.array([1.0 + reach * 0.7, 1.025 - reach * 0.7]), np.array([1.0 + reach * 0.7, 1.025 + reach * 0.7])]
    shortest = sum(float(np.linalg.norm(q - p)) for p, q in zip([a, *corners], [*corners, b], strict=True))
    assert way.length_m == pytest.approx(shortest, rel=0.06)
    assert plan.distances_to(b).at(a) == pytest.approx(way.length_m, rel=0.03)
    assert not plan.is_straight(a, b)


def test_distances_agree_with_a_plain_relaxation() -> None:
    plan = FloorPlan(_survey(_wall(-8, 30, 10), [(-30, -30), (30, 30)]), 1.5)
    goal = plan.places(np.array([[30, 45]]))[0]
    field = plan.distances_to(goal).field_m
    free = plan.ground != Ground.BLOCKED
    slow = np.where(np.arange(free.size).reshape(free.shape) == np.ravel_multi_index((30, 45), free.shape), 0.0, np.inf)
    moves = [(i, j) for i in range(-3, 4) for j in range(-3, 4) if np.gcd(i, j) == 1]
    for _ in range(80):
        best = slow.copy()
        for i, j in moves:
            shifted = np.full_like(slow, np.inf)
            to = (slice(max(0, i), slow.shape[0] + min(0, i)), slice(max(0, j), slow.shape[1] + min(0, j)))
            of = (slice(max(0, -i), slow.shape[0] + min(0, -i)), slice(max(0, -j), slow.shape[1] + min(0, -j)))
            shifted[to] = slow[of] + np.hypot(i, j) * CELL_M
            best = np.minimum(best, shifted)
        slow = np.where(free, best, np.inf)
    assert np.allclose(field, slow, atol=1e-9)


def test_a_goal_that_is_walled_in_falls_back_to_the_straight_line_and_says_so() -> None:
    ring = [(x, z) for x in range(-16, 17) for z in range(-16, 17) if max(abs(x), abs(z)) == 16]
    plan = FloorPlan(_survey([(x, z + 30) for x, z in ring], [(-60, -60), (60, 60)]), 4.0)
    way = plan.way([0.0, -1.0], [0.0, 1.5])
    assert not way.is_geodesic
    assert way.length_m == pytest.approx(2.5)
    assert plan.distances_to(np.array([0.0, 1.5])).at([0.0, -1.0]) == pytest.approx(2.5)


def test_the_share_of_a_way_over_seen_floor_is_told() -> None:
    floor = [(x, z) for x in range(-10, 11) for z in range(21)]
    plan = FloorPlan(_survey([], [*floor, (60, 60)]), 4.0)
    assert plan.way([0.0, 0.1], [0.0, 1.0]).seen_share == 1.0
    assert plan.way([0.0, 0.5], [0.0, 1.55]).seen_share == pytest.approx(0.52, abs=0.06)
    assert plan.way([0.0, 2.0], [0.5, 2.5]).seen_share == 0.0


def test_where_everything_is_blocked_distances_are_straight() -> None:
    everything = [(x, z) for x in range(-30, 31) for z in range(-30, 31)]
    plan = FloorPlan(_survey(everything), 1.0)
    assert plan.distances_to(np.array([0.5, 0.5])).at([0.0, 0.5]) == pytest.approx(0.5)


def test_a_plan_shows_what_collision_feels() -> None:
    with _closing(_env("free")) as env:
        env.reset(seed=0)
        plan = FloorPlan.around(env.session.collision, np.zeros(3), 6.0)
        assert plan.ground[plan.cell_of([0.0, WALL_M])] == Ground.BLOCKED
        assert plan.ground[plan.cell_of([0.0, 2.5])] == Ground.SEEN
        assert plan.ground[plan.cell_of([0.0, -0.9])] == Ground.UNKNOWN
        assert not plan.is_straight([0.0, 0.0], [0.0, WALL_M])


def test_the_picture_shows_paths_and_goals() -> None:
    plan = FloorPlan(_survey(_wall(-20, 20, 20), [(-40, -40), (40, 40)]), 4.0)
    empty = plan.picture()
    path = np.stack([plan.position_of(p) for p in ([0.0, 0.0], [0.5, 0.5])])
    drawn = plan.picture([path], [plan.position_of([0.5, 0.5])])
    assert drawn.shape == empty.shape
    changed = np.argwhere((drawn != empty).any(2))
    assert 50 < len(changed) < drawn.shape[0] * drawn.shape[1] / 4
    assert changed[:, 0].mean() < drawn.shape[0] / 2  # forward is up


# -- point goal -------------------------------------------------------------------------------------------------------


class _closing:  # noqa: N801 - as contextlib.closing, but for environments of both kinds
    def __init__(self, env: WalkEnv) -> None:
        self._env = env

    def __enter__(self) -> WalkEnv:
        return self._env

    def __exit__(self, *_: object) -> None:
        self._env.close()


def test_the_goal_is_seen_as_distance_and_angle() -> None:
    with _closing(_env("pointgoal")) as env:
        observation, _ = env.reset(seed=0, options={"goal": _ahead(1.0, 1.0)})
        assert observation["goal"] == pytest.approx([np.sqrt(2.0), np.pi / 4], abs=2e-2)
        turned = _go(env, *[Action.TURN_RIGHT] * 3)[-1][0]
        assert turned["goal"] == pytest.approx([np.sqrt(2.0), 0.0], abs=2e-2)
        beyond = _go(env, *[Action.TURN_RIGHT] * 2)[-1][0]
        assert beyond["goal"][1] == pytest.approx(-np.radians(30.0), abs=2e-2)


def test_a_stop_at_the_goal_after_the_shortest_way_is_an_spl_of_one() -> None:
    with _closing(_env("pointgoal")) as env:
        env.reset(seed=0, options={"goal": AHEAD})
        *_, last = _go(env, *[Action.FORWARD] * 6, Action.STOP)
        assert last[2] is True
        assert last[4]["success"] is True
        assert last[4]["spl"] == pytest.approx(1.0, abs=0.01)
        assert last[4]["soft_spl"] == pytest.approx(1.0, abs=0.02)


def test_a_detour_lowers_spl_by_the_ratio_of_lengths() -> None:
    with _closing(_env("pointgoal")) as env:
        env.reset(seed=0, options={"goal": AHEAD})
        turn_around = [Action.TURN_LEFT] * 12
        detour = [Action.FORWARD, *turn_around, Action.FORWARD, *turn_around]
        *_, last = _go(env, *detour, *[Action.FORWARD] * 6, Action.STOP)
        assert last[4]["success"] is True
        assert last[4]["path_length_m"] == pytest.approx(2.0, abs=0.01)
        assert last[4]["spl"] == pytest.approx(1.5 / 2.0, abs=0.01)


def test_a_stop_elsewhere_terminates_without_success() -> None:
    with _closing(_env("pointgoal")) as env:
        env.reset(seed=0, options={"goal": AHEAD})
        *_, last = _go(env, *[Action.FORWARD] * 3, Action.STOP)
        assert last[2] is True
        assert (last[4]["success"], last[4]["spl"]) == (False, 0.0)
        assert last[4]["soft_spl"] == pytest.approx(0.5, abs=0.02)


def test_passing_the_goal_without_a_stop_is_no_success() -> None:
    with _closing(_env("pointgoal")) as env:
        env.reset(seed=0, options={"goal": AHEAD})
        steps = _go(env, *[Action.FORWARD] * 6)
        assert steps[-1][4]["distance_to_goal_m"] < 0.05
        assert not any(step[2] or step[4]["success"] for step in steps)


def test_standing_still_at_the_goal_is_the_stop_of_continuous_actions() -> None:
    with _closing(_env("pointgoal", actions="continuous")) as env:
        env.reset(seed=0, options={"goal": _ahead(0.1)})
        step = env.step(np.zeros(4, np.float32))
        assert step[2] is True
        assert step[4]["success"] is True


def test_rewards_add_up_to_progress_and_success() -> None:
    config = PointGoal(success_reward=5.0, slack_reward=-0.1)
    with _closing(_env(config)) as env:
        _, first = env.reset(seed=0, options={"goal": AHEAD})
        steps = _go(env, *[Action.FORWARD] * 6, Action.STOP)
        progress = first["distance_to_goal_m"] - steps[-1][4]["distance_to_goal_m"]
        assert sum(step[1] for step in steps) == pytest.approx(progress + 5.0 - 0.7)


def test_collisions_can_cost() -> None:
    steps = []
    for penalty in (0.0, 1.0):
        with _closing(_env(PointGoal(collision_penalty=penalty))) as env:
            env.reset(seed=0, options={"goal": AHEAD})
            steps.append(_go(env, *[Action.FORWARD] * 13)[-1])
    assert steps[0][4]["collided"]
    assert steps[0][1] - steps[1][1] == pytest.approx(1.0)


def test_the_shortest_way_goes_around_what_blocks() -> None:
    with _closing(_env("pointgoal", _walled_world())) as env:
        observation, info = env.reset(seed=0, options={"goal": _ahead(2.2)})
        assert observation["goal"][0] == pytest.approx(2.2, abs=0.02)
        assert info["shortest_is_geodesic"]
        assert info["shortest_path_m"] > 3.5
        assert info["distance_to_goal_m"] == pytest.approx(info["shortest_path_m"], rel=0.03)


def test_following_the_shortest_way_reaches_the_goal_around_a_wall() -> None:
    with _closing(_env("pointgoal", _walled_world())) as env:
        env.reset(seed=0, options={"goal": _ahead(2.2, 0.3)})
        assert isinstance(env.task, PointGoalTask)
        last = _follow(env, env.task)
        assert last[4]["success"] is True
        assert last[4]["spl"] > 0.85


def _follow(env: WalkEnv, task: PointGoalTask) -> tuple[Any, ...]:
    """Walk to the next corner of the shortest way, again and again."""
    plan = task.floor_plan()
    goal = plan.place_of(task.goal_world())
    distances = plan.distances_to(goal)
    step: tuple[Any, ...] = ()
    for _ in range(120):
        here = plan.place_of(env.session.rig.state.position)
        if np.linalg.norm(goal - here) < 0.19:
            return env.step(Action.STOP)
        corners = plan.way(here, goal, distances).points_level
        corner = next(c for c in corners[1:] if np.linalg.norm(c - here) > 0.1)
        angle = np.arctan2(*(corner - here)) - env.session.rig.state.yaw_rad
        angle = (angle + np.pi) % (2 * np.pi) - np.pi
        if abs(angle) > np.radians(8.0):
            step = env.step(Action.TURN_RIGHT if angle > 0 else Action.TURN_LEFT)
        else:
            step = env.step(Action.FORWARD)
    return step


def test_goals_are_drawn_on_seen_floor_at_the_distance_asked_for() -> None:
    with _closing(_env(PointGoal(min_distance_m=1.5, max_distance_m=2.5))) as env:
        goals = []
        for seed in range(8):
            _, info = env.reset(seed=seed)
            assert isinstance(env.task, PointGoalTask)
            plan = env.task.floor_plan()
            assert plan.ground[plan.cell_of(plan.place_of(info["goal_world"]))] == Ground.SEEN
            assert 1.45 <= info["shortest_path_m"] <= 2.55
            goals.append(tuple(info["goal_world"].round(3)))
        assert len(set(goals)) > 4


def test_the_same_seed_draws_the_same_goal() -> None:
    with _closing(_env("pointgoal")) as env:
        goals = [env.reset(seed=seed)[1]["goal_world"] for seed in (3, 4, 3)]
        assert np.array_equal(goals[0], goals[2])
        assert not np.array_equal(goals[0], goals[1])


def test_goals_beyond_what_is_known_lie_on_unknown_ground() -> None:
    with _closing(_env(PointGoal(min_distance_m=12.0, max_distance_m=14.0))) as env:
        _, info = env.reset(seed=0)
        assert info["seen_share"] < 0.5
        assert 11.9 <= info["shortest_path_m"] <= 14.1


@pytest.mark.parametrize("goal", [(0.0, 1.0), (0.0, 1.0, float("nan"))])
def test_a_goal_that_is_no_position_is_refused(goal: tuple[float, ...]) -> None:
    with _closing(_env("pointgoal")) as env, pytest.raises(UserError, match="goal"):
        env.reset(seed=0, options={"goal": goal})


@pytest.mark.parametrize(
    "arguments", [{"success_distance_m": 0.0}, {"min_distance_m": 0.1}, {"min_distance_m": 3.0, "max_distance_m": 2.0}]
)
def test_distances_of_goals_are_checked(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="success_distance_m"):
        PointGoal(**arguments)


# -- exploration ------------------------------------------------------------------------------------------------------


def test_the_first_view_counts_but_is_not_rewarded() -> None:
    with _closing(_env("exploration")) as env:
        _, info = env.reset(seed=0)
        assert info["seen_observed_m2"] > 5.0
        assert info["seen_invented_m2"] == 0.0
        _, reward, _, _, after = env.step(Action.STOP)
        assert reward == 0.0
        assert after["seen_observed_m2"] == info["seen_observed_m2"]


def test_the_area_of_a_wall_is_about_its_own() -> None:
    pose = np.eye(4)
    pose[:3, 3] = (0.0, -0.6, 1.4)  # so near that the wall, parallel to the cubes, is all there is
    with _closing(_env("exploration", size=(96, 72))) as env:
        _, info = env.reset(seed=0, options={"pose": pose})
        pinhole = env.session.pinhole
        depth = WALL_M - 1.4
        area = (depth * pinhole.width / pinhole.fx) * (depth * pinhole.height / pinhole.fy)
        assert info["seen_observed_m2"] == pytest.approx(area, rel=0.25)


def test_observed_and_invented_surface_are_counted_apart() -> None:
    with _closing(_env("exploration", generator=INSTANT)) as env:
        _, first = env.reset(seed=0)
        steps = _go(env, *[Action.TURN_LEFT] * 6)
        last = steps[-1][4]
        assert last["seen_invented_m2"] > 0.5
        assert last["seen_observed_m2"] >= first["seen_observed_m2"]
        new = sum(step[4]["new_invented_m2"] for step in steps)
        assert last["seen_invented_m2"] == pytest.approx(new)


def test_rewards_weigh_observed_and_invented_surface() -> None:
    config = Exploration(observed_reward_per_m2=2.0, invented_reward_per_m2=0.5)
    with _closing(_env(config, generator=INSTANT)) as env:
        env.reset(seed=0)
        for _, reward, _, _, info in _go(env, *[Action.TURN_LEFT] * 4):
            assert reward == pytest.approx(2.0 * info["new_observed_m2"] + 0.5 * info["new_invented_m2"])


def test_what_was_seen_before_is_not_rewarded_again() -> None:
    with _closing(_env("exploration")) as env:
        env.reset(seed=0)
        there = _go(env, Action.TURN_LEFT, Action.TURN_LEFT, Action.TURN_RIGHT, Action.TURN_RIGHT)
        again = _go(env, Action.TURN_LEFT, Action.TURN_LEFT)
        assert sum(s[1] for s in again) <= sum(s[1] for s in there)
        assert again[-1][1] == 0.0


def test_farther_surface_than_asked_for_does_not_count() -> None:
    with _closing(_env(Exploration(max_range_m=1.0))) as env:
        assert env.reset(seed=0)[1]["seen_observed_m2"] == 0.0


@pytest.mark.parametrize("arguments", [{"cell_m": 0.0}, {"max_range_m": -1.0}, {"width_px": 2}])
def test_what_is_counted_is_checked(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="exploration"):
        Exploration(**arguments)


@pytest.mark.parametrize("choice", ["chess", 3])
def test_an_unknown_task_lists_the_tasks(choice: Any) -> None:
    with pytest.raises(ValueError, match="free, pointgoal, exploration"):
        task_of(choice)
