"""Both ways to speak to a room server keep the same contract: answers, refusals, silence."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.rooms.base import RoomServer, RoomServerRefused, RoomServerUnreachable
from edumeet_recording.rooms.http import HttpRoomServer
from edumeet_recording.rooms.link import LinkedRoomServer
from edumeet_recording.wire.room_link import (
    ROOM_REQUEST,
    Configured,
    ConfigureForwarding,
    Done,
    RequestRefused,
    SentStream,
    StopForwarding,
    TargetNode,
)

CONFIGURE = ConfigureForwarding(
    job_id="j",
    epoch=1,
    room_id="room",
    peer_id="peer",
    target_node=TargetNode(ip="127.0.0.1", ports=()),
    rtp_streams=(),
)
ANSWER = Configured(
    rtp_streams=(
        SentStream(index=0, kind=Kind.AUDIO, codec_name=Codec.OPUS, payload_type=100, ssrc=7, clock_rate=48000),
    )
)
STOP = StopForwarding(job_id="j", epoch=1)
TIMEOUT_S = 0.2


@asynccontextmanager
async def over_http(behaviour: str) -> AsyncIterator[RoomServer]:
    """A one-shot HTTP server of a few lines, so that nothing of ours answers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1]) for line in head.lower().splitlines() if line.startswith("content-length")
        )
        body = json.loads(await reader.readexactly(length))
        assert body["jobId"] == "j"
        status, text = "200 OK", ANSWER.to_json() if "configure" in head.splitlines()[0] else "{}"
        if behaviour == "refuses":
            status, text = "404 Not Found", '{"error": "no such peer"}'
        if behaviour == "silent":
            await reader.read()
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if behaviour == "gone":
        server.close()
    async with httpx2.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
        yield HttpRoomServer(f"http://127.0.0.1:{port}/", client)
    server.close()


@asynccontextmanager
async def over_link(behaviour: str) -> AsyncIterator[RoomServer]:
    async def send(text: str) -> None:
        if behaviour == "gone":
            raise RoomServerUnreachable("closed")
        request = ROOM_REQUEST.validate_json(text)
        if behaviour == "refuses":
            server.deliver(RequestRefused(request_id=request.request_id, code="no_such_peer", error="no such peer"))
        elif behaviour == "answers" and isinstance(request, ConfigureForwarding):
            server.deliver(ANSWER.model_copy(update={"request_id": request.request_id}))
        elif behaviour == "answers":
            server.deliver(Done(request_id=request.request_id))

    server = LinkedRoomServer("r", send, TIMEOUT_S)
    yield server
    server.close()


both = pytest.mark.parametrize("reach", [over_http, over_link])


@both
async def test_answers(reach) -> None:
    async with reach("answers") as server:
        assert (await server.configure(CONFIGURE)).rtp_streams == ANSWER.rtp_streams
        await server.tell(STOP)


@both
async def test_refusal(reach) -> None:
    async with reach("refuses") as server:
        with pytest.raises(RoomServerRefused, match="no such peer"):
            await server.configure(CONFIGURE)


@both
@pytest.mark.parametrize("behaviour", ["gone", "silent"])
async def test_unreachable(reach, behaviour: str) -> None:
    async with reach(behaviour) as server:
        with pytest.raises(RoomServerUnreachable):
            await server.configure(CONFIGURE)


async def test_who_waits_on_a_link_is_told_when_it_closes() -> None:
    async with over_link("silent") as server:
        assert isinstance(server, LinkedRoomServer)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(_refused(server))
            await asyncio.sleep(0)
            server.close()
            assert "closed its link" in await waiting


async def _refused(server: RoomServer) -> str:
    try:
        await server.configure(CONFIGURE)
    except RoomServerUnreachable as error:
        return error.message
    return ""


async def test_an_answer_that_is_not_in_the_contract_is_a_refusal() -> None:
    async def send(text: str) -> None:
        request = ROOM_REQUEST.validate_json(text)
        server.deliver(Done(request_id=request.request_id))
        server.deliver(Done(request_id="nobody waits for this"))

    server = LinkedRoomServer("r", send, TIMEOUT_S)
    with pytest.raises(RoomServerRefused):
        await server.configure(CONFIGURE)
