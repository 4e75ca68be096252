"""The agent dies and its capture processes live: the next agent finds them, and nobody else notices."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

from tests.integration.node.conftest import StartAgent, sending, taped_sequences, workers
from tests.integration.node.test_node import AUDIO, CAPTURE, drained, state
from tests.waiting import eventually

from edumeet_recording.bench.one_node import OneNode
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.sim.processes import OwnProcess
from edumeet_recording.wire.node_link import CaptureDrained, ChunkStored


async def kill_alone(agent: OwnProcess) -> None:
    """As a crash would, and unlike a machine that loses power: the workers live on."""
    agent.signal(signal.SIGKILL)
    await agent.process.wait()


async def receiving(orchestrator: OneNode) -> int:
    """The port of the capture, once it is there."""
    await eventually(lambda: orchestrator.links, timeout=30)
    await orchestrator.want(CAPTURE)
    await eventually(lambda: state(orchestrator) is CaptureState.PREPARED)
    return orchestrator.captures["c1"].ports[0].port


def without_a_gap(folder: Path) -> int:
    """How many packets are stored, from the first on and each once."""
    chunks = sorted((folder / "state" / "storage" / "tapes" / "j1" / "c1").glob("*.tape"))
    sequences = taped_sequences([path.read_bytes() for path in chunks])
    assert sequences == list(range(len(sequences)))
    return len(sequences)


async def test_a_killed_agent_finds_its_workers_again_and_no_packet_is_lost(
    orchestrator: OneNode, start_agent: StartAgent, tmp_path: Path
) -> None:
    async with start_agent(CAPTURE_PROCESSES="2") as first:
        port = await receiving(orchestrator)
        assert len(workers(tmp_path)) == 2
        async with sending(port) as sender:
            await eventually(lambda: len(orchestrator.journaled(ChunkStored)) >= 2, timeout=10)
            url = str(orchestrator.registrations[0]["url"])
            await kill_alone(first)
            before = orchestrator.links
            await eventually(lambda: len(workers(tmp_path)) == 1, timeout=10)  # the one that has a capture
            (worker,) = workers(tmp_path)
            _connects(url)
            async with start_agent() as second:
                await eventually(lambda: orchestrator.links > before, timeout=30)
                assert workers(tmp_path) == {worker}
                count = len(orchestrator.journaled(ChunkStored))
                await eventually(lambda: len(orchestrator.journaled(ChunkStored)) > count + 1, timeout=10)
                report = orchestrator.captures["c1"]
                assert (report.state, report.ports[0].port) == (CaptureState.RECEIVING, port)
                assert len(orchestrator.registrations) == 1
                # found again, it is replaced on the same sockets like any other
                os.kill(worker, signal.SIGKILL)
                await eventually(lambda: workers(tmp_path) not in ({worker}, set()), timeout=10)
                count = len(orchestrator.journaled(ChunkStored))
                await eventually(lambda: len(orchestrator.journaled(ChunkStored)) > count + 1, timeout=10)
                sent = sender.sent
                body = await drained(orchestrator)
                assert await second.end() == 0
    assert without_a_gap(tmp_path) >= sent
    assert body.chunks == len(orchestrator.journaled(ChunkStored))
    assert workers(tmp_path) == set()


def _connects(url: str) -> None:
    """While a worker lives, who probes the node is not refused: silence is then judged by its time-out."""
    host, port = url.removeprefix("http://").split(":")
    socket.create_connection((host, int(port)), timeout=1).close()


async def test_workers_that_no_agent_comes_back_for_put_all_on_disk_and_end(
    orchestrator: OneNode, start_agent: StartAgent, tmp_path: Path
) -> None:
    async with start_agent(CAPTURE_ALONE_S="2") as agent:
        port = await receiving(orchestrator)
        async with sending(port) as sender:
            await eventually(lambda: state(orchestrator) is CaptureState.RECEIVING)
            await kill_alone(agent)
            killed = time.monotonic()
            at_death = sender.sent
            await eventually(lambda: not workers(tmp_path), timeout=15)
            assert time.monotonic() - killed > 1.5
    async with start_agent() as agent:
        await drained(orchestrator)
        assert await agent.end() == 0
    assert without_a_gap(tmp_path) > at_death


async def test_a_worker_of_another_release_goes_on_until_its_captures_end(
    orchestrator: OneNode, start_agent: StartAgent, tmp_path: Path
) -> None:
    other = CAPTURE.model_copy(update={"capture_id": "c2", "tape_prefix": "tapes/j1/c2", "streams": (AUDIO,)})
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("import edumeet_recording.node.worker_link as it\nit.PROTOCOL += 1\n")
    path = os.pathsep.join([str(site), *sys.path])
    async with start_agent(PYTHONPATH=path) as agent:
        port = await receiving(orchestrator)
        async with sending(port) as sender:
            await eventually(lambda: state(orchestrator) is CaptureState.RECEIVING)
            await kill_alone(agent)
            (old,) = workers(tmp_path)
            before = orchestrator.links
            async with start_agent() as agent:
                await eventually(lambda: orchestrator.links > before, timeout=30)
                await orchestrator.want(CAPTURE, other)
                await eventually(lambda: "c2" in orchestrator.captures and orchestrator.captures["c2"].ports)
                assert len(workers(tmp_path)) == 2, "new captures are for a worker of this release"
                sent = sender.sent
                await orchestrator.want(other)
                await eventually(lambda: orchestrator.journaled(CaptureDrained), timeout=10)
                await eventually(lambda: old not in workers(tmp_path))
                assert len(workers(tmp_path)) == 1
                assert await agent.end() == 0
    assert without_a_gap(tmp_path) >= sent
