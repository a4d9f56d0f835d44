"""Loop closure: a walk that comes back to a place it knows finds out how far it has drifted, and spreads the error.

A pair of keyframes that show the same surface long after one another is measured twice: by corners, from the depth of
one to the picture of the other, and by laying the surface of one on that of the other. Only where both agree it becomes
an edge of the pose graph. A correction is proposed only if the keyframes fit one another better with it than without.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..memory import MemorySnapshot, SpatialMemory
from ..points import PointClass, priority_of
from ..transforms import Transform, apply, invert, rotation_angle_rad
from .alignment import align_to_memory
from .correction import Correction
from .features import Corners, RelativePose, depth_at, find_corners, match_corners, solve_pose
from .given import clean_depth, depth_confidence, find_flying
from .lift import lift_pixels
from .pose_graph import PoseEdge, edge_errors, optimise_poses
from .tracking import KEY_ANGLE_RAD, KEY_DISTANCE_M, RgbdFrame

MIN_GAP = 6
"""Keyframes nearer in the sequence are neighbours, not a loop."""
MIN_SHARED = 0.15
"""Share of a keyframe's surface that another must look at to be tried as a loop."""
DRIFT_M, DRIFT_SHARE = 0.5, 0.15
"""Surfaces that lie apart by no more than the first plus the second times their distance may be the same, drifted."""
MAX_TRIED, MAX_LOOPS = 6, 3
"""Loops tried and taken for one keyframe, those with most shared surface first."""
MIN_INLIERS = 20
MIN_SPREAD = 0.05
"""Corners that agree must be spread over the picture: their standard deviation, as a share of its size, both ways."""
AMBIGUOUS = 0.5
"""Where the other matches agree on another pose, with so many as a share of the best, the texture repeats: no loop."""
MAX_TRANSLATION_M, MAX_ROTATION_RAD = 0.1, float(np.deg2rad(4.0))
"""The two estimates of a loop must agree within this."""
MIN_OVERLAP, MIN_FIT, MAX_RESIDUAL = 0.3, 0.5, 0.02
"""The surfaces must overlap by this share of the picture, this share of that be the same, with this median error."""
STEP_SIGMA_M, STEP_SIGMA_RAD = 0.02, float(np.deg2rad(0.8))
"""How far a step from keyframe to keyframe may be off, and by how much more for each metre walked."""
STEP_SHARE = 0.05
LOOP_SIGMA_M, LOOP_SIGMA_RAD = 0.01, float(np.deg2rad(0.4))
OUTVOTED = 4.0
"""A loop that the others leave so many deviations off was none."""
MIN_MOVE_M, MIN_TURN_RAD = 0.01, float(np.deg2rad(0.3))
"""Smaller corrections are noise: nothing is moved."""
GRID = (16, 12)
SURFACE_VOXEL_M = 0.015
MAX_ERROR = 0.2
"""Relative depth errors count at most so much: what hides behind something else is no misfit."""
JUDGED_SHARE = 0.2
"""Keyframes that look at so much of each other's surface are compared."""
BETTER = 0.97
"""A correction must leave at most this share of the misfit, or it is none."""


@dataclass(frozen=True, slots=True, eq=False)
class KeyView:
    """A keyframe as loop closure sees it.

    Attributes:
        identity: The keyframe's identity.
        color: (H, W, 3) uint8 sRGB.
        depth_m: (H, W) float32 metres, 0 unknown, moving or flying.
        confidence: (H, W) float32 in [0, 1].
        corners: Of its picture.
        corner_depth_m: (N,) depth at them.
        pinhole: Intrinsics.
        world_T_camera: (4, 4) pose.
        is_fixed: Its pose is not to be corrected, as that of a source's own frame.
    """

    identity: int
    color: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]
    corners: Corners
    corner_depth_m: npt.NDArray[np.float32]
    pinhole: Pinhole
    world_T_camera: Transform
    is_fixed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """Two keyframes that show the same surface, and how they stand to one another.

    Attributes:
        old: Identity of the earlier one.
        new: Identity of the later one.
        old_T_new: (4, 4) measured relative pose.
        num_inliers: Corners that agree.
        residual: Median relative depth error of the surfaces.
        disagreement_m: Distance between the two estimates.
        disagreement_rad: Angle between them.
    """

    old: int
    new: int
    old_T_new: Transform
    num_inliers: int
    residual: float
    disagreement_m: float
    disagreement_rad: float


@dataclass(frozen=True, slots=True, eq=False)
class Closure:
    """What loop closure proposes.

    Attributes:
        correction: How points and poses move, by keyframe.
        loops: What it rests on.
        residual_before: How badly the keyframes' surfaces fit one another as they were, 0 to 1.
        residual_after: The same with the correction.
        num_outvoted: Loops that the others contradicted.
    """

    correction: Correction
    loops: tuple[Loop, ...]
    residual_before: float
    residual_after: float
    num_outvoted: int


def key_view(
    identity: int,
    color: npt.NDArray[np.uint8],
    depth_m: npt.NDArray[np.float32],
    pinhole: Pinhole,
    world_T_camera: Transform,
    *,
    moving: npt.NDArray[np.bool_] | None = None,
    is_fixed: bool = False,
) -> KeyView:
    """Prepare a keyframe; this is what takes time, so keep it.

    Args:
        identity: The keyframe's identity.
        color: (H, W, 3) uint8 sRGB.
        depth_m: (H, W) float32 metres, 0 unknown.
        pinhole: Intrinsics of both.
        world_T_camera: (4, 4) pose.
        moving: (H, W) bool, what moves, or None.
        is_fixed: Its pose is not to be corrected.
    """
    depth = clean_depth(depth_m)
    depth = np.where(find_flying(depth), np.float32(0), depth)
    if moving is not None:
        depth = np.where(moving, np.float32(0), depth)
    corners = find_corners(color, moving)
    confidence = depth_confidence(depth, pinhole)
    z = depth_at(depth, corners.pixels)
    return KeyView(identity, color, depth, confidence, corners, z, pinhole, world_T_camera.copy(), is_fixed)


def close_trajectory(
    frames: Sequence[RgbdFrame],
    world_T_camera: npt.NDArray[np.float64],
    key_indices: Sequence[int],
    *,
    progress: Callable[[str, float], None] | None = None,
) -> tuple[npt.NDArray[np.float64], Closure | None]:
    """Correct the poses of a whole recording by the loops among its keyframes; the first frame stays.

    Args:
        frames: Of the recording, with depth.
        world_T_camera: (F, 4, 4) poses.
        key_indices: Rising indices of the frames that are compared.
        progress: Called with what is going on and the share that is done.

    Returns:
        (F, 4, 4) poses, those that came where nothing was found, and what was found.

    Raises:
        ValueError: A keyframe has no depth.
    """
    views = []
    for n, k in enumerate(key_indices):
        if progress is not None:
            progress("closing loops", n / len(key_indices))
        frame = frames[k]
        if frame.depth_m is None:
            raise ValueError(f"loop closure: expected frames with depth, frame {k} has none")
        depth, pose = frame.depth_m, world_T_camera[k]
        views.append(key_view(k + 1, frame.color, depth, frame.pinhole, pose, moving=frame.moving, is_fixed=n == 0))
    closure = find_closure(views)
    if closure is None:
        return world_T_camera.copy(), None
    moved = [closure.correction.of(k + 1) @ pose for k, pose in enumerate(world_T_camera)]
    return np.stack(moved), closure


def choose_keyframes(world_T_camera: npt.NDArray[np.float64]) -> list[int]:
    """Indices of the frames to compare: the first, the last and one for every 20 cm or 12 degrees."""
    chosen = [0]
    for k in range(1, len(world_T_camera)):
        step = invert(world_T_camera[chosen[-1]]) @ world_T_camera[k]
        is_far = np.linalg.norm(step[:3, 3]) > KEY_DISTANCE_M or rotation_angle_rad(step) > KEY_ANGLE_RAD
        if is_far or k == len(world_T_camera) - 1:
            chosen.append(k)
    return chosen


def find_closure(
    views: Sequence[KeyView],
    *,
    known: Sequence[Loop] = (),
    only_new: frozenset[int] | None = None,
    on_loop: Callable[[Loop], None] | None = None,
) -> Closure | None:
    """Look for loops among keyframes and work out what they correct.

    Args:
        views: In the order in which they were taken; each hangs on the one before. At least one must be fixed.
        known: Loops that were found before; identities that are no longer there are passed over.
        only_new: Look for loops of these keyframes alone; of all if not given.
        on_loop: Called with each loop that is found, to be known the next time.

    Returns:
        The correction, or None where there is no loop, where the drift is within the noise, or where the keyframes
        would fit one another no better than before.

    Raises:
        ValueError: No keyframe is fixed.
    """
    if len(views) <= MIN_GAP:
        return None
    index_of = {v.identity: k for k, v in enumerate(views)}
    loops = [loop for loop in known if loop.old in index_of and loop.new in index_of]
    for k, view in enumerate(views):
        if only_new is None or view.identity in only_new:
            for loop in _loops_of(views, k):
                loops.append(loop)
                if on_loop is not None:
                    on_loop(loop)
    return None if not loops else _close(views, loops, index_of)


def _close(views: Sequence[KeyView], loops: list[Loop], index_of: dict[int, int]) -> Closure | None:
    poses = np.stack([v.world_T_camera for v in views])
    fixed = np.array([v.is_fixed for v in views])
    moved, loops, outvoted = _settle(poses, fixed, loops, index_of)
    correction = Correction.between(np.array([v.identity for v in views]), poses, moved)
    far_m, turn_rad = correction.largest_move(poses)
    if not loops or (far_m < MIN_MOVE_M and turn_rad < MIN_TURN_RAD):
        return None
    pairs = _judged_pairs(views, poses, moved)
    before, after = misfit(views, poses, pairs), misfit(views, moved, pairs)
    if not after < BETTER * before:
        return None
    return Closure(correction, tuple(loops), before, after, outvoted)


def _settle(
    poses: npt.NDArray[np.float64], fixed: npt.NDArray[np.bool_], loops: list[Loop], index_of: dict[int, int]
) -> tuple[npt.NDArray[np.float64], list[Loop], int]:
    """Poses by steps and loops; the loop that is farthest off goes, one after another, until all agree."""
    steps, kept = _step_edges(poses), list(loops)
    while kept:
        edges = [_loop_edge(loop, index_of) for loop in kept]
        moved = optimise_poses(poses, [*steps, *edges], fixed)
        off_m, off_rad = edge_errors(moved, edges)
        off = np.maximum(off_m / LOOP_SIGMA_M, off_rad / LOOP_SIGMA_RAD)
        if off.max() < OUTVOTED:
            return moved, kept, len(loops) - len(kept)
        kept.pop(int(np.argmax(off)))
    return poses, [], len(loops)


def _step_edges(poses: npt.NDArray[np.float64]) -> list[PoseEdge]:
    edges = []
    for k in range(len(poses) - 1):
        step = invert(poses[k]) @ poses[k + 1]
        length = float(np.linalg.norm(step[:3, 3]))
        sigma_m, sigma_rad = STEP_SIGMA_M + STEP_SHARE * length, STEP_SIGMA_RAD + STEP_SHARE * rotation_angle_rad(step)
        edges.append(PoseEdge(k, k + 1, step, sigma_m, sigma_rad))
    return edges


def _loop_edge(loop: Loop, index_of: dict[int, int]) -> PoseEdge:
    a, b = index_of[loop.old], index_of[loop.new]
    return PoseEdge(a, b, loop.old_T_new, LOOP_SIGMA_M, LOOP_SIGMA_RAD)


def _loops_of(views: Sequence[KeyView], k: int) -> list[Loop]:
    """Loops from a keyframe back to earlier ones, those with most shared surface first."""
    new = views[k]
    shares = [(shared_surface(old, new), j) for j, old in enumerate(views[: max(0, k - MIN_GAP + 1)])]
    tried = sorted((s for s in shares if s[0] >= MIN_SHARED), reverse=True)[:MAX_TRIED]
    loops: list[Loop] = []
    for _, j in tried:
        loop = measure_loop(views[j], new)
        if loop is not None:
            loops.append(loop)
        if len(loops) == MAX_LOOPS:
            break
    return loops


def shared_surface(old: KeyView, new: KeyView) -> float:
    """Share of the old keyframe's surface that the new one looks at, allowing for drift."""
    points = _samples(old)
    if len(points) == 0:
        return 0.0
    seen, z, depth = _seen(points, old.world_T_camera, new, new.world_T_camera)
    return float((np.abs(depth - z) < DRIFT_M + DRIFT_SHARE * z).sum() / len(points)) if seen.any() else 0.0


def measure_loop(old: KeyView, new: KeyView) -> Loop | None:
    """Measure how two keyframes stand to one another, twice; None unless both estimates are firm and agree.

    The new one is laid on the old one's surface alone: those beside it carry the drift of a step.
    """
    by_corners = _by_corners(old, new)
    if by_corners is None:
        return None
    old_T_new, inliers = by_corners
    start = old.world_T_camera @ old_T_new
    fit = align_to_memory(
        new.depth_m,
        new.confidence,
        new.pinhole,
        start,
        _surface_of(old),
        max_translation_m=MAX_TRANSLATION_M,
        max_rotation_rad=MAX_ROTATION_RAD,
        keep_close=False,
    )
    if fit.rejected or fit.overlap_share < MIN_OVERLAP or not fit.residual <= MAX_RESIDUAL:
        return None
    if fit.covisible_share < MIN_FIT * fit.overlap_share:
        return None
    measured = invert(old.world_T_camera) @ fit.world_T_camera
    return Loop(old.identity, new.identity, measured, inliers, fit.residual, fit.correction_m, fit.correction_rad)


def _by_corners(old: KeyView, new: KeyView) -> tuple[Transform, int] | None:
    pairs = match_corners(old.corners, new.corners)
    if len(pairs) < MIN_INLIERS:
        return None
    a, b = pairs[:, 0], pairs[:, 1]
    here, z, there = old.corners.pixels[a], old.corner_depth_m[a], new.corners.pixels[b]
    found = solve_pose(here, z, old.pinhole, there, new.pinhole)
    if found is None or found.num_inliers < MIN_INLIERS:
        return None
    if (here[found.inliers].std(axis=0) < MIN_SPREAD * np.array(old.pinhole.size)).any():
        return None
    rest = np.setdiff1d(np.arange(len(pairs)), found.inliers)
    other = solve_pose(here[rest], z[rest], old.pinhole, there[rest], new.pinhole)
    if other is not None and other.num_inliers > AMBIGUOUS * found.num_inliers and _is_elsewhere(found, other):
        return None
    return found.a_T_b, found.num_inliers


def _is_elsewhere(found: RelativePose, other: RelativePose) -> bool:
    """Whether two poses contradict one another, as those of a repeating texture do."""
    step = invert(found.a_T_b) @ other.a_T_b
    return bool(np.linalg.norm(step[:3, 3]) > MAX_TRANSLATION_M or rotation_angle_rad(step) > MAX_ROTATION_RAD)


def _surface_of(view: KeyView) -> MemorySnapshot:
    memory = SpatialMemory(SURFACE_VOXEL_M)
    use = np.zeros(view.depth_m.shape, bool)
    use[::2, ::2] = True
    batch = lift_pixels(
        view.color,
        view.depth_m,
        view.confidence,
        use=use & (view.confidence > 0),
        pinhole=view.pinhole,
        world_T_camera=view.world_T_camera,
        priority=priority_of(PointClass.OBSERVED),
        keyframe_id=1,
        max_points=use.size,
    )
    memory.insert(batch)
    return memory.snapshot()


def _samples(view: KeyView) -> npt.NDArray[np.float64]:
    """(S, 3) points of a keyframe in its own camera, on a grid of pixels."""
    rows = ((np.arange(GRID[1]) + 0.5) * view.pinhole.height / GRID[1]).astype(np.intp)
    columns = ((np.arange(GRID[0]) + 0.5) * view.pinhole.width / GRID[0]).astype(np.intp)
    part = np.ix_(rows, columns)
    depth = view.depth_m[part].astype(np.float64)
    p = view.pinhole
    x, y = (columns + 0.5 - p.cx) / p.fx, (rows + 0.5 - p.cy) / p.fy
    rays = np.stack([np.broadcast_to(x, depth.shape), np.broadcast_to(y[:, None], depth.shape), np.ones_like(depth)], 2)
    known = depth > 0
    return (rays * depth[..., None])[known]


def _seen(
    points: npt.NDArray[np.float64], world_T_a: Transform, b: KeyView, world_T_b: Transform
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Which of camera a's points fall on b's known depth; their depth in b, and b's there."""
    moved = apply(invert(world_T_b) @ world_T_a, points)
    z, p = moved[:, 2], b.pinhole
    safe = np.where(z > 0.1, z, np.nan)
    with np.errstate(invalid="ignore"):
        u, v = np.floor(p.fx * moved[:, 0] / safe + p.cx), np.floor(p.fy * moved[:, 1] / safe + p.cy)
        inside = (u >= 0) & (v >= 0) & (u < p.width) & (v < p.height)
    depth = b.depth_m[v[inside].astype(np.intp), u[inside].astype(np.intp)].astype(np.float64)
    has_depth = depth > 0
    seen = inside.copy()
    seen[inside] = has_depth
    return seen, z[inside][has_depth], depth[has_depth]


def _judged_pairs(
    views: Sequence[KeyView], before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]
) -> list[tuple[int, int]]:
    """Pairs of keyframes that look at the same place, with either poses."""
    pairs = []
    for a, view in enumerate(views):
        points = _samples(view)
        for b, other in enumerate(views):
            if a == b or len(points) == 0:
                continue
            shares = [_seen(points, poses[a], other, poses[b])[0].mean() for poses in (before, after)]
            if max(shares) >= JUDGED_SHARE:
                pairs.append((a, b))
    return pairs


def misfit(
    views: Sequence[KeyView], world_T_camera: npt.NDArray[np.float64], pairs: Sequence[tuple[int, int]]
) -> float:
    """How badly keyframes' surfaces fit one another: mean relative depth error, each at most ``MAX_ERROR``.

    Args:
        views: Keyframes.
        world_T_camera: (F, 4, 4) their poses.
        pairs: Indices of those to compare. A pair that no longer overlaps counts as a bad one.
    """
    errors = []
    for a, b in pairs:
        points = _samples(views[a])
        seen, z, depth = _seen(points, world_T_camera[a], views[b], world_T_camera[b])
        if not seen.any():
            errors.append(MAX_ERROR)
            continue
        errors.append(float(np.minimum(np.abs(z - depth) / depth, MAX_ERROR).mean()))
    return float(np.mean(errors)) if errors else float("nan")
