"""RGB-D recordings in the layouts that people have."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from spatia.saves.errors import SourceError
from spatia.saves.sources import Source, load_source
from spatia.tests.saves.pictures import ramp, save_depth, save_photo, shared_data
from spatia.world.camera import Pinhole
from spatia.world.transforms import invert, look, rotation_vector

NUM_FRAMES = 4


def poses() -> list[np.ndarray]:
    """World poses as a recording has them: not starting at the identity."""
    return [look((1.0 + 0.1 * i, -0.2 * i, 0.3), 0.1 + 0.05 * i, -0.02 * i) for i in range(NUM_FRAMES)]


def steps(i: int) -> np.ndarray:
    out = np.arange(32 * 48).reshape(32, 48) + 800 + 10 * i
    out[0] = 0
    out[1] = 65535
    return out


def color(i: int) -> np.ndarray:
    return np.roll(ramp(), i, axis=1)


def make_seven_scenes(root: Path) -> Path:
    root.mkdir()
    for i, pose in enumerate(poses()):
        save_photo(root / f"frame-{i:06d}.color.png", color(i))
        save_depth(root / f"frame-{i:06d}.depth.png", steps(i))
        np.savetxt(root / f"frame-{i:06d}.pose.txt", pose, fmt="%.5e")
    np.savetxt(root / "camera-intrinsics.txt", [[44.0, 0, 24.0], [0, 44.0, 16.0], [0, 0, 1]])
    return root


def make_redwood(root: Path, color_folder: str = "color") -> Path:
    (root / color_folder).mkdir(parents=True)
    (root / "depth").mkdir()
    lines = []
    for i, pose in enumerate(poses()):
        save_photo(root / color_folder / f"{i:05d}.png", color(i))
        save_depth(root / "depth" / f"{i:05d}.png", steps(i))
        lines += [f"{i}\t{i}\t{i + 1}", *(" ".join(f"{v:.12f}" for v in row) for row in pose)]
    (root / "odometry.log").write_text("\n".join(lines) + "\n")
    (root / "camera_primesense.json").write_text(
        '{"width": 48, "height": 32, "intrinsic_matrix": [44.0, 0, 0, 0, 44.0, 0, 23.5, 15.5, 1]}'
    )
    return root


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """xyzw."""
    vector = rotation_vector(rotation)
    angle = float(np.linalg.norm(vector))
    axis = vector / angle if angle > 0 else np.array([0.0, 0.0, 1.0])
    return np.array([*(axis * np.sin(angle / 2)), np.cos(angle / 2)])


def write_tum(root: Path, frames: list[tuple[np.ndarray, np.ndarray, np.ndarray]], matrix: np.ndarray) -> Path:
    """TUM layout of (colour, depth in metres, pose); times of depth and poses are a little off, poses are denser."""
    (root / "rgb").mkdir(parents=True)
    (root / "depth").mkdir()
    lists: dict[str, list[str]] = {name: ["# a comment"] for name in ("rgb", "depth", "groundtruth")}
    for i, (picture, depth_m, pose) in enumerate(frames):
        time = 1305031102.1 + i / 30
        Image.fromarray(picture).save(root / "rgb" / f"{time:.6f}.png")
        save_depth(root / "depth" / f"{time + 0.008:.6f}.png", np.rint(depth_m * 5000))
        lists["rgb"].append(f"{time:.6f} rgb/{time:.6f}.png")
        lists["depth"].append(f"{time + 0.008:.6f} depth/{time + 0.008:.6f}.png")
        for offset, shift in ((-0.012, 0.5), (0.003, 0.0)):
            values = [*(pose[:3, 3] + shift), *quaternion(pose[:3, :3])]
            lists["groundtruth"].append(f"{time + offset:.4f} " + " ".join(f"{v:.9f}" for v in values))
    for name, lines in lists.items():
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
    np.savetxt(root / "camera-intrinsics.txt", matrix)
    return root


def make_tum(root: Path) -> Path:
    frames = []
    for i, pose in enumerate(poses()):
        known = np.where(steps(i) == 65535, 0, steps(i))
        frames.append((color(i), known / 1000, pose))
    return write_tum(root, frames, np.array([[44.0, 0, 24.0], [0, 44.0, 16.0], [0, 0, 1]]))


MAKERS = {"7scenes": make_seven_scenes, "redwood": make_redwood, "tum": make_tum}


def expected_depth(i: int) -> np.ndarray:
    out = (steps(i) / 1000).astype(np.float32)
    out[:2] = 0
    return out


@pytest.mark.parametrize("kind", MAKERS)
def test_each_layout_gives_the_same_frames(tmp_path: Path, kind: str) -> None:
    source = load_source(MAKERS[kind](tmp_path / "walk"))
    assert (source.kind, source.name, source.metric, len(source.frames)) == (kind, "walk", True, NUM_FRAMES)
    first_T_world = invert(poses()[0])
    for i, frame in enumerate(source.frames):
        assert np.array_equal(frame.color, color(i))
        assert frame.depth_m is not None
        assert np.array_equal(frame.depth_m, expected_depth(i))
        assert np.allclose(frame.world_T_camera, first_T_world @ poses()[i], atol=2e-5)
        assert frame.pinhole == Pinhole(48, 32, 44.0, 44.0, 24.0, 16.0)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_first_camera_is_the_identity_and_rotations_are_exact(tmp_path: Path, kind: str) -> None:
    source = load_source(MAKERS[kind](tmp_path / "walk"))
    assert np.allclose(source.frames[0].world_T_camera, np.eye(4), atol=1e-12)
    for frame in source.frames:
        r = frame.world_T_camera[:3, :3]
        assert np.allclose(r.T @ r, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_slice_keeps_the_world_of_the_whole(tmp_path: Path, kind: str) -> None:
    root = MAKERS[kind](tmp_path / "walk")
    whole, part = load_source(root), load_source(root, frames=slice(1, 4, 2))
    assert len(part.frames) == 2
    for a, b in zip(part.frames, [whole.frames[1], whole.frames[3]], strict=True):
        assert np.array_equal(a.color, b.color)
        assert np.array_equal(a.world_T_camera, b.world_T_camera)


@pytest.mark.parametrize("kind", MAKERS)
def test_frames_out_of_range_are_refused(tmp_path: Path, kind: str) -> None:
    message = refused(MAKERS[kind](tmp_path / "walk"), frames=slice(100, 200))
    assert "frames within 0:4" in message
    assert "100:200" in message


def refused(path: Path, **options: object) -> str:
    with pytest.raises(SourceError) as caught:
        load_source(path, **options)
    message = str(caught.value)
    assert 2 <= len(message.splitlines()) <= 3
    return message


def read_all(source: Source) -> None:
    for _ in source.frames:
        pass


# Layout by layout


def test_a_7_scenes_frame_without_pose_is_left_out_and_said(tmp_path: Path) -> None:
    root = make_seven_scenes(tmp_path / "walk")
    (root / "frame-000002.pose.txt").unlink()
    source = load_source(root)
    assert len(source.frames) == 3
    assert "1 frame left out" in source.note


def test_7_scenes_without_intrinsics_gets_its_default_and_says_so(tmp_path: Path) -> None:
    root = make_seven_scenes(tmp_path / "walk")
    (root / "camera-intrinsics.txt").unlink()
    for path in root.glob("*.color.png"):
        save_photo(path, ramp(64, 48))
    for path in root.glob("*.depth.png"):
        save_depth(path, np.full((48, 64), 1000))
    source = load_source(root)
    assert source.frames[0].pinhole == Pinhole(64, 48, 58.5, 58.5, 32.0, 24.0)
    assert "7-Scenes' default" in source.note


@pytest.mark.parametrize("content", ["", "1 2 3", "a b c d", "nan " * 16, "2 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"])
def test_a_wrong_7_scenes_pose_names_its_file(tmp_path: Path, content: str) -> None:
    root = make_seven_scenes(tmp_path / "walk")
    (root / "frame-000001.pose.txt").write_text(content)
    assert "frame-000001.pose.txt" in refused(root)


def test_a_damaged_picture_is_named_when_it_is_read(tmp_path: Path) -> None:
    root = make_seven_scenes(tmp_path / "walk")
    path = root / "frame-000002.color.png"
    path.write_bytes(path.read_bytes()[:100])
    source = load_source(root)
    with pytest.raises(SourceError, match=r"frame-000002\.color\.png"):
        read_all(source)


@pytest.mark.parametrize("folder", ["color", "image", "rgb"])
def test_redwood_colour_folders_have_several_names(tmp_path: Path, folder: str) -> None:
    assert len(load_source(make_redwood(tmp_path / "walk", folder)).frames) == NUM_FRAMES


def test_redwood_poses_are_found_under_their_other_name(tmp_path: Path) -> None:
    root = make_redwood(tmp_path / "walk")
    (root / "odometry.log").rename(root / "trajectory.log")
    assert len(load_source(root).frames) == NUM_FRAMES


def test_redwood_frames_are_paired_by_number_where_depth_is_missing(tmp_path: Path) -> None:
    root = make_redwood(tmp_path / "walk")
    (root / "depth" / "00003.png").unlink()
    source = load_source(root)
    assert len(source.frames) == 3
    assert np.array_equal(source.frames[2].color, color(2))


def test_a_redwood_log_may_skip_frames(tmp_path: Path) -> None:
    root = make_redwood(tmp_path / "walk")
    lines = (root / "odometry.log").read_text().splitlines()
    (root / "odometry.log").write_text("\n".join(lines[:5] + lines[10:]))
    source = load_source(root)
    assert [int(f.color[0, 0, 0]) for f in source.frames] == [int(color(i)[0, 0, 0]) for i in (0, 2, 3)]
    assert "1 frame left out (no pose)" in source.note


@pytest.mark.parametrize(
    ("make", "pattern"),
    [(make_seven_scenes, "*.pose.txt"), (make_redwood, "odometry.log"), (make_tum, "groundtruth.txt")],
)
def test_a_recording_without_any_pose_is_to_be_tracked(tmp_path: Path, make, pattern: str) -> None:
    root = make(tmp_path / "walk")
    for path in root.glob(pattern):
        path.unlink()
    source = load_source(root)
    assert not source.has_poses
    assert "no poses" in source.note
    assert len(source.frames) == NUM_FRAMES
    assert all(np.array_equal(f.world_T_camera, np.eye(4)) for f in source.frames)


def test_a_recording_with_poses_says_so(tmp_path: Path) -> None:
    assert load_source(make_redwood(tmp_path / "walk")).has_poses


def test_a_cut_off_log_names_its_line(tmp_path: Path) -> None:
    root = make_redwood(tmp_path / "walk")
    lines = (root / "odometry.log").read_text().splitlines()
    (root / "odometry.log").write_text("\n".join(lines[:13]))
    assert "odometry.log line 11" in refused(root)


def test_a_tum_frame_without_a_pose_nearby_is_left_out(tmp_path: Path) -> None:
    root = make_tum(tmp_path / "walk")
    lines = (root / "groundtruth.txt").read_text().splitlines()
    (root / "groundtruth.txt").write_text("\n".join(lines[:-2]))
    source = load_source(root)
    assert len(source.frames) == NUM_FRAMES - 1
    assert "left out" in source.note


def test_a_tum_depth_picture_serves_one_colour_picture(tmp_path: Path) -> None:
    root = make_tum(tmp_path / "walk")
    lines = (root / "rgb.txt").read_text().splitlines()
    time, name = lines[2].split()
    (root / "rgb.txt").write_text("\n".join([*lines[:3], f"{float(time) + 0.012:.6f} {name}", *lines[3:]]))
    assert len(load_source(root).frames) == NUM_FRAMES


@pytest.mark.parametrize(("name", "focal"), [("rgbd_dataset_freiburg1_desk", 517.306408), ("fr3", 535.4), ("x", 525.0)])
def test_tum_without_intrinsics_takes_the_published_ones(tmp_path: Path, name: str, focal: float) -> None:
    root = make_tum(tmp_path / name)
    (root / "camera-intrinsics.txt").unlink()
    for path in (root / "rgb").iterdir():
        save_photo(path, ramp(64, 48))
    for path in (root / "depth").iterdir():
        save_depth(path, np.full((48, 64), 5000))
    source = load_source(root)
    assert source.frames[0].pinhole.fx == pytest.approx(focal / 10)
    assert "intrinsics:" in source.note


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("groundtruth.txt", "1.0 0 0 0 0 0 0"),
        ("groundtruth.txt", "1.0 0 0 0 0 0 0 0"),
        ("groundtruth.txt", "1.0 0 0 0 0 0 0 nan"),
        ("groundtruth.txt", "2.0 0 0 0 0 0 0 1\n1.0 0 0 0 0 0 0 1"),
        ("rgb.txt", "1.0"),
        ("depth.txt", "now depth/a.png"),
        ("depth.txt", ""),
    ],
)
def test_a_wrong_tum_list_is_named(tmp_path: Path, file: str, content: str) -> None:
    root = make_tum(tmp_path / "walk")
    (root / file).write_text(content)
    assert file in refused(root)


def test_a_missing_tum_list_is_named(tmp_path: Path) -> None:
    root = make_tum(tmp_path / "walk")
    (root / "depth.txt").unlink()
    assert "depth.txt" in refused(root)


def test_a_list_that_points_to_no_file_is_refused(tmp_path: Path) -> None:
    root = make_tum(tmp_path / "walk")
    shutil.rmtree(root / "rgb")
    refused(root)


# What is no recording


def test_an_empty_folder_lists_the_layouts(tmp_path: Path) -> None:
    message = refused(tmp_path)
    assert "7-Scenes" in message
    assert "TUM" in message
    assert "an empty folder" in message


def test_depth_or_mask_with_a_recording_is_refused(tmp_path: Path) -> None:
    root = make_seven_scenes(tmp_path / "walk")
    assert "no depth" in refused(root, depth=root / "frame-000000.depth.png")
    assert "no mask" in refused(root, mask=root / "frame-000000.depth.png")


def test_given_intrinsics_win_over_the_recordings(tmp_path: Path) -> None:
    source = load_source(make_seven_scenes(tmp_path / "walk"), intrinsics=(1.0, 1.5, 0.5, 0.5))
    assert source.frames[0].pinhole.fx == 48.0


# Real recordings


def test_the_kitchen_loads() -> None:
    source = load_source(shared_data("rgbd/kitchen"))
    assert (source.kind, len(source.frames), source.note) == ("7scenes", 83, "")
    frame = source.frames[40]
    assert frame.depth_m is not None
    assert frame.pinhole == Pinhole(640, 480, 585.0, 585.0, 320.0, 240.0)
    assert 0.5 < np.median(frame.depth_m[frame.depth_m > 0]) < 4.0
    assert frame.depth_m.max() < 20  # 65535 is unknown, not 65 m


def test_the_redwood_sample_loads() -> None:
    source = load_source(shared_data("rgbd/sun3d"))
    assert (source.kind, len(source.frames)) == ("redwood", 5)
    assert source.frames[0].pinhole == Pinhole(640, 480, 525.0, 525.0, 320.0, 240.0)
    assert np.allclose(source.frames[0].world_T_camera, np.eye(4))
    assert np.linalg.norm(source.frames[4].world_T_camera[:3, 3]) < 0.5


def test_the_kitchen_in_tum_layout_is_the_same_recording(tmp_path: Path) -> None:
    kitchen = load_source(shared_data("rgbd/kitchen"), frames=slice(0, 5))
    written = [(f.color, f.depth_m, f.world_T_camera) for f in kitchen.frames if f.depth_m is not None]
    tum = load_source(write_tum(tmp_path / "kitchen", written, kitchen.frames[0].pinhole.matrix))
    assert (tum.kind, len(tum.frames)) == ("tum", 5)
    for a, b in zip(kitchen.frames, tum.frames, strict=True):
        assert np.array_equal(a.color, b.color)
        assert a.depth_m is not None
        assert np.array_equal(a.depth_m, b.depth_m)
        assert np.allclose(a.world_T_camera, b.world_T_camera, atol=1e-8)
        assert a.pinhole == b.pinhole
