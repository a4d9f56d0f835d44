"""Messages between the session and its worker: known values only, arrays in one anonymous block, no pickle.

A message is a kind (a word) and a value. The value becomes msgpack of plain lists, its arrays are written one after
the other to a file that has no name (a memfd where the system has them) whose descriptor travels with the message.
So nothing is left behind in any file system, however either side ends. The receiver checks every size against the
file before it takes memory, and reads each array into memory of its own.
"""

import array
import dataclasses
import os
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from ..world.camera import Pinhole
from ..world.chunks import Chunk
from ..world.keyframes import Keyframe
from ..world.memory import MemorySnapshot
from ..world.moving_views import MovingView
from ..world.points import PointBatch, PointClass
from ..world.updates import DepthView, MapUpdate, UpdateReport
from .errors import ChannelClosedError, TransportError
from .pipeline import ClipResult
from .requests import ClipRequest, Effort, ReferenceFrame

MAX_HEADER_BYTES = 1 << 26
"""Far above any real message (some kilobytes); a longer one is garbage."""
MAX_DIMENSIONS = 8
BUFFERS_PER_CALL = 512
"""Buffers handed to one writev or preadv; systems allow 1024."""

_PREFIX = struct.Struct("<IB")  # bytes of header, 1 if a block travels along
_VALUES: dict[str, type] = {
    t.__name__: t
    for t in (
        Pinhole,
        Keyframe,
        PointBatch,
        DepthView,
        MovingView,
        UpdateReport,
        MapUpdate,
        ReferenceFrame,
        Effort,
        ClipRequest,
        ClipResult,
    )
}
_ENUMS: dict[str, type[IntEnum]] = {"PointClass": PointClass}
_CHUNK_COLUMNS = ("codes", "rows", "priority", "evidence")

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Packed:
    """A value as it crosses: the header, and the array bytes that belong behind each other in the block."""

    header: bytes
    buffers: list[Array]

    @property
    def num_bytes(self) -> int:
        """Bytes of the block."""
        return sum(b.nbytes for b in self.buffers)


class _Encoder:
    """Turns values into plain lists; collects their arrays."""

    def __init__(self) -> None:
        self.table: list[tuple[str, tuple[int, ...]]] = []
        self.buffers: list[Array] = []
        self._slots: dict[tuple[Any, ...], int] = {}

    def encode(self, value: Any) -> Any:
        if value is None or isinstance(value, str | bytes):
            return value
        if isinstance(value, IntEnum):
            return ["enum", type(value).__name__, int(value)]
        if isinstance(value, bool | int | float):
            return value
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, np.ndarray):
            return ["array", self._slot_of(value)]
        if isinstance(value, tuple | list):
            return ["tuple" if isinstance(value, tuple) else "list", *(self.encode(v) for v in value)]
        if isinstance(value, dict | MappingProxyType):
            return ["dict", *([self.encode(k), self.encode(v)] for k, v in value.items())]
        if isinstance(value, MemorySnapshot):
            return self._encode_snapshot(value)
        return self._encode_dataclass(value)

    def _encode_dataclass(self, value: Any) -> Any:
        name = type(value).__name__
        if _VALUES.get(name) is not type(value):
            raise TransportError(f"a {type(value)} cannot be sent; known are {', '.join(sorted(_VALUES))}")
        return ["value", name, {f.name: self.encode(getattr(value, f.name)) for f in dataclasses.fields(value)}]

    def _encode_snapshot(self, snapshot: MemorySnapshot) -> Any:
        """Chunks as columns: a header of constant size, whatever their number."""
        chunks = list(snapshot.chunks.values())
        keys = np.array([c.key for c in chunks], np.int64).reshape(-1, 3)
        revisions = np.array([c.revision for c in chunks], np.int64)
        counts = np.array([c.num_points for c in chunks], np.int64)
        columns = [self._column([getattr(c, name) for c in chunks]) for name in _CHUNK_COLUMNS]
        own = [["array", self._add([a], a.shape)] for a in (keys, revisions, counts)]
        return ["snapshot", snapshot.voxel_size_m, snapshot.revision, *own, *columns]

    def _column(self, parts: list[Array]) -> Any:
        if not parts:
            return None
        shape = (sum(len(p) for p in parts), *parts[0].shape[1:])
        return ["array", self._add([np.ascontiguousarray(p) for p in parts], shape)]

    def _slot_of(self, value: Array) -> int:
        """Slot of an array; one that is met twice is sent once."""
        same = (value.__array_interface__["data"][0], value.dtype.str, value.shape, value.strides)
        if same not in self._slots:
            whole = np.ascontiguousarray(value)
            self._slots[same] = self._add([whole], value.shape)
        return self._slots[same]

    def _add(self, parts: Sequence[Array], shape: tuple[int, ...]) -> int:
        dtype = parts[0].dtype
        if dtype.kind not in "buif":
            raise TransportError(f"an array of {dtype} cannot be sent; only numbers and booleans")
        self.table.append((dtype.str, shape))
        self.buffers.extend(p.reshape(-1).view(np.uint8) for p in parts if p.nbytes)
        return len(self.table) - 1


def pack(kind: str, value: Any) -> Packed:
    """Make a message. The buffers view the value's arrays: do not change them before the message is sent.

    Raises:
        TransportError: The value holds something that may not cross.
    """
    encoder = _Encoder()
    tree = encoder.encode(value)
    return Packed(bytes(msgpack.packb([kind, encoder.table, tree]) or b""), encoder.buffers)


class _Decoder:
    """Turns plain lists back into values."""

    def __init__(self, arrays: list[Array]) -> None:
        self._arrays = arrays

    def decode(self, tree: Any) -> Any:
        if tree is None or isinstance(tree, bool | int | float | str | bytes):
            return tree
        readers: dict[str, Callable[[list[Any]], Any]] = {
            "array": self._array,
            "tuple": lambda rest: tuple(self.decode(v) for v in rest),
            "list": lambda rest: [self.decode(v) for v in rest],
            "dict": lambda rest: {self.decode(k): self.decode(v) for k, v in rest},
            "enum": lambda rest: _ENUMS[rest[0]](rest[1]),
            "value": self._value,
            "snapshot": self._snapshot,
        }
        return readers[tree[0]](tree[1:])

    def _array(self, rest: list[Any]) -> Array:
        return self._arrays[rest[0]]

    def _value(self, rest: list[Any]) -> Any:
        name, fields = rest
        return _VALUES[name](**{key: self.decode(v) for key, v in fields.items()})

    def _snapshot(self, rest: list[Any]) -> MemorySnapshot:
        voxel_size_m, revision = float(rest[0]), int(rest[1])
        keys, revisions, counts = (self.decode(v) for v in rest[2:5])
        columns = [self.decode(v) for v in rest[5:]]
        ends = np.cumsum(counts).tolist()
        chunks: dict[tuple[int, int, int], Chunk] = {}
        start = 0
        for key, chunk_revision, end in zip(keys.tolist(), revisions.tolist(), ends, strict=True):
            parts = [c[start:end] for c in columns]
            chunks[tuple(key)] = Chunk(tuple(key), chunk_revision, *parts)
            start = end
        if columns[0] is not None and any(len(c) != start for c in columns):
            raise TransportError("the chunks' columns are not as long as their counts say")
        return MemorySnapshot(voxel_size_m, revision, MappingProxyType(chunks))


def unpack(header: bytes, block: int | None) -> tuple[str, Any]:
    """Read a message.

    Args:
        header: As ``pack`` made it.
        block: Descriptor of the open block, or None if the value has no array bytes. Stays open.

    Returns:
        Kind and value; arrays are read-only and own their memory.

    Raises:
        TransportError: It is no message of ours, or its sizes do not fit the block.
    """
    try:
        kind, table, tree = msgpack.unpackb(header, strict_map_key=False)
        arrays = _read_arrays(table, block)
        return str(kind), _Decoder(arrays).decode(tree)
    except TransportError:
        raise
    except Exception as error:
        raise TransportError(f"a message cannot be understood: {type(error).__name__}: {error}") from error


def _read_arrays(table: list[Any], block: int | None) -> list[Array]:
    specs = [(np.dtype(name), tuple(int(n) for n in shape)) for name, shape in table]
    for dtype, shape in specs:
        if dtype.kind not in "buif" or len(shape) > MAX_DIMENSIONS or any(n < 0 for n in shape):
            raise TransportError(f"a message announces an array of {dtype} {shape}")
    announced = sum(dtype.itemsize * _product(shape) for dtype, shape in specs)
    held = 0 if block is None else os.fstat(block).st_size
    if announced != held:
        raise TransportError(f"a message announces {announced} bytes of arrays, but brings {held}")
    arrays = [np.empty(shape, dtype) for dtype, shape in specs]
    if block is not None:
        _transfer([a.reshape(-1).view(np.uint8) for a in arrays if a.nbytes], lambda b, at: os.preadv(block, b, at))
    for a in arrays:
        a.flags.writeable = False
    return arrays


def _product(shape: tuple[int, ...]) -> int:
    out = 1
    for n in shape:
        out *= n
    return out


def _transfer(buffers: Sequence[Array], call: Callable[[list[memoryview], int], int]) -> None:
    """Run scattered reads or writes to their end; ``call`` gets buffers and the place in the block."""
    views: list[memoryview] = [b.data for b in buffers]
    at = first = 0
    while first < len(views):
        moved = call(views[first : first + BUFFERS_PER_CALL], at)
        if moved <= 0:
            raise TransportError("a block of arrays ended too early")
        at += moved
        while first < len(views) and moved >= views[first].nbytes:
            moved -= views[first].nbytes
            first += 1
        if moved:
            views[first] = views[first][moved:]


def make_block(buffers: Sequence[Array]) -> int:
    """Write buffers to a new file without a name; the caller closes the descriptor."""
    if hasattr(os, "memfd_create"):
        block = os.memfd_create("spatia")
    else:
        with tempfile.TemporaryFile() as file:
            block = os.dup(file.fileno())
    try:
        _transfer(buffers, lambda b, at: os.pwritev(block, b, at))
    except BaseException:
        os.close(block)
        raise
    return block


class Channel:
    """One end of a connection. Any thread may send; one thread receives.

    Args:
        connection: A connected stream socket of the family AF_UNIX, blocking; the channel owns it.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._sending = threading.Lock()

    @classmethod
    def pair(cls) -> "tuple[Channel, Channel]":
        """Two connected ends."""
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(a), cls(b)

    def fileno(self) -> int:
        """Descriptor to wait on."""
        return self._socket.fileno()

    def set_timeout(self, seconds: float) -> None:
        """Let a send or receive that has begun fail if the other side stalls for so long."""
        self._socket.settimeout(seconds)

    def send(self, kind: str, value: Any = None) -> None:
        """Send a message; blocks while the other side's inbox is full.

        Raises:
            TransportError: The value may not cross.
            ChannelClosedError: The other side is gone or stalls.
        """
        packed = pack(kind, value)
        block = make_block(packed.buffers) if packed.buffers else None
        try:
            with self._sending:
                self._send_frame(packed.header, block)
        except OSError as error:
            raise ChannelClosedError(f"cannot send to the other side: {error}") from error
        finally:
            if block is not None:
                os.close(block)

    def _send_frame(self, header: bytes, block: int | None) -> None:
        prefix = _PREFIX.pack(len(header), int(block is not None))
        passed = [] if block is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [block]))]
        sent = self._socket.sendmsg([prefix], passed)
        self._socket.sendall(prefix[sent:] + header)

    def receive(self) -> tuple[str, Any]:
        """Take the next message; blocks until there is one.

        Raises:
            ChannelClosedError: The other side is gone or stalls.
            TransportError: What came is no message.
        """
        blocks: list[int] = []
        try:
            num_header, has_block = _PREFIX.unpack(self._receive_exactly(_PREFIX.size, blocks))
            if num_header > MAX_HEADER_BYTES or len(blocks) != has_block:
                raise TransportError(f"expected a message, got {num_header} bytes of header, {len(blocks)} blocks")
            header = self._receive_exactly(num_header, blocks)
            return unpack(header, blocks[0] if blocks else None)
        except OSError as error:
            raise ChannelClosedError(f"cannot receive from the other side: {error}") from error
        finally:
            for block in blocks:
                os.close(block)

    def _receive_exactly(self, count: int, blocks: list[int]) -> bytes:
        out = bytearray()
        space = socket.CMSG_SPACE(array.array("i").itemsize)
        flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        while len(out) < count:
            data, ancillary, _, _ = self._socket.recvmsg(min(count - len(out), 1 << 20), space, flags)
            for level, kind, raw in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    blocks.extend(array.array("i", raw[: len(raw) - len(raw) % 4]))
            if not data:
                raise ChannelClosedError("the other side closed the connection")
            out += data
        return bytes(out)

    def close(self) -> None:
        """Close this end; safe to call twice."""
        self._socket.close()
