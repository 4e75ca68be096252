"""A node that asks for a key frame in vain: whoever holds its sender's room server asks there, within the budget."""

import asyncio

from tests.integration.control.conftest import Service
from tests.integration.control.test_forwarding import ARoomServer, prepared, tick
from tests.integration.control.test_links import linked
from tests.waiting import eventually

from edumeet_recording.control.forwarding import ForwardingLoop
from edumeet_recording.control.node_links import apply_heartbeat
from edumeet_recording.control.room_links import RoomLinks
from edumeet_recording.domain.capture import CaptureState, StreamState
from edumeet_recording.rooms.base import RoomServerUnreachable
from edumeet_recording.wire.node_link import CaptureReport, HeartbeatPost, StreamStats
from edumeet_recording.wire.room_link import ROOM_REQUEST, Done, RequestKeyFrameOf


async def say(service: Service, *, overdue: bool, node_id: str = "node-1") -> None:
    """A heartbeat of the node that records."""
    (capture,) = (await service.desired(node_id)).captures
    report = CaptureReport(
        capture_id=capture.capture_id,
        epoch=capture.epoch,
        state=CaptureState.RECEIVING,
        first_packet_at=1.0,
        streams=(StreamStats(index=1, state=StreamState.NO_KEY_FRAME, key_frame_overdue=overdue),),
    )
    await apply_heartbeat(service.captures, node_id, HeartbeatPost(node_id=node_id, captures=(report,)))


async def receiving(service: Service, room: ARoomServer) -> tuple[str, ForwardingLoop]:
    """A job of which packets come, and the leader's loop."""
    job_id, loop = await prepared(service, room)
    await tick(loop)
    await service.receive()
    room.asked.clear()
    return job_id, loop


async def let_pause_pass(service: Service) -> None:
    await service.pool.execute("UPDATE captures SET key_frame_asked_at = key_frame_asked_at - interval '10 s'")


async def test_a_key_frame_is_asked_for_until_it_has_come_with_pauses(service: Service) -> None:
    room = ARoomServer()
    job_id, loop = await receiving(service, room)
    await say(service, overdue=False)
    await tick(loop)
    assert room.asked == []
    for _ in range(2):
        await say(service, overdue=True)
        await tick(loop)
        await tick(loop)
        await let_pause_pass(service)
    assert room.asked == [RequestKeyFrameOf(job_id=job_id)] * 2
    await say(service, overdue=False)
    await tick(loop)
    assert len(room.asked) == 2


async def test_a_room_server_that_cannot_be_asked_is_left_in_peace_for_the_pause(service: Service) -> None:
    room = ARoomServer()
    _, loop = await receiving(service, room)
    await say(service, overdue=True)
    room.failure = RoomServerUnreachable("away")
    await tick(loop)
    room.failure = None
    await tick(loop)
    assert room.asked == []
    await let_pause_pass(service)
    await tick(loop)
    assert len(room.asked) == 1


async def test_both_captures_of_a_recording_ask_as_one(service: Service) -> None:
    await service.node("node-2")
    room = ARoomServer()
    job_id, loop = await receiving(service, room)
    await service.pool.execute(
        """INSERT INTO captures (id, job_id, node_id, role, epoch, state, cost_mcpu, streams, forwarding, created_at,
               first_packet_at, wants_key_frame)
           SELECT 'twin', job_id, 'node-2', 'standby', 2, state, cost_mcpu, streams, forwarding, created_at,
               first_packet_at, true FROM captures"""
    )
    await say(service, overdue=True)
    await tick(loop)
    await tick(loop)
    assert room.asked == [RequestKeyFrameOf(job_id=job_id)]


async def test_the_replica_with_the_room_servers_link_asks_and_no_other(service: Service) -> None:
    """The node speaks to one replica, which leads; the room server's link is at another."""
    unlinked = ARoomServer()
    job_id, leader = await receiving(service, unlinked)
    db = service.commands.db
    links = RoomLinks(db, "other", 5.0)
    other = ForwardingLoop(db, db, links, lambda _url: unlinked, lambda: False, asyncio.TaskGroup())
    async with linked(links, "room-server-1") as wire:
        await eventually(lambda: service.pool.fetchval("SELECT forwarding = 'unconfirmed' FROM captures"))
        await service.pool.execute("UPDATE captures SET forwarding = 'configured'")
        await say(service, overdue=True)
        await tick(leader)
        async with asyncio.TaskGroup() as other.tasks:
            await other.tick()
            (text,) = await eventually(lambda: wire.down)
            request = ROOM_REQUEST.validate_json(text)
            wire.say(Done(request_id=request.request_id))
    assert isinstance(request, RequestKeyFrameOf)
    assert request.job_id == job_id
    assert unlinked.asked == []
    assert await service.pool.fetchval("SELECT key_frame_asked_at FROM captures") is not None
