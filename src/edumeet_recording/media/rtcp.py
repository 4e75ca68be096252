"""RTCP: what a recorder hears and says (RFC 3550 §6, RFC 4585 §6, RFC 5104 §4.3.1); other packets are passed over."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from edumeet_recording.media.errors import MediaError

NTP_UNIX_OFFSET_S = 2_208_988_800
"""Seconds from the NTP epoch (1900) to the Unix epoch (1970)."""


class _Type(IntEnum):
    SR = 200
    RR = 201
    SDES = 202
    BYE = 203
    RTPFB = 205
    PSFB = 206


_CNAME = 1

_HEADER = struct.Struct("!BBH")
_SENDER = struct.Struct("!IQIII")
_BLOCK = struct.Struct("!IIIIII")
_WORD = struct.Struct("!I")
_FEEDBACK = struct.Struct("!II")
_NACK_ENTRY = struct.Struct("!HH")
_FIR_ENTRY = struct.Struct("!IBxxx")


def ntp_from_seconds(seconds: float) -> int:
    """A 64-bit NTP timestamp, 32.32 fixed point (RFC 3550 §4), of seconds since the sender's own epoch."""
    return round(seconds * 2**32) & 0xFFFFFFFFFFFFFFFF


def seconds_from_ntp(ntp: int) -> float:
    """Seconds since the sender's own epoch: 1900 by the standard, the host's start in mediasoup."""
    return ntp / 2**32


def middle_of_ntp(ntp: int) -> int:
    """The middle 32 bits of a sender report's NTP timestamp: `last_sr` of the report blocks about it (§6.4.1)."""
    return ntp >> 16 & 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What a receiver says of one stream (RFC 3550 §6.4.1).

    `fraction_lost` in 1/256, `jitter` in units of the RTP clock, `delay_since_sr` in 1/65536 s.
    """

    ssrc: int
    fraction_lost: int
    lost: int
    highest_sequence: int
    jitter: int
    last_sr: int = 0
    delay_since_sr: int = 0

    def encode(self) -> bytes:
        """24 bytes; `lost` is clamped to its 24 bits as A.3 says."""
        lost = max(-0x800000, min(0x7FFFFF, self.lost)) & 0xFFFFFF
        return _BLOCK.pack(
            self.ssrc,
            self.fraction_lost << 24 | lost,
            self.highest_sequence,
            self.jitter,
            self.last_sr,
            self.delay_since_sr,
        )


@dataclass(frozen=True, slots=True)
class SenderReport:
    """SR (RFC 3550 §6.4.1): `rtp_timestamp` was the stream's clock at `ntp` (32.32 fixed point)."""

    ssrc: int
    ntp: int
    rtp_timestamp: int
    packets: int
    octets: int
    reports: tuple[ReportBlock, ...] = ()

    @property
    def ntp_seconds(self) -> float:
        """`ntp` in seconds since the sender's epoch."""
        return seconds_from_ntp(self.ntp)

    def encode(self) -> bytes:
        """The packet's bytes."""
        sender = _SENDER.pack(self.ssrc, self.ntp, self.rtp_timestamp, self.packets, self.octets)
        return _packet(_Type.SR, len(self.reports), sender + b"".join(block.encode() for block in self.reports))


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """RR (RFC 3550 §6.4.2)."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()

    def encode(self) -> bytes:
        """The packet's bytes."""
        blocks = b"".join(block.encode() for block in self.reports)
        return _packet(_Type.RR, len(self.reports), _WORD.pack(self.ssrc) + blocks)


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """SDES (RFC 3550 §6.5), its CNAMEs only: the canonical name of each SSRC, shared by the streams of one peer."""

    cnames: tuple[tuple[int, str], ...]

    def encode(self) -> bytes:
        """The packet's bytes."""
        chunks: list[bytes] = []
        for ssrc, cname in self.cnames:
            text = cname.encode()
            item = bytes([_CNAME, len(text)]) + text
            # A chunk ends with at least one null octet, at a 32-bit boundary.
            chunks.append(_WORD.pack(ssrc) + item + bytes(4 - len(item) % 4))
        return _packet(_Type.SDES, len(chunks), b"".join(chunks))


@dataclass(frozen=True, slots=True)
class Bye:
    """BYE (RFC 3550 §6.6)."""

    ssrcs: tuple[int, ...]

    def encode(self) -> bytes:
        """The packet's bytes."""
        return _packet(_Type.BYE, len(self.ssrcs), struct.pack(f"!{len(self.ssrcs)}I", *self.ssrcs))


@dataclass(frozen=True, slots=True)
class Nack:
    """Generic NACK (RFC 4585 §6.2.1): the sequence numbers that are asked for again, in ascending order modulo 2^16."""

    sender_ssrc: int
    media_ssrc: int
    sequences: tuple[int, ...]

    def encode(self) -> bytes:
        """The packet's bytes: each entry names one packet and, by a bit mask, any of the 16 after it."""
        entries: list[tuple[int, int]] = []
        for sequence in self.sequences:
            if entries:
                pid, mask = entries[-1]
                distance = (sequence - pid) & 0xFFFF
                if distance <= 16:
                    entries[-1] = pid, mask | 1 << distance >> 1
                    continue
            entries.append((sequence, 0))
        packed = b"".join(_NACK_ENTRY.pack(pid, mask) for pid, mask in entries)
        return _packet(_Type.RTPFB, 1, _FEEDBACK.pack(self.sender_ssrc, self.media_ssrc) + packed)


@dataclass(frozen=True, slots=True)
class PictureLoss:
    """PLI (RFC 4585 §6.3.1): asks for a key frame."""

    sender_ssrc: int
    media_ssrc: int

    def encode(self) -> bytes:
        """The packet's bytes."""
        return _packet(_Type.PSFB, 1, _FEEDBACK.pack(self.sender_ssrc, self.media_ssrc))


@dataclass(frozen=True, slots=True)
class FullIntraRequest:
    """FIR (RFC 5104 §4.3.1): asks for a key frame of each SSRC; a request with the same number is a repetition."""

    sender_ssrc: int
    requests: tuple[tuple[int, int], ...]

    def encode(self) -> bytes:
        """The packet's bytes."""
        entries = b"".join(_FIR_ENTRY.pack(ssrc, number) for ssrc, number in self.requests)
        return _packet(_Type.PSFB, 4, _FEEDBACK.pack(self.sender_ssrc, 0) + entries)


RtcpPacket = SenderReport | ReceiverReport | SourceDescription | Bye | Nack | PictureLoss | FullIntraRequest


def build_rtcp(*packets: RtcpPacket) -> bytes:
    """A compound packet of these, in this order (§6.1: a report first, then SDES; RFC 5506 allows feedback alone)."""
    return b"".join(packet.encode() for packet in packets)


def parse_rtcp(data: bytes | bytearray | memoryview) -> list[RtcpPacket]:
    """The packets of a compound, without those of kinds unknown here. Raises `MediaError` where one is malformed."""
    view = memoryview(data)
    packets: list[RtcpPacket] = []
    at = 0
    while at < len(view):
        if at + 4 > len(view):
            raise MediaError("an RTCP header is cut off")
        first, kind, words = _HEADER.unpack_from(view, at)
        if first >> 6 != 2:
            raise MediaError("not RTCP version 2")
        end = at + 4 + 4 * words
        if end > len(view):
            raise MediaError("an RTCP packet is longer than its datagram")
        body = view[at + 4 : end]
        if first & 0x20:
            body = _without_padding(body)
        try:
            packet = _parse(kind, first & 0x1F, body)
        except (struct.error, IndexError) as error:
            raise MediaError(f"an RTCP packet of type {kind} is cut off") from error
        if packet is not None:
            packets.append(packet)
        at = end
    return packets


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(0x80 | count, kind, len(body) // 4) + body


def _without_padding(body: memoryview) -> memoryview:
    if not body or not 0 < body[-1] <= len(body):
        raise MediaError("the padding of an RTCP packet is longer than the packet")
    return body[: -body[-1]]


def _parse(kind: int, count: int, body: memoryview) -> RtcpPacket | None:
    match kind:
        case _Type.SR:
            ssrc, ntp, timestamp, packets, octets = _SENDER.unpack_from(body)
            return SenderReport(ssrc, ntp, timestamp, packets, octets, _blocks(body, _SENDER.size, count))
        case _Type.RR:
            return ReceiverReport(_WORD.unpack_from(body)[0], _blocks(body, 4, count))
        case _Type.SDES:
            return SourceDescription(tuple(_cnames(body, count)))
        case _Type.BYE:
            return Bye(struct.unpack_from(f"!{count}I", body))
        case _Type.RTPFB | _Type.PSFB:
            return _parse_feedback(kind, count, body)
        case _:
            return None


def _parse_feedback(kind: int, fmt: int, body: memoryview) -> RtcpPacket | None:
    sender, media = _FEEDBACK.unpack_from(body)
    entries = body[_FEEDBACK.size :]
    match kind, fmt:
        case _Type.RTPFB, 1:
            return Nack(sender, media, tuple(_nacked(_NACK_ENTRY.iter_unpack(entries))))
        case _Type.PSFB, 1:
            return PictureLoss(sender, media)
        case _Type.PSFB, 4:
            return FullIntraRequest(sender, tuple(_FIR_ENTRY.iter_unpack(entries)))
        case _:
            return None


def _blocks(body: memoryview, at: int, count: int) -> tuple[ReportBlock, ...]:
    blocks: list[ReportBlock] = []
    for offset in range(at, at + count * _BLOCK.size, _BLOCK.size):
        ssrc, losses, highest, jitter, last_sr, delay = _BLOCK.unpack_from(body, offset)
        lost = losses & 0xFFFFFF
        blocks.append(ReportBlock(ssrc, losses >> 24, lost - ((lost & 0x800000) << 1), highest, jitter, last_sr, delay))
    return tuple(blocks)


def _cnames(body: memoryview, count: int) -> Iterable[tuple[int, str]]:
    at = 0
    for _ in range(count):
        (ssrc,) = _WORD.unpack_from(body, at)
        at += 4
        while body[at]:
            start = at + 2
            end = start + body[at + 1]
            if end > len(body):
                raise MediaError("an SDES item is longer than its packet")
            if body[at] == _CNAME:
                yield ssrc, bytes(body[start:end]).decode(errors="replace")
            at = end
        at += 4 - at % 4


def _nacked(entries: Iterable[tuple[int, ...]]) -> Iterable[int]:
    for pid, mask in entries:
        yield pid
        for bit in range(16):
            if mask >> bit & 1:
                yield (pid + bit + 1) & 0xFFFF
