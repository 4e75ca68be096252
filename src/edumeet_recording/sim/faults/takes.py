"""Recordings to try faults on: many at once of a few small live peers, each file judged by its beeps and flashes.

Encoding is what costs, so peers are few and small; a peer is recorded many times over, by recordings of their own.
"""

import asyncio
import itertools
from collections.abc import Collection, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from edumeet_recording.client.download import Damaged
from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.domain.job import FINAL, JobStatus
from edumeet_recording.sim.analyse import ContentReport, analyse
from edumeet_recording.sim.content import Shape
from edumeet_recording.sim.faults.deployment import ROOM_SERVER, Deployment
from edumeet_recording.sim.faults.waiting import until
from edumeet_recording.sim.publisher import PeerMedia, SentEvent
from edumeet_recording.wire.http import StartRecording
from edumeet_recording.wire.views import Recording

PEERS = 3
"""Each in a room of its own: a node takes all of a room where it can, and several shall have something to do."""
HOLE_S = {Kind.AUDIO: 0.05, Kind.VIDEO: 0.15}
"""Packets of one of our peers that are further apart than this have something missing between them."""
_REPORTED_S = 0.5
"""The report tells of what is missing for longer than this."""
FILE_TIMEOUT_S = 240.0
MADE_ANEW_TIMEOUT_S = 60.0
_EDGE_S = 0.5
"""What is sent this near to the begin, the end or a gap may be there or not."""
_SAME_S = 0.4
"""Events are a second apart: one found this near to one sent is that one."""

Span = tuple[float, float]
"""From and to, epoch seconds."""


@dataclass(frozen=True, slots=True)
class Take:
    """One recording of a peer."""

    job_id: str
    peer: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a recording. `gap_s`: the longest stretch of which a kind has nothing; `missing`: events lost.

    `failures` says each thing that should not be so: the file is damaged, or lacks media that the report does not miss.
    """

    recording: Recording
    gap_s: float
    missing: int
    failures: tuple[str, ...]


def join(deployment: Deployment) -> None:
    """The peers come, and publish as long as somebody listens."""
    for peer in range(PEERS):
        media = PeerMedia(Codec.OPUS, Codec.VP8, peer, shape=Shape(160, 90, 10), bit_rate=50_000)
        deployment.rooms.add_peer(_room(peer), _peer(peer), media)


def request(peer: int, **options: object) -> StartRecording:
    """A start of a recording of peer number `peer`."""
    streams = (
        {"kind": "audio", "codecName": "opus", "payloadType": 111, "ssrc": 1001, "port": 5004},
        {"kind": "video", "codecName": "vp8", "payloadType": 96, "ssrc": 1002, "port": 5006},
    )
    body = {
        "roomServerId": ROOM_SERVER,
        "roomId": _room(peer),
        "peerId": _peer(peer),
        "rtpStreams": streams,
        "options": {"format": "webm", "thumbnails": False, **options},
        "allowParallel": True,
    }
    return StartRecording.model_validate(body)


async def start(deployment: Deployment, count: int, **options: object) -> list[Take]:
    """Start `count` recordings, and wait until each of them records. Raises `Unavailable` where one does not."""
    async with asyncio.TaskGroup() as group:
        peers = [number % PEERS for number in range(count)]
        starting = [group.create_task(deployment.client.start(request(peer, **options))) for peer in peers]
    takes = [Take(each.result().job_id, peer) for each, peer in zip(starting, peers, strict=True)]
    await until_all(deployment, takes, {JobStatus.RECORDING})
    return takes


async def current(deployment: Deployment, takes: Iterable[Take]) -> list[Recording]:
    """The recordings as they are now, in the order of the takes: many in one request."""
    wanted = [take.job_id for take in takes]
    found: dict[str, Recording] = {}
    async with aclosing(deployment.client.list()) as newest:
        async for each in newest:
            found[each.job_id] = each
            if found.keys() >= set(wanted):
                break
    return [found[job_id] for job_id in wanted]


async def until_all(
    deployment: Deployment, takes: Collection[Take], wanted: Iterable[JobStatus], timeout_s: float = 60.0
) -> list[Recording]:
    """The recordings once each is in a wanted state. Raises `Unavailable` where they do not get there."""
    goal = set(wanted)

    async def there() -> list[Recording]:
        found = await current(deployment, takes)
        return found if all(each.status in goal for each in found) else []

    return await until(there, f"all recordings are {' or '.join(sorted(goal))}", timeout_s)


async def stop(deployment: Deployment, takes: Iterable[Take]) -> None:
    """Stop them all."""
    async with asyncio.TaskGroup() as group:
        for take in takes:
            group.create_task(deployment.client.stop(take.job_id))


async def judged(
    deployment: Deployment,
    takes: Collection[Take],
    timeout_s: float = FILE_TIMEOUT_S,
    known: Iterable[Outcome] = (),
) -> list[Outcome]:
    """What became of stopped recordings, once each is over; what is `known` of a file that is still the same holds."""
    earlier = {_file_of(each.recording): each for each in known}
    return [
        earlier.get(_file_of(recording)) or await _judged_as_it_is(deployment, take, timeout_s)
        for take, recording in zip(takes, await until_all(deployment, takes, FINAL, timeout_s), strict=True)
    ]


async def made_anew(deployment: Deployment, takes: Collection[Take], outcomes: Collection[Outcome]) -> list[Outcome]:
    """What became of them once each file that lacks something was made anew of what came late.

    Raises `Unavailable` where that does not happen.
    """
    versions = {each.recording.job_id: _version(each.recording) for each in outcomes if each.gap_s > 0}

    async def newer() -> bool:
        found = await current(deployment, [take for take in takes if take.job_id in versions])
        return all(_version(each) > versions[each.job_id] for each in found)

    await until(newer, "each file that lacks something was made anew", MADE_ANEW_TIMEOUT_S)
    return await judged(deployment, takes, known=outcomes)


def _file_of(recording: Recording) -> tuple[str, JobStatus, int]:
    return recording.job_id, recording.status, _version(recording)


def _version(recording: Recording) -> int:
    return recording.file.version if recording.file else 0


async def _judged_as_it_is(deployment: Deployment, take: Take, timeout_s: float) -> Outcome:
    """As it is now: a file may be made anew while it is fetched, and is then another than was told."""
    while True:
        (recording,) = await until_all(deployment, [take], FINAL, timeout_s)
        try:
            return await _judged(deployment, take, recording)
        except Damaged:
            newer = await deployment.client.get(take.job_id)
            if _version(newer) == _version(recording) and newer.status in FINAL:
                raise


async def _judged(deployment: Deployment, take: Take, recording: Recording) -> Outcome:
    if recording.status is not JobStatus.COMPLETED or recording.started_at is None or recording.stopped_at is None:
        said = f"{recording.job_id} is {recording.status}: {recording.reason}, {recording.reason_detail}"
        return Outcome(recording, 0.0, 0, (said,))
    path = await deployment.client.download(recording, deployment.folder / f"{take.job_id}.webm")
    report = await deployment.client.report(take.job_id)
    content, holes = await asyncio.to_thread(_examined, path)
    path.unlink()
    first, last = recording.started_at.timestamp() + _EDGE_S, recording.stopped_at.timestamp() - _EDGE_S
    began_at = float(report["startedAt"])
    ended_at = began_at + float(report["durationS"])
    if any(abs(ended_at - death) < _EDGE_S for death in _deaths(deployment, recording)):
        # stopped before the room server or node that had died was back, or followed: the file ends with what came last
        last = min(last, ended_at - _EDGE_S)
    plan = deployment.rooms.plan(_room(take.peer), _peer(take.peer))
    sent = [event for event in plan if first <= event.sent_at <= last]
    missing = [event for event in sent if not _found(event, content, began_at)]
    failures = [
        *_file_failures(content),
        *_event_failures(missing, holes, report),
        *_hole_failures(holes, report),
        *_end_failures(recording.stopped_at.timestamp() - ended_at, report),
    ]
    gap_s = max((until - since for spans in holes.values() for since, until in spans), default=0.0)
    return Outcome(recording, gap_s, len(missing), tuple(f"{take.job_id}: {each}" for each in failures))


def _deaths(deployment: Deployment, recording: Recording) -> list[float]:
    """When what it came from or went to at last was killed, epoch seconds."""
    node = deployment.nodes.get(recording.node_id or "")
    return [*deployment.rooms.deaths, *(node.part.deaths if node else ())]


def _examined(path: Path) -> tuple[ContentReport, dict[Kind, list[Span]]]:
    return analyse(path), holes_of(path)


def holes_of(path: Path) -> dict[Kind, list[Span]]:
    """Where each kind of a file has no packets for longer than `HOLE_S`, in seconds of the file."""
    times: dict[Kind, list[float]] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.pts is not None:
                times.setdefault(Kind(packet.stream.type), []).append(float(packet.pts * packet.time_base))
    return {
        kind: [(earlier, later) for earlier, later in itertools.pairwise(sorted(at)) if later - earlier > HOLE_S[kind]]
        for kind, at in times.items()
    }


def _found(event: SentEvent, content: ContentReport, began_at: float) -> bool:
    heard = content.audio.beeps if content.audio else ()
    seen = content.video.flashes if content.video else ()
    at = heard if event.kind is Kind.AUDIO else seen
    return any(abs(began_at + each - event.sent_at) < _SAME_S for each in at)


def _gaps(report: dict[str, Any], kind: Kind) -> list[Span]:
    """What the report says is missing of a kind, in seconds of the file: it may begin late, as with its key frame."""
    streams = [stream for stream in report["streams"] if stream["kind"] == kind]
    gaps = [(gap["atS"], gap["atS"] + gap["durationS"]) for stream in streams for gap in stream["gaps"]]
    return [*((0.0, stream["startS"]) for stream in streams if stream["startS"] > 0), *gaps]


def _event_failures(missing: list[SentEvent], holes: dict[Kind, list[Span]], report: dict[str, Any]) -> list[str]:
    """Events that are missing although the report knows no gap there, and the file has no hole."""
    began_at = float(report["startedAt"])
    return [
        f"the {event.kind} event of {event.sent_at - began_at:.2f} s is missing, and no gap is reported there"
        for event in missing
        if not any(
            since - _EDGE_S <= event.sent_at - began_at <= until + _EDGE_S
            for since, until in (*_gaps(report, event.kind), *holes.get(event.kind, ()))
        )
    ]


def _hole_failures(holes: dict[Kind, list[Span]], report: dict[str, Any]) -> list[str]:
    """Holes of the file that the report should have, and has not."""
    return [
        f"{kind} has nothing from {since:.2f} to {until:.2f} s, and no gap is reported there"
        for kind, spans in holes.items()
        for since, until in spans
        if until - since > _REPORTED_S and not any(start < until and end > since for start, end in _gaps(report, kind))
    ]


def _end_failures(early_s: float, report: dict[str, Any]) -> list[str]:
    """What the report does not tell of an end before the stop."""
    told_s = float(report["endsBeforeStopS"])
    return (
        [f"it ends {early_s:.2f} s before its stop, and {told_s} are reported"]
        if abs(told_s - max(0.0, early_s)) > 0.1
        else []
    )


def _file_failures(content: ContentReport) -> list[str]:
    failures: list[str] = []
    if content.decode_errors or content.disordered:
        failures.append(f"{content.decode_errors} decode errors, {content.disordered} packets out of order")
    if content.audio is None or content.video is None:
        failures.append("a kind is missing")
    return failures


def _room(peer: int) -> str:
    return f"room-{peer}"


def _peer(peer: int) -> str:
    return f"peer-{peer}"
