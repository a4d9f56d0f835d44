"""Camera paths and intrinsics as text."""

import json
from pathlib import Path

import numpy as np
import pytest
from spatia.saves.errors import SourceError
from spatia.saves.sources import (
    read_intrinsics,
    read_trajectory,
    resolve_intrinsics,
    write_intrinsics,
    write_trajectory,
)
from spatia.tests.saves.pictures import shared_data
from spatia.world.camera import Pinhole
from spatia.world.transforms import invert, look


def path_of(n: int = 5) -> np.ndarray:
    return np.stack([look((0.1 * i, -0.2, 0.3 * i), 0.1 * i, -0.05 * i) for i in range(n)])


def refused(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read_trajectory(path)
    message = str(caught.value)
    assert 2 <= len(message.splitlines()) <= 3
    return message


def test_a_path_comes_back(tmp_path: Path) -> None:
    write_trajectory(tmp_path / "w2c.txt", path_of())
    assert np.allclose(read_trajectory(tmp_path / "w2c.txt"), path_of(), atol=1e-14)


def test_rows_are_world_to_camera(tmp_path: Path) -> None:
    (tmp_path / "w2c.txt").write_text("1 0 0 -5 0 1 0 0 0 0 1 0")
    assert read_trajectory(tmp_path / "w2c.txt")[0, :3, 3].tolist() == [5, 0, 0]


@pytest.mark.parametrize("rows", [3, 4])
@pytest.mark.parametrize("style", ["json", "flat json", "blanks", "commas"])
def test_each_way_of_writing_a_matrix_is_read(tmp_path: Path, rows: int, style: str) -> None:
    lines = []
    for matrix in invert(path_of()):
        part = matrix[:rows]
        flat = part.ravel().tolist()
        lines.append(
            {
                "json": json.dumps(part.tolist()),
                "flat json": json.dumps(flat),
                "blanks": " ".join(map(repr, flat)),
                "commas": ", ".join(map(repr, flat)),
            }[style]
        )
    (tmp_path / "w2c.txt").write_text("# comment\n\n" + "\r\n".join(lines) + "\n\n")
    assert np.allclose(read_trajectory(tmp_path / "w2c.txt"), path_of(), atol=1e-14)


GOOD = "1 0 0 0 0 1 0 0 0 0 1 0\n"


@pytest.mark.parametrize(
    ("line", "got"),
    [
        ("1 0 0 0 0 1 0 0 0 0 1", "got 11 numbers"),
        ("[[1, 0], [0, 1]]", "got shape 2x2"),
        ("[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1]]", "got '[[1, 0"),
        ("[[1, 0, 0, 0], [0, 1, 0, 0", "got '[[1, 0"),
        ("forward 1 0 0", "got 'forward"),
        ("1 0 0 nan 0 1 0 0 0 0 1 0", "NaN"),
        ("[[NaN, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]", "NaN"),
        ("1 0 0 1e999 0 1 0 0 0 0 1 0", "NaN or infinity"),
        ("2 0 0 0 0 2 0 0 0 0 2 0", "not a rotation"),
        ("-1 0 0 0 0 1 0 0 0 0 1 0", "not a rotation"),
        ("1 0 0 0 0 1 0 0 0 0 1 0 0 0 1 1", "last row"),
        ("[" * 5000, "got '[[["),
    ],
)
def test_a_wrong_line_is_named_with_what_was_found(tmp_path: Path, line: str, got: str) -> None:
    (tmp_path / "w2c.txt").write_text(GOOD + GOOD + line + "\n" + GOOD)
    message = refused(tmp_path / "w2c.txt")
    assert "w2c.txt line 3: expected" in message
    assert got in message


@pytest.mark.parametrize("content", [b"", b"\n\n# only words\n", b"\x89PNG\r\n\x1a\n\xff\xfe" * 9])
def test_a_file_without_a_path_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w2c.txt").write_bytes(content)
    refused(tmp_path / "w2c.txt")


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "w2c.txt")


@pytest.mark.parametrize(("case", "num_rows"), [("1", 193), ("2", 193), ("3", 121)])
def test_the_authors_paths_start_at_the_identity(case: str, num_rows: int) -> None:
    path = read_trajectory(shared_data(f"cases/{case}/w2c.txt"))
    assert path.shape == (num_rows, 4, 4)
    assert np.abs(path[0] - np.eye(4)).max() < 1.5e-3


# Intrinsics

CAMERA = Pinhole(48, 32, 40.0, 41.0, 23.0, 16.5)


def test_intrinsics_come_back(tmp_path: Path) -> None:
    write_intrinsics(tmp_path / "i.txt", CAMERA)
    back = read_intrinsics(tmp_path / "i.txt", 48, 32)
    assert np.allclose(back.matrix, CAMERA.matrix)


@pytest.mark.parametrize("text", ["[{} {} {} {}]", "{}, {}, {}, {}", "{}\n{}\n{}\n{}", "fx: {} fy: {} cx: {} cy: {}"])
def test_any_text_with_four_numbers_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "i.txt").write_text(text.format(*CAMERA.normalized()))
    assert np.allclose(read_intrinsics(tmp_path / "i.txt", 48, 32).matrix, CAMERA.matrix)


def test_a_pixel_matrix_is_read(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "i.txt", CAMERA.matrix)
    assert np.allclose(read_intrinsics(tmp_path / "i.txt", 48, 32).matrix, CAMERA.matrix)


def test_open3ds_pixel_centres_are_moved_by_half(tmp_path: Path) -> None:
    (tmp_path / "i.json").write_text(
        '{"width": 48, "height": 32, "intrinsic_matrix": [40, 0, 0, 0, 41, 0, 22.5, 16, 1]}'
    )
    assert read_intrinsics(tmp_path / "i.json", 48, 32) == CAMERA


def test_a_camera_for_another_size_is_scaled() -> None:
    assert resolve_intrinsics(CAMERA, 96, 64) == CAMERA.resized(96, 64)


@pytest.mark.parametrize(
    "intrinsics",
    [
        (1.0, 1.5, 0.5),
        (0.0, 1.5, 0.5, 0.5),
        (-1.0, 1.5, 0.5, 0.5),
        (1.0, 1.5, 5.0, 0.5),
        (float("nan"), 1.5, 0.5, 0.5),
        (585.0, 585.0, 320.0, 240.0),
        np.eye(4),
        [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        "no such file.txt",
        "words",
        Pinhole(100, 100, 50, 50, 50, 50),
        ["a", "b", "c", "d"],
    ],
)
def test_wrong_intrinsics_are_refused(intrinsics: object) -> None:
    with pytest.raises(SourceError) as caught:
        resolve_intrinsics(intrinsics, 48, 32)  # type: ignore[arg-type]
    assert 2 <= len(str(caught.value).splitlines()) <= 3


def test_pixels_in_place_of_normalised_numbers_are_named() -> None:
    with pytest.raises(SourceError, match="divide fx and cx by the width"):
        resolve_intrinsics((585.0, 585.0, 320.0, 240.0), 640, 480)


@pytest.mark.parametrize(
    "text", ["", "one two", "1 2 3 4 5", "nan 1 0.5 0.5", '{"intrinsic_matrix": [1, 2]}', '{"intrinsic_matrix"']
)
def test_a_wrong_intrinsics_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "i.txt").write_text(text)
    with pytest.raises(SourceError, match=r"i\.txt"):
        read_intrinsics(tmp_path / "i.txt", 48, 32)
