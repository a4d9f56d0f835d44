"""Worlds that need no download: what travels inside the dependencies."""

from pathlib import Path

import numpy as np

from ..generator.procedural.spec import KINDS, PlaceSpec
from ..saves.sources import Source, SourceFrame
from ..world.camera import Pinhole
from .errors import UserError
from .world import Progress, World, create

# Calibration of the Middlebury 2014 "Motorcycle" pair at the size that scikit-image ships, from its docstring. Its
# principal points count whole pixel centres; ours lie at +0.5.
GARAGE_FOCAL_PX = 994.978
GARAGE_BASELINE_M = 0.193001
GARAGE_DISPARITY_OFFSET_PX = 31.086
GARAGE_LEFT_CENTRE = (311.193, 254.877)


def garage_source() -> Source:
    """The photographed garage: the left photo of the pair with its measured depth, 741x500."""
    from skimage import data

    left, _, disparity = data.stereo_motorcycle()
    known = np.isfinite(disparity)
    depth = np.zeros(disparity.shape, np.float32)
    depth[known] = GARAGE_FOCAL_PX * GARAGE_BASELINE_M / (disparity[known] + GARAGE_DISPARITY_OFFSET_PX)
    height, width = left.shape[:2]
    cx, cy = GARAGE_LEFT_CENTRE
    pinhole = Pinhole(width, height, GARAGE_FOCAL_PX, GARAGE_FOCAL_PX, cx + 0.5, cy + 0.5)
    frame = SourceFrame(np.ascontiguousarray(left), depth, pinhole, np.eye(4), None)
    note = "Middlebury 2014 stereo pair, left photo with measured depth"
    return Source(name="garage", kind="sample", frames=(frame,), metric=True, note=note)


def garage_truth() -> tuple[np.ndarray, Pinhole, np.ndarray]:
    """The right photo, which the walk never sees: (H, W, 3) uint8, its camera and its pose in the garage's world."""
    from skimage import data

    _, right, _ = data.stereo_motorcycle()
    height, width = right.shape[:2]
    cx, cy = GARAGE_LEFT_CENTRE
    f = GARAGE_FOCAL_PX
    pinhole = Pinhole(width, height, f, f, cx + GARAGE_DISPARITY_OFFSET_PX + 0.5, cy + 0.5)
    pose = np.eye(4)
    pose[0, 3] = GARAGE_BASELINE_M
    return np.ascontiguousarray(right), pinhole, pose


PLACE_SIZE, PLACE_FOV_RAD = (832, 480), float(np.radians(75.0))


PLACE_SEED = 3
"""Of a place that is named without one."""


def place_source(name: str) -> Source:
    """A view into an endless procedural place, with exact depth; the walk goes on through the place.

    Args:
        name: Such as "rooms", "yard:7", "rooms:evening" or "yard:7:evening".

    Raises:
        ValueError: There is no such place.
    """
    spec = PlaceSpec.parse(name, default_seed=PLACE_SEED)
    from ..generator.procedural.place import Place  # imports compiled loops

    place = Place(spec)
    pose, pinhole = place.start_pose(), Pinhole.from_fov(*PLACE_SIZE, PLACE_FOV_RAD)
    view = place.render(pose, pinhole)
    place.close()
    frame = SourceFrame(view.color, view.depth_m, pinhole, pose, view.moving)
    note = "an endless procedural place"
    return Source(name=sample_label(name), kind="sample", frames=(frame,), metric=True, note=note, place=str(spec))


SAMPLES = ("garage", *KINDS)
"""Names of the samples; those of places may go on with a seed and a time of day, such as "rooms:7:evening"."""


def garage(*, seed: int = 0, progress: Progress | None = None) -> World:
    """A world of the photographed garage."""
    return create(garage_source(), seed=seed, progress=progress)


def is_sample(name: str) -> bool:
    """True if a source means a sample and no file."""
    head, colon, _ = name.partition(":")
    return (head in KINDS if colon else name in SAMPLES) and not Path(name).exists()


def sample_label(name: str) -> str:
    """A sample's name as that of a folder: ``rooms-7-evening``."""
    return name.replace(":", "-")


def check_sample(name: str) -> None:
    """Check a sample's name without making anything.

    Raises:
        UserError: There is no such sample.
    """
    if not is_sample(name):
        raise UserError(f"one of the samples {', '.join(SAMPLES)}", repr(name), "name a sample or a file")
    if name not in SAMPLES:
        try:
            PlaceSpec.parse(name)
        except ValueError:
            raise UserError(
                "a place with a seed and a time of day (day, evening)", repr(name), "write for example rooms:7:evening"
            ) from None


def sample_source(name: str) -> Source:
    """The source of a sample.

    Raises:
        UserError: There is no such sample.
    """
    check_sample(name)
    return garage_source() if name == "garage" else place_source(name)
