"""A recording as it was not tuned for: fewer frames, mirrored, noisy, with jumping exposure, at half its size."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
from spatia.saves.frames import SourceFrame
from spatia.world.camera import Pinhole

NOISE = 4.0
"""Standard deviation of 8-bit noise."""
EXPOSURE = 0.3
"""Largest change of exposure, either way."""
MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])
"""What mirroring does to poses, from either side."""


def mirrored(frame: SourceFrame, rng: np.random.Generator) -> SourceFrame:
    """Left and right swapped, world and all."""
    p = frame.pinhole
    depth = None if frame.depth_m is None else np.ascontiguousarray(frame.depth_m[:, ::-1])
    return SourceFrame(
        np.ascontiguousarray(frame.color[:, ::-1]),
        depth,
        Pinhole(p.width, p.height, p.fx, p.fy, p.width - p.cx, p.cy),
        MIRROR @ frame.world_T_camera @ MIRROR,
    )


def noisy(frame: SourceFrame, rng: np.random.Generator) -> SourceFrame:
    """With noise in every pixel."""
    noise = rng.normal(0.0, NOISE, frame.color.shape)
    return replace(frame, color=np.clip(frame.color + noise, 0, 255).astype(np.uint8))


def exposed(frame: SourceFrame, rng: np.random.Generator) -> SourceFrame:
    """Brighter or darker, each frame otherwise."""
    gain = 1 + rng.uniform(-EXPOSURE, EXPOSURE)
    return replace(frame, color=np.clip(frame.color * gain, 0, 255).astype(np.uint8))


def halved(frame: SourceFrame, rng: np.random.Generator) -> SourceFrame:
    """Half as wide and as high."""
    small = frame.pinhole.resized(frame.pinhole.width // 2, frame.pinhole.height // 2)
    color = np.asarray(cv2.resize(frame.color, small.size, interpolation=cv2.INTER_AREA), np.uint8)
    depth = None if frame.depth_m is None else np.ascontiguousarray(frame.depth_m[::2, ::2])
    return SourceFrame(color, depth, small, frame.world_T_camera.copy())


def as_it_is(frame: SourceFrame, rng: np.random.Generator) -> SourceFrame:
    """Unchanged."""
    return frame


VARIANTS: dict[str, tuple[int, Callable[[SourceFrame, np.random.Generator], SourceFrame]]] = {
    "as it is": (1, as_it_is),
    "every 2nd frame": (2, as_it_is),
    "every 3rd frame": (3, as_it_is),
    "mirrored": (1, mirrored),
    f"noise of {NOISE:g}": (1, noisy),
    f"exposure ±{EXPOSURE:.0%}": (1, exposed),
    "half size": (1, halved),
}
"""Step between frames, and what is done to each."""


def perturb(name: str, frames: Sequence[SourceFrame], count: int) -> tuple[list[SourceFrame], slice]:
    """So many frames of a variant, and which of the recording's they are."""
    step, change = VARIANTS[name]
    part = slice(0, count * step, step)
    rng = np.random.default_rng(0)
    return [change(frame, rng) for frame in frames[part]], part
