"""SIGTERM: a node hands its recordings over before it ends, but does not wait for ever."""

import asyncio
import signal
import time
from pathlib import Path

from tests.integration.node.conftest import Start, StartAgent, sending, workers
from tests.integration.node.test_agent_restart import receiving, without_a_gap
from tests.integration.node.test_node import prepared, state
from tests.waiting import eventually

from edumeet_recording.bench.one_node import OneNode
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.wire.node_link import CaptureDrained


async def test_a_node_that_leaves_records_until_its_captures_are_moved(
    orchestrator: OneNode, start_agent: StartAgent, tmp_path: Path
) -> None:
    async with start_agent() as agent:
        port = await receiving(orchestrator)
        async with sending(port) as sender:
            await eventually(lambda: state(orchestrator) is CaptureState.RECEIVING)
            agent.signal(signal.SIGTERM)
            await eventually(lambda: orchestrator.heartbeat and orchestrator.heartbeat.load.leaving)
            assert orchestrator.heartbeat
            assert not orchestrator.heartbeat.load.accepts_captures
            await asyncio.sleep(1)
            assert agent.process.returncode is None
            sent = sender.sent
            await orchestrator.want()
            async with asyncio.timeout(10):
                assert await agent.process.wait() == 0
    assert orchestrator.journaled(CaptureDrained)
    assert without_a_gap(tmp_path) >= sent
    assert workers(tmp_path) == set()


async def test_a_node_that_nobody_relieves_ends_at_its_deadline(orchestrator: OneNode, start_node: Start) -> None:
    leave = asyncio.Event()
    async with start_node(leave=leave, leave_deadline_s=1):
        await prepared(orchestrator)
        leave.set()
        began = time.monotonic()
        await eventually(lambda: orchestrator.journaled(CaptureDrained), timeout=10)
        assert time.monotonic() - began > 0.9
