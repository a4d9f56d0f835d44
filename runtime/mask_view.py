"""What moves in the keyframe nearest to the walker, as the overlay shows it on request."""

import numpy as np
import numpy.typing as npt

from ..renderer.mask_picture import draw_mask
from ..world.keyframes import Keyframe
from ..world.transforms import Transform, invert, rotation_angle_rad

TILE_SHARE = 0.28
"""Width of the small picture as a share of the window's."""
NOTHING = "no keyframe has a mask of what moves"


class MaskView:
    """Remembers the small picture that it drew. One thread uses it."""

    def __init__(self) -> None:
        self._drawn: tuple[Keyframe, int] | None = None
        self._tile: npt.NDArray[np.uint8] | None = None

    def look(
        self, keyframes: tuple[Keyframe, ...], world_T_camera: Transform, window_width: int
    ) -> tuple[npt.NDArray[np.uint8] | None, str]:
        """The small picture, the same array as long as it shows the same, and a line about it.

        Args:
            keyframes: All.
            world_T_camera: (4, 4) where the walker looks from.
            window_width: Pixels across the window.
        """
        masked = [k for k in keyframes if k.moving_by and k.moving is not None]
        if not masked:
            return None, NOTHING
        nearest = min(masked, key=lambda k: _farness(k, world_T_camera))
        assert nearest.moving is not None, "frames without a mask were left out"
        width = max(32, round(TILE_SHARE * window_width))
        if self._drawn is None or self._drawn[0] is not nearest or self._drawn[1] != width:
            self._tile, self._drawn = draw_mask(nearest.color, nearest.moving, width), (nearest, width)
        return (
            self._tile,
            f"keyframe {nearest.keyframe_id}: {nearest.moving.mean():.1%} moves, says {nearest.moving_by}",
        )


def _farness(keyframe: Keyframe, world_T_camera: Transform) -> float:
    """Metres plus radians from a keyframe's camera."""
    step = invert(keyframe.world_T_camera) @ world_T_camera
    return float(np.linalg.norm(step[:3, 3]) + rotation_angle_rad(step))
