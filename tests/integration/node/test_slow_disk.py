"""A disk that hangs for seconds at a time: packets go on to be received, and the node goes on to be heard."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.node.conftest import Start, sending, taped_sequences
from tests.integration.node.test_node import drained, prepared, state, stored
from tests.waiting import eventually

from edumeet_recording.bench.one_node import OneNode
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.sim.faults.disk import SmallDisk, small_disk
from edumeet_recording.wire.node_link import NodeLoad

RECEIVE_BUFFER_BYTES = 1_000_000
FAST = {"payload_bytes": 1100, "burst": 3}
"""A second and a half of this fills the buffer."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """The node's; needs the right to mount one."""
    with small_disk(tmp_path / "state") as made:
        if made is None or not made.hangs:
            pytest.skip("mounting a disk that can hang is not permitted here")
        yield made


def load(orchestrator: OneNode) -> NodeLoad:
    assert orchestrator.heartbeat
    return orchestrator.heartbeat.load


async def test_a_disk_that_hangs_costs_no_packet_and_has_captures_moved(
    orchestrator: OneNode, start_node: Start, disk: SmallDisk
) -> None:
    async with start_node(receive_buffer_bytes=RECEIVE_BUFFER_BYTES) as settings:
        port, _ = await prepared(orchestrator)
        async with sending(port, **FAST) as sender:
            await eventually(lambda: state(orchestrator) is CaptureState.RECEIVING)
            async with disk.slow():
                await eventually(lambda: load(orchestrator).leaving, timeout=10)
                assert "taken nothing" in (load(orchestrator).refusal or "")
                await asyncio.sleep(3)
            await eventually(lambda: load(orchestrator).accepts_captures, timeout=10)
        body = await drained(orchestrator)
        assert body.report.error is None
        assert taped_sequences(stored(settings)) == list(range(sender.sent))
