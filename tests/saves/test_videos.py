"""Videos and folders of pictures become sources; what cannot be read says why."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from spatia.renderer.capture import VideoWriter
from spatia.saves.errors import SourceError
from spatia.saves.sources import load_source
from spatia.saves.videos import MAX_RATE_HZ, MAX_SIDE_PX

SIZE = (64, 48)


def picture(level: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.full((size[1], size[0], 3), level, np.uint8)


def write_video(path: Path, levels: list[int], fps: int = 5) -> Path:
    with VideoWriter(path, SIZE, fps=fps) as video:
        for level in levels:
            video.write(picture(level))
    return path


def write_folder(root: Path, names: list[str], size: tuple[int, int] = SIZE) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        Image.fromarray(picture(10 * k, size)).save(root / name)
    return root


def levels_of(source) -> list[float]:
    return [float(frame.color.mean()) for frame in source.frames]


def test_a_video_gives_its_frames_in_order(tmp_path: Path):
    source = load_source(write_video(tmp_path / "walk.mp4", [20, 60, 100, 140]))
    assert (source.kind, source.name, source.has_poses, source.metric) == ("video", "walk", False, False)
    assert levels_of(source) == pytest.approx([20, 60, 100, 140], abs=3)
    assert source.frames[0].depth_m is None


def test_frames_of_a_video_can_be_read_again_and_backwards(tmp_path: Path):
    source = load_source(write_video(tmp_path / "walk.mp4", [20, 60, 100, 140]))
    seen = [float(source.frames[k].color.mean()) for k in (3, 1, 1, 2)]
    assert seen == pytest.approx([140, 60, 60, 100], abs=3)


def test_a_fast_video_is_thinned_out(tmp_path: Path):
    source = load_source(write_video(tmp_path / "walk.mp4", list(range(0, 240, 8)), fps=30))
    assert len(source.frames) == pytest.approx(30 * MAX_RATE_HZ / 30, abs=1)
    assert f"{len(source.frames)} of 30 frames" in source.note


def test_chosen_frames_of_a_video_are_taken_as_they_are(tmp_path: Path):
    path = write_video(tmp_path / "walk.mp4", [0, 40, 80, 120, 160], fps=30)
    assert levels_of(load_source(path, frames=slice(1, 5, 2))) == pytest.approx([40, 120], abs=3)
    with pytest.raises(SourceError, match="expected frames within 0:5\ngot 7:9"):
        load_source(path, frames=slice(7, 9))


def test_a_video_without_intrinsics_says_what_is_assumed(tmp_path: Path):
    path = write_video(tmp_path / "walk.mp4", [0, 40])
    assert "60° across (assumed: the video does not say)" in load_source(path).note
    given = load_source(path, intrinsics=(1.0, 1.3, 0.5, 0.5))
    assert given.frames[0].pinhole.fx == pytest.approx(64)


def test_a_file_that_is_no_video_is_an_error(tmp_path: Path):
    path = tmp_path / "walk.mp4"
    path.write_bytes(b"no video at all" * 50)
    with pytest.raises(SourceError, match="expected a video that FFmpeg reads"):
        load_source(path)


def test_a_damaged_video_is_an_error_where_the_damage_is(tmp_path: Path):
    path = write_video(tmp_path / "walk.mp4", [int(x) for x in np.linspace(0, 250, 40)])
    data = bytearray(path.read_bytes())
    start = data.rindex(b"mdat") + 4
    data[start : start + 4000] = bytes(len(data[start : start + 4000]))
    path.write_bytes(bytes(data))
    with pytest.raises(SourceError, match=r"damaged|FFmpeg"):
        [frame.color for frame in load_source(path).frames]


def test_depth_for_a_video_is_refused(tmp_path: Path):
    path = write_video(tmp_path / "walk.mp4", [0, 40])
    with pytest.raises(SourceError, match="expected no depth for a video"):
        load_source(path, depth=np.ones((48, 64), np.float32))


def test_a_mask_for_a_video_is_refused(tmp_path: Path):
    path = write_video(tmp_path / "walk.mp4", [0, 40])
    with pytest.raises(SourceError, match="expected no mask for a video"):
        load_source(path, mask=np.ones((48, 64), bool))


def test_a_folder_of_pictures_is_read_by_the_numbers_in_its_names(tmp_path: Path):
    root = write_folder(tmp_path / "shots", ["img2.png", "img10.png", "img1.png"])
    source = load_source(root)
    assert (source.kind, source.has_poses, source.metric) == ("pictures", False, False)
    assert levels_of(source) == [20.0, 0.0, 10.0]


def test_a_folder_may_bring_its_intrinsics(tmp_path: Path):
    root = write_folder(tmp_path / "shots", ["1.png", "2.png", "3.png"])
    (root / "intrinsics.txt").write_text("0.9 1.2 0.5 0.5")
    source = load_source(root)
    assert source.frames[0].pinhole.fx == pytest.approx(0.9 * 64)
    assert "intrinsics: intrinsics.txt" in source.note


def test_a_recording_without_depth_is_a_folder_of_pictures(tmp_path: Path):
    root = write_folder(tmp_path / "kitchen", [f"frame-{k:06d}.color.png" for k in range(3)])
    assert load_source(root).kind == "pictures"


def test_a_picture_of_another_size_is_an_error(tmp_path: Path):
    root = write_folder(tmp_path / "shots", ["1.png", "2.png"])
    write_folder(root, ["3.png"], (32, 32))
    with pytest.raises(SourceError, match="expected 64x48 as the first picture\ngot 32x32"):
        levels_of(load_source(root))


def test_large_pictures_are_made_smaller(tmp_path: Path):
    root = write_folder(tmp_path / "shots", ["1.png", "2.png"], (2560, 1280))
    frame = load_source(root).frames[0]
    assert frame.color.shape == (640, MAX_SIDE_PX, 3)
    assert frame.pinhole.size == (MAX_SIDE_PX, 640)
