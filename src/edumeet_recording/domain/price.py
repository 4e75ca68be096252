"""What a capture costs a node: one price, used by admission, placement and scaling alike; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from edumeet_recording.domain.codecs import Kind

USABLE_SHARE = 0.8
"""Share of a node's cores that captures may be promised; the rest is for shipping and the system."""
CAPTURE_MCPU = 2
STREAM_MCPU = {Kind.AUDIO: 2, Kind.VIDEO: 4}
"""Twice what capture measured on a slow core."""
SRTP_MCPU = {Kind.AUDIO: 1, Kind.VIDEO: 2}
"""To decrypt a stream."""
MEDIA_BYTES_PER_S = {Kind.AUDIO: 8_000, Kind.VIDEO: 190_000}
"""Nobody announces a bit rate: Opus at 64 kbit/s, video at 1.5 Mbit/s."""
PACKETS_PER_S = {Kind.AUDIO: 50, Kind.VIDEO: 170}
WIRE_BYTES = 28 + 12
"""IPv4, UDP and RTP headers of a packet."""
SRTP_BYTES = 10
"""Authentication tag (RFC 3711 §8.2)."""
RECORD_BYTES = 12 + 12
"""RTP header and the header of a record on the tape."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a capture takes: thousandths of a core, bytes a second from the network, bytes a second to the disk.

    What is received is also shipped: the network's other direction carries as much.
    """

    mcpu: int
    network_bytes_per_s: int = 0
    disk_bytes_per_s: int = 0

    @property
    def bytes_per_s(self) -> int:
        """What both network and disk must have free, each for itself."""
        return max(self.network_bytes_per_s, self.disk_bytes_per_s)


class Priced(Protocol):
    """A stream, as far as its price depends on it; `srtp` None: it comes in the clear."""

    @property
    def kind(self) -> Kind:
        """Audio or video."""
        ...

    @property
    def srtp(self) -> object | None:
        """What it is encrypted with."""
        ...


def price(streams: Iterable[Priced], *, encrypted: bool = False) -> Price:
    """The price of one capture; a redundant recording has two. `encrypted`: the sender uses SRTP on every stream."""
    mcpu, network, disk = CAPTURE_MCPU, 0, 0
    for stream in streams:
        kind, packets = stream.kind, PACKETS_PER_S[stream.kind]
        srtp = encrypted or stream.srtp is not None
        mcpu += STREAM_MCPU[kind] + (SRTP_MCPU[kind] if srtp else 0)
        network += MEDIA_BYTES_PER_S[kind] + packets * (WIRE_BYTES + (SRTP_BYTES if srtp else 0))
        disk += MEDIA_BYTES_PER_S[kind] + packets * RECORD_BYTES
    return Price(mcpu, network, disk)


def capacity_mcpu(cpu_cores: float) -> int:
    """Milli-cores of a node that captures may be promised."""
    return int(cpu_cores * 1000 * USABLE_SHARE)


USUAL = Price(
    CAPTURE_MCPU + sum(STREAM_MCPU.values()),
    sum(MEDIA_BYTES_PER_S[kind] + PACKETS_PER_S[kind] * WIRE_BYTES for kind in Kind),
    sum(MEDIA_BYTES_PER_S[kind] + PACKETS_PER_S[kind] * RECORD_BYTES for kind in Kind),
)
"""Of a peer with camera and microphone, in the clear."""
