"""Webhooks: signed, in order per job, at least once, given up after a day and replayed on request."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx2
import pytest
from tests.integration.control.conftest import Service

from edumeet_recording.control.webhooks import Webhooks
from edumeet_recording.domain.errors import NotFound
from edumeet_recording.store import webhooks as stored


@dataclass
class Receiver:
    """A receiver of a few lines; it checks signatures as the specification says, with nothing of ours."""

    secret: str = ""
    answers: list[int] = field(default_factory=list)
    taken: list[dict] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        raw = {line.split(": ", 1)[0].lower(): line.split(": ", 1)[1] for line in head[1:] if ": " in line}
        body = await reader.readexactly(int(headers["content-length"]))
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        signed = f"{raw['webhook-id']}.{raw['webhook-timestamp']}.".encode() + body
        expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        status = self.answers.pop(0) if self.answers else 200
        if raw["webhook-signature"] != expected:
            status = 400
        if status == 200:
            self.taken.append(json.loads(body))
            self.ids.append(raw["webhook-id"])
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(service: Service, tenant: str | None = None) -> AsyncIterator[tuple[Webhooks, Receiver, str]]:
    receiver = Receiver()
    async with (
        await asyncio.start_server(receiver.serve, "127.0.0.1", 0) as server,
        httpx2.AsyncClient(trust_env=False) as client,
    ):
        hooks = Webhooks(service.commands.db, client)
        port = server.sockets[0].getsockname()[1]
        created = await hooks.create(f"http://127.0.0.1:{port}/hook", tenant)
        receiver.secret = created.secret
        yield hooks, receiver, created.id


async def hurry(service: Service) -> None:
    await service.pool.execute("UPDATE webhook_deliveries SET next_attempt_at = created_at")


async def test_events_of_a_job_come_in_order_and_signed(service: Service) -> None:
    async with listening(service) as (hooks, receiver, _):
        await service.room_server()
        await service.node()
        job_id = await service.start()
        await service.receive()
        await service.commands.stop(job_id, None)
        await hooks.tick()
        assert [message["type"].removeprefix("recording.") for message in receiver.taken] == await service.events(
            job_id
        )
        assert [message["data"]["seq"] for message in receiver.taken] == [1, 2, 3, 4, 5]
        await hooks.tick()
        assert len(receiver.taken) == 5, "acknowledged is delivered once"


async def test_a_failing_receiver_gets_everything_later_and_still_in_order(service: Service) -> None:
    async with listening(service) as (hooks, receiver, endpoint_id):
        receiver.answers = [500, 302]
        await service.room_server()
        job_id = await service.start()
        await service.commands.stop(job_id, None)
        await hooks.tick()
        assert receiver.taken == []
        (endpoint,) = await service.commands.db.run(lambda tx: stored.endpoints(tx.conn, None))
        assert (endpoint.id, endpoint.waiting, endpoint.last_error) == (endpoint_id, 2, "answered 500")
        for _ in range(2):
            await hurry(service)
            await hooks.tick()
        assert [message["data"]["type"] for message in receiver.taken] == ["pending", "cancelled"]


async def test_what_nobody_took_for_a_day_is_kept_and_replayed(service: Service) -> None:
    async with listening(service) as (hooks, receiver, endpoint_id):
        receiver.answers = [503]
        await service.room_server()
        await service.start()
        await service.pool.execute("UPDATE webhook_deliveries SET created_at = created_at - interval '2 days'")
        await hooks.tick()
        await hurry(service)
        await hooks.tick()
        assert receiver.taken == []
        assert await hooks.replay(endpoint_id, None) == 1
        await hooks.tick()
        assert len(receiver.taken) == 1


async def test_tenants_get_their_own_events_and_manage_their_own_receivers(service: Service) -> None:
    async with listening(service, "one") as (hooks, receiver, endpoint_id):
        await service.room_server()
        await service.node()
        await service.start(tenant_id="two", peer_id="a")
        await service.start(tenant_id="one", peer_id="b")
        await hooks.tick()
        assert {message["data"]["type"] for message in receiver.taken} == {"pending", "initializing"}
        assert len(receiver.taken) == 2
        for call in (hooks.delete, hooks.replay):
            with pytest.raises(NotFound):
                await call(endpoint_id, "two")
        await hooks.delete(endpoint_id, "one")
        await service.start(tenant_id="one", peer_id="c")
        await hooks.tick()
        assert len(receiver.taken) == 2


async def test_an_unreachable_receiver_is_no_failure_of_the_loop(service: Service) -> None:
    async with httpx2.AsyncClient(trust_env=False) as client:
        hooks = Webhooks(service.commands.db, client)
        await hooks.create("http://127.0.0.1:9/hook", None)
        await service.room_server()
        await service.start()
        await hooks.tick()
        (endpoint,) = await service.commands.db.run(lambda tx: stored.endpoints(tx.conn, None))
        assert endpoint.waiting == 1
        assert "ConnectError" in (endpoint.last_error or "")
