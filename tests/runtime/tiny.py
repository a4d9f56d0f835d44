"""A small made-up place for the runtime's tests: a checkered floor and a wall three metres ahead."""

import threading

import numpy as np
from spatia.input.intents import Intent
from spatia.runtime.session import Session
from spatia.runtime.world import World, create
from spatia.saves.sources import Source, SourceFrame
from spatia.world.camera import Pinhole

EYE_HEIGHT_M = 1.2
WALL_M = 3.0
SIZE = (96, 72)


def tiny_frame() -> SourceFrame:
    """What a camera 1.2 m above the floor sees."""
    pinhole = Pinhole.from_fov(*SIZE, float(np.radians(70.0)))
    rays = pinhole.rays().astype(np.float64)
    with np.errstate(divide="ignore"):
        floor = np.where(rays[..., 1] > 1e-6, EYE_HEIGHT_M / rays[..., 1], np.inf)
    depth = np.minimum(floor, WALL_M).astype(np.float32)
    points = rays * depth[..., None]
    checker = (np.floor(points[..., 0] * 4) + np.floor(points[..., 1] * 4) + np.floor(points[..., 2] * 4)) % 2
    color = np.where((floor < WALL_M)[..., None], (90, 120, 160), (190, 150, 100)) + checker[..., None] * 40
    return SourceFrame(color.astype(np.uint8), depth, pinhole, np.eye(4), None)


def tiny_source() -> Source:
    """One frame with depth."""
    return Source(name="tiny", kind="sample", frames=(tiny_frame(),), metric=True, note="made up")


def tiny_world(seed: int = 0) -> World:
    """A world of 4 cm voxels."""
    return create(tiny_source(), seed=seed, voxel_size_m=0.04)


def walk_until_done(session: Session) -> None:
    """Stand still until a clip is done; its worker process has to start first."""
    pace = threading.Event()
    for _ in range(6000):
        session.tick(Intent(), plan_now=True)
        if session.status.outcomes.get("done"):
            return
        pace.wait(0.01)
    raise AssertionError(f"no clip was done: {session.queue.state}, {session.queue.last_error}")
