"""Pictures and videos on disk: written beside their place and renamed, so that nothing is ever half-written."""

import os
import queue
import threading
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 sRGB."""

DEFAULT_FPS = 24
DEFAULT_CRF = 16
"""x264's constant rate factor: 16 is near lossless to the eye (about 40 dB on photographs)."""

# H.264 code points (ITU-T H.273). The matrix is BT.601's because readers that overlook tags (OpenCV) assume it.
_MATRIX_BT601 = 6
_PRIMARIES_BT709 = 1
_TRANSFER_SRGB = 13
_RANGE_LIMITED = 1


class VideoWriter:
    """Writes H.264 in MP4, one frame a call. The file appears, whole, when the writer is closed.

    Used as a context manager; leaving it by an exception leaves no file. One thread uses one writer.

    Args:
        path: Where the video goes; its folder is made. A file that is there is replaced on closing.
        size: (width, height) in pixels, both even (H.264's 4:2:0 halves the colour's resolution).
        fps: Frames a second.
        crf: Constant rate factor; lower is better and larger.
        preset: x264's; "ultrafast" beside a live walk.

    Raises:
        ValueError: The size is odd or not positive.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: tuple[int, int],
        *,
        fps: int = DEFAULT_FPS,
        crf: int = DEFAULT_CRF,
        preset: str = "veryfast",
    ) -> None:
        width, height = size
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise ValueError(f"video size: expected even width and height, got {width}x{height}; crop a pixel")
        self.path = Path(path)
        self.size = (int(width), int(height))
        self.num_frames = 0
        self._partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        self._container, self._stream = self._open(fps, crf, preset)

    def _open(self, fps: int, crf: int, preset: str) -> tuple[Any, Any]:
        import av

        self.path.parent.mkdir(parents=True, exist_ok=True)
        container = av.open(str(self._partial), "w", format="mp4", options={"movflags": "+faststart"})
        stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": str(crf), "preset": preset})
        stream.width, stream.height = self.size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_primaries = _MATRIX_BT601, _PRIMARIES_BT709
        context.color_trc, context.color_range = _TRANSFER_SRGB, _RANGE_LIMITED
        return container, stream

    def write(self, image: Image) -> None:
        """Append one frame.

        Args:
            image: (H, W, 3) uint8 sRGB of the writer's size; copied.

        Raises:
            ValueError: Another shape or dtype, or the writer is closed.
        """
        import av

        width, height = self.size
        if self._container is None:
            raise ValueError(f"{self.path.name}: the video is closed; open a new writer")
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise ValueError(f"frame: expected ({height}, {width}, 3) uint8, got {image.shape} {image.dtype}")
        rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = rgb.reformat(format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG")
        frame.colorspace, frame.color_range = _MATRIX_BT601, _RANGE_LIMITED
        frame.pts = self.num_frames
        frame.time_base = 1 / Fraction(self._stream.codec_context.framerate)
        self._container.mux(self._stream.encode(frame))
        self.num_frames += 1

    def close(self) -> None:
        """Finish and put the file in its place; safe to call twice. Without any frame no file is made."""
        if self._container is None:
            return
        if self.num_frames == 0:
            self.discard()
            return
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except BaseException:
            self.discard()
            raise
        self._container = None
        _sync(self._partial)
        os.replace(self._partial, self.path)

    def discard(self) -> None:
        """Drop what was written; an older file in its place stays. Safe to call twice."""
        container, self._container = self._container, None
        if container is not None:
            container.close()
            self._partial.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


class LiveVideoWriter:
    """Records what a window shows in real time, without holding it up: encoding runs on a thread of its own.

    Frames come whenever they are drawn; the video has a steady rate, so some are left out and some repeated. The thread
    that draws uses it.

    Args:
        path: As of ``VideoWriter``.
        size: As of ``VideoWriter``.
        fps: Frames a second of the video.
        max_waiting: Frames that may wait for the encoder; while as many do, new ones are left out.
    """

    def __init__(
        self, path: str | os.PathLike[str], size: tuple[int, int], *, fps: int = 30, max_waiting: int = 8
    ) -> None:
        self._writer = VideoWriter(path, size, fps=fps, preset="ultrafast")
        self.path = self._writer.path
        self._fps = fps
        self._begin_s: float | None = None
        self._next_index = 0
        self._error: BaseException | None = None
        self._waiting: queue.Queue[tuple[Image, int] | None] = queue.Queue(max_waiting)
        self._thread = threading.Thread(target=self._encode, name="spatia-video", daemon=True)
        self._thread.start()

    def write(self, image: Image, at_s: float) -> None:
        """Take a frame.

        Args:
            image: (H, W, 3) uint8 sRGB of the video's size; copied.
            at_s: When it was shown, on any clock that only rises.

        Raises:
            OSError, ValueError: Encoding failed, for this or an earlier frame.
        """
        self._raise_error()
        width, height = self._writer.size
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise ValueError(f"frame: expected ({height}, {width}, 3) uint8, got {image.shape} {image.dtype}")
        if self._begin_s is None:
            self._begin_s = at_s
        index = int((at_s - self._begin_s) * self._fps + 1e-6)
        if index < self._next_index or self._waiting.full():
            return
        self._waiting.put((image.copy(), index - self._next_index + 1))
        self._next_index = index + 1

    def close(self) -> None:
        """Encode what waits and put the file in its place; safe to call twice.

        Raises:
            OSError, ValueError: Encoding failed; no file is left.
        """
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()
        error, self._error = self._error, None
        if error is not None:
            self._writer.discard()
            raise error
        self._writer.close()

    def _encode(self) -> None:
        while (item := self._waiting.get()) is not None:
            image, count = item
            try:
                for _ in range(count if self._error is None else 0):
                    self._writer.write(image)
            except (OSError, ValueError, RuntimeError) as error:
                self._error = error  # the drawing thread raises it at its next call

    def _raise_error(self) -> None:
        if self._error is not None:
            self.close()


def read_video(path: str | os.PathLike[str], max_frames: int | None = None) -> Image:
    """Decode a video.

    Args:
        path: Any container and codec that FFmpeg reads.
        max_frames: Stop after this many; all if not given.

    Returns:
        (F, H, W, 3) uint8 sRGB. Fresh memory.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a video, or a broken one.
    """
    import av
    import av.error

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: expected a video, found no file")
    frames: list[Image] = []
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                frames.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
                if len(frames) == max_frames:
                    break
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(f"{path}: expected a video that FFmpeg reads, got {error}") from error
    if not frames:
        raise ValueError(f"{path}: expected a video, found no frames in it")
    return np.stack(frames)


def write_png(path: str | os.PathLike[str], image: Image) -> None:
    """Write a picture as PNG; the file appears whole or not at all.

    Args:
        path: Where it goes; its folder is made.
        image: (H, W, 3) or (H, W, 4) uint8 sRGB.

    Raises:
        ValueError: Another shape or dtype.
    """
    import PIL.Image

    if image.ndim != 3 or image.shape[2] not in (3, 4) or image.dtype != np.uint8:
        raise ValueError(f"picture: expected (H, W, 3) or (H, W, 4) uint8, got {image.shape} {image.dtype}")
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        PIL.Image.fromarray(np.ascontiguousarray(image)).save(partial, format="PNG", compress_level=4)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def contact_sheet(
    images: Sequence[Image], labels: Sequence[str] = (), *, columns: int = 4, tile_width: int = 320
) -> Image:
    """Lay pictures out in rows, each with its label on it.

    Args:
        images: (H, W, 3) uint8 pictures; scaled to ``tile_width``, the first one's shape decides the tiles' height.
        labels: One for each picture, or none.
        columns: Pictures in a row.
        tile_width: Pixels.

    Returns:
        (H, W, 3) uint8; empty places are dark.

    Raises:
        ValueError: No pictures, or another number of labels.
    """
    import PIL.Image
    import PIL.ImageDraw

    if not images or (labels and len(labels) != len(images)):
        raise ValueError(f"contact sheet: expected pictures and as many labels, got {len(images)} and {len(labels)}")
    gap = 4
    columns = min(columns, len(images))
    height = max(1, round(tile_width * images[0].shape[0] / images[0].shape[1]))
    rows = -(-len(images) // columns)
    size = (columns * (tile_width + gap) + gap, rows * (height + gap) + gap)
    sheet = PIL.Image.new("RGB", size, (24, 26, 30))
    draw = PIL.ImageDraw.Draw(sheet)
    for index, image in enumerate(images):
        x = gap + index % columns * (tile_width + gap)
        y = gap + index // columns * (height + gap)
        tile = PIL.Image.fromarray(np.ascontiguousarray(image))
        sheet.paste(tile.resize((tile_width, height), PIL.Image.Resampling.LANCZOS), (x, y))
        if labels:
            _label(draw, labels[index], (x + 4, y + 4), size_px=max(10, tile_width // 24))
    return np.asarray(sheet).copy()


def _label(draw: Any, text: str, corner: tuple[int, int], *, size_px: int) -> None:
    """Light text on a dark plate with its top-left corner at ``corner``."""
    import PIL.ImageFont

    font = PIL.ImageFont.load_default(size_px)
    left, top, right, bottom = draw.textbbox(corner, text, font=font)
    draw.rectangle((left - 3, top - 3, right + 3, bottom + 3), fill=(10, 12, 15))
    draw.text(corner, text, font=font, fill=(236, 238, 240))


def _sync(path: Path) -> None:
    """Make sure that the bytes are on the disk before the name is."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
