"""What moves is found where memory, or other frames, saw free space."""

import numpy as np
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointClass
from spatia.world.slam.estimators import FrameStack
from spatia.world.slam.motion_masks import find_motion
from spatia.world.slam.update import build_update

EMPTY = SpatialMemory(0.01).snapshot()


def _right(x: float) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 3] = x
    return pose


def _with_box(frames: FrameStack, columns: list[slice], z: float = 1.0) -> tuple[FrameStack, np.ndarray]:
    depth, mask = frames.depth_m.copy(), np.zeros(frames.depth_m.shape, bool)
    for k, part in enumerate(columns):
        mask[k, 30:100, part] = True
    depth[mask] = z
    color = np.where(mask[..., None], np.array([200, 60, 60], np.uint8), frames.color)
    return FrameStack(color, depth, None, None, None, frames.world_T_camera, frames.pinhole), mask


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_what_stands_where_memory_saw_free_space_is_found(room, memory_of):
    plain = room(np.eye(4)[None])
    frames, mask = _with_box(plain, [slice(20, 60)])
    found = find_motion(frames.depth_m, frames.pinhole, frames.world_T_camera, memory_of(plain)).moving
    assert _iou(found, mask) > 0.9


def test_a_still_room_is_not_masked(room, memory_of):
    frames = room(np.stack([np.eye(4), _right(0.2)]))
    found = find_motion(frames.depth_m, frames.pinhole, frames.world_T_camera, memory_of(room(np.eye(4)[None]))).moving
    assert found.mean() < 0.005


def test_what_is_farther_than_memory_is_not_masked(room, memory_of):
    frames = room(np.eye(4)[None])
    far = (frames.depth_m * 1.3).astype(np.float32)
    assert not find_motion(far, frames.pinhole, frames.world_T_camera, memory_of(frames)).moving.any()


def test_without_memory_other_frames_tell(room):
    plain = room(np.stack([np.eye(4)] * 4))
    frames, mask = _with_box(plain, [slice(10 + 34 * k, 40 + 34 * k) for k in range(4)])
    found = find_motion(frames.depth_m, frames.pinhole, frames.world_T_camera, EMPTY).moving
    assert _iou(found, mask) > 0.8


def test_one_frame_without_memory_tells_nothing(room):
    frames, _ = _with_box(room(np.eye(4)[None]), [slice(20, 60)])
    assert not find_motion(frames.depth_m, frames.pinhole, frames.world_T_camera, EMPTY).moving.any()


def test_specks_are_noise(room, memory_of):
    frames = room(np.eye(4)[None])
    depth = frames.depth_m.copy()
    depth[0, 50:53, 50:53] = 0.5
    assert not find_motion(depth, frames.pinhole, frames.world_T_camera, memory_of(frames)).moving.any()


def test_a_coarse_mask_overlooks_what_a_pose_may_explain(room, memory_of):
    plain = room(np.eye(4)[None])
    near = (plain.depth_m * 0.95).astype(np.float32)
    memory = memory_of(plain)
    assert not find_motion(near, plain.pinhole, plain.world_T_camera, memory, is_coarse=True).moving.any()
    assert find_motion(near, plain.pinhole, plain.world_T_camera, memory).moving.any()


def _merge(frames: FrameStack, memory, **options):
    fields = {"point_class": PointClass.INVENTED, "rank": 40, "request_id": 1, "first_keyframe_id": 5}
    return build_update(frames, memory=memory, **{**fields, **options})


def test_a_mover_in_a_clip_stays_out_of_memory(room, memory_of):
    plain = room(np.eye(4)[None])
    frames, mask = _with_box(plain, [slice(20, 60)])
    update = _merge(frames, memory_of(plain))
    assert update.report.rejected == ""
    assert update.report.moving_share > 0.1
    assert update.report.tests["moving_found"] > 0.1
    z = frames.pinhole.project(update.points.positions_world, np.eye(4))[1]
    assert not (np.abs(z - 1.0) < 0.02).any()
    assert _iou(update.keyframes[0].moving, mask[0]) > 0.85


def test_a_users_mask_joins_what_was_found(room, memory_of):
    plain = room(np.eye(4)[None])
    frames, mask = _with_box(plain, [slice(20, 60)])
    users = np.zeros(mask.shape[1:], bool)
    users[5:20, 100:130] = True
    moving = _merge(frames, memory_of(plain), user_moving=users).keyframes[0].moving
    assert moving[10, 110]
    assert moving[60, 40]


def test_looking_for_motion_can_be_left_off(room, memory_of):
    plain = room(np.eye(4)[None])
    frames, _ = _with_box(plain, [slice(20, 60)])
    assert _merge(frames, memory_of(plain), find_moving=False).report.moving_share == 0.0
