"""Who is not the sender gets nothing on the tape, however much he sends; the recordings go on."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests import rtp_ports
from tests.leftovers import children
from tests.system.conftest import start_body
from tests.waiting import eventually

from edumeet_recording.client import RecordingClient
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.media.rtp import build_rtp
from edumeet_recording.sim.publisher import PeerMedia
from edumeet_recording.sim.scenarios import SMALL
from edumeet_recording.sim.trial import recording_service
from edumeet_recording.sim.verdict import Bounds, Verdict, judge
from edumeet_recording.wire.views import Recording

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

PEERS = {"visited": PeerMedia(index=0, shape=SMALL), "flooded": PeerMedia(index=1, shape=SMALL)}
BOUNDS = {"visited": Bounds(psnr_db=25.0), "flooded": Bounds(presence=0.7, psnr_db=25.0)}
MARK = b"a stranger was here"
VISITS = 50
FLOOD_S = 2
FLOOD = f"""
import socket, sys, time
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
target, begun, sent = ("127.0.0.1", int(sys.argv[1])), time.monotonic(), 0
while (passed := time.monotonic() - begun) < {FLOOD_S}:
    while sent < 50_000 * passed:
        udp.sendto(b"{MARK.decode()}", target)
        sent += 1
    time.sleep(0.002)
print(sent)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def verdicts(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Verdict]]:
    before = children()
    folder = tmp_path_factory.mktemp("strangers")
    async with recording_service(folder, rtp_ports.SETTINGS) as (client, server):
        for peer_id, media in PEERS.items():
            server.add_peer("room-1", peer_id, media)
        jobs = {peer_id: (await client.start(start_body(peer_id))).job_id for peer_id in PEERS}
        running = {peer_id: await _until(client, job_id, JobStatus.RECORDING) for peer_id, job_id in jobs.items()}
        flooded = asyncio.create_subprocess_exec(
            sys.executable, "-c", FLOOD, str(_ports(running["flooded"])[0]), stdout=asyncio.subprocess.PIPE
        )
        flood = await flooded
        await _visit(await _until(client, jobs["visited"], JobStatus.RECORDING))
        sent, _ = await flood.communicate()
        assert int(sent) > 10_000
        await asyncio.sleep(2)
        for job_id in jobs.values():
            await client.stop(job_id)
        made: dict[str, Verdict] = {}
        for peer_id, job_id in jobs.items():
            recording = await _until(client, job_id, JobStatus.COMPLETED)
            path = await client.download(recording, folder / peer_id)
            report, plan = await client.report(job_id), server.plan("room-1", peer_id)
            made[peer_id] = await asyncio.to_thread(
                judge, recording, path, report, PEERS[peer_id], plan, bounds=BOUNDS[peer_id]
            )
        yield made
    assert children() <= before


async def _until(client: RecordingClient, job_id: str, status: JobStatus) -> Recording:
    async def look() -> Recording | None:
        found = await client.get(job_id)
        return found if found.status is status and all(stream.stats for stream in found.streams) else None

    return await eventually(look, 40)


def _ports(recording: Recording) -> list[int]:
    assert recording.rtp_forwarding is not None
    return [port.port for port in recording.rtp_forwarding.ports]


async def _visit(recording: Recording) -> None:
    """As the sender from another host and from another port of its host, as somebody else, and with another payload."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as neighbour,
    ):
        elsewhere.bind(("127.0.0.2", 0))
        for number in range(VISITS):
            for stream, port in zip(recording.streams, _ports(recording), strict=True):
                ssrc, payload_type = stream.ssrc or 0, stream.payload_type
                fields = {"sequence": number, "timestamp": 960 * number, "payload": MARK}
                same = build_rtp(ssrc=ssrc, payload_type=payload_type, **fields)
                elsewhere.sendto(same, ("127.0.0.1", port))
                neighbour.sendto(same, ("127.0.0.1", port))
                neighbour.sendto(build_rtp(ssrc=ssrc ^ 1, payload_type=payload_type, **fields), ("127.0.0.1", port))
                neighbour.sendto(build_rtp(ssrc=ssrc, payload_type=payload_type ^ 1, **fields), ("127.0.0.1", port))
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("peer_id", PEERS)
async def test_the_file_is_what_the_sender_sent(verdicts: dict[str, Verdict], peer_id: str) -> None:
    assert verdicts[peer_id].failures == ()


@pytest.mark.parametrize("peer_id", PEERS)
async def test_nothing_of_a_stranger_is_on_the_tape(verdicts: dict[str, Verdict], peer_id: str) -> None:
    verdict = verdicts[peer_id]
    storage = verdict.path.parent / ".state" / "storage"
    tapes = [path for path in storage.rglob("*.tape") if verdict.recording.job_id in str(path)]

    assert tapes
    assert all(MARK not in tape.read_bytes() for tape in tapes)


async def test_strangers_are_counted_by_what_gave_them_away(verdicts: dict[str, Verdict]) -> None:
    counted = verdicts["visited"].recording.foreign_packets

    assert counted["source"] == 2 * 2 * VISITS
    assert counted["ssrc"] == counted["payload_type"] == 2 * VISITS
    assert verdicts["flooded"].recording.foreign_packets["garbage"] > 10_000
