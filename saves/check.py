"""Checking a world file and repairing it: every damage is named, everything that is whole is kept.

A file whose first page is damaged is read through a copy with a fresh one, since a world's tables always lie at the
same places; objects are found in the bare bytes too (``carving``), so that no list or index has to be whole.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..world.chunks import ChunkKey
from .carving import carve_objects
from .codec import CHUNK_MAGIC, key_of_bytes
from .errors import WorldDamagedError, WorldFileError, WorldVersionError, explain
from .history import Branches, KeyframeRecord, SnapshotInfo, Tree, pack_snapshot
from .ledger import digest_of
from .locking import WriterLock, lock_of
from .manifest import Manifest
from .packing import pack_value, unpack_value
from .rows import ChunkRow, as_bytes, is_whole, note
from .schema import PAGE_BYTES, checked_path, connect, create_tables, journal_of, log_of, remove_logs, roll_back
from .sealing import check_seal, seal_file
from .state import Damage
from .store import WorldFile
from .summaries import described, put_beside
from .writing import array_digests, put_chunk_row, put_object

MAX_MESSAGES = 50
_TRANSPLANTED = ("file", "its first page is damaged")


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a world file was found to be.

    Attributes:
        damage: What is damaged; empty if every bit is as it was written.
        num_chunks: Present chunks that are whole.
        num_keyframes: Present keyframes that are whole.
        num_snapshots: Snapshots whose list is whole.
    """

    damage: tuple[Damage, ...]
    num_chunks: int = 0
    num_keyframes: int = 0
    num_snapshots: int = 0


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair did.

    Attributes:
        found: What the check had found.
        kept_as: Where the damaged file lies now.
        num_chunks: Chunks in the repaired world.
        num_keyframes: Keyframes in it.
        num_snapshots: Snapshots in it.
        lost: What could not be saved.
    """

    found: CheckReport
    kept_as: Path
    num_chunks: int
    num_keyframes: int
    num_snapshots: int
    lost: tuple[Damage, ...]


@dataclass(slots=True)
class _Contents:
    """What of a file can be read; the objects that rows name may be damaged."""

    damage: list[Damage] = field(default_factory=list)
    rows: dict[ChunkKey, ChunkRow] = field(default_factory=dict)
    keyframes: list[KeyframeRecord] = field(default_factory=list)
    facts: dict[str, bytes] = field(default_factory=dict)
    journal: list[bytes] = field(default_factory=list)
    snapshots: list[tuple[SnapshotInfo, Tree]] = field(default_factory=list)
    branches: Branches | None = None
    num_chunks: int = 0
    num_keyframes: int = 0
    num_missing_rows: int = 0


def check_world(path: str | os.PathLike[str]) -> CheckReport:
    """Read every byte of a world file and name what is damaged.

    Raises:
        WorldFileError: Missing, empty, no world, or of another version.
    """
    p = checked_path(path)
    contents = _inspect(p, is_unfinished=_is_unfinished(p))
    return _report_of(contents)


def _report_of(contents: _Contents) -> CheckReport:
    return CheckReport(
        tuple(dict.fromkeys(contents.damage)),
        num_chunks=contents.num_chunks,
        num_keyframes=contents.num_keyframes,
        num_snapshots=len(contents.snapshots),
    )


def _is_unfinished(path: Path) -> bool:
    """True while a file is open for writing, and after a program was killed that had it open: it never came to seal."""
    return any(beside(path).exists() for beside in (log_of, lock_of, journal_of))


def _inspect(path: Path, *, is_unfinished: bool) -> _Contents:
    contents = _Contents()
    _check_pages(path, contents, is_unfinished=is_unfinished)
    with _reader_of(path, contents) as file:
        _Inspector(file, contents).run()
    return contents


def _check_pages(path: Path, contents: _Contents, *, is_unfinished: bool) -> None:
    try:
        seal = check_seal(path)
    except OSError as error:
        raise WorldFileError(explain(path, expected="a file that can be read", got=str(error))) from error
    if not seal.is_sealed and not is_unfinished:
        note(contents.damage, "seal", "missing: the end of the file is cut off or damaged")
    for page in seal.damaged[:MAX_MESSAGES]:
        note(contents.damage, f"page {page}", "its checksum does not match")
    if len(seal.damaged) > MAX_MESSAGES:
        note(contents.damage, f"{len(seal.damaged) - MAX_MESSAGES} more pages", "their checksums do not match")


@contextmanager
def _reader_of(path: Path, contents: _Contents) -> Iterator[WorldFile]:
    """The file, or a copy of it with a fresh first page where the first page is damaged."""
    try:
        file = WorldFile.open(path, read_only=True)
    except WorldVersionError:
        if not any(d.what == "page 1" for d in contents.damage):
            raise
    except (WorldFileError, sqlite3.Error, ValueError) as error:
        if not _has_objects(path):
            raise WorldFileError(explain(path, expected="a .spatia world", got=_last_line(error))) from error
    else:
        if file.is_damaged:
            note(contents.damage, "file", "its structure is damaged or it is cut off")
        with file:
            yield file
        return
    note(contents.damage, *_TRANSPLANTED)
    with tempfile.TemporaryDirectory(prefix="spatia-") as folder:
        copy = Path(folder) / "copy.spatia"
        _transplant(path, copy)
        with WorldFile.open(copy, read_only=True) as file:
            yield file


def _last_line(error: BaseException) -> str:
    return str(error).splitlines()[-1].removeprefix("got ") if str(error) else type(error).__name__


def _has_objects(path: Path) -> bool:
    try:
        return next(carve_objects(path), None) is not None
    except OSError:
        return False


def _transplant(path: Path, copy: Path) -> None:
    """Copy a file with the first page of a new world."""
    shutil.copyfile(path, copy)
    fresh = copy.with_name("fresh.spatia")
    create_tables(fresh)
    first = bytearray(fresh.read_bytes()[:PAGE_BYTES])
    first[28:32] = max(1, copy.stat().st_size // PAGE_BYTES).to_bytes(4, "big")
    first[32:40] = bytes(8)  # no list of free pages
    with copy.open("r+b") as file:
        file.write(first)


class _Inspector:
    """Looks at every row and object once."""

    def __init__(self, file: WorldFile, contents: _Contents) -> None:
        self._file, self._contents = file, contents
        self._damage = contents.damage
        self._whole: dict[bytes, bool] = {}

    def run(self) -> None:
        """Look at everything."""
        self._look_at_structure()
        self._look_at_facts()
        self._look_at_chunks()
        self._look_at_keyframes()
        self._look_at_journal()
        self._look_at_snapshots()

    def is_object_whole(self, digest: bytes | None) -> bool:
        """True for None and for an object that is there and whole."""
        if digest is None:
            return True
        if digest not in self._whole:
            try:
                data = self._file.object_bytes(as_bytes(digest))
                self._whole[digest] = data is not None and is_whole(digest, data)
            except (sqlite3.Error, ValueError):
                self._whole[digest] = False
        return self._whole[digest]

    def _look_at_structure(self) -> None:
        try:
            messages = [m for m in self._file.integrity_messages(MAX_MESSAGES) if m != "ok"]
        except (sqlite3.Error, ValueError) as error:
            messages = [str(error)]
        for message in messages:
            note(self._damage, "structure", " ".join(message.split()))

    def _look_at_facts(self) -> None:
        for name in ("manifest", "state", "path", "branches", "branch_number"):
            try:
                data = self._file.fact_bytes(name)
                if data is None:
                    if name in ("manifest", "state", "path"):
                        note(self._damage, name, "it is missing")
                    continue
                value = unpack_value(data)
                if name == "manifest":
                    Manifest.from_plain(value)
                for digest in array_digests(data) if name == "state" else ():
                    if not self.is_object_whole(digest):
                        note(self._damage, name, "an array is damaged")
                self._contents.facts[name] = data
            except (sqlite3.Error, ValueError) as error:
                note(self._damage, name, error)
        with suppress(KeyError, ValueError):
            self._contents.branches = Branches.unpack(self._contents.facts["branches"])

    def _look_at_chunks(self) -> None:
        listed: list[Damage] = []
        keys = self._file.chunk_keys(damage=listed)
        self._damage.extend(listed)
        missing = len(listed)
        for key in keys:
            what = f"chunk {key[0]} {key[1]} {key[2]}"
            try:
                row = self._file.chunk_row(key)
                if row is None:
                    raise ValueError("its row cannot be found")
            except (sqlite3.Error, ValueError) as error:
                note(self._damage, what, error)
                missing += 1
                continue
            self._contents.rows[key] = row
            if self.is_object_whole(row.digest):
                self._contents.num_chunks += 1
            else:
                note(self._damage, what, "its content is damaged")
        self._contents.num_missing_rows = missing

    def _look_at_keyframes(self) -> None:
        for identity in self._file.keyframe_ids(self._damage):
            try:
                record = self._file.keyframe_record(identity)
                if record is None:
                    raise ValueError("its row cannot be found")
                unpack_value(record.meta)
                self._contents.keyframes.append(record)
                if not all(self.is_object_whole(d) for d in (record.color, record.depth, record.moving)):
                    raise ValueError("a picture is damaged")
                self._contents.num_keyframes += 1
            except (sqlite3.Error, ValueError, TypeError) as error:
                note(self._damage, f"keyframe {identity}", error)

    def _look_at_journal(self) -> None:
        entries = self._file.read_journal(self._damage)
        self._contents.journal = [pack_value([e.kind, e.tick, dict(e.data)]) for e in entries]

    def _look_at_snapshots(self) -> None:
        for info, tree in self._file.read_trees(self._damage):
            missing = [digest for digest in tree.digests() if not self.is_object_whole(digest)]
            if missing:
                note(self._damage, f"snapshot {info.title}", f"{len(missing)} of its parts are damaged")
            self._contents.snapshots.append((info, tree))


def repair_world(path: str | os.PathLike[str]) -> RepairReport | None:
    """Make a whole world of what is left of a damaged one. The damaged file is kept beside it.

    Returns:
        What was done, or None if nothing is damaged.

    Raises:
        WorldFileError: Missing, empty, no world, of another version, or open elsewhere.
        WorldDamagedError: Not even the size of its voxels can be found.
        WorldWriteError: The disk refused.
    """
    p = checked_path(path)
    was_open = _is_unfinished(p)
    with _locked(p):
        _fold_log_in(p)
        contents = _inspect(p, is_unfinished=was_open)
        found = _report_of(contents)
        if not found.damage:
            return None
        draft = p.with_name(f".{p.name}.repaired")
        draft.unlink(missing_ok=True)
        remove_logs(draft)
        create_tables(draft)
        db = connect(draft, read_only=False)
        try:
            db.execute("BEGIN IMMEDIATE")
            lost = _rebuild(db, p, contents)
            db.execute("COMMIT")
        except BaseException:
            db.close()
            draft.unlink(missing_ok=True)
            raise
        counts = [int(db.execute(f"SELECT count(*) FROM {t}").fetchone()[0]) for t in _COUNTED]
        db.execute("VACUUM")
        db.close()
        seal_file(draft)
        kept_as = _free_name(p)
        p.rename(kept_as)
        remove_logs(p)
        draft.rename(p)
        return RepairReport(found, kept_as, counts[0], counts[1], counts[2], tuple(lost))


_COUNTED = ("chunks", "keyframes", "snapshots")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = WriterLock.acquire(path)
    try:
        yield
    finally:
        lock.release()


def _fold_log_in(path: Path) -> None:
    """Bring what a killed program left in the log into the file, and undo what it left half done."""
    if journal_of(path).exists():
        roll_back(path)
    if log_of(path).exists():
        with suppress(sqlite3.Error, WorldFileError):
            db = connect(path, read_only=False)
            try:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                db.close()


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.stem}.damaged{'' if n == 1 else f'-{n}'}{path.suffix}") for n in range(1, 10_000))
    return next(name for name in names if not name.exists())


def _rebuild(db: sqlite3.Connection, path: Path, contents: _Contents) -> list[Damage]:
    """Fill a new world's tables with what is whole; what is lost."""
    lost: list[Damage] = []
    loose: dict[ChunkKey, tuple[int, bytes, int]] = {}  # chunks by key: row number, digest, points
    manifests: list[tuple[int, bytes]] = []
    named = {digest for _, tree in contents.snapshots for digest in tree.digests()}
    for found in carve_objects(path):
        put_object(db, found.digest, found.data)
        if found.data[:4] == CHUNK_MAGIC and found.digest not in named:
            key, num_points = key_of_bytes(found.data)
            if found.number >= loose.get(key, (-1,))[0]:
                loose[key] = (found.number, found.digest, num_points)
        elif found.data[:4] == b"SPVL" and _is_manifest(found.data):
            manifests.append((found.number, found.data))
    stored = {digest for (digest,) in db.execute("SELECT digest FROM objects")}
    _rebuild_facts(db, path, contents, manifests, stored)
    _rebuild_chunks(db, contents, stored, loose, lost)
    saved: set[str] = set()
    for record in contents.keyframes:
        if {record.color, record.depth, record.moving} - {None} <= stored:
            db.execute("INSERT INTO keyframes VALUES (?, ?, ?, ?, ?)", record.columns())
            saved.add(f"keyframe {record.identity}")
    db.executemany("INSERT INTO journal (data) VALUES (?)", [(data,) for data in contents.journal])
    kept = _rebuild_snapshots(db, contents, stored, lost)
    branches = contents.branches or Branches.guessed(kept)
    known = {info.identity for info in kept}
    tips = {name: tip if tip in known else None for name, tip in branches.tips.items()}
    db.execute("INSERT OR REPLACE INTO facts VALUES ('branches', ?)", (replace(branches, tips=tips).pack(),))
    _delete_unnamed(db, contents, kept)
    others = ("keyframe ", "journal ", "state", "path")
    lost += [d for d in contents.damage if d.what.startswith(others) and d.what not in saved]
    return lost


def _is_manifest(data: bytes) -> bool:
    with suppress(ValueError):
        value = unpack_value(data, max_bytes=1 << 20)
        if isinstance(value, dict) and "voxel_size_m" in value:
            Manifest.from_plain(value)
            return True
    return False


def _rebuild_facts(
    db: sqlite3.Connection,
    path: Path,
    contents: _Contents,
    manifests: list[tuple[int, bytes]],
    stored: set[bytes],
) -> None:
    facts = dict(contents.facts)
    facts.pop("branches", None)
    if "manifest" not in facts:
        if not manifests:
            got = "one whose manifest is lost"
            raise WorldDamagedError(explain(path, expected="a world that can be repaired", got=got))
        facts["manifest"] = max(manifests)[1]
    put_object(db, digest_of(facts["manifest"]), facts["manifest"])
    facts["state"] = _state_without_gaps(facts.get("state"), stored)
    facts.setdefault("path", pack_value(np.zeros((0, 4))))
    db.executemany("INSERT INTO facts VALUES (?, ?)", list(facts.items()))


def _state_without_gaps(data: bytes | None, stored: set[bytes]) -> bytes:
    """The state without the entries whose arrays are lost."""
    value = {} if data is None else unpack_value(data)
    return pack_value({name: part for name, part in value.items() if array_digests(pack_value(part)) <= stored})


def _rebuild_chunks(
    db: sqlite3.Connection,
    contents: _Contents,
    stored: set[bytes],
    loose: dict[ChunkKey, tuple[int, bytes, int]],
    lost: list[Damage],
) -> None:
    """The chunks whose rows are whole; where rows are damaged also contents that no row names, the newest of each."""
    rows = {key: row for key, row in contents.rows.items() if row.digest in stored}
    if contents.num_missing_rows > 0 or any(d.what in ("file", "structure") for d in contents.damage):
        candidates: dict[ChunkKey, tuple[bytes, int]] = {}
        tip = max(contents.snapshots, key=lambda s: s[0].identity, default=None)
        if contents.num_missing_rows and tip is not None:
            candidates.update(tip[1].chunks)
        candidates.update({key: (digest, n) for key, (_, digest, n) in loose.items()})
        for key, (digest, num_points) in candidates.items():
            if key not in contents.rows and digest in stored:
                rows[key] = ChunkRow(key, 1, num_points, digest)
    for row in rows.values():
        put_chunk_row(db, row)
        with suppress(ValueError):
            data = db.execute("SELECT data FROM objects WHERE digest = ?", (row.digest,)).fetchone()[0]
            put_beside(db, described(data))
    saved = {_what(key) for key in rows}
    lost += [d for d in contents.damage if d.what.startswith("chunk ") and d.what not in saved]


def _what(key: ChunkKey) -> str:
    return f"chunk {key[0]} {key[1]} {key[2]}"


def _rebuild_snapshots(
    db: sqlite3.Connection, contents: _Contents, stored: set[bytes], lost: list[Damage]
) -> list[SnapshotInfo]:
    kept: list[SnapshotInfo] = []
    for info, tree in contents.snapshots:
        if not {tree.manifest, tree.state, *tree.arrays, *tree.journal, *tree.path} <= stored:
            note(lost, f"snapshot {info.title}", "its facts are damaged")
            continue
        chunks = {key: c for key, c in tree.chunks.items() if c[0] in stored}
        frames = {i: k for i, k in tree.keyframes.items() if {k.color, k.depth, k.moving} - {None} <= stored}
        if len(chunks) + len(frames) < len(tree.chunks) + len(tree.keyframes):
            count = len(tree.chunks) - len(chunks)
            note(lost, f"snapshot {info.title}", f"{count} chunks, {len(tree.keyframes) - len(frames)} keyframes")
        whole = replace(tree, chunks=chunks, keyframes=frames)
        db.execute("INSERT INTO snapshots VALUES (?, ?, ?)", (info.identity, info.name, pack_snapshot(info, whole)))
        kept.append(info)
    return kept


def _delete_unnamed(db: sqlite3.Connection, contents: _Contents, kept: list[SnapshotInfo]) -> None:
    identities = {info.identity for info in kept}
    used = {d for info, tree in contents.snapshots if info.identity in identities for d in tree.digests()}
    used.update(d for row in db.execute("SELECT color, depth, moving FROM keyframes") for d in row)
    used.update(d for (d,) in db.execute("SELECT digest FROM chunks"))
    facts = dict(db.execute("SELECT name, data FROM facts"))
    used |= array_digests(facts["state"]) | {digest_of(facts["manifest"])}
    gone = [(d,) for (d,) in db.execute("SELECT digest FROM objects").fetchall() if d not in used]
    db.executemany("DELETE FROM objects WHERE digest = ?", gone)
