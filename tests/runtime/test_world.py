"""The façade."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import spatia
from PIL import Image
from spatia.runtime.director import Tail
from spatia.runtime.session import Session
from spatia.saves.errors import SourceError, WorldFileError, WorldLockedError
from spatia.tests.runtime.tiny import EYE_HEIGHT_M, SIZE, tiny_frame, tiny_world
from spatia.world.images import cover


def test_importing_spatia_is_light() -> None:
    code = (
        "import sys, spatia; heavy = {'torch', 'moderngl', 'pygame', 'numba', 'cv2', 'scipy'} & set(sys.modules);"
        "print(sorted(heavy))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(AttributeError, match="Session"):
        _ = spatia.Wordl  # type: ignore[attr-defined]


def test_a_photo_with_depth_becomes_a_world(tmp_path: Path) -> None:
    frame = tiny_frame()
    Image.fromarray(frame.color).save(tmp_path / "photo.png")
    Image.fromarray((frame.depth_m * 1000).astype(np.uint16)).save(tmp_path / "depth.png")
    world = spatia.create(
        tmp_path / "photo.png", depth=tmp_path / "depth.png", intrinsics=frame.pinhole.normalized(), voxel_size_m=0.04
    )
    assert world.info.is_metric
    assert world.info.name == "photo"
    _, high = world.memory.snapshot().extent()
    assert high[2] == pytest.approx(3.0, abs=0.05)
    assert high[1] == pytest.approx(EYE_HEIGHT_M, abs=0.05)


def test_a_photo_alone_is_not_metric_and_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (72, 96, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    world = spatia.create(tmp_path / "photo.png")
    assert not world.info.is_metric
    assert "not metric" in world.info.note
    assert world.memory.num_points > 0


def test_rendering_shows_memory_and_fills_nothing() -> None:
    world = tiny_world()
    view = world.render(np.eye(4))
    behind = world.render(spatia_look_back())
    assert view.color.shape == (SIZE[1], SIZE[0], 3)
    assert (view.coverage > 0.5).mean() > 0.98
    assert not behind.color.any()
    assert not behind.depth_m.any()


def spatia_look_back() -> np.ndarray:
    pose = np.eye(4)
    pose[0, 0] = pose[2, 2] = -1.0
    return pose


def test_rendering_at_another_size_crops_the_middle() -> None:
    view = tiny_world().render(np.eye(4), size=(60, 60))
    assert view.color.shape == (60, 60, 3)
    whole = tiny_frame().depth_m
    assert np.median(view.depth_m[5:20]) == pytest.approx(np.median(whole[6:24, 18:78]), rel=0.02)


def test_rendering_refuses_what_is_no_pose() -> None:
    with pytest.raises(ValueError, match="rotation"):
        tiny_world().render(np.ones((4, 4)))


def test_a_saved_world_is_the_same_when_opened(tmp_path: Path) -> None:
    world = tiny_world(seed=9)
    world.save(tmp_path / "home.spatia")
    again = spatia.open(tmp_path / "home.spatia", read_only=True)
    assert again.content_hash() == world.content_hash()
    assert again.info.seed == 9
    assert np.array_equal(again.bank.keyframes[0].color, world.bank.keyframes[0].color)
    assert np.allclose(again.info.floor.normal, world.info.floor.normal)


def test_a_world_is_opened_for_writing_only_once(tmp_path: Path) -> None:
    tiny_world().save(tmp_path / "home.spatia")
    first = spatia.open(tmp_path / "home.spatia")
    with pytest.raises(WorldLockedError):
        spatia.open(tmp_path / "home.spatia")
    spatia.open(tmp_path / "home.spatia", read_only=True)
    first.close()
    spatia.open(tmp_path / "home.spatia").close()


def test_a_missing_world_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorldFileError, match=r"home\.spatia"):
        spatia.open(tmp_path / "home.spatia")


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"photo\.jpg"):
        spatia.create(tmp_path / "photo.jpg")


def test_the_garage_needs_no_download_and_stands_on_its_floor() -> None:
    world = spatia.samples.garage()
    assert world.info.floor is not None
    assert abs(world.info.floor.height_m(np.zeros(3))) == pytest.approx(1.08, abs=0.06)
    view = world.render(np.eye(4))
    photo = cover(spatia.samples.garage_source().frames[0].color, 740, 500)
    known = view.coverage > 0.5
    error = np.mean((view.color[known].astype(float) - photo[known]) ** 2)
    assert known.mean() > 0.97
    assert 10 * np.log10(255**2 / error) >= 35.0


def test_the_session_of_the_readme_walks() -> None:
    with Session(tiny_world(), generator="none", seed=7, wait=True, size=SIZE) as session:
        frame = session.step(spatia.Intent(forward=1.0, yaw=0.2))
    assert frame.world_T_camera[2, 3] > 0


def test_tails_and_field_of_view_are_found_again(tmp_path: Path) -> None:
    world = tiny_world()
    frames = np.arange(9 * 4 * 4 * 3, dtype=np.uint8).reshape(9, 4, 4, 3)
    world.walk.tails = [Tail(3, frames, np.repeat(np.eye(4)[None], 9, 0))]
    world.walk.fov_rad = 1.1
    world.save(tmp_path / "home.spatia")
    again = spatia.open(tmp_path / "home.spatia", read_only=True)
    (tail,) = again.walk.tails
    assert tail.request_id == 3
    assert np.array_equal(tail.frames, frames)
    assert again.walk.fov_rad == pytest.approx(1.1)
