"""A room server is asked again for what a peer publishes later, or anew; what was sent before stays on record."""

import pytest
from tests.integration.control.conftest import Service
from tests.integration.control.test_forwarding import ARoomServer, prepared, tick
from tests.integration.control.test_links import linked
from tests.integration.control.test_streams import heard
from tests.waiting import eventually

from edumeet_recording.control.forwarding import ASK_AGAIN_MOST_S, ForwardingLoop
from edumeet_recording.control.node_links import apply_heartbeat
from edumeet_recording.domain.capture import StreamState
from edumeet_recording.rooms.base import RoomServerRefused
from edumeet_recording.store import captures, forwardings
from edumeet_recording.wire.room_link import Configured, ConfigureForwarding, PeerChanged

RECEIVING, STALLED, WAITING = StreamState.RECEIVING, StreamState.STALLED, StreamState.WAITING


async def ssrcs(service: Service) -> list[int | None]:
    (capture,) = (await service.desired()).captures
    return [stream.ssrc for stream in capture.streams]


async def in_time(service: Service, loop: ForwardingLoop) -> float | None:
    """A tick at the time it waits for; how many seconds after that it asks again."""
    await service.pool.execute(
        "UPDATE captures SET streams_retry_at = now() - interval '1 s' WHERE streams_retry_at > now()"
    )
    await tick(loop)
    return await service.pool.fetchval("SELECT extract(epoch FROM streams_retry_at - now())::float FROM captures")


async def without_camera(service: Service) -> tuple[str, ARoomServer, ForwardingLoop]:
    """A recording whose peer has its camera off."""
    room = ARoomServer()
    room.leaves_out = {1}
    job_id, loop = await prepared(service, room)
    await tick(loop)
    await service.receive()
    assert await ssrcs(service) == [1000, None]
    return job_id, room, loop


async def test_what_was_left_out_is_asked_for_until_it_is_sent(service: Service) -> None:
    job_id, room, loop = await without_camera(service)
    await tick(loop)
    assert len(room.asked) == 1, "not before its time"
    pauses = [await in_time(service, loop) or 0 for _ in range(6)]
    assert pauses == pytest.approx([2, 4, 8, 16, ASK_AGAIN_MOST_S, ASK_AGAIN_MOST_S], abs=1)
    assert await service.events(job_id) == [*dict.fromkeys(await service.events(job_id))], "nothing new is no event"

    room.leaves_out = set()
    assert await in_time(service, loop) is None

    assert await ssrcs(service) == [1000, 1001]
    assert (await service.events(job_id))[-1] == "rtp_forwarding"
    asked = len(room.asked)
    assert await in_time(service, loop) is None
    assert len(room.asked) == asked


async def test_a_refusal_of_the_rest_leaves_what_there_is(service: Service) -> None:
    _, room, loop = await without_camera(service)
    room.failure = RoomServerRefused("no such stream", code="no_such_stream")

    assert (await in_time(service, loop) or 0) > 0

    assert await ssrcs(service) == [1000, None]


async def test_a_stream_that_stalled_is_asked_for_at_once_and_comes_anew(service: Service) -> None:
    """As a camera that was switched off and on again: another producer, so another SSRC."""
    _, room, loop = await without_camera(service)
    room.leaves_out = set()
    await in_time(service, loop)
    capture_id = await service.pool.fetchval("SELECT id FROM captures")
    await apply_heartbeat(service.captures, "node-1", heard(capture_id, RECEIVING, RECEIVING))
    await service.ship(capture_id)
    asked = len(room.asked)

    await apply_heartbeat(service.captures, "node-1", heard(capture_id, RECEIVING, STALLED))
    await tick(loop)

    assert len(room.asked) == asked + 1
    configure = room.configure

    async def anew(request: ConfigureForwarding) -> Configured:
        answer = await configure(request)
        audio, video = answer.rtp_streams
        return answer.model_copy(update={"rtp_streams": (audio, video.model_copy(update={"ssrc": 2001}))})

    room.configure = anew
    await in_time(service, loop)
    assert await ssrcs(service) == [1000, 2001]
    async with service.pool.acquire() as conn:
        job_id = await service.pool.fetchval("SELECT job_id FROM captures")
        (taped,) = (await captures.tape_of_jobs(conn, [job_id]))[job_id]
    assert [(stream.index, stream.ssrc) for stream in taped.streams] == [(1, 1001), (0, 1000), (1, 2001)]
    await apply_heartbeat(service.captures, "node-1", heard(capture_id, RECEIVING, WAITING))
    assert await in_time(service, loop) is None


async def test_what_changes_while_a_room_server_is_asked_is_asked_for_again(service: Service) -> None:
    _, room, loop = await without_camera(service)
    configure = room.configure

    async def switched_on_meanwhile(request: ConfigureForwarding) -> Configured:
        answer = await configure(request)
        room.leaves_out, room.configure = set(), configure
        await service.commands.db.run(
            lambda tx: forwardings.ask_again_for_peer(tx.conn, "room-server-1", "room-123", "peer-456", tx.now)
        )
        return answer

    room.configure = switched_on_meanwhile
    await in_time(service, loop)
    await tick(loop)
    assert await ssrcs(service) == [1000, 1001]


async def test_a_room_server_may_tell(service: Service) -> None:
    _, room, loop = await without_camera(service)
    room.leaves_out = set()
    async with linked(loop.links, "room-server-1") as wire:
        unsure = "SELECT 1 FROM captures WHERE forwarding = 'unconfirmed'"
        await eventually(lambda: service.pool.fetchval(unsure))
        await service.pool.execute("UPDATE captures SET forwarding = 'configured'")
        wire.say(PeerChanged(room_id="room-123", peer_id="somebody else"))
        wire.say(PeerChanged(room_id="room-123", peer_id="peer-456"))
        due = "SELECT 1 FROM captures WHERE streams_retry_at <= now()"
        await eventually(lambda: service.pool.fetchval(due))
    await tick(loop)
    assert await ssrcs(service) == [1000, 1001]


async def test_a_room_server_that_was_away_and_sends_more_is_not_another(service: Service) -> None:
    job_id, room, loop = await without_camera(service)
    room.leaves_out = set()
    async with service.pool.acquire() as conn:
        await forwardings.doubt(conn, job_id, await conn.fetchval("SELECT now()"))
    await tick(loop)
    await tick(loop)
    assert await ssrcs(service) == [1000, 1001]
    assert await service.pool.fetchval("SELECT forwarding FROM captures") == "configured"
