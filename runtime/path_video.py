"""A world as a film with its camera: ``video.mp4``, ``w2c.txt`` and ``intrinsics.txt`` in the authors' format.

The camera goes through the keyframes in the order in which they came, at walking pace.
"""

import itertools
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..renderer.capture import VideoWriter
from ..saves.errors import ExportError, explain
from ..saves.intrinsics import write_intrinsics
from ..saves.trajectories import write_trajectory
from ..world.transforms import Transform, interpolate, invert, rotation_angle_rad
from .session import ROLLOUT_RATE_HZ, Session
from .world import World

FORMAT = "video"
STEP_M = 1.4 / ROLLOUT_RATE_HZ
STEP_RAD = float(np.radians(45.0)) / ROLLOUT_RATE_HZ
MAX_FRAMES = 7200
"""Five minutes; of a longer way the frames are spread evenly over all of it."""


def path_through(poses: Sequence[Transform]) -> npt.NDArray[np.float64]:
    """Poses from the first to the last, no two farther apart than a step.

    Args:
        poses: (4, 4) world_T_camera each, at least one.

    Returns:
        (F, 4, 4) world_T_camera, at most ``MAX_FRAMES``.
    """
    out = [np.asarray(poses[0], np.float64)]
    for a, b in itertools.pairwise(poses):
        between = invert(np.asarray(a, np.float64)) @ b
        distance, angle = float(np.linalg.norm(between[:3, 3])), rotation_angle_rad(between)
        num = max(1, int(np.ceil(max(distance / STEP_M, angle / STEP_RAD) - 1e-9)))
        out += [interpolate(a, b, (k + 1) / num) for k in range(num)]
    chosen = np.linspace(0, len(out) - 1, min(len(out), MAX_FRAMES)).round().astype(int)
    return np.stack([out[k] for k in chosen])


def write_path_video(
    world: World, folder: Path, *, size: tuple[int, int] | None = None, progress: Callable[[float], None] | None = None
) -> None:
    """Write the film of a world, a line of ``w2c.txt`` for each frame. Frames are drawn and written one by one.

    Args:
        world: Not changed.
        folder: New or empty; it appears whole or not at all.
        size: (width, height), even; the world's own if not given.
        progress: Told the share that is written.

    Raises:
        ExportError: The folder holds something, or the world has no keyframes or points.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(explain(folder, expected="a new or empty folder", got="one with something in it, or a file"))
    if not world.bank.keyframes or not world.memory.num_points:
        raise ExportError(explain(folder, expected="a world with keyframes and points", got="one without"))
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        draft.mkdir(parents=True)
        _write(world, draft, size or world.default_size, progress)
        if folder.is_dir():
            folder.rmdir()
        draft.replace(folder)
    except OSError as error:
        got = error.strerror or str(error)
        raise ExportError(explain(folder, expected="a place to write to", got=got)) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write(world: World, folder: Path, size: tuple[int, int], progress: Callable[[float], None] | None) -> None:
    keyframes = sorted(world.bank.keyframes, key=lambda k: k.keyframe_id)
    poses = path_through([k.world_T_camera for k in keyframes])
    with (
        Session(world.fork(), "none", wait=True, size=size) as session,
        VideoWriter(folder / "video.mp4", size, fps=int(ROLLOUT_RATE_HZ)) as video,
    ):
        for number, pose in enumerate(poses, start=1):
            video.write(session.draw(pose).color)
            if progress is not None:
                progress(number / len(poses))
        write_intrinsics(folder / "intrinsics.txt", session.pinhole)
    write_trajectory(folder / "w2c.txt", poses)
