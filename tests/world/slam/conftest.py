"""A small room that is ray-cast exactly: floor, two walls and a ball, so that every direction of a pose is fixed."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from spatia.world.camera import Pinhole, unproject
from spatia.world.memory import MemorySnapshot, SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.slam.estimators import FrameStack
from spatia.world.transforms import as_rigid

PINHOLE = Pinhole(160, 120, 130.0, 130.0, 80.0, 60.0)
BALL_CENTRE, BALL_RADIUS = np.array([0.3, 0.5, 2.4]), 0.45
KITCHEN = Path(__file__).parents[3] / ".." / "shared" / "data" / "rgbd" / "kitchen"
KITCHEN_PINHOLE = Pinhole(640, 480, 585.0, 585.0, 320.5, 240.5)


def _cast(world_T_camera: np.ndarray, pinhole: Pinhole) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) float32 depth and (H, W, 3) uint8 checkered colour of the room from a pose."""
    rays = pinhole.rays().astype(np.float64) @ world_T_camera[:3, :3].T
    eye = world_T_camera[:3, 3]
    depth = np.full(rays.shape[:2], np.inf)
    for axis, place in ((1, 1.0), (2, 4.0), (0, -1.4)):
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (place - eye[axis]) / rays[..., axis]
        depth = np.where((z > 0) & (z < depth), z, depth)
    a, b = (rays**2).sum(axis=2), 2 * rays @ (eye - BALL_CENTRE)
    c = ((eye - BALL_CENTRE) ** 2).sum() - BALL_RADIUS**2
    root = b**2 - 4 * a * c
    ball = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / (2 * a), np.inf)
    depth = np.minimum(depth, ball)
    points = eye + rays * depth[..., None]
    checker = (np.floor(points / 0.2 + 1e-6).astype(int).sum(axis=2) % 2) * 120
    color = np.stack([60 + checker, 90 + checker // 2, 200 - checker], axis=2).astype(np.uint8)
    return depth.astype(np.float32), color


@pytest.fixture
def room() -> Callable[[np.ndarray], FrameStack]:
    """Make a stack of frames of the room, with exact depth, at (F, 4, 4) poses."""

    def make(poses: np.ndarray) -> FrameStack:
        views = [_cast(pose, PINHOLE) for pose in poses]
        depth, color = np.stack([v[0] for v in views]), np.stack([v[1] for v in views])
        return FrameStack(color, depth, None, None, None, np.array(poses, np.float64), PINHOLE)

    return make


@pytest.fixture
def memory_of() -> Callable[..., MemorySnapshot]:
    """Put a stack's frames into a memory of 1 cm voxels, as observed points unless said otherwise."""

    def make(
        frames: FrameStack, priority: int = priority_of(PointClass.OBSERVED), use: np.ndarray | None = None
    ) -> MemorySnapshot:
        memory = SpatialMemory(0.01)
        for k in range(len(frames)):
            depth = frames.depth_m[k] if use is None else np.where(use, frames.depth_m[k], 0).astype(np.float32)
            points = unproject(depth, frames.pinhole, frames.world_T_camera[k])
            colors = frames.color[k][depth > 0]
            memory.insert(PointBatch.uniform(points, colors, priority=priority, keyframe=1))
        return memory.snapshot()

    return make


@pytest.fixture
def kitchen() -> Callable[[int], FrameStack]:
    """Read the k-th stored frame of the kitchen recording, in the first one's world."""
    if not KITCHEN.exists():
        pytest.skip(f"needs the kitchen recording at {KITCHEN}")
    names = sorted(KITCHEN.glob("*.depth.png"))

    def read(k: int) -> FrameStack:
        stem = str(names[k])[: -len(".depth.png")]
        first = as_rigid(np.loadtxt(str(names[0])[: -len(".depth.png")] + ".pose.txt"))
        raw = cv2.imread(stem + ".depth.png", cv2.IMREAD_UNCHANGED)
        depth = np.where(raw == 65535, 0, raw).astype(np.float32) / 1000
        color = cv2.cvtColor(cv2.imread(stem + ".color.jpg"), cv2.COLOR_BGR2RGB)
        pose = np.linalg.inv(first) @ as_rigid(np.loadtxt(stem + ".pose.txt"))
        return FrameStack(color[None], depth[None], None, None, None, as_rigid(pose)[None], KITCHEN_PINHOLE)

    return read
