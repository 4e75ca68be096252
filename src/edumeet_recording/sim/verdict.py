"""Judges one finished recording against what was sent: duration, sync, presence, decoding, checksum."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edumeet_recording.domain.codecs import Kind
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.sim.analyse import ContentReport, analyse, cadence_p95_ms
from edumeet_recording.sim.fidelity import Fidelity, fidelity
from edumeet_recording.sim.publisher import PeerMedia, SentEvent
from edumeet_recording.wire.views import Recording

_EDGE_S = 0.3
"""An event this near to the first or last packet may be cut."""
_SAME_S = 0.4
"""Events are a second apart: one found this near to one sent is that one."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a file must keep to. `presence`: share of beeps and flashes, 0 to 1.

    `psnr_db`: of the least true picture; None where pictures were encoded again and are not compared.
    """

    duration_s: float = 0.5
    offset_p95_ms: float = 80.0
    cadence_p95_ms: float = 60.0
    presence: float = 0.99
    psnr_db: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is true of a file. `failures` says each thing that should not be so; none of them: it is as it must be.

    `fidelity`: of its pictures, where they were compared.
    """

    recording: Recording
    path: Path
    content: ContentReport
    expected_s: float
    presence: float
    cadence_p95_ms: float
    loss: float
    fidelity: Fidelity | None
    failures: tuple[str, ...]


def judge(
    recording: Recording,
    path: Path,
    report: dict[str, Any],
    media: PeerMedia,
    plan: Iterable[SentEvent],
    *,
    bounds: Bounds = Bounds(),
    sent_at: tuple[float, float] | None = None,
) -> Verdict:
    """Decodes the file and compares. `plan`: what the peer sent; `report`: the service's own of this file.

    `sent_at`: when the first and the last packet were sent, epoch seconds; None: as the service says.

    Raises ValueError where the recording is not one that ended with a file.
    """
    if recording.status is not JobStatus.COMPLETED or not recording.started_at or not recording.stopped_at:
        raise ValueError(f"recording {recording.job_id} has no file: it is {recording.status}")
    content = analyse(path)
    stopped_at = recording.stopped_at.timestamp()
    first_at, last_at = sent_at or (recording.started_at.timestamp(), stopped_at)
    sent = _inside(plan, first_at, stopped_at)
    presence = _presence(content, sent, file_began_at=float(report["startedAt"]))
    cadence = max(cadence_p95_ms(events) for events in _found(content).values())
    pictures = fidelity(path, media.shape.fps, media.index) if bounds.psnr_db is not None and media.video else None
    # What is sent between the stop and its reaching the room server may be in the file, and need not.
    shortest_s, longest_s = stopped_at - first_at, max(last_at, stopped_at) - first_at
    return Verdict(
        recording=recording,
        path=path,
        content=content,
        expected_s=shortest_s,
        presence=presence,
        cadence_p95_ms=cadence,
        loss=_loss(recording),
        fidelity=pictures,
        failures=(
            *_timing_failures(content, (shortest_s, longest_s), bounds),
            *_presence_failures(presence, cadence, pictures, bounds),
            *_content_failures(content, media),
            *_checksum_failures(recording, report),
        ),
    )


def _inside(plan: Iterable[SentEvent], began_at: float, ended_at: float) -> list[SentEvent]:
    return [event for event in plan if began_at + _EDGE_S <= event.sent_at <= ended_at - _EDGE_S]


def _presence(content: ContentReport, sent: Sequence[SentEvent], file_began_at: float) -> float:
    """Share of the events sent that are in the file, where they belong."""
    found = _found(content)
    there = sum(any(abs(file_began_at + at - event.sent_at) < _SAME_S for at in found[event.kind]) for event in sent)
    return there / len(sent) if sent else 0.0


def _found(content: ContentReport) -> dict[Kind, tuple[float, ...]]:
    return {
        Kind.AUDIO: content.audio.beeps if content.audio else (),
        Kind.VIDEO: content.video.flashes if content.video else (),
    }


def _loss(recording: Recording) -> float:
    """Share of packets that never came, by the node's count."""
    stats = [stream.stats for stream in recording.streams if stream.stats]
    lost, came = sum(each.lost for each in stats), sum(each.packets for each in stats)
    return lost / (lost + came) if came else 0.0


def _timing_failures(content: ContentReport, sent_s: tuple[float, float], bounds: Bounds) -> list[str]:
    failures: list[str] = []
    shortest_s, longest_s = sent_s
    if not shortest_s - bounds.duration_s <= content.duration_s <= longest_s + bounds.duration_s:
        failures.append(f"lasts {content.duration_s:.2f} s, and {shortest_s:.2f} s were sent")
    thirds = np.array_split(np.abs(content.offsets_s) * 1000, 3)
    for name, third in zip(("start", "middle", "end"), thirds, strict=True):
        if len(third) and np.percentile(third, 95) > bounds.offset_p95_ms:
            failures.append(f"sound and picture are {np.percentile(third, 95):.0f} ms apart at the {name}")
    return failures


def _presence_failures(presence: float, cadence: float, pictures: Fidelity | None, bounds: Bounds) -> list[str]:
    failures: list[str] = []
    if presence < bounds.presence:
        failures.append(f"{presence:.1%} of beeps and flashes are there")
    if cadence > bounds.cadence_p95_ms:
        failures.append(f"beeps or flashes are {cadence:.0f} ms out of step")
    if pictures is not None and bounds.psnr_db is not None and pictures.worst_db < bounds.psnr_db:
        failures.append(
            f"a picture is {pictures.worst_db:.1f} dB like the one sent, {pictures.unreadable} are unreadable"
        )
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
