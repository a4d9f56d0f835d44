"""Point clouds: what goes out comes back, opens elsewhere with right axes, and any bytes are safe."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spatia.saves.errors import ExportError, SourceError
from spatia.saves.exports import export_world
from spatia.saves.ply import read_ply, write_ply
from spatia.saves.sources import load_source
from spatia.world.memory import MemorySnapshot, SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def corner() -> PointBatch:
    """An asymmetrical scene: red to the right, green below, blue ahead."""
    positions = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 3]], np.float32)
    priority = [
        priority_of(PointClass.INVENTED, 5),
        priority_of(PointClass.ESTIMATED),
        priority_of(PointClass.OBSERVED),
    ]
    return PointBatch(
        positions,
        np.array([RED, GREEN, BLUE], np.uint8),
        np.array([1, 7, 15], np.uint8),
        np.array(priority, np.uint8),
        np.array([1, 2, 3], np.uint32),
    )


def snapshot() -> MemorySnapshot:
    memory = SpatialMemory(0.01)
    memory.insert(corner())
    return memory.snapshot()


def test_points_come_back(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", corner())
    back = read_ply(tmp_path / "a.ply")
    for name in ("positions_world", "colors", "weights", "priority"):
        assert np.array_equal(getattr(back.points, name), getattr(corner(), name)), name
    assert back.metric
    assert back.note == ""


def test_a_cloud_that_is_not_metric_says_so(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", corner(), metric=False)
    assert not read_ply(tmp_path / "a.ply").metric


def test_open3d_sees_y_up_and_the_right_colours(tmp_path: Path) -> None:
    open3d = pytest.importorskip("open3d", reason="Open3D or a library of its is not installed", exc_type=ImportError)
    write_ply(tmp_path / "a.ply", corner())
    cloud = open3d.io.read_point_cloud(str(tmp_path / "a.ply"))
    assert np.asarray(cloud.points).tolist() == [[1, 0, 0], [0, -2, 0], [0, 0, -3]]
    assert np.array_equal(np.rint(np.asarray(cloud.colors) * 255), corner().colors)


def test_trimesh_sees_y_up_and_the_right_colours(tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
    write_ply(tmp_path / "a.ply", corner())
    cloud = trimesh.load(tmp_path / "a.ply")
    assert np.asarray(cloud.vertices).tolist() == [[1, 0, 0], [0, -2, 0], [0, 0, -3]]
    assert np.array_equal(np.asarray(cloud.colors)[:, :3], corner().colors)


def test_a_world_is_exported_chunk_by_chunk_with_progress(tmp_path: Path) -> None:
    shares: list[float] = []
    export_world(tmp_path / "a.ply", snapshot(), progress=shares.append)
    back = read_ply(tmp_path / "a.ply").points
    assert np.array_equal(back.positions_world, snapshot().points().positions_world)
    assert np.array_equal(back.colors, snapshot().points().colors)
    assert shares == sorted(shares)
    assert (len(shares), shares[-1]) == (3, 1.0)


def test_an_export_replaces_an_older_one(tmp_path: Path) -> None:
    export_world(tmp_path / "a.ply", snapshot())
    export_world(tmp_path / "a.ply", snapshot(), metric=False)
    assert not read_ply(tmp_path / "a.ply").metric


def test_an_export_never_overwrites_another_file(tmp_path: Path) -> None:
    (tmp_path / "a.ply").write_text("my diary")
    with pytest.raises(ExportError, match="another file"):
        export_world(tmp_path / "a.ply", snapshot())
    assert (tmp_path / "a.ply").read_text() == "my diary"


@pytest.mark.parametrize("name", ["a.obj", "a", "a.spatia"])
def test_an_unknown_ending_lists_the_choices(tmp_path: Path, name: str) -> None:
    with pytest.raises(ExportError, match=r"\.ply \(point cloud\)"):
        export_world(tmp_path / name, snapshot())


def test_an_empty_world_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="an empty one"):
        export_world(tmp_path / "a.ply", SpatialMemory(0.01).snapshot())
    assert not list(tmp_path.iterdir())


def test_an_export_into_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="a folder that exists"):
        export_world(tmp_path / "no" / "a.ply", snapshot())


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_world(tmp_path / "a.ply", snapshot(), progress=stop)
    assert not list(tmp_path.iterdir())


# Files of others


def ascii_ply(header: str, body: str) -> bytes:
    return f"ply\nformat ascii 1.0\n{header}end_header\n{body}".encode()


XYZ = "property float x\nproperty float y\nproperty float z\n"
RGB = "property uchar red\nproperty uchar green\nproperty uchar blue\n"


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_foreign_cloud_is_taken_as_written_and_said(tmp_path: Path) -> None:
    path = written(tmp_path / "a.ply", ascii_ply(f"element vertex 2\n{XYZ}{RGB}", "1 2 3 9 8 7\n4 5 6 1 2 3\n"))
    source = load_source(path)
    assert (source.kind, source.metric, len(source.frames)) == ("points", False, 0)
    assert source.points is not None
    assert source.points.positions_world.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert source.points.colors.tolist() == [[9, 8, 7], [1, 2, 3]]
    assert "axes taken as" in source.note
    assert "no unit" in source.note


def test_any_order_of_properties_is_read(tmp_path: Path) -> None:
    header = "element vertex 1\nproperty uchar blue\nproperty double z\nproperty uchar red\nproperty float x\n"
    header += "property uchar green\nproperty float y\nproperty int label\n"
    cloud = read_ply(written(tmp_path / "a.ply", ascii_ply(header, "3 0.3 1 0.1 2 0.2 77\n"))).points
    assert np.allclose(cloud.positions_world, [[0.1, 0.2, 0.3]])
    assert cloud.colors.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("order", ["little", "big"])
def test_both_byte_orders_are_read(tmp_path: Path, order: str) -> None:
    mark = "<" if order == "little" else ">"
    record = np.array([(1.5, -2.5, 3.5, 10, 20, 30)], f"{mark}f4,{mark}f4,{mark}f4,u1,u1,u1")
    header = f"ply\nformat binary_{order}_endian 1.0\nelement vertex 1\n{XYZ}{RGB}end_header\n"
    cloud = read_ply(written(tmp_path / "a.ply", header.encode() + record.tobytes())).points
    assert cloud.positions_world.tolist() == [[1.5, -2.5, 3.5]]
    assert cloud.colors.tolist() == [[10, 20, 30]]


def test_open3ds_own_file_is_read(tmp_path: Path) -> None:
    open3d = pytest.importorskip("open3d", reason="Open3D or a library of its is not installed", exc_type=ImportError)
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(corner().positions_world.astype(float)))
    cloud.colors = open3d.utility.Vector3dVector(corner().colors / 255.0)
    for as_text in (False, True):
        open3d.io.write_point_cloud(str(tmp_path / "a.ply"), cloud, write_ascii=as_text)
        back = read_ply(tmp_path / "a.ply").points
        assert np.array_equal(back.positions_world, corner().positions_world)
        assert np.array_equal(back.colors, corner().colors)


def test_faces_and_elements_around_the_vertices_are_passed_over(tmp_path: Path) -> None:
    header = f"element camera 1\nproperty float a\nelement vertex 1\n{XYZ}element face 1\n"
    header += "property list uchar int vertex_indices\n"
    cloud = read_ply(written(tmp_path / "a.ply", ascii_ply(header, "9\n1 2 3\n3 0 0 0\n"))).points
    assert cloud.positions_world.tolist() == [[1, 2, 3]]


def test_float_colours_are_scaled_and_missing_ones_grey(tmp_path: Path) -> None:
    floats = RGB.replace("uchar", "float")
    path = written(tmp_path / "a.ply", ascii_ply(f"element vertex 1\n{XYZ}{floats}", "0 0 1 0 0.5 1\n"))
    assert read_ply(path).points.colors.tolist() == [[0, 128, 255]]
    path = written(tmp_path / "a.ply", ascii_ply(f"element vertex 1\n{XYZ}", "0 0 1\n"))
    assert read_ply(path).points.colors.tolist() == [[180, 180, 180]]
    assert "grey" in read_ply(path).note


def test_gaussians_show_their_base_colour(tmp_path: Path) -> None:
    header = f"element vertex 1\n{XYZ}" + "".join(f"property float f_dc_{i}\n" for i in range(3))
    path = written(tmp_path / "a.ply", ascii_ply(header, "0 0 1 0 1.7724538509 -1.7724538509\n"))
    assert read_ply(path).points.colors.tolist() == [[128, 255, 0]]


def test_points_that_are_not_finite_are_left_out_and_said(tmp_path: Path) -> None:
    path = written(tmp_path / "a.ply", ascii_ply(f"element vertex 2\n{XYZ}", "nan 0 0\n1 2 3\n"))
    cloud = read_ply(path)
    assert cloud.points.positions_world.tolist() == [[1, 2, 3]]
    assert "1 points left out" in cloud.note


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "an empty file"),
        (b"hello", "does not begin with 'ply'"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\n", "none"),
        (b"ply\nelement vertex 1\n" + XYZ.encode() + b"end_header\n1 2 3\n", "none"),
        (b"ply\nformat ascii 2.0 x y\nend_header\n", "the line"),
        (ascii_ply("element vertex -4\n", ""), "the line"),
        (ascii_ply("element vertex 99999999999999\n", ""), "the line"),
        (ascii_ply("element face 1\nproperty float a\n", "1\n"), "face"),
        (ascii_ply(f"element vertex 0\n{XYZ}", ""), "none"),
        (ascii_ply("element vertex 1\nproperty float x\nproperty float y\n", "1 2\n"), "x y"),
        (ascii_ply("element vertex 1\nproperty list uchar float x\n", "1 2\n"), "lists"),
        (ascii_ply(f"element vertex 1\n{XYZ}property float x\n", "1 2 3 4\n"), "x y z x"),
        (ascii_ply(f"element vertex 400000000\n{XYZ}", "1 2 3\n"), "cut off"),
        (ascii_ply(f"element vertex 3\n{XYZ}", "1 2 3\n1 2 3 4 5 6 7\n"), ""),
        (ascii_ply(f"element vertex 3\n{XYZ}", "1 2 3\n1 2 3      \n"), "2 lines"),
        (ascii_ply(f"element vertex 1\n{XYZ}", "one two three\n"), ""),
        (ascii_ply(f"element vertex 1\n{XYZ}", "nan nan nan\n"), "none"),
        (ascii_ply(f"element vertex 1\n{XYZ}{RGB}", "1 2 3 999 0 0\n"), "values beyond"),
    ],
)
def test_a_wrong_file_is_refused_with_what_was_found(tmp_path: Path, content: bytes, got: str) -> None:
    with pytest.raises(SourceError) as caught:
        read_ply(written(tmp_path / "a.ply", content))
    assert 2 <= len(str(caught.value).splitlines()) <= 3
    assert got in str(caught.value)


def test_a_cut_off_binary_file_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex 400000000\n{XYZ}end_header\n"
    with pytest.raises(SourceError, match="cut off"):
        read_ply(written(tmp_path / "a.ply", header.encode() + bytes(100)))


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_spoilt_files_are_refused_or_read(tmp_path: Path, data: st.DataObject) -> None:
    write_ply(tmp_path / "a.ply", corner())
    spoilt = bytearray((tmp_path / "a.ply").read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "b.ply").write_bytes(bytes(spoilt[: data.draw(st.integers(0, len(spoilt)))]))
    try:
        cloud = read_ply(tmp_path / "b.ply")
    except SourceError:
        return
    assert len(cloud.points) <= 3
