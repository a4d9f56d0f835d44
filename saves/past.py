"""Reading the history of a world file: its snapshots and branches, and what is present as if it were one."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..world.chunks import Chunk, ChunkKey
from ..world.keyframes import Keyframe
from .codec import BATCH_POINTS
from .errors import WorldHistoryError, explain
from .history import (
    PRESENT,
    Branches,
    KeyframeRecord,
    SnapshotInfo,
    Tree,
    resolve,
    unpack_snapshot,
)
from .journal import JournalEntry
from .keyframe_codec import KeyframeBlobs, decode_keyframe
from .ledger import digest_of
from .manifest import Manifest
from .packing import pack_value, unpack_value
from .parallel import map_batched
from .reading import StoredBytes, WorldReader, decoded, name_of, points_of
from .rows import CHUNK_COLUMNS, ChunkRow, as_bytes, note
from .state import Damage, WorldState
from .writing import array_digests

JOURNAL_SEGMENT = 64
PATH_SEGMENT = 1024
"""A journal and a path only grow: full segments of so many entries are shared by all later snapshots."""


class HistoryReader(WorldReader):
    """Snapshots of an open world file, read only."""

    def snapshots(self, damage: list[Damage] | None = None) -> list[SnapshotInfo]:
        """All snapshots, oldest first; those that cannot be read are noted and left out."""
        return [info for info, _ in self.read_trees(damage)]

    def read_trees(self, damage: list[Damage] | None = None) -> list[tuple[SnapshotInfo, Tree]]:
        """All snapshots with what they name, oldest first."""
        found: list[tuple[SnapshotInfo, Tree]] = []
        for identity in self._identities("snapshots", "id", damage):
            try:
                found.append(self._read_tree(identity))
            except (sqlite3.Error, ValueError) as error:
                note(damage, f"snapshot {identity}", error)
        return found

    def _read_tree(self, identity: int) -> tuple[SnapshotInfo, Tree]:
        row = self._row("SELECT name, data FROM snapshots WHERE id = ?", (identity,))
        if row is None:
            raise ValueError("it is missing")
        info, tree = unpack_snapshot(as_bytes(row[1]))
        if (info.identity, info.name) != (identity, row[0]):
            raise ValueError(f"it calls itself {info.title}")
        return info, tree

    def keyframe_record(self, identity: int) -> KeyframeRecord | None:
        """A present keyframe's row, or None."""
        row = self._row("SELECT id, meta, color, depth, moving FROM keyframes WHERE id = ?", (identity,))
        return None if row is None else KeyframeRecord(*row)

    def branches(self, damage: list[Damage] | None = None) -> Branches:
        """Which branches there are; guessed from the snapshots where the list is damaged."""
        try:
            data = self._fact("branches")
            return Branches() if data is None else Branches.unpack(data)
        except (sqlite3.Error, ValueError) as error:
            note(damage, "branches", error)
            return Branches.guessed(self.snapshots())

    def find(self, reference: str) -> SnapshotInfo:
        """The snapshot of a branch (its last one), a name or a number.

        Raises:
            WorldHistoryError: There is none.
        """
        return resolve(self._path, reference, self.snapshots(), self.branches())

    def tree(self, reference: str) -> Tree:
        """What a snapshot names, or what is present for "now".

        Raises:
            WorldHistoryError: There is no such snapshot, or it is damaged.
        """
        return self.present()[0] if reference == PRESENT else self._read_tree(self.find(reference).identity)[1]

    def present(self) -> tuple[Tree, dict[bytes, bytes]]:
        """What is present as a snapshot would name it, and the objects that would have to be added for it.

        Raises:
            WorldHistoryError: It is damaged.
        """
        fresh: dict[bytes, bytes] = {}

        def add(data: bytes) -> bytes:
            digest = digest_of(data)
            fresh[digest] = data
            return digest

        damage: list[Damage] = []
        try:
            with self._one_moment():
                rows = [ChunkRow.of(columns) for columns in self._rows(f"SELECT {CHUNK_COLUMNS} FROM chunks")]
                frames = self._rows("SELECT id, meta, color, depth, moving FROM keyframes")
                manifest, state = self._fact("manifest"), self._fact("state")
                journal, path = self.read_journal(damage), self.read_path(damage)
        except (sqlite3.Error, ValueError) as error:
            damage.append(Damage("what is present", str(error)))
            raise self._damaged(damage) from error
        if damage or manifest is None or state is None:
            raise self._damaged(damage or [Damage("what is present", "nothing was saved yet")])
        entries = [[e.kind, e.tick, dict(e.data)] for e in journal]
        tree = Tree(
            chunks={row.key: (row.digest, row.num_points) for row in rows},
            keyframes={frame[0]: KeyframeRecord(*frame) for frame in frames},
            manifest=add(manifest),
            state=add(state),
            arrays=tuple(sorted(array_digests(state))),
            journal=tuple(add(pack_value(part)) for part in _segments(entries, JOURNAL_SEGMENT)),
            path=tuple(add(pack_value(part)) for part in _segments(path, PATH_SEGMENT)),
        )
        return tree, fresh

    def _damaged(self, damage: list[Damage]) -> WorldHistoryError:
        do = "see `spatia check`"
        return WorldHistoryError(explain(self._path, expected="an undamaged world", got=str(damage[0]), do=do))

    def load_snapshot(self, reference: str) -> WorldState:
        """Read a snapshot, or what is present for "now". What is damaged is left out and listed in ``damage``.

        Raises:
            WorldHistoryError: There is no such snapshot, or its manifest is damaged.
        """
        if reference == PRESENT:
            return self.load()
        tree = self._read_tree(self.find(reference).identity)[1]
        damage: list[Damage] = []
        try:
            manifest = Manifest.from_plain(unpack_value(self.required_object(tree.manifest)))
            state = self._attach(unpack_value(self.required_object(tree.state)))
            journal, path = self._journal_of(tree), self._path_of(tree)
        except (sqlite3.Error, ValueError) as error:
            raise self._damaged([Damage(f"snapshot {reference}", str(error))]) from error
        chunks = self.chunks_of(tree, damage=damage)
        return WorldState(chunks, self._frames_of(tree, damage), manifest, state, journal, path, damage=tuple(damage))

    def chunks_of(
        self, tree: Tree, keys: "set[ChunkKey] | None" = None, damage: list[Damage] | None = None
    ) -> dict[ChunkKey, Chunk]:
        """The chunks of a tree, or those of some keys that it has; what is damaged is noted and left out."""
        chosen = list(tree.chunks if keys is None else keys & tree.chunks.keys())
        items = (self._object_or_damage(key, *tree.chunks[key]) for key in chosen)
        chunks: dict[ChunkKey, Chunk] = {}
        for item in map_batched(decoded, items, len(chosen), weigh=points_of, batch_weight=BATCH_POINTS):
            if isinstance(item, Damage):
                note(damage, item.what, item.reason)
            elif item is not None:
                chunks[item.key] = item
        return chunks

    def _object_or_damage(self, key: ChunkKey, digest: bytes, num_points: int) -> StoredBytes | Damage:
        try:
            return StoredBytes(key, 1, num_points, digest, self.required_object(digest))
        except (sqlite3.Error, ValueError) as error:
            return Damage(name_of(key), str(error))

    def _frames_of(self, tree: Tree, damage: list[Damage]) -> tuple[Keyframe, ...]:
        frames: list[Keyframe] = []
        for record in tree.keyframes.values():
            try:
                color, depth, moving = (
                    None if d is None else self.required_object(d) for d in (record.color, record.depth, record.moving)
                )
                frames.append(decode_keyframe(KeyframeBlobs(record.meta, color or b"", depth, moving)))
            except (sqlite3.Error, ValueError) as error:
                note(damage, f"keyframe {record.identity}", error)
        return tuple(sorted(frames, key=lambda f: f.keyframe_id))

    def _journal_of(self, tree: Tree) -> tuple[JournalEntry, ...]:
        parts = [unpack_value(self.required_object(digest)) for digest in tree.journal]
        return tuple(JournalEntry(str(kind), int(tick), dict(data)) for part in parts for kind, tick, data in part)

    def _path_of(self, tree: Tree) -> Any:
        parts = [np.asarray(unpack_value(self.required_object(d)), np.float64).reshape(-1, 4) for d in tree.path]
        return np.concatenate(parts) if parts else np.zeros((0, 4))


def _segments(items: Any, size: int) -> Iterator[Any]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
