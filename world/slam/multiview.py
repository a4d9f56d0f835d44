"""Depth of colour frames whose poses are known about: poses adjusted, planes swept, depths checked on each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..keyframes import Keyframe
from ..memory import MemorySnapshot
from ..transforms import invert, rotation_angle_rad
from ..visibility import render_depth
from .anchors import adjust_hung, anchor_of, hang_on
from .bundle import NUM_STEPS, Bundle, adjust, link_frames
from .completion import last_known
from .estimators import FrameStack, GeometryEstimate
from .features import find_corners, find_even_corners
from .given import depth_confidence, find_flying
from .lift import choose_frames
from .refinement import refine_depth
from .sweep import HAND_HELD, STEREO, GrayView, SweepRoom, SweptDepth, sweep_planes

WORK_WIDTH, PAIR_WORK_WIDTH = 320, 800
"""Depth is swept at this width and enlarged; a lone pair of pictures at up to its full one."""
MAX_CORNERS = 1000
NEAR_BASELINE, FAR_BASELINE = 0.07, 0.14
"""Wanted distances of the other views, as shares of the scene's."""
WIDE_BASELINE, NUM_WIDE = 0.25, 2
"""The same of the views that depth is refined by, and how many: wide, since it is nearly right already."""
TYPICAL_DEPTH_M = 2.2
MAX_TURN_RAD = float(np.deg2rad(25.0))
KNOWN_SPREAD = 0.15
SAME_DEPTH = 0.03
"""Depths of two views agree within this share."""
PAIR_SAME_DEPTH = 0.01
"""The same where there are only one or two other views to ask."""
VIEWS_THAT_AGREE, FEW_VIEWS = 2, 3
"""So many other views must confirm a depth; where there are few, as in a short clip, all of them."""
MAX_WITNESSES = 8
SETTLED_SHARE, SETTLING_ROUNDS = 0.03, 2
"""Refined depths of several views that differ by no more than this are averaged, so many times."""
CONTINUED_PX, CONTINUED_SHARE, PAIR_CONTINUED_SHARE, CONTINUED_DEPTH = 9, 0.35, 0.5, 0.02
"""A pixel is believed where this share of the 9x9 around is confirmed and has its depth on average."""
MAX_MATCH_COST, MAX_DISTINCT = 0.75, 0.98
NEAR_RIM, FAR_RIM = 0.75, 1.4
"""Planes reach from this share of the nearest corner to this share of the farthest."""
DEFAULT_RANGE_M = (0.6, 10.0)
NUM_PLANES, PAIR_MAX_PLANES = 64, 96
"""Of a sweep over hand-held views, and at most of a pair's. More find no better depth, since it is refined."""
SPECKLE_PX = 60
FILL_AGREES = 0.02
SHADOW_SHARE, FILLED_CONFIDENCE = 0.12, 0.03
MAX_CONFIDENCE = 0.7
"""Estimated depth never counts as much as measured depth."""


@dataclass(frozen=True, slots=True, eq=False)
class _Views:
    """Key views of a clip at the size they are worked on."""

    indices: list[int]
    pinhole: Pinhole
    gray: list[npt.NDArray[np.float32]]
    neighbours: list[list[int]]
    wide: list[list[int]]


class MultiView:
    """The estimator for colour frames with approximate poses, such as a video model's clip. Metric as the poses are.

    Args:
        keep_poses: Leave the poses as they come, where they were adjusted together already.
    """

    name = "multiview"
    uses_all_frames = True

    def __init__(self, *, keep_poses: bool = False, anchors: Sequence[Keyframe] = ()) -> None:
        self._keep_poses, self._anchors = keep_poses, tuple(anchors)

    def anchored(self, anchors: Sequence[Keyframe]) -> "MultiView":
        """The same with other anchors."""
        return MultiView(keep_poses=self._keep_poses, anchors=anchors)

    def estimate(self, frames: FrameStack, memory: MemorySnapshot) -> GeometryEstimate:
        """Estimate depth of the frames that a clip's motion sets apart; the others get none.

        Raises:
            ValueError: There is only one frame.
        """
        if len(frames) < 2:
            raise ValueError("estimator multiview: expected two frames or more, got one; use diorama for a lone photo")
        views = _key_views(frames, memory)
        bundle = self._adjusted(frames, views, memory)
        inverse_depths = _planes(views, bundle, memory)
        matching = STEREO if len(views.indices) <= 2 else HAND_HELD
        swept, room = [], SweepRoom()
        for k in range(len(views.indices)):
            others = [_gray_view(views, bundle, j) for j in views.neighbours[k]]
            this = _gray_view(views, bundle, k)
            swept.append(sweep_planes(this, others, inverse_depths, matching, room) if others else None)
        return _estimate_of(frames, views, bundle, swept)

    def _adjusted(self, frames: FrameStack, views: _Views, memory: MemorySnapshot) -> Bundle:
        """Poses of the key views, corrected by their common corners and by what is known of these.

        That is the depth of anchors or, where none is seen, that of memory.
        """
        ignore = [None if frames.moving is None else frames.moving[k] for k in views.indices]
        find = find_corners if len(views.indices) <= 2 else find_even_corners  # a pair's strongest bound its depth best
        corners = [find(frames.color[k], m, MAX_CORNERS) for k, m in zip(views.indices, ignore, strict=True)]
        poses, pinhole = frames.world_T_camera[views.indices], frames.pinhole
        gray = [np.asarray(cv2.cvtColor(frames.color[k], cv2.COLOR_RGB2GRAY), np.uint8) for k in views.indices]
        if not self._keep_poses:
            anchors = [a for a in (anchor_of(k, pinhole) for k in self._anchors) if a is not None]
            hung = hang_on(anchors, corners, gray, poses, pinhole) if anchors else None
            if hung is not None:
                links = link_frames(corners, views.neighbours, pinhole, None, gray)
                return adjust_hung(links, hung, poses, pinhole)
        known = [_known_depth(memory, pinhole, pose) for pose in poses] if memory.chunks else None
        links = link_frames(corners, views.neighbours, pinhole, known, gray)
        is_first = np.arange(len(poses)) == 0 if known is None else None  # the first picture says where the world is
        num_steps = 0 if self._keep_poses else NUM_STEPS
        return adjust(links, poses, pinhole, num_steps=num_steps, is_firm=is_first, is_cautious=True)


def _key_views(frames: FrameStack, memory: MemorySnapshot) -> _Views:
    indices = choose_frames(frames.world_T_camera, None, every=len(frames) <= 2)
    width = min(frames.pinhole.width, PAIR_WORK_WIDTH if len(indices) <= 2 else WORK_WIDTH)
    height = max(8, round(frames.pinhole.height * width / frames.pinhole.width))
    pinhole = frames.pinhole.resized(width, height)
    gray = []
    for k in indices:
        full = cv2.cvtColor(frames.color[k], cv2.COLOR_RGB2GRAY)
        gray.append(cv2.resize(full, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32))
    poses = frames.world_T_camera[indices]
    typical = _typical_depth_m(memory, pinhole, poses)
    neighbours = [_choose_neighbours(poses, k, typical) for k in range(len(indices))]
    wide = [_choose_wide(poses, k, typical) for k in range(len(indices))]
    return _Views(indices, pinhole, gray, neighbours, wide)


def _typical_depth_m(memory: MemorySnapshot, pinhole: Pinhole, poses: npt.NDArray[np.float64]) -> float:
    seen = render_depth(memory, pinhole.resized(80, 60), poses[len(poses) // 2]).depth_m
    return float(np.median(seen[seen > 0])) if (seen > 0).mean() > 0.1 else TYPICAL_DEPTH_M


def _usable_views(
    poses: npt.NDArray[np.float64], k: int
) -> tuple[list[int], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Views that look the same way as the k-th from elsewhere; distance and turn of all."""
    steps = [invert(poses[k]) @ poses[j] for j in range(len(poses))]
    turn = np.array([rotation_angle_rad(s) for s in steps])
    distance = np.array([float(np.linalg.norm(s[:3, 3])) for s in steps])
    usable = [j for j in range(len(poses)) if j != k and turn[j] < MAX_TURN_RAD and distance[j] > 1e-4]
    return usable, distance, turn


def _choose_wide(poses: npt.NDArray[np.float64], k: int, typical_m: float) -> list[int]:
    """Up to two other views that stand farther away than those that depth is swept with."""
    usable, distance, _ = _usable_views(poses, k)
    return sorted(usable, key=lambda j: abs(float(distance[j]) - WIDE_BASELINE * typical_m))[:NUM_WIDE]


def _choose_neighbours(poses: npt.NDArray[np.float64], k: int, typical_m: float) -> list[int]:
    """Up to four other views: a near and a far one before and after, as far as they look the same way."""
    usable, distance, turn = _usable_views(poses, k)
    chosen: list[int] = []
    for wanted in (NEAR_BASELINE * typical_m, FAR_BASELINE * typical_m):
        for is_after in (False, True):
            left = [j for j in usable if j not in chosen]
            side = [j for j in left if (j > k) == is_after] or left
            if side:
                chosen.append(min(side, key=lambda j: abs(np.log(distance[j] / wanted)) + turn[j] / MAX_TURN_RAD))
    return chosen


def _known_depth(
    memory: MemorySnapshot, pinhole: Pinhole, world_T_camera: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """(H, W) float32 depth of memory, drawn small; 0 beside its edges, where a pose that is off would mislead."""
    factor = min(1.0, WORK_WIDTH / pinhole.width)
    small = pinhole.resized(max(8, round(pinhole.width * factor)), max(8, round(pinhole.height * factor)))
    depth = render_depth(memory, small, world_T_camera).depth_m
    kernel = np.ones((7, 7), np.uint8)
    far, near = cv2.dilate(depth, kernel), cv2.erode(depth, kernel)
    even = np.where((near > 0) & (far - near < KNOWN_SPREAD * far), depth, np.float32(0))
    size = (pinhole.width, pinhole.height)
    return np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_NEAREST), np.float32)


def _planes(views: _Views, bundle: Bundle, memory: MemorySnapshot) -> npt.NDArray[np.float64]:
    """(D,) inverse depths from far to near that hold what corners and memory show, about a pixel apart."""
    known = bundle.inverse_depths
    if len(known) >= 30:
        low, high = np.percentile(known, [1, 99])
        low, high = low / FAR_RIM, high / NEAR_RIM
    else:
        low, high = 1 / DEFAULT_RANGE_M[1], 1 / DEFAULT_RANGE_M[0]
    middle = render_depth(memory, views.pinhole.resized(80, 60), bundle.world_T_camera[len(views.indices) // 2]).depth_m
    if (middle > 0).mean() > 0.1:
        near, far = np.percentile(middle[middle > 0], [2, 98])
        low, high = min(low, 1 / (FAR_RIM * far)), max(high, 1 / (NEAR_RIM * near))
    baseline = max(
        (
            float(np.linalg.norm((invert(bundle.world_T_camera[k]) @ bundle.world_T_camera[j])[:3, 3]))
            for k, others in enumerate(views.neighbours)
            for j in others
        ),
        default=0.0,
    )
    most = PAIR_MAX_PLANES if len(views.indices) <= 2 else NUM_PLANES
    span_px = views.pinhole.fx * baseline * (high - low)
    return np.linspace(low, high, int(np.clip(np.ceil(span_px), NUM_PLANES, most)))


def _gray_view(views: _Views, bundle: Bundle, k: int) -> GrayView:
    return GrayView(views.gray[k], views.pinhole, bundle.world_T_camera[k])


def _full_view(frames: FrameStack, views: _Views, bundle: Bundle, k: int) -> GrayView:
    gray = cv2.cvtColor(frames.color[views.indices[k]], cv2.COLOR_RGB2GRAY).astype(np.float32)
    return GrayView(gray, frames.pinhole, bundle.world_T_camera[k])


def _estimate_of(frames: FrameStack, views: _Views, bundle: Bundle, swept: list[SweptDepth | None]) -> GeometryEstimate:
    shape = frames.color.shape[:3]
    depth, confidence = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    counts = {"unmatched": 0.0, "inconsistent": 0.0}
    full = [_full_view(frames, views, bundle, k) for k in range(len(views.indices))]
    for k, index in enumerate(views.indices):
        this = swept[k]
        if this is None:
            continue
        matched = (this.match < MAX_MATCH_COST) & (this.distinct < MAX_DISTINCT)
        votes, num_others = _votes(views, bundle, swept, k)
        agreed = votes >= (max(num_others, 1) if num_others <= FEW_VIEWS else VIEWS_THAT_AGREE)
        share = PAIR_CONTINUED_SHARE if num_others == 1 else CONTINUED_SHARE
        agreed |= matched & _continues(this.depth_m, matched & agreed, share)
        kept = _cleaned(np.where(matched & agreed, this.depth_m, np.float32(0)))
        counts["unmatched"] += float((~matched).mean()) / len(views.indices)
        counts["inconsistent"] += float((matched & ~agreed).mean()) / len(views.indices)
        trust = depth_confidence(kept, views.pinhole) * (1 - this.match) * MAX_CONFIDENCE
        if num_others == 1:
            kept, trust = _shadows_filled(kept, trust, this.depth_m)
        if num_others > 1:
            wide = [_gray_view(views, bundle, j) for j in views.wide[k]]
            kept = refine_depth(_gray_view(views, bundle, k), wide, kept, is_coarse=True)
        depth[index], confidence[index] = enlarge_depth(kept, trust, frames.pinhole)
        if num_others > 1:
            depth[index] = refine_depth(full[k], [full[j] for j in views.wide[k]], depth[index])
    if len(views.indices) > 2:
        for _ in range(SETTLING_ROUNDS):
            settle_depths(depth, frames.pinhole, views.indices, bundle.world_T_camera)
    poses = _spread_poses(frames.world_T_camera, views.indices, bundle.world_T_camera)
    tests = {**counts, "reprojection_px": bundle.error_px, "key_views": float(len(views.indices))}
    return GeometryEstimate(depth, confidence, poses, 1.0, tests, poses_fit_together=True)


def settle_depths(
    depth_m: npt.NDArray[np.float32], pinhole: Pinhole, indices: list[int], poses: npt.NDArray[np.float64]
) -> None:
    """Move each view's depth, in place, to the mean of what all views that see the same surface say of it.

    Args:
        depth_m: (F, H, W) float32 metres, 0 unknown; those of ``indices`` change.
        pinhole: Intrinsics of all.
        indices: Of the key views among the frames.
        poses: (K, 4, 4) their poses.
    """
    from . import sweep_kernels as kernels

    camera = np.array([pinhole.fx, pinhole.fy, pinhole.cx, pinhole.cy], np.float32)
    as_found = depth_m.copy()
    for k, index in enumerate(indices):
        total, count = np.zeros(depth_m.shape[1:], np.float32), np.zeros(depth_m.shape[1:], np.float32)
        for j in _witnesses(poses, k):
            other_T_this = (invert(poses[j]) @ poses[k]).astype(np.float32)
            kernels.gather(
                as_found[index], as_found[indices[j]], camera, other_T_this, np.float32(SETTLED_SHARE), total, count
            )
        depth_m[index] = as_found[index] * (1 + total / (1 + count))


def _votes(views: _Views, bundle: Bundle, swept: list[SweptDepth | None], k: int) -> tuple[npt.NDArray[np.uint8], int]:
    """(H, W) uint8, how many neighbours' depths agree with the k-th view's; and how many neighbours there are."""
    from . import sweep_kernels as kernels

    this = swept[k]
    assert this is not None, "only swept views are judged"
    votes = np.zeros(this.depth_m.shape, np.uint8)
    others = [j for j in _witnesses(bundle.world_T_camera, k) if swept[j] is not None]
    camera = np.array([views.pinhole.fx, views.pinhole.fy, views.pinhole.cx, views.pinhole.cy])
    tolerance = SAME_DEPTH if len(others) >= FEW_VIEWS else PAIR_SAME_DEPTH
    for j in others:
        other_T_this = invert(bundle.world_T_camera[j]) @ bundle.world_T_camera[k]
        other = swept[j]
        assert other is not None, "only swept views are compared"
        kernels.vote(this.depth_m, other.depth_m, camera, other_T_this, tolerance, votes)
    return votes, len(others)


def _witnesses(poses: npt.NDArray[np.float64], k: int) -> list[int]:
    """Views that look the same way as the k-th: the nearest ones, whether or not it was swept with them."""
    steps = [invert(poses[k]) @ poses[j] for j in range(len(poses))]
    turned = [rotation_angle_rad(s) for s in steps]
    near = [j for j in range(len(poses)) if j != k and turned[j] < MAX_TURN_RAD]
    return sorted(near, key=lambda j: float(np.linalg.norm(steps[j][:3, 3])) + turned[j])[:MAX_WITNESSES]


def _continues(
    depth_m: npt.NDArray[np.float32], agreed: npt.NDArray[np.bool_], least_share: float
) -> npt.NDArray[np.bool_]:
    """(H, W) bool: pixels on the surface of enough neighbours that other views confirm, though no one confirms them."""
    window = (CONTINUED_PX, CONTINUED_PX)
    share = cv2.blur(agreed.astype(np.float32), window)
    inverse = cv2.blur(np.where(agreed, 1 / np.maximum(depth_m, 1e-6), 0).astype(np.float32), window)
    mean = share / np.maximum(inverse, 1e-9)
    return (share > least_share) & (np.abs(depth_m - mean) < CONTINUED_DEPTH * depth_m)


def _cleaned(depth_m: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Without small islands and pixels between two surfaces."""
    depth = np.where(find_flying(depth_m), np.float32(0), depth_m)
    inverse = np.where(depth > 0, 1.0 / np.maximum(depth, 1e-6), 0.0)
    steps = np.round(inverse / max(float(inverse.max()), 1e-6) * 8000).astype(np.int16)
    cv2.filterSpeckles(steps, 0, SPECKLE_PX, 160)
    return np.where(steps > 0, depth, np.float32(0))


def _shadows_filled(
    depth_m: npt.NDArray[np.float32], confidence: npt.NDArray[np.float32], swept_m: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What only one of a pair sees lies beside something nearer, on the surface behind: gaps take the
    swept depth where it is that of the surface behind.

    Returns:
        Depth, and confidence that is lowest where it was filled.
    """
    (left, from_left), (right, from_right) = (last_known(depth_m, 1, is_backward) for is_backward in (False, True))
    is_narrow = (left > 0) & (right > 0) & (from_left + from_right <= SHADOW_SHARE * depth_m.shape[1])
    behind = np.maximum(left, right)
    fill = (depth_m <= 0) & is_narrow & (np.abs(swept_m - behind) < FILL_AGREES * behind)
    return np.where(fill, swept_m, depth_m), np.where(fill, np.float32(FILLED_CONFIDENCE), confidence)


def enlarge_depth(
    depth_m: npt.NDArray[np.float32], confidence: npt.NDArray[np.float32], pinhole: Pinhole
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Bring depth and confidence to a camera's size: between pixels of one surface in proportion, else the nearest.

    Args:
        depth_m: (h, w) float32, 0 unknown.
        confidence: (h, w) float32.
        pinhole: Of the size wanted.
    """
    size = (pinhole.width, pinhole.height)
    nearest = np.asarray(cv2.resize(depth_m, size, interpolation=cv2.INTER_NEAREST), np.float32)
    if depth_m.shape == nearest.shape:
        return depth_m, confidence
    known = (depth_m > 0).astype(np.float32)
    inverse = np.where(depth_m > 0, 1 / np.maximum(depth_m, 1e-6), 0).astype(np.float32)
    weight = cv2.resize(known, size, interpolation=cv2.INTER_LINEAR)
    smooth = weight / np.maximum(cv2.resize(inverse, size, interpolation=cv2.INTER_LINEAR), 1e-9)
    is_one = (nearest > 0) & (np.abs(smooth - nearest) < SAME_DEPTH * nearest)
    trust = np.asarray(cv2.resize(confidence, size, interpolation=cv2.INTER_NEAREST), np.float32)
    return np.where(is_one, smooth, nearest).astype(np.float32), trust


def _spread_poses(
    asked: npt.NDArray[np.float64], indices: list[int], found: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(F, 4, 4) poses of all frames: those between take the correction of the nearest key view."""
    out = np.empty_like(asked)
    for k in range(len(asked)):
        near = min(range(len(indices)), key=lambda j: abs(indices[j] - k))
        out[k] = found[near] @ invert(asked[indices[near]]) @ asked[k]
    return out
