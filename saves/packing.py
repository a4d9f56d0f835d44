"""Plain values as checked, compressed bytes: msgpack with arrays and large integers, zstd, a checksum.

Dictionaries, lists, text, bytes, numbers, None and NumPy arrays go in and come out; tuples come out as lists, NumPy
scalars as Python numbers. No object of a class is ever made from a file.
"""

import math
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt
import zstandard

MAX_VALUE_BYTES = 1 << 28
"""Largest value or array that is packed and unpacked, 256 MiB. A state without arrays has some kilobytes, a tail of
nine frames 11 MB, a keyframe's depth 2 MB."""

ARRAY_REFERENCE = "\0array"
"""Key of the dictionary that stands in a state for an array kept apart: ``{ARRAY_REFERENCE: digest, "kind": kind}``."""

_SEAL = struct.Struct("<4sBxHIQ")
"""Magic, method (0 as it is, 1 zstd), version, checksum, bytes when unpacked."""
_MAGIC, _VERSION = b"SPVL", 1
_ARRAY, _BIG_INTEGER = 1, 2
_DTYPES = frozenset(["|b1", "|u1", "<u2", "<u4", "<u8", "|i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"])
_LEVEL = 3


class ValueDecodeError(ValueError):
    """Bytes that hold no value of this version, or are damaged."""


def pack_value(value: Any) -> bytes:
    """A value as bytes.

    Raises:
        TypeError: Something in it is no plain value.
        ValueError: It takes more than ``MAX_VALUE_BYTES``.
    """
    data = msgpack.Packer(default=_to_plain, use_bin_type=True).pack(value)
    if len(data) > MAX_VALUE_BYTES:
        raise ValueError(f"expected a value of at most {MAX_VALUE_BYTES} bytes, got {len(data)}")
    return seal(data)


def unpack_value(data: bytes, *, max_bytes: int = MAX_VALUE_BYTES) -> Any:
    """The value that bytes hold. Arrays are read-only views of one block of memory.

    Raises:
        ValueDecodeError: Damaged, foreign, or larger than ``max_bytes``.
    """
    plain = unseal(data, max_bytes=max_bytes)
    try:
        return msgpack.unpackb(plain, ext_hook=_from_extension, raw=False, strict_map_key=False)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise ValueDecodeError(f"no plain value: {error}") from error


def seal(data: bytes, *, compress: bool = True) -> bytes:
    """Bytes with a header that carries their size and checksum, compressed where that helps."""
    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(data) if compress else data
    method = int(len(packed) < len(data))
    body = packed if method else data
    head = _SEAL.pack(_MAGIC, method, _VERSION, 0, len(data))
    return _SEAL.pack(_MAGIC, method, _VERSION, zlib.crc32(body, zlib.crc32(head)), len(data)) + body


def unseal(data: bytes, *, max_bytes: int = MAX_VALUE_BYTES) -> bytes:
    """The bytes that were sealed.

    Raises:
        ValueDecodeError: Damaged, foreign, or larger than ``max_bytes``.
    """
    if len(data) < _SEAL.size:
        raise ValueDecodeError(f"expected at least {_SEAL.size} bytes, got {len(data)}")
    magic, method, version, checksum, size = _SEAL.unpack_from(data)
    body = memoryview(data)[_SEAL.size :]
    if magic != _MAGIC or version != _VERSION or method > 1:
        raise ValueDecodeError("bytes of another kind or version")
    if zlib.crc32(body, zlib.crc32(_SEAL.pack(magic, method, version, 0, size))) != checksum or data[5]:
        raise ValueDecodeError("the checksum does not match: damaged")
    if size > max_bytes:
        raise ValueDecodeError(f"expected at most {max_bytes} bytes, got {size}")
    if not method:
        if len(body) != size:
            raise ValueDecodeError("the size does not match: cut off")
        return bytes(body)
    try:
        if zstandard.frame_content_size(data[_SEAL.size : _SEAL.size + 32]) != size:  # before memory is taken
            raise ValueDecodeError("the size does not match")
        return zstandard.ZstdDecompressor(max_window_size=1 << 27).decompress(body, max_output_size=size)
    except zstandard.ZstdError as error:
        raise ValueDecodeError(f"damaged: {error}") from error


def array_kind(array: npt.NDArray) -> str:
    """How an array that stands apart is packed: "pixels" or "value"."""
    return "pixels" if array.dtype == np.uint8 and array.ndim >= 3 and array.shape[-1] == 3 else "value"


def pack_array(array: npt.NDArray) -> tuple[str, bytes]:
    """An array that stands apart: its kind ("pixels" or "value") and its bytes."""
    kind = array_kind(array)
    return kind, pack_pixels(array) if kind == "pixels" else pack_value(array)


def unpack_array(kind: str, data: bytes) -> npt.NDArray:
    """The array that ``pack_array`` packed, read-only.

    Raises:
        ValueDecodeError: Damaged or foreign.
    """
    array = unpack_pixels(data) if kind == "pixels" else unpack_value(data)
    if not isinstance(array, np.ndarray):
        raise ValueDecodeError("no array")
    return array


def pack_pixels(image: npt.NDArray[np.uint8]) -> bytes:
    """Lossless picture or frames (..., H, W, 3) uint8: differences to the left neighbour, channels apart."""
    planes = np.ascontiguousarray(np.moveaxis(image, -1, 0))
    delta = np.diff(planes, axis=-1, prepend=np.uint8(0))
    return pack_value({"shape": list(image.shape), "delta": seal(delta.tobytes())})


def unpack_pixels(data: bytes) -> npt.NDArray[np.uint8]:
    """The picture that ``pack_pixels`` packed, read-only.

    Raises:
        ValueDecodeError: Damaged or foreign.
    """
    value = unpack_value(data)
    try:
        shape = tuple(int(n) for n in value["shape"])
        delta = np.frombuffer(unseal(value["delta"], max_bytes=min(math.prod(shape), MAX_VALUE_BYTES)), np.uint8)
        planes = np.cumsum(delta.reshape(shape[-1], *shape[:-1]), axis=-1, dtype=np.uint8)
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise ValueDecodeError(f"no picture: {error}") from error
    out = np.ascontiguousarray(np.moveaxis(planes, 0, -1))
    out.flags.writeable = False
    return out


def pack_depth(depth_m: npt.NDArray[np.float32], *, keep_bits: int = 23) -> bytes:
    """Depth (H, W) float32: differences of the bit patterns to the left neighbour, byte by byte.

    Args:
        depth_m: Metres, 0 unknown.
        keep_bits: Of the 23 bits of the mantissa; 23 keeps every bit, 12 rounds to 1 part in 8192.
    """
    bits = np.ascontiguousarray(depth_m, np.float32).view(np.uint32)
    dropped = 23 - keep_bits
    if dropped > 0:
        half, mask = np.uint32(1 << (dropped - 1)), np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)
        bits = np.where(bits > 0, (bits + half) & mask, bits)
    delta = np.diff(bits, axis=-1, prepend=np.uint32(0))
    planes = np.ascontiguousarray(np.moveaxis(delta.astype("<u4").view(np.uint8).reshape(*bits.shape, 4), -1, 0))
    return pack_value({"shape": list(bits.shape), "planes": [seal(p.tobytes()) for p in planes]})


def unpack_depth(data: bytes, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """The depth that ``pack_depth`` packed, read-only; its (height, width) is known from elsewhere.

    Raises:
        ValueDecodeError: Damaged, foreign, or of another shape.
    """
    value = unpack_value(data)
    try:
        _check_shape(value, shape)
        num_bytes = shape[0] * shape[1]
        raw = [np.frombuffer(unseal(p, max_bytes=num_bytes), np.uint8).reshape(shape) for p in value["planes"]]
        delta = np.stack(raw, axis=-1).view("<u4").reshape(shape)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueDecodeError(f"no depth: {error}") from error
    out = np.cumsum(delta, axis=-1, dtype=np.uint32).view(np.float32)
    if not (np.isfinite(out).all() and (out >= 0).all()):
        raise ValueDecodeError("depth that is negative or not finite")
    out.flags.writeable = False
    return out


def pack_mask(mask: npt.NDArray[np.bool_]) -> bytes:
    """A mask (H, W) as bits."""
    return pack_value({"shape": list(mask.shape), "bits": np.packbits(mask).tobytes()})


def unpack_mask(data: bytes, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The mask that ``pack_mask`` packed, read-only; its (height, width) is known from elsewhere.

    Raises:
        ValueDecodeError: Damaged, foreign, or of another shape.
    """
    value = unpack_value(data)
    try:
        _check_shape(value, shape)
        num_pixels = shape[0] * shape[1]
        bits = np.frombuffer(value["bits"], np.uint8)
        if (num_pixels + 7) // 8 != len(bits):
            raise ValueDecodeError("its size does not match")
        out = np.unpackbits(bits, count=num_pixels).reshape(shape).astype(bool)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueDecodeError(f"no mask: {error}") from error
    out.flags.writeable = False
    return out


def _check_shape(value: Any, shape: tuple[int, int]) -> None:
    if list(value["shape"]) != list(shape):
        raise ValueDecodeError(f"expected {shape}, got {value['shape']}")


def _to_plain(value: object) -> Any:
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        dtype = array.dtype.newbyteorder("<").str if array.dtype.itemsize > 1 else array.dtype.str
        if dtype not in _DTYPES:
            raise TypeError(f"expected an array of numbers, got {array.dtype}")
        head = msgpack.Packer().pack([dtype, list(value.shape)])
        return msgpack.ExtType(_ARRAY, head + array.astype(dtype, copy=False).tobytes())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, int):  # beyond 64 bits, such as the state of a random generator
        return msgpack.ExtType(_BIG_INTEGER, value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True))
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"expected plain values, got {type(value).__name__}")


def _from_extension(code: int, data: bytes) -> Any:
    if code == _BIG_INTEGER:
        return int.from_bytes(data, "little", signed=True)
    if code != _ARRAY:
        raise ValueDecodeError(f"an unknown extension {code}")
    unpacker = msgpack.Unpacker(max_buffer_size=len(data) or 1)
    unpacker.feed(data[:1024])
    dtype, shape = unpacker.unpack()
    start = unpacker.tell()
    if dtype not in _DTYPES or not all(isinstance(n, int) and n >= 0 for n in shape) or len(shape) > 16:
        raise ValueDecodeError("an array of an unknown type or shape")
    if dtype == "|b1":  # any byte may stand in a foreign file
        return (np.frombuffer(data, np.uint8, offset=start) != 0).reshape(shape)
    return np.frombuffer(data, dtype, offset=start).reshape(shape)
