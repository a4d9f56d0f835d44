"""What the overlay and the report show of the clips on their way."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..generator.queue import Preview
from ..generator.requests import ClipRequest
from .world import World


@dataclass(frozen=True, slots=True, eq=False)
class ClipPreview:
    """Finished frames of a clip that is not merged yet.

    Attributes:
        request_id: Its request.
        frames: (K, h, w, 3) uint8 pieces in order, smaller than the clip.
        world_T_camera: (F, 4, 4) float64 poses that were asked for, of all frames.
    """

    request_id: int
    frames: tuple[npt.NDArray[np.uint8], ...]
    world_T_camera: npt.NDArray[np.float64]

    @property
    def num_finished(self) -> int:
        """Frames that are there."""
        return sum(len(piece) for piece in self.frames)

    @property
    def newest(self) -> npt.NDArray[np.uint8]:
        """(h, w, 3) uint8, the last frame that is there."""
        return self.frames[-1][-1]


@dataclass(slots=True)
class ClipStatus:
    """What the overlay and the report show of the loop."""

    phase: str = ""
    fraction: float = 0.0
    merged_clips: int = 0
    last_update: Any = None
    last_error: str = ""
    notice: str = ""
    coverage_ahead: float = 1.0
    outcomes: dict[str, int] = field(default_factory=dict)
    preview: ClipPreview | None = None

    def show(self, preview: Preview | None, request: ClipRequest | None) -> None:
        """Take over what is finished of a clip; nothing where it is not under way any more."""
        if preview is None or request is None:
            self.preview = None
        elif (
            self.preview is None
            or self.preview.request_id != preview.request_id
            or self.preview.num_finished != preview.num_frames
        ):
            self.preview = ClipPreview(preview.request_id, preview.pieces, request.world_T_camera)


def notice_of(world: World) -> str:
    """What there is to know of a world all the time."""
    notices = [] if world.info.is_metric else ["not metric: depth is guessed from the photo"]
    if world.damage:
        notices.append(f"{len(world.damage)} damaged parts of the file were skipped")
    return " · ".join(notices)
