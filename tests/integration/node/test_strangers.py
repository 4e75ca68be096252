"""What does not belong to a capture comes to its very port: none of it gets on the tape, and all of it is counted."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.integration.node.conftest import Sender, Start, taped_sequences
from tests.integration.node.test_node import CAPTURE, drained, prepared, state, stored
from tests.waiting import eventually

from edumeet_recording.bench.one_node import OneNode
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.media.rtcp import SenderReport, build_rtcp
from edumeet_recording.media.rtp import build_rtp

EACH = 50
ROUNDS = 1500
"""Two seconds of a flood, more where the machine is slow."""


@asynccontextmanager
async def only_from(sender: Sender, orchestrator: OneNode) -> AsyncIterator[None]:
    """The capture's streams come from this socket and no other, while it sends."""
    ip, port = sender.udp.getsockname()
    streams = tuple(stream.model_copy(update={"source_ip": ip, "source_port": port}) for stream in CAPTURE.streams)
    await orchestrator.want(CAPTURE.model_copy(update={"streams": streams}))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(sender.run())
        await eventually(lambda: state(orchestrator) is CaptureState.RECEIVING)
        yield
        running.cancel()


def rtp(payload_type: int, ssrc: int, number: int) -> bytes:
    return build_rtp(
        payload_type=payload_type, sequence=40_000 + number, timestamp=960 * number, ssrc=ssrc, payload=b"stranger" * 9
    )


async def test_each_stranger_is_counted_by_what_gives_it_away(orchestrator: OneNode, start_node: Start) -> None:
    async with start_node() as settings:
        port, _ = await prepared(orchestrator)
        sender = Sender(port)
        sender.udp.bind(("127.0.0.1", 0))
        with (
            sender.udp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as neighbour,
        ):
            elsewhere.bind(("127.0.0.2", 0))
            async with only_from(sender, orchestrator):
                for number in range(EACH):
                    # From the true source, what its sender never announced.
                    sender.udp.sendto(rtp(100, 77, number), sender.target)
                    sender.udp.sendto(rtp(111, 10, number), sender.target)
                    report = SenderReport(ssrc=78, ntp=0, rtp_timestamp=0, packets=0, octets=0)
                    sender.udp.sendto(build_rtcp(report), sender.target)
                    sender.udp.sendto(b"\x16\xfe\xff" + bytes(30), sender.target)
                    # From another address, and from another port of the same, what looks as it should.
                    elsewhere.sendto(rtp(100, 10, number), sender.target)
                    neighbour.sendto(rtp(100, 10, number), sender.target)
                    await asyncio.sleep(0.001)
                counts = {"ssrc": 2 * EACH, "payload_type": EACH, "garbage": EACH, "source": 2 * EACH}
                await eventually(lambda: orchestrator.captures["c1"].foreign == counts)
        await drained(orchestrator)
        assert taped_sequences(stored(settings)) == list(range(sender.sent))


async def test_a_flood_of_garbage_on_its_own_port_stops_no_recording(orchestrator: OneNode, start_node: Start) -> None:
    async with start_node() as settings:
        port, _ = await prepared(orchestrator)
        sender = Sender(port)
        sender.udp.bind(("127.0.0.1", 0))
        with sender.udp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as garbage:
            async with only_from(sender, orchestrator):
                for _ in range(ROUNDS):
                    for number in range(50):
                        garbage.sendto(rtp(100, 10, number), sender.target)
                    await asyncio.sleep(0.001)
            last = sender.sent
            await eventually(lambda: orchestrator.captures["c1"].foreign.get("source", 0) > 10_000)
        await drained(orchestrator)
        taped = taped_sequences(stored(settings))
        # The flood may take room in the socket's buffer; whatever gets through is taped, to the end.
        assert len(taped) > 0.9 * last
        assert taped == sorted(set(taped))
        assert taped[-1] > last - 40
