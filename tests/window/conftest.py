"""A virtual display with OpenGL, and real key and mouse events by xdotool."""

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

NEEDED = ("Xvfb", "xdotool")


@pytest.fixture(scope="session")
def display() -> Iterator[dict[str, str]]:
    """A virtual screen of 1280x800; gives the environment that programs need to open windows on it."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}; on Debian: apt-get install xvfb xdotool")
    read_end, write_end = os.pipe()
    command = [
        "Xvfb",
        "-displayfd",
        str(write_end),
        "-screen",
        "0",
        "1280x800x24",
        "+extension",
        "GLX",
        "-nolisten",
        "tcp",
    ]
    server = subprocess.Popen(command, pass_fds=[write_end], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write_end)
    with os.fdopen(read_end) as announced:
        number = announced.readline().strip()  # written once the server takes clients; empty if it failed
    try:
        if not number:
            pytest.fail("Xvfb did not start")
        yield {**os.environ, "DISPLAY": f":{number}", "SDL_VIDEODRIVER": "x11", "PYGAME_HIDE_SUPPORT_PROMPT": "1"}
    finally:
        server.terminate()
        server.wait(timeout=10)


@pytest.fixture
def xdotool(display):
    """Sends real events: ``xdotool("key", "w")``; gives what it printed."""

    def send(*arguments: str | int) -> str:
        command = ["xdotool", *(str(a) for a in arguments)]
        done = subprocess.run(command, env=display, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout.strip()

    return send
