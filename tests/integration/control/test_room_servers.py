"""Recordings outlive their room server: they wait for it, ask it again, and go on with what it sends then."""

import asyncio
from datetime import timedelta

import pytest
from tests.integration.control.conftest import SETTINGS, Service
from tests.integration.control.test_forwarding import ARoomServer, prepared, tick

from edumeet_recording.control.deadlines import deadline_tick
from edumeet_recording.control.dispatch import dispatch_tick, drain_tick
from edumeet_recording.control.forwarding import LOST_S, ForwardingLoop
from edumeet_recording.control.room_servers import room_server_back, room_server_lost
from edumeet_recording.domain.job import JobStatus, Reason
from edumeet_recording.rooms.base import RoomServerRefused, RoomServerUnreachable
from edumeet_recording.wire.room_link import Configured, ConfigureForwarding, StopForwarding

SERVER = "room-server-1"


class ARoomServerWithLives(ARoomServer):
    """It picks new SSRCs in each life, and the same ones for the same epoch within it."""

    life = 0

    async def configure(self, request: ConfigureForwarding) -> Configured:
        answer = await super().configure(request)
        shift = 1000 * self.life + 10 * request.epoch
        streams = tuple(each.model_copy(update={"ssrc": each.ssrc + shift}) for each in answer.rtp_streams)
        return answer.model_copy(update={"rtp_streams": streams})

    def heard(self, kind: type) -> list[int]:
        return [request.epoch for request in self.asked if isinstance(request, kind)]


async def recording(service: Service, room: ARoomServer) -> tuple[str, ForwardingLoop]:
    job_id, loop = await prepared(service, room)
    await tick(loop)
    await service.receive()
    await service.pool.execute("UPDATE captures SET last_packet_at = clock_timestamp()")
    await service.pool.execute("UPDATE recording_jobs SET started_at = clock_timestamp()")
    return job_id, loop


async def later(service: Service, seconds: float) -> None:
    """What is kept was a while ago, and every back-off is over."""
    await service.pool.execute(
        "UPDATE captures SET forwarding_retry_at = NULL, unconfirmed_since = unconfirmed_since - $1::interval, "
        "last_packet_at = last_packet_at - $1::interval, ended_at = ended_at - $1::interval",
        timedelta(seconds=seconds),
    )


async def test_a_lost_room_server_is_told_of_once_and_waited_for(service: Service) -> None:
    room = ARoomServerWithLives()
    job_id, _ = await recording(service, room)
    for _ in range(2):
        await room_server_lost(service.commands.db, SERVER, "nobody is at its door")
    job = await service.job(job_id)
    assert (job.status, job.reason) == (JobStatus.RECORDING, Reason.ROOM_SERVER_LOST)
    assert (await service.events(job_id)).count("room_server_lost") == 1
    (capture,) = (await service.desired()).captures
    assert capture.confirmed, "the node goes on as before"
    await later(service, SETTINGS.room_server_grace_s - 30)
    await deadline_tick(service.commands.db, SETTINGS)
    assert (await service.job(job_id)).status is JobStatus.RECORDING


async def test_one_that_never_comes_back_ends_its_recordings(service: Service) -> None:
    room = ARoomServerWithLives()
    job_id, _ = await recording(service, room)
    await room_server_lost(service.commands.db, SERVER, "nobody is at its door")
    await later(service, SETTINGS.room_server_grace_s + 1)
    await deadline_tick(service.commands.db, SETTINGS)
    job = await service.job(job_id)
    assert (job.status, job.reason) == (JobStatus.STOPPING, Reason.ROOM_SERVER_LOST)
    assert "nobody is at its door" in (job.reason_detail or "")


async def test_one_that_still_sends_the_same_has_lost_nothing(service: Service) -> None:
    room = ARoomServerWithLives()
    job_id, loop = await recording(service, room)
    await room_server_lost(service.commands.db, SERVER, "its link closed")
    await room_server_back(service.commands.db, SERVER)
    await tick(loop)
    assert room.heard(ConfigureForwarding) == [1, 1]
    job = await service.job(job_id)
    assert (job.status, job.reason, job.epoch) == (JobStatus.RECORDING, None, 1)
    assert (await service.events(job_id))[-1] == "room_server_returned"
    await drain_tick(service.commands.db, SETTINGS, service.fleet)
    await tick(loop)
    assert room.heard(ConfigureForwarding) == [1, 1]


async def test_one_that_has_begun_anew_is_followed_with_the_next_epoch(service: Service) -> None:
    room = ARoomServerWithLives()
    job_id, loop = await recording(service, room)
    await room_server_lost(service.commands.db, SERVER, "dead")
    room.life = 1
    await room_server_back(service.commands.db, SERVER)
    await tick(loop)
    await drain_tick(service.commands.db, SETTINGS, service.fleet)
    old, new = (await service.desired()).captures
    assert (old.epoch, new.epoch) == (1, 2), "on its own node, which still has room"
    assert not new.confirmed
    await service.prepare(only=new.capture_id)
    await tick(loop)
    assert room.heard(StopForwarding) == []
    await service.receive(only=new.capture_id)
    assert [capture.epoch for capture in (await service.desired()).captures] == [2]
    await tick(loop)
    assert room.heard(StopForwarding) == [1]
    job = await service.job(job_id)
    assert (job.status, job.reason, job.epoch) == (JobStatus.RECORDING, None, 2)
    events = await service.events(job_id)
    assert "interrupted" not in events
    assert "room_server_returned" in events


async def test_without_room_for_both_the_old_one_gives_way(service: Service) -> None:
    room = ARoomServerWithLives()
    job_id, loop = await recording(service, room)
    await service.pool.execute("UPDATE ffmpeg_nodes SET capacity_mcpu = load_mcpu")
    service.fleet.changed("")
    room.life = 1
    await room_server_back(service.commands.db, SERVER)
    await tick(loop)
    await drain_tick(service.commands.db, SETTINGS, service.fleet)
    assert (await service.job(job_id)).status is JobStatus.INTERRUPTED
    await dispatch_tick(service.commands.db, SETTINGS, service.fleet)
    assert [capture.epoch for capture in (await service.desired()).captures] == [2]


async def test_one_that_refuses_after_it_came_back_has_lost_the_peer(service: Service) -> None:
    room = ARoomServerWithLives()
    job_id, loop = await recording(service, room)
    await room_server_back(service.commands.db, SERVER)
    room.failure = RoomServerRefused("there is no peer", code="no_such_peer")
    await tick(loop)
    job = await service.job(job_id)
    assert (job.status, job.reason) == (JobStatus.RECORDING, Reason.ROOM_SERVER_LOST)
    room.failure, room.life = None, 1
    await later(service, 1)
    await tick(loop)
    await drain_tick(service.commands.db, SETTINGS, service.fleet)
    assert [capture.epoch for capture in (await service.desired()).captures] == [1, 2]


async def test_a_lost_capture_is_sent_to_until_its_successor_receives(service: Service) -> None:
    room = ARoomServerWithLives()
    _, loop = await recording(service, room)
    await service.node("node-2")
    await service.captures.node_lost("node-1", "cut off")
    await dispatch_tick(service.commands.db, SETTINGS, service.fleet)
    (successor,) = (await service.desired("node-2")).captures
    await service.prepare("node-2")
    await tick(loop)
    assert (room.heard(ConfigureForwarding), room.heard(StopForwarding)) == ([1, 2], [])
    await service.receive("node-2", only=successor.capture_id)
    await tick(loop)
    assert room.heard(StopForwarding) == [1]


async def test_a_lost_capture_of_an_ended_recording_is_not_sent_to(service: Service) -> None:
    room = ARoomServerWithLives()
    job_id, loop = await recording(service, room)
    await service.captures.node_lost("node-1", "dead")
    await tick(loop)
    assert room.heard(StopForwarding) == []
    await service.commands.stop(job_id, None)
    await tick(loop)
    assert room.heard(StopForwarding) == [1]


async def test_a_lost_standby_without_another_is_sent_to_for_a_while_only(service: Service) -> None:
    room = ARoomServerWithLives()
    _, loop = await recording(service, room)
    await service.pool.execute(
        "INSERT INTO captures (id, job_id, node_id, role, epoch, state, wanted, cost_mcpu, streams, forwarding, "
        "created_at, ended_at) SELECT 's', job_id, node_id, 'standby', 2, 'lost', false, 1, '[]', 'configured', "
        "created_at, clock_timestamp() FROM captures"
    )
    await tick(loop)
    assert room.heard(StopForwarding) == []
    await later(service, LOST_S + 1)
    await tick(loop)
    assert room.heard(StopForwarding) == [2]


async def test_an_answer_that_was_lost_leaves_no_forwarding_behind(service: Service) -> None:
    room = ARoomServerWithLives()
    job_id, loop = await prepared(service, room)
    room.failure = RoomServerUnreachable("no answer within 5 s")
    await tick(loop)
    await service.commands.stop(job_id, None)
    room.failure = None
    await later(service, 1)
    await tick(loop)
    await tick(loop)
    assert room.heard(StopForwarding) == [1]


@pytest.mark.parametrize("times", [1, 15])
async def test_stopping_is_asked_for_until_it_is_heard(service: Service, times: int) -> None:
    room = ARoomServerWithLives()
    job_id, loop = await recording(service, room)
    await service.commands.stop(job_id, None)
    room.failure = RoomServerUnreachable("away")
    for _ in range(times):
        await tick(loop)
        await later(service, 1)
    room.failure = None
    async with asyncio.timeout(5):
        await tick(loop)
    assert room.heard(StopForwarding) == [1]
