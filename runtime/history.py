"""Snapshots, branches, diffs and merges of an open world: the file does them, memory follows."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, cast

from ..saves.diff import WorldDiff, diff_trees
from ..saves.errors import DamageError, WorldHistoryError, explain
from ..saves.history import PRESENT, Branches, SnapshotInfo, ancestors
from ..saves.state import WorldState
from ..saves.store import WorldFile
from ..saves.timeline import CheckoutReport, GcReport, MergeReport
from ..world.chunks import Chunk, ChunkKey
from ..world.memory import MemorySnapshot
from ..world.stored import PagedChunks, entries_of
from .persistence import state_of, world_from

if TYPE_CHECKING:
    from .world import World


def time_now() -> str:
    """The time of day for a snapshot's line in the log; nothing is ever computed from it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def take_snapshot(world: "World", name: str, note: str) -> SnapshotInfo:
    """Save, and keep what was saved under a name."""
    file = _saved_file(world)
    return file.snapshot(name, note=note, when=time_now())


def branches_of(world: "World") -> Branches:
    """The branches of a world's file."""
    return _file_of(world).branches()


def log_of(file: WorldFile, *, is_whole: bool) -> list[SnapshotInfo]:
    """Snapshots, newest first: those that the present goes on from, or all."""
    snapshots = file.snapshots()
    wanted = set(ancestors(file.branches().tip, snapshots))
    return [s for s in reversed(snapshots) if is_whole or s.identity in wanted]


def start_branch(world: "World", name: str) -> SnapshotInfo:
    """Save, and go on on a new branch."""
    file = _saved_file(world)
    start = file.branch(name, when=time_now())
    _take_over(world, file, ())
    return start


def check_out(world: "World", reference: str) -> CheckoutReport:
    """Save, and make a snapshot present."""
    file = _saved_file(world)
    report = file.checkout(reference, when=time_now())
    _take_over(world, file, report.changed)
    return report


def merge_branch(world: "World", reference: str, prefer: Literal["ours", "theirs"] | None) -> MergeReport:
    """Save, and bring a branch's changes in."""
    file = _saved_file(world)
    report = file.merge(reference, prefer, when=time_now())
    _take_over(world, file, report.changed)
    return report


def diff_of(world: "World", a: str, b: str) -> WorldDiff:
    """How two snapshots of a world differ; what is present is saved if it is one of them."""
    file = _saved_file(world) if PRESENT in (a, b) else _file_of(world)
    return diff_trees(file, file.tree(a), file.tree(b))


def collect_garbage(world: "World", *, prune: bool) -> GcReport:
    """Save, and remove from the file what nothing leads to."""
    return _saved_file(world).gc(prune=prune)


def _file_of(world: "World") -> WorldFile:
    if world.file is None or world.file.is_read_only:
        got = "one without a file of its own" if world.file is None else "one that was opened read-only"
        do = "save it, then open that file with spatia.open(PATH)"
        raise WorldHistoryError(explain(f"world {world.info.name}", expected="a world from a file", got=got, do=do))
    return world.file


def _saved_file(world: "World") -> WorldFile:
    file = _file_of(world)
    file.save(state_of(world))
    return file


def _take_over(world: "World", file: WorldFile, changed: tuple[ChunkKey, ...]) -> None:
    """Bring an open world to what its file holds; only the chunks that changed are read."""
    chunks = dict(entries_of(world.memory.chunks))
    damage: list[str] = []
    for key in changed:
        try:
            chunk = file.read_chunk(key)
        except DamageError as error:
            damage.append(str(error))
            chunk = None
        if chunk is None:
            chunks.pop(key, None)
        else:
            chunks[key] = chunk
    rest = WorldState(
        {}, file.read_keyframes(), file.read_manifest(), file.read_state(), file.read_journal(), file.read_path()
    )
    found = world_from(rest)
    pager = world.memory.pager
    view = cast(dict[ChunkKey, Chunk], chunks) if pager is None else PagedChunks(chunks, pager)
    world.memory.restore(MemorySnapshot(world.memory.voxel_size_m, world.memory.revision, view))
    world.info, world.bank, world.walk, world.journal = found.info, found.bank, found.walk, found.journal
    world.damage = tuple(damage)
