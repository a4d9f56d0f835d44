"""What moves, followed through a clip: prompts from residuals and clicks, masks from a segmenter, each with an owner.

Residuals need no weights but see a mover only where memory or other frames contradict it; a segmenter follows the whole
thing through all frames, and into the history that the clip goes on from. Masks are for memory alone: the clip's video
and its last frames, which the next clip goes on from, keep what moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..moving_views import join_owners
from ..transforms import invert

RESIDUAL, USER, MARKED = "residual", "user", "marked"
"""Owners of a mask: what contradicts memory, a person, or whoever made the clip or its source."""
MIN_BLOB_SHARE = 0.0005
"""Smaller blobs prompt nothing."""
SAME_BLOB = 0.2
"""Blobs of neighbouring frames are one thing if they overlap by this share of the smaller one, grown a little."""
REACH_SHARE = 0.03
"""How far a blob may move from frame to frame, as a share of the picture's width."""
MAX_PROMPTS = 8
MIN_CLICK_M = 0.02
"""A place nearer to the camera is out of view."""
MIN_AGREEMENT = 0.3
"""A track that shows less of its own prompt in the prompt's frame followed something else."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Where a segmenter is told to look.

    Attributes:
        frame_index: In which frame.
        owner: Who says so: "residual" or "user".
        mask: (H, W) bool, the thing as far as it is known, or None.
        points_px: (N, 2) float32 (x, y), clicks; empty where there is a mask.
        is_inside: (N,) bool, whether each click is on the thing or beside it.
    """

    frame_index: int
    owner: str
    mask: npt.NDArray[np.bool_] | None = None
    points_px: npt.NDArray[np.float32] | None = None
    is_inside: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if (self.mask is None) == (self.points_px is None):
            raise ValueError("prompt: expected either a mask or clicks, got both or neither")
        if self.points_px is not None and (self.is_inside is None or len(self.is_inside) != len(self.points_px)):
            raise ValueError(f"prompt: expected as many flags as clicks, {len(self.points_px)}")


@dataclass(frozen=True, slots=True, eq=False)
class ClipMasks:
    """What moves in a clip and in the history before it.

    Attributes:
        moving: (F, H, W) bool.
        history: (T, H, W) bool, in the frames before the clip; empty where there are none.
        owners: For each frame of the clip whose tracks mark something in it, such as "residual+sam2"; "" for nobody's.
        history_owners: The same for each frame of the history.
        num_distrusted: Prompts whose track was not believed.
    """

    moving: npt.NDArray[np.bool_]
    history: npt.NDArray[np.bool_]
    owners: tuple[str, ...]
    history_owners: tuple[str, ...]
    num_distrusted: int


class Segmenter(Protocol):
    """Follows things through a video. Lives in the worker; used by one thread."""

    name: str

    def track(self, color: npt.NDArray[np.uint8], prompts: Sequence[Prompt]) -> npt.NDArray[np.bool_]:
        """Follow each prompt's thing forwards and backwards.

        Args:
            color: (F, H, W, 3) uint8 sRGB.
            prompts: P of them.

        Returns:
            (P, F, H, W) bool.
        """
        ...


def click(frame_index: int, x_px: float, y_px: float) -> Prompt:
    """A person's click on something that moves."""
    place, inside = np.array([[x_px, y_px]], np.float32), np.ones(1, bool)
    return Prompt(frame_index, USER, points_px=place, is_inside=inside)


def clicks_at(
    places_world: Sequence[tuple[float, float, float]], world_T_camera: npt.NDArray[np.float64], pinhole: Pinhole
) -> list[Prompt]:
    """A person's clicks on places, each in the first frame that has it in view; none for places out of view.

    Args:
        places_world: Metres.
        world_T_camera: (F, 4, 4) float64 poses of the frames.
        pinhole: Of every frame.
    """
    prompts: list[Prompt] = []
    for place in places_world:
        x, y, z = (invert(world_T_camera) @ np.array([*place, 1.0]))[:, :3].T
        ahead = np.where(z > MIN_CLICK_M, z, np.nan)
        u, v = pinhole.fx * x / ahead + pinhole.cx, pinhole.fy * y / ahead + pinhole.cy
        is_in = (u >= 0) & (v >= 0) & (u < pinhole.width) & (v < pinhole.height)
        if is_in.any():
            k = int(is_in.argmax())
            prompts.append(click(k, float(u[k]), float(v[k])))
    return prompts


def prompts_of(moving: npt.NDArray[np.bool_], indices: Sequence[int]) -> list[Prompt]:
    """One prompt for each thing that residuals show, in the frame that shows most of it; the largest things first.

    Args:
        moving: (K, H, W) bool, residual masks of some frames.
        indices: Which frames of the clip those are.
    """
    tracks: list[list[tuple[int, npt.NDArray[np.bool_]]]] = []
    for k, mask in enumerate(moving):
        for blob in _blobs(mask):
            mine = next((t for t in tracks if t[-1][0] == k - 1 and _is_same(t[-1][1], blob)), None)
            if mine is None:
                tracks.append([(k, blob)])
            else:
                mine.append((k, blob))
    best = [max(t, key=lambda item: int(item[1].sum())) for t in tracks]
    best = sorted(best, key=lambda item: -int(item[1].sum()))[:MAX_PROMPTS]
    return [Prompt(indices[k], RESIDUAL, mask=blob) for k, blob in best]


def _blobs(mask: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.bool_]]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    large = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= MIN_BLOB_SHARE * mask.size]
    return [np.asarray(labels == i) for i in large]


def _is_same(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> bool:
    reach = max(1, round(REACH_SHARE * a.shape[1]))
    grown = cv2.dilate(a.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
    return bool((grown & b).sum() >= SAME_BLOB * min(a.sum(), b.sum()))


def follow(
    color: npt.NDArray[np.uint8],
    moving: npt.NDArray[np.bool_],
    indices: Sequence[int],
    segmenter: Segmenter,
    *,
    clicks: Sequence[Prompt] = (),
    history: npt.NDArray[np.uint8] | None = None,
) -> ClipMasks:
    """Follow what residuals and clicks point at through a whole clip.

    What the residuals mark stays marked. A track that does not show its own prompt is not believed.

    Args:
        color: (F, H, W, 3) uint8 sRGB, the clip.
        moving: (K, H, W) bool, residual masks of some of its frames.
        indices: Which frames those are.
        segmenter: Follows.
        clicks: The person's prompts, by frames of the clip.
        history: (T, H, W, 3) uint8, the frames before the clip, or None.
    """
    prompts = [*clicks, *prompts_of(moving, indices)]
    num_before = 0 if history is None else len(history)
    video = color if history is None else np.concatenate([history, color])
    whole = np.zeros(video.shape[:3], bool)
    whole[[num_before + k for k in indices]] = moving
    owners = [""] * len(video)
    distrusted = 0
    for prompt, track in zip(prompts, _tracks(video, prompts, segmenter, num_before), strict=True):
        if not _shows(track[num_before + prompt.frame_index], prompt):
            distrusted += 1
            continue
        whole |= track
        for k in np.flatnonzero(track.any(axis=(1, 2))):
            owners[k] = join_owners(owners[k], prompt.owner, segmenter.name)
    before, own = tuple(owners[:num_before]), tuple(owners[num_before:])
    return ClipMasks(whole[num_before:], whole[:num_before], own, before, distrusted)


def _tracks(
    video: npt.NDArray[np.uint8], prompts: Sequence[Prompt], segmenter: Segmenter, num_before: int
) -> npt.NDArray[np.bool_]:
    if not prompts:
        return np.zeros((0, *video.shape[:3]), bool)
    moved = [Prompt(p.frame_index + num_before, p.owner, p.mask, p.points_px, p.is_inside) for p in prompts]
    tracks = segmenter.track(video, moved)
    expected = (len(prompts), *video.shape[:3])
    if tracks.shape != expected or tracks.dtype != np.bool_:
        raise ValueError(f"segmenter {segmenter.name}: expected {expected} bool, got {tracks.shape} {tracks.dtype}")
    return tracks


def _shows(found: npt.NDArray[np.bool_], prompt: Prompt) -> bool:
    """Whether a mask shows what its prompt pointed at."""
    if prompt.mask is not None:
        both, either = (found & prompt.mask).sum(), (found | prompt.mask).sum()
        return bool(both >= MIN_AGREEMENT * max(int(either), 1))
    assert prompt.points_px is not None, "a prompt has a mask or clicks"
    height, width = found.shape
    x = np.clip(prompt.points_px[:, 0].astype(int), 0, width - 1)
    y = np.clip(prompt.points_px[:, 1].astype(int), 0, height - 1)
    return bool((found[y, x] == prompt.is_inside).all())
