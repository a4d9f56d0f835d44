"""The command line's way with mistakes. Each runs the command in this process."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from spatia.runtime.main import run
from spatia.runtime.world import open as open_world
from spatia.tests.runtime.tiny import tiny_world

TINY = b"not a picture"


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.strip().splitlines()


def _rollout(out: Path, *arguments: str) -> list[str]:
    return ["rollout", *arguments, "--out", str(out)]


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["rollout"],
        ["rollout", "garage"],
        ["rollout", "garage", "--out"],
        ["walk", "--generator", "nobody"],
        ["walk", "--size", "13x13", "--headless"],
        ["walk", "--memory-limit", "lots", "--headless"],
        ["walk", "nowhere.spatia"],
        ["info", "nowhere.spatia"],
        ["export", "nowhere.spatia", "a.ply"],
        ["info"],
    ],
)
def test_bad_usage_is_told_in_three_lines_at_most(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    lines = _lines(capsys)
    assert 1 <= len(lines) <= 3
    assert not any(c in "".join(lines) for c in "╭│╰")
    assert "Traceback" not in "".join(lines)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["garage", "--actions", "fly-3"], "fly"),
        (["garage", "--actions", "w-3", "--path", "x.txt"], "one of"),
        (["nowhere.jpg", "--actions", "w-3"], "nowhere.jpg"),
        (["attic", "--actions", "w-3"], "attic"),
        (["garage", "--actions", "w-3", "--frames", "9"], "4"),
        (["garage", "--path", "nowhere.txt"], "nowhere.txt"),
        (["garage", "--actions", "w-3", "--depth", "d.png"], "sample"),
    ],
)
def test_a_rollout_names_what_is_wrong_and_writes_nothing(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run(_rollout(out, *arguments)) == 2
    text = "\n".join(_lines(capsys))
    assert named in text
    assert not out.exists()


def test_a_file_that_is_no_picture_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(TINY)
    assert run(_rollout(tmp_path / "out", str(photo), "--actions", "w-2")) == 2
    assert "photo.jpg" in "\n".join(_lines(capsys))


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert run(_rollout(tmp_path, "garage", "--actions", "w-2")) == 2
    assert "thesis.txt" in "\n".join(_lines(capsys))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("row", "named"),
    [("[[1, 0, 0], [0, 1, 0]]", "line 1"), ("[[NaN,0,0,0],[0,1,0,0],[0,0,1,0]]", "line 1"), ("", "empty")],
)
def test_a_path_that_is_no_path_is_named(
    row: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w2c.txt"
    path.write_text(row)
    assert run(_rollout(tmp_path / "out", "garage", "--path", str(path))) == 2
    assert named in "\n".join(_lines(capsys)).lower()


def _heed_interrupts() -> None:
    """Programs that a shell starts in the background ignore Ctrl-C, and so would their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_rollout_saves_and_leaves_with_130(signal_number: int, tmp_path: Path) -> None:
    out, source = tmp_path / "out", tmp_path / "tiny.spatia"
    tiny_world().save(source)
    command = [sys.executable, "-m", "spatia.runtime.main", *_rollout(out, str(source), "--actions", "stay-100000")]
    command += ["--generator", "none", "--size", "64x48"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_interrupts) as process:
        try:
            pause = threading.Event()
            while not list(out.glob(".*video*")) and process.poll() is None:
                pause.wait(0.1)
            process.send_signal(signal_number)
            assert process.communicate(timeout=60)[1].strip() == "interrupted"
        finally:
            process.kill()
    assert process.returncode == 130
    assert [p.name for p in out.iterdir() if not p.name.startswith(".")] == ["world.spatia"]
    assert open_world(out / "world.spatia", read_only=True).walk.tick >= 0


def test_help_is_no_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert "rollout" in capsys.readouterr().out
