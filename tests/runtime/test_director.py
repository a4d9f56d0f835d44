"""What the director asks for."""

import numpy as np
import pytest
from spatia.runtime.director import ClipPlan, CoverageMeter, Director, Tail, predict_along, retimed_path
from spatia.runtime.settled import LOOK_AGAIN_AFTER_S
from spatia.tests.runtime.tiny import SIZE, tiny_world
from spatia.world.camera import unproject
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.transforms import Transform, look

UP = (0.0, -1.0, 0.0)
HERE = np.eye(4)


def _director(**changes: object) -> Director:
    options = {
        "wants_key_views": True,
        "native_speed": None,
        "min_priority": priority_of(PointClass.INVENTED, 2),
        "up_world": UP,
        "picture_width": SIZE[0],
    }
    return Director(**{**options, **changes})


def _stay(seconds: float) -> Transform:
    return HERE


def _turn_right(seconds: float) -> Transform:
    return look((0, 0, 0), seconds * 1.0, 0.0)


def test_nothing_is_asked_where_the_way_is_known() -> None:
    world = tiny_world()
    director = _director()
    assert director.plan(world.memory.snapshot(), world.info.pinhole, _stay, ring=False) is None
    assert director.coverage_ahead > 0.97


def test_a_turn_asks_for_what_it_will_bring_into_view() -> None:
    world = tiny_world()
    director = _director()
    plan = director.plan(world.memory.snapshot(), world.info.pinhole, _turn_right, ring=False)
    assert plan is not None
    assert plan.purpose == "way"
    assert plan.world_T_camera[-1][0, 2] > 0.2  # looks to the right
    assert director.coverage_ahead < 0.9


def test_a_standing_walker_gets_the_ring_nearest_directions_first() -> None:
    world = tiny_world()
    director = _director()
    angles = []
    for request_id in range(1, 6):
        plan = director.plan(world.memory.snapshot(), world.info.pinhole, _stay)
        assert plan is not None
        assert plan.purpose == "ring"
        angles.append(abs(np.arctan2(plan.world_T_camera[0][0, 2], plan.world_T_camera[0][2, 2])))
        director.submitted(request_id, plan)
    assert angles == sorted(angles)


def test_what_is_pending_is_not_asked_twice() -> None:
    world = tiny_world()
    director = _director()
    first = director.plan(world.memory.snapshot(), world.info.pinhole, _turn_right, ring=False)
    director.submitted(1, first)
    second = director.plan(world.memory.snapshot(), world.info.pinhole, _turn_right, ring=False)
    assert second is None or second.world_T_camera[0][:3, 2] @ first.world_T_camera[0][:3, 2] < np.cos(np.radians(20))


def test_a_settled_direction_is_not_asked_again_although_something_lacks() -> None:
    world = tiny_world()
    director = _director()
    first = director.plan(world.memory.snapshot(), world.info.pinhole, _turn_right, ring=False)
    director.submitted(1, first)
    director.ended(1, is_settled=True)
    director.plan(world.memory.snapshot(), world.info.pinhole, _stay, ring=False)
    assert [s.request_id for s in director.settled] == [1]
    again = director.plan(world.memory.snapshot(), world.info.pinhole, lambda s: first.world_T_camera[0], ring=False)
    assert again is None


def test_a_request_that_ended_without_a_merge_may_be_asked_again() -> None:
    world = tiny_world()
    director = _director()
    plan = director.plan(world.memory.snapshot(), world.info.pinhole, _turn_right, ring=False)
    director.submitted(1, plan)
    director.ended(1, is_settled=False)
    again = director.plan(world.memory.snapshot(), world.info.pinhole, _turn_right, ring=False)
    assert again is not None
    assert np.allclose(again.world_T_camera, plan.world_T_camera)


def test_what_a_placeholder_invented_counts_as_missing_for_a_better_generator() -> None:
    world = tiny_world()
    points = world.memory.points()
    placeholder = np.full(len(points), priority_of(PointClass.INVENTED, 2), np.uint8)
    from spatia.world.memory import SpatialMemory
    from spatia.world.points import PointBatch

    memory = SpatialMemory(world.memory.voxel_size_m)
    memory.insert(
        PointBatch(points.positions_world, points.colors, points.weights, placeholder, points.keyframe.copy())
    )
    better = _director(min_priority=priority_of(PointClass.INVENTED, 40))
    equal = _director()
    assert better.plan(memory.snapshot(), world.info.pinhole, _stay, ring=False) is not None
    assert equal.plan(memory.snapshot(), world.info.pinhole, _stay, ring=False) is None


def test_held_regions_come_back_only_when_released() -> None:
    world = tiny_world()
    director = _director()
    plan = director.plan(world.memory.snapshot(), world.info.pinhole, _turn_right, ring=False)
    director.submitted(1, plan)
    director.ended(1, is_settled=True)
    director.hold(1)
    held = director.plan(world.memory.snapshot(), world.info.pinhole, lambda s: plan.world_T_camera[0], ring=False)
    assert held is None
    (again,) = director.release_held()
    assert again.purpose == "reroll"
    assert np.allclose(again.world_T_camera[0], plan.world_T_camera[0])


@pytest.mark.parametrize("speed", [0.2, 1.4, 3.0])
def test_a_clip_is_slowed_to_what_its_generator_was_trained_for(speed: float) -> None:
    def run(seconds: float) -> Transform:
        return look((0, 0, speed * seconds), 0.0, 0.0)

    poses = retimed_path(run, 81, (0.53, np.radians(9)))
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert steps.max() <= 0.53 / 24 + 1e-9
    assert steps.max() >= min(speed, 0.53) / 24 * 0.99


def test_a_turn_is_slowed_too() -> None:
    poses = retimed_path(_turn_right, 81, (0.53, np.radians(9)))
    assert np.arccos(np.clip(poses[0][:3, 2] @ poses[-1][:3, 2], -1, 1)) <= np.radians(9) * 80 / 24 + 1e-6


def test_a_continuous_generator_gets_one_clip_along_the_way() -> None:
    world = tiny_world()
    director = _director(wants_key_views=False, native_speed=(0.53, 0.16))
    plan = director.plan(world.memory.snapshot(), world.info.pinhole, _turn_right)
    assert plan is not None
    assert len(plan.world_T_camera) == 81
    assert plan.pinhole == world.info.pinhole


def test_a_known_path_is_predicted_by_itself() -> None:
    poses = [look((0, 0, 0.1 * i), 0.0, 0.0) for i in range(5)]
    predict = predict_along(poses, 24.0)
    assert predict(1.5 / 24)[2, 3] == pytest.approx(0.15)
    assert predict(99.0)[2, 3] == pytest.approx(0.4)


def _tail(z_m: float = 0.0) -> Tail:
    poses = np.stack([look((0, 0, z_m + 0.01 * i), 0.0, 0.0) for i in range(9)])
    return Tail(7, np.zeros((9, SIZE[1], SIZE[0], 3), np.uint8), poses)


def test_a_clip_goes_on_from_the_tail_that_is_near() -> None:
    director = _director(wants_key_views=False, native_speed=(0.53, 0.16))
    director.keep_tail(_tail())
    plan = director.plan(tiny_world().memory.snapshot(), tiny_world().info.pinhole, _turn_right)
    assert plan.tail is not None
    assert len(plan.world_T_camera) == 72
    joined = np.concatenate([plan.tail.world_T_camera[-1:], plan.world_T_camera])
    steps = np.linalg.norm(np.diff(joined[:, :3, 3], axis=0), axis=1)
    assert steps.max() <= 0.53 / 24 + 1e-6


def test_a_tail_that_is_far_away_starts_no_clip() -> None:
    director = _director(wants_key_views=False)
    director.keep_tail(_tail(z_m=0.9))
    plan = director.plan(tiny_world().memory.snapshot(), tiny_world().info.pinhole, _turn_right)
    assert plan.tail is None
    assert len(plan.world_T_camera) == 81


def test_an_undone_clip_leaves_no_tail() -> None:
    director = _director(wants_key_views=False)
    director.keep_tail(_tail())
    director.drop_tail(7)
    assert director.tails == []


def test_a_clip_behind_the_walker_is_irrelevant() -> None:
    world = tiny_world()
    director = _director()
    plan = director.plan(world.memory.snapshot(), world.info.pinhole, _turn_right, ring=False)
    assert director.is_relevant(plan, _turn_right)
    assert not director.is_relevant(plan, lambda s: look((0, 0, -9.0), np.pi, 0.0))


class _Passing:
    """A walker who turns right, and what a clip of the right shows: a mover over part of it, or the whole."""

    def __init__(self) -> None:
        self.world, self.director = tiny_world(), _director()
        self.num_asked = 0

    def plan(self, now_s: float) -> ClipPlan | None:
        return self.director.plan(
            self.world.memory.snapshot(), self.world.info.pinhole, _turn_right, ring=False, now_s=now_s
        )

    def look(self, plan: ClipPlan, *, is_hidden: bool) -> None:
        """Merge a clip of a wall that fills the plan's view, but for a part at 45° where something moves."""
        self.num_asked += 1
        pinhole = plan.pinhole
        rays = pinhole.rays() @ plan.world_T_camera[-1][:3, :3].T
        azimuth = np.degrees(np.arctan2(rays[..., 0], rays[..., 2]))
        hidden = (np.abs(azimuth - 45.0) < 4.0) & (np.abs(rays[..., 1]) < 0.4) & is_hidden
        depth = np.where(hidden, 0, 1.5).astype(np.float32)
        for z in (depth, depth * np.float32(1.02)):
            points = unproject(z, pinhole, plan.world_T_camera[-1])
            colors = np.full((len(points), 3), 90, np.uint8)
            batch = PointBatch.uniform(points, colors, priority=priority_of(PointClass.INVENTED, 3), keyframe=9)
            self.world.memory.insert(batch)
        self.director.submitted(self.num_asked, plan)
        self.director.ended(self.num_asked, is_settled=True, hidden=hidden)

    def look_until_settled(self, now_s: float, *, is_hidden: bool) -> list[ClipPlan]:
        """All that is asked for at one moment."""
        plans = []
        while (plan := self.plan(now_s)) is not None:
            plans.append(plan)
            self.look(plan, is_hidden=is_hidden)
            assert len(plans) < 20, "it asks for ever"
        return plans


def _lacks(passing: _Passing, plan: ClipPlan) -> float:
    meter = CoverageMeter(priority_of(PointClass.INVENTED, 2))
    meter.update(passing.world.memory.snapshot())
    lacking = meter.missing(plan.world_T_camera[-1], plan.pinhole)
    meter.close()
    return float(lacking.mean())


def test_what_a_mover_hid_is_asked_for_again_once_it_had_time_to_go() -> None:
    passing = _Passing()
    first = passing.look_until_settled(0.0, is_hidden=True)
    assert _lacks(passing, first[0]) > 0.02
    assert passing.plan(1.0) is None
    passing.look_until_settled(2.5, is_hidden=False)
    assert _lacks(passing, first[0]) < 0.005
    assert passing.plan(100.0) is None


def test_a_mover_that_stays_is_looked_at_again_a_few_times_only() -> None:
    passing = _Passing()
    first = len(passing.look_until_settled(0.0, is_hidden=True))
    for now_s in range(3, 300, 3):
        passing.look_until_settled(float(now_s), is_hidden=True)
    assert first < passing.num_asked <= first * (1 + len(LOOK_AGAIN_AFTER_S))


def test_what_a_mover_hid_far_behind_the_walker_can_wait() -> None:
    passing = _Passing()
    passing.look_until_settled(0.0, is_hidden=True)
    away = np.eye(4)
    away[:3, 3] = (0.0, 0.0, 30.0)
    snapshot, pinhole = passing.world.memory.snapshot(), passing.world.info.pinhole
    plan = passing.director.plan(snapshot, pinhole, lambda s: away, ring=False, now_s=9.0)
    assert plan is None or plan.purpose != "again"
