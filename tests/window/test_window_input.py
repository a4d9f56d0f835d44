"""Real key and mouse events in a real window on a virtual display."""

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.window

APP = Path(__file__).with_name("window_app.py")
WAIT_S = 60.0


class App:
    """The window's process and what it says."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen([sys.executable, str(APP)], env=environment, stdout=subprocess.PIPE, text=True)
        self.said: dict = {}
        self._lines: queue.Queue[dict | None] = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True, name="window-lines")
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(json.loads(line))
        self._lines.put(None)

    def wait_for(self, is_it: Callable[[dict], object]) -> dict:
        """The next line that is the one."""
        while True:
            line = self._lines.get(timeout=WAIT_S)
            if line is None:
                pytest.fail("the window's process ended")
            if is_it(line):
                return line


@contextlib.contextmanager
def running(display) -> Iterator[App]:
    """An app that is ended in any case."""
    app = App(display)
    try:
        yield app
    finally:
        app.process.kill()
        app.process.wait(timeout=10)
        app.reader.join(timeout=10)


@pytest.fixture(scope="module")
def app(display) -> Iterator[App]:
    """One window for all tests that leave it open."""
    with running(display) as app:
        app.said = app.wait_for(lambda line: line.get("ready"))
        yield app


@pytest.fixture
def ready(app, xdotool) -> dict:
    """What the app said when its window was shown; the window has the keyboard and the pointer."""
    take_focus(app, xdotool)
    return app.said


def take_focus(app: App, xdotool) -> None:
    """Give the window the keyboard and put the pointer in its middle."""
    xdotool("windowmap", "--sync", app.said["window"])
    xdotool("windowfocus", "--sync", app.said["window"])
    xdotool("mousemove", "--window", app.said["window"], 320, 200)


def test_the_window_shows_picture_and_overlay_through_opengl(ready):
    assert ready["gl"]
    assert ready["pixels"] == [[255, 0, 0], [0, 0, 255], [0, 255, 0]]
    assert ready["scale"] == 1.0


def test_a_picture_drawn_with_the_windows_opengl_is_shown_without_leaving_it(ready):
    assert ready["drawn"][0] == [77, 77, 77]


def test_a_renderer_with_its_own_opengl_does_not_disturb_the_windows(ready):
    assert ready["drawn"][1] == [11, 11, 11]


def test_a_key_walks_while_it_is_down(app, ready, xdotool):
    xdotool("keydown", "w")
    app.wait_for(lambda line: line.get("forward") == 1.0)
    xdotool("keyup", "w")
    app.wait_for(lambda line: line.get("forward") == 0.0)


def test_arrows_turn_and_function_keys_command(app, ready, xdotool):
    xdotool("keydown", "Right")
    app.wait_for(lambda line: line.get("yaw") == 1.0)
    xdotool("keyup", "Right")
    xdotool("key", "F5")
    app.wait_for(lambda line: line.get("commands") == ["save"])


def test_the_mouse_looks_after_a_click_and_until_escape(app, ready, xdotool):
    xdotool("mousemove_relative", 20, 0)
    xdotool("click", 1)
    xdotool("key", "F1")
    line = app.wait_for(lambda line: "help" in line.get("commands", ()))
    assert line["captured"]
    turned = 0.0
    while turned < 0.9 * 40 * 0.0022:
        xdotool("mousemove_relative", 40, 0)
        turned += app.wait_for(lambda line: line.get("look_yaw_rad", 0) > 0)["look_yaw_rad"]
    xdotool("key", "Escape")
    assert not app.wait_for(lambda line: "release" in line.get("commands", ()))["captured"]


def test_losing_the_focus_lets_go_of_keys_and_mouse(app, ready, xdotool):
    xdotool("click", 1)
    xdotool("keydown", "w")
    assert app.wait_for(lambda line: line.get("forward") == 1.0)["captured"]
    xdotool("windowunmap", ready["window"])
    assert not app.wait_for(lambda line: line.get("forward") == 0.0)["captured"]
    xdotool("keyup", "w")


def test_a_prompt_can_be_typed(app, ready, xdotool):
    xdotool("key", "t")
    xdotool("type", "a red door")
    xdotool("key", "Return")
    line = app.wait_for(lambda line: "prompt" in line.get("commands", ()))
    assert line["text"] == "a red door"


def test_the_window_follows_its_new_size(app, ready, xdotool):
    xdotool("windowsize", "--sync", ready["window"], 800, 500)
    xdotool("key", "F1")
    assert app.wait_for(lambda line: "help" in line.get("commands", ()))["size"] == [800, 500]


def test_escape_twice_ends_the_program(display, xdotool):
    with running(display) as app:
        app.said = app.wait_for(lambda line: line.get("ready"))
        take_focus(app, xdotool)
        xdotool("key", "Escape")
        app.wait_for(lambda line: "release" in line.get("commands", ()))
        xdotool("key", "Escape")
        app.wait_for(lambda line: line.get("closed"))
        assert app.process.wait(timeout=WAIT_S) == 0
