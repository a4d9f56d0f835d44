"""Whether a clip that lies badly on memory would lie well with another camera: then its intrinsics are wrong."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..memory import MemorySnapshot
from ..transforms import Transform
from .alignment import JUDGED_OVERLAP, Alignment, align_to_memory
from .estimators import GeometryEstimate
from .fit import MAX_ROTATION_RAD, MAX_TRANSLATION_M

FACTORS = (0.7, 0.77, 0.83, 0.91, 1.1, 1.2, 1.3, 1.43)
"""Focal lengths that are tried, over the one that is said."""
NEARLY_SQUARE = 1.1
SHIFTS = (-0.15, -0.1, 0.1, 0.15)
"""Shifts of the principal point that are tried, as shares of the width and of the height."""
SUSPECT_SHARE = 0.88
"""A frame of which a larger share of what memory shows lies within 3 % of it fits, and nothing is tried."""
MAX_FRAMES = 3
LEAST_GAIN, SMALLER_RESIDUAL = 0.08, 0.6
"""Another camera must explain this much more of what memory shows, with errors so many times as large at most,"""
LARGE_GAIN = 0.2
"""or this much more whatever the errors, which where most fits are those of the rest,"""
GOOD_FIT, SMALLER_CORRECTION = 0.9, 0.5
"""or so much, where the camera that is said would have to stand elsewhere, from no more than this share of that way."""
LEAST_FIT = 0.8
"""Share that must be explained at least: what fits with no camera shows another place."""
SLACK_M = 0.02
ANY_M, ANY_RAD = 10.0, float(np.pi)


@dataclass(frozen=True, slots=True)
class OtherCamera:
    """What is different from the camera that is said.

    Attributes:
        factor_x, factor_y: On the focal lengths.
        shift_x, shift_y: Of the principal point, shares of width and height.
        name: In words, for the swapped ones.
    """

    factor_x: float = 1.0
    factor_y: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    name: str = ""

    def of(self, said: Pinhole) -> Pinhole:
        """The other camera."""
        return replace(
            said,
            fx=self.factor_x * said.fx,
            fy=self.factor_y * said.fy,
            cx=said.cx + self.shift_x * said.width,
            cy=said.cy + self.shift_y * said.height,
        )

    def words(self) -> str:
        """What fits, in words."""
        if self.name:
            return self.name
        if self.factor_x != 1.0:
            return f"a focal length {self.factor_x:.2f} times as long"
        by = f"{self.shift_x:+.0%} of the width" if self.shift_x else f"{self.shift_y:+.0%} of the height"
        return f"the principal point moved by {by}"


AS_SAID = OtherCamera()


def other_cameras(said: Pinhole) -> list[OtherCamera]:
    """Cameras that are tried in place of one: zoomed, with a moved centre, and with width and height mixed up."""
    others = [OtherCamera(f, f) for f in FACTORS]
    others += [OtherCamera(shift_x=s) for s in SHIFTS] + [OtherCamera(shift_y=s) for s in SHIFTS]
    aspect = said.width / said.height
    if not 1 / NEARLY_SQUARE < aspect < NEARLY_SQUARE:
        centre = ((said.cy - said.cx) / said.width, (said.cx - said.cy) / said.height)
        others.append(OtherCamera(shift_x=centre[0], shift_y=centre[1], name="the principal point's x and y swapped"))
        others.append(OtherCamera(aspect, 1 / aspect, name="focal lengths normalised by width and height swapped"))
    return others


def estimate_camera(
    estimate: GeometryEstimate,
    moving: npt.NDArray[np.bool_],
    found: npt.NDArray[np.bool_],
    pinhole: Pinhole,
    alignments: list[Alignment],
    memory: MemorySnapshot,
) -> OtherCamera:
    """The camera with which a clip would fit memory; ``AS_SAID`` where the one it has is not evidently wrong.

    Only frames that fit badly are tried: depth of the first is laid on memory anew with some other cameras. The best
    counts if it explains clearly more of the frame, or as much from where the frame was asked for, and if it does so in
    other such frames, too.

    Args:
        estimate: Depth and poses.
        moving: (F, H, W) bool, what is known to move, to leave out.
        found: (F, H, W) bool, what else was found to move: it may be what does not fit.
        pinhole: Intrinsics as they are said to be.
        alignments: How each frame lies on memory with those.
        memory: Memory.
    """
    shown = [k for k, a in enumerate(alignments) if a.overlap_share >= JUDGED_OVERLAP]
    known = np.maximum((estimate.depth_m > 0).sum(axis=(1, 2)), 1)
    still = 1 - (found & (estimate.depth_m > 0)).sum(axis=(1, 2)) / known
    bad = [k for k in shown if alignments[k].rejected or _share(alignments[k]) * still[k] < SUSPECT_SHARE]
    if not bad or 2 * len(bad) < len(shown):
        return AS_SAID
    cameras = other_cameras(pinhole)
    for k in bad[:: max(1, len(bad) // MAX_FRAMES)][:MAX_FRAMES]:
        depth, trust = estimate.depth_m[k], np.where(moving[k], np.float32(0), estimate.confidence[k])
        pose = estimate.world_T_camera[k]
        fits = {c: _laid(depth, trust, c.of(pinhole), pose, memory) for c in (AS_SAID, *cameras)}
        own = fits.pop(AS_SAID)
        near = {c: f for c, f in fits.items() if _is_plausible(f, own)}
        best = max(near, key=lambda c: _share(near[c]), default=AS_SAID)
        if best == AS_SAID or not _is_better(near[best], own):
            return AS_SAID
        cameras = [best]
    return cameras[0]


def _laid(
    depth_m: npt.NDArray[np.float32],
    confidence: npt.NDArray[np.float32],
    pinhole: Pinhole,
    world_T_camera: Transform,
    memory: MemorySnapshot,
) -> Alignment:
    """A frame laid on memory, from however far."""
    return align_to_memory(
        depth_m, confidence, pinhole, world_T_camera, memory, max_translation_m=ANY_M, max_rotation_rad=ANY_RAD
    )


def _is_plausible(other: Alignment, own: Alignment) -> bool:
    """Whether it stands about where it was asked for, and no farther off than with the camera that is said."""
    is_near = other.correction_m <= MAX_TRANSLATION_M and other.correction_rad <= MAX_ROTATION_RAD
    return is_near and other.correction_m <= max(own.correction_m, SLACK_M)


def _is_better(other: Alignment, own: Alignment) -> bool:
    """Whether another camera evidently fits where the one that is said does not."""
    gain = _share(other) - _share(own)
    if own.correction_m > MAX_TRANSLATION_M or own.correction_rad > MAX_ROTATION_RAD:
        is_nearer = other.correction_m <= SMALLER_CORRECTION * max(own.correction_m, MAX_TRANSLATION_M)
        if is_nearer and gain >= 0 and _share(other) >= GOOD_FIT:
            return True
    is_closer = gain > LEAST_GAIN and other.residual < SMALLER_RESIDUAL * own.residual
    return (is_closer or gain > LARGE_GAIN) and _share(other) > LEAST_FIT


def why_camera(camera: OtherCamera) -> str:
    """Say why a clip is not believed that fits memory with another camera only; empty if it is as it is said."""
    return "" if camera == AS_SAID else f"does not fit memory: wrong intrinsics, it fits with {camera.words()}"


def _share(alignment: Alignment) -> float:
    """Share of what memory shows of a frame that lies within 3 % of it."""
    return alignment.covisible_share / max(alignment.overlap_share, 1e-6)
