"""Videos, and folders of pictures from one camera: colour alone. Where they were taken is to be found by tracking."""

import os
import re
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ..world.camera import Pinhole
from ..world.transforms import Transform
from .errors import SourceError
from .frames import LazyFrames, Source, SourceFrame
from .intrinsics import Intrinsics, read_intrinsics
from .photo import camera_of
from .pictures import Photo, existing_file, image_size, read_photo
from .registration import SEVEN_SCENES_COLOR, is_seven_scenes_depth

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".3gp")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
MAX_RATE_HZ = 8.0
"""Frames a second that are taken of a video: enough for a walker's hand, few enough to match them all."""
MAX_FRAMES = 600
MAX_SIDE_PX = 1280
"""Larger pictures are made smaller: depth is not found any finer in them."""
_EXPECTED = "a video that FFmpeg reads"
_CAMERA_FILES = ("camera-intrinsics.txt", "intrinsics.txt", "camera.json", "camera_intrinsic.json", "intrinsic.json")
_IDENTITY: Transform = np.eye(4)


def load_video(
    path: str | os.PathLike[str], *, intrinsics: Intrinsics | None = None, frames: slice | None = None
) -> Source:
    """Read a video: which frames there are. They are decoded when asked for, fastest in order.

    Args:
        path: Any container and codec that FFmpeg reads. A turned phone's video is turned upright.
        intrinsics: See ``Intrinsics``; otherwise 60 degrees across, which the note says.
        frames: Which of all its frames to take; if not given evenly spaced ones, eight a second, at most 600.

    Raises:
        SourceError: No video, a damaged one, or ``frames`` takes none.
    """
    file = existing_file(path, _EXPECTED)
    count, rate_hz = _probe(file)
    step = max(1, round(rate_hz / MAX_RATE_HZ), -(-count // MAX_FRAMES))
    chosen = range(count)[frames if frames is not None else slice(None, None, step)]
    if not chosen:
        raise SourceError(file, expected=f"frames within 0:{count}", got=show_slice(frames), do="choose others")
    reader = _Reader(file)
    first = reader.read(chosen[0])
    pinhole, note = camera_of(Photo(first, None), intrinsics, "video")
    taken = f"{len(chosen)} of {count} frames"
    loaders = [partial(_frame_of, reader, index, pinhole) for index in chosen]
    return Source(
        file.stem, "video", LazyFrames(loaders), metric=False, note=f"{taken}; {note}; no poses", has_poses=False
    )


def is_picture_folder(root: Path) -> bool:
    """True for a folder with pictures but without the depth that any layout of an RGB-D recording has."""
    if not root.is_dir() or (root / "rgb.txt").exists() or (root / "depth").is_dir():
        return False
    return not any(root.glob("frame-*.depth.png")) and bool(images_in(_picture_root(root)))


def load_pictures(
    folder: str | os.PathLike[str], *, intrinsics: Intrinsics | None = None, frames: slice | None = None
) -> Source:
    """Read a folder of pictures that one camera took, in the order of the numbers in their names.

    Args:
        folder: With pictures in it or in its ``color``, ``image`` or ``rgb``.
        intrinsics: Otherwise the folder's own file, the first picture's EXIF, or 60 degrees across, as the note says.
        frames: Which pictures to take.

    Raises:
        SourceError: No pictures, unreadable or differing ones, or ``frames`` takes none.
    """
    root = Path(folder)
    paths = sorted(images_in(_picture_root(root)), key=_by_number)
    chosen = paths[frames] if frames is not None else paths
    if not chosen:
        raise SourceError(root, expected=f"frames within 0:{len(paths)}", got=show_slice(frames), do="choose others")
    first = read_photo(chosen[0])
    pinhole, note = _folder_camera(root, first, intrinsics)
    loaders = [partial(_picture_of, path, pinhole, first.color.shape[:2]) for path in chosen]
    name = root.resolve().name
    return Source(name, "pictures", LazyFrames(loaders), metric=False, note=f"{note}; no poses", has_poses=False)


def _folder_camera(root: Path, first: Photo, intrinsics: Intrinsics | None) -> tuple[Pinhole, str]:
    height, width = first.color.shape[:2]
    file = next((root / n for n in _CAMERA_FILES if (root / n).is_file()), None)
    if intrinsics is not None or file is None:
        pinhole, note = camera_of(first, intrinsics, "folder")
    else:
        pinhole, note = read_intrinsics(file, width, height), f"intrinsics: {file.name}"
        if is_seven_scenes_depth(pinhole) and any(root.glob("frame-*.color.*")):
            pinhole, note = SEVEN_SCENES_COLOR, "intrinsics: 7-Scenes' colour camera"
    return pinhole, note


def images_in(folder: Path) -> list[Path]:
    """The pictures of a folder by name, without hidden ones."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def _picture_root(root: Path) -> Path:
    return next((root / n for n in ("color", "image", "images", "rgb") if (root / n).is_dir()), root)


def _by_number(path: Path) -> tuple[list[int], str]:
    return [int(n) for n in re.findall(r"\d+", path.stem)], path.name


def show_slice(frames: slice | None) -> str:
    """A slice as it is written, such as ``0:10``."""
    if frames is None:
        return "none"
    parts = (frames.start, frames.stop) if frames.step is None else (frames.start, frames.stop, frames.step)
    return ":".join("" if p is None else str(p) for p in parts)


def _picture_of(path: Path, pinhole: Pinhole, shape: tuple[int, int]) -> SourceFrame:
    height, width = shape
    if image_size(path) != (width, height):
        got = "{}x{}".format(*image_size(path))
        raise SourceError(path, expected=f"{width}x{height} as the first picture", got=got, do="take it out")
    return _reduced(read_photo(path).color, pinhole)


def _frame_of(reader: "_Reader", index: int, pinhole: Pinhole) -> SourceFrame:
    return _reduced(reader.read(index), pinhole)


def _reduced(color: npt.NDArray[np.uint8], pinhole: Pinhole) -> SourceFrame:
    factor = MAX_SIDE_PX / max(color.shape[:2])
    if factor < 1:
        pinhole = pinhole.resized(round(pinhole.width * factor), round(pinhole.height * factor))
        color = np.asarray(cv2.resize(color, pinhole.size, interpolation=cv2.INTER_AREA), np.uint8)
    return SourceFrame(np.ascontiguousarray(color), None, pinhole, _IDENTITY.copy())


def _probe(path: Path) -> tuple[int, float]:
    """Number of frames, counted in the container without decoding, and their rate."""
    import av
    import av.error

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            count = sum(1 for packet in container.demux(stream) if packet.size)
            rate_hz = float(stream.average_rate or Fraction(30))
    except (av.error.FFmpegError, IndexError, OSError) as error:
        raise SourceError(path, expected=_EXPECTED, got=str(error) or "none", do="convert it to MP4") from error
    if count == 0:
        raise SourceError(path, expected="a video with frames", got="none", do="record it anew")
    return count, rate_hz


class _Reader:
    """Decodes a video's frames; going on from the last one costs least. Used by one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frames: Iterator[Any] | None = None
        self._next = 0

    def read(self, index: int) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB of a frame, upright.

        Raises:
            SourceError: The video is damaged at or before it.
        """
        if self._frames is None or index < self._next:
            self._frames, self._next = self._decoded(), 0
        for frame in self._frames:
            self._next += 1
            if self._next > index:
                color = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                return np.ascontiguousarray(np.rot90(color, round(frame.rotation / 90)))
        self._frames = None
        got = f"{self._next} that can be decoded"
        raise SourceError(self._path, expected=f"{index + 1} frames or more", got=got, do="the video is damaged")

    def _decoded(self) -> Iterator[Any]:
        import av
        import av.error

        try:
            with av.open(str(self._path)) as container:
                container.streams.video[0].thread_type = "AUTO"
                yield from container.decode(video=0)
        except av.error.FFmpegError as error:
            where = f"{error} after frame {self._next}"
            raise SourceError(self._path, expected=_EXPECTED, got=where, do="the video is damaged") from error
