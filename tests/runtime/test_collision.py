"""Walking on and against memory."""

import numpy as np
import pytest
from spatia.input.intents import Intent
from spatia.runtime.session import Session
from spatia.runtime.world import World
from spatia.tests.runtime.tiny import EYE_HEIGHT_M, SIZE, WALL_M, tiny_world
from spatia.world.points import PointBatch, PointClass, priority_of


def _walk(world: World, intent: Intent, seconds: float) -> np.ndarray:
    with Session(world, "none", wait=True, size=SIZE) as session:
        for _ in range(round(seconds / session.tick_s)):
            session.tick(intent)
        return session.rig.world_T_camera[:3, 3].copy()


def _add_box(world: World, low: tuple[float, float, float], high: tuple[float, float, float]) -> None:
    axes = [np.arange(a, b, 0.03) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)
    colors = np.full(points.shape, 128, np.uint8)
    batch = PointBatch.uniform(points, colors, priority=priority_of(PointClass.OBSERVED), keyframe=1)
    world.memory.insert(batch)


def test_the_floor_carries_at_the_height_of_the_camera() -> None:
    position = _walk(tiny_world(), Intent(), 1.0)
    assert position[1] == pytest.approx(0.0, abs=0.03)


def test_a_wall_stops_the_walker_before_it() -> None:
    position = _walk(tiny_world(), Intent(forward=1.0), 4.0)
    assert WALL_M - 0.6 < position[2] < WALL_M - 0.15


def test_a_walker_slides_along_a_wall() -> None:
    world = tiny_world()
    position = _walk(world, Intent(forward=1.0, right=0.5), 3.0)
    assert position[0] > 0.4
    assert position[2] < WALL_M - 0.15


def test_a_flyer_passes_through() -> None:
    world = tiny_world()
    world.walk.is_flying = True
    position = _walk(world, Intent(forward=1.0), 4.0)
    assert position[2] > WALL_M + 1.0


def test_a_step_is_climbed() -> None:
    world = tiny_world()
    _add_box(world, (-1.0, EYE_HEIGHT_M - 0.2, 1.0), (1.0, EYE_HEIGHT_M, 2.2))
    position = _walk(world, Intent(forward=0.6), 1.9)
    assert position[2] > 1.2
    assert position[1] == pytest.approx(-0.2, abs=0.08)


def test_a_block_higher_than_a_step_blocks() -> None:
    world = tiny_world()
    _add_box(world, (-1.0, EYE_HEIGHT_M - 0.8, 1.0), (1.0, EYE_HEIGHT_M, 1.5))
    position = _walk(world, Intent(forward=1.0), 2.0)
    assert position[2] < 1.0


def test_a_thin_speck_does_not_block() -> None:
    world = tiny_world()
    _add_box(world, (-0.02, 0.4, 1.0), (0.02, 0.44, 1.04))
    position = _walk(world, Intent(forward=1.0), 1.5)
    assert position[2] > 1.3


def test_what_appears_around_the_body_does_not_hold_it() -> None:
    world = tiny_world()
    _add_box(world, (-0.15, 0.0, -0.15), (0.15, 0.9, 0.15))
    position = _walk(world, Intent(forward=1.0), 1.5)
    assert position[2] > 1.0


def test_the_floors_plane_carries_where_memory_is_empty() -> None:
    position = _walk(tiny_world(), Intent(forward=-1.0), 3.0)
    assert position[2] < -2.0
    assert position[1] == pytest.approx(0.0, abs=0.15)  # the plane was fitted to what lies metres ahead
