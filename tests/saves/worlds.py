"""Small states for the tests of the world file, and how to compare them."""

import numpy as np
from spatia.saves.journal import JournalEntry
from spatia.saves.manifest import Manifest
from spatia.saves.state import WorldState
from spatia.world.camera import Pinhole
from spatia.world.chunks import Chunk, ChunkKey
from spatia.world.keyframes import Keyframe
from spatia.world.points import PointClass


def make_chunk(key: ChunkKey, *, revision: int = 1, num_points: int = 20, seed: int = 0) -> Chunk:
    """A chunk with random but valid content."""
    rng = np.random.default_rng((seed, *(k & 0xFFFF for k in key)))
    codes = np.sort(rng.choice(64**3, num_points, replace=False)).astype(np.uint32)
    weight = rng.integers(1, 400, num_points).astype(np.uint32)
    rows = np.zeros((num_points, 8), np.uint32)
    for column in (0, 1, 2, 4, 5, 6):
        rows[:, column] = rng.integers(0, weight.astype(np.int64) * 255 + 1)
    rows[:, 3] = weight
    rows[:, 7] = rng.integers(0, 5, num_points)
    priority = rng.integers(64, 256, num_points).astype(np.uint8)
    evidence = rng.integers(0, 256, (num_points, 2)).astype(np.uint8)
    return Chunk(key, revision, codes, rows, priority, evidence)


def make_keyframe(identity: int, point_class: PointClass = PointClass.OBSERVED, *, seed: int = 0) -> Keyframe:
    """A small keyframe with depth and a mask."""
    rng = np.random.default_rng((seed, identity))
    x = np.linspace(0, 200, 32)[None, :] + np.linspace(0, 50, 24)[:, None]
    color = (np.repeat(x[:, :, None], 3, axis=2) + rng.integers(0, 5, (24, 32, 3))).astype(np.uint8)
    depth = rng.uniform(0.5, 4.0, (24, 32)).astype(np.float32)
    depth[:3] = 0.0
    pose = np.eye(4)
    pose[:3, 3] = identity, 0.5, -1.0
    camera = Pinhole.from_fov(32, 24, 1.0)
    moving = rng.random((24, 32)) < 0.2
    return Keyframe(identity, 2, color, camera, pose, point_class, 3, depth, moving, "a prompt", 77)


def make_state(num_chunks: int = 3, *, seed: int = 0) -> WorldState:
    """A world with everything in it, on both sides of the origin."""
    keys = [(i - num_chunks // 2, -i, 2 * i) for i in range(num_chunks)]
    return WorldState(
        {key: make_chunk(key, seed=seed) for key in keys},
        (make_keyframe(1), make_keyframe(2, PointClass.INVENTED)),
        Manifest("test", 0.01, seed=2**70, floor=(0.0, -1.0, 0.0, 1.5), size=(832, 480), extra={"exposure": 0.5}),
        {
            "pose": np.eye(4),
            "mode": "walk",
            "rng": np.random.default_rng(7).bit_generator.state,
            "tails": [{"frames": frozen(np.arange(9 * 8 * 32 * 3, dtype=np.uint8).reshape(9, 8, 32, 3))}],
        },
        (JournalEntry("request", 3, {"id": 1}), JournalEntry("update", 9, {"added": 120})),
        np.array([[0.0, 1.0, 2.0, 3.0], [60.0, 1.5, 2.0, 3.0]]),
    )


def frozen(array: np.ndarray) -> np.ndarray:
    """The array, read-only."""
    array.flags.writeable = False
    return array


def assert_same_chunk(a: Chunk, b: Chunk) -> None:
    """Every stored number is the same."""
    assert (a.key, a.revision) == (b.key, b.revision)
    for name in ("codes", "rows", "priority", "evidence"):
        x, y = getattr(a, name), getattr(b, name)
        assert x.dtype == y.dtype, name
        assert np.array_equal(x, y), name


def assert_same_state(a: WorldState, b: WorldState) -> None:
    """Two states say the same; pictures of invented keyframes may differ as JPEG does."""
    assert set(a.chunks) == set(b.chunks)
    for key in a.chunks:
        assert_same_chunk(a.chunks[key], b.chunks[key])
    assert [k.keyframe_id for k in a.keyframes] == [k.keyframe_id for k in b.keyframes]
    assert a.manifest == b.manifest
    assert_same_value(dict(a.state), dict(b.state))
    assert a.journal == b.journal
    assert np.array_equal(a.path, b.path)


def assert_same_value(a: object, b: object) -> None:
    """Plain values with arrays are the same."""
    if isinstance(a, np.ndarray):
        assert isinstance(b, np.ndarray)
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    elif isinstance(a, dict):
        assert isinstance(b, dict)
        assert a.keys() == b.keys()
        for key in a:
            assert_same_value(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert isinstance(b, list)
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same_value(x, y)
    else:
        assert a == b
