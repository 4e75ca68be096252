"""The sockets of a mediasoup PlainTransport that was connected to one address."""

import asyncio
import base64
import contextlib
import secrets
import socket
from collections.abc import Callable, Iterable

from edumeet_recording.domain.srtp import KEY_BYTES
from edumeet_recording.media.errors import MediaError
from edumeet_recording.media.rtcp import RtcpPacket, parse_rtcp
from edumeet_recording.media.srtp import SrtpReceiver, SrtpSender
from edumeet_recording.sim.network import Path
from edumeet_recording.wire.node_link import SrtpKey

_DATAGRAMS_A_WAKE = 64


class Transport:
    """A socket for RTP and, unless muxed, another for RTCP; it hears RTCP from nowhere but where it sends it.

    It goes on sending to a port where nobody listens. `path`: the bad network that lies between, if any. Raises
    `OSError` where it cannot be bound.
    """

    def __init__(
        self,
        listen_ip: str,
        ip: str,
        port: int,
        rtcp_port: int,
        *,
        hear: Callable[[Iterable[RtcpPacket]], None],
        path: Path | None,
    ) -> None:
        self._rtp_target, self._rtcp_target = (ip, port), (ip, rtcp_port)
        self._hear = hear
        self._path = path
        self._sender: SrtpSender | None = None
        self._receiver: SrtpReceiver | None = None
        self._loop = asyncio.get_running_loop()
        self._rtp = _bound(listen_ip)
        self._rtcp = self._rtp if rtcp_port == port else _bound(listen_ip)
        self.source: tuple[str, int] = self._rtp.getsockname()[:2]
        self._loop.add_reader(self._rtcp, self._read)

    def encrypt(self, *, ours: SrtpKey, theirs: SrtpKey) -> None:
        """From now on SRTP and SRTCP. Raises `MediaError` where a key does not fit its suite."""
        self._sender = SrtpSender(ours.suite, ours.key_base64)
        self._receiver = SrtpReceiver(theirs.suite, theirs.key_base64)

    def send_rtp(self, datagram: bytes) -> bool:
        """Sends one packet; False where the bad network loses it."""
        return self._send(self._rtp, self._sender.protect_rtp(datagram) if self._sender else datagram, self._rtp_target)

    def send_rtcp(self, datagram: bytes) -> None:
        """Sends one compound packet, or loses it."""
        self._send(self._rtcp, self._sender.protect_rtcp(datagram) if self._sender else datagram, self._rtcp_target)

    def close(self) -> None:
        """Gives the sockets back."""
        self._loop.remove_reader(self._rtcp)
        self._rtcp.close()
        self._rtp.close()

    def _read(self) -> None:
        for _ in range(_DATAGRAMS_A_WAKE):
            try:
                datagram, sender = self._rtcp.recvfrom(2048)
            except OSError:
                return
            if sender[:2] != self._rtcp_target:
                continue
            if self._path is None:
                self._receive(datagram)
                continue
            for arrival in self._path.back.arrivals(self._loop.time()):
                self._loop.call_at(arrival, self._receive, datagram)

    def _receive(self, datagram: bytes) -> None:
        with contextlib.suppress(MediaError):
            plain = self._receiver.unprotect_rtcp(datagram) if self._receiver else datagram
            self._hear(parse_rtcp(plain))

    def _send(self, opened: socket.socket, datagram: bytes, target: tuple[str, int]) -> bool:
        if self._path is None:
            _send(opened, datagram, target)
            return True
        arrivals = self._path.there.arrivals(self._loop.time())
        for arrival in arrivals:
            self._loop.call_at(arrival, _send, opened, datagram, target)
        return bool(arrivals)


def random_key(suite: str) -> SrtpKey:
    """A new master key and salt. Raises `KeyError` for an unknown suite."""
    key = base64.b64encode(secrets.token_bytes(KEY_BYTES[suite])).decode()
    return SrtpKey.model_validate({"suite": suite, "key_base64": key})


def _bound(ip: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.setblocking(False)
    try:
        opened.bind((ip, 0))
    except OSError:
        opened.close()
        raise
    return opened


def _send(opened: socket.socket, datagram: bytes, target: tuple[str, int]) -> None:
    # A dead port, a full buffer or a route that is gone is the network's loss, not ours.
    with contextlib.suppress(OSError):
        opened.sendto(datagram, target)
