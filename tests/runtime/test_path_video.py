"""The film of a world: what stands where in a frame follows from the two files beside it."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from spatia.renderer.capture import read_video
from spatia.runtime.path_video import STEP_M, STEP_RAD, path_through, write_path_video
from spatia.runtime.world import World, create
from spatia.saves.errors import ExportError
from spatia.saves.sources import read_intrinsics, read_trajectory
from spatia.tests.runtime.tiny import SIZE, tiny_frame, tiny_source, tiny_world
from spatia.world.transforms import invert, look, rotation_angle_rad

PATCHES = {(230, 20, 20): (0.6, 0.0, 2.0), (20, 200, 20): (0.0, 0.5, 2.2), (20, 20, 220): (-0.5, -0.3, 2.4)}
"""Red to the right, green below, blue to the left and above; half a metre before the wall behind them."""


def world_with_patches() -> World:
    """Of one frame, in which the patches stand before floor and wall."""
    frame = tiny_frame()
    color, depth = frame.color.copy(), np.array(frame.depth_m)
    for shade, middle in PATCHES.items():
        (u, v), _ = (value[0] for value in frame.pinhole.project(np.array([middle]), np.eye(4)))
        place = np.s_[int(v) - 4 : int(v) + 5, int(u) - 4 : int(u) + 5]
        color[place], depth[place] = shade, middle[2]
    source = replace(tiny_source(), frames=(replace(frame, color=color, depth_m=depth),))
    return create(source, voxel_size_m=0.02)


def test_frames_poses_and_intrinsics_belong_together(tmp_path: Path) -> None:
    shares: list[float] = []
    write_path_video(world_with_patches(), tmp_path / "film", progress=shares.append)
    frames, poses = read_video(tmp_path / "film" / "video.mp4"), read_trajectory(tmp_path / "film" / "w2c.txt")
    pinhole = read_intrinsics(tmp_path / "film" / "intrinsics.txt", *SIZE)
    assert len(frames) == len(poses)
    assert shares[-1] == 1.0
    for color, middle in PATCHES.items():
        (u, v), _ = (value[0] for value in pinhole.project(np.array([middle]), poses[0]))
        around = frames[0][int(v) - 1 : int(v) + 2, int(u) - 1 : int(u) + 2].reshape(-1, 3)
        assert np.argmax(np.median(around, axis=0)) == np.argmax(color)


def test_the_way_between_keyframes_has_no_leaps() -> None:
    poses = [look((0, 0, 0), 0.0, 0.0), look((1.0, 0, 0), 0.0, 0.0), look((1.0, 0, 0.2), 1.5, 0.1)]
    path = path_through(poses)
    assert np.allclose(path[0], poses[0])
    assert np.allclose(path[-1], poses[-1])
    for a, b in itertools.pairwise(path):
        between = invert(a) @ b
        assert np.linalg.norm(between[:3, 3]) <= STEP_M * 1.001
        assert rotation_angle_rad(between) <= STEP_RAD * 1.02


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match="new or empty"):
        write_path_video(tiny_world(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
