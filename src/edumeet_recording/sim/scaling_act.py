"""The demo's second act: load rises where there are no nodes, the autoscaler starts some; load falls, and one goes.

It is in a region of its own. A hundredth of a node is worth one recording there, so that four of them are a load.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edumeet_recording.client import RecordingClient
from edumeet_recording.domain.codecs import Codec, Container, Kind
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.price import CAPTURE_MCPU, STREAM_MCPU, capacity_mcpu
from edumeet_recording.domain.scaling import Action
from edumeet_recording.node.machine import cores
from edumeet_recording.sim.publisher import PeerMedia
from edumeet_recording.sim.room_server import SimulatedRoomServer
from edumeet_recording.sim.takes import POLL_S, Audience, Take, files_made, judged, until_recording
from edumeet_recording.sim.verdict import Verdict
from edumeet_recording.wire.views import Recording, ScalingEvent

REGION = "campus"
ROOM_SERVER = "campus-room-server"
TAKES = tuple(
    Take(ROOM_SERVER, f"tutorial-{number}", name, PeerMedia(audio=Codec.OPUS, video=None, index=number), Container.WEBM)
    for number, name in enumerate(("dave", "erin", "frank", "grace"))
)
FIRST = 3
"""Recordings that begin at once: more than one node shall carry."""
NODE_CARRIES = 2.1
LECTURE_S = 3.0
AFTER_S = 1.5
SCALE_TIMEOUT_S = 40.0


@dataclass(frozen=True, slots=True)
class ScalingResult:
    """What came of it: the files, what the autoscaler decided, and what should not have been."""

    verdicts: tuple[Verdict, ...]
    decisions: tuple[ScalingEvent, ...]
    failures: tuple[str, ...]


def settings() -> dict[str, str]:
    """What the orchestrator needs: nodes as processes, no pauses worth waiting for, no help from other regions."""
    node_mcpu = capacity_mcpu(cores())
    policy = {
        "*": {"minNodes": 0, "spareNodes": 0},
        REGION: {
            "maxNodes": 2,
            "nodeMcpu": node_mcpu,
            "targetUtilisation": NODE_CARRIES * (CAPTURE_MCPU + STREAM_MCPU[Kind.AUDIO]) / node_mcpu,
            "leadTimeS": 1,
            "upCooldownS": 0,
            "downCooldownS": 1,
            "shrinkAfterS": 0,
        },
    }
    return {
        "AUTOSCALE_PROVIDER": "process",
        "AUTOSCALE_POLICY": json.dumps(policy),
        "AUTOSCALE_NODE_SETTINGS": json.dumps({"CAPTURE_PROCESSES": "1"}),
        "METRICS_INTERVAL_S": "1",
        "REGION_SPILL": json.dumps({REGION: {}, "default": {}}),
    }


async def scale(client: RecordingClient, rooms: SimulatedRoomServer, audience: Audience, folder: Path) -> ScalingResult:
    """Play it. Raises `Unavailable` where a recording gets no file or the fleet does not follow."""
    for take in TAKES:
        rooms.add_peer(take.room_id, take.peer_id, take.media)
    audience.step(f"load rises in {REGION}, which has no nodes: the autoscaler starts some")
    jobs = [(await client.start(take.request)).job_id for take in TAKES[:FIRST]]
    await until_recording(client, jobs)
    await _until_decided(client, Action.ARRIVED, 2)
    jobs += [(await client.start(take.request)).job_id for take in TAKES[FIRST:]]
    recordings = await until_recording(client, jobs)
    await asyncio.sleep(LECTURE_S)
    audience.step("load falls: the emptiest node hands its recording over, and is given back")
    staying = {each.node_id: each.job_id for each in recordings}
    await _stop(client, [job_id for job_id in jobs if job_id not in staying.values()])
    await _until_decided(client, Action.RETURN, 1)
    decisions = tuple(reversed(await client.scaling_history(region=REGION)))
    await asyncio.sleep(AFTER_S)
    await _stop(client, staying.values())
    made = await files_made(client, TAKES, jobs, audience)
    verdicts = [await judged(client, rooms, take, each, folder) for take, each in zip(TAKES, made, strict=True)]
    failures = [*_of_decisions(decisions), *[each for job in made async for each in _of_tape(client, job)]]
    if all(each.epoch == 1 for each in made):
        failures.append("no recording was handed over")
    return ScalingResult(tuple(verdicts), decisions, tuple(failures))


async def _stop(client: RecordingClient, job_ids: Iterable[str]) -> None:
    for job_id in job_ids:
        await client.stop(job_id)


async def _until_decided(client: RecordingClient, action: Action, nodes: int) -> None:
    """Wait until so many nodes have come so far. Raises `Unavailable` where that takes too long."""
    taken: Counter[str] = Counter()
    try:
        async with asyncio.timeout(SCALE_TIMEOUT_S):
            while True:
                taken = _taken(await client.scaling_history(region=REGION))
                if taken[action] >= nodes:
                    return
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        advice = await client.evaluate_scaling()
        raise Unavailable(f"no {action} of {nodes} nodes, but {dict(taken)}: {advice.model_dump_json()}") from error


def _taken(decisions: Iterable[ScalingEvent]) -> Counter[str]:
    """How many nodes each action was taken on."""
    taken: Counter[str] = Counter()
    for each in decisions:
        node_ids = each.data.get("nodeIds")
        taken[each.action] += len(node_ids) if isinstance(node_ids, list) else 0
    return taken


def _of_decisions(decisions: Iterable[ScalingEvent]) -> Iterator[str]:
    expected = {Action.START: 2, Action.ARRIVED: 2, Action.DRAIN: 1, Action.RETURN: 1}
    taken = _taken(decisions)
    if taken != expected:
        yield f"the autoscaler did {dict(taken)}, and should have done {dict(expected)}"


async def _of_tape(client: RecordingClient, recording: Recording) -> AsyncIterator[str]:
    """A node that leaves costs no packet."""
    for stream in (await client.report(recording.job_id))["streams"]:
        if stream["lost"] or stream["gaps"]:
            yield f"{recording.peer_id}: {stream['lost']} packets are lost, with gaps {stream['gaps']}"
