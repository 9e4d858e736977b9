"""Packets over a Unix stream socket: a JSON header, bytes, and now and then one file descriptor."""
from __future__ import annotations

import array
import json
import os
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Any

MAX_HEADER_BYTES = 32 << 20
MAX_PAYLOAD_BYTES = 256 << 20

_MAGIC = b'VRW1'
_PREFIX = struct.Struct('<4sII')
_MAX_DESCRIPTORS = 4


class ProtocolError(Exception):
    """What arrived, or was to be sent, is not a valid message."""


@dataclass(frozen=True)
class Packet:
    """One message on the wire.

    :param header: what json.dumps accepts, NaN and infinities included.
    :param payload: bytes that the header refers to.
    :param descriptor: an open file descriptor that now belongs to the receiver, or None.
    """

    header: dict[str, Any]
    payload: bytes = b''
    descriptor: int | None = None


class Channel:
    """One end of a socket pair. Any thread may send; one thread receives."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._send_lock = threading.Lock()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, packet: Packet) -> None:
        """Write one packet as a whole; packets of several threads do not mix.

        :raises ProtocolError: the packet is too large or its header is not JSON; nothing was sent.
        :raises OSError: the other end is gone, or does not read in time. The channel is unusable.
        """
        head = _encode_header(packet.header)
        if len(packet.payload) > MAX_PAYLOAD_BYTES:
            raise ProtocolError(f'payload of {len(packet.payload)} bytes is too large')
        prefix = _PREFIX.pack(_MAGIC, len(head), len(packet.payload))
        descriptors = [] if packet.descriptor is None else [packet.descriptor]
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', descriptors))]
        parts = [prefix, head, packet.payload]
        with self._send_lock:
            # Descriptors travel with the first byte of the prefix, where receive() looks for them.
            sent = self._socket.sendmsg(parts, ancillary if descriptors else [])
            if sent < sum(map(len, parts)):
                self._socket.sendall(memoryview(b''.join(parts))[sent:])

    def receive(self) -> Packet | None:
        """Wait for the next packet.

        :return: None when the other end has closed the channel.
        :raises ProtocolError: what arrived is no packet; the channel is unusable.
        """
        prefix, descriptors = self._receive_prefix()
        try:
            return self._receive_rest(prefix, descriptors)
        except ProtocolError:
            for descriptor in descriptors:
                os.close(descriptor)
            raise

    def close(self) -> None:
        """Close this end; a thread of this process that waits in receive() sees the end."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other end was faster
        self._socket.close()

    def _receive_prefix(self) -> tuple[bytes, list[int]]:
        prefix = b''
        descriptors: list[int] = []
        while len(prefix) < _PREFIX.size:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(
                    _PREFIX.size - len(prefix),
                    socket.CMSG_SPACE(_MAX_DESCRIPTORS * array.array('i').itemsize),
                    socket.MSG_CMSG_CLOEXEC)
            except ConnectionResetError:
                data, ancillary = b'', []
            descriptors += _descriptors(ancillary)
            if not data:
                break
            prefix += data
        return prefix, descriptors

    def _receive_rest(self, prefix: bytes, descriptors: list[int]) -> Packet | None:
        if not prefix and not descriptors:
            return None
        if len(prefix) < _PREFIX.size:
            raise ProtocolError('the channel was closed within a packet')
        magic, head_bytes, payload_bytes = _PREFIX.unpack(prefix)
        if magic != _MAGIC:
            raise ProtocolError(f'not a packet: it begins with {magic!r}')
        if head_bytes > MAX_HEADER_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
            raise ProtocolError(f'packet of {head_bytes} + {payload_bytes} bytes is too large')
        if len(descriptors) > 1:
            raise ProtocolError(f'{len(descriptors)} descriptors in one packet')
        header = _decode_header(self._receive_exactly(head_bytes))
        payload = self._receive_exactly(payload_bytes)
        return Packet(header, bytes(payload), descriptors[0] if descriptors else None)

    def _receive_exactly(self, length: int) -> bytearray:
        data = bytearray(length)
        view = memoryview(data)
        while view:
            try:
                received = self._socket.recv_into(view)
            except ConnectionResetError:
                received = 0
            if received == 0:
                raise ProtocolError('the channel was closed within a packet')
            view = view[received:]
        return data


def _encode_header(header: dict[str, Any]) -> bytes:
    try:
        head = json.dumps(header, separators=(',', ':')).encode('ascii')
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(f'header is not JSON: {error}') from error
    if len(head) > MAX_HEADER_BYTES:
        raise ProtocolError(f'header of {len(head)} bytes is too large')
    return head


def _decode_header(head: bytearray) -> dict[str, Any]:
    try:
        header = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f'header is not JSON: {error}') from error
    if not isinstance(header, dict):
        raise ProtocolError('header is not a JSON object')
    return header


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    descriptors = array.array('i')
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[:len(data) - len(data) % descriptors.itemsize])
    return list(descriptors)
