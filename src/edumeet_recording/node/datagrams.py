"""Receives many datagrams in one system call, each with its source and the time the kernel got it (Linux recvmmsg(2)).

Python has no recvmmsg of its own, and a call a datagram would cost more than all the rest that capture does.
"""

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator

SLOTS = 64
PAYLOAD_BYTES = 2048
"""Room for one datagram. RTP keeps below the path's MTU; what fills the room is taken for cut off."""
NAME_BYTES = 28
"""sizeof(struct sockaddr_in6); an IPv4 address leaves the rest zero."""
_CONTROL_BYTES = 64
_RETRY = frozenset({errno.EAGAIN, errno.EINTR})
_libc = ctypes.CDLL(None, use_errno=True)


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", _Header), ("received", ctypes.c_uint))


_LENGTH_AT = _Message.received.offset // 4
_LENGTH_STEP = ctypes.sizeof(_Message) // 4
_TIME_AT = 2
"""In words of 8 bytes: a control message is a header of 16 bytes, here before a struct timespec (cmsg(3))."""
_TIME_STEP = _CONTROL_BYTES // 8


class Datagrams:
    """A batch of up to `SLOTS` datagrams; the next `receive` overwrites it.

    Datagram i has its payload at `buffer[i * PAYLOAD_BYTES:]`. The views are public, for the one loop that
    must not pay for a method call a field.
    """

    def __init__(self) -> None:
        self._payloads = (ctypes.c_char * (SLOTS * PAYLOAD_BYTES))()
        self._buffer = memoryview(self._payloads).cast("B")
        self._names = (ctypes.c_char * (SLOTS * NAME_BYTES))()
        self._sources = memoryview(self._names).cast("B")
        self._controls = (ctypes.c_uint64 * (SLOTS * _CONTROL_BYTES // 8))()
        self._times = memoryview(self._controls).cast("B").cast("q")
        self._vectors = (_IoVec * SLOTS)()
        self._messages = (_Message * SLOTS)()
        payloads, names = ctypes.addressof(self._payloads), ctypes.addressof(self._names)
        controls, vectors = ctypes.addressof(self._controls), ctypes.addressof(self._vectors)
        for i in range(SLOTS):
            self._vectors[i] = _IoVec(payloads + i * PAYLOAD_BYTES, PAYLOAD_BYTES)
            self._messages[i].header = _Header(
                name=names + i * NAME_BYTES,
                name_length=NAME_BYTES,
                vectors=vectors + i * ctypes.sizeof(_IoVec),
                vector_count=1,
                control=controls + i * _CONTROL_BYTES,
                control_length=_CONTROL_BYTES,
            )
        self._headers = memoryview(self._messages).cast("B")
        self._fresh = bytes(self._headers)  # the kernel writes lengths back: they are restored before the next call
        self._lengths = self._headers.cast("I")
        self._call = _libc.recvmmsg  # without argtypes: they would convert each argument anew, at a third of the call
        self._used = 0

    def receive(self, fd: int) -> int:
        """Fill the batch from a non-blocking socket with SO_TIMESTAMPNS; how many came. Raises `OSError`."""
        used = self._used * ctypes.sizeof(_Message)
        self._headers[:used] = self._fresh[:used]
        count = self._call(fd, self._messages, SLOTS, socket.MSG_DONTWAIT, None)
        self._used = max(count, 0)
        if count < 0:
            if (code := ctypes.get_errno()) in _RETRY:
                return 0
            raise OSError(code, os.strerror(code))
        return count

    def source(self, index: int) -> bytes:
        """The sender's address of one datagram of the batch, as the kernel has it."""
        return bytes(self._sources[index * NAME_BYTES : (index + 1) * NAME_BYTES])

    def arrived(self, count: int) -> Iterator[tuple[int, bytes, memoryview]]:
        """The first `count` datagrams: arrival by the kernel's clock (epoch nanoseconds), sender's address, payload.

        The address is as the kernel has it (`parse_source` reads it); the payload is a view, until the next `receive`,
        and one of `PAYLOAD_BYTES` was cut off.
        """
        times, lengths, buffer = self._times, self._lengths, self._buffer
        sources = bytes(self._sources[: count * NAME_BYTES])
        for i in range(count):
            time, start, name = i * _TIME_STEP + _TIME_AT, i * PAYLOAD_BYTES, i * NAME_BYTES
            yield (
                times[time] * 1_000_000_000 + times[time + 1],
                sources[name : name + NAME_BYTES],
                buffer[start : start + lengths[i * _LENGTH_STEP + _LENGTH_AT]],
            )


def parse_source(raw: bytes) -> tuple[str, int]:
    """Address and port of a struct sockaddr_in or sockaddr_in6."""
    (family,) = struct.unpack_from("=H", raw)
    (port,) = struct.unpack_from(">H", raw, 2)
    if family == socket.AF_INET6:
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), port
    return socket.inet_ntop(socket.AF_INET, raw[4:8]), port
