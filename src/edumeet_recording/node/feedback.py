"""When a recorder speaks RTCP, and what it says: receiver reports, and PLI until the first key frame."""

from dataclasses import dataclass, field

from edumeet_recording.domain.codecs import Kind
from edumeet_recording.media.rtcp import PictureLoss, ReceiverReport, ReportBlock, SourceDescription, build_rtcp
from edumeet_recording.node.reception import Track

REPORT_INTERVAL_NS = 5_000_000_000
"""RFC 3550 §6.2: the minimum interval."""
FIRST_ASK_NS = 300_000_000
LONGEST_ASK_NS = 30_000_000_000
"""Asked for after 0.3, 0.6, 1.2 … s: a timer that does not back off degrades the live meeting."""


@dataclass(slots=True)
class _Asking:
    interval_ns: int = FIRST_ASK_NS
    due_ns: int = 0


@dataclass(slots=True)
class Feedback:
    """What is due for the tracks of one capture. `ssrc` is ours, `cname` our canonical name (RFC 3550 §6.5.1)."""

    ssrc: int
    cname: str
    _reported_ns: dict[int, int] = field(default_factory=dict[int, int])
    _asking: dict[int, _Asking] = field(default_factory=dict[int, _Asking])

    def due(self, now_ns: int, track: Track) -> list[bytes]:
        """The datagrams to send now for a track whose SSRC is known and that has been heard."""
        due: list[bytes] = []
        if now_ns - self._reported_ns.setdefault(track.spec.index, now_ns) >= REPORT_INTERVAL_NS:
            self._reported_ns[track.spec.index] = now_ns
            due.append(self._report(now_ns, track))
        if track.spec.kind == Kind.VIDEO and not track.key_frames and self._ask_now(now_ns, track.spec.index):
            due.append(self.ask_key_frame(track))
        return due

    def ask_key_frame(self, track: Track) -> bytes:
        """A PLI (RFC 4585 §6.3.1)."""
        return build_rtcp(PictureLoss(self.ssrc, track.ssrc or 0))

    def _ask_now(self, now_ns: int, index: int) -> bool:
        asking = self._asking.get(index)
        if asking is None:
            self._asking[index] = _Asking(due_ns=now_ns + FIRST_ASK_NS)
            return False
        if now_ns < asking.due_ns:
            return False
        asking.interval_ns = min(2 * asking.interval_ns, LONGEST_ASK_NS)
        asking.due_ns = now_ns + asking.interval_ns
        return True

    def _report(self, now_ns: int, track: Track) -> bytes:
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
        return build_rtcp(ReceiverReport(self.ssrc, (block,)), SourceDescription(((self.ssrc, self.cname),)))
