"""Known keyframes that a clip's views are hung on: what both show says where the clip was really pictured."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..keyframes import Keyframe
from ..transforms import Transform, interpolate, invert, rotation_angle_rad
from .bundle import Bundle, Link, PosePrior, adjust, match_epipolar, rays_of
from .features import Corners, depth_at, find_even_corners, place_matches, solve_pose
from .given import clean_depth, find_flying

MAX_CORNERS = 1500
ANCHORS_PER_VIEW = 3
MAX_TURN_RAD = float(np.deg2rad(40.0))
TURN_AS_M = 1.5
"""Of several anchors those count that stand nearest, a radian of turn counting as so many metres."""
MIN_INLIERS = 25
MIN_SPREAD = 0.06
"""Corners that agree must be spread over the picture: their standard deviation, as a share of its size, both ways."""
MAX_OFF_M, MAX_OFF_RAD = 0.25, float(np.deg2rad(8.0))
"""A clip is pictured nearer to where it was asked for; matches that say otherwise are of a place that looks alike."""
MAX_ERROR_PX_AT_640 = 2.0
AGREE_M, AGREE_RAD = 0.06, float(np.deg2rad(2.0))
"""Measurements of how far a clip is off agree within this; the largest group of them counts."""
HUNG = PosePrior(0.05, float(np.deg2rad(1.5)), 0.003, 0.0015)
"""Anchors say better than the request where a clip was pictured; the steps from view to view still hold it together."""


@dataclass(frozen=True, slots=True, eq=False)
class Anchor:
    """A keyframe as a clip's camera would have pictured it.

    Attributes:
        gray: (H, W) uint8.
        corners: Of its picture, where its depth is known.
        depth_m: (N,) float64 depth at them, 0 unknown.
        world_T_camera: (4, 4) pose.
    """

    gray: npt.NDArray[np.uint8]
    corners: Corners
    depth_m: npt.NDArray[np.float64]
    world_T_camera: Transform


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """A view that shows an anchor's corners.

    Attributes:
        view: Index of the view.
        rows: (M,) the anchor's corners that it shows.
        pixels: (M, 2) where.
        world_T_camera: (4, 4) the view's pose after them.
    """

    view: int
    rows: npt.NDArray[np.intp]
    pixels: npt.NDArray[np.float32]
    world_T_camera: Transform


@dataclass(frozen=True, slots=True, eq=False)
class Anchoring:
    """How a clip hangs on anchors.

    Attributes:
        world_T_camera: (F, 4, 4) poses of the clip's views after them, to start an adjustment from.
        held: (A, 4, 4) poses of the anchors that are seen.
        links: Of each of these, its corners in the views; its own index is F plus its row in ``held``.
    """

    world_T_camera: npt.NDArray[np.float64]
    held: npt.NDArray[np.float64]
    links: tuple[Link, ...]


def anchor_of(keyframe: Keyframe, pinhole: Pinhole) -> Anchor | None:
    """Prepare a keyframe for a clip's camera; None if it has no depth."""
    if keyframe.depth_m is None:
        return None
    depth = clean_depth(keyframe.depth_m)
    depth = np.where(find_flying(depth), np.float32(0), depth)
    if keyframe.moving is not None:
        depth = np.where(keyframe.moving, np.float32(0), depth)
    color = keyframe.color
    if keyframe.pinhole != pinhole:
        onto = pinhole.warp_matrix @ np.linalg.inv(keyframe.pinhole.warp_matrix)
        color = np.asarray(cv2.warpPerspective(color, onto, pinhole.size, flags=cv2.INTER_AREA), np.uint8)
        depth = np.asarray(cv2.warpPerspective(depth, onto, pinhole.size, flags=cv2.INTER_NEAREST), np.float32)
    corners = find_even_corners(color, depth <= 0, MAX_CORNERS)
    gray = np.asarray(cv2.cvtColor(color, cv2.COLOR_RGB2GRAY), np.uint8)
    return Anchor(gray, corners, depth_at(depth, corners.pixels).astype(np.float64), keyframe.world_T_camera.copy())


def hang_on(
    anchors: Sequence[Anchor],
    corners: Sequence[Corners],
    gray: Sequence[npt.NDArray[np.uint8]],
    world_T_camera: npt.NDArray[np.float64],
    pinhole: Pinhole,
) -> Anchoring | None:
    """Find a clip's views on anchors.

    Each view is matched with the nearest anchors that look the same way; its pose follows from their depth (AP3P
    with RANSAC). Measurements count that agree with most others about how far the clip is off.

    Args:
        anchors: Known keyframes.
        corners: Of each view.
        gray: (H, W) uint8 pictures of the views.
        world_T_camera: (F, 4, 4) poses that were asked for.
        pinhole: Intrinsics of all.

    Returns:
        The poses after the anchors; None if none is seen.
    """
    sights: list[list[_Sight]] = [[] for _ in anchors]
    for v, pose in enumerate(world_T_camera):
        for a in _nearest(anchors, pose):
            sight = _sight(anchors[a], v, corners[v], gray[v], pose, pinhole)
            if sight is not None:
                sights[a].append(sight)
    kept = _agreeing(sights, world_T_camera)
    if not any(kept):
        return None
    used = [a for a, seen in enumerate(kept) if seen]
    links = tuple(_link(len(world_T_camera) + i, anchors[a], kept[a], pinhole) for i, a in enumerate(used))
    poses = _started([s for seen in kept for s in seen], world_T_camera)
    return Anchoring(poses, np.stack([anchors[a].world_T_camera for a in used]), links)


def _nearest(anchors: Sequence[Anchor], pose: Transform) -> list[int]:
    steps = [invert(a.world_T_camera) @ pose for a in anchors]
    turns = [rotation_angle_rad(s) for s in steps]
    near = [a for a in range(len(anchors)) if turns[a] < MAX_TURN_RAD]
    return sorted(near, key=lambda a: float(np.linalg.norm(steps[a][:3, 3])) + TURN_AS_M * turns[a])[:ANCHORS_PER_VIEW]


def _sight(
    anchor: Anchor, view: int, corners: Corners, gray: npt.NDArray[np.uint8], asked: Transform, pinhole: Pinhole
) -> _Sight | None:
    """The corners of an anchor that a view shows; None if they are few, in one spot, or say that it is elsewhere."""
    pairs = match_epipolar(anchor.corners, corners, pinhole)
    if len(pairs) < MIN_INLIERS:
        return None
    rows = pairs[:, 0]
    there = place_matches(anchor.gray, gray, anchor.corners.pixels[rows], corners.pixels[pairs[:, 1]])
    holds = np.isfinite(there[:, 0]) & (anchor.depth_m[rows] > 0)
    rows, there = rows[holds], there[holds]
    found = solve_pose(anchor.corners.pixels[rows], anchor.depth_m[rows], pinhole, there, pinhole)
    if found is None or found.num_inliers < MIN_INLIERS:
        return None
    rows, there = rows[found.inliers], there[found.inliers]
    pose = anchor.world_T_camera @ found.a_T_b
    off = invert(asked) @ pose
    if np.linalg.norm(off[:3, 3]) > MAX_OFF_M or rotation_angle_rad(off) > MAX_OFF_RAD:
        return None
    spread = there.std(axis=0) / np.array(pinhole.size)
    if spread.min() < MIN_SPREAD or found.error_px > MAX_ERROR_PX_AT_640 * pinhole.width / 640:
        return None
    return _Sight(view, rows, there, pose)


def _agreeing(sights: Sequence[Sequence[_Sight]], asked: npt.NDArray[np.float64]) -> list[list[_Sight]]:
    """The sights, by anchor, that agree with most others about how far each view is off."""
    every = [s for seen in sights for s in seen]
    offs = [s.world_T_camera @ invert(asked[s.view]) for s in every]
    eyes = [s.world_T_camera[:3, 3] - asked[s.view][:3, 3] for s in every]
    agrees = np.zeros((len(every), len(every)), bool)
    for i in range(len(every)):
        for j in range(len(every)):
            near = np.linalg.norm(eyes[i] - eyes[j]) < AGREE_M
            agrees[i, j] = near and rotation_angle_rad(invert(offs[i]) @ offs[j]) < AGREE_RAD
    if len(every) == 0:
        return [[] for _ in sights]
    weights = np.array([len(s.rows) for s in every])
    best = agrees[int(np.argmax(agrees @ weights))]
    chosen = {id(s) for s, is_in in zip(every, best, strict=True) if is_in}
    return [[s for s in seen if id(s) in chosen] for seen in sights]


def _link(index: int, anchor: Anchor, sights: Sequence[_Sight], pinhole: Pinhole) -> Link:
    used = np.unique(np.concatenate([s.rows for s in sights]))
    seen = np.full((len(used), len(sights), 2), np.nan)
    for v, sight in enumerate(sights):
        seen[np.searchsorted(used, sight.rows), v] = sight.pixels
    rays = rays_of(anchor.corners.pixels[used].astype(np.float64), pinhole)
    return Link(index, tuple(s.view for s in sights), rays, seen, 1 / anchor.depth_m[used])


def _started(sights: Sequence[_Sight], asked: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(F, 4, 4) poses: each view's best sight, between those that have one in proportion."""
    best: dict[int, _Sight] = {}
    for sight in sights:
        if sight.view not in best or len(sight.rows) > len(best[sight.view].rows):
            best[sight.view] = sight
    known = sorted(best)
    offs = {v: invert(asked[v]) @ best[v].world_T_camera for v in known}
    out = np.empty_like(asked)
    for v in range(len(asked)):
        before, after = (
            max((k for k in known if k <= v), default=known[0]),
            min((k for k in known if k >= v), default=-1),
        )
        after = known[-1] if after < 0 else after
        share = 0.0 if after <= before else (v - before) / (after - before)
        out[v] = asked[v] @ interpolate(offs[before], offs[after], share)
    return out


def adjust_hung(links: Sequence[Link], hung: Anchoring, asked: npt.NDArray[np.float64], pinhole: Pinhole) -> Bundle:
    """Adjust a clip's views by what they have in common and by anchors, which stay where they are.

    Args:
        links: Matches between the views.
        hung: How they hang on anchors.
        asked: (F, 4, 4) poses that were asked for.
        pinhole: Intrinsics of all.
    """
    start = np.concatenate([hung.world_T_camera, hung.held])
    wanted = np.concatenate([asked, hung.held])
    is_firm = np.arange(len(start)) >= len(asked)
    found = adjust([*links, *hung.links], start, pinhole, prior=HUNG, asked=wanted, is_firm=is_firm)
    return Bundle(found.world_T_camera[: len(asked)], found.inverse_depths, found.error_px)
