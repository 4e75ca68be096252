"""One stream of a capture and what has come of it."""

import struct
from dataclasses import dataclass, field

from edumeet_recording.domain.capture import StreamState
from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.media.keyframes import LOOKS, Look, begins_key_frame
from edumeet_recording.media.rtp import ReceptionStats, payload_start
from edumeet_recording.media.srtp import packet_index
from edumeet_recording.node.key_frames import KeyFrameAsks
from edumeet_recording.node.opening import Opener
from edumeet_recording.node.repair import Repair
from edumeet_recording.node.stream_state import stream_state
from edumeet_recording.node.worker_link import StreamSpec, TrackNumbers

_SHORT = struct.Struct("!H")
_FLOWING = frozenset({StreamState.RECEIVING, StreamState.NO_KEY_FRAME})


@dataclass(slots=True)
class Track:
    """`source`: raw address of the last datagram that was let in; `ssrc` None: not known yet."""

    spec: StreamSpec
    index: int
    payload_type: int
    stats: ReceptionStats
    ssrc: int | None
    port: int
    """Which of the capture's port pairs it comes on: any of them will do."""
    look: Look | None
    """Tells where key frames begin; None for audio."""
    opener: Opener | None
    """Decrypts it; None where it comes in the clear."""
    repair: Repair = field(default_factory=Repair)
    key_frame_asks: KeyFrameAsks = field(default_factory=KeyFrameAsks)
    state: StreamState = StreamState.WAITING
    """As of the last `numbers`."""
    source: bytes = b""
    rtcp_source: bytes = b""
    """Where RTCP comes from, when that is another port: the sender does not mux."""
    last_ns: int = 0
    key_frames: int = 0
    looked_at: int = -1
    """RTP timestamp of the last frame whose beginning was seen."""
    last_sr: int = 0
    last_sr_ns: int = 0
    srtp_index: int | None = None
    """Highest SRTP packet index as of the last `numbers`, or of an earlier capture process."""
    _rated: tuple[int, int] = (0, 0)
    """When the numbers were asked for last, and the bytes by then."""

    @classmethod
    def of(cls, spec: StreamSpec, port: int, opener: Opener | None) -> "Track":
        """A stream of which nothing has come yet."""
        ssrc = spec.ssrc if spec.ssrc is not None else spec.latched_ssrc
        stats = ReceptionStats(spec.clock_rate)
        track = cls(spec, spec.index, spec.payload_type, stats, ssrc, port, LOOKS.get(Codec(spec.codec)), opener)
        if opener is not None and ssrc is not None and spec.srtp_index is not None:
            track.srtp_index = spec.srtp_index
            opener.follow(ssrc, spec.srtp_index)
        return track

    @property
    def has_gaps(self) -> bool:
        """True where packets are missing that may still come."""
        return self.stats.has_holes or self.repair.waits

    def look_at(self, timestamp: int, packet: memoryview, at: int = 0) -> None:
        """Count the key frame that begins in an RTP packet, if one does, `at` so many bytes into its payload."""
        if self.look is None or timestamp == self.looked_at:
            return
        begins = begins_key_frame(self.look, packet[payload_start(packet) + at :])
        if begins is not None:
            self.looked_at = timestamp
            self.key_frames += begins

    def take_back(self, timestamp: int, packet: memoryview) -> None:
        """Count a packet of the retransmission stream: the original's sequence number leads its payload (RFC 4588 §4).

        One without a payload is a probe.
        """
        start = payload_start(packet)
        if len(packet) >= start + _SHORT.size:
            self.stats.restore(*_SHORT.unpack_from(packet, start))
            self.look_at(timestamp, packet, _SHORT.size)

    def numbers(self, now_ns: int) -> TrackNumbers:
        """Live numbers for the agent; the bit rate is of the time since the last call."""
        self.state = stream_state(
            now_ns,
            Kind(self.spec.kind),
            last_ns=self.last_ns,
            last_sr_ns=self.last_sr_ns,
            key_frames=self.key_frames,
            undecryptable=self.opener.failures if self.opener else 0,
        )
        stats = self.stats
        if self.opener is not None and stats.packets:
            highest = stats.highest_sequence
            self.srtp_index = highest if self.srtp_index is None else packet_index(highest, self.srtp_index)
        since_ns, bytes_before = self._rated
        self._rated = now_ns, stats.bytes
        bits = 8 * (stats.bytes - bytes_before)
        return TrackNumbers(
            index=self.spec.index,
            ssrc=self.ssrc,
            packets=stats.packets,
            bytes=stats.bytes,
            lost=max(stats.lost, 0),
            reordered=stats.reordered,
            recovered=stats.recovered,
            jitter_ms=round(stats.jitter * 1000 / self.spec.clock_rate, 3),
            key_frames=self.key_frames,
            last_packet_at=self.last_ns / 1e9 if self.last_ns else None,
            state=self.state,
            bitrate_bps=round(bits * 1e9 / (now_ns - since_ns)) if since_ns and now_ns > since_ns else 0,
            srtp_index=self.srtp_index,
            key_frame_overdue=self.state in _FLOWING and self.key_frame_asks.overdue(now_ns, self.key_frames),
        )
