"""Puts scenarios to the trial: a whole service records them, several at a time, and each file is judged.

What sends and judges runs in this process, the service beside it.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edumeet_recording.client import RecordingClient
from edumeet_recording.domain.codecs import CLOCK_RATE_HZ, Codec, Kind, kind_of
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.job import FINAL, JobStatus
from edumeet_recording.sim.consumer import PAYLOAD_TYPES
from edumeet_recording.sim.forwarding import Passage
from edumeet_recording.sim.processes import own_process
from edumeet_recording.sim.publisher import Publisher, SentEvent
from edumeet_recording.sim.room_server import SimulatedRoomServer, SimulatorOptions
from edumeet_recording.sim.scenarios import Resize, Restart, Scenario, Send
from edumeet_recording.sim.verdict import Verdict, judge
from edumeet_recording.wire.http import StartRecording
from edumeet_recording.wire.room_link import ConfigureForwarding, StopForwarding
from edumeet_recording.wire.views import Recording, RtpForwarding

ROOM_SERVER = "room-server-1"
SETTINGS = MappingProxyType({"PORT": "0", "PROCESSING_SLOTS": "2", "CHUNK_SECONDS": "2", "LOG_LEVEL": "warning"})
AT_ONCE = 7
"""Recordings at a time: two cores encode and record these without falling behind, while earlier ones are finalized."""

PUNCTUAL_S = 0.3
ATTEMPTS = 3
"""A take whose packets left later than this after they were due is no trial of the service, whatever came of it: where
the machine is that busy, it is taken again."""

READY_TIMEOUT_S = 40.0
FILE_TIMEOUT_S = 90.0
POLL_S = 0.1

_NEW_SSRC_AFTER_S = 6.0
"""A stream that was announced without SSRC takes another one only after the first has been silent for 5 s."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a scenario. `passages`: what the network did to its packets; `report`: the service's own."""

    scenario: Scenario
    verdict: Verdict
    report: dict[str, Any]
    passages: Mapping[Kind, Passage]

    def reported(self, kind: Kind) -> dict[str, Any]:
        """What the report says of the stream of a kind."""
        return next(stream for stream in self.report["streams"] if stream["kind"] == kind)


@asynccontextmanager
async def recording_service(
    folder: Path, settings: Mapping[str, str] = MappingProxyType({})
) -> AsyncGenerator[tuple[RecordingClient, SimulatedRoomServer]]:
    """`edumeet-recording up` in `folder`, which is there and keeps what was stored, and a room server without peers.

    `settings` (by variable) go before the usual ones.
    """
    async with own_process("up", "up", "--json", settings={**SETTINGS, **settings}, folder=folder) as process:
        answer = await process.answer()
        options = SimulatorOptions(server_id=ROOM_SERVER, orchestrator_url=answer["url"], peers={})
        async with RecordingClient(answer["url"], answer["token"]) as client, SimulatedRoomServer(options) as server:
            await server.registered()
            yield client, server


async def put_to_trial(
    client: RecordingClient, server: SimulatedRoomServer, scenarios: Iterable[Scenario], folder: Path
) -> dict[str, Trial]:
    """All scenarios by name, a few at once; the files are then in `folder`.

    Raises `Unavailable` where one gets no file, or this machine does not send it in time.
    """
    takes = await _punctual(client, server, tuple(scenarios))
    return {take.scenario.name: await take.judged(folder / str(number)) for number, take in enumerate(takes)}


async def _punctual(
    client: RecordingClient, server: SimulatedRoomServer, scenarios: tuple[Scenario, ...]
) -> "list[_Take]":
    """A take of each that was sent in time; fewer at once with each attempt."""
    punctual: list[_Take] = []
    late: list[_Take] = []
    for attempt in range(ATTEMPTS):
        takes, late = [_Take(client, server, scenario) for scenario in scenarios], []
        at_once = AT_ONCE >> attempt
        for first in range(0, len(takes), at_once):
            await _record(takes[first : first + at_once])
        for take in takes:
            (punctual if take.late_s <= PUNCTUAL_S else late).append(take)
        scenarios = tuple(take.scenario for take in late)
    if late:
        told = ", ".join(f"{take.scenario.name} by {take.late_s:.1f} s" for take in late)
        raise Unavailable(f"this machine is too busy to send in time: late were {told}")
    return punctual


async def _record(takes: "list[_Take]") -> None:
    for take in takes:
        await take.start()
    for take in takes:
        await take.until(JobStatus.RECORDING, READY_TIMEOUT_S)
    async with asyncio.TaskGroup() as group:
        for take in takes:
            group.create_task(take.play())


class _Take:
    """One recording of one scenario."""

    def __init__(self, client: RecordingClient, server: SimulatedRoomServer, scenario: Scenario) -> None:
        self.scenario = scenario
        self._client, self._server, self._rooms = client, server, server.rooms
        self._where = scenario.room_id, scenario.peer_id
        self._job_id = ""
        self._target: RtpForwarding | None = None
        self._epoch = 1
        self._passages: Mapping[Kind, Passage] = {}
        self._spans: list[Passage] = []
        self._plan: tuple[SentEvent, ...] = ()

    @property
    def late_s(self) -> float:
        """How late the latest packet left."""
        return max(span.late_s for span in self._spans)

    async def start(self) -> None:
        """The peer joins and is recorded."""
        scenario = self.scenario
        self._server.add_peer(*self._where, scenario.media, scenario.delivery)
        self._do(scenario.first)
        self._job_id = (await self._client.start(_request(scenario))).job_id
        if scenario.announced:
            self._target = await self._told_target()
            self._forward()

    async def until(self, wanted: JobStatus, timeout_s: float) -> Recording:
        """The recording once it is in the wanted state. Raises `Unavailable` where it ends in another or not."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    found = await self._client.get(self._job_id)
                    if found.status is wanted:
                        return found
                    if found.status in FINAL:
                        raise Unavailable(f"{self.scenario.name}: {found.status}, {found.reason_detail}")
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            raise Unavailable(f"{self.scenario.name}: not {wanted} after {timeout_s:g} s") from error

    async def play(self) -> None:
        """What the scenario says, from a moment between two beeps on."""
        publisher = self._rooms.publisher(*self._where)
        began = math.ceil(publisher.media_time_s()) + 0.5
        for step in self.scenario.steps:
            await asyncio.sleep(began + step.at_s - publisher.media_time_s())
            if isinstance(step.act, Restart) and step.act.new_ssrc:
                await self._come_back()
            else:
                self._do(step.act)
        await asyncio.sleep(began + self.scenario.seconds - publisher.media_time_s())
        await self._stop(publisher)

    async def judged(self, path: Path) -> Trial:
        """Once the file is there, which goes to `path`."""
        recording = await self.until(JobStatus.COMPLETED, FILE_TIMEOUT_S)
        await self._client.download(recording, path)
        report = await self._client.report(self._job_id)
        scenario = self.scenario
        sent_at = min(span.first_at for span in self._spans), max(span.last_at for span in self._spans)
        verdict = await asyncio.to_thread(
            judge, recording, path, report, scenario.media, self._plan, bounds=scenario.bounds, sent_at=sent_at
        )
        return Trial(scenario, verdict, report, self._passages)

    async def _stop(self, publisher: Publisher) -> None:
        """The recording is over, and its peer leaves: what is encoded costs all the others."""
        self._note_passages()
        await self._client.stop(self._job_id)
        self._plan = publisher.plan()
        await self._server.remove_peer(*self._where)
        if self._target is not None:
            self._rooms.handle(StopForwarding(job_id=self._job_id, epoch=self._epoch))

    def _do(self, act: Send | Resize | Restart) -> None:
        publisher = self._rooms.publisher(*self._where)
        match act:
            case Send():
                publisher.send(audio=act.audio, video=act.video)
            case Resize():
                publisher.resize(act.shape)
            case Restart():
                for forwarding in self._rooms.forwardings(*self._where):
                    forwarding.restart()

    def _note_passages(self) -> None:
        (forwarding,) = self._rooms.forwardings(*self._where)
        self._passages = forwarding.passages
        self._spans += self._passages.values()

    async def _come_back(self) -> None:
        self._note_passages()
        self._rooms.handle(StopForwarding(job_id=self._job_id, epoch=self._epoch))
        await asyncio.sleep(_NEW_SSRC_AFTER_S)
        self._epoch += 1
        self._forward()

    async def _told_target(self) -> RtpForwarding:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while True:
                target = (await self._client.get(self._job_id)).rtp_forwarding
                if target is not None:
                    return target
                await asyncio.sleep(POLL_S)

    def _forward(self) -> None:
        """What a room server that is told nothing does: it sends to where the start's answer said."""
        if self._target is None:
            raise RuntimeError("nobody has said where to send to")
        media = self.scenario.media
        streams = [
            {
                "index": port.index,
                "kind": port.kind,
                "port": port.port,
                "rtcp_port": port.rtcp_port,
                "payload_type": 0,
                "codec_name": codec,
                "clock_rate": CLOCK_RATE_HZ[codec],
            }
            for port in self._target.ports
            if (codec := media.codec(port.kind)) is not None
        ]
        room_id, peer_id = self._where
        request = {"job_id": self._job_id, "epoch": self._epoch, "room_id": room_id, "peer_id": peer_id}
        target = {"ip": self._target.ip, "ports": ()}
        self._rooms.handle(
            ConfigureForwarding.model_validate({**request, "target_node": target, "rtp_streams": tuple(streams)})
        )


def _request(scenario: Scenario) -> StartRecording:
    media = scenario.media
    codecs = [codec for codec in (media.audio, media.video) if codec is not None]
    return StartRecording.model_validate(
        {
            "roomServerId": ROOM_SERVER,
            "roomId": scenario.room_id,
            "peerId": scenario.peer_id,
            "peerInfo": {"peerId": scenario.peer_id, "displayName": scenario.display_name},
            "rtpStreams": tuple(_stream(codec, announced=scenario.announced) for codec in codecs),
            "options": {"format": scenario.container},
            "forwarding": "client" if scenario.announced else "room-server",
        }
    )


def _stream(codec: Codec, *, announced: bool) -> dict[str, object]:
    kind = kind_of(codec)
    named: dict[str, object] = {"kind": kind, "codecName": codec, "payloadType": PAYLOAD_TYPES[codec]}
    # what a room server will really send it says itself: SSRC and port are only what was asked for
    return named if announced else {**named, "ssrc": 1001 + PAYLOAD_TYPES[codec], "port": 5004}
