import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import httpx2
import pytest
from tests.integration.node.conftest import Start, sending, taped_sequences
from tests.leftovers import children
from tests.waiting import eventually

from edumeet_recording.bench.one_node import OneNode
from edumeet_recording.config import NodeSettings
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.domain.codecs import Codec, Container, Kind
from edumeet_recording.domain.errors import Conflict
from edumeet_recording.media.rtcp import PictureLoss, parse_rtcp
from edumeet_recording.media.rtp import build_rtp, is_rtcp
from edumeet_recording.node.main import run_node
from edumeet_recording.wire.node_link import (
    CaptureDrained,
    ChunkStored,
    DesiredCapture,
    FinalizeFailed,
    FinalizeTask,
    Goaway,
    OutputOptions,
    RequestKeyFrame,
    Stream,
)

AUDIO = Stream(index=0, kind=Kind.AUDIO, codec=Codec.OPUS, payload_type=100, clock_rate=48000, ssrc=10)
VIDEO = Stream(index=1, kind=Kind.VIDEO, codec=Codec.VP8, payload_type=101, clock_rate=90000, ssrc=11)
CAPTURE = DesiredCapture(
    capture_id="c1", job_id="j1", epoch=1, tape_prefix="tapes/j1/c1", confirmed=True, streams=(AUDIO, VIDEO)
)


def stored(settings: NodeSettings) -> list[bytes]:
    """The capture's chunks in the folder store, in order."""
    folder = settings.state_dir / "storage" / "tapes" / "j1" / "c1"
    return [path.read_bytes() for path in sorted(folder.glob("*.tape"))]


def spooled(settings: NodeSettings) -> list[Path]:
    return list((settings.state_dir / "node" / "spool").rglob("*.tape*"))


async def prepared(orchestrator: OneNode, capture: DesiredCapture = CAPTURE) -> tuple[int, ...]:
    await eventually(lambda: orchestrator.links or orchestrator.posts)
    await orchestrator.want(capture)
    await eventually(lambda: state(orchestrator) is CaptureState.PREPARED)
    return tuple(port.port for port in orchestrator.captures["c1"].ports)


def state(orchestrator: OneNode) -> CaptureState | None:
    report = orchestrator.captures.get("c1")
    return report.state if report else None


def worker_pid() -> int:
    (pid,) = [pid for pid in children() if b"node.capture" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return pid


async def drained(orchestrator: OneNode) -> CaptureDrained:
    await orchestrator.want()
    (body,) = await eventually(lambda: orchestrator.journaled(CaptureDrained), timeout=10)
    assert isinstance(body, CaptureDrained)
    return body


async def test_every_packet_gets_from_the_port_to_the_store(orchestrator: OneNode, start_node: Start) -> None:
    async with start_node() as settings:
        port, _ = await prepared(orchestrator)
        async with sending(port) as sender:
            await eventually(lambda: state(orchestrator) is CaptureState.RECEIVING)
            await eventually(lambda: len(orchestrator.journaled(ChunkStored)) >= 2, timeout=10)
        body = await drained(orchestrator)
        assert taped_sequences(stored(settings)) == list(range(sender.sent))
        assert body.report.streams[0].packets == sender.sent
        assert body.chunks == len(orchestrator.journaled(ChunkStored)) == len(stored(settings))
        await eventually(lambda: spooled(settings) == [])


async def test_a_killed_worker_costs_no_packet(orchestrator: OneNode, start_node: Start) -> None:
    async with start_node() as settings:
        port, _ = await prepared(orchestrator)
        worker = worker_pid()
        async with sending(port) as sender:
            await eventually(lambda: state(orchestrator) is CaptureState.RECEIVING)
            count = len(orchestrator.journaled(ChunkStored))
            os.kill(worker, signal.SIGKILL)
            killed = time.monotonic()
            await eventually(lambda: len(orchestrator.journaled(ChunkStored)) > count + 1, timeout=10)
            assert time.monotonic() - killed < 5
        body = await drained(orchestrator)
        assert taped_sequences(stored(settings)) == list(range(sender.sent))
        assert body.report.streams[0].packets == pytest.approx(sender.sent, abs=250), (
            "counted anew since the last report"
        )


async def test_a_worker_that_hangs_is_replaced(orchestrator: OneNode, start_node: Start) -> None:
    async with start_node() as settings:
        port, _ = await prepared(orchestrator)
        worker = worker_pid()
        async with sending(port) as sender:
            await eventually(lambda: state(orchestrator) is CaptureState.RECEIVING)
            os.kill(worker, signal.SIGSTOP)
            await eventually(lambda: worker not in children(), timeout=15)
        await drained(orchestrator)
        assert taped_sequences(stored(settings)) == list(range(sender.sent))


async def test_a_lost_link_changes_nothing_and_what_happened_meanwhile_is_told(
    orchestrator: OneNode, start_node: Start
) -> None:
    async with start_node() as settings:
        port, _ = await prepared(orchestrator)
        async with sending(port) as sender:
            await eventually(lambda: state(orchestrator) is CaptureState.RECEIVING)
            orchestrator.refuse_link = 503
            await orchestrator.hang_up()
            count = len(orchestrator.journaled(ChunkStored))
            await eventually(lambda: len(stored(settings)) > count + 2, timeout=10)
            assert len(orchestrator.journaled(ChunkStored)) == count
            orchestrator.refuse_link = None
            await eventually(lambda: len(orchestrator.journaled(ChunkStored)) > count + 2, timeout=20)
        await drained(orchestrator)
        assert taped_sequences(stored(settings)) == list(range(sender.sent))


async def test_the_journal_is_repeated_until_it_is_acknowledged(orchestrator: OneNode, start_node: Start) -> None:
    orchestrator.acks = False
    async with start_node():
        port, _ = await prepared(orchestrator)
        async with sending(port):
            await eventually(lambda: orchestrator.journaled(ChunkStored), timeout=10)
    orchestrator.journal.clear()
    orchestrator.acks = True
    async with start_node():
        await eventually(lambda: orchestrator.journaled(ChunkStored), timeout=10)
        await eventually(lambda: orchestrator.journaled(CaptureDrained), timeout=10)


async def test_a_stopped_node_ships_what_it_has_and_ends_in_time(orchestrator: OneNode, start_node: Start) -> None:
    async with start_node() as settings:
        port, _ = await prepared(orchestrator)
        async with sending(port) as sender:
            await eventually(lambda: state(orchestrator) is CaptureState.RECEIVING)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert taped_sequences(stored(settings)) == list(range(sender.sent))
    assert orchestrator.journaled(CaptureDrained)


async def test_a_killed_node_ships_in_its_next_life(orchestrator: OneNode, start_node: Start, tmp_path: Path) -> None:
    async with start_node(storage_url=(tmp_path / "elsewhere").as_uri()) as settings:
        port, _ = await prepared(orchestrator)
        async with sending(port):
            await eventually(lambda: orchestrator.journaled(ChunkStored), timeout=10)
        spool = settings.state_dir / "node" / "spool"
        whole = {path.relative_to(spool): path.read_bytes() for path in spool.rglob("*") if path.is_file()}
        elsewhere = len(orchestrator.journaled(ChunkStored))
    # As a kill would have left it: the spool as it was, and a chunk cut off in a record.
    for path, data in whole.items():
        (spool / path).parent.mkdir(exist_ok=True)
        (spool / path).write_bytes(data[:-7] if path.suffix == ".part" else data)
    for name in ("journal.jsonl",):
        (spool.parent / name).unlink()
    orchestrator.journal.clear()
    async with start_node():
        (body,) = await eventually(lambda: orchestrator.journaled(CaptureDrained), timeout=10)
        assert isinstance(body, CaptureDrained)
        assert body.chunks == elsewhere + len(orchestrator.journaled(ChunkStored))
        await eventually(lambda: not list(spool.iterdir()))


async def test_an_unconfirmed_capture_takes_what_came_before_it_was_confirmed(
    orchestrator: OneNode, start_node: Start
) -> None:
    announced = AUDIO.model_copy(update={"ssrc": 999, "payload_type": 111})
    waiting = CAPTURE.model_copy(update={"confirmed": False, "streams": (announced,)})
    async with start_node() as settings:
        (port,) = await prepared(orchestrator, waiting)
        async with sending(port) as sender:
            await eventually(lambda: sender.sent > 50)
            await orchestrator.want(CAPTURE.model_copy(update={"streams": (AUDIO,)}))
            await eventually(lambda: state(orchestrator) is CaptureState.RECEIVING)
        await drained(orchestrator)
        assert taped_sequences(stored(settings)) == list(range(sender.sent))


async def test_garbage_on_one_port_stops_no_recording(orchestrator: OneNode, start_node: Start) -> None:
    other = CAPTURE.model_copy(update={"capture_id": "c2", "tape_prefix": "tapes/j1/c2", "streams": (AUDIO,)})
    async with start_node() as settings:
        await eventually(lambda: orchestrator.links)
        await orchestrator.want(CAPTURE, other)
        await eventually(lambda: {"c1", "c2"} <= orchestrator.captures.keys())
        await eventually(lambda: all(report.ports for report in orchestrator.captures.values()))
        flooded = ("127.0.0.1", orchestrator.captures["c2"].ports[0].port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as garbage:
            async with sending(orchestrator.captures["c1"].ports[0].port) as sender:
                end = time.monotonic() + 2
                while time.monotonic() < end:
                    for _ in range(250):
                        garbage.sendto(b"\x00garbage\x00garbage", flooded)
                    await asyncio.sleep(0.005)
        await orchestrator.want()
        await eventually(lambda: len(orchestrator.journaled(CaptureDrained)) == 2, timeout=10)
        assert taped_sequences(stored(settings)) == list(range(sender.sent))
        assert orchestrator.captures["c2"].foreign["garbage"] > 10_000


async def test_a_key_frame_is_asked_for_at_the_senders_own_address(orchestrator: OneNode, start_node: Start) -> None:
    async with start_node():
        _, port = await prepared(orchestrator)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sfu:
            sfu.settimeout(3)
            packet = build_rtp(payload_type=101, sequence=1, timestamp=1, ssrc=11, payload=b"\x10\x01")
            sfu.sendto(packet, ("127.0.0.1", port))
            data, source = await asyncio.to_thread(sfu.recvfrom, 2048)
            assert source == ("127.0.0.1", port)
            assert is_rtcp(data)
            (asked,) = parse_rtcp(data)
            assert isinstance(asked, PictureLoss)
            assert asked.media_ssrc == 11
            key = build_rtp(payload_type=101, sequence=2, timestamp=2, ssrc=11, payload=b"\x10\x00")
            sfu.sendto(key, ("127.0.0.1", port))
            await eventually(lambda: sum(each.key_frames for each in orchestrator.captures["c1"].streams) == 1)
            await orchestrator.say(RequestKeyFrame(capture_id="c1"))
            assert isinstance(parse_rtcp(await asyncio.to_thread(sfu.recv, 2048))[0], PictureLoss)
        await drained(orchestrator)


async def test_heartbeats_are_posted_where_a_proxy_refuses_the_link(orchestrator: OneNode, start_node: Start) -> None:
    orchestrator.refuse_link = 400
    async with start_node() as settings:
        port, _ = await prepared(orchestrator)
        async with sending(port) as sender:
            await eventually(lambda: state(orchestrator) is CaptureState.RECEIVING)
        await drained(orchestrator)
        assert orchestrator.links == 0
        assert taped_sequences(stored(settings)) == list(range(sender.sent))


async def test_a_node_registers_with_what_it_is_and_keeps_its_token(orchestrator: OneNode, start_node: Start) -> None:
    async with start_node(registration_secret="s3cret", node_region="eu", processing_slots=2) as settings:  # noqa: S106 - a test's own
        await eventually(lambda: orchestrator.links)
        health = await _get(str(orchestrator.registrations[0]["url"]) + "/health")
        assert health.json()["nodeId"] == "node-1"
        metrics = (await _get(f"{orchestrator.registrations[0]['url']}/metrics")).text
        assert "edumeet_recording_node_captures 0.0" in metrics
        assert 'edumeet_recording_node_streams{state="stalled"} 0.0' in metrics
    (body,) = orchestrator.registrations
    assert orchestrator.secrets == ["s3cret"]
    assert (body["nodeId"], body["region"], body["processingSlots"]) == ("node-1", "eu", 2)
    identity = settings.state_dir / "node" / "identity.json"
    assert identity.stat().st_mode & 0o777 == 0o600


async def test_only_what_is_new_of_a_node_is_registered_again(orchestrator: OneNode, start_node: Start) -> None:
    async with start_node(node_url="http://127.0.0.1:1"):
        await eventually(lambda: orchestrator.links)
    async with start_node(node_url="http://127.0.0.1:1"):
        await eventually(lambda: orchestrator.links == 2)
    assert len(orchestrator.registrations) == 1
    async with start_node(node_url="http://127.0.0.1:2"):
        await eventually(lambda: orchestrator.links == 3)
    assert [body["url"] for body in orchestrator.registrations] == ["http://127.0.0.1:1", "http://127.0.0.1:2"]


async def test_a_node_whose_news_are_refused_works_on_with_its_token(orchestrator: OneNode, start_node: Start) -> None:
    async with start_node(processing_slots=1):
        await eventually(lambda: orchestrator.links)
    orchestrator.refuse_registration = True
    async with start_node(processing_slots=2):
        await eventually(lambda: orchestrator.links == 2)
    assert len(orchestrator.registrations) == 2


async def test_a_token_that_no_longer_holds_is_replaced(orchestrator: OneNode, start_node: Start) -> None:
    async with start_node():
        await eventually(lambda: orchestrator.links)
        orchestrator.token = "token-2"  # noqa: S105 - a test's own
        await orchestrator.hang_up()
        await eventually(lambda: orchestrator.links == 2, timeout=10)
    assert len(orchestrator.registrations) == 2


async def test_a_node_that_is_sent_away_comes_back(orchestrator: OneNode, start_node: Start) -> None:
    async with start_node():
        await eventually(lambda: orchestrator.links)
        await orchestrator.say(Goaway(reason="shutdown"))
        await eventually(lambda: orchestrator.links == 2)


async def test_a_finalization_that_cannot_even_begin_is_told(orchestrator: OneNode, start_node: Start) -> None:
    task = FinalizeTask(
        job_id="j1",
        attempt=1,
        output_prefix="files/j1",
        file_stem="f",
        output=OutputOptions(container=Container.MKV),
        captures=(),
    )
    async with start_node():
        await eventually(lambda: orchestrator.links)
        await orchestrator.want(finalize=(task,))
        (body,) = await eventually(lambda: orchestrator.journaled(FinalizeFailed), timeout=20)
        assert isinstance(body, FinalizeFailed)
        assert (body.job_id, body.attempt) == ("j1", 1)


async def test_two_nodes_cannot_share_a_state_directory(orchestrator: OneNode, start_node: Start) -> None:
    async with start_node() as settings:
        await eventually(lambda: orchestrator.links)
        with pytest.raises(Conflict, match="another node works in"):
            await run_node(settings, asyncio.Event(), asyncio.Event())


async def _get(url: str) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False) as client:
        return await client.get(url)
