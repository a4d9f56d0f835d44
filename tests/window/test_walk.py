"""The walk itself in a real window: real keys move it, leaving saves it, starting again resumes it."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from spatia.runtime.world import World
from spatia.runtime.world import open as open_world
from spatia.saves.errors import SaveError
from spatia.saves.store import WorldFile

pytestmark = pytest.mark.window

WAIT_S = 120.0
PAUSE_S = 0.3


@contextlib.contextmanager
def _walking(display: dict[str, str], folder: Path, *options: str) -> Iterator[subprocess.Popen]:
    command = [
        sys.executable,
        "-m",
        "spatia.runtime.main",
        "walk",
        "--generator",
        "none",
        "--size",
        "416x240",
        *options,
    ]
    process = subprocess.Popen(command, env=display, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


def _until(is_it: Callable[[], bool], process: subprocess.Popen) -> None:
    """Ask again and again; the walk runs in another process and tells nothing."""
    pause = threading.Event()
    for _ in range(int(WAIT_S / PAUSE_S)):
        if is_it():
            return
        if process.poll() is not None:
            pytest.fail(f"the walk ended: {process.communicate()[1].decode()[-500:]}")
        pause.wait(PAUSE_S)
    pytest.fail("waited in vain")


def _saved(folder: Path) -> World | None:
    try:
        return open_world(folder / "walk" / "garage" / "world.spatia", read_only=True)
    except SaveError:
        return None


def _press(xdotool: Callable[..., str], *keys: str) -> None:
    """Send keys; while no window is open yet, nothing happens."""
    with contextlib.suppress(subprocess.CalledProcessError):
        xdotool(*keys)


def _leave(xdotool: Callable[..., str], process: subprocess.Popen) -> None:
    def press() -> bool:
        if process.poll() is None:
            _press(xdotool, "key", "Escape")
        return process.poll() is not None

    pause = threading.Event()
    for _ in range(int(WAIT_S / PAUSE_S)):
        if press():
            break
        pause.wait(PAUSE_S)
    assert process.wait(timeout=60) == 0


def test_keys_move_the_walk_and_it_is_resumed_where_it_was_left(display, xdotool, tmp_path: Path) -> None:
    with _walking(display, tmp_path) as process:
        xdotool("mousemove", 640, 400)

        def has_moved() -> bool:
            _press(xdotool, "keyup", "w", "keydown", "w", "key", "F5")
            world = _saved(tmp_path)
            return world is not None and world.walk.world_T_camera[2, 3] > 0.3

        _until(has_moved, process)
        xdotool("keyup", "w")
        _leave(xdotool, process)
    left = _saved(tmp_path)
    assert left is not None
    assert (tmp_path / "walk" / "garage" / "report.json").exists()

    with _walking(display, tmp_path) as process:

        def has_gone_on() -> bool:
            _press(xdotool, "key", "F5")
            world = _saved(tmp_path)
            return world is not None and world.walk.tick > left.walk.tick

        _until(has_gone_on, process)
        _leave(xdotool, process)
    resumed = _saved(tmp_path)
    assert resumed is not None
    assert np.linalg.norm((resumed.walk.world_T_camera - left.walk.world_T_camera)[:3, 3]) < 0.1
    assert resumed.content_hash() == left.content_hash()


def test_a_frozen_walk_writes_nothing(display, xdotool, tmp_path: Path) -> None:
    with _walking(display, tmp_path, "--frozen") as process:
        xdotool("mousemove", 640, 400)
        assert process.stdout is not None
        assert b"frozen" in process.stdout.readline()
        _leave(xdotool, process)
    assert list(tmp_path.iterdir()) == []


def test_holding_b_goes_back_and_letting_go_starts_a_branch(display, xdotool, tmp_path: Path) -> None:
    with _walking(display, tmp_path) as process:
        xdotool("mousemove", 640, 400)

        def is_ahead() -> bool:
            _press(xdotool, "keyup", "w", "keydown", "w", "key", "F5")
            world = _saved(tmp_path)
            return world is not None and world.walk.world_T_camera[2, 3] > 0.5

        _until(is_ahead, process)
        _press(xdotool, "keyup", "w")

        def has_returned() -> bool:
            _press(xdotool, "keydown", "b")
            threading.Event().wait(PAUSE_S)
            _press(xdotool, "keyup", "b", "key", "F5")
            world = _saved(tmp_path)
            return world is not None and world.walk.world_T_camera[2, 3] < 0.3

        _until(has_returned, process)
        _leave(xdotool, process)
    left = _saved(tmp_path)
    assert left is not None
    with WorldFile.open(tmp_path / "walk" / "garage" / "world.spatia", read_only=True) as file:
        branches = file.branches()
        assert branches.current.startswith("rewind-")
        assert file.load_snapshot("main").state["pose"][2, 3] > 0.5
