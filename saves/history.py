"""Snapshots and branches as values: what a snapshot names, how they hang together, how they are found by name.

A snapshot does not copy anything: it lists the digests of what was present, so that unchanged chunks and keyframes are
stored once however many snapshots hold them. A branch is a name for a snapshot that moves on with the walk.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..world.chunks import ChunkKey
from .errors import WorldHistoryError, explain
from .packing import ValueDecodeError, pack_value, unpack_value

DEFAULT_BRANCH = "main"
PRESENT = "now"
"""Names what is present, so that nothing else may be called so."""
_NAME = re.compile(r"[\w][\w.+\-/ ]{0,62}", re.UNICODE)
DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A snapshot without its content.

    Attributes:
        identity: Number, rising in the order of making.
        name: As it was given, or empty.
        parents: Identities of the snapshots that it goes on from: none, one, or two after a merge.
        branch: On which it was made.
        note: Why it was made, where nobody asked for it by name.
        when: Time of making as text, or empty.
        tick: Simulation tick.
        num_points: Occupied voxels.
        num_chunks: Chunks.
        num_keyframes: Keyframes.
    """

    identity: int
    name: str
    parents: tuple[int, ...]
    branch: str
    note: str = ""
    when: str = ""
    tick: int = 0
    num_points: int = 0
    num_chunks: int = 0
    num_keyframes: int = 0

    @property
    def title(self) -> str:
        """Its name, or its number where it has none."""
        return self.name or f"#{self.identity}"


@dataclass(frozen=True, slots=True)
class KeyframeRecord:
    """A keyframe by its header and the digests of its pictures."""

    identity: int
    meta: bytes
    color: bytes
    depth: bytes | None
    moving: bytes | None

    def columns(self) -> tuple[int, bytes, bytes, bytes | None, bytes | None]:
        """As the table of keyframes has them."""
        return self.identity, self.meta, self.color, self.depth, self.moving


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """Everything that was present at one time, by digests.

    Attributes:
        chunks: Digest and number of points of each chunk.
        keyframes: By identity.
        manifest: Digest of the manifest's bytes.
        state: Digest of the state's bytes.
        arrays: Digests of the arrays that the state refers to.
        journal: Digests of segments of the journal, oldest first.
        path: Digests of segments of the path.
    """

    chunks: Mapping[ChunkKey, tuple[bytes, int]]
    keyframes: Mapping[int, KeyframeRecord]
    manifest: bytes
    state: bytes
    arrays: tuple[bytes, ...] = ()
    journal: tuple[bytes, ...] = ()
    path: tuple[bytes, ...] = ()

    @property
    def num_points(self) -> int:
        """Occupied voxels."""
        return sum(n for _, n in self.chunks.values())

    def digests(self) -> set[bytes]:
        """All objects that it names."""
        pictures = {d for k in self.keyframes.values() for d in (k.color, k.depth, k.moving) if d is not None}
        facts = {self.manifest, self.state, *self.arrays, *self.journal, *self.path}
        return {digest for digest, _ in self.chunks.values()} | pictures | facts

    def is_same(self, other: "Tree") -> bool:
        """True if both hold the same."""
        names = ("chunks", "keyframes", "manifest", "state", "journal", "path")
        return all(getattr(self, name) == getattr(other, name) for name in names)


@dataclass(frozen=True, slots=True)
class Branches:
    """Which branches there are.

    Attributes:
        current: The one that the walk is on.
        tips: The last snapshot of each; None before the first.
    """

    current: str = DEFAULT_BRANCH
    tips: Mapping[str, int | None] = field(default_factory=lambda: {DEFAULT_BRANCH: None})

    @property
    def tip(self) -> int | None:
        """The last snapshot of the current branch."""
        return self.tips.get(self.current)

    def moved(self, tip: int | None, branch: str | None = None) -> "Branches":
        """With the tip of a branch (the current one if not given) moved; that branch is the current one then."""
        name = self.current if branch is None else branch
        return replace(self, current=name, tips={**self.tips, name: tip})

    def pack(self) -> bytes:
        """As bytes."""
        return pack_value({"current": self.current, "tips": dict(self.tips)})

    @classmethod
    def unpack(cls, data: bytes) -> "Branches":
        """From bytes.

        Raises:
            ValueDecodeError: Damaged or foreign.
        """
        value = unpack_value(data, max_bytes=1 << 24)
        try:
            tips = {str(name): None if tip is None else int(tip) for name, tip in value["tips"].items()}
            current = str(value["current"])
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise ValueDecodeError(f"no branches: {error}") from error
        return cls(current, {current: None, **tips})

    @classmethod
    def guessed(cls, snapshots: Iterable[SnapshotInfo]) -> "Branches":
        """What the snapshots alone tell: each branch ends in its last one."""
        tips: dict[str, int | None] = {s.branch: s.identity for s in sorted(snapshots, key=lambda s: s.identity)}
        return cls(next(reversed(tips), DEFAULT_BRANCH), tips or {DEFAULT_BRANCH: None})


def pack_snapshot(info: SnapshotInfo, tree: Tree) -> bytes:
    """A snapshot as bytes, all but its identity and name, which are columns of its row too."""
    keys = sorted(tree.chunks)
    digests = b"".join(tree.chunks[key][0] for key in keys)
    return pack_value(
        {
            "id": info.identity,
            "name": info.name,
            "parents": list(info.parents),
            "branch": info.branch,
            "note": info.note,
            "when": info.when,
            "tick": info.tick,
            "keys": np.array(keys, np.int32).reshape(-1, 3),
            "points": np.array([tree.chunks[key][1] for key in keys], np.uint32),
            "chunks": np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES),
            "keyframes": [list(k.columns()) for _, k in sorted(tree.keyframes.items())],
            **{name: getattr(tree, name) for name in ("manifest", "state", "arrays", "journal", "path")},
        }
    )


def unpack_snapshot(data: bytes) -> tuple[SnapshotInfo, Tree]:
    """The snapshot that bytes hold; nothing is trusted.

    Raises:
        ValueDecodeError: Damaged or foreign.
    """
    value = unpack_value(data)
    try:
        tree = _tree_of(value)
        info = SnapshotInfo(
            identity=int(value["id"]),
            name=str(value["name"]),
            parents=tuple(int(p) for p in value["parents"]),
            branch=str(value["branch"]),
            note=str(value["note"]),
            when=str(value["when"]),
            tick=int(value["tick"]),
            num_points=tree.num_points,
            num_chunks=len(tree.chunks),
            num_keyframes=len(tree.keyframes),
        )
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise ValueDecodeError(f"no snapshot: {error}") from error
    return info, tree


def _tree_of(value: Any) -> Tree:
    keys, points, chunks = (np.asarray(value[name]) for name in ("keys", "points", "chunks"))
    n = len(keys)
    if keys.shape != (n, 3) or points.shape != (n,) or chunks.shape != (n, DIGEST_BYTES) or chunks.dtype != np.uint8:
        raise ValueDecodeError("its list of chunks is damaged")
    content = {_key_of(k): (c.tobytes(), int(p)) for k, c, p in zip(keys, chunks, points, strict=True)}
    frames = {int(i): KeyframeRecord(int(i), *pictures) for i, *pictures in value["keyframes"]}
    lists = {name: tuple(_digest(d) for d in value[name]) for name in ("arrays", "journal", "path")}
    return Tree(content, frames, _digest(value["manifest"]), _digest(value["state"]), **lists)


def _key_of(values: npt.NDArray[np.int32]) -> ChunkKey:
    x, y, z = values.tolist()
    return x, y, z


def _digest(value: Any) -> bytes:
    if not isinstance(value, bytes) or len(value) != DIGEST_BYTES:
        raise ValueDecodeError("expected a digest")
    return value


def check_name(path: Path, name: str, taken: Iterable[str]) -> None:
    """Check a new name of a snapshot or branch.

    Raises:
        WorldHistoryError: It is not a name, or taken.
    """
    if not _NAME.fullmatch(name) or name != name.strip() or name == PRESENT:
        do = "use letters, digits and . + - / _, at most 63"
        raise WorldHistoryError(explain(path, expected="a name", got=repr(name), do=do))
    if name in taken:
        do = "choose another name"
        raise WorldHistoryError(explain(path, expected="a name that is free", got=f"{name!r}, which is taken", do=do))


def resolve(path: Path, reference: str, snapshots: Sequence[SnapshotInfo], branches: Branches) -> SnapshotInfo:
    """The snapshot that is meant by a branch (its last one), a snapshot's name or its number ("#3" or "3").

    Raises:
        WorldHistoryError: There is none.
    """
    by_identity = {s.identity: s for s in snapshots}
    tip = branches.tips.get(reference)
    if tip is not None and tip in by_identity:
        return by_identity[tip]
    named = [s for s in snapshots if s.name and s.name == reference]
    if named:
        return named[-1]
    digits = reference.removeprefix("#")
    if digits.isdecimal() and int(digits) in by_identity:
        return by_identity[int(digits)]
    known = [*branches.tips, *(s.name for s in snapshots if s.name)]
    listed = ", ".join(known[:8]) + (", …" if len(known) > 8 else "") or "none"
    do = f"there are: {listed}"
    raise WorldHistoryError(explain(path, expected="a snapshot or branch", got=repr(reference), do=do))


def ancestors(identity: int | None, snapshots: Iterable[SnapshotInfo]) -> list[int]:
    """A snapshot and all before it, newest first."""
    parents = {s.identity: s.parents for s in snapshots}
    found: set[int] = set()
    open_ones = [] if identity is None else [identity]
    while open_ones:
        one = open_ones.pop()
        if one in parents and one not in found:
            found.add(one)
            open_ones.extend(parents[one])
    return sorted(found, reverse=True)


def merge_base(a: int, b: int, snapshots: Sequence[SnapshotInfo]) -> int | None:
    """The newest snapshot that both go on from, or None."""
    shared = set(ancestors(a, snapshots)) & set(ancestors(b, snapshots))
    return max(shared, default=None)
