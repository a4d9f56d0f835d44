"""A clip's views hung on known keyframes."""

import numpy as np
import pytest
from spatia.tests.world.slam.corner import PINHOLE, view
from spatia.world.keyframes import Keyframe
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointClass
from spatia.world.slam.anchors import adjust_hung, anchor_of, hang_on
from spatia.world.slam.bundle import link_frames
from spatia.world.slam.estimators import FrameStack
from spatia.world.slam.features import find_even_corners, spread_evenly
from spatia.world.slam.multiview import MultiView
from spatia.world.transforms import invert, look, rotation_about, rotation_angle_rad

POSES = np.stack([look((0.14 * k - 0.2, 0.02 * k, 0.02 * k), 0.02 * k, 0.0) for k in range(4)])
VIEWS = [view(p) for p in POSES]
GRAY = [np.ascontiguousarray(v.color[..., 1]) for v in VIEWS]
CORNERS = [find_even_corners(v.color, None, 600) for v in VIEWS]
OFF = np.eye(4)
OFF[:3, :3] = rotation_about(np.array([0.3, 1.0, -0.2]), np.radians(1.0))
OFF[:3, 3] = (0.05, -0.02, 0.03)
ASKED = OFF @ POSES[1:]


def _keyframe(k: int, pose: np.ndarray | None = None) -> Keyframe:
    pose = POSES[k] if pose is None else pose
    return Keyframe(k + 1, 0, VIEWS[k].color, PINHOLE, pose, PointClass.OBSERVED, depth_m=VIEWS[k].depth_m)


def _anchors(*keyframes: Keyframe):
    return [a for a in (anchor_of(k, PINHOLE) for k in keyframes) if a is not None]


def _errors(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    steps = [invert(t) @ f for f, t in zip(found, truth, strict=True)]
    return max(float(np.linalg.norm(s[:3, 3])) for s in steps), max(rotation_angle_rad(s) for s in steps)


def test_a_clip_is_found_beside_where_it_was_asked_for():
    hung = hang_on(_anchors(_keyframe(0)), CORNERS[1:], GRAY[1:], ASKED, PINHOLE)
    assert hung is not None
    links = link_frames(CORNERS[1:], [[1, 2], [0, 2], [0, 1]], PINHOLE, None, GRAY[1:])
    bundle = adjust_hung(links, hung, ASKED, PINHOLE)
    far, turned = _errors(bundle.world_T_camera, POSES[1:])
    assert far < 0.008
    assert np.degrees(turned) < 0.15


def test_an_anchored_estimate_has_the_anchors_poses():
    frames = FrameStack(np.stack([v.color for v in VIEWS[1:]]), None, None, None, None, ASKED.copy(), PINHOLE)
    estimate = MultiView().anchored([_keyframe(0)]).estimate(frames, SpatialMemory().snapshot())
    assert _errors(estimate.world_T_camera, POSES[1:])[0] < 0.01


def test_a_keyframe_of_another_camera_serves_as_well():
    wide = PINHOLE.resized(PINHOLE.width * 2, PINHOLE.height * 2)
    color = np.repeat(np.repeat(VIEWS[0].color, 2, axis=0), 2, axis=1)
    depth = np.repeat(np.repeat(VIEWS[0].depth_m, 2, axis=0), 2, axis=1)
    keyframe = Keyframe(1, 0, color, wide, POSES[0], PointClass.OBSERVED, depth_m=depth)
    hung = hang_on(_anchors(keyframe), CORNERS[1:], GRAY[1:], ASKED, PINHOLE)
    assert hung is not None
    assert _errors(hung.world_T_camera[:1], POSES[1:2])[0] < 0.03


def test_a_keyframe_that_says_the_clip_is_far_off_is_not_believed():
    far = POSES[0].copy()
    far[0, 3] += 0.5
    assert hang_on(_anchors(_keyframe(0, far)), CORNERS[1:], GRAY[1:], ASKED, PINHOLE) is None


def test_a_keyframe_that_contradicts_the_others_is_outvoted():
    apart = POSES[0].copy()
    apart[1, 3] += 0.12
    anchors = _anchors(_keyframe(0), _keyframe(1), _keyframe(0, apart))
    hung = hang_on(anchors, CORNERS[2:], GRAY[2:], POSES[2:], PINHOLE)
    assert hung is not None
    assert not any(np.array_equal(pose, apart) for pose in hung.held)


def test_a_keyframe_without_depth_is_no_anchor():
    bare = Keyframe(1, 0, VIEWS[0].color, PINHOLE, POSES[0], PointClass.OBSERVED)
    assert anchor_of(bare, PINHOLE) is None


@pytest.mark.parametrize("count", [1, 6, 40])
def test_corners_are_taken_from_every_cell_in_turn(count: int):
    rng = np.random.default_rng(0)
    places = np.concatenate([rng.uniform(0, 10, (30, 2)), rng.uniform(10, 20, (3, 2))]).astype(np.float32)
    strength = np.concatenate([np.linspace(9, 10, 30), np.linspace(1, 2, 3)])
    chosen = spread_evenly(places, strength, 10.0, count)
    assert len(chosen) == min(count, 33)
    assert (chosen >= 30).sum() == min(3, count // 2)
    assert chosen[0] == 29
