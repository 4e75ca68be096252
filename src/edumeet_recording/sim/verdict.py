"""Judges one finished recording against what was sent: duration, sync, presence, decoding, checksum."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from edumeet_recording.domain.codecs import Kind
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.sim.analyse import ContentReport, analyse
from edumeet_recording.sim.publisher import PeerMedia, SentEvent
from edumeet_recording.wire.views import Recording

DURATION_TOLERANCE_S = 0.5
OFFSET_P95_MS = 80.0
PRESENCE = 0.99

_EDGE_S = 0.3
"""An event this near to the first or last packet may be cut."""
_SAME_S = 0.4
"""Events are a second apart: one found this near to one sent is that one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is true of a file. `failures` says each thing that should not be so; none of them: it is as it must be."""

    recording: Recording
    path: Path
    content: ContentReport
    expected_s: float
    presence: float
    loss: float
    failures: tuple[str, ...]


def judge(
    recording: Recording, path: Path, report: dict[str, Any], media: PeerMedia, plan: Iterable[SentEvent]
) -> Verdict:
    """Decodes the file and compares. `plan`: what the peer sent; `report`: the service's own of this file.

    Raises ValueError where the recording is not one that ended with a file.
    """
    if recording.status is not JobStatus.COMPLETED or not recording.started_at or not recording.stopped_at:
        raise ValueError(f"recording {recording.job_id} has no file: it is {recording.status}")
    content = analyse(path)
    sent = _inside(plan, recording.started_at, recording.stopped_at)
    presence = _presence(content, sent, file_began_at=float(report["startedAt"]))
    expected_s = (recording.stopped_at - recording.started_at).total_seconds()
    return Verdict(
        recording=recording,
        path=path,
        content=content,
        expected_s=expected_s,
        presence=presence,
        loss=_loss(recording),
        failures=(
            *_timing_failures(content, expected_s, presence),
            *_content_failures(content, media),
            *_checksum_failures(recording, report),
        ),
    )


def _inside(plan: Iterable[SentEvent], began: datetime, ended: datetime) -> list[SentEvent]:
    first, last = began.timestamp() + _EDGE_S, ended.timestamp() - _EDGE_S
    return [event for event in plan if first <= event.sent_at <= last]


def _presence(content: ContentReport, sent: Sequence[SentEvent], file_began_at: float) -> float:
    """Share of the events sent that are in the file, where they belong."""
    found = {
        Kind.AUDIO: content.audio.beeps if content.audio else (),
        Kind.VIDEO: content.video.flashes if content.video else (),
    }
    there = sum(any(abs(file_began_at + at - event.sent_at) < _SAME_S for at in found[event.kind]) for event in sent)
    return there / len(sent) if sent else 0.0


def _loss(recording: Recording) -> float:
    """Share of packets that never came, by the node's count."""
    stats = [stream.stats for stream in recording.streams if stream.stats]
    lost, came = sum(each.lost for each in stats), sum(each.packets for each in stats)
    return lost / (lost + came) if came else 0.0


def _timing_failures(content: ContentReport, expected_s: float, presence: float) -> list[str]:
    failures: list[str] = []
    if abs(content.duration_s - expected_s) > DURATION_TOLERANCE_S:
        failures.append(f"lasts {content.duration_s:.2f} s, and {expected_s:.2f} s were sent")
    offset = content.offset_p95_ms
    if offset is not None and offset > OFFSET_P95_MS:
        failures.append(f"sound and picture are {offset:.0f} ms apart")
    if presence < PRESENCE:
        failures.append(f"{presence:.1%} of beeps and flashes are there")
    return failures


def _content_failures(content: ContentReport, media: PeerMedia) -> list[str]:
    failures: list[str] = []
    if content.decode_errors or content.disordered:
        failures.append(f"{content.decode_errors} decode errors, {content.disordered} packets out of order")
    if (content.audio is None, content.video is None) != (media.audio is None, media.video is None):
        failures.append("a stream is missing, or was never sent")
    if content.audio and content.audio.tone_index != media.index:
        failures.append("it sounds like another peer")
    if content.video and content.video.colour_index != media.index:
        failures.append("it looks like another peer")
    return failures


def _checksum_failures(recording: Recording, report: dict[str, Any]) -> list[str]:
    """Fetching has compared the file with the recording already."""
    named = recording.file.sha256 if recording.file else None
    return [] if report["file"]["sha256"] == named else ["the report names another checksum than the recording"]
