"""The autoscaler with real processes: nodes come when they are needed, and one goes without costing a packet."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests import rtp_ports
from tests.system.conftest import QUICK

from edumeet_recording.client import RecordingClient
from edumeet_recording.sim import scaling_act
from edumeet_recording.sim.processes import own_process
from edumeet_recording.sim.room_server import SimulatedRoomServer, SimulatorOptions
from edumeet_recording.sim.takes import Take


@dataclass
class Listener:
    """An audience that remembers what it was told."""

    steps: list[str] = field(default_factory=list)
    files: dict[str, tuple[str, float]] = field(default_factory=dict)

    def step(self, doing: str) -> None:
        self.steps.append(doing)

    def progress(self, take: Take, doing: str, fraction: float) -> None:
        self.files[take.peer_id] = doing, fraction


@pytest.mark.timeout(180)
async def test_nodes_come_with_the_load_and_one_goes_without_a_lost_packet(tmp_path: Path) -> None:
    audience, settings = Listener(), scaling_act.settings()
    node_settings = json.loads(settings["AUTOSCALE_NODE_SETTINGS"]) | rtp_ports.SETTINGS
    settings = QUICK | settings | {"AUTOSCALE_NODE_SETTINGS": json.dumps(node_settings)}
    async with own_process("up", "up", "--json", settings=settings, folder=tmp_path) as process:
        answer = await process.answer()
        options = SimulatorOptions(
            server_id=scaling_act.ROOM_SERVER, orchestrator_url=answer["url"], region=scaling_act.REGION, peers={}
        )
        async with RecordingClient(answer["url"], answer["token"]) as client, SimulatedRoomServer(options) as rooms:
            await rooms.registered()
            result = await scaling_act.scale(client, rooms, audience, tmp_path)
        assert await process.end() == 0
    assert (result.failures, [each.failures for each in result.verdicts]) == ((), [()] * len(scaling_act.TAKES))
    assert (len(audience.steps), set(audience.files.values())) == (2, {("completed", 1.0)})
