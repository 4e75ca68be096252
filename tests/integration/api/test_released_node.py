"""A node of release 0.1.0 through a whole recording with this orchestrator: it says what it said then."""

import json
from pathlib import Path
from typing import Any

import httpx2
from tests.integration.api.conftest import Orchestrator
from tests.integration.control.test_links import Wire, linked
from tests.unit.api.fakes import bearer
from tests.waiting import eventually

from edumeet_recording.control.node_links import NodeLinks
from edumeet_recording.control.processing import assign_tick

RELEASED = Path(__file__).parents[2] / "data" / "wire-0.1.0"
NODE = json.loads((RELEASED / "node_link.json").read_text())
UP = {message["type"]: message for message in NODE["up"]}
"""The last of each kind: of two reports, the one that has a first packet."""
JOURNALED = {entry["body"]["type"]: entry["body"] for entry in UP["journal"]["entries"]}
BODY = json.loads((RELEASED / "http.json").read_text())[2]["body"] | {"forwarding": "client"}


class ReleasedNode:
    """The old node's end of a link; ids are those of now."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._seq = 0

    def say(self, message: dict[str, Any]) -> None:
        self._wire.up.put_nowait(json.dumps(message))

    def journal(self, kind: str, **ids: object) -> None:
        self._seq += 1
        self.say({"type": "journal", "entries": [{"seq": self._seq, "body": JOURNALED[kind] | ids}]})

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in map(json.loads, self._wire.down) if message["type"] == kind]

    async def acknowledged(self) -> None:
        await eventually(lambda: [ack for ack in self.told("ack") if ack["upTo"] == self._seq])


def of_the_shape(old: Any, new: Any) -> bool:
    """Whether whoever reads `old` finds each of its fields in `new`, of the same kind."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and of_the_shape(old[key], new[key]) for key in old)
    if isinstance(old, list):
        return isinstance(new, list) and (not old or not new or of_the_shape(old[0], new[0]))
    return isinstance(new, type(old))


async def test_a_recording_with_a_node_of_the_last_release(
    orchestrator: Orchestrator, client: httpx2.AsyncClient
) -> None:
    service = orchestrator.service
    await service.room_server()
    registered = await client.post("/api/nodes/ffmpeg-nodes/register", json=NODE["register"])
    assert registered.status_code == 201, registered.text
    node_id = registered.json()["nodeId"]
    links = NodeLinks(service.captures, "replica")

    async def status() -> str:
        return (await client.get(f"/api/recordings/{job_id}", headers=bearer())).json()["status"]

    async def becomes(wanted: str) -> None:
        async def has_become() -> bool:
            links.wake(node_id)
            return await status() == wanted

        await eventually(has_become)

    async with linked(links, node_id) as wire:
        node = ReleasedNode(wire)
        node.say(UP["hello"])
        await eventually(lambda: node.told("desired"))
        node.say(UP["heartbeat"] | {"captures": []})

        async def healthy() -> bool:
            await links.flush_tick()
            return (await client.get(f"/api/nodes/{node_id}", headers=bearer())).json()["isHealthy"]

        await eventually(healthy)
        started = await client.post("/api/recordings/start", json=BODY, headers=bearer())
        assert started.status_code == 201, started.text
        job_id = started.json()["jobId"]
        links.wake(node_id)
        (capture,) = await eventually(lambda: node.told("desired")[-1]["captures"])
        unconfirmed = next(message for message in NODE["down"] if message.get("captures"))["captures"][0]
        assert of_the_shape({key: unconfirmed[key] for key in unconfirmed if key != "streams"}, capture)

        capture_id = capture["captureId"]
        (receiving,) = UP["report"]["captures"]
        node.say({"type": "report", "captures": [receiving | {"captureId": capture_id}]})
        await becomes("recording")
        node.journal("chunk_stored", captureId=capture_id)
        await node.acknowledged()
        assert (await client.post(f"/api/recordings/{job_id}/stop", headers=bearer())).status_code == 200
        node.journal("capture_drained", captureId=capture_id)
        await becomes("processing")

        await assign_tick(service.commands.db, service.commands.settings)
        links.wake(node_id)
        (task,) = await eventually(lambda: node.told("desired")[-1]["finalize"])
        asked = next(message for message in NODE["down"] if message.get("finalize"))["finalize"][0]
        assert of_the_shape({key: asked[key] for key in asked if key != "captures"}, task)
        node.journal("finalize_done", jobId=job_id, attempt=task["attempt"])
        await becomes("completed")
