"""Messages survive the wire unchanged, and nothing else is taken for a message."""
from __future__ import annotations

import dataclasses
import json
import math
import os
import socket
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vr_ros.core.types import (
    Detection,
    Mask,
    Perception,
    Position,
    PositionStatus,
    ScoreSource,
    Size,
    Stamp,
    Status,
    Task,
    Timing,
    TrackState,
)
from vr_ros.pipeline import protocol
from vr_ros.pipeline.frame_ring import SlotRef
from vr_ros.pipeline.protocol import FrameKind, ProtocolError, from_packet, to_packet
from vr_ros.pipeline.wire import MAX_HEADER_BYTES, Channel, Packet

MASK = Mask(Size(4, 3), (0, 5, 7))
FULL = Detection(7, (0.1, 2.0, 1e30, -0.0), (1 / 3, 2.5), 'a "cup" — ☕ \ud800', 0.25,
                 ScoreSource.FUSED, MASK, 0.75, 5, 'a-7', TrackState.OCCLUDED, Stamp(3, 4),
                 PositionStatus.OK, Position((0.1, 0.2, 0.3), (1.0, 2.0, 3.0),
                                             (0.0, 0.0, 0.6, 0.8), (0.01, 0.02, 0.03), 0.004))
BARE = Detection(0, (1.0, 2.0, 3.0, 4.0))
PERCEPTION = Perception(
    Status.PARTIAL, Task.COUNTING, (FULL, BARE, dataclasses.replace(FULL, index=8)), 'two', 'I see',
    '<think>\n</think>', 'length', 'cut off', Size(640, 480), 'tiny',
    Timing(1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8, 9, 10))
FRAME = protocol.FrameRef(
    5, SlotRef(3, 2**60, 6_220_800), FrameKind.COMPRESSED, 614_400, 380, FrameKind.IMAGE,
    PositionStatus.OUT_OF_SYNC, 380, protocol.Viewpoint(
        True, False, (0.0, -1.0, 1e-3), tuple(map(float, range(16)))))

MESSAGES = [
    protocol.Load('cards/tiny.yaml', {'device': 'cpu', 'deep': {'list': [1, None, 'x']}}),
    protocol.DetachRing(3),
    protocol.Perceive(2**53 + 1, 'count the "cups"\n</answer>\0', Task.VQA, FRAME, False, 'front',
                      16),
    protocol.Track(7, 'front', FRAME),
    protocol.Forget('front'),
    protocol.Cancel(0),
    protocol.Shutdown(),
    protocol.Loading('weights', 0.5),
    protocol.Ready('tiny', True, {'device': 'cuda'}),
    protocol.LoadFailed(Status.MODEL_UNAVAILABLE, 'no weights'),
    protocol.Started(1),
    protocol.Text(1, ''),
    protocol.Objects(1, (FULL, BARE), True),
    protocol.Masks(1, (FULL,)),
    protocol.Result(1, PERCEPTION),
    protocol.Tracked(7, 2**53 + 1, (FULL, BARE), True, 12.5),
    protocol.Heartbeat(1 << 40, 2, 3, None),
    protocol.Heartbeat(1, 0, 0, 12),
]


@pytest.fixture
def channels() -> Iterator[tuple[Channel, Channel]]:
    left, right = socket.socketpair()
    ends = Channel(left), Channel(right)
    yield ends
    for end in ends:
        end.close()


def over_json(packet: Packet) -> Packet:
    """Return the packet as it is on the other side."""
    return dataclasses.replace(packet, header=json.loads(json.dumps(packet.header)))


def same(left: object, right: object) -> bool:
    """Compare by representation: unlike ==, it takes NaN for equal and tells 0.0 from -0.0, 1."""
    return repr(left) == repr(right)


@pytest.mark.parametrize('message', MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_survives(message: protocol.Message) -> None:
    assert same(from_packet(over_json(to_packet(message))), message)


def test_the_table_has_every_message() -> None:
    tried = {type(message) for message in MESSAGES} | {protocol.AttachRing}
    assert tried == set(protocol.Message.__args__)


def test_nan_stays_nan_and_infinity_infinity() -> None:
    detection = Detection(0, (math.nan, math.inf, -math.inf, 1.0), score=math.nan)
    (received,) = from_packet(over_json(to_packet(protocol.Masks(1, (detection,))))).detections
    assert [math.isnan(received.box[0]), *received.box[1:]] == [True, math.inf, -math.inf, 1.0]
    assert math.isnan(received.score) and math.isnan(received.mask_score)


def test_masks_are_little_endian_words_in_order() -> None:
    other = Mask(Size(70000, 70000), (4_294_967_295, 605_032_705))
    packet = to_packet(protocol.Masks(1, (FULL, BARE, Detection(1, BARE.box, mask=other))))
    assert packet.payload == struct.pack('<5I', 0, 5, 7, 4_294_967_295, 605_032_705)


def test_numbers_of_numpy_become_numbers() -> None:
    detection = Detection(np.int64(3), tuple(np.float32([0.1, 2, 3, 4])), score=np.float32(0.5),
                          mask=Mask(Size(np.int32(2), np.int32(1)), tuple(np.uint32([1, 1]))))
    (received,) = from_packet(over_json(to_packet(protocol.Masks(1, (detection,))))).detections
    assert same(received, Detection(3, (float(np.float32(0.1)), 2.0, 3.0, 4.0), score=0.5,
                                    mask=Mask(Size(2, 1), (1, 1))))


@pytest.mark.parametrize('message', [
    protocol.Text(1, 5),                                             # not text
    protocol.Text('1', 'x'),                                         # an id that is text
    protocol.Text(1.5, 'x'),                                         # an id that is no integer
    protocol.Objects(1, (BARE,), 'yes'),                             # not a truth value
    protocol.Objects(1, BARE, True),                                 # not a sequence
    protocol.Objects(1, (MASK,), True),                              # not a detection
    protocol.Result(1, None),                                        # no perception
    protocol.Result(1, Perception(0)),                               # a status that is a number
    protocol.Masks(1, (Detection(0, (1, 2, 3)),)),                   # three corners
    protocol.Masks(1, (Detection(0, ('x', 0, 1, 1)),)),              # a corner that is text
    protocol.Masks(1, (Detection(0, BARE.box, mask=Mask(Size(2, 2), (3,))),)),      # too few pixels
    protocol.Masks(1, (Detection(0, BARE.box, mask=Mask(Size(2, 2), (5, -1))),)),   # negative run
    protocol.Masks(1, (Detection(0, BARE.box, mask=Mask(Size(2, 2), (2**32,))),)),  # too long a run
    protocol.Load('x', {1: 2}),                                      # a key that is no text
    'Text',                                                          # not a message at all
    BARE,                                                            # a dataclass, but no message
])
def test_what_is_not_valid_is_not_sent(message: object) -> None:
    with pytest.raises(ProtocolError):
        to_packet(message)  # type: ignore[arg-type]


def changed(message: protocol.Message, **body: object) -> dict[str, object]:
    header = to_packet(message).header
    return {**header, 'body': {**header['body'], **body}}


@pytest.mark.parametrize('header', [
    {},                                                              # nothing
    {'type': 'Text'},                                                # no body
    {'type': 'Text', 'body': {'request_id': 1, 'text': ''}, 'x': 1},  # something else beside it
    {'type': 'Nonsense', 'body': {}},                                # unknown type
    {'type': ['Text'], 'body': {}},                                  # a type that is no text
    {'type': 'SlotRef', 'body': {'slot': 0, 'generation': 2, 'length': 1}},  # part of a message
    {'type': 'Text', 'body': None},                                  # a body that is no object
    {'type': 'Text', 'body': {'request_id': 1}},                     # a field is missing
    changed(protocol.Text(1, ''), surplus=1),                        # a field too many
    changed(protocol.Text(1, ''), request_id=True),                  # true is no number
    changed(protocol.Text(1, ''), request_id=1.0),                   # nor is 1.0 an id
    changed(protocol.Text(1, ''), text=None),                        # null is no text
    changed(protocol.Loading('', 0.0), progress='0.5'),              # text is no number
    changed(protocol.LoadFailed(Status.OK, ''), status=99),          # no such status
    changed(protocol.LoadFailed(Status.OK, ''), status='OK'),        # a status by name
    changed(protocol.Objects(1, (), False), masks_pending=0),        # 0 is not false
    changed(protocol.Objects(1, (), False), detections={}),          # not a list
    changed(protocol.Objects(1, (), False), detections=[1]),         # not a detection
    changed(protocol.Ready(''), info=[]),                            # not an object
    changed(protocol.Heartbeat(1), busy_request_id='x'),             # neither null nor a number
])
def test_malformed_headers_are_refused(header: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        from_packet(Packet(header))


@pytest.mark.parametrize(('head', 'payload'), [
    ([4, 3, 3], b''),                                     # payload is missing
    ([4, 3, 3], struct.pack('<2I', 0, 5)),                # payload is short
    ([4, 3, 3], struct.pack('<4I', 0, 5, 7, 0)),          # payload is long
    ([4, 3, 3], struct.pack('<3I', 0, 5, 8)),             # one pixel too many
    ([4, 3, 2], struct.pack('<2I', 0, 5)),                # pixels are missing
    ([4, 3, -1], b''),                                    # negative count
    ([-4, -3, 3], struct.pack('<3I', 0, 5, 7)),           # negative size
    ([4, 3, 2**62], b''),                                 # a count beyond memory
    ([4, 3], b''),                                        # no count
    ('mask', b''),                                        # no list
])
def test_malformed_masks_are_refused(head: object, payload: bytes) -> None:
    header = to_packet(protocol.Masks(1, (FULL,))).header
    header['body']['detections'][0]['mask'] = head
    with pytest.raises(ProtocolError):
        from_packet(Packet(header, payload))


@pytest.mark.parametrize(('message', 'with_descriptor'), [
    (protocol.AttachRing(1), False),   # a ring without its descriptor
    (protocol.Cancel(1), True),        # a descriptor that nobody asked for
])
def test_descriptors_come_with_rings_only(
        channels: tuple[Channel, Channel], message: protocol.Message,
        with_descriptor: bool) -> None:
    left, right = channels
    before = len(os.listdir('/proc/self/fd'))
    left.send(dataclasses.replace(to_packet(message), descriptor=0 if with_descriptor else None))
    with pytest.raises(ProtocolError, match='descriptor'):
        protocol.receive(right)
    assert len(os.listdir('/proc/self/fd')) == before


def test_messages_and_descriptors_keep_their_order(channels: tuple[Channel, Channel]) -> None:
    left, right = channels
    read_end, write_end = os.pipe()
    sent = [*MESSAGES[:5], protocol.AttachRing(9), *MESSAGES[5:]]
    for message in sent:
        is_ring = isinstance(message, protocol.AttachRing)
        protocol.send(left, message, write_end if is_ring else None)
    received = [protocol.receive(right) for _ in sent]
    assert [repr(item.message) for item in received] == [repr(message) for message in sent]
    (descriptor,) = [item.descriptor for item in received if item.descriptor is not None]
    assert received[5].descriptor == descriptor and not os.get_inheritable(descriptor)
    os.write(descriptor, b'same pipe')
    assert os.read(read_end, 100) == b'same pipe'
    for fd in (read_end, write_end, descriptor):
        os.close(fd)


def test_a_closed_channel_ends(channels: tuple[Channel, Channel]) -> None:
    left, right = channels
    protocol.send(left, protocol.Cancel(4))
    left.close()
    assert protocol.receive(right).message == protocol.Cancel(4)
    assert protocol.receive(right) is None
    with pytest.raises(OSError):
        protocol.send(right, protocol.Started(4))


PREFIX = struct.Struct('<4sII')


@pytest.mark.parametrize('data', [
    b'VRW1',                                                 # ends within the prefix
    PREFIX.pack(b'VRW1', 10, 0) + b'{}',                     # ends within the header
    PREFIX.pack(b'VRW1', 2, 5) + b'{}abc',                   # ends within the payload
    PREFIX.pack(b'HTTP', 2, 0) + b'{}',                      # another protocol
    PREFIX.pack(b'VRW1', MAX_HEADER_BYTES + 1, 0),           # an enormous header
    PREFIX.pack(b'VRW1', 2, 0xffffffff) + b'{}',             # an enormous payload
    PREFIX.pack(b'VRW1', 0, 0),                              # no header
    PREFIX.pack(b'VRW1', 2, 0) + b'[]',                      # a header that is no object
    PREFIX.pack(b'VRW1', 2, 0) + b'\xff\xfe',                # a header that is no text
    PREFIX.pack(b'VRW1', 6, 0) + b'{"a":}',                  # a header that is no JSON
    PREFIX.pack(b'VRW1', 100_000, 0) + b'[' * 100_000,       # a header that is nested too deep
])
def test_bytes_that_are_no_packet_are_refused(data: bytes) -> None:
    left, right = socket.socketpair()
    with left, right:
        left.sendall(data)
        left.shutdown(socket.SHUT_WR)
        with pytest.raises(ProtocolError):
            protocol.receive(Channel(right))


def test_what_is_too_large_is_not_sent(channels: tuple[Channel, Channel]) -> None:
    left, right = channels
    with pytest.raises(ProtocolError, match='too large'):
        protocol.send(left, protocol.Text(1, 'x' * MAX_HEADER_BYTES))
    protocol.send(left, protocol.Text(1, 'next'))
    assert protocol.receive(right).message == protocol.Text(1, 'next')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
message_types = st.sampled_from([type(message).__name__ for message in MESSAGES])


@given(message_types, json_values, st.binary(max_size=16))
def test_any_header_is_a_message_or_refused(name: str, body: object, payload: bytes) -> None:
    try:
        message = from_packet(Packet({'type': name, 'body': body}, payload))
    except ProtocolError:
        return
    assert type(message).__name__ == name
    assert same(from_packet(over_json(to_packet(message))), message)


@given(st.sampled_from(MESSAGES), st.data())
def test_one_changed_value_gives_a_message_or_is_refused(
        message: protocol.Message, data: st.DataObject) -> None:
    packet = to_packet(message)
    body = packet.header['body']
    if body:
        body[data.draw(st.sampled_from(sorted(body)))] = data.draw(json_values)
    try:
        assert type(from_packet(packet)) is type(message)
    except ProtocolError:
        pass


@given(st.lists(st.integers(0, 2**32 - 1), max_size=50))
def test_runs_of_any_length_survive(runs: list[int]) -> None:
    mask = Mask(Size(sum(runs), 1), tuple(runs))
    message = protocol.Masks(1, (Detection(0, BARE.box, mask=mask),))
    assert from_packet(over_json(to_packet(message))).detections[0].mask == mask
