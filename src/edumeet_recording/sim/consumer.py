"""A mediasoup consumer: one publisher's stream as one recorder gets it, with numbers of its own; time is an argument.

SSRC and first sequence number are random, the sequence has no gaps, timestamps stay the publisher's, and nothing is
sent before a key frame. Header extensions are on the wire whether they were negotiated or not, padded to whole words.
"""

import secrets
from collections.abc import Iterable

from edumeet_recording.domain.codecs import CLOCK_RATE_HZ, Codec, Kind, kind_of
from edumeet_recording.media.rtcp import SenderReport, SourceDescription, build_rtcp, ntp_from_seconds
from edumeet_recording.media.rtp import build_rtp, parse_rtp
from edumeet_recording.sim.encode import Burst

PAYLOAD_TYPES = {
    Codec.PCMU: 0,
    Codec.PCMA: 8,
    Codec.AV1: 45,
    Codec.OPUS: 100,
    Codec.VP8: 101,
    Codec.H264: 103,
    Codec.VP9: 105,
}
"""The router's, with eduMEET's list of codecs."""

_KEPT_PACKETS = 1000
"""How far back a packet can be asked for again."""

_ABS_SEND_TIME, _AUDIO_LEVEL = 4, 10
"""Ids of the header extensions: 3 bytes and 1 byte, which leaves two to pad."""


class Consumer:
    """One stream to one recorder. Times are seconds of the host's monotonic clock.

    `first_sequence` None: random. `rtx`: what is asked for again is sent on an SSRC and payload type of its own
    (RFC 4588 §4), those after the stream's.
    """

    def __init__(self, codec: Codec, cname: str, *, first_sequence: int | None = None, rtx: bool = False) -> None:
        self.codec = codec
        self.kind = kind_of(codec)
        self.ssrc = secrets.randbelow(2**32 - 2) + 1
        self.payload_type = PAYLOAD_TYPES[codec]
        self._cname = cname
        self.rtx_ssrc = self.ssrc + 1 if rtx else None
        self.rtx_payload_type = self.payload_type + 1 if rtx else None
        self._sequence = secrets.randbits(16) if first_sequence is None else first_sequence
        self._rtx_sequence = secrets.randbits(16)
        self._timestamp_shift = 0
        self._started = self.kind is Kind.AUDIO
        self._kept: dict[int, bytes] = {}
        self._packets = self._octets = 0
        self._last_timestamp, self._last_sent_at = 0, 0.0

    def forward(self, burst: Burst, now: float) -> list[bytes]:
        """The datagrams of one burst: none before the first key frame."""
        self._started = self._started or burst.key
        if not self._started:
            return []
        timestamp = (burst.pieces[-1].timestamp + self._timestamp_shift) & 0xFFFFFFFF
        self._last_timestamp, self._last_sent_at = timestamp, now
        send_time = round(now * 2**18) & 0xFFFFFF
        extension = {_ABS_SEND_TIME: send_time.to_bytes(3, "big"), _AUDIO_LEVEL: b"\x1e"}
        datagrams: list[bytes] = []
        for piece in burst.pieces:
            datagram = build_rtp(
                payload_type=self.payload_type,
                sequence=self._sequence,
                timestamp=timestamp,
                ssrc=self.ssrc,
                payload=piece.payload,
                marker=piece.marker,
                extension=extension,
            )
            self._keep(datagram)
            self._packets += 1
            self._octets += len(piece.payload)
            datagrams.append(datagram)
        return datagrams

    def retransmit(self, sequences: Iterable[int]) -> list[bytes]:
        """The datagrams a NACK asks for, as they were or as RTX; without those that are too old."""
        kept = [self._kept[sequence] for sequence in sequences if sequence in self._kept]
        return kept if self.rtx_ssrc is None else [self._as_rtx(datagram) for datagram in kept]

    def restart(self) -> None:
        """The publisher begins anew: timestamps and sequence numbers go on anywhere, the SSRC stays."""
        self._timestamp_shift = secrets.randbits(32)
        self._sequence = secrets.randbits(16)
        self._started = self.kind is Kind.AUDIO

    def report(self, now: float, error_s: float = 0.0) -> bytes | None:
        """Sender report and description, None before the first packet; its clock is off by `error_s`.

        As in mediasoup the report's clocks are the host's and, from the last packet on, the stream's own rate.
        """
        if not self._packets:
            return None
        elapsed = round((now - self._last_sent_at) * CLOCK_RATE_HZ[self.codec])
        sender = SenderReport(
            ssrc=self.ssrc,
            ntp=ntp_from_seconds(now + error_s),
            rtp_timestamp=(self._last_timestamp + elapsed) & 0xFFFFFFFF,
            packets=self._packets & 0xFFFFFFFF,
            octets=self._octets & 0xFFFFFFFF,
        )
        return build_rtcp(sender, SourceDescription(((self.ssrc, self._cname),)))

    def _as_rtx(self, datagram: bytes) -> bytes:
        packet = parse_rtp(datagram)
        self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
        return build_rtp(
            payload_type=self.payload_type + 1,
            sequence=self._rtx_sequence,
            timestamp=packet.timestamp,
            ssrc=self.ssrc + 1,
            payload=packet.sequence.to_bytes(2, "big") + bytes(packet.payload),
            marker=packet.marker,
        )

    def _keep(self, datagram: bytes) -> None:
        # A sequence number that comes round again must go to the end, or the newest would be the first to be dropped.
        self._kept.pop(self._sequence, None)
        self._kept[self._sequence] = datagram
        if len(self._kept) > _KEPT_PACKETS:
            del self._kept[next(iter(self._kept))]
        self._sequence = (self._sequence + 1) & 0xFFFF
