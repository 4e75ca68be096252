"""Sends the bench's clip to many ports at once, as if from as many peers.

`python -m edumeet_recording.bench.sender` says `ready` once the clip is made. Each line of standard input is JSON:
`targets`, a list of `[audio port, video port]`, one a recording, and `srtp`, suite and key, or null to send in the
clear. From then on it sends to these. It ends with its input.
"""

import json
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from edumeet_recording.bench.clip import SECONDS, Datagram, make_clip
from edumeet_recording.domain.codecs import Kind
from edumeet_recording.media.srtp import SrtpSender

STEP_S = 0.005
_CLOCK_RATE = {Kind.AUDIO: 48000, Kind.VIDEO: 90000}
_COUNTERS = struct.Struct("!HII")
"""Sequence number, timestamp and SSRC: bytes 2 to 12 of an RTP header."""


def ssrc_of(recording: int, kind: Kind) -> int:
    """The SSRC a recording's stream is sent with."""
    return 2 * recording + (1 if kind is Kind.AUDIO else 2)


@dataclass(slots=True)
class _Stream:
    target: tuple[str, int]
    ssrc: int
    sequence: int = 0


class _Peer:
    """One looped clip, begun at `began`."""

    def __init__(
        self,
        udp: socket.socket,
        number: int,
        ports: tuple[int, int],
        *,
        clip: list[Datagram],
        began: float,
        seal: Callable[[bytes], bytes],
    ) -> None:
        self._udp = udp
        self._clip = clip
        self._began = began
        self._seal = seal
        self._sent = 0
        self._streams = {
            kind: _Stream(("127.0.0.1", port), ssrc_of(number, kind))
            for kind, port in zip((Kind.AUDIO, Kind.VIDEO), ports, strict=True)
        }

    def send_until(self, now: float) -> None:
        """Send what is due."""
        while True:
            loop, index = divmod(self._sent, len(self._clip))
            datagram = self._clip[index]
            if self._began + loop * SECONDS + datagram.at > now:
                return
            self._sent += 1
            self._send(loop, datagram)

    def _send(self, loop: int, datagram: Datagram) -> None:
        stream = self._streams[datagram.kind]
        data = bytearray(datagram.data)
        timestamp = _COUNTERS.unpack_from(data, 2)[1] + loop * SECONDS * _CLOCK_RATE[datagram.kind]
        _COUNTERS.pack_into(data, 2, stream.sequence, timestamp & 0xFFFFFFFF, stream.ssrc)
        stream.sequence = (stream.sequence + 1) & 0xFFFF
        self._udp.sendto(self._seal(bytes(data)), stream.target)


def main() -> None:
    """Obey the lines of standard input."""
    clip = make_clip()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    peers: list[_Peer] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        while True:
            if select.select([sys.stdin], [], [], STEP_S)[0]:
                line = sys.stdin.readline()
                if not line:
                    return
                order = json.loads(line)
                targets: list[tuple[int, int]] = order["targets"]
                seal: Callable[[bytes], bytes] = SrtpSender(*order["srtp"]).protect_rtp if order["srtp"] else bytes
                began = time.monotonic()
                # Begun one after the other within a frame's time: peers do not send in step.
                spread = 0.04 / max(len(targets), 1)
                peers = [
                    _Peer(udp, i, ports, clip=clip, began=began + spread * i, seal=seal)
                    for i, ports in enumerate(targets)
                ]
            now = time.monotonic()
            for peer in peers:
                peer.send_until(now)


if __name__ == "__main__":
    main()
