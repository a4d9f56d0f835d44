"""A second, slow reader written from ``docs/save_format.md`` alone finds what the store wrote."""

import hashlib
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import zstandard
from spatia.saves.codec import encode_chunk
from spatia.saves.store import WorldFile
from spatia.tests.saves.worlds import make_chunk, make_state
from spatia.world.chunks import Chunk, morton


def planes_of(data: bytes) -> Iterator[bytes]:
    position = 32
    while position < len(data):
        method, size, stored = struct.unpack_from("<BII", data, position)
        body = data[position + 9 : position + 9 + stored]
        position += 9 + stored
        plane = [lambda b: b, zstandard.ZstdDecompressor().decompress, lambda b, n=size: b * n][method](body)
        assert len(plane) == size
        yield plane


def codes_of(octree: bytes) -> list[int]:
    nodes, position = [0], 0
    for _ in range(6):
        below = []
        for node in nodes:
            mask = octree[position]
            position += 1
            below += [node * 8 + child for child in range(8) if mask >> child & 1]
        nodes = below
    assert position == len(octree)
    return nodes


def colors_of(codes: list[int], planes: list[bytes]) -> list[tuple[int, int, int]]:
    """Mean red, green, blue of each voxel."""
    known: dict[tuple[int, ...], tuple[int, int, int]] = {}
    before = (0, 0, 0)
    for code, green, red_green, blue_green in zip(codes, *planes, strict=True):
        place = [sum((code >> 3 * bit + axis & 1) << bit for bit in range(6)) for axis in range(3)]
        steps = [tuple(place[a] - (a == axis) for a in range(3)) for axis in range(3)]
        near = [known[step] for step in steps if step in known] or [before]
        red, middle, blue = (sum(channel) // len(near) for channel in zip(*near, strict=True))
        before = ((red + red_green + green) % 256, (middle + green) % 256, (blue + blue_green + green) % 256)
        known[tuple(place)] = before
    return list(known.values())


def indices_of(plane: bytes, n: int) -> list[int]:
    if len(plane) > n:
        return [sum(plane[b * n + i] << 8 * b for b in range(len(plane) // n)) for i in range(n)]
    order, found = list(range(256)), []
    for place in plane:
        found.append(order.pop(place))
        order.insert(0, found[-1])
    return found


def priorities_of(plane: bytes, places: list[int]) -> np.ndarray:
    last: dict[int, int] = {}
    found = []
    for rest, place in zip(plane, places, strict=True):
        last[place] = (last.get(place, 0) + rest) % 256
        found.append(last[place])
    return np.array(found, np.uint8)


def read_chunk(data: bytes) -> tuple[tuple[int, int, int], list[int], np.ndarray, np.ndarray, np.ndarray]:
    """Key, codes, rows, priority and evidence of a chunk, voxel by voxel."""
    assert data[:4] == b"SPCK"
    version, num_planes, x, y, z, n, factor, checksum = struct.unpack_from("<HHiiiIII", data, 4)
    assert (version, num_planes) == (2, 17)
    assert zlib.crc32(data[:28] + bytes(4) + data[32:]) == checksum
    p = list(planes_of(data))
    bits = int.from_bytes(p[7], "little")
    palette = struct.unpack(f"<{len(p[12]) // 4}I", p[12])
    rows = np.zeros((n, 8), np.uint32)
    codes = codes_of(p[0])
    colors = colors_of(codes, p[4:7])
    places = indices_of(p[13], n)
    for i in range(n):
        means = [p[1][i], p[2][i], p[3][i], *colors[i]]
        weight, is_exact = divmod(sum(p[8 + b][i] << 8 * b for b in range(4)), 2)
        remainders = []
        if is_exact:
            remainders = [0] * 6
        elif weight <= 1625:
            width = (weight**6 - 1).bit_length()
            number = bits & (1 << width) - 1
            bits >>= width
            remainders = [number // weight**power % weight for power in (5, 4, 3, 2, 1, 0)]
        else:
            for _ in range(6):
                width = (weight - 1).bit_length()
                remainders.append(bits & (1 << width) - 1)
                bits >>= width
        sums = [(mean * weight + rest) * factor for mean, rest in zip(means, remainders, strict=True)]
        rows[i] = [*sums[:3], weight * factor, *sums[3:], palette[places[i]]]
    priority = priorities_of(p[14], places)
    evidence = np.array([list(p[15]), list(p[16])], np.uint8).T
    return (x, y, z), codes, rows, priority, evidence


def assert_reads_as(data: bytes, chunk: Chunk) -> None:
    key, codes, rows, priority, evidence = read_chunk(data)
    assert key == chunk.key
    assert codes == chunk.codes.tolist()
    for mine, theirs in ((rows, chunk.rows), (priority, chunk.priority), (evidence, chunk.evidence)):
        assert np.array_equal(mine, theirs)


def unsealed(data: bytes) -> bytes:
    assert data[:4] == b"SPVL"
    method, zero, version, checksum, size = struct.unpack_from("<BBHIQ", data, 4)
    assert (zero, version) == (0, 1)
    assert zlib.crc32(data[:8] + bytes(4) + data[12:]) == checksum
    body = zstandard.ZstdDecompressor().decompress(data[20:]) if method == 1 else data[20:]
    assert len(body) == size
    return body


def test_a_chunk_is_read_by_the_document() -> None:
    chunk = make_chunk((-3, 0, 9), num_points=300)
    assert_reads_as(encode_chunk(chunk), chunk)


def test_a_chunk_with_a_common_factor_and_many_keyframes_is_read_by_the_document() -> None:
    plain = make_chunk((0, 0, 0), num_points=700)
    rows = plain.rows.copy()
    rows[:, :7] *= 6
    rows[:, 7] = np.arange(700) * 5_000_000
    chunk = Chunk(plain.key, 1, plain.codes, rows, plain.priority, plain.evidence)
    assert_reads_as(encode_chunk(chunk), chunk)


def test_a_surface_of_single_points_is_read_by_the_document() -> None:
    """Neighbours along every axis, single points among others, keyframes with priorities of their own."""
    rng = np.random.default_rng(4)
    x, y = (v.ravel() for v in np.meshgrid(np.arange(24), np.arange(24)))
    codes = np.unique(morton(x, y, (x + y) // 4))
    n = len(codes)
    weight = rng.integers(1, 2000, n)
    rows = np.zeros((n, 8), np.uint32)
    rows[:, 3], rows[:, 7] = weight, np.arange(n) // 50 % 3
    rows[:, [0, 1, 2, 4, 5, 6]] = rng.integers(0, 255, (n, 6)) * weight[:, None]
    rows[::3, :3] += rng.integers(0, weight[::3, None], (len(rows[::3]), 3)).astype(np.uint32)
    priority = np.array([70, 192, 255], np.uint8)[rows[:, 7]]
    chunk = Chunk((1, 0, -1), 1, codes, rows, priority, np.zeros((n, 2), np.uint8))
    assert_reads_as(encode_chunk(chunk), chunk)


def test_a_file_is_read_by_the_document(tmp_path: Path) -> None:
    state = make_state()
    WorldFile.create(tmp_path / "home.spatia", state).close()
    header = (tmp_path / "home.spatia").read_bytes()[:100]
    assert struct.unpack_from(">H", header, 16) == (8192,)
    assert struct.unpack_from(">I", header, 60) == (4,)  # user_version
    assert struct.unpack_from(">I", header, 68) == (0x53504154,)  # application_id
    db = sqlite3.connect(tmp_path / "home.spatia")
    objects = dict(db.execute("SELECT digest, data FROM objects").fetchall())
    for digest, data in objects.items():
        assert hashlib.blake2b(data, digest_size=16).digest() == digest
    for x, y, z, revision, num_points, digest, crc in db.execute("SELECT * FROM chunks").fetchall():
        assert zlib.crc32(struct.pack("<iiiQI", x, y, z, revision, num_points) + digest) == crc
        assert_reads_as(objects[digest], state.chunks[(x, y, z)])
    manifest = db.execute("SELECT data FROM facts WHERE name = 'manifest'").fetchone()[0]
    plain = msgpack.unpackb(unsealed(manifest), strict_map_key=False)
    assert plain["voxel_size_m"] == state.manifest.voxel_size_m
    assert plain["seed"] == msgpack.ExtType(2, (2**70).to_bytes(9, "little"))
    entries = [msgpack.unpackb(unsealed(d)) for (d,) in db.execute("SELECT data FROM journal ORDER BY seq")]
    assert entries == [[e.kind, e.tick, dict(e.data)] for e in state.journal]
    meta, color, depth, moving = db.execute("SELECT meta, color, depth, moving FROM keyframes WHERE id = 1").fetchone()
    color, depth, moving = (objects[digest] for digest in (color, depth, moving))
    frame = state.keyframes[0]
    assert msgpack.unpackb(unsealed(meta))["size"] == [32, 24]
    assert unsealed(color)[:4] == b"\x89PNG"
    planes = [unsealed(p) for p in msgpack.unpackb(unsealed(depth))["planes"]]
    delta = np.stack([np.frombuffer(p, np.uint8) for p in planes], axis=1).copy().view("<u4").reshape(24, 32)
    assert np.array_equal(np.cumsum(delta, axis=1, dtype=np.uint32).view(np.float32), frame.depth_m)
    bits = np.unpackbits(np.frombuffer(msgpack.unpackb(unsealed(moving))["bits"], np.uint8))
    assert np.array_equal(bits[: 24 * 32].reshape(24, 32).astype(bool), frame.moving)
    db.close()


def arrays_of(packed: bytes) -> dict[str, object]:
    """A msgpack map whose arrays are read by the document."""

    def array(code: int, data: bytes) -> object:
        assert code == 1
        unpacker = msgpack.Unpacker()
        unpacker.feed(data)
        dtype, shape = unpacker.unpack()
        return np.frombuffer(data[unpacker.tell() :], dtype).reshape(shape)

    return msgpack.unpackb(packed, ext_hook=array)


def test_a_snapshot_is_read_by_the_document(tmp_path: Path) -> None:
    state = make_state()
    with WorldFile.create(tmp_path / "home.spatia", state) as world:
        world.snapshot("first", when="2030-01-02T03:04:05Z")
        world.branch("other")
        world.save(replace(state, chunks={}, keyframes=(), journal=()))
    db = sqlite3.connect(tmp_path / "home.spatia")
    objects = dict(db.execute("SELECT digest, data FROM objects").fetchall())
    identity, name, data = db.execute("SELECT id, name, data FROM snapshots").fetchone()
    value = arrays_of(unsealed(data))
    assert (identity, name, value["id"], value["name"], value["branch"]) == (1, "first", 1, "first", "main")
    assert (value["parents"], value["when"]) == ([], "2030-01-02T03:04:05Z")
    for key, digest, n in zip(value["keys"], value["chunks"], value["points"], strict=True):
        chunk = state.chunks[tuple(key.tolist())]
        assert chunk.num_points == n
        assert_reads_as(objects[digest.tobytes()], chunk)
    assert [k[0] for k in value["keyframes"]] == [1, 2]
    assert unsealed(objects[value["keyframes"][0][2]])[:4] == b"\x89PNG"
    entries = [entry for digest in value["journal"] for entry in msgpack.unpackb(unsealed(objects[digest]))]
    assert entries == [[e.kind, e.tick, dict(e.data)] for e in state.journal]
    assert msgpack.unpackb(unsealed(objects[value["manifest"]]), strict_map_key=False)["name"] == "test"
    branches = msgpack.unpackb(unsealed(db.execute("SELECT data FROM facts WHERE name = 'branches'").fetchone()[0]))
    assert branches == {"current": "other", "tips": {"main": 1, "other": 1}}
    db.close()


def test_the_end_of_a_file_is_read_by_the_document(tmp_path: Path) -> None:
    WorldFile.create(tmp_path / "home.spatia", make_state()).close()
    data = (tmp_path / "home.spatia").read_bytes()
    magic, version, zero, page_bytes, num_pages, checksum = struct.unpack("<4sHHIII", data[-20:])
    assert (magic, version, zero, page_bytes) == (b"SPSL", 1, 0, 8192)
    assert len(data) == num_pages * (page_bytes + 4) + 20
    assert zlib.crc32(data[num_pages * page_bytes : -4] + bytes(4)) == checksum
    sums = struct.unpack_from(f"<{num_pages}I", data, num_pages * page_bytes)
    assert sums == tuple(zlib.crc32(data[i : i + 8192]) for i in range(0, num_pages * 8192, 8192))
