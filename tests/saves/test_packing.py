"""Plain values, arrays and pictures as checked bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from spatia.saves.packing import (
    ValueDecodeError,
    pack_depth,
    pack_mask,
    pack_pixels,
    pack_value,
    seal,
    unpack_depth,
    unpack_mask,
    unpack_pixels,
    unpack_value,
    unseal,
)
from spatia.tests.saves.worlds import assert_same_value

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
ARRAYS = hnp.arrays(
    st.sampled_from([np.uint8, np.int64, np.float32, np.float64, np.bool_, np.uint32]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    elements={"allow_nan": False},
)


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_any_plain_value_comes_back(value: object) -> None:
    assert unpack_value(pack_value(value)) == value


@given(ARRAYS)
@settings(max_examples=60, deadline=None)
def test_any_array_comes_back(array: np.ndarray) -> None:
    assert_same_value(unpack_value(pack_value({"a": array})), {"a": array})


def test_a_random_generators_state_comes_back() -> None:
    state = np.random.default_rng(5).bit_generator.state
    assert unpack_value(pack_value(state)) == state


def test_an_object_is_refused_by_its_type() -> None:
    with pytest.raises(TypeError, match="got object"):
        pack_value({"a": object()})


def test_every_flipped_byte_is_noticed() -> None:
    data = pack_value({"a": [1, 2.5, "x"], "b": np.arange(5)})
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 0x40
        with pytest.raises(ValueDecodeError):
            unpack_value(bytes(broken))


@given(st.binary(max_size=120))
@settings(max_examples=200, deadline=None)
def test_sealed_random_bytes_are_refused_or_plain(data: bytes) -> None:
    try:
        unpack_value(seal(data))
    except ValueDecodeError:
        return


def test_a_bomb_is_refused_by_its_size() -> None:
    with pytest.raises(ValueDecodeError, match="at most 1000 bytes, got 100000"):
        unseal(seal(bytes(100_000)), max_bytes=1000)


def test_pixels_come_back_bit_for_bit() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3)).astype(np.uint8)
    assert np.array_equal(unpack_pixels(pack_pixels(frames)), frames)


def test_exact_depth_comes_back_bit_for_bit() -> None:
    depth = np.random.default_rng(0).uniform(0, 9, (6, 8)).astype(np.float32)
    depth[2] = 0
    assert np.array_equal(unpack_depth(pack_depth(depth), (6, 8)), depth)


def test_rounded_depth_is_within_its_step_and_keeps_the_unknown() -> None:
    depth = np.random.default_rng(0).uniform(0.1, 50, (60, 80)).astype(np.float32)
    depth[2] = 0
    back = unpack_depth(pack_depth(depth, keep_bits=12), (60, 80))
    assert (back[2] == 0).all()
    known = depth > 0
    assert np.abs(back[known] / depth[known] - 1).max() <= 1 / 8192


def test_depth_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueDecodeError, match="expected"):
        unpack_depth(pack_depth(np.ones((4, 6), np.float32)), (6, 4))


def test_negative_depth_is_refused() -> None:
    with pytest.raises(ValueDecodeError, match="negative"):
        unpack_depth(pack_depth(np.full((2, 2), -1, np.float32)), (2, 2))


def test_a_mask_comes_back() -> None:
    mask = np.random.default_rng(0).random((5, 7)) < 0.5
    assert np.array_equal(unpack_mask(pack_mask(mask), (5, 7)), mask)
