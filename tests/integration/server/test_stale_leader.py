"""A leader that does not know yet that another leads: whatever it goes on with, it writes nothing."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.integration.server.conftest import healthy, node, replica
from tests.waiting import eventually

from edumeet_recording.store.db import Pool
from edumeet_recording.wire.http import RegisterRoomServer, StartRecording

CONFIGURED = {
    "rtcpMux": True,
    "rtpStreams": [
        {"index": 0, "kind": "audio", "codecName": "opus", "payloadType": 111, "ssrc": 1, "clockRate": 48000}
    ],
}
WRITTEN = """
    SELECT (SELECT count(*) FROM captures WHERE forwarding <> 'none' OR forwarding_attempts > 0) AS forwardings,
        (SELECT count(*) FROM webhook_deliveries WHERE delivered_at IS NOT NULL OR attempts > 0) AS deliveries,
        (SELECT count(*) FROM scaling_events) AS decisions
"""


@asynccontextmanager
async def outside() -> AsyncIterator[tuple[str, Counter[str]]]:
    """A room server and a webhook's receiver; how often each path was posted to."""
    asked: Counter[str] = Counter()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("content-length"))
        await reader.readexactly(int(length))
        body = json.dumps(CONFIGURED)
        asked[head.split()[1]] += 1
        writer.write(f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


async def test_a_leader_that_was_replaced_without_knowing_writes_nothing(
    dsn: str, db_pool: Pool, tmp_path: Path
) -> None:
    policy = '{"eu": {"minNodes": 3}}'
    async with (
        outside() as (url, asked),
        replica(dsn, tmp_path, autoscale_policy=policy) as at,
        node(at, "node-1") as linked,
    ):

        async def leads() -> bool:
            return (await at.client.ready()).leads

        await eventually(leads, timeout=10)
        await eventually(lambda: healthy(at.client, "node-1"), timeout=10)
        await db_pool.execute("UPDATE leadership SET number = number + 1")
        await db_pool.execute("DELETE FROM scaling_events")
        await db_pool.execute(
            "INSERT INTO webhook_endpoints (id, url, secret, created_at) VALUES ('hook', $1, 'whsec_AAAA', now())",
            f"{url}/hook",
        )
        await at.client.register_room_server(
            RegisterRoomServer(server_id="room-server-1", url=url, region="eu", capacity=1)
        )
        stream = {"kind": "audio", "codecName": "opus", "payloadType": 111, "ssrc": 7, "port": 5004}
        body = {"roomServerId": "room-server-1", "roomId": "r", "peerId": "p", "rtpStreams": (stream,)}
        await at.client.start(StartRecording.model_validate(body))
        (capture,) = await eventually(lambda: linked.wanted, timeout=10)
        await linked.prepare(capture)
        await at.client.evaluate_scaling(dry_run=False)
        # what it could not write down it does again
        again = ("/configure-rtp-forwarding", "/hook")
        await eventually(lambda: all(asked[path] > 1 for path in again), timeout=15)
        assert dict(await db_pool.fetchrow(WRITTEN)) == {"forwardings": 0, "deliveries": 0, "decisions": 0}
