"""What moves is followed through a clip from weight-free prompts and clicks, and stays out of memory."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from spatia.world.camera import Pinhole, unproject
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.slam.estimators import FrameStack
from spatia.world.slam.learned.sam2 import Sam2
from spatia.world.slam.segmenters import RESIDUAL, USER, Prompt, click, clicks_at, follow, prompts_of
from spatia.world.slam.update import build_update
from spatia.world.transforms import look

SIZE = (40, 60)


class Sam2Double:
    """The video predictor's interface over known masks: it follows the thing that a prompt points at.

    A prompt beside it gives back what it pointed at in its own frame, as a segmenter would some static thing.
    """

    def __init__(self, truth: np.ndarray) -> None:
        self._truth = truth
        self._pointed: dict[int, tuple[int, np.ndarray]] = {}
        self.num_frames = 0

    def init_state(self, video_path: str) -> dict:
        frames = sorted(Path(video_path).glob("*.jpg"))
        assert cv2.imread(str(frames[0])).shape[:2] == self._truth.shape[1:]
        self.num_frames, self._pointed = len(frames), {}
        return {}

    def add_new_mask(self, inference_state: dict, frame_idx: int, obj_id: int, mask: np.ndarray) -> None:
        self._pointed[obj_id] = (frame_idx, mask)

    def add_new_points_or_box(self, inference_state: dict, frame_idx: int, obj_id: int, *, points, labels) -> None:
        mask = np.zeros(self._truth.shape[1:], bool)
        for (x, y), label in zip(points, labels, strict=True):
            mask[int(y), int(x)] = bool(label)
        self._pointed[obj_id] = (frame_idx, mask)

    def propagate_in_video(
        self, inference_state: dict, start_frame_idx: int | None = None, *, reverse: bool = False
    ) -> Iterable:
        order = range(start_frame_idx, -1, -1) if reverse else range(start_frame_idx, self.num_frames)
        for k in order:
            masks = [self._mask(k, *self._pointed[i]) for i in self._pointed]
            yield k, list(self._pointed), np.where(masks, 4.0, -4.0)[:, None]

    def _mask(self, k: int, frame: int, mask: np.ndarray) -> np.ndarray:
        if (mask & self._truth[frame]).sum() > 0.5 * mask.sum():
            return self._truth[k]
        return mask if k == frame else np.zeros_like(mask)


def _moving_square(count: int = 5) -> np.ndarray:
    out = np.zeros((count, *SIZE), bool)
    for k in range(count):
        out[k, 10:22, 4 + 6 * k : 18 + 6 * k] = True
    return out


def _video(truth: np.ndarray) -> np.ndarray:
    return np.where(truth[..., None], np.uint8(220), np.uint8(40)) * np.ones(3, np.uint8)


def test_one_prompt_is_made_for_a_thing_that_moves_in_the_frame_that_shows_most_of_it():
    truth = _moving_square()
    partly = truth.copy()
    partly[[0, 1, 3, 4], 16:] = False
    prompts = prompts_of(partly, [0, 4, 8, 12, 16])
    assert [(p.frame_index, p.owner) for p in prompts] == [(8, RESIDUAL)]
    np.testing.assert_array_equal(prompts[0].mask, truth[2])


def test_a_residual_in_one_frame_is_followed_through_all():
    truth = _moving_square()
    residual = np.zeros((1, *SIZE), bool)
    residual[0] = truth[2]
    found = follow(_video(truth), residual, [2], Sam2(Sam2Double(truth)))
    np.testing.assert_array_equal(found.moving, truth)
    assert found.owners == ("residual+sam2",) * 5
    assert found.num_distrusted == 0


def test_a_click_is_followed_where_residuals_show_nothing():
    truth = _moving_square()
    none = np.zeros((1, *SIZE), bool)
    found = follow(_video(truth), none, [0], Sam2(Sam2Double(truth)), clicks=[click(3, 25.0, 15.0)])
    np.testing.assert_array_equal(found.moving, truth)
    assert USER in found.owners[0]


def test_a_click_on_a_place_falls_into_the_first_frame_that_has_it_in_view():
    pinhole = Pinhole.from_fov(40, 30, np.pi / 2)
    poses = np.stack([look((0, 0, 0), np.pi, 0), look((0, 0, 0), 0, 0), look((0.1, 0, 0), 0, 0)])
    (prompt,) = clicks_at([(0.5, 0.0, 1.0), (0.0, 5.0, 1.0)], poses, pinhole)
    assert (prompt.frame_index, prompt.owner) == (1, USER)
    np.testing.assert_allclose(prompt.points_px, [[30.0, 15.0]], atol=1e-5)


def test_masks_reach_into_the_history():
    truth = _moving_square(7)
    video = _video(truth)
    residual = truth[4:5]
    found = follow(video[3:], residual, [1], Sam2(Sam2Double(truth)), history=video[:3])
    np.testing.assert_array_equal(found.history, truth[:3])
    np.testing.assert_array_equal(found.moving, truth[3:])


def test_a_track_that_does_not_show_its_prompt_is_not_believed():
    class Astray:
        name = "astray"

        def track(self, color, prompts):
            return np.ones((len(prompts), *color.shape[:3]), bool)

    truth = _moving_square()
    found = follow(_video(truth), truth[2:3], [2], Astray())
    assert found.num_distrusted == 1
    np.testing.assert_array_equal(found.moving[2], truth[2])
    assert not found.moving[[0, 1, 3, 4]].any()


def test_a_segmenter_that_gives_another_shape_is_named():
    class Wrong:
        name = "wrong"

        def track(self, color, prompts):
            return np.zeros((1, 2, 3), bool)

    truth = _moving_square()
    with pytest.raises(ValueError, match=r"segmenter wrong: expected \(1, 5, 40, 60\)"):
        follow(_video(truth), truth[2:3], [2], Wrong())


def test_nothing_to_point_at_asks_no_segmenter():
    none = np.zeros((1, *SIZE), bool)
    truth = _moving_square()
    found = follow(_video(truth), none, [0], Sam2(Sam2Double(truth)))
    assert not found.moving.any()


def test_a_prompt_has_either_a_mask_or_clicks():
    with pytest.raises(ValueError, match="either a mask or clicks"):
        Prompt(0, USER)


def _cutout(
    stack: FrameStack, x_m: float, z_m: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour and depth of a frame with something 0.4 m wide standing in it, and its mask."""
    rays = stack.pinhole.rays() * z_m
    mask = (np.abs(rays[..., 0] - x_m) < 0.2) & (np.abs(rays[..., 1]) < 0.35)
    depth = np.where(mask, z_m + rng.normal(0, 0.003, mask.shape), stack.depth_m[0]).astype(np.float32)
    texture = rng.integers(0, 255, (*mask.shape, 3), np.uint8)
    return np.where(mask[..., None], texture, stack.color[0]), depth, mask


def test_a_cutout_that_moves_through_the_kitchen_leaves_no_trace(kitchen):
    rng, still = np.random.default_rng(0), [kitchen(k) for k in range(9)]
    memory = SpatialMemory(0.01)
    for frame in still[::2]:
        small = frame.pinhole.resized(320, 240)
        depth = np.ascontiguousarray(frame.depth_m[0][::2, ::2])
        points = unproject(depth, small, frame.world_T_camera[0])
        colors = np.zeros((len(points), 3), np.uint8)
        memory.insert(PointBatch.uniform(points, colors, priority=priority_of(PointClass.OBSERVED), keyframe=1))
    clip = still[2:7]
    made = [_cutout(f, -0.4 + 0.2 * k, 0.9, rng) for k, f in enumerate(clip)]
    color, depth, truth = (np.stack([m[i] for m in made]) for i in range(3))
    poses = np.concatenate([f.world_T_camera for f in clip])
    stack = FrameStack(color, depth, None, None, None, poses, clip[0].pinhole)
    update = build_update(
        stack,
        memory=memory.snapshot(),
        point_class=PointClass.ESTIMATED,
        rank=0,
        request_id=1,
        first_keyframe_id=10,
        segmenter=Sam2(Sam2Double(truth)),
    )
    assert update.report.rejected == ""
    ghosts = lost = static = 0
    for k, keyframe in enumerate(update.keyframes):
        mine = update.points.positions_world[update.points.keyframe == 10 + k]
        uv, z = stack.pinhole.project(mine, update.world_T_camera[k])
        column, row = np.clip(uv.astype(int), 0, (639, 479)).T
        ghosts += int((truth[k][row, column] & (np.abs(z - 0.9) < 0.03)).sum())
        seen = (depth[k] > 0) & ~truth[k]
        static += int(seen.sum())
        lost += int((keyframe.moving & seen).sum())
        assert keyframe.moving_by == "residual+sam2"
        np.testing.assert_array_equal(keyframe.color, color[k])
    print(f"ghosts {ghosts / truth.sum():.3%} of its pixels, static surface lost {lost / static:.2%}")
    assert ghosts < 0.001 * truth.sum()
    assert lost < 0.02 * static
