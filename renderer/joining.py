"""Videos written in parts: put together without encoding them anew, and some of their frames."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .capture import Image


def join_videos(parts: Sequence[Path], path: Path) -> None:
    """Put videos of one size and rate behind each other; the file appears whole, a file that is there is replaced.

    Args:
        parts: At least one, as ``VideoWriter`` wrote them.
        path: Where the whole goes.

    Raises:
        ValueError: There are no parts.
    """
    import av

    if not parts:
        raise ValueError("parts of a video: expected at least one, got none")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"}) as whole:
            stream, begin, delay = None, 0, max(_delay(part) for part in parts)
            for part in parts:
                with av.open(str(part)) as source:
                    video = source.streams.video[0]
                    stream = stream or whole.add_stream_from_template(video)
                    begin = _append(whole, stream, source, begin, delay)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _delay(part: Path) -> int:
    """By how many frames a part is decoded before it is shown; parts of one or two frames do with none."""
    import av

    with av.open(str(part)) as source:
        video: Any = source.streams.video[0]
        first: Any = next(p for p in source.demux(video) if p.dts is not None)
        return round((first.pts - first.dts) * video.average_rate * video.time_base)


def _append(whole: Any, stream: Any, source: Any, begin: int, delay: int) -> int:
    """Copy a part's packets, shown from a time on and decoded so many frames earlier; where the next one begins."""
    video = source.streams.video[0]
    step = round(1 / (video.average_rate * video.time_base))
    num_frames = 0
    for packet in source.demux(video):
        if packet.dts is None:
            continue  # the end's empty packet
        packet.pts, packet.dts = packet.pts + begin, begin + (num_frames - delay) * step
        packet.stream = stream
        whole.mux(packet)
        num_frames += 1
    return begin + num_frames * step


def read_frames(path: Path, indices: Sequence[int]) -> dict[int, Image]:
    """Some frames of a video, by index; those beyond its end are left out."""
    import av

    wanted, out = set(indices), {}
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                out[index] = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            if len(out) == len(wanted):
                break
    return out
