"""Everything that reads what a stranger may have written: how to make it valid, and how to read it."""

import io
import sqlite3
import struct
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard
from PIL import Image
from spatia.input.keymap import DEFAULT_FILE, KeymapError, load_keymap
from spatia.input.script import parse_actions
from spatia.runtime.errors import UserError
from spatia.runtime.record import Recorder, Recording
from spatia.saves import coarse_codec, codec
from spatia.saves.check import check_world
from spatia.saves.coarse_codec import decode_coarse, encode_coarse
from spatia.saves.codec import ChunkDecodeError, decode_chunk, encode_chunk
from spatia.saves.errors import DamageError, ExportError, SaveError, SourceError
from spatia.saves.exports import export_world
from spatia.saves.history import Branches, unpack_snapshot
from spatia.saves.intrinsics import read_intrinsics
from spatia.saves.keyframe_codec import KeyframeBlobs, decode_keyframe, encode_keyframe
from spatia.saves.packing import ValueDecodeError, pack_depth, pack_value, seal, unpack_depth, unpack_value, unseal
from spatia.saves.pictures import read_depth, read_photo
from spatia.saves.ply import read_ply, write_ply
from spatia.saves.recordings import load_recording
from spatia.saves.store import WorldFile
from spatia.saves.trajectories import read_trajectory, write_trajectory
from spatia.tests.fuzz.mutations import mutated
from spatia.tests.saves.worlds import make_chunk, make_keyframe, make_state
from spatia.world.chunks import check_chunk
from spatia.world.coarse import coarsen
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointBatch

Mutate = Callable[[bytes, np.random.Generator], bytes]


@dataclass(frozen=True, slots=True)
class Target:
    """One reader.

    Attributes:
        name: For reports.
        share: How often it is tried, relative to the others.
        seeds: Valid inputs.
        read: Reads one, given as bytes and as a path that may be written to; raises ``allowed`` or nothing.
        allowed: What it may raise for a spoilt input.
        mutate: Spoils an input.
    """

    name: str
    share: float
    seeds: Sequence[bytes]
    read: Callable[[bytes, Path], object]
    allowed: tuple[type[Exception], ...]
    mutate: Mutate


def as_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Any bytes."""
    return mutated(data, rng)


def as_text(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes that look like text."""
    return mutated(data, rng, is_text=True)


def spoilt_chunk(data: bytes, rng: np.random.Generator) -> bytes:
    """A chunk with spoilt planes behind a checksum that fits, so that what lies behind it is reached."""
    if rng.random() < 0.2:
        return mutated(data, rng)
    head = codec.HEADER.size
    planes = _planes_of(data)
    for _ in range(int(rng.integers(1, 3))):
        chosen = int(rng.integers(len(planes)))
        planes[chosen] = mutated(planes[chosen], rng)
    body = b"".join(_stored(plane) for plane in planes)
    header = mutated(data[: head - 4], rng)[: head - 4] if rng.random() < 0.2 else data[: head - 4]
    header = header.ljust(head - 4, b"\0")
    checksum = zlib.crc32(body, zlib.crc32(header + bytes(4)))
    return header + struct.pack("<I", checksum) + body


def _planes_of(data: bytes) -> list[bytes]:
    at, planes = codec.HEADER.size, []
    while at < len(data):
        method, size, stored = codec.PLANE.unpack_from(data, at)
        at += codec.PLANE.size
        part, at = data[at : at + stored], at + stored
        planes.append([part, zstandard.decompress(part) if method == 1 else b"", part * size][method])
    return planes


def _stored(plane: bytes) -> bytes:
    if len(plane) > 1 and plane == plane[:1] * len(plane):
        return codec.PLANE.pack(2, len(plane), 1) + plane[:1]
    packed = zstandard.compress(plane, 1) if plane else b""
    method, part = (1, packed) if len(packed) < len(plane) else (0, plane)
    return codec.PLANE.pack(method, len(plane), len(part)) + part


def _read_chunk(data: bytes, _: Path) -> None:
    chunk = decode_chunk(data)
    if chunk.num_points:
        check_chunk(chunk)
        assert decode_chunk(encode_chunk(chunk)).num_points == chunk.num_points


def spoilt_coarse(data: bytes, rng: np.random.Generator) -> bytes:
    """A coarser level with spoilt content behind a checksum that fits."""
    if rng.random() < 0.2:
        return mutated(data, rng)
    head = coarse_codec._HEADER.size
    body = zstandard.compress(mutated(zstandard.decompress(data[head:]), rng), 1)
    header = mutated(data[: head - 4], rng)[: head - 4] if rng.random() < 0.3 else data[: head - 4]
    header = header.ljust(head - 4, b"\0")
    return header + struct.pack("<I", zlib.crc32(body, zlib.crc32(header + bytes(4)))) + body


def _read_coarse(data: bytes, _: Path) -> None:
    chunk = decode_coarse(data)
    if chunk.num_points:
        check_chunk(chunk)
        assert decode_coarse(encode_coarse(chunk)).num_points == chunk.num_points


def _at_path(read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def run(data: bytes, path: Path) -> object:
        path.write_bytes(data)
        return read(path)

    return run


def _read_world(path: Path) -> None:
    with WorldFile.open(path, read_only=True) as file:
        file.load()
        for stored in file.read_stored().values():
            for read in (file.load_stored, file.load_coarse):
                with suppress(DamageError):
                    read(stored)
        for info in file.snapshots():
            file.load_snapshot(f"#{info.identity}")


def _spoilt_world(folder: Path) -> Mutate:
    """Any byte of the file, or a value in one of its tables."""

    def spoil(data: bytes, rng: np.random.Generator) -> bytes:
        if rng.random() < 0.5:
            return mutated(data, rng)
        path = folder / "row.spatia"
        path.write_bytes(data)
        db = sqlite3.connect(path)
        try:
            tables = [t for (t,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
            for _ in range(int(rng.integers(1, 4))):
                table = tables[int(rng.integers(len(tables)))]
                columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
                rows = db.execute(f"SELECT rowid, * FROM {table}").fetchall()
                if rows:
                    row, at = rows[int(rng.integers(len(rows)))], int(rng.integers(len(columns)))
                    db.execute(f"UPDATE OR IGNORE {table} SET {columns[at]} = ? WHERE rowid = ?",
                               (_spoilt_value(row[at + 1], rng), row[0]))  # fmt: skip
            db.commit()
        except sqlite3.Error:
            pass  # a table without row numbers, a value that the table refuses
        finally:
            db.close()
        return path.read_bytes()

    return spoil


def _spoilt_value(value: object, rng: np.random.Generator) -> object:
    if isinstance(value, bytes) and rng.random() < 0.8:
        return mutated(value, rng)
    return [None, 0, -1, 2**63 - 1, 1.5, "text", b"", b"\0" * 16][int(rng.integers(8))]


def _keyframe_seed() -> bytes:
    blobs = encode_keyframe(make_keyframe(3))
    return pack_value([blobs.meta, blobs.color, blobs.depth, blobs.moving])


def resealed(data: bytes, rng: np.random.Generator) -> bytes:
    """What lies behind a seal spoilt and sealed again, so that the checksum does not keep it away."""
    try:
        return seal(mutated(unseal(data), rng)) if rng.random() < 0.7 else mutated(data, rng)
    except ValueDecodeError:
        return mutated(data, rng)


def _spoilt_keyframe(data: bytes, rng: np.random.Generator) -> bytes:
    parts = list(unpack_value(data))
    chosen = int(rng.integers(len(parts)))
    if parts[chosen] is not None:
        parts[chosen] = resealed(parts[chosen], rng)
    return pack_value(parts)


def _read_keyframe(data: bytes, _: Path) -> None:
    meta, color, depth, moving = unpack_value(data)
    decode_keyframe(KeyframeBlobs(meta, color, depth, moving))


def _read_values(data: bytes, _: Path) -> None:
    for read in (unpack_value, unseal, Branches.unpack, unpack_snapshot, lambda d: unpack_depth(d, (24, 32))):
        try:
            read(data)
        except ValueDecodeError:
            continue


def _recording_seed(path: Path) -> bytes:
    from spatia.input.intents import Intent

    recorder = Recorder(path, {"generator": "none", "seed": 1, "tick_s": 1 / 24, "size": [64, 48]})
    for tick in range(1, 4):
        recorder.tick(tick, Intent(forward=1.0, commands=("save",)), 1.0, np.eye(4))
    recorder.merge(2, 7)
    recorder.rewind(3, 1)
    recorder.counters(4, 1 << 20, 1 << 20)
    recorder.close()
    return path.read_bytes()


def _tum_seed() -> bytes:
    return b"# timestamp tx ty tz qx qy qz qw\n1.0 0 0 0 0 0 0 1\n1.1 0.5 0 0 0 0 0.1 0.99\n"


def _tum_reader(folder: Path) -> Callable[[bytes, Path], object]:
    for kind in ("rgb", "depth"):
        (folder / kind).mkdir(parents=True)
        for name in ("1.0", "1.1"):
            picture = np.full((24, 32, 3), 90, np.uint8) if kind == "rgb" else np.full((24, 32), 500, np.uint16)
            Image.fromarray(picture).save(folder / kind / f"{name}.png")
        (folder / f"{kind}.txt").write_text("".join(f"{t} {kind}/{t}.png\n" for t in ("1.0", "1.1")))

    def read(data: bytes, _: Path) -> None:
        (folder / "groundtruth.txt").write_bytes(data)
        list(load_recording(folder).frames)

    return read


def _png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def _points() -> PointBatch:
    rng = np.random.default_rng(0)
    positions = rng.uniform(-1, 1, (20, 3)).astype(np.float32)
    return PointBatch.uniform(positions, rng.integers(0, 256, (20, 3), dtype=np.uint8), priority=192, keyframe=1)


ASCII_PLY = (
    b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n"
    b"property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n0 0 1 255 0 0\n1 0 2 0 255 0\n"
)


def make_targets(folder: Path) -> list[Target]:
    """All readers.

    Args:
        folder: For seeds, emptied by nobody.
    """
    make = folder / "seeds"
    make.mkdir()
    state = make_state(3)
    with WorldFile.create(make / "a.spatia", state) as file:
        file.snapshot("first")
        file.branch("other")
    write_ply(make / "a.ply", _points())
    write_trajectory(make / "w2c.txt", np.stack([np.eye(4)] * 3))
    memory = SpatialMemory(0.01)
    memory.insert(_points())
    chunks = [encode_chunk(make_chunk((-1, 0, 7), num_points=n)) for n in (1, 30, 300)]
    chunks += [encode_chunk(c) for c in memory.chunks.values()]
    values = [pack_value({"a": np.eye(4), "b": [1, "c"]}), pack_depth(np.ones((24, 32), np.float32)), Branches().pack()]
    source = (SourceError,)
    world = (SaveError,)
    world_seed = (make / "a.spatia").read_bytes()
    coarse = [encode_coarse(coarsen(make_chunk((0, -1, 2), num_points=n))) for n in (0, 1, 40)]
    targets = [
        Target("chunk", 40, chunks, _read_chunk, (ChunkDecodeError,), spoilt_chunk),
        Target("coarse", 10, coarse, _read_coarse, (ChunkDecodeError,), spoilt_coarse),
        Target("values", 12, values, _read_values, (), resealed),
        Target("keyframe", 6, [_keyframe_seed()], _read_keyframe, (ValueError,), _spoilt_keyframe),
        Target("world", 1, [world_seed], _at_path(_read_world), world, _spoilt_world(make)),
        Target("check", 0.3, [world_seed], _at_path(check_world), world, _spoilt_world(make)),
        Target("ply", 8, [(make / "a.ply").read_bytes(), ASCII_PLY], _at_path(read_ply), source, as_text),
        Target("poses", 8, [(make / "w2c.txt").read_bytes()], _at_path(read_trajectory), source, as_text),
        Target("intrinsics", 8, INTRINSICS, _at_path(lambda p: read_intrinsics(p, 64, 48)), source, as_text),
        Target("tum poses", 2, [_tum_seed()], _tum_reader(make / "tum"), source, as_text),
        Target("photo", 3, [_png(np.full((18, 17, 3), 9, np.uint8))], _at_path(read_photo), source, as_bytes),
        Target("depth", 3, [_png(np.full((18, 17), 999, np.uint16))], _at_path(read_depth), source, as_bytes),
        Target("keymap", 4, [DEFAULT_FILE.read_bytes()], _at_path(load_keymap), (KeymapError,), as_text),
        Target("record", 5, [_recording_seed(make / "a.rec")], _at_path(Recording.read), (UserError,), as_bytes),
        Target("actions", 4, [b"w-20,right-10,stay,d-3"], _read_actions, (ValueError,), as_text),
    ]
    return targets + _with_laspy(make, memory)


INTRINSICS = [
    b"[0.8 1.2 0.5 0.5]",
    b"58.5 0 32\n0 58.5 24\n0 0 1\n",
    b'{"width": 64, "height": 48, "intrinsic_matrix": [50, 0, 0, 0, 50, 0, 31.5, 23.5, 1]}',
]


def _read_actions(data: bytes, _: Path) -> None:
    parse_actions(data.decode("latin-1"))


def _with_laspy(make: Path, memory: SpatialMemory) -> list[Target]:
    """LAS and LAZ, where the library is there."""
    try:
        export_world(make / "a.las", memory.snapshot())
        from spatia.saves.scans import read_las
    except ExportError:
        return []

    def read(data: bytes, path: Path) -> None:
        path = path.with_suffix(".las")
        path.write_bytes(data)
        read_las(path)

    return [Target("las", 2, [(make / "a.las").read_bytes()], read, (SourceError,), as_bytes)]
