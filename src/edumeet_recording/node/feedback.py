"""When a recorder speaks RTCP, and what it says: receiver reports, NACK for gaps, PLI where a key frame is needed."""

from dataclasses import dataclass, field

from edumeet_recording.domain.capture import StreamState
from edumeet_recording.media.errors import MediaError
from edumeet_recording.media.rtcp import (
    Nack,
    PictureLoss,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SourceDescription,
    build_rtcp,
)
from edumeet_recording.media.srtp import SrtpSender
from edumeet_recording.node.track import Track
from edumeet_recording.node.worker_link import SuiteAndKey

REPORT_INTERVAL_NS = 5_000_000_000
"""RFC 3550 §6.2: the minimum interval."""


@dataclass(slots=True)
class Feedback:
    """What is due for the tracks of one capture. `ssrc` is ours, `cname` our canonical name (RFC 3550 §6.5.1).

    Datagrams are ready to be sent: SRTCP where the stream's sender was given a key of ours.
    """

    ssrc: int
    cname: str
    _reported_ns: dict[int, int] = field(default_factory=dict[int, int])
    _stalled: set[int] = field(default_factory=set[int])
    _senders: dict[SuiteAndKey, SrtpSender] = field(default_factory=dict[SuiteAndKey, SrtpSender])

    def due(self, now_ns: int, track: Track) -> list[bytes]:
        """The datagrams to send now for a track whose SSRC is known and that has been heard."""
        due = self.repair(now_ns, track)
        if now_ns - self._reported_ns.setdefault(track.index, now_ns) >= REPORT_INTERVAL_NS:
            self._reported_ns[track.index] = now_ns
            due += self._built(track, *self._report(now_ns, track))
        if track.look is not None:
            self._note_stall(track)
            if track.key_frame_asks.due(now_ns, track.key_frames):
                due += self._built(track, PictureLoss(self.ssrc, track.ssrc or 0))
        return due

    def repair(self, now_ns: int, track: Track) -> list[bytes]:
        """The NACK that is due now, if any: cheap enough to ask for after every batch."""
        if not track.has_gaps:
            return []
        sequences, broken = track.repair.due(now_ns, track.stats, track.key_frames)
        if broken:
            track.key_frame_asks.need(track.key_frames)
        return self._built(track, Nack(self.ssrc, track.ssrc or 0, sequences)) if sequences else []

    def ask_key_frame(self, now_ns: int, track: Track) -> list[bytes]:
        """A PLI (RFC 4585 §6.3.1), because somebody wants it."""
        track.key_frame_asks.spend(now_ns)
        return self._built(track, PictureLoss(self.ssrc, track.ssrc or 0))

    def _note_stall(self, track: Track) -> None:
        """A stream that stalls needs a key frame to go on, once."""
        if track.state is not StreamState.STALLED:
            self._stalled.discard(track.index)
        elif track.index not in self._stalled:
            self._stalled.add(track.index)
            track.key_frame_asks.need(track.key_frames)

    def _built(self, track: Track, *packets: RtcpPacket) -> list[bytes]:
        """One datagram; none where our key is no key.

        A sender of SRTP that was given no key of ours, as Janus, hears plain RTCP: it could decrypt no other.
        """
        datagram = build_rtcp(*packets)
        ours = track.spec.srtp_ours
        if ours is None:
            return [datagram]
        try:
            if ours not in self._senders:
                self._senders[ours] = SrtpSender(*ours)
            return [self._senders[ours].protect_rtcp(datagram)]
        except MediaError:
            return []

    def _report(self, now_ns: int, track: Track) -> tuple[ReceiverReport, SourceDescription]:
        stats = track.stats
        block = ReportBlock(
            ssrc=track.ssrc or 0,
            fraction_lost=stats.fraction_lost(),
            lost=stats.lost,
            highest_sequence=stats.highest_sequence,
            jitter=int(stats.jitter),
            last_sr=track.last_sr,
            delay_since_sr=min((now_ns - track.last_sr_ns) * 65536 // 1_000_000_000, 0xFFFFFFFF)
            if track.last_sr
            else 0,
        )
        return ReceiverReport(self.ssrc, (block,)), SourceDescription(((self.ssrc, self.cname),))
