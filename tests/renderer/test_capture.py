"""Videos and pictures on disk."""

import contextlib
import threading

import av
import cv2
import numpy as np
import pytest
from spatia.renderer.capture import LiveVideoWriter, VideoWriter, contact_sheet, read_video, write_png


def photo(width: int = 96, height: int = 64) -> np.ndarray:
    """A smooth picture with all hues, bright and dark, and some texture."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    channels = [0.5 + 0.45 * np.sin(2 * np.pi * (x / width + phase) + 3 * y / height) for phase in (0, 1 / 3, 2 / 3)]
    texture = np.random.default_rng(5).normal(0, 3, (height, width, 1))
    return np.clip(np.stack(channels, axis=2) * 255 + texture, 0, 255).astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((a / 255.0 - b / 255.0) ** 2)))


def test_a_decoded_frame_is_close_to_the_written_one(tmp_path):
    image = photo()
    with VideoWriter(tmp_path / "video.mp4", (96, 64)) as writer:
        writer.write(image)
    assert psnr(read_video(tmp_path / "video.mp4")[0], image) > 33


def test_a_reader_that_overlooks_colour_tags_sees_the_same_colours(tmp_path):
    image = np.full((64, 96, 3), (200, 40, 60), np.uint8)
    with VideoWriter(tmp_path / "video.mp4", (96, 64)) as writer:
        writer.write(image)
    ok, bgr = cv2.VideoCapture(str(tmp_path / "video.mp4")).read()
    assert ok
    assert np.abs(bgr[..., ::-1].astype(int) - image).max() <= 4


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_a_video_has_exactly_the_frames_that_were_written(tmp_path, count):
    with VideoWriter(tmp_path / "video.mp4", (32, 16)) as writer:
        for index in range(count):
            writer.write(np.full((16, 32, 3), index * 8, np.uint8))
    video = read_video(tmp_path / "video.mp4")
    assert video.shape == (count, 16, 32, 3)
    assert np.abs(video.mean(axis=(1, 2, 3)) - 8.0 * np.arange(count)).max() < 4


def test_a_video_plays_at_its_rate(tmp_path):
    with VideoWriter(tmp_path / "video.mp4", (32, 16), fps=24) as writer:
        for _ in range(48):
            writer.write(np.zeros((16, 32, 3), np.uint8))
    with av.open(str(tmp_path / "video.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 24
        assert float(stream.duration * stream.time_base) == pytest.approx(2.0)


def test_a_failed_video_leaves_nothing_and_keeps_the_old_one(tmp_path):
    (tmp_path / "video.mp4").write_bytes(b"old")
    with contextlib.suppress(RuntimeError), VideoWriter(tmp_path / "video.mp4", (32, 16)) as writer:
        writer.write(np.zeros((16, 32, 3), np.uint8))
        raise RuntimeError("out of memory")
    assert [p.name for p in tmp_path.iterdir()] == ["video.mp4"]
    assert (tmp_path / "video.mp4").read_bytes() == b"old"


def test_a_video_without_frames_makes_no_file(tmp_path):
    with VideoWriter(tmp_path / "video.mp4", (32, 16)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_open_video_is_not_yet_in_its_place(tmp_path):
    with VideoWriter(tmp_path / "video.mp4", (32, 16)) as writer:
        writer.write(np.zeros((16, 32, 3), np.uint8))
        assert not (tmp_path / "video.mp4").exists()
    assert (tmp_path / "video.mp4").exists()


@pytest.mark.parametrize("size", [(33, 16), (32, 17), (0, 0)])
def test_an_odd_size_is_refused_before_anything_is_written(tmp_path, size):
    with pytest.raises(ValueError, match="even"):
        VideoWriter(tmp_path / "video.mp4", size)
    assert list(tmp_path.iterdir()) == []


def test_a_frame_of_another_size_is_refused(tmp_path):
    with VideoWriter(tmp_path / "video.mp4", (32, 16)) as writer, pytest.raises(ValueError, match=r"\(16, 32, 3\)"):
        writer.write(np.zeros((16, 30, 3), np.uint8))


def grey(level: int) -> np.ndarray:
    return np.full((16, 32, 3), level, np.uint8)


def test_a_live_video_keeps_real_time_when_frames_come_faster(tmp_path):
    live = LiveVideoWriter(tmp_path / "video.mp4", (32, 16), fps=30, max_waiting=100)
    for index in range(61):
        live.write(grey(index * 4), 5.0 + index / 60)
    live.close()
    video = read_video(tmp_path / "video.mp4")
    assert len(video) == 31
    assert np.abs(video.mean(axis=(1, 2, 3)) - 8.0 * np.arange(31)).max() < 4


def test_a_live_video_repeats_what_is_shown_for_long(tmp_path):
    live = LiveVideoWriter(tmp_path / "video.mp4", (32, 16), fps=30)
    for level, at_s in ((0, 0.0), (200, 0.5), (100, 0.6)):
        live.write(grey(level), at_s)
    live.close()
    levels = np.rint(read_video(tmp_path / "video.mp4").mean(axis=(1, 2, 3)) / 50)
    assert len(levels) == 19
    assert levels[0] == 0
    assert levels[15] == 4
    assert levels[18] == 2


def test_a_slow_encoder_does_not_hold_up_the_walk(tmp_path, monkeypatch):
    may_go_on = threading.Event()
    write = VideoWriter.write

    def wait_and_write(self, image):
        may_go_on.wait(60)
        write(self, image)

    monkeypatch.setattr(VideoWriter, "write", wait_and_write)
    live = LiveVideoWriter(tmp_path / "video.mp4", (32, 16), fps=30, max_waiting=2)
    for index in range(50):
        live.write(grey(index), index / 30)  # would never return if it waited for the encoder
    may_go_on.set()
    live.close()
    video = read_video(tmp_path / "video.mp4")  # what was left out stands still, however the threads were timed
    assert 1 <= len(video) <= 50
    assert len(np.unique(video[:, 8, 16, 0])) <= 4


def test_a_live_video_that_fails_says_so_and_leaves_nothing(tmp_path, monkeypatch):
    def fail(self, image):
        raise OSError("disk full")

    monkeypatch.setattr(VideoWriter, "write", fail)
    live = LiveVideoWriter(tmp_path / "video.mp4", (32, 16))
    live.write(grey(1), 0.0)
    with pytest.raises(OSError, match="disk full"):
        live.close()
    live.close()
    assert list(tmp_path.iterdir()) == []


def test_reading_a_file_that_is_no_video_says_so(tmp_path):
    (tmp_path / "video.mp4").write_bytes(b"not a video at all")
    with pytest.raises(ValueError, match="expected a video"):
        read_video(tmp_path / "video.mp4")


def test_reading_a_missing_video_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="found no file"):
        read_video(tmp_path / "video.mp4")


def test_a_picture_comes_back_as_written(tmp_path):
    image = photo()
    write_png(tmp_path / "new" / "picture.png", image)
    assert np.array_equal(cv2.imread(str(tmp_path / "new" / "picture.png"))[..., ::-1], image)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["picture.png"]


def test_a_grey_picture_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected"):
        write_png(tmp_path / "picture.png", np.zeros((4, 4), np.uint8))


def test_a_contact_sheet_shows_pictures_row_by_row():
    reds = [np.full((20, 40, 3), (40 * i, 0, 0), np.uint8) for i in range(5)]
    sheet = contact_sheet(reds, columns=3, tile_width=40)
    assert sheet.shape == (4 + 2 * 24, 4 + 3 * 44, 3)
    centres = [sheet[4 + r * 24 + 10, 4 + c * 44 + 20, 0] for r, c in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]]
    assert centres == [0, 40, 80, 120, 160]


def test_a_contact_sheet_with_too_few_labels_is_refused():
    with pytest.raises(ValueError, match="2 and 1"):
        contact_sheet([photo(), photo()], ["one"])
