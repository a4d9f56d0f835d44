"""A rollout's clips as they were generated: a video and a camera path for each, and all of them as one film.

What the walk shows is memory; these are the model's own frames, with what moves in them.
"""

import shutil
from pathlib import Path

from ..generator.pipeline import ClipResult
from ..renderer.capture import VideoWriter
from ..renderer.joining import join_videos
from ..saves.trajectories import write_trajectory
from .session import ROLLOUT_RATE_HZ

CLIPS_FOLDER, FILM_FILE = "clips", "film.mp4"


class ClipFilms:
    """Writes clips of a continuous generator. Used by the session's thread.

    Args:
        out: The rollout's folder.
        goes_on: Keep what an earlier part of the same rollout wrote.
    """

    def __init__(self, out: Path, *, goes_on: bool) -> None:
        self._out, self._folder = out, out / CLIPS_FOLDER
        if not goes_on:
            shutil.rmtree(self._folder, ignore_errors=True)
            (out / FILM_FILE).unlink(missing_ok=True)

    def take(self, result: ClipResult) -> None:
        """Write a clip's frames, and the poses that they were found or asked to have."""
        frames = result.frames
        if frames is None or len(frames) == 0:
            return
        height, width = frames.shape[1] // 2 * 2, frames.shape[2] // 2 * 2
        stem = f"{result.request_id:04d}"
        with VideoWriter(self._folder / f"{stem}.mp4", (width, height), fps=int(ROLLOUT_RATE_HZ)) as video:
            for frame in frames[:, :height, :width]:
                video.write(frame)
        write_trajectory(self._folder / f"{stem}.w2c.txt", result.update.world_T_camera)

    def finish(self) -> None:
        """Put the clips behind each other in the order in which they were asked for."""
        parts = sorted(self._folder.glob("*.mp4"))
        if parts:
            join_videos(parts, self._out / FILM_FILE)
