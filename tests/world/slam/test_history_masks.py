"""What a segmenter follows into the frames before a clip is taken back from memory."""

import numpy as np
from spatia.world.camera import Pinhole
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.slam.estimators import FrameStack
from spatia.world.slam.segmenters import click
from spatia.world.slam.update import build_update
from spatia.world.updates import MapUpdate

PINHOLE = Pinhole.from_fov(48, 36, np.pi / 2)
DEPTH_M, COUNT, RANK = 2.0, 3, 40


class LeftHalf:
    """Follows whatever is pointed at as the left half of every frame."""

    name = "left"

    def track(self, color, prompts):
        out = np.zeros((len(prompts), *color.shape[:3]), bool)
        out[..., : color.shape[2] // 2] = True
        return out


def _update(history_request_id: int) -> MapUpdate:
    rays = PINHOLE.rays().reshape(-1, 3)
    points = (rays * DEPTH_M).astype(np.float32)
    priority = priority_of(PointClass.INVENTED, RANK)
    memory = SpatialMemory(0.04)
    memory.insert(PointBatch.uniform(points, np.full(points.shape, 90, np.uint8), priority=priority, keyframe=1))
    rng, poses = np.random.default_rng(0), np.repeat(np.eye(4)[None], COUNT, 0)
    frames = rng.integers(0, 255, (COUNT, 36, 48, 3), np.uint8)
    stack = FrameStack(frames, np.full((COUNT, 36, 48), DEPTH_M, np.float32), None, None, None, poses, PINHOLE)
    return build_update(
        stack,
        memory=memory.snapshot(),
        point_class=PointClass.INVENTED,
        rank=RANK,
        request_id=2,
        first_keyframe_id=10,
        align=False,
        find_moving=False,
        segmenter=LeftHalf(),
        clicks=[click(0, 10.0, 18.0)],
        history=frames,
        history_world_T_camera=poses,
        history_request_id=history_request_id,
    )


def test_memory_loses_what_moves_in_the_history_and_keeps_the_rest() -> None:
    update = _update(1)
    assert update.report.rejected == ""
    assert update.report.tests["history_followed"] == 0.5
    assert len(update.withdrawn) == COUNT
    for view in update.withdrawn:
        np.testing.assert_allclose(view.depth_m[4:-4, 4:20], DEPTH_M, atol=0.05)
        assert (view.depth_m[:, 24:] == 0).all()
        assert view.priority == priority_of(PointClass.INVENTED, RANK)


def test_what_moves_in_the_history_is_told_for_the_frames_of_its_clip() -> None:
    views = _update(1).moving_before
    assert [v.request_id for v in views] == [1] * COUNT
    for view in views:
        assert view.moving_by == "left+user"
        assert view.moving[:, :24].all()
        assert not view.moving[:, 26:].any()


def test_nobody_is_told_of_a_history_whose_clip_is_not_known() -> None:
    assert _update(0).moving_before == ()
