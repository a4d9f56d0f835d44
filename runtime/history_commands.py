"""What the commands about a world's history and health do: snapshot, branch, log, diff, checkout, merge, gc, check."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..saves.check import check_world, repair_world
from ..saves.diff import WorldDiff, diff_trees, iter_chunk_diffs
from ..saves.errors import MergeConflictError
from ..saves.history import PRESENT, SnapshotInfo, Tree
from ..saves.merging import Merged
from ..saves.packing import unpack_value
from ..saves.store import WorldFile
from ..world.transforms import as_rigid
from . import commands
from .errors import UserError
from .history import log_of, time_now
from .progress import progress_bar

MAX_LINES = 20
"""Conflicts, damages and chunks beyond so many are counted, not listed."""


def run(command: object) -> int:
    """Run one of these commands; its exit status."""
    for kind, function in RUNNERS.items():
        if isinstance(command, kind):
            return function(command)
    raise AssertionError(command)


def snapshot(command: commands.Snapshot) -> int:
    """``spatia snapshot``."""
    with WorldFile.open(command.world) as file:
        if command.delete:
            file.forget_name(command.name)
            print(f"{command.name} has no name any more; `spatia gc` frees its space")
            return 0
        print(_line_of(file.snapshot(command.name, when=time_now())))
    return 0


def branch(command: commands.Branch) -> int:
    """``spatia branch``."""
    if not command.name:
        with WorldFile.open(command.world, read_only=True) as file:
            branches = file.branches()
        for name, tip in sorted(branches.tips.items()):
            print(f"{'*' if name == branches.current else ' '} {name}  {'' if tip is None else f'#{tip}'}".rstrip())
        return 0
    with WorldFile.open(command.world) as file:
        if command.delete:
            file.forget_name(command.name)
            print(f"branch {command.name} is removed; `spatia gc` frees its space")
        else:
            start = file.branch(command.name, when=time_now())
            print(f"on branch {command.name}, from {start.title}")
    return 0


def log(command: commands.Log) -> int:
    """``spatia log``."""
    with WorldFile.open(command.world, read_only=True) as file:
        snapshots, branches = log_of(file, is_whole=command.all), file.branches()
    if command.json:
        facts = [{name: getattr(s, name) for name in SnapshotInfo.__slots__} for s in snapshots]
        print(json.dumps({"branch": branches.current, "tips": dict(branches.tips), "snapshots": facts}, indent=2))
        return 0
    print(f"on branch {branches.current}")
    for info in snapshots:
        print(_line_of(info))
    return 0


def _line_of(info: SnapshotInfo) -> str:
    words = [f"#{info.identity}", info.name, info.when, f"{info.branch}:", f"{info.num_points:,} points"]
    words += [f"{info.num_keyframes} keyframes", f"tick {info.tick}", f"({info.note})" if info.note else ""]
    return "  ".join(word for word in words if word)


def checkout(command: commands.Checkout) -> int:
    """``spatia checkout``."""
    with WorldFile.open(command.world) as file:
        report = file.checkout(command.name, when=time_now())
    if report.secured is not None:
        print(f"what was present is kept as {report.secured.title}")
    print(f"now {report.snapshot.title} on {'new ' if report.is_new_branch else ''}branch {report.branch}")
    return 0


def merge(command: commands.Merge) -> int:
    """``spatia merge``."""
    prefer = command.prefer or None
    if prefer not in (None, "ours", "theirs"):
        raise UserError("--prefer ours | theirs", repr(command.prefer), "name one of these, or leave it out")
    with WorldFile.open(command.world) as file:
        try:
            report = file.merge(command.branch, prefer, when=time_now())
        except MergeConflictError as error:
            for line in _first(error.conflicts):
                print(line)
            raise
    merged = report.merged
    if merged == Merged():
        print(f"nothing to merge: all of {command.branch} is here already")
        return 0
    chunks = {"added": merged.added, "changed": merged.changed, "removed": merged.removed}
    counts = [f"{len(keys)} chunks {what}" for what, keys in chunks.items() if keys]
    counts += [f"{len(merged.keyframes)} keyframes added"] if merged.keyframes else []
    print(", ".join(counts) or "no chunk differs")
    for conflict in _first(merged.conflicts):
        print(f"{prefer} taken: {conflict}")
    print(_line_of(report.snapshot))
    return 0


def gc(command: commands.Gc) -> int:
    """``spatia gc``."""
    with WorldFile.open(command.world) as file:
        report = file.gc(prune=command.prune)
    freed = report.bytes_before - report.bytes_after
    print(f"{report.snapshots} snapshots and {report.objects} objects removed, {freed / 2**20:.1f} MiB freed")
    return 0


def diff(command: commands.Diff) -> int:
    """``spatia diff``."""
    with _moments(command.a, command.b) as ((file_a, a), (file_b, b)):
        size = {f.path: f.read_manifest().voxel_size_m for f in (file_a, file_b)}
        if len(set(size.values())) > 1:
            raise UserError(
                "two worlds with voxels of one size", " and ".join(map(str, size.values())), "compare others"
            )
        with progress_bar("comparing"):
            found = diff_trees(file_a, a, b, file_b)
            if command.picture is not None:
                _draw(command.picture, (file_a, a), (file_b, b))
    facts = _facts_of(found)
    if command.json:
        print(json.dumps(facts, indent=2))
        return 0
    print(f"points: {found.added:,} added, {found.removed:,} removed, {found.changed:,} changed, {found.same:,} same")
    print(f"chunks: {len(found.chunks):,} differ")
    frames = {k: facts["keyframes"][k] for k in ("added", "removed", "changed")}
    print("keyframes: " + ", ".join(f"{len(ids)} {what}" for what, ids in frames.items()))
    return 0


def _facts_of(found: WorldDiff) -> dict:
    return {
        "points": {name: getattr(found, name) for name in ("added", "removed", "changed", "same")},
        "chunks": [
            {"key": list(key), "added": n[0], "removed": n[1], "changed": n[2]} for key, n in found.chunks.items()
        ],
        "keyframes": {
            "added": list(found.keyframes_added),
            "removed": list(found.keyframes_removed),
            "changed": list(found.keyframes_changed),
        },
    }


@contextmanager
def _moments(a: str, b: str) -> Iterator[tuple[tuple[WorldFile, Tree], tuple[WorldFile, Tree]]]:
    """The two sides of a diff, each ``WORLD`` or ``WORLD@NAME``; the second may be a bare name of the first's."""
    path_a, name_a = split_moment(a)
    path_b, name_b = (path_a, b.removeprefix("@") or PRESENT) if not _is_world(b) else split_moment(b)
    with ExitStack() as stack:
        file_a = stack.enter_context(WorldFile.open(path_a, read_only=True))
        same = path_a.resolve() == path_b.resolve()
        file_b = file_a if same else stack.enter_context(WorldFile.open(path_b, read_only=True))
        yield (file_a, file_a.tree(name_a)), (file_b, file_b.tree(name_b))


def _is_world(text: str) -> bool:
    path, _ = split_moment(text)
    return path.suffix == ".spatia" or path.exists()


def split_moment(text: str) -> tuple[Path, str]:
    """``WORLD@NAME`` as the world's path and the name; "now" where there is none."""
    if Path(text).exists() or "@" not in text:
        return Path(text), PRESENT
    path, _, name = text.rpartition("@")
    return Path(path), name or PRESENT


def _draw(out: Path, a: tuple[WorldFile, Tree], b: tuple[WorldFile, Tree]) -> None:
    from ..renderer.capture import write_png
    from .diff_picture import draw_diff

    if out.suffix.lower() != ".png":
        raise UserError("--picture NAME.png", repr(str(out)), "give it the ending .png")
    manifest = b[0].read_manifest()
    state = unpack_value(b[0].required_object(b[1].state)) if b[0].object_bytes(b[1].state) else b[0].read_state()
    pose = state.get("pose", np.reshape(manifest.start_pose, (4, 4)))
    diffs = iter_chunk_diffs(a[0], a[1], b[1], b[0], everything=True)
    write_png(out, draw_diff(diffs, manifest.voxel_size_m, as_rigid(pose), manifest.up_world))


def check(command: commands.Check) -> int:
    """``spatia check``."""
    if command.repair:
        return _repair(command)
    report = check_world(command.world)
    for line in _first(report.damage):
        print(line)
    print(f"whole: {report.num_chunks} chunks, {report.num_keyframes} keyframes, {report.num_snapshots} snapshots")
    if report.damage:
        got = f"{len(report.damage)} damaged parts"
        raise UserError("an undamaged world", got, "save what is whole with `spatia check --repair`")
    print("no damage found")
    return 0


def _repair(command: commands.Check) -> int:
    report = repair_world(command.world)
    if report is None:
        print("no damage found; nothing was done")
        return 0
    for line in _first(report.found.damage):
        print(line)
    for line in _first(report.lost):
        print(f"lost: {line}")
    print(f"{report.num_chunks} chunks, {report.num_keyframes} keyframes and {report.num_snapshots} snapshots saved")
    print(f"the damaged file is kept as {report.kept_as}")
    return 0


def _first(items: tuple) -> Iterator[str]:
    for item in items[:MAX_LINES]:
        yield str(item)
    if len(items) > MAX_LINES:
        yield f"… and {len(items) - MAX_LINES} more"


RUNNERS: dict[type, Callable[[Any], int]] = {
    commands.Snapshot: snapshot,
    commands.Branch: branch,
    commands.Log: log,
    commands.Diff: diff,
    commands.Checkout: checkout,
    commands.Merge: merge,
    commands.Gc: gc,
    commands.Check: check,
}
