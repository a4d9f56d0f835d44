"""What crosses between the session and its worker arrives whole; what may not cross does not."""

import array
import os
import socket
import threading
from pathlib import Path

import msgpack
import numpy as np
import pytest
from spatia.generator.errors import ChannelClosedError, TransportError
from spatia.generator.requests import ClipRequest, ReferenceFrame
from spatia.generator.transport import Channel, make_block, pack, unpack
from spatia.tests.fakes import make_request, shared_memory, wall_memory
from spatia.world.keyframes import Keyframe
from spatia.world.moving_views import MovingView
from spatia.world.points import PointClass


def cross(value: object) -> object:
    ours, theirs = Channel.pair()
    ours.send("value", value)
    kind, received = theirs.receive()
    ours.close()
    theirs.close()
    assert kind == "value"
    return received


@pytest.mark.parametrize(
    "value",
    [None, True, -3, 2.5, "städte", b"\x00\xff", (1, (2, "x")), [1, [2]], {"a": 1.0}, {3: (4,)}, PointClass.OBSERVED],
)
def test_plain_values_arrive_with_their_types(value: object) -> None:
    received = cross(value)
    assert received == value
    assert type(received) is type(value)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4)])
def test_arrays_arrive_read_only_and_equal(dtype: type, shape: tuple[int, ...]) -> None:
    sent = np.asarray(np.random.default_rng(1).random(shape) * 3).astype(dtype)
    received = cross(sent)
    assert isinstance(received, np.ndarray)
    assert received.dtype == sent.dtype
    assert not received.flags.writeable
    np.testing.assert_array_equal(received, sent)


def test_a_strided_view_arrives_as_what_it_shows() -> None:
    sent = np.arange(24).reshape(4, 6)[::2, ::-3]
    np.testing.assert_array_equal(cross(sent), sent)


def test_an_array_that_is_met_twice_is_sent_once() -> None:
    sent = np.zeros(1000, np.float32)
    assert pack("value", (sent, [sent])).num_bytes == 4000


def test_more_arrays_than_one_system_call_takes_arrive() -> None:
    sent = tuple(np.full(3, i) for i in range(2500))
    received = cross(sent)
    assert isinstance(received, tuple)
    assert [int(a[0]) for a in received] == list(range(2500))


def test_what_moves_in_an_earlier_frame_arrives() -> None:
    received = cross(MovingView(3, np.eye(4) > 0, np.eye(4), "sam2"))
    assert isinstance(received, MovingView)
    assert (received.request_id, received.moving_by) == (3, "sam2")
    np.testing.assert_array_equal(received.moving, np.eye(4) > 0)


def test_a_request_arrives_with_its_memory_and_references() -> None:
    snapshot = wall_memory().snapshot()
    base = make_request(5, memory=snapshot, prompt="a wall")
    color = np.full((24, 32, 3), 9, np.uint8)
    reference = ReferenceFrame(color, None, base.pinhole, np.eye(4), True, 3)
    request = ClipRequest(
        5, 2, 7, "a wall", base.world_T_camera, base.pinhole, snapshot, 500, (reference,), floor=(0.0, -1.0, 0.0, 1.6)
    )
    received = cross(request)
    assert isinstance(received, ClipRequest)
    assert received.floor == request.floor
    assert received.pinhole == request.pinhole
    assert received.tail is None
    np.testing.assert_array_equal(received.references[0].color, color)
    assert received.memory.chunks.keys() == snapshot.chunks.keys()
    for key, chunk in snapshot.chunks.items():
        other = received.memory.chunks[key]
        assert (other.revision, received.memory.revision) == (chunk.revision, snapshot.revision)
        for name in ("codes", "rows", "priority", "evidence"):
            np.testing.assert_array_equal(getattr(other, name), getattr(chunk, name))


def test_an_empty_memory_arrives() -> None:
    received = cross(make_request())
    assert isinstance(received, ClipRequest)
    assert len(received.memory.chunks) == 0


def test_an_enum_inside_a_value_stays_one() -> None:
    pinhole = make_request().pinhole
    sent = Keyframe(1, 0, np.zeros((24, 32, 3), np.uint8), pinhole, np.eye(4), PointClass.ESTIMATED)
    received = cross(sent)
    assert isinstance(received, Keyframe)
    assert received.point_class is PointClass.ESTIMATED


@pytest.mark.parametrize(
    "value", [object(), Path("x"), {1, 2}, np.array([None]), 1j], ids=lambda value: type(value).__name__
)
def test_what_is_not_known_cannot_be_sent(value: object) -> None:
    with pytest.raises(TransportError, match="cannot be sent"):
        pack("value", value)


def test_a_class_that_only_has_a_known_name_cannot_be_sent() -> None:
    with pytest.raises(TransportError, match="cannot be sent"):
        pack("value", type("Pinhole", (), {})())


@pytest.mark.parametrize(
    ("table", "tree", "words"),
    [
        ([["<f4", [1 << 40]]], ["array", 0], "announces"),
        ([["<f4", [-1]]], ["array", 0], "announces an array"),
        ([["|O", [1]]], ["array", 0], "announces an array"),
        ([["nonsense", [1]]], ["array", 0], "understood"),
        ([["<f4", [1] * 40]], ["array", 0], "announces an array"),
        ([], ["array", 0], "understood"),
        ([], ["value", "Popen", {}], "understood"),
        ([], ["value", "Pinhole", {"width": 0}], "understood"),
        ([], ["surprise"], "understood"),
    ],
)
def test_a_header_that_lies_is_refused(table: list, tree: list, words: str) -> None:
    block = make_block([np.zeros(4, np.uint8)]) if table and table[0][1] == [1 << 40] else None
    try:
        with pytest.raises(TransportError, match=words):
            unpack(msgpack.packb(["value", table, tree]), block)
    finally:
        if block is not None:
            os.close(block)


def test_random_bytes_are_refused() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        with pytest.raises(TransportError):
            unpack(rng.bytes(40), None)


def test_a_message_cut_short_says_that_the_other_side_is_gone() -> None:
    left, right = socket.socketpair()
    left.sendall(b"\x40\x00")
    left.close()
    channel = Channel(right)
    with pytest.raises(ChannelClosedError):
        channel.receive()
    channel.close()


def test_a_block_without_announcement_is_refused_and_closed() -> None:
    left, right = socket.socketpair()
    block = make_block([np.zeros(4, np.uint8)])
    before = len(os.listdir("/proc/self/fd"))
    left.sendmsg([b"\x01\x00\x00\x00\x00"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [block]))])
    channel = Channel(right)
    with pytest.raises(TransportError, match="expected a message"):
        channel.receive()
    assert len(os.listdir("/proc/self/fd")) == before
    for end in (left, channel):
        end.close()
    os.close(block)


def test_sending_to_a_closed_side_says_so() -> None:
    ours, theirs = Channel.pair()
    theirs.close()
    with pytest.raises(ChannelClosedError):
        ours.send("value", 1)
    ours.close()


def test_messages_of_several_threads_do_not_mix() -> None:
    ours, theirs = Channel.pair()
    threads = [
        threading.Thread(target=lambda n=n: [ours.send("value", np.full(5000, n)) for _ in range(20)]) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    seen = [theirs.receive()[1] for _ in range(80)]
    for thread in threads:
        thread.join()
    assert all(len(set(a.tolist())) == 1 for a in seen)
    ours.close()
    theirs.close()


def test_nothing_stays_open_or_in_shared_memory_after_messages() -> None:
    shared = shared_memory()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        cross(np.zeros((100, 100)))
    assert len(os.listdir("/proc/self/fd")) == before
    assert shared_memory() <= shared
