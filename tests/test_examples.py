"""The examples run and do what their first lines say."""

import subprocess
import sys
from pathlib import Path

import pytest
import spatia

EXAMPLES = Path(__file__).parents[1] / "examples"


def _run(name: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    out = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert out.returncode == 0, out.stderr[-2000:]
    return out.stdout


def test_every_example_is_short_and_says_what_it_shows() -> None:
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith('"""'), path.name
        assert text.count("\n") < 110, path.name


@pytest.mark.slow
def test_walking_the_garage_adds_points_and_saves(tmp_path: Path) -> None:
    out = _run("walk_garage.py", str(tmp_path))
    assert "after" in out
    saved = spatia.open(tmp_path / "garage.spatia", read_only=True)
    assert saved.walk.tick == 48
    assert (tmp_path / "garage_walk.png").stat().st_size > 1000


def test_a_photo_becomes_a_point_cloud_file(tmp_path: Path) -> None:
    out = _run("photo_to_ply.py", str(_photo(tmp_path)), str(tmp_path))
    assert "metric: False" in out
    assert (tmp_path / "world.ply").read_bytes().startswith(b"ply\n")
    assert (tmp_path / "beside.png").exists()


def _photo(folder: Path) -> Path:
    from skimage import data, io

    path = folder / "photo.png"
    io.imsave(path, data.rocket()[::2, ::2], check_contrast=False)
    return path
