"""Parts of a video put together."""

from pathlib import Path

import av
import numpy as np
import pytest
from spatia.renderer.capture import VideoWriter
from spatia.renderer.joining import join_videos, read_frames

SIZE = (64, 48)


def write_part(path: Path, first: int, count: int) -> None:
    with VideoWriter(path, SIZE, fps=24) as video:
        for k in range(first, first + count):
            rows = (np.arange(SIZE[1]) + 7 * k) % 16 < 8
            picture = np.where(rows[:, None, None], 40 + 5 * k, 200 - 5 * k)
            video.write(np.broadcast_to(picture, (SIZE[1], SIZE[0], 3)).astype(np.uint8))


def frames_of(path: Path) -> tuple[list[np.ndarray], list[int]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        step = round(1 / (container.streams.video[0].average_rate * container.streams.video[0].time_base))
    return [f.to_ndarray(format="rgb24") for f in frames], [round(f.pts / step) for f in frames]


@pytest.mark.parametrize("lengths", [(1,), (1, 4), (2, 5), (6, 1, 3), (1, 1, 1), (2, 1, 7), (9, 2)])
def test_parts_of_any_length_join_frame_by_frame(lengths: tuple[int, ...], tmp_path: Path) -> None:
    parts, wanted, first = [], [], 0
    for number, count in enumerate(lengths):
        parts.append(tmp_path / f"{number}.mp4")
        write_part(parts[-1], first, count)
        wanted += frames_of(parts[-1])[0]
        first += count
    join_videos(parts, tmp_path / "whole.mp4")
    frames, times = frames_of(tmp_path / "whole.mp4")
    assert times == list(range(sum(lengths)))
    np.testing.assert_array_equal(frames, wanted)


def test_frames_are_read_by_index_as_far_as_there_are_any(tmp_path: Path) -> None:
    write_part(tmp_path / "a.mp4", 0, 5)
    read = read_frames(tmp_path / "a.mp4", (1, 4, 9))
    assert sorted(read) == [1, 4]
    np.testing.assert_array_equal(read[4], frames_of(tmp_path / "a.mp4")[0][4])


def test_no_parts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one, got none"):
        join_videos([], tmp_path / "whole.mp4")
