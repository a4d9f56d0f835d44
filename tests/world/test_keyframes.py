"""The frame bank: who is admitted, who goes, undo, and references for a path."""

import numpy as np
import pytest
from spatia.world.camera import Pinhole, unproject
from spatia.world.errors import StaleChangeError
from spatia.world.keyframes import FrameBank, Keyframe
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointBatch, PointClass
from spatia.world.transforms import look

CAMERA = Pinhole.from_fov(32, 24, 1.0)
FRAME_BYTES = 32 * 24 * (3 + 4)


def _room_depth(pose):
    """Depth of a wall at z = 3 m that fills the view."""
    direction = CAMERA.rays() @ pose[:3, :3].T
    return np.where(direction[..., 2] > 0.1, (3.0 - pose[2, 3]) / direction[..., 2], 0).astype(np.float32)


def _frame(number, x=0.0, yaw=0.0, *, point_class=PointClass.OBSERVED, rank=0, request_id=0, depth=True, z=0.0):
    pose = look((x, 0, z), yaw, 0.0)
    color = np.full((24, 32, 3), number, np.uint8)
    depth_m = _room_depth(pose) if depth else None
    return Keyframe(number, request_id, color, CAMERA, pose, point_class, rank, depth_m)


def _ids(bank):
    return [frame.keyframe_id for frame in bank.keyframes]


def test_a_frame_that_shows_nothing_new_is_not_kept():
    bank = FrameBank()
    assert bank.add(_frame(1))
    assert not bank.add(_frame(2, x=0.05))
    assert _ids(bank) == [1]


def test_a_frame_with_enough_new_surface_is_kept():
    bank = FrameBank()
    bank.add(_frame(1))
    assert bank.add(_frame(2, x=1.0))
    assert _ids(bank) == [1, 2]


def test_a_frame_from_much_nearer_is_new():
    bank = FrameBank()
    bank.add(_frame(1))
    assert not bank.add(_frame(2, z=1.0))
    assert bank.add(_frame(3, z=2.0))


def test_a_frame_behind_an_obstacle_of_another_is_new():
    near = _frame(1)
    blocked = Keyframe(1, 0, near.color, CAMERA, near.world_T_camera, near.point_class,
                       depth_m=np.full((24, 32), 1.0, np.float32))  # fmt: skip
    bank = FrameBank()
    bank.add(blocked)
    assert bank.add(_frame(2))


def test_moving_surface_does_not_make_a_frame_new():
    bank = FrameBank()
    bank.add(_frame(1))
    seen = _frame(2)
    depth = seen.depth_m.copy()
    depth[:12] = 1.0
    moving = np.zeros((24, 32), bool)
    moving[:12] = True
    fields = (2, 0, seen.color, CAMERA, seen.world_T_camera, seen.point_class)
    assert not bank.add(Keyframe(*fields, depth_m=depth.copy(), moving=moving))
    assert bank.add(Keyframe(*fields, depth_m=depth))


def test_a_lower_class_does_not_keep_a_higher_one_out():
    bank = FrameBank()
    bank.add(_frame(1, point_class=PointClass.INVENTED, rank=5))
    assert not bank.add(_frame(2, point_class=PointClass.INVENTED, rank=4))
    assert bank.add(_frame(3, point_class=PointClass.INVENTED, rank=6))
    assert bank.add(_frame(4))


def test_frames_without_depth_are_judged_by_their_poses():
    bank = FrameBank()
    bank.add(_frame(1, depth=False))
    assert not bank.add(_frame(2, x=0.1, depth=False))
    assert bank.add(_frame(3, x=0.3, depth=False))
    assert bank.add(_frame(4, yaw=0.4, depth=False))


def test_a_taken_identity_is_refused():
    bank = FrameBank()
    bank.add(_frame(1))
    with pytest.raises(ValueError, match="identity"):
        bank.add(_frame(1, x=1.0))
    with pytest.raises(ValueError, match="identity"):
        bank.add(_frame(0, x=1.0))


def test_identities_are_given_out_once():
    bank = FrameBank()
    assert (bank.reserve_ids(5), bank.reserve_ids(1)) == (1, 6)
    bank.add(_frame(9))
    assert bank.reserve_ids(1) == 10


def test_the_budget_is_kept_by_dropping_invented_frames_first():
    bank = FrameBank(max_bytes=2 * FRAME_BYTES)
    bank.add(_frame(1, x=0.0, point_class=PointClass.INVENTED))
    bank.add(_frame(2, x=4.0))
    assert bank.add(_frame(3, x=8.0))
    assert _ids(bank) == [2, 3]
    assert bank.num_bytes == 2 * FRAME_BYTES


def test_of_one_class_the_frame_with_least_surface_of_its_own_goes():
    bank = FrameBank(max_bytes=3 * FRAME_BYTES)
    for number, x in enumerate((0.0, 1.0, 2.0), start=1):
        bank.add(_frame(number, x=x))
    assert bank.add(_frame(4, x=9.0))
    assert _ids(bank) == [1, 3, 4]


def test_a_frame_that_the_budget_evicts_at_once_is_not_kept():
    bank = FrameBank(max_bytes=FRAME_BYTES)
    bank.add(_frame(1))
    assert not bank.add(_frame(2, x=9.0, point_class=PointClass.INVENTED))
    assert _ids(bank) == [1]


def test_surface_counts_as_a_frames_own_again_when_the_other_goes():
    bank = FrameBank()
    bank.add(_frame(1, x=0.0))
    bank.add(_frame(2, x=0.5, request_id=7))
    shared = bank.snapshot().entries[0].unique_share
    bank.remove_request(7)
    assert shared < bank.snapshot().entries[0].unique_share == 1.0


def test_frames_of_a_request_go_together():
    bank = FrameBank()
    for number, x in enumerate((0.0, 3.0, 6.0), start=1):
        bank.add(_frame(number, x=x, request_id=number % 2))
    assert bank.remove_request(1) == (1, 3)
    assert _ids(bank) == [2]
    assert bank.get(1) is None


def test_a_snapshot_brings_frames_back_but_no_identities():
    bank = FrameBank()
    bank.add(_frame(bank.reserve_ids(1)))
    snapshot = bank.snapshot()
    bank.add(_frame(bank.reserve_ids(1), x=3.0))
    bank.restore(snapshot)
    assert _ids(bank) == [1]
    assert bank.reserve_ids(1) == 3


def test_frames_judged_elsewhere_are_taken_over():
    bank = FrameBank()
    staged = bank.stage([_frame(1), _frame(2, x=0.01), _frame(3, x=3.0)])
    assert not bank.keyframes
    bank.reserve_ids(10)
    assert bank.apply(staged) == (1, 3)
    assert (_ids(bank), bank.next_id) == ([1, 3], 11)


def test_frames_judged_against_others_are_stale():
    bank = FrameBank()
    bank.add(_frame(1))
    staged = bank.stage([_frame(2, x=3.0)])
    assert not bank.is_stale(staged)
    bank.add(_frame(3, x=3.0))
    assert bank.is_stale(staged)
    with pytest.raises(StaleChangeError):
        bank.apply(staged)


def test_loading_keeps_all_frames_and_identities():
    bank = FrameBank()
    bank.load([_frame(4), _frame(2, x=0.01)], next_id=20)
    assert (_ids(bank), bank.next_id) == ([4, 2], 20)


def test_the_nearest_frame_is_near_in_place_and_direction():
    bank = FrameBank()
    bank.load([_frame(1), _frame(2, x=0.4), _frame(3, x=0.4, yaw=1.0)])
    pose = look((0.5, 0, 0), 0.9, 0.0)
    nearest = bank.nearest(pose)
    assert nearest is not None
    assert nearest.keyframe_id == 3


@pytest.mark.parametrize("limits", [{"max_distance_m": 0.3}, {"max_angle_rad": 0.2}])
def test_no_frame_beyond_the_limits_is_near(limits):
    bank = FrameBank()
    bank.load([_frame(1)])
    assert bank.nearest(look((0.5, 0, 0), 0.3, 0.0), **limits) is None


@pytest.fixture
def walled():
    """Memory of a long wall, and a bank of frames along it."""
    memory, bank = SpatialMemory(0.02), FrameBank()
    for number, x in enumerate((0.0, 2.0, 4.0, 6.0), start=1):
        frame = _frame(number, x=x)
        large = CAMERA.resized(192, 144)
        depth = np.full((144, 192), 3.0, np.float32)
        points = unproject(depth, large, frame.world_T_camera)
        memory.insert(PointBatch.uniform(points, np.zeros((len(points), 3), np.uint8), priority=192, keyframe=number))
        bank.load([frame])
    return memory, bank


def test_greedy_references_see_what_the_path_sees(walled):
    memory, bank = walled
    path = np.stack([look((x, 0, 0), 0.0, 0.0) for x in np.linspace(3.8, 4.2, 9)])
    chosen = [f.keyframe_id for f in bank.retrieve(memory.snapshot(), CAMERA, path, k=2)]
    assert chosen[0] == 3
    assert 1 not in [f.keyframe_id for f in bank.retrieve(memory.snapshot(), CAMERA, path)]


def test_one_to_one_references_follow_the_path(walled):
    memory, bank = walled
    path = np.stack([look((x, 0, 0), 0.0, 0.0) for x in np.linspace(0, 6, 4)])
    chosen = bank.retrieve(memory.snapshot(), CAMERA, path, method="one_to_one")
    assert [f.keyframe_id for f in chosen] == [1, 2, 3, 4]


def test_one_to_one_makes_do_with_fewer_frames_than_targets(walled):
    memory, bank = walled
    path = np.stack([look((x, 0, 0), 0.0, 0.0) for x in np.linspace(0, 6, 81)])
    assert len(bank.retrieve(memory.snapshot(), CAMERA, path, method="one_to_one")) == 4


def test_a_path_through_nothing_has_no_references(walled):
    memory, bank = walled
    assert bank.retrieve(memory.snapshot(), CAMERA, look((0, 0, 0), np.pi, 0.0)) == []
    assert FrameBank().retrieve(memory.snapshot(), CAMERA, np.eye(4)) == []


def test_an_unknown_method_is_refused(walled):
    memory, bank = walled
    with pytest.raises(ValueError, match="one_to_one"):
        bank.retrieve(memory.snapshot(), CAMERA, np.eye(4), method="random")
