"""Exports: a scene that looks the same from no two sides, opened by the libraries that users open it with."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from spatia.saves.camera_exports import nerfstudio_pose, quaternion_of
from spatia.saves.errors import ExportError
from spatia.saves.exports import FORMATS, export_world
from spatia.saves.ply import read_ply
from spatia.saves.scans import read_las
from spatia.saves.sources import read_trajectory
from spatia.tests.saves.worlds import make_keyframe
from spatia.world.keyframes import Keyframe
from spatia.world.memory import MemorySnapshot, SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.transforms import apply, invert, rotation_about

COLORS = {(255, 0, 10): (1.0, 0.0, 0.0), (0, 200, 0): (0.0, 2.0, 0.0), (0, 0, 90): (0.0, 0.0, 3.0)}
"""Red a metre to the right, green two below, blue three ahead (world axes: x right, y down, z forward)."""


def snapshot() -> MemorySnapshot:
    priority = [
        priority_of(PointClass.INVENTED, 5),
        priority_of(PointClass.ESTIMATED),
        priority_of(PointClass.OBSERVED),
    ]
    memory = SpatialMemory(0.01)
    memory.insert(
        PointBatch(
            np.array(list(COLORS.values()), np.float32),
            np.array(list(COLORS), np.uint8),
            np.array([1, 7, 15], np.uint8),
            np.array(priority, np.uint8),
            np.array([1, 2, 3], np.uint32),
        )
    )
    return memory.snapshot()


def keyframes() -> tuple[Keyframe, ...]:
    turned = np.eye(4)
    turned[:3, :3] = rotation_about((0, 1, 0), 0.5) @ rotation_about((1, 0, 0), -0.3)
    turned[:3, 3] = 0.4, -0.2, 0.7
    return make_keyframe(3), replace(make_keyframe(8), world_T_camera=turned)


def assert_points(positions: Any, colors: Any, axes: Any) -> None:
    """Three points, each of its colour at the place that ``axes`` gives."""
    positions, colors = np.asarray(positions), np.asarray(colors)[:, :3]
    assert len(positions) == 3
    for color, place in COLORS.items():
        at = np.flatnonzero((colors == color).all(axis=1))
        assert len(at) == 1, color
        assert positions[at[0]] == pytest.approx(axes(*place), abs=1e-3)


def y_up(x: float, y: float, z: float) -> tuple[float, float, float]:
    return x, -y, -z


def z_up(x: float, y: float, z: float) -> tuple[float, float, float]:
    return x, z, -y


def as_it_is(x: float, y: float, z: float) -> tuple[float, float, float]:
    return x, y, z


@pytest.mark.parametrize("suffix", [".ply", ".glb"])
def test_trimesh_shows_points_upright_and_in_colour(tmp_path: Path, suffix: str) -> None:
    trimesh = pytest.importorskip("trimesh")
    path = tmp_path / f"world{suffix}"
    export_world(path, snapshot())
    loaded = trimesh.load(path)
    cloud = next(iter(loaded.geometry.values())) if hasattr(loaded, "geometry") else loaded
    assert_points(cloud.vertices, cloud.colors, y_up)


def test_open3d_shows_points_upright_and_in_colour(tmp_path: Path) -> None:
    o3d = pytest.importorskip("open3d")
    export_world(tmp_path / "world.ply", snapshot())
    cloud = o3d.io.read_point_cloud(str(tmp_path / "world.ply"))
    assert_points(cloud.points, np.rint(np.asarray(cloud.colors) * 255), y_up)


@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_laspy_shows_points_upright_in_metres_and_in_colour(tmp_path: Path, suffix: str) -> None:
    laspy = pytest.importorskip("laspy")
    if suffix == ".laz":
        pytest.importorskip("lazrs")
    export_world(tmp_path / f"world{suffix}", snapshot())
    las = laspy.read(tmp_path / f"world{suffix}")
    colors = np.stack([las.red, las.green, las.blue], axis=1) >> 8
    assert_points(las.xyz, colors, z_up)
    by_color = {tuple(c): (int(o), int(r)) for c, o, r in zip(colors, las.origin, las.rank, strict=True)}
    assert [by_color[c] for c in COLORS] == [(1, 5), (2, 0), (3, 0)]
    assert las.header.are_points_compressed == (suffix == ".laz")


def test_pye57_shows_points_upright_in_metres_and_in_colour(tmp_path: Path) -> None:
    pye57 = pytest.importorskip("pye57")
    export_world(tmp_path / "world.e57", snapshot())
    scan = pye57.E57(str(tmp_path / "world.e57")).read_scan(0, colors=True, ignore_missing_fields=True)
    positions = np.stack([scan[f"cartesian{axis}"] for axis in "XYZ"], axis=1)
    assert_points(positions, np.stack([scan[f"color{c}"] for c in ("Red", "Green", "Blue")], axis=1), z_up)


def test_las_is_exact_to_a_step_of_a_voxel(tmp_path: Path) -> None:
    laspy = pytest.importorskip("laspy")
    memory = SpatialMemory(0.01)
    positions = np.random.default_rng(0).uniform(-3, 3, (500, 3)).astype(np.float32)
    memory.insert(PointBatch.uniform(positions, np.zeros((500, 3), np.uint8), priority=192, keyframe=1))
    export_world(tmp_path / "world.las", memory.snapshot())
    found = laspy.read(tmp_path / "world.las").xyz
    x, y, z = memory.points().positions_world.astype(np.float64).T
    assert np.abs(found - np.stack([x, z, -y], axis=1)).max() < 0.01 / 256 / 2 + 1e-6


def test_gaussians_have_what_trainers_read(tmp_path: Path) -> None:
    plyfile = pytest.importorskip("plyfile")
    export_world(tmp_path / "world.ply", snapshot(), format_name="gaussians")
    vertex = plyfile.PlyData.read(tmp_path / "world.ply")["vertex"]
    dc = np.stack([vertex[f"f_dc_{i}"] for i in range(3)], axis=1)
    colors = np.rint((dc * 0.28209479177387814 + 0.5) * 255)
    assert_points(np.stack([vertex[n] for n in "xyz"], axis=1), colors, as_it_is)
    assert sum(p.name.startswith("f_rest_") for p in vertex.properties) == 45
    assert np.exp(vertex["scale_0"]) == pytest.approx(0.005)
    assert 1 / (1 + np.exp(-vertex["opacity"])) == pytest.approx(0.9)
    rotation = np.stack([vertex[f"rot_{i}"] for i in range(4)], axis=1)
    assert (rotation == (1, 0, 0, 0)).all()
    assert len(read_ply(tmp_path / "world.ply").points) == 3


def rotation_of(w: float, x: float, y: float, z: float) -> np.ndarray:
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


@pytest.mark.parametrize("seed", range(8))
def test_a_quaternion_turns_as_its_rotation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rotation = rotation_about(rng.normal(size=3), rng.uniform(0, np.pi))
    quaternion = quaternion_of(rotation)
    assert quaternion[0] >= 0
    assert rotation_of(*quaternion) == pytest.approx(rotation, abs=1e-9)


def test_colmap_text_places_cameras_pictures_and_points(tmp_path: Path) -> None:
    export_world(tmp_path / "model", snapshot(), keyframes=keyframes(), format_name="colmap")
    model = tmp_path / "model" / "sparse" / "0"
    texts = [file.read_text() for file in sorted(model.iterdir())]
    lines = [[line for line in text.splitlines() if not line.startswith("#")] for text in texts]
    cameras, images, points = lines
    assert [line.split()[1] for line in cameras] == ["PINHOLE", "PINHOLE"]
    for frame, camera, image in zip(keyframes(), cameras, images[::2], strict=True):
        p = frame.pinhole
        assert [float(v) for v in camera.split()[2:]] == [*p.size, p.fx, p.fy, p.cx, p.cy]
        words = image.split()
        camera_T_world = np.eye(4)
        camera_T_world[:3, :3] = rotation_of(*map(float, words[1:5]))
        camera_T_world[:3, 3] = [float(v) for v in words[5:8]]
        assert camera_T_world == pytest.approx(invert(frame.world_T_camera), abs=1e-9)
        assert words[8] == camera.split()[0]
        picture = np.asarray(Image.open(tmp_path / "model" / "images" / words[9]))
        assert np.array_equal(picture, frame.color)
    assert images[1::2] == ["", ""]
    values = np.array([[float(v) for v in line.split()] for line in points])
    assert_points(values[:, 1:4], values[:, 4:7], as_it_is)


def test_colmap_binary_says_the_same_as_text(tmp_path: Path) -> None:
    import struct

    export_world(tmp_path / "model", snapshot(), keyframes=keyframes(), format_name="colmap-binary")
    model = tmp_path / "model" / "sparse" / "0"
    cameras = (model / "cameras.bin").read_bytes()
    assert struct.unpack_from("<QIiQQ", cameras) == (2, 3, 1, 32, 24)
    assert len(cameras) == 8 + 2 * 56
    images = (model / "images.bin").read_bytes()
    count, identity, *pose, camera = struct.unpack_from("<QI7dI", images)
    assert (count, identity, camera) == (2, 3, 3)
    assert pose[4:] == pytest.approx(invert(keyframes()[0].world_T_camera)[:3, 3])
    assert images[8 + 64 :].startswith(b"00000003.png\0" + bytes(8))
    points = (model / "points3D.bin").read_bytes()
    rows = [struct.unpack_from("<Q3d3BdQ", points, 8 + 51 * i) for i in range(3)]
    assert_points([r[1:4] for r in rows], [r[4:7] for r in rows], as_it_is)
    assert len(points) == 8 + 3 * 51


def test_pycolmap_reads_the_model(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    for name in ("colmap", "colmap-binary"):
        export_world(tmp_path / name, snapshot(), keyframes=keyframes(), format_name=name)
        model = pycolmap.Reconstruction(str(tmp_path / name / "sparse" / "0"))
        assert (model.num_images(), model.num_points3D()) == (2, 3)


def test_nerfstudio_cameras_look_at_the_same_pixels(tmp_path: Path) -> None:
    export_world(tmp_path / "data", snapshot(), keyframes=keyframes(), format_name="nerfstudio")
    facts = json.loads((tmp_path / "data" / "transforms.json").read_text())
    cloud = read_ply(tmp_path / "data" / facts["ply_file_path"]).points
    assert_points(cloud.positions_world, cloud.colors, z_up)
    blue = np.array([0.0, 0.0, 3.0])
    for frame, kept in zip(facts["frames"], keyframes(), strict=True):
        camera_T_world = np.linalg.inv(np.array(frame["transform_matrix"]))
        x, y, z = apply(camera_T_world, np.array([z_up(*blue)]))[0]
        pixel = frame["fl_x"] * x / -z + frame["cx"], frame["fl_y"] * -y / -z + frame["cy"]
        assert pixel == pytest.approx(kept.pinhole.project(blue[None], kept.world_T_camera)[0][0], abs=1e-6)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "data" / frame["file_path"])), kept.color)
        depth = np.asarray(Image.open(tmp_path / "data" / frame["depth_file_path"]))
        assert kept.depth_m is not None
        assert depth / 1000 == pytest.approx(kept.depth_m, abs=5.1e-4)


def test_nerfstudio_up_is_z() -> None:
    up_of_camera = nerfstudio_pose(np.eye(4))[:3, 1]
    assert up_of_camera == pytest.approx((0, 0, 1))


def test_a_camera_path_is_read_back_as_it_was(tmp_path: Path) -> None:
    export_world(tmp_path / "path", snapshot(), keyframes=keyframes(), format_name="cameras")
    poses = read_trajectory(tmp_path / "path" / "w2c.txt")
    assert poses == pytest.approx(np.stack([k.world_T_camera for k in keyframes()]), abs=1e-9)
    values = [float(v) for v in (tmp_path / "path" / "intrinsics.txt").read_text().split()]
    assert values == pytest.approx(keyframes()[0].pinhole.normalized())


def test_las_comes_back_with_our_axes(tmp_path: Path) -> None:
    pytest.importorskip("laspy")
    export_world(tmp_path / "world.las", snapshot())
    back = read_las(tmp_path / "world.las").points
    assert_points(back.positions_world, back.colors, as_it_is)
    order = [int(np.flatnonzero((back.colors == c).all(axis=1))[0]) for c in COLORS]
    assert back.priority[order].tolist() == [1 << 6 | 5, 2 << 6, 3 << 6]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_progress_rises_to_one_and_nothing_else_is_left(tmp_path: Path, name: str) -> None:
    if name == "e57":
        pytest.importorskip("pye57")
    if name == "laz":
        pytest.importorskip("lazrs")
    if name in ("las", "laz"):
        pytest.importorskip("laspy")
    shares: list[float] = []
    target = tmp_path / f"world{FORMATS[name].suffix}"
    export_world(target, snapshot(), keyframes=keyframes(), format_name=name, progress=shares.append)
    assert shares == sorted(shares)
    assert name == "cameras" or shares[-1] == 1.0
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match="new or empty"):
        export_world(tmp_path, snapshot(), keyframes=keyframes(), format_name="colmap")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(("name", "file"), [("gaussians", "x.las"), ("betamax", "x.ply"), ("", "x.txt"), ("", "x")])
def test_unknown_formats_are_named(tmp_path: Path, name: str, file: str) -> None:
    with pytest.raises(ExportError, match="expected"):
        export_world(tmp_path / file, snapshot(), keyframes=keyframes(), format_name=name)


def test_cameras_of_a_world_without_keyframes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="keyframes"):
        export_world(tmp_path / "model", snapshot(), format_name="colmap")
