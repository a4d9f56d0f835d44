"""Between a ``World`` and its file: what is written, and how a walk is found again where it was left."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..generator.cores import leave_first_core
from ..saves.chunk_source import FileChunks
from ..saves.manifest import Manifest
from ..saves.schema import FORMAT_VERSION
from ..saves.state import Damage, WorldState
from ..saves.store import WorldFile
from ..world.camera import Pinhole
from ..world.chunks import VOXEL_BYTES
from ..world.ground import Plane
from ..world.keyframes import FrameBank
from ..world.memory import SpatialMemory
from ..world.paging import Pager
from ..world.points import PointClass
from ..world.transforms import as_rigid
from .director import Tail
from .process import installed_bytes, release_free_memory
from .settled import NEVER_S, Settled
from .world import BANK_BYTES, WalkState, World, WorldInfo

MAX_SHARE_IN_MEMORY = 0.5
"""Of this machine's memory: a world whose points would take more is paged whether it was asked for or not."""


def state_of(world: World) -> WorldState:
    """A consistent moment of a world, by references; call it on the session's thread."""
    walk = world.walk
    state = {
        "pose": walk.world_T_camera,
        "is_flying": walk.is_flying,
        "prompt": walk.prompt,
        "tick": walk.tick,
        "next_request_id": walk.next_request_id,
        "next_keyframe_id": world.bank.next_id,
        "settled": [_pack_settled(s) for s in walk.settled],
        "held": [_pack_settled(s) for s in walk.held],
        "fov_rad": walk.fov_rad,
        "marks": [list(mark) for mark in walk.marks],
        "tails": [{"request": t.request_id, "frames": t.frames, "poses": t.world_T_camera} for t in walk.tails],
    }
    return WorldState(
        chunks=world.memory.snapshot().chunks,
        keyframes=world.bank.keyframes,
        manifest=_manifest_of(world),
        state=state,
        journal=tuple(world.journal),
        path=np.asarray(walk.path, np.float64).reshape(-1, 4),
    )


def _manifest_of(world: World) -> Manifest:
    info = world.info
    p = info.pinhole
    return Manifest(
        name=info.name,
        voxel_size_m=world.memory.voxel_size_m,
        metric=info.is_metric,
        seed=info.seed,
        up_world=info.up_world,
        floor=None if info.floor is None else (*info.floor.normal, info.floor.offset_m),
        source_note=info.note,
        start_pose=tuple(float(v) for v in info.world_T_start.ravel()),
        generator=world.walk.generator,
        prompt=world.walk.prompt,
        size=world.default_size,
        extra={"pinhole": [p.width, p.height, p.fx, p.fy, p.cx, p.cy]} | ({"place": info.place} if info.place else {}),
    )


def save_world(world: World, path: Path) -> Path:
    """Write a world to a file; only what changed if it is the world's own.

    Raises:
        WorldFileError, WorldWriteError: See ``World.save``.
    """
    state = state_of(world)
    if world.file is not None and not world.file.is_read_only and _is_same(world.file.path, path):
        world.file.save(state)
        return path
    with WorldFile.create(path, state, replace=True):
        return path


def adopt_file(world: World, path: Path) -> None:
    """Make a file the world's own, open for writing, so that saving writes only what changed.

    Raises:
        WorldFileError, WorldWriteError: It cannot be made or is open elsewhere.
    """
    if world.file is not None and _is_same(world.file.path, path) and not world.file.is_read_only:
        return
    world.file = WorldFile.create(path, state_of(world), replace=True)


def _is_same(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve()


def open_world(path: Path, *, read_only: bool = False, budget_bytes: int | None = None) -> World:
    """Read a world.

    Args:
        path: The file.
        read_only: Take no lock and never write.
        budget_bytes: What points may take: then chunks are read when they are needed and dropped again, by the thread
            of ``world.memory.pager``, and the world is there at once. None reads all of them now, unless they would
            take most of this machine's memory.

    Raises:
        WorldFileError: See ``spatia.open``.
    """
    file = WorldFile.open(path, read_only=read_only)
    try:
        if budget_bytes is None and file.num_points * VOXEL_BYTES > installed_bytes() * MAX_SHARE_IN_MEMORY:
            budget_bytes = int(installed_bytes() * MAX_SHARE_IN_MEMORY / 2)
        world = world_from(file.load()) if budget_bytes is None else _paged_world(file, budget_bytes)
    except BaseException:
        file.close()
        raise
    if read_only and budget_bytes is None:
        file.close()
    else:
        world.file = file
    return world


def _paged_world(file: WorldFile, budget_bytes: int) -> World:
    damage: list[Damage] = []
    world = world_from(file.load_without_chunks())
    stored = file.read_stored(damage)
    world.damage += tuple(str(d) for d in damage)
    pager = Pager(
        FileChunks(file),
        world.memory.voxel_size_m,
        budget_bytes,
        on_start=leave_first_core,
        tidy=release_free_memory,
    )
    world.memory.page(stored.values(), pager)
    return world


def world_from(loaded: WorldState) -> World:
    """The world that a loaded state describes."""
    manifest, state = loaded.manifest, loaded.state
    memory = SpatialMemory(manifest.voxel_size_m)
    memory.load(loaded.chunks.values())
    bank = FrameBank(BANK_BYTES)
    bank.load(loaded.keyframes, int(state.get("next_keyframe_id", 1)))
    start = as_rigid(np.reshape(manifest.start_pose, (4, 4)), "start_pose")
    floor = None if manifest.floor is None else Plane(manifest.floor[:3], manifest.floor[3])
    info = WorldInfo(
        name=manifest.name,
        note=manifest.source_note,
        is_metric=manifest.metric,
        seed=manifest.seed,
        up_world=manifest.up_world,
        floor=floor,
        pinhole=_pinhole_of(manifest, loaded),
        world_T_start=start,
        place=str(manifest.extra.get("place", "")),
    )
    world = World(info, memory, bank, _walk_of(state, start, manifest, loaded.path))
    world.journal = list(loaded.journal)
    world.damage = tuple(str(d) for d in loaded.damage)
    return world


def _walk_of(state: Mapping[str, Any], start: Any, manifest: Manifest, path: Any) -> WalkState:
    pose = as_rigid(state["pose"], "pose") if "pose" in state else start.copy()
    return WalkState(
        world_T_camera=pose,
        is_flying=bool(state.get("is_flying", False)),
        prompt=str(state.get("prompt", manifest.prompt)),
        tick=int(state.get("tick", 0)),
        next_request_id=int(state.get("next_request_id", 1)),
        settled=[_unpack_settled(s) for s in state.get("settled", ())],
        held=[_unpack_settled(s) for s in state.get("held", ())],
        tails=[_unpack_tail(t) for t in state.get("tails", ())],
        marks=[(float(x), float(y), float(z)) for x, y, z in state.get("marks", ())],
        path=[(float(t), float(x), float(y), float(z)) for t, x, y, z in path],
        fov_rad=state.get("fov_rad"),
        generator=manifest.generator,
    )


def _pinhole_of(manifest: Manifest, loaded: WorldState) -> Pinhole:
    values = manifest.extra.get("pinhole")
    if values is not None and len(values) == 6:
        return Pinhole(int(values[0]), int(values[1]), *(float(v) for v in values[2:]))
    if loaded.keyframes:
        return loaded.keyframes[0].pinhole
    width, height = manifest.size or (832, 480)
    return Pinhole.from_fov(width, height, float(np.radians(70.0)))


def _pack_settled(settled: Settled) -> dict[str, Any]:
    value = {"request": settled.request_id, "pose": settled.world_T_camera, "missing": settled.missing_share}
    if settled.again_s < NEVER_S:  # what is worth another look is so as soon as the world is open again
        value |= {"hidden": settled.hidden_share, "looks": settled.num_looks}
    return value


def _unpack_settled(value: Mapping[str, Any]) -> Settled:
    settled = Settled(int(value["request"]), as_rigid(value["pose"], "settled pose"), float(value["missing"]))
    if "hidden" not in value:
        return settled
    return replace(settled, hidden_share=float(value["hidden"]), num_looks=int(value["looks"]), again_s=0.0)


def _unpack_tail(value: Mapping[str, Any]) -> Tail:
    poses = np.asarray(value["poses"], np.float64)
    frames = np.asarray(value["frames"], np.uint8)
    if frames.ndim != 4 or poses.shape != (len(frames), 4, 4):
        raise ValueError(f"tail: expected frames and as many poses, got {frames.shape} and {poses.shape}")
    frames.flags.writeable = False
    return Tail(int(value["request"]), frames, np.stack([as_rigid(p, "tail pose") for p in poses]))


def damage_text(world: World) -> str:
    """What could not be read of a world's file, in one line for the user; empty if all was."""
    first = next(iter(world.damage), "")
    if not first:
        return ""
    more = f" and {len(world.damage) - 1} more" if len(world.damage) > 1 else ""
    return f"damaged and skipped: {first}{more}; `spatia check` lists all, with --repair it mends the file"


def describe(path: Path) -> dict[str, Any]:
    """What ``spatia info`` tells of a file.

    Raises:
        WorldFileError: It is not a world that can be opened.
    """
    world = open_world(path, read_only=True)
    try:
        return _facts_of(world, path)
    finally:
        world.close()


def _facts_of(world: World, path: Path) -> dict[str, Any]:
    snapshot = world.memory.snapshot()
    counts = {c: int(snapshot.class_counts().get(c, 0)) for c in PointClass}
    extent = snapshot.extent()
    return {
        "format": FORMAT_VERSION,
        "name": world.info.name,
        "points": {**{c.name.lower(): counts[c] for c in sorted(counts, reverse=True)}, "total": snapshot.num_points},
        "chunks": len(snapshot.chunks),
        "keyframes": len(world.bank.keyframes),
        "extent_m": None if extent is None else [[round(float(v), 3) for v in side] for side in extent],
        "voxel_size_m": world.memory.voxel_size_m,
        "metric": world.info.is_metric,
        "note": world.info.note,
        "seed": world.info.seed,
        "size": list(world.default_size),
        "tick": world.walk.tick,
        "generator": world.walk.generator,
        "prompt": world.walk.prompt,
        "bytes": path.stat().st_size,
        "content_hash": world.content_hash(),
        "damage": list(world.damage),
    }
