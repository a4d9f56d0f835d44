"""Depth from colour frames alone: planes swept, poses adjusted, depths checked on each other."""

from dataclasses import replace

import numpy as np
import pytest
from spatia.tests.world.slam.corner import PINHOLE, view
from spatia.world.camera import unproject
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.slam.bundle import APPROXIMATE, PosePrior, adjust, link_frames
from spatia.world.slam.estimators import FrameStack, make_estimator
from spatia.world.slam.features import find_corners
from spatia.world.slam.multiview import MultiView, settle_depths
from spatia.world.slam.sweep import STEREO, GrayView, sweep_planes
from spatia.world.transforms import invert, look, rotation_about, rotation_angle_rad

EMPTY = SpatialMemory(0.01).snapshot()
POSES = np.stack([look((0.14 * k - 0.2, 0.02 * k, 0.02 * k), 0.02 * k, 0.0) for k in range(4)])
VIEWS = [view(p) for p in POSES]


def _stack(poses: np.ndarray, colors: list[np.ndarray] | None = None) -> FrameStack:
    pictures = np.stack([v.color for v in VIEWS] if colors is None else colors)
    return FrameStack(pictures, None, None, None, None, np.array(poses, np.float64), PINHOLE)


def _off(seed: int, distance_m: float, angle_deg: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    way, out = rng.normal(size=3), np.eye(4)
    out[:3, :3] = rotation_about(rng.normal(size=3), np.radians(angle_deg))
    out[:3, 3] = distance_m * way / np.linalg.norm(way)
    return out


def _gray(k: int) -> GrayView:
    return GrayView(VIEWS[k].color[..., 0].astype(np.float32), PINHOLE, POSES[k])


def test_planes_find_the_depth_of_a_room():
    swept = sweep_planes(_gray(1), [_gray(0), _gray(2)], np.linspace(0.12, 1.0, 64))
    truth = VIEWS[1].depth_m
    known = truth > 0
    assert np.median(np.abs(swept.depth_m - truth)[known] / truth[known]) < 0.02


def test_sweeping_needs_another_view():
    with pytest.raises(ValueError, match="expected other views"):
        sweep_planes(_gray(0), [], np.linspace(0.1, 1, 10), STEREO)


def test_estimate_is_right_where_it_says_something():
    estimate = MultiView().estimate(_stack(POSES), EMPTY)
    for k in range(4):
        truth = VIEWS[k].depth_m
        both = (truth > 0) & (estimate.depth_m[k] > 0)
        assert both.sum() > 0.5 * (truth > 0).sum()
        assert (np.abs(estimate.depth_m[k] - truth)[both] / truth[both]).mean() < 0.03
    assert estimate.confidence.max() <= 0.7
    assert (estimate.confidence[estimate.depth_m == 0] == 0).all()


def test_poses_that_are_off_are_adjusted():
    started = np.stack([p @ _off(k, 0.008, 0.4) for k, p in enumerate(POSES)])
    corners = [find_corners(v.color, None, 800) for v in VIEWS]
    links = link_frames(corners, [[j for j in range(4) if j != k] for k in range(4)], PINHOLE)
    bundle = adjust(links, started, PINHOLE)

    def turn_error(poses: np.ndarray) -> float:
        steps = [invert(invert(POSES[0]) @ POSES[k]) @ (invert(poses[0]) @ poses[k]) for k in range(1, 4)]
        return float(np.mean([rotation_angle_rad(s) for s in steps]))

    assert bundle.error_px < 0.7
    assert turn_error(bundle.world_T_camera) < 0.6 * turn_error(started)


def test_matches_placed_by_the_pictures_lie_closer_to_the_truth():
    corners = [find_corners(v.color, None, 800) for v in VIEWS[:2]]
    gray = [v.color[..., 0] for v in VIEWS[:2]]

    def error_px(placed_by: list[np.ndarray] | None) -> float:
        link = link_frames(corners, [[1], [0]], PINHOLE, gray=placed_by)[0]
        return float(np.nanmedian(np.linalg.norm(link.seen - _exact(link).seen, axis=2)))

    assert error_px(gray) < 0.5 * error_px(None)


def test_poses_stray_less_when_neighbours_are_held_together():
    started = POSES @ np.array(_off(1, 0.006, 0.2))
    corners = [find_corners(v.color, None, 800) for v in VIEWS]
    links = link_frames(corners, [[j for j in range(4) if j != k] for k in range(4)], PINHOLE)

    def bend_m(prior: PosePrior) -> float:
        found = adjust(links, started, PINHOLE, prior=prior).world_T_camera
        return float(np.abs(np.diff(found[:, :3, 3] - started[:, :3, 3], axis=0)).max())

    assert bend_m(APPROXIMATE) < bend_m(replace(APPROXIMATE, step_m=float("inf"), step_rad=float("inf")))


def test_exact_poses_are_left_alone_bit_for_bit():
    corners = [find_corners(v.color, None, 800) for v in VIEWS[:2]]
    links = link_frames(corners, [[1], [0]], PINHOLE)
    start = POSES[:2].copy()
    rig = adjust([_exact(link) for link in links], start, PINHOLE)
    np.testing.assert_array_equal(rig.world_T_camera, start)


def _exact(link):
    """The link with positions as the true depth has them."""
    truth = VIEWS[link.anchor].depth_m
    pixels = link.rays[:, :2] * (PINHOLE.fx, PINHOLE.fy) + (PINHOLE.cx, PINHOLE.cy)
    z = truth[pixels[:, 1].astype(int), pixels[:, 0].astype(int)]
    points = link.rays * z[:, None]
    step = invert(POSES[link.others[0]]) @ POSES[link.anchor]
    moved = points @ step[:3, :3].T + step[:3, 3]
    seen = moved[:, :2] / moved[:, 2:] * (PINHOLE.fx, PINHOLE.fy) + (PINHOLE.cx, PINHOLE.cy)
    return replace(link, seen=np.where((z > 0)[:, None], seen, np.nan)[:, None, :])


def test_memory_fixes_the_scale():
    memory = SpatialMemory(0.01)
    points = unproject(VIEWS[1].depth_m, PINHOLE, POSES[1])
    memory.insert(
        PointBatch.uniform(
            points, np.zeros((len(points), 3), np.uint8), priority=priority_of(PointClass.OBSERVED), keyframe=1
        )
    )
    stretched = POSES.copy()
    stretched[:, :3, 3] = POSES[1, :3, 3] + 1.1 * (POSES[:, :3, 3] - POSES[1, :3, 3])
    truth = VIEWS[1].depth_m

    def ratio(snapshot) -> float:
        depth = MultiView().estimate(_stack(stretched), snapshot).depth_m[1]
        both = (truth > 0) & (depth > 0)
        return float(np.median(depth[both] / truth[both]))

    assert abs(ratio(memory.snapshot()) - 1) < min(0.05, 0.7 * abs(ratio(EMPTY) - 1))


def test_pictures_that_have_nothing_in_common_give_next_to_no_depth():
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, VIEWS[0].color.shape).astype(np.uint8) for _ in range(4)]
    estimate = MultiView().estimate(_stack(POSES, noise), EMPTY)
    assert (estimate.depth_m > 0).mean() < 0.05


def test_blank_pictures_give_no_depth():
    blank = [np.full_like(VIEWS[0].color, 90)] * 4
    estimate = MultiView().estimate(_stack(POSES, blank), EMPTY)
    assert (estimate.depth_m > 0).mean() < 0.05


def test_a_camera_that_only_turns_sees_no_depth():
    poses = np.stack([look((0, 0, 0), 0.1 * k, 0.0) for k in range(4)])
    estimate = MultiView().estimate(_stack(poses, [view(p).color for p in poses]), EMPTY)
    assert not (estimate.depth_m > 0).any()


def test_a_lone_frame_is_an_error():
    with pytest.raises(ValueError, match="expected two frames or more"):
        MultiView().estimate(_stack(POSES[:1], [VIEWS[0].color]), EMPTY)


def test_it_is_chosen_by_name():
    assert isinstance(make_estimator("multiview"), MultiView)


def test_views_that_see_the_same_surface_settle_on_the_mean_of_what_they_say():
    rng = np.random.default_rng(0)
    truth = np.stack([v.depth_m for v in VIEWS])
    noisy = (truth * (1 + rng.normal(0, 0.008, truth.shape))).astype(np.float32)
    noisy[:, :5] = 0
    settled = noisy.copy()
    settle_depths(settled, PINHOLE, list(range(4)), POSES)
    known = (truth > 0) & (noisy > 0)
    before, after = (np.abs(d - truth)[known] / truth[known] for d in (noisy, settled))
    assert np.mean(after) < 0.8 * np.mean(before)
    assert (settled[:, :5] == 0).all()


def test_depths_that_differ_much_are_not_averaged():
    near = np.stack([v.depth_m for v in VIEWS])
    near[1:] *= 0.9
    settled = near.copy()
    settle_depths(settled, PINHOLE, list(range(4)), POSES)
    moved = np.abs(settled[0] - near[0])[near[0] > 0] / near[0][near[0] > 0]
    assert np.median(moved) == 0
