"""Directions that were generated: what stayed missing there, and when to look again where something moved in front."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..world.transforms import Transform

SETTLED_DISTANCE_M = 0.45
SETTLED_ANGLE_RAD = float(np.radians(20.0))
SETTLED_TOLERANCE = 0.02
"""A settled direction is asked again only if it lacks this share more than its clip left behind."""
LEAST_HIDDEN = 0.001
"""What moved in front of less than this share of a view is not worth another clip."""
LOOK_AGAIN_AFTER_S = (2.0, 6.0, 18.0)
"""Waits before each further look at what something that moved had hidden; after these it stays as it is."""
NEVER_S = float("inf")


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """A direction that has been generated: from where, whither, and what stayed missing.

    Attributes:
        request_id: The clip.
        world_T_camera: (4, 4) its last pose.
        missing_share: Share of the view that memory lacked afterwards.
        hidden_share: The part of it in front of which something moved.
        num_looks: Clips that looked at what was hidden so far, this one included.
        again_s: Simulated second from which on it is worth another look.
    """

    request_id: int
    world_T_camera: Transform
    missing_share: float
    hidden_share: float = 0.0
    num_looks: int = 1
    again_s: float = NEVER_S

    def explains(self, missing_share: float, now_s: float) -> bool:
        """Whether so much is missing because this clip left it behind, for good or for the time being."""
        if self.again_s > now_s:
            return missing_share <= self.missing_share + SETTLED_TOLERANCE
        return missing_share <= self.missing_share - self.hidden_share / 2

    def without_hidden(self) -> "Settled":
        """The same with what it left behind for good alone."""
        left = self.missing_share - self.hidden_share
        return replace(self, missing_share=left, hidden_share=0.0, again_s=NEVER_S)

    def is_near(self, world_T_camera: Transform) -> bool:
        """Whether a pose shows about the same."""
        return is_near(world_T_camera, self.world_T_camera)


def is_near(a: Transform, b: Transform) -> bool:
    """Whether two poses show about the same: within 45 cm and 20°."""
    if np.linalg.norm(a[:3, 3] - b[:3, 3]) > SETTLED_DISTANCE_M:
        return False
    return bool(a[:3, 2] @ b[:3, 2] > np.cos(SETTLED_ANGLE_RAD))


def settle(
    settled: Sequence[Settled],
    request_id: int,
    world_T_camera: Transform,
    missing: npt.NDArray[np.bool_],
    hidden: npt.NDArray[np.bool_] | None,
    *,
    now_s: float,
) -> list[Settled]:
    """Add a direction to those that are settled.

    What was hidden in others near it is from now on a matter of this one.

    Args:
        settled: Directions so far.
        request_id: The clip.
        world_T_camera: (4, 4) its last pose.
        missing: (h, w) bool, what memory lacks there now.
        hidden: (H, W) bool, where something moved in the clip's last frame; None if the clip told nothing, and what
            was hidden before counts as hidden still.
        now_s: Simulated time.
    """
    before = [s for s in settled if s.hidden_share >= LEAST_HIDDEN and s.is_near(world_T_camera)]
    missing_share = float(missing.mean())
    if hidden is None:
        hidden_share = min(missing_share, max((s.hidden_share for s in before), default=0.0))
    else:
        hidden_share = float((missing & _resampled(hidden, missing.shape)).mean())
    looks = 1 + max((s.num_looks for s in before), default=0)
    again_s = NEVER_S
    if hidden_share >= LEAST_HIDDEN and looks <= len(LOOK_AGAIN_AFTER_S):
        again_s = now_s + LOOK_AGAIN_AFTER_S[looks - 1]
    kept = [s.without_hidden() if s in before else s for s in settled]
    return [*kept, Settled(request_id, world_T_camera, missing_share, hidden_share, looks, again_s)]


def _resampled(mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """The nearest pixels of a mask at another size."""
    rows = ((np.arange(shape[0]) + 0.5) * mask.shape[0] / shape[0]).astype(np.intp)
    columns = ((np.arange(shape[1]) + 0.5) * mask.shape[1] / shape[1]).astype(np.intp)
    return mask[rows[:, None], columns]
