"""Scanners' point clouds as sources: axes, colours, far coordinates, and files that are not what they say."""

from pathlib import Path

import numpy as np
import pytest
from spatia.runtime.world import create
from spatia.saves.errors import SourceError
from spatia.saves.exports import export_world
from spatia.saves.scans import read_las, read_scan
from spatia.saves.sources import load_source
from spatia.tests.saves.test_exports import as_it_is, assert_points, snapshot

NEEDS = {".las": "laspy", ".laz": "lazrs", ".e57": "pye57"}


@pytest.mark.parametrize("suffix", sorted(NEEDS))
def test_an_exported_world_comes_back_as_a_source(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip(NEEDS[suffix])
    export_world(tmp_path / f"world{suffix}", snapshot())
    source = load_source(tmp_path / f"world{suffix}")
    assert source.points is not None
    assert source.metric
    assert_points(source.points.positions_world, source.points.colors, as_it_is)


@pytest.mark.parametrize("suffix", sorted(NEEDS))
def test_a_world_is_made_of_a_scan(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip(NEEDS[suffix])
    export_world(tmp_path / f"world{suffix}", snapshot())
    world = create(tmp_path / f"world{suffix}")
    points = world.memory.points()
    assert_points(points.positions_world, points.colors, as_it_is)


def foreign_las(path: Path, xyz: np.ndarray, colors: np.ndarray | None) -> None:
    """As a scanner's software writes it: no class of ours, colours if any."""
    laspy = pytest.importorskip("laspy")
    header = laspy.LasHeader(point_format=0 if colors is None else 2, version="1.2")
    header.scales, header.offsets = np.full(3, 0.001), np.floor(xyz.min(axis=0))
    las = laspy.LasData(header)
    las.x, las.y, las.z = xyz.T
    if colors is not None:
        las.red, las.green, las.blue = colors.T
    las.write(path)


def test_coordinates_of_a_map_are_moved_to_the_origin_and_told(tmp_path: Path) -> None:
    xyz = np.array([[500_000.0, 4_649_776.0, 100.0], [500_010.0, 4_649_780.5, 103.25]])
    foreign_las(tmp_path / "map.las", xyz, None)
    cloud = read_las(tmp_path / "map.las")
    assert "moved by -500005 -4649778" in cloud.note
    assert "grey" in cloud.note
    across = np.diff(cloud.points.positions_world.astype(np.float64), axis=0)[0]
    assert across == pytest.approx((10.0, -3.25, 4.5), abs=2e-3)


@pytest.mark.parametrize("factor", [1, 257])
def test_colours_of_eight_or_sixteen_bits_are_the_same(tmp_path: Path, factor: int) -> None:
    foreign_las(tmp_path / "a.las", np.eye(3), np.array([[255, 0, 7], [1, 2, 3], [9, 80, 200]]) * factor)
    assert read_las(tmp_path / "a.las").points.colors.tolist() == [[255, 0, 7], [1, 2, 3], [9, 80, 200]]


@pytest.mark.parametrize("at", [94, 96, 107, 247])
def test_sizes_that_do_not_fit_the_file_are_refused_before_it_is_read(tmp_path: Path, at: int) -> None:
    pytest.importorskip("laspy")
    export_world(tmp_path / "a.las", snapshot())
    data = bytearray((tmp_path / "a.las").read_bytes())
    data[at : at + 4] = b"\xff\xff\xff\x7f"
    (tmp_path / "a.las").write_bytes(data)
    if at == 107:  # the old count of points, which this version does not use
        assert len(read_las(tmp_path / "a.las").points) == 3
    else:
        with pytest.raises(SourceError, match="LAS"):
            read_las(tmp_path / "a.las")


@pytest.mark.parametrize("suffix", sorted(NEEDS))
def test_another_file_under_the_name_is_refused(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip(NEEDS[suffix])
    (tmp_path / f"a{suffix}").write_bytes(b"not a point cloud at all" * 20)
    with pytest.raises(SourceError, match="expected"):
        read_scan(tmp_path / f"a{suffix}")
