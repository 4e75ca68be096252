"""A node with an orchestrator of release 0.1.0, which says what it said then, word for word."""

import json
from pathlib import Path
from typing import Any

from tests.integration.node.conftest import Start, sending
from tests.waiting import eventually

from edumeet_recording.bench.one_node import OneNode
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.wire.node_link import CaptureDrained, ChunkStored

RELEASED = Path(__file__).parents[2] / "data" / "wire-0.1.0"
DOWN = json.loads((RELEASED / "node_link.json").read_text())["down"]


class Recorded:
    """A message as it was recorded, to be sent as it stands."""

    def __init__(self, message: dict[str, Any]) -> None:
        self._message = message

    def to_json(self) -> str:
        return json.dumps(self._message)


async def test_it_records_and_drains_what_the_last_release_asks_for(orchestrator: OneNode, start_node: Start) -> None:
    asked = next(message for message in DOWN if any(each["confirmed"] for each in message.get("captures", ())))
    capture = next(each for each in asked["captures"] if each["confirmed"])
    revision = asked["revision"]
    streams = [
        {name: value for name, value in stream.items() if not name.startswith(("srtp", "source"))}
        for stream in capture["streams"]
    ]
    capture_id = capture["captureId"]

    async def say(captures: list[dict[str, Any]], later: int) -> None:
        await orchestrator.say(Recorded({**asked, "revision": revision + later, "captures": captures}))

    def state() -> CaptureState | None:
        report = orchestrator.captures.get(capture_id)
        return report and report.state

    async with start_node():
        await eventually(lambda: orchestrator.links)
        await say([capture | {"streams": streams, "confirmed": False}], 1)
        await eventually(lambda: state() is CaptureState.PREPARED)
        await say([capture | {"streams": streams, "confirmed": True}], 2)
        port = orchestrator.captures[capture_id].ports[0].port
        async with sending(port, payload_type=streams[0]["payloadType"], ssrc=streams[0]["ssrc"]):
            await eventually(lambda: state() is CaptureState.RECEIVING)
        await say([], 3)
        await eventually(lambda: orchestrator.journaled(CaptureDrained))
        assert orchestrator.journaled(ChunkStored)
