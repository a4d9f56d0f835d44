"""Adapts the work of a clip to the speed that was measured: a walk waits for nobody."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..generator.quality import LADDER, quality_of
from ..generator.requests import Effort
from .director import CLIP_RATE_HZ

ROOM_TO_RISE = 0.8
"""A costlier rung must leave this much room, so that it does not go up and down in turns."""
LOADING = "generate/load"
DENOISING = "generate/denoise"
OF_PIXELS = ("generate/encode", "generate/decode", "generate/condition")
PARTS_OF = "generate/"


class Pacer:
    """Chooses the rung of the ladder for the next clip.

    After each clip it predicts what every rung would have taken: denoising grows with steps, passes and pixels; drawing
    the control, encoding and decoding with pixels; the rest stays. It takes the highest rung, at most one above the
    present, whose time is within ``slowness`` times the clip's playing time. Loading weights does not count.

    Args:
        quality: "draft", "balanced" or "best".
        is_adaptive: False keeps the setting's first rung, so that a rollout does not depend on the machine.

    Raises:
        ValueError: Unknown quality.
    """

    def __init__(self, quality: str, *, is_adaptive: bool) -> None:
        self.name = quality
        self._quality = quality_of(quality)
        self._is_adaptive = is_adaptive
        self._rung = self._quality.start

    @property
    def effort(self) -> Effort:
        """Work that the next clip may take. Any thread."""
        return LADDER[self._rung]

    def as_facts(self) -> dict[str, Any]:
        """The setting and the present effort, as plain values."""
        return {"setting": self.name, "adapts": self._is_adaptive, **asdict(self.effort)}

    def note(self, seconds: Mapping[str, float], effort: Effort, *, num_frames: int, num_pixels: int) -> None:
        """Take in how long a clip took.

        Args:
            seconds: Time by phase, as in ``ClipResult.seconds``.
            effort: What it was asked for with.
            num_frames: New frames, 24 a second.
            num_pixels: Of a frame as it was asked for.
        """
        if not self._is_adaptive or DENOISING not in seconds or effort not in LADDER:
            return
        quality, present = self._quality, LADDER.index(effort)
        budget_s = quality.slowness * num_frames / CLIP_RATE_HZ
        for rung in range(min(quality.highest, present + 1), quality.lowest, -1):
            room = ROOM_TO_RISE if rung > present else 1.0
            if predicted_s(seconds, effort, LADDER[rung], num_pixels) <= room * budget_s:
                self._rung = rung
                return
        self._rung = quality.lowest


def predicted_s(seconds: Mapping[str, float], was: Effort, would: Effort, num_pixels: int) -> float:
    """Seconds that a clip would have taken with another effort; attention's square is left out.

    Args:
        seconds: Time by phase that it took.
        was: With this effort.
        would: The other.
        num_pixels: Of a frame as it was asked for.
    """
    pixels = would.pixels_of(num_pixels) / was.pixels_of(num_pixels)
    passes = would.num_passes / was.num_passes
    whole = sum(value for phase, value in seconds.items() if not phase.startswith(PARTS_OF))
    denoise_s = seconds[DENOISING]
    of_pixels_s = sum(seconds.get(phase, 0.0) for phase in OF_PIXELS)
    rest_s = max(0.0, whole - denoise_s - of_pixels_s - seconds.get(LOADING, 0.0))
    return denoise_s * passes * pixels + of_pixels_s * pixels + rest_s
