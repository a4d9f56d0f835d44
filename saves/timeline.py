"""The history of a world file: taking snapshots, going back to them, branches, merging, cleaning up."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..world.chunks import ChunkKey
from .errors import DamageError, WorldHistoryError, explain
from .history import (
    Branches,
    SnapshotInfo,
    Tree,
    ancestors,
    check_name,
    merge_base,
    pack_snapshot,
    resolve,
)
from .ledger import digest_of
from .merging import ID_COUNTERS, Merged, merge_trees
from .packing import pack_value, unpack_value
from .past import HistoryReader
from .rows import ChunkRow, as_bytes
from .state import Damage
from .summaries import delete_beside
from .writing import put_chunk_row, put_object

IDS_PER_BRANCH = 1 << 20
"""Each branch counts keyframes and requests from its own number times this, so that merged branches never mix them."""
MAX_BRANCHES = 4000


@dataclass(frozen=True, slots=True)
class CheckoutReport:
    """What a checkout did.

    Attributes:
        snapshot: What is present now.
        secured: The snapshot that was taken of what was present before; None if it was in the last snapshot already.
        branch: The branch that the walk is on now.
        is_new_branch: True if it was started for this.
        changed: Keys of the chunks that differ from before.
    """

    snapshot: SnapshotInfo
    secured: SnapshotInfo | None
    branch: str
    is_new_branch: bool
    changed: tuple[ChunkKey, ...]


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge did.

    Attributes:
        snapshot: The merged world; the last snapshot if there was nothing to merge, so that nothing was written.
        merged: Chunks and keyframes that were taken over, and conflicts that were settled.
        changed: Keys of the chunks that differ from before.
    """

    snapshot: SnapshotInfo
    merged: Merged
    changed: tuple[ChunkKey, ...]


@dataclass(frozen=True, slots=True)
class GcReport:
    """What cleaning up did.

    Attributes:
        snapshots: Removed snapshots.
        objects: Removed objects.
        bytes_before: Size of the file before.
        bytes_after: Size of the file after.
    """

    snapshots: int
    objects: int
    bytes_before: int
    bytes_after: int


class Timeline(HistoryReader):
    """Taking snapshots of an open world file and moving between them. Any thread may call any method.

    All of it works on digests: nothing but chunks that a merge or a diff looks into is ever decoded.
    """

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction on the writing connection; on any fault it is rolled back."""
        raise NotImplementedError
        yield

    def pinned(self) -> frozenset[bytes]:
        """Digests of all objects that snapshots name.

        Raises:
            WorldHistoryError: A snapshot is damaged, so that it is not known.
        """
        known = self._ledger.pinned
        if known is None:
            damage: list[Damage] = []
            known = frozenset[bytes]().union(*(tree.digests() for _, tree in self.read_trees(damage)))
            if damage:
                raise self._damaged(damage)
            self._ledger.note_pinned(known)
        return known

    def snapshot(self, name: str = "", *, note: str = "", when: str = "") -> SnapshotInfo:
        """Take a snapshot of what is present, as it was saved last.

        Args:
            name: Unique, or empty.
            note: Why.
            when: Time as text.

        Raises:
            WorldHistoryError: The name is taken or none, or what is present is damaged.
            WorldWriteError: The disk refused, or the file is not open for writing.
        """
        with self._transaction() as db:
            if name:
                check_name(self._path, name, self._names())
            return self._take(db, self.branches(), name=name, note=note, when=when)

    def branch(self, name: str, *, when: str = "") -> SnapshotInfo:
        """Start a branch at what is present, and go on there.

        Returns:
            The snapshot that it starts from.

        Raises:
            WorldHistoryError: The name is taken or none, or what is present is damaged.
            WorldWriteError: The disk refused, or the file is not open for writing.
        """
        with self._transaction() as db:
            check_name(self._path, name, self._names())
            branches = self.branches()
            start, _ = self._secure(db, branches, note=f"before branch {name}", when=when)
            branches = branches.moved(start.identity)
            self._write_branches(db, branches.moved(start.identity, name))
            self._start_counting(db, branches, as_bytes(self._fact("state")))
        self._ledger.forget(())
        return start

    def checkout(self, reference: str, *, when: str = "") -> CheckoutReport:
        """Make a snapshot or the end of a branch present; what was present is kept in a snapshot.

        A snapshot that is not the end of a branch starts a branch named after it.

        Raises:
            WorldHistoryError: There is no such snapshot or it is damaged, or what is present is.
            WorldWriteError: The disk refused, or the file is not open for writing.
        """
        with self._transaction() as db:
            snapshots, before = self.snapshots(), self.branches()
            target = resolve(self._path, reference, snapshots, before)
            tree = self._read_tree(target.identity)[1]
            present, _ = self.present()
            tip, secured = self._secure(db, before, note=f"before checkout of {reference}", when=when)
            branches = before.moved(tip.identity)
            if reference == before.current and reference in before.tips:
                target, tree = tip, present  # its end is what is present
            branch = _branch_to_walk(reference, target, branches, self._names())
            is_new = branch not in branches.tips
            changed = self._make_present(db, tree, present)
            self._write_branches(db, branches.moved(target.identity, branch))
            if is_new:
                self._start_counting(db, branches, self.required_object(tree.state))
        self._ledger.forget(changed)
        return CheckoutReport(target, secured, branch, is_new, changed)

    def merge(self, reference: str, prefer: Literal["ours", "theirs"] | None = None, *, when: str = "") -> MergeReport:
        """Bring another branch's changes into what is present. Pose, prompt and the rest of the state stay ours.

        Args:
            reference: A branch, or a snapshot.
            prefer: Whose chunk to take where both changed it.
            when: Time as text.

        Raises:
            MergeConflictError: Both changed the same chunks and ``prefer`` is not given, or the branches were
                corrected differently; nothing was changed.
            WorldHistoryError: There is no such branch, it has nothing in common, or something is damaged.
            WorldWriteError: The disk refused, or the file is not open for writing.
        """
        if prefer not in (None, "ours", "theirs"):
            raise ValueError(f'prefer: expected "ours", "theirs" or None, got {prefer!r}')
        with self._transaction() as db:
            snapshots, branches = self.snapshots(), self.branches()
            theirs = resolve(self._path, reference, snapshots, branches)
            last = next((s for s in snapshots if s.identity == branches.tip), None)
            if last is not None and merge_base(last.identity, theirs.identity, snapshots) == theirs.identity:
                return MergeReport(last, Merged(), ())
            present, _ = self.present()
            ours, secured = self._secure(db, branches, note=f"before merge of {reference}", when=when)
            branches = branches.moved(ours.identity)
            known = [*snapshots, *([secured] if secured else [])]
            base = merge_base(ours.identity, theirs.identity, known)
            if base is None:
                do = "only branches of one world can be merged"
                got = "nothing in common"
                raise WorldHistoryError(explain(self._path, expected="a common past", got=got, do=do))
            base_tree = present if base == ours.identity else self._read_tree(base)[1]
            their_tree = self._read_tree(theirs.identity)[1]
            merged, tree = merge_trees(self._path, base_tree, present, their_tree, self.required_object, prefer)
            for data in merged.objects:
                put_object(db, digest_of(data), data)
            changed = self._make_present(db, tree, present, dict(zip(merged.digests, merged.objects, strict=True)))
            info = replace(
                self._new_info(db, branches, tree, when), parents=(ours.identity, theirs.identity),
                note=f"merge of {reference}",
            )  # fmt: skip
            self._insert(db, info, tree)
            self._write_branches(db, branches.moved(info.identity))
        self._ledger.forget(changed)
        return MergeReport(info, merged, changed)

    def forget_name(self, name: str) -> None:
        """Take a name from a snapshot, or remove a branch; ``gc`` then removes what nothing leads to.

        Raises:
            WorldHistoryError: There is no such name, or it is the branch that the walk is on.
            WorldWriteError: The disk refused, or the file is not open for writing.
        """
        with self._transaction() as db:
            branches = self.branches()
            if name == branches.current:
                do = "check out another branch first"
                raise WorldHistoryError(explain(self._path, expected="another branch", got=f"{name!r}", do=do))
            if name in branches.tips:
                tips = {k: v for k, v in branches.tips.items() if k != name}
                self._write_branches(db, replace(branches, tips=tips))
                return
            info = next((s for s in self.snapshots() if s.name and s.name == name), None)
            if info is None:
                resolve(self._path, name, (), branches)
                raise AssertionError("resolve raises")
            self._insert(db, replace(info, name=""), self._read_tree(info.identity)[1])

    def gc(self, *, prune: bool = False) -> GcReport:
        """Remove what nothing leads to, and give its space back to the disk.

        Snapshots without a name go if no branch leads to them.

        Args:
            prune: Also remove snapshots without a name in between: neither a branch's end nor where branches part.

        Raises:
            WorldHistoryError: Something is damaged, so that it is not known what is needed.
            WorldWriteError: The disk refused, or the file is not open for writing.
        """
        before = self._path.stat().st_size
        with self._transaction() as db:
            trees, branches = self._whole_trees(), self.branches()
            kept = _worth_keeping([info for info, _ in trees], branches, prune=prune)
            gone = [info for info, _ in trees if info.identity not in kept]
            db.executemany("DELETE FROM snapshots WHERE id = ?", [(info.identity,) for info in gone])
            for info, tree in trees:
                if info.identity in kept and kept[info.identity] != info.parents:
                    self._insert(db, replace(info, parents=kept[info.identity]), tree)
            pinned = frozenset[bytes]().union(*(tree.digests() for info, tree in trees if info.identity in kept))
            used = pinned | self.present()[0].digests() | self._ledger.live
            unused = [d for (d,) in db.execute("SELECT digest FROM objects").fetchall() if d not in used]
            db.executemany("DELETE FROM objects WHERE digest = ?", [(d,) for d in unused])
            delete_beside(db, unused)
            self._ledger.note_pinned(pinned)
        self._compact()
        return GcReport(len(gone), len(unused), before, self._path.stat().st_size)

    def _compact(self) -> None:
        """Rebuild the file without gaps."""
        raise NotImplementedError

    def _whole_trees(self) -> list[tuple[SnapshotInfo, Tree]]:
        damage: list[Damage] = []
        trees = self.read_trees(damage)
        if damage:
            raise self._damaged(damage)
        return trees

    # Parts of the above; they run inside a transaction and read the state before it

    def _names(self) -> set[str]:
        return {*self.branches().tips, *(s.name for s in self.snapshots() if s.name)}

    def _take(self, db: sqlite3.Connection, branches: Branches, **facts: str) -> SnapshotInfo:
        tree, fresh = self.present()
        for digest, data in fresh.items():
            put_object(db, digest, data)
        info = replace(self._new_info(db, branches, tree, facts["when"]), name=facts["name"], note=facts["note"])
        self._insert(db, info, tree)
        self._write_branches(db, branches.moved(info.identity))
        return info

    def _new_info(self, db: sqlite3.Connection, branches: Branches, tree: Tree, when: str) -> SnapshotInfo:
        last = int(db.execute("SELECT coalesce(max(id), 0) FROM snapshots").fetchone()[0])
        state = unpack_value(self._fact("state") or pack_value({}))
        return SnapshotInfo(
            identity=last + 1,
            name="",
            parents=() if branches.tip is None else (branches.tip,),
            branch=branches.current,
            when=when,
            tick=int(state.get("tick", 0)),
            num_points=tree.num_points,
            num_chunks=len(tree.chunks),
            num_keyframes=len(tree.keyframes),
        )

    def _insert(self, db: sqlite3.Connection, info: SnapshotInfo, tree: Tree) -> None:
        row = (info.identity, info.name, pack_snapshot(info, tree))
        db.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)", row)
        pinned = self._ledger.pinned
        if pinned is not None:
            self._ledger.note_pinned(pinned | tree.digests())  # too many, if this is rolled back, does no harm

    def _secure(
        self, db: sqlite3.Connection, branches: Branches, *, note: str, when: str
    ) -> tuple[SnapshotInfo, SnapshotInfo | None]:
        """The snapshot that holds what is present; and the same again if it was taken for this."""
        if branches.tip is not None:
            info, tree = self._read_tree(branches.tip)
            if tree.is_same(self.present()[0]):
                return info, None
        info = self._take(db, branches, name="", note=note, when=when)
        return info, info

    def _write_branches(self, db: sqlite3.Connection, branches: Branches) -> None:
        db.execute("INSERT OR REPLACE INTO facts VALUES ('branches', ?)", (branches.pack(),))

    def _start_counting(self, db: sqlite3.Connection, branches: Branches, state: bytes) -> None:
        """Let a new branch count keyframes and requests from where no other branch does."""
        number = 1 + max((int(v) for v in self._counted(db)), default=0)
        if number > MAX_BRANCHES:
            got = f"{number}"
            raise WorldHistoryError(explain(self._path, expected=f"at most {MAX_BRANCHES} branches", got=got))
        db.execute("INSERT OR REPLACE INTO facts VALUES ('branch_number', ?)", (pack_value(number),))
        value = unpack_value(state)
        for counter in ID_COUNTERS:
            value[counter] = max(int(value.get(counter, 1)), number * IDS_PER_BRANCH)
        db.execute("INSERT OR REPLACE INTO facts VALUES ('state', ?)", (pack_value(value),))

    def _counted(self, db: sqlite3.Connection) -> list[int]:
        row = db.execute("SELECT data FROM facts WHERE name = 'branch_number'").fetchone()
        return [] if row is None else [int(unpack_value(row[0]))]

    def _make_present(
        self, db: sqlite3.Connection, tree: Tree, present: Tree, fresh: Mapping[bytes, bytes] | None = None
    ) -> tuple[ChunkKey, ...]:
        """Bring the tables to a tree; the keys of chunks that change."""
        added = fresh or {}
        keys = {*tree.chunks, *present.chunks}
        changed = tuple(sorted(k for k in keys if tree.chunks.get(k) != present.chunks.get(k)))
        revision = 1 + int(db.execute("SELECT coalesce(max(revision), 0) FROM chunks").fetchone()[0])
        for key in changed:
            content = tree.chunks.get(key)
            if content is None:
                db.execute("DELETE FROM chunks WHERE x = ? AND y = ? AND z = ?", key)
                continue
            if content[0] not in added and self.object_bytes(content[0]) is None:
                what = f"chunk {key[0]} {key[1]} {key[2]}"
                raise self._damaged([Damage(what, "its content is missing")])
            put_chunk_row(db, ChunkRow(key, revision, content[1], content[0]))
        for identity in {*tree.keyframes, *present.keyframes}:
            if tree.keyframes.get(identity) != present.keyframes.get(identity):
                db.execute("DELETE FROM keyframes WHERE id = ?", (identity,))
                if identity in tree.keyframes:
                    columns = tree.keyframes[identity].columns()
                    db.execute("INSERT INTO keyframes VALUES (?, ?, ?, ?, ?)", columns)
        try:
            self._write_facts(db, tree, present, added)
        except DamageError as error:
            raise self._damaged([Damage(error.what, error.reason)]) from error
        return changed

    def _write_facts(self, db: sqlite3.Connection, tree: Tree, present: Tree, fresh: Mapping[bytes, bytes]) -> None:
        def data_of(digest: bytes) -> bytes:
            return fresh[digest] if digest in fresh else self.required_object(digest)

        try:
            facts = {"manifest": data_of(tree.manifest), "state": data_of(tree.state)}
            if tree.path != present.path:
                parts = [np.asarray(unpack_value(data_of(d)), np.float64).reshape(-1, 4) for d in tree.path]
                facts["path"] = pack_value(np.concatenate(parts) if parts else np.zeros((0, 4)))
            entries = [e for d in tree.journal for e in unpack_value(data_of(d))] if tree.journal else []
        except (sqlite3.Error, ValueError) as error:
            raise DamageError("the snapshot", str(error)) from error
        db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", list(facts.items()))
        if tree.journal != present.journal:
            db.execute("DELETE FROM journal")
            rows = [(i, pack_value(entry)) for i, entry in enumerate(entries, start=1)]
            db.executemany("INSERT INTO journal VALUES (?, ?)", rows)


def _branch_to_walk(reference: str, target: SnapshotInfo, branches: Branches, names: set[str]) -> str:
    """The branch to be on after a checkout: the one meant, the one that ends there, or a new one."""
    if reference in branches.tips:
        return reference
    ending = [name for name, tip in branches.tips.items() if tip == target.identity]
    if ending:
        return target.branch if target.branch in ending else ending[0]
    stem = f"from-{target.title.removeprefix('#')}"[:56]
    return next(n for n in (stem, *(f"{stem}-{i}" for i in range(2, 10_000))) if n not in names)


def _worth_keeping(snapshots: list[SnapshotInfo], branches: Branches, *, prune: bool) -> dict[int, tuple[int, ...]]:
    """Snapshots to keep, with the parents that they have then."""
    tips = {tip for tip in branches.tips.values() if tip is not None}
    roots = tips | {s.identity for s in snapshots if s.name}
    kept = {i for root in roots for i in ancestors(root, snapshots)}
    by_identity = {s.identity: s for s in snapshots}
    if prune:
        children = [p for i in kept for p in by_identity[i].parents]
        forks = {p for p in children if children.count(p) > 1}
        joined = {p for i in kept if len(by_identity[i].parents) > 1 for p in by_identity[i].parents}
        kept &= roots | forks | joined

    def parents_of(identity: int) -> tuple[int, ...]:
        found: list[int] = []
        for parent in by_identity[identity].parents:
            found += [parent] if parent in kept or parent not in by_identity else parents_of(parent)
        return tuple(dict.fromkeys(found))

    return {i: parents_of(i) for i in kept}
