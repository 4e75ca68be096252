"""What streams do becomes events of their job, each change once; keys get where they are needed, and nowhere else."""

import asyncio
import base64
import json
from dataclasses import replace
from datetime import timedelta

from tests.integration.control.conftest import AUDIO, SETTINGS, VIDEO, Service
from tests.integration.control.test_forwarding import ARoomServer, tick
from tests.integration.control.test_links import linked
from tests.waiting import eventually

from edumeet_recording.control.captures import CaptureCommands
from edumeet_recording.control.commands import Commands
from edumeet_recording.control.deadlines import deadline_tick
from edumeet_recording.control.forwarding import ForwardingLoop
from edumeet_recording.control.node_links import NodeLinks, apply_heartbeat
from edumeet_recording.control.room_links import RoomLinks
from edumeet_recording.control.starts import Starts
from edumeet_recording.domain.capture import CaptureState, StreamState
from edumeet_recording.domain.job import JobStatus, Reason
from edumeet_recording.domain.request import SrtpParameters
from edumeet_recording.store import views
from edumeet_recording.wire.node_link import CaptureReport, Heartbeat, HeartbeatPost, NodeLoad, SrtpKey, StreamStats
from edumeet_recording.wire.room_link import ConfigureForwarding

THEIRS = SrtpKey(suite="AES_CM_128_HMAC_SHA1_80", key_base64=base64.b64encode(bytes(30)).decode())
KEY = SrtpParameters("AEAD_AES_256_GCM", base64.b64encode(bytes(44)).decode())


async def recording(service: Service) -> tuple[str, str]:
    await service.room_server()
    await service.node()
    return await service.start(), await service.receive()


def heard(capture_id: str, *states: StreamState, media: bool = True) -> HeartbeatPost:
    streams = tuple(StreamStats(index=index, state=state, bitrate_bps=7) for index, state in enumerate(states))
    report = CaptureReport(
        capture_id=capture_id,
        epoch=1,
        state=CaptureState.RECEIVING if media else CaptureState.PREPARED,
        first_packet_at=1.0 if media else None,
        streams=streams,
    )
    return HeartbeatPost(node_id="node-1", captures=(report,))


async def test_a_stall_and_its_end_are_told_once_and_a_mute_is_not(service: Service) -> None:
    job_id, capture_id = await recording(service)
    before = await service.events(job_id)
    for audio in (
        StreamState.RECEIVING,
        StreamState.MUTED,
        StreamState.RECEIVING,
        StreamState.STALLED,
        StreamState.STALLED,
        StreamState.RECEIVING,
    ):
        await apply_heartbeat(service.captures, "node-1", heard(capture_id, audio, StreamState.RECEIVING))
    assert await service.events(job_id) == [*before, "stream_stalled", "stream_recovered"]
    data = json.loads(await service.pool.fetchval("SELECT data::text FROM job_events WHERE type = 'stream_stalled'"))
    assert data == {"captureId": capture_id, "nodeId": "node-1", "epoch": 1, "streamIndex": 0, "state": "stalled"}
    assert (await service.job(job_id)).reason is None


async def test_over_a_link_each_change_is_told_once_however_often_numbers_are_kept(service: Service) -> None:
    job_id, capture_id = await recording(service)
    before = await service.events(job_id)
    links = NodeLinks(service.captures, "replica-1")
    states = (StreamState.RECEIVING, StreamState.STALLED, StreamState.STALLED, StreamState.RECEIVING)
    async with linked(links, "node-1") as wire:
        for number, audio in enumerate(states, 1):
            beat = heard(capture_id, audio, StreamState.MUTED).captures
            wire.say(Heartbeat(load=NodeLoad(captures=number), captures=beat))
            await eventually(lambda number=number: _kept(service, links, number))
    assert await service.events(job_id) == [*before, "stream_stalled", "stream_recovered"]


async def _kept(service: Service, links: NodeLinks, number: int) -> bool:
    await links.flush_tick()
    load = await service.pool.fetchval("SELECT (load->>'captures')::int FROM ffmpeg_nodes")
    return load == number


async def test_the_state_of_each_stream_is_shown(service: Service) -> None:
    job_id, capture_id = await recording(service)
    post = heard(capture_id, StreamState.MUTED, StreamState.NO_KEY_FRAME)
    await apply_heartbeat(service.captures, "node-1", post)
    shown = await service.commands.db.run(lambda tx: views.recording(tx.conn, job_id, None))
    assert shown is not None
    assert [stream.stats and (stream.stats.state, stream.stats.bitrate_bps) for stream in shown.streams] == [
        (StreamState.MUTED, 7),
        (StreamState.NO_KEY_FRAME, 7),
    ]


async def test_streams_that_fall_silent_after_stop_are_no_event(service: Service) -> None:
    job_id, capture_id = await recording(service)
    await service.commands.stop(job_id, None)
    before = await service.events(job_id)
    await apply_heartbeat(service.captures, "node-1", heard(capture_id, StreamState.STALLED, StreamState.STALLED))
    assert await service.events(job_id) == before


async def test_a_recording_that_cannot_be_decrypted_ends_with_that_reason(service: Service) -> None:
    await service.room_server()
    await service.node()
    job_id = await service.start()
    capture_id = await service.prepare()
    post = heard(capture_id, StreamState.UNDECRYPTABLE, StreamState.WAITING, media=False)
    await apply_heartbeat(service.captures, "node-1", post)
    await apply_heartbeat(service.captures, "node-1", post)
    assert (await service.events(job_id))[-1] == "srtp_error"
    job = await service.job(job_id)
    assert (job.status, job.reason) == (JobStatus.INITIALIZING, Reason.SRTP_ERROR)
    past = timedelta(seconds=2 * SETTINGS.no_media_timeout_s)
    await service.pool.execute("UPDATE recording_jobs SET deadline = deadline - $1::interval", past)
    await deadline_tick(service.commands.db, SETTINGS)
    await service.drain(capture_id)
    job = await service.job(job_id)
    assert (job.status, job.reason) == (JobStatus.FAILED, Reason.SRTP_ERROR)


async def test_the_right_key_mends_it(service: Service) -> None:
    await service.room_server()
    await service.node()
    job_id = await service.start()
    capture_id = await service.prepare()
    wrong = heard(capture_id, StreamState.UNDECRYPTABLE, StreamState.WAITING, media=False)
    await apply_heartbeat(service.captures, "node-1", wrong)
    right = heard(capture_id, StreamState.RECEIVING, StreamState.WAITING)
    await apply_heartbeat(service.captures, "node-1", right)
    assert (await service.events(job_id))[-3:] == ["srtp_error", "recording", "stream_recovered"]
    assert (await service.job(job_id)).reason is None


async def test_a_client_that_encrypts_is_told_the_key_of_what_comes_back(service: Service) -> None:
    await service.room_server()
    await service.node()
    job_id = await service.start(rtp_streams=(replace(AUDIO, srtp=KEY), VIDEO))
    await service.prepare()
    (capture,) = (await service.desired()).captures
    audio, video = capture.streams
    assert audio.srtp is not None
    assert audio.srtp_ours is not None
    assert (audio.srtp.suite, audio.srtp.key_base64) == (KEY.suite, KEY.key_base64)
    assert audio.srtp_ours.suite == KEY.suite
    assert len(base64.b64decode(audio.srtp_ours.key_base64)) == 44
    assert (video.srtp, video.srtp_ours) == (None, None)
    shown = await service.commands.db.run(lambda tx: views.recording(tx.conn, job_id, None))
    assert shown is not None
    assert shown.rtp_forwarding is not None
    assert [port.srtp for port in shown.rtp_forwarding.ports] == [audio.srtp_ours, None]
    assert KEY.key_base64 not in shown.model_dump_json()


async def encrypted(service: Service, room: ARoomServer) -> None:
    """A job whose room server is asked for SRTP."""
    db = service.commands.db
    encrypting = SETTINGS.model_copy(update={"room_server_srtp": THEIRS.suite})
    service.commands = Commands(db, encrypting, CaptureCommands(db, encrypting), Starts(db, encrypting, service.fleet))
    await service.room_server()
    await service.node()
    await service.start(forwarding="room-server")
    await service.prepare()
    links = RoomLinks(db, "replica", 1.0)
    await tick(ForwardingLoop(db, db, links, lambda _url: room, lambda: True, asyncio.TaskGroup()))


async def test_a_room_server_is_asked_for_srtp_with_the_key_that_the_node_has(service: Service) -> None:
    room = ARoomServer()
    room.srtp = THEIRS
    await encrypted(service, room)
    (request,) = room.asked
    assert isinstance(request, ConfigureForwarding)
    assert request.srtp is not None
    (capture,) = (await service.desired()).captures
    assert capture.confirmed
    assert [(stream.srtp, stream.srtp_ours) for stream in capture.streams] == [(THEIRS, request.srtp)] * 2


async def test_a_room_server_that_would_send_in_the_clear_is_refused(service: Service) -> None:
    await encrypted(service, ARoomServer())
    (capture,) = (await service.desired()).captures
    assert not capture.confirmed
    assert "in the clear" in await service.pool.fetchval("SELECT forwarding_error FROM captures")
