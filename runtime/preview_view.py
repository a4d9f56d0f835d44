"""The newest finished frame of a clip that is being made, as a small picture over the walk."""

import cv2
import numpy as np
import numpy.typing as npt

from .clip_status import ClipPreview

TILE_SHARE = 0.2
"""Width of the small picture as a share of the window's."""


class PreviewView:
    """Remembers the small picture that it drew. One thread uses it."""

    def __init__(self) -> None:
        self._drawn: tuple[npt.NDArray[np.uint8], int] | None = None
        self._tile: npt.NDArray[np.uint8] | None = None

    def look(self, preview: ClipPreview | None, window_width: int) -> tuple[npt.NDArray[np.uint8] | None, str]:
        """The small picture, the same array as long as it shows the same, and a line about it.

        Args:
            preview: Of the clip that is being made, or None.
            window_width: Pixels across the window.
        """
        if preview is None:
            self._drawn = self._tile = None
            return None, ""
        piece, width = preview.frames[-1], max(32, round(TILE_SHARE * window_width))
        if self._drawn is None or self._drawn[0] is not piece or self._drawn[1] != width:
            self._drawn, self._tile = (piece, width), _tile_of(preview.newest, width)
        return self._tile, f"clip {preview.request_id}: frame {preview.num_finished} of {len(preview.world_T_camera)}"


def _tile_of(frame: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    """(h, width, 4) uint8, opaque."""
    height = max(1, round(width * frame.shape[0] / frame.shape[1]))
    tile = np.full((height, width, 4), 255, np.uint8)
    tile[..., :3] = cv2.resize(np.ascontiguousarray(frame), (width, height), interpolation=cv2.INTER_AREA)
    return tile
