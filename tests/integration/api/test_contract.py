"""schemathesis over the whole OpenAPI document: no input is an unexpected error, and every answer is as described."""

import asyncio
import json

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks
from tests.integration.api.conftest import Orchestrator, listening
from tests.unit.api.fakes import bearer

from edumeet_recording.api.openapi import document
from edumeet_recording.domain.request import FFmpegNodeRegistration, RoomServerRegistration

schema = schemathesis.openapi.from_dict(json.loads(document()))

OPERATIONS = {each.ok().label: each.ok() for each in schema.get_all_operations()}
ROOM_SERVER = RoomServerRegistration("room-server-1", "http://room-server:3443", "eu", 100, {})
NODE = FFmpegNodeRegistration("node-1", "http://node-1:3000", "eu", {"cpuCores": 64})
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


def aim(case: schemathesis.Case, job_id: str) -> None:
    """Name things that exist: else nothing behind the first look-up would ever be tried."""
    known = {"jobId": job_id, "nodeId": "node-1", "roomServerId": "room-server-1", "serverId": "room-server-1"}
    for place in (case.path_parameters, case.body):
        if isinstance(place, dict):
            place.update({name: known[name] for name in known.keys() & place.keys()})


def explore(label: str, base_url: str, job_id: str, headers: dict[str, str]) -> None:
    operation = OPERATIONS[label]
    valid = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    invalid = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @settings(
        max_examples=12,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=valid | invalid, aimed=st.booleans())
    def holds(case: schemathesis.Case, aimed: bool) -> None:
        if aimed:
            aim(case, job_id)
        answer = case.call(base_url=base_url, headers=headers)
        assert answer.status_code != 500, f"{case.as_curl_command()}\n{answer.text}"
        case.validate_response(answer, checks=CHECKS)

    holds()


@pytest.mark.parametrize("label", OPERATIONS)
async def test_no_input_breaks_the_contract(orchestrator: Orchestrator, label: str) -> None:
    commands = orchestrator.service.commands
    room = await commands.register_room_server(ROOM_SERVER, None)
    node = await commands.register_ffmpeg_node(NODE, None)
    job_id = await orchestrator.service.start()
    tokens = {
        "POST /api/nodes/room-servers/heartbeat": room.token,
        "POST /api/nodes/ffmpeg-nodes/heartbeat": node.token,
    }
    headers = {"Authorization": f"Bearer {tokens[label]}"} if label in tokens else bearer()
    async with listening(orchestrator.app) as host:
        await asyncio.to_thread(explore, label, f"http://{host}", job_id, headers)
