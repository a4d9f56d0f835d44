"""Spoils bytes in ways that files are spoiled, and in some more; seeded, so that a find comes again."""

import numpy as np

INTERESTING = (0, 1, 2, 7, 8, 15, 16, 63, 64, 127, 128, 254, 255)
NUMBERS = (b"0", b"-1", b"1e308", b"1e999", b"nan", b"inf", b"-inf", b"2147483648", b"99999999999999999999", b"1e-320")
WORDS = (b"[", b"]", b"{", b'"', b",", b"\n", b"\0", b"\xff\xfe", b"#", b"=", b" ", b"\t", b"end_header\n", b"list ")
MAX_GROWTH = 4096


def mutated(data: bytes, rng: np.random.Generator, *, is_text: bool = False) -> bytes:
    """One to eight changes, one after another; never much longer than the input."""
    out = bytearray(data)
    kinds = (*_BYTE_KINDS, *_TEXT_KINDS, *_TEXT_KINDS) if is_text else _BYTE_KINDS
    for _ in range(int(rng.integers(1, 9))):
        kinds[int(rng.integers(len(kinds)))](out, rng)
        if len(out) > len(data) + MAX_GROWTH:
            del out[len(data) + MAX_GROWTH :]
    return bytes(out)


def _place(out: bytearray, rng: np.random.Generator) -> int:
    """Anywhere, but often near the begin, where headers are."""
    end = min(len(out), 64) if rng.random() < 0.3 else len(out)
    return int(rng.integers(end)) if end else 0


def _span(out: bytearray, rng: np.random.Generator) -> tuple[int, int]:
    start = _place(out, rng)
    return start, min(len(out), start + int(rng.integers(1, 65)))


def _flip(out: bytearray, rng: np.random.Generator) -> None:
    if out:
        out[_place(out, rng)] ^= 1 << int(rng.integers(8))


def _set(out: bytearray, rng: np.random.Generator) -> None:
    if out:
        out[_place(out, rng)] = INTERESTING[int(rng.integers(len(INTERESTING)))]


def _word(out: bytearray, rng: np.random.Generator) -> None:
    """Overwrite four bytes with an extreme number, of either byte order."""
    if len(out) >= 4:
        at = min(_place(out, rng), len(out) - 4)
        value = int(rng.choice(np.array([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF, 1 << 20, 1 << 28])))
        out[at : at + 4] = value.to_bytes(4, "little" if rng.random() < 0.5 else "big")


def _cut(out: bytearray, rng: np.random.Generator) -> None:
    del out[_place(out, rng) :]


def _drop(out: bytearray, rng: np.random.Generator) -> None:
    start, end = _span(out, rng)
    del out[start:end]


def _double(out: bytearray, rng: np.random.Generator) -> None:
    start, end = _span(out, rng)
    out[start:start] = out[start:end]


def _swap(out: bytearray, rng: np.random.Generator) -> None:
    start, end = _span(out, rng)
    other = _place(out, rng)
    out[other : other + end - start] = out[start:end]


def _noise(out: bytearray, rng: np.random.Generator) -> None:
    start, end = _span(out, rng)
    out[start:end] = rng.bytes(end - start)


def _number(out: bytearray, rng: np.random.Generator) -> None:
    """Replace what looks like a number."""
    digits = [i for i, byte in enumerate(out[:4096]) if 48 <= byte <= 57]
    if digits:
        start = digits[int(rng.integers(len(digits)))]
        end = start
        while end < len(out) and out[end] in b"0123456789.eE+-":
            end += 1
        out[start:end] = NUMBERS[int(rng.integers(len(NUMBERS)))]


def _insert(out: bytearray, rng: np.random.Generator) -> None:
    at = _place(out, rng)
    out[at:at] = WORDS[int(rng.integers(len(WORDS)))] * int(rng.choice(np.array([1, 1, 1, 2, 500])))


_BYTE_KINDS = (_flip, _flip, _set, _word, _cut, _drop, _double, _swap, _noise)
_TEXT_KINDS = (_number, _insert)
