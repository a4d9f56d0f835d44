"""A window that tells each intent on a line of its standard output; quits when asked to. Run by the window tests."""

import dataclasses
import json
import sys

import numpy as np
import pygame
from spatia.input.devices import open_devices
from spatia.input.intents import Intent
from spatia.input.keymap import DEFAULT_FILE, load_keymap
from spatia.renderer.gl import GLRenderer
from spatia.renderer.present import open_presenter
from spatia.world.camera import Pinhole
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointBatch


def say(**facts) -> None:
    print(json.dumps(facts), flush=True)


def draw_in_window(presenter) -> list[list[int]]:
    """Draw a wall with the window's own OpenGL and show its texture, then with another context; the middle pixels."""
    memory = SpatialMemory(0.05)
    x, y = np.meshgrid(np.arange(-2, 2, 0.05), np.arange(-2, 2, 0.05))
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, 2.0)], axis=1).astype(np.float32)
    memory.insert(PointBatch.uniform(points, np.full((x.size, 3), 77, np.uint8), priority=192, keyframe=1))
    renderer = GLRenderer(presenter.ctx)
    renderer.update(memory.snapshot())
    camera = Pinhole.from_fov(320, 200, 1.0)
    presenter.present(renderer.draw(np.eye(4), camera))
    inside = presenter.read()[200, 320].tolist()
    renderer.close()
    renderer = GLRenderer()
    renderer.update(memory.snapshot())
    presenter.present(renderer.render(np.eye(4), camera).color // 7)
    beside = presenter.read()[200, 320].tolist()
    renderer.close()
    return [inside, beside]


def main() -> None:
    """Left half red, right half blue, a green overlay in the middle."""
    presenter = open_presenter("spatia window test", (640, 400))
    devices = open_devices(load_keymap(DEFAULT_FILE), presenter.size)
    picture = np.zeros((100, 160, 3), np.uint8)
    picture[:, :80, 0] = picture[:, 80:, 2] = 255
    overlay = np.zeros((400, 640, 4), np.uint8)
    overlay[180:220, 300:340] = (0, 255, 0, 255)
    presenter.present(picture, overlay)
    shown = presenter.read()
    pixels = [shown[y, x].tolist() for x, y in ((100, 200), (500, 200), (320, 200))]
    drawn = draw_in_window(presenter)
    window = pygame.display.get_wm_info()["window"]
    say(
        ready=True,
        window=window,
        gl=presenter.has_gl,
        size=presenter.size,
        scale=presenter.scale,
        pixels=pixels,
        drawn=drawn,
    )
    last = Intent()
    while "quit" not in last.commands:
        devices.handle(presenter.events())
        intent = devices.intent()
        if intent != last:
            facts = dataclasses.asdict(intent)
            say(**facts, captured=devices.is_captured, prompt=devices.prompt_text, size=presenter.drawable_size)
        last = intent
        presenter.present(picture, overlay)
    presenter.close()
    say(closed=True)


if __name__ == "__main__":
    sys.exit(main())
