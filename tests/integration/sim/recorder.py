"""A recorder that only listens, and the requests that make media flow to it."""

import asyncio
import socket
from itertools import count
from types import TracebackType
from typing import Self

from edumeet_recording.domain.codecs import CLOCK_RATE_HZ, Codec, kind_of
from edumeet_recording.media.rtp import RtpPacket, is_rtcp, parse_rtp
from edumeet_recording.wire.room_link import ConfigureForwarding, RequestedStream, TargetNode

_REQUESTS = count(1)


class Recorder:
    """One UDP port that keeps what comes."""

    def __init__(self) -> None:
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._socket, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def send(self, datagram: bytes, port: int) -> None:
        self._socket.sendto(datagram, ("127.0.0.1", port))

    def packets(self, ssrc: int) -> list[RtpPacket]:
        return [packet for packet in map(parse_rtp, self.rtp) if packet.ssrc == ssrc]

    def _read(self) -> None:
        while True:
            try:
                datagram = self._socket.recv(2048)
            except BlockingIOError:
                return
            (self.rtcp if is_rtcp(datagram) else self.rtp).append(datagram)


def configure(*targets: tuple[Codec, int, int], peer_id: str = "peer", **fields: object) -> ConfigureForwarding:
    """A request to send streams of these codecs to these RTP and RTCP ports."""
    streams = tuple(
        RequestedStream(
            index=index,
            kind=kind_of(codec),
            port=port,
            rtcp_port=rtcp_port,
            payload_type=96,
            codec_name=codec,
            clock_rate=CLOCK_RATE_HZ[codec],
        )
        for index, (codec, port, rtcp_port) in enumerate(targets)
    )
    given = {"job_id": f"job-{next(_REQUESTS)}", "epoch": 1, "room_id": "room", **fields}
    target_node = TargetNode(ip="127.0.0.1", ports=())
    return ConfigureForwarding.model_validate(
        {**given, "peer_id": peer_id, "target_node": target_node, "rtp_streams": streams}
    )
