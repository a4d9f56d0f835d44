"""Merging two branches that went on from one snapshot, chunk by chunk."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..world.chunks import ChunkKey
from .errors import ChunkConflict, MergeConflictError, explain
from .history import KeyframeRecord, Tree
from .ledger import digest_of
from .packing import pack_value, unpack_value

ID_COUNTERS = ("next_keyframe_id", "next_request_id")
"""Names in a state; each branch counts from its own start, so that ids of two branches never meet."""
BY_REQUEST = ("settled", "held")
"""Lists in a state whose items carry the "request" that they are about: the director's memory of where it was."""

Content = tuple[bytes, int]


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge took over.

    Attributes:
        added: Chunks that only theirs has.
        changed: Chunks taken from theirs.
        removed: Chunks that theirs removed.
        keyframes: Identities of keyframes that came over.
        conflicts: Chunks that both changed, settled as was asked.
        objects: New objects that the merged world needs.
        digests: Of ``objects``.
    """

    added: tuple[ChunkKey, ...] = ()
    changed: tuple[ChunkKey, ...] = ()
    removed: tuple[ChunkKey, ...] = ()
    keyframes: tuple[int, ...] = ()
    conflicts: tuple[ChunkConflict, ...] = ()
    objects: tuple[bytes, ...] = ()
    digests: tuple[bytes, ...] = ()


def merge_trees(
    path: Path,
    base: Tree,
    ours: Tree,
    theirs: Tree,
    read: Callable[[bytes], bytes],
    prefer: Literal["ours", "theirs"] | None,
) -> tuple[Merged, Tree]:
    """The merged tree and what came from theirs.

    Args:
        path: For messages.
        base: Where the branches parted.
        ours: What is present.
        theirs: What comes in.
        read: An object by its digest.
        prefer: Whose chunk to take where both changed it.

    Raises:
        MergeConflictError: Both changed a chunk and ``prefer`` is None; or shared keyframes stand elsewhere in theirs,
            so that its points are not in our frame.
        ValueError: Something that ``read`` gives is damaged.
    """
    _check_poses(path, base, ours, theirs)
    taken, conflicts = _choose_chunks(base.chunks, ours.chunks, theirs.chunks, prefer)
    if conflicts and prefer is None:
        got = f"{len(conflicts)} that both changed, the first: {conflicts[0]}"
        do = "choose with --prefer ours or --prefer theirs"
        raise MergeConflictError(explain(path, expected="chunks changed on one side", got=got, do=do), conflicts)
    chunks = dict(ours.chunks)
    for key, content in taken.items():
        if content is None:
            chunks.pop(key, None)
        else:
            chunks[key] = content
    coming = {i: k for i, k in theirs.keyframes.items() if i not in base.keyframes and i not in ours.keyframes}
    state = _merge_states(*(unpack_value(read(tree.state)) for tree in (ours, theirs)))
    merged = Merged(
        added=tuple(sorted(k for k, c in taken.items() if c is not None and k not in ours.chunks)),
        changed=tuple(sorted(k for k, c in taken.items() if c is not None and k in ours.chunks)),
        removed=tuple(sorted(k for k, c in taken.items() if c is None)),
        keyframes=tuple(sorted(coming)),
        conflicts=conflicts,
    )
    journal, fresh = _merge_journals(ours, theirs, read)
    objects = (pack_value(state), *fresh)
    digests = tuple(digest_of(data) for data in objects)
    tree = replace(
        ours, chunks=chunks, keyframes={**ours.keyframes, **coming}, state=digests[0], journal=journal
    )  # arrays and path stay ours
    return replace(merged, objects=objects, digests=digests), tree


def _choose_chunks(
    base: Mapping[ChunkKey, Content],
    ours: Mapping[ChunkKey, Content],
    theirs: Mapping[ChunkKey, Content],
    prefer: Literal["ours", "theirs"] | None,
) -> tuple[dict[ChunkKey, Content | None], tuple[ChunkConflict, ...]]:
    """Which chunks come from theirs (None: removed there), and which both changed."""
    taken: dict[ChunkKey, Content | None] = {}
    conflicts: list[ChunkConflict] = []
    for key in sorted({*base, *ours, *theirs}):
        before, here, there = base.get(key), ours.get(key), theirs.get(key)
        if there in (before, here):
            continue
        if here != before:
            points = tuple(0 if c is None else c[1] for c in (before, here, there))
            conflicts.append(ChunkConflict(key, (points[0], points[1], points[2])))
            if prefer != "theirs":
                continue
        taken[key] = there
    return taken, tuple(conflicts)


def _check_poses(path: Path, base: Tree, ours: Tree, theirs: Tree) -> None:
    for identity in sorted({*base.keyframes} & {*ours.keyframes} & {*theirs.keyframes}):
        here, there = ours.keyframes[identity], theirs.keyframes[identity]
        if here.meta != there.meta and _pose_of(here) != _pose_of(there):
            got = f"keyframe {identity} at two places"
            do = "the branches' poses were corrected differently; check out one of them instead"
            raise MergeConflictError(explain(path, expected="the same poses in both branches", got=got, do=do))


def _pose_of(record: KeyframeRecord) -> Any:
    return unpack_value(record.meta)["world_T_camera"]


def _merge_states(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Ours, with what the director has settled in theirs."""
    merged = dict(ours)
    for name in BY_REQUEST:
        mine = list(ours.get(name, []))
        known = {item.get("request") for other in BY_REQUEST for item in ours.get(other, [])}
        merged[name] = mine + [item for item in theirs.get(name, []) if item.get("request") not in known]
        if not merged[name] and name not in ours:
            del merged[name]
    return merged


def _merge_journals(ours: Tree, theirs: Tree, read: Callable[[bytes], bytes]) -> tuple[tuple[bytes, ...], list[bytes]]:
    """Ours, then what theirs has beyond the part that both share, as one segment."""
    mine = [entry for digest in ours.journal for entry in unpack_value(read(digest))]
    other = [entry for digest in theirs.journal for entry in unpack_value(read(digest))]
    packed = [pack_value(entry) for entry in mine]
    seen = set(packed)
    new = [entry for entry in other if pack_value(entry) not in seen]
    if not new:
        return ours.journal, []
    data = pack_value(new)
    return (*ours.journal, digest_of(data)), [data]
