"""The commands about a world's history and health, as a user runs them."""

import json
from pathlib import Path

import numpy as np
import pytest
import spatia
from PIL import Image
from spatia.runtime.main import run
from spatia.runtime.world import World
from spatia.saves.store import WorldFile
from spatia.tests.runtime.tiny import tiny_world
from spatia.world.points import PointBatch


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tiny_world().save(tmp_path / "home.spatia")
    return tmp_path / "home.spatia"


def edit(path: Path, x: float) -> None:
    """Add a small block of 125 voxels."""
    world: World = spatia.open(path)
    corner = np.floor(np.array([x, -0.2, 2.0]) / 0.04)
    grid = np.stack(np.meshgrid(*[np.arange(5)] * 3), -1).reshape(-1, 3)
    grid = ((corner + grid + 0.5) * 0.04).astype(np.float32)
    world.memory.insert(PointBatch.uniform(grid, np.full((125, 3), 99, np.uint8), priority=192, keyframe=1))
    world.save(path)
    world.close()


def output(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    capsys.readouterr()
    assert run([str(a) for a in arguments]) == 0
    return capsys.readouterr().out


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    capsys.readouterr()
    assert run([str(a) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert 1 <= len(error.strip().splitlines()) <= 3
    return error


def test_a_snapshot_is_taken_listed_and_gone_back_to(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output(capsys, "snapshot", path, "start")
    edit(path, 0.5)
    assert "start" in output(capsys, "log", path)
    assert "kept as #2" in output(capsys, "checkout", path, "start")
    listed = json.loads(output(capsys, "log", path, "--all", "--json"))
    assert [s["note"] for s in listed["snapshots"]] == ["before checkout of start", ""]
    assert listed["branch"] == "from-start"


def test_a_diff_counts_and_draws_what_changed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output(capsys, "snapshot", path, "start")
    edit(path, 0.5)
    picture = path.parent / "diff.png"
    facts = json.loads(output(capsys, "diff", f"{path}@start", path, "--json", "--picture", picture))
    assert facts["points"]["added"] == 125
    assert facts["points"]["removed"] == 0
    assert sum(c["added"] for c in facts["chunks"]) == 125
    color = np.asarray(Image.open(picture)).astype(int)
    green = (color[..., 1] > color[..., 0] + 60) & (color[..., 1] > color[..., 2] + 60)
    assert green[:, :640].sum() > 500  # seen from where the walk stands
    assert green[:, 640:].sum() > 500  # and from above
    back = json.loads(output(capsys, "diff", path, "start", "--json"))
    assert back["points"]["removed"] == 125


def test_worlds_in_two_files_are_compared(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = path.with_name("other.spatia")
    other.write_bytes(path.read_bytes())
    edit(other, 0.5)
    assert "125 added, 0 removed" in output(capsys, "diff", path, other)


def test_branches_are_made_listed_and_merged(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output(capsys, "branch", path, "left")
    edit(path, -9.0)
    output(capsys, "checkout", path, "main")
    edit(path, 9.0)
    assert output(capsys, "branch", path).splitlines()[1].startswith("* main")
    assert " added" in output(capsys, "merge", path, "left")
    assert "nothing to merge" in output(capsys, "merge", path, "left")
    world = spatia.open(path, read_only=True)
    assert world.memory.num_points == tiny_world().memory.num_points + 250


def test_a_conflict_is_refused_with_the_chunks_listed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output(capsys, "branch", path, "left")
    edit(path, 9.0)
    output(capsys, "checkout", path, "main")
    edit(path, 9.1)
    capsys.readouterr()
    assert run(["merge", str(path), "left"]) == 2
    told = capsys.readouterr()
    assert told.out.startswith("chunk ")
    assert "--prefer" in told.err
    assert "theirs taken" in output(capsys, "merge", path, "left", "--prefer", "theirs")


def test_damage_is_reported_and_repaired(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no damage" in output(capsys, "check", path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 2
    path.write_bytes(data)
    assert "--repair" in refusal(capsys, "check", path)
    assert "kept as" in output(capsys, "check", path, "--repair")
    assert "no damage" in output(capsys, "check", path)
    spatia.open(path).close()


def test_gc_gives_space_back(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output(capsys, "branch", path, "left")
    edit(path, 9.0)
    output(capsys, "checkout", path, "main")
    output(capsys, "branch", path, "left", "--delete")
    assert "freed" in output(capsys, "gc", path)
    with WorldFile.open(path, read_only=True) as file:
        assert list(file.branches().tips) == ["main"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("snapshot", "WORLD", "now"),
        ("checkout", "WORLD", "cellar"),
        ("branch", "WORLD", "main"),
        ("merge", "WORLD", "cellar"),
        ("merge", "WORLD", "main", "--prefer", "mine"),
        ("diff", "WORLD@cellar", "WORLD"),
        ("diff", "WORLD", "WORLD", "--picture", "x.jpg"),
        ("check", "missing.spatia"),
        ("gc", "missing.spatia"),
    ],
)
def test_mistakes_are_told_in_three_lines(
    path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    refusal(capsys, *(a.replace("WORLD", str(path)) for a in arguments))
