"""UDP sockets for RTP: even/odd port pairs of one range, bound and non-blocking, given back by `close`."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from edumeet_recording.domain.errors import Unavailable

SO_TIMESTAMPNS = 35
"""<asm-generic/socket.h>: the kernel notes when each datagram came. Python does not name it."""


@dataclass(frozen=True, slots=True)
class PortPair:
    """RTP on the even port, RTCP of senders that do not mux on the odd one above (RFC 3550 §11)."""

    rtp: socket.socket
    rtcp: socket.socket

    @property
    def port(self) -> int:
        """The even port."""
        return self.rtp.getsockname()[1]

    @property
    def rtcp_port(self) -> int:
        """The odd port."""
        return self.rtcp.getsockname()[1]

    def close(self) -> None:
        """Give both ports back."""
        self.rtp.close()
        self.rtcp.close()


class PortPool:
    """Hands out pairs in turn, so that a port rests as long as it can before another recording gets it.

    `on_small_buffer(asked, granted)` is called once, where the kernel grants less receive buffer than asked for.
    """

    def __init__(
        self, bind_ip: str, first: int, last: int, buffer_bytes: int, on_small_buffer: Callable[[int, int], None]
    ) -> None:
        self._bind_ip = bind_ip
        self._family = socket.AF_INET6 if ip_address(bind_ip).version == 6 else socket.AF_INET
        self._range = range(first + first % 2, last, 2)
        self._next = 0
        self._buffer_bytes = buffer_bytes
        self._on_small_buffer = on_small_buffer
        self._warned = False

    def open(self, count: int) -> tuple[PortPair, ...]:
        """`count` pairs, or none. Raises `Unavailable` where the range has no more."""
        pairs: list[PortPair] = []
        for _ in self._range:
            if len(pairs) == count:
                break
            port = self._range[self._next]
            self._next = (self._next + 1) % len(self._range)
            if (pair := self._bind_pair(port)) is not None:
                pairs.append(pair)
        if len(pairs) < count:
            for pair in pairs:
                pair.close()
            raise Unavailable(f"no free UDP port pair between {self._range.start} and {self._range.stop}")
        return tuple(pairs)

    def _bind_pair(self, port: int) -> PortPair | None:
        rtp = self._bind(port)
        if rtp is None:
            return None
        rtcp = self._bind(port + 1)
        if rtcp is None:
            rtp.close()
            return None
        rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer_bytes)
        granted = rtp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # Linux tells twice of what it grants
        if granted < self._buffer_bytes and not self._warned:
            self._warned = True
            self._on_small_buffer(self._buffer_bytes, granted)
        return PortPair(rtp, rtcp)

    def _bind(self, port: int) -> socket.socket | None:
        udp = socket.socket(self._family, socket.SOCK_DGRAM)
        try:
            udp.setblocking(False)
            udp.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            udp.bind((self._bind_ip, port))
        except OSError:  # taken by somebody else: the next one will do
            udp.close()
            return None
        return udp
