"""What a whole node makes of a simulated SFU: lost packets, encryption, bundling, mute and silence."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.node.conftest import Start
from tests.integration.node.test_node import drained, prepared, worker_pid
from tests.waiting import eventually

from edumeet_recording.bench.one_node import OneNode
from edumeet_recording.config import NodeSettings
from edumeet_recording.control.forwarding import sent_streams
from edumeet_recording.domain.capture import StreamState
from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.media.tape import read_records
from edumeet_recording.node.demux import CaptureDemux
from edumeet_recording.sim.forwarding import Delivery
from edumeet_recording.sim.network import Conditions
from edumeet_recording.sim.publisher import PeerMedia
from edumeet_recording.sim.rooms import Rooms
from edumeet_recording.sim.transport import random_key
from edumeet_recording.wire.node_link import DesiredCapture, RequestKeyFrame, SrtpKey, Stream, StreamStats
from edumeet_recording.wire.room_link import (
    Configured,
    ConfigureForwarding,
    RequestedStream,
    RequestKeyFrameOf,
    TargetNode,
)

SUITES = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM")
EXPECTED = (
    Stream(index=0, kind=Kind.AUDIO, codec=Codec.OPUS, payload_type=100, clock_rate=48000),
    Stream(index=1, kind=Kind.VIDEO, codec=Codec.VP8, payload_type=101, clock_rate=90000),
)
CAPTURE = DesiredCapture(capture_id="c1", job_id="j1", epoch=1, tape_prefix="tapes/j1/c1", streams=EXPECTED)
RARE_KEY_FRAMES = PeerMedia(key_frame_interval_s=60)
LOSSY = Conditions(loss=0.02, delay_s=0.02, jitter_s=0.01)


class Sfu:
    """A room with one peer, forwarded to the node."""

    def __init__(self, orchestrator: OneNode, rooms: Rooms) -> None:
        self.orchestrator = orchestrator
        self.rooms = rooms
        self.streams: tuple[Stream, ...] = ()

    async def forward(
        self,
        media: PeerMedia | None = None,
        delivery: Delivery | None = None,
        *,
        ours: SrtpKey | None = None,
        rtcp_mux: bool = True,
        bundled: bool = False,
    ) -> None:
        """The way an orchestrator does it: ports, then the room server, then the streams as they will come."""
        capture = CAPTURE.model_copy(
            update={"streams": tuple(stream.model_copy(update={"srtp_ours": ours}) for stream in EXPECTED)}
        )
        await prepared(self.orchestrator, capture)
        ports = self.orchestrator.captures["c1"].ports
        self.rooms.add_peer("room", "peer", media or PeerMedia(), delivery)
        request = ConfigureForwarding(
            job_id="j1",
            epoch=1,
            room_id="room",
            peer_id="peer",
            target_node=TargetNode(ip="127.0.0.1", ports=()),
            rtcp_mux=rtcp_mux,
            srtp=ours,
            rtp_streams=tuple(
                RequestedStream(
                    index=stream.index,
                    kind=stream.kind,
                    port=ports[0 if bundled else stream.index].port,
                    rtcp_port=ports[0 if bundled else stream.index].rtcp_port,
                    payload_type=stream.payload_type,
                    codec_name=stream.codec,
                    clock_rate=stream.clock_rate,
                )
                for stream in EXPECTED
            ),
        )
        answer = self.rooms.handle(request)
        assert isinstance(answer, Configured)
        self.streams = sent_streams(capture.streams, answer)
        await self.confirm(self.streams)

    async def confirm(self, streams: tuple[Stream, ...]) -> None:
        await self.orchestrator.want(CAPTURE.model_copy(update={"confirmed": True, "streams": streams}))

    @property
    def heard(self) -> dict[Kind, StreamStats]:
        stats = {each.index: each for each in self.orchestrator.captures["c1"].streams}
        return {stream.kind: stats[stream.index] for stream in EXPECTED if stream.index in stats}

    def packets(self, kind: Kind) -> int:
        return self.heard[kind].packets if kind in self.heard else 0

    def recovered(self, kind: Kind) -> int:
        return self.heard[kind].recovered if kind in self.heard else 0

    def state(self, kind: Kind) -> StreamState | None:
        return self.heard[kind].state if kind in self.heard else None

    def taped(self, settings: NodeSettings) -> dict[Kind, list[int]]:
        """The extended sequence numbers of the media packets on the tape, retransmissions in their place."""
        folder = settings.state_dir / "storage" / CAPTURE.tape_prefix
        demux = CaptureDemux(0, self.streams)
        sequences: dict[Kind, list[int]] = {kind: [] for kind in Kind}
        for path in sorted(folder.glob("*.tape")):
            for record in read_records(Path(path).read_bytes()):
                if (glimpse := demux.glance(record)) is not None:
                    sequences[EXPECTED[glimpse.source.stream].kind].append(glimpse.sequence)
        assert demux.foreign == 0
        return sequences


@pytest.fixture
async def sfu(orchestrator: OneNode) -> AsyncIterator[Sfu]:
    rooms = Rooms("127.0.0.1")
    yield Sfu(orchestrator, rooms)
    await rooms.close()


def missing(sequences: list[int]) -> int:
    """How many of a stream's packets never came, the last moment aside: what it lost can still come."""
    end = max(sequences) - 20
    came = {sequence for sequence in sequences if sequence <= end}
    return end - min(came) + 1 - len(came)


@pytest.mark.parametrize("rtx", [False, True])
async def test_what_the_network_loses_comes_back_where_the_sender_answers(
    sfu: Sfu, start_node: Start, rtx: bool
) -> None:
    async with start_node() as settings:
        await sfu.forward(delivery=Delivery(LOSSY, rtx=rtx))
        await eventually(lambda: sum(sfu.packets(kind) for kind in Kind) > 600, timeout=20)
        await eventually(lambda: all(sfu.recovered(kind) > 1 for kind in Kind), timeout=10)
        await drained(sfu.orchestrator)
        taped = sfu.taped(settings).values()
        assert sum(missing(sequences) for sequences in taped) <= 0.005 * sum(len(sequences) for sequences in taped)


async def test_what_nobody_sends_again_is_counted_and_asked_for_as_a_key_frame(sfu: Sfu, start_node: Start) -> None:
    async with start_node() as settings:
        await sfu.forward(RARE_KEY_FRAMES, Delivery(LOSSY, answers_nack=False))
        await eventually(lambda: Kind.VIDEO in sfu.heard and all(sfu.heard[kind].lost > 3 for kind in Kind), timeout=20)
        await eventually(lambda: sfu.heard[Kind.VIDEO].key_frames > 1, timeout=10)
        body = await drained(sfu.orchestrator)
        taped = sfu.taped(settings)
        for stream in body.report.streams:
            kind = EXPECTED[stream.index].kind
            assert stream.recovered == 0
            assert missing(taped[kind]) <= stream.lost <= missing(taped[kind]) + 20


async def test_a_key_frame_that_no_rtcp_brings_is_overdue_until_the_room_server_has_it_sent(
    sfu: Sfu, start_node: Start
) -> None:
    async with start_node():
        await sfu.forward(RARE_KEY_FRAMES, Delivery(Conditions(loss=0.1), hears_rtcp=False))
        await eventually(lambda: Kind.VIDEO in sfu.heard and sfu.heard[Kind.VIDEO].key_frame_overdue, timeout=20)
        before = sfu.heard[Kind.VIDEO].key_frames
        assert not sfu.heard[Kind.AUDIO].key_frame_overdue

        def came() -> bool:
            sfu.rooms.handle(RequestKeyFrameOf(job_id="j1"))
            return sfu.heard[Kind.VIDEO].key_frames > before

        await eventually(came, timeout=10)


@pytest.mark.parametrize("suite", SUITES)
async def test_srtp_is_recorded_in_the_clear_and_answered_with_our_key(sfu: Sfu, start_node: Start, suite: str) -> None:
    async with start_node() as settings:
        await sfu.forward(RARE_KEY_FRAMES, Delivery(LOSSY), ours=random_key(suite))
        await eventually(lambda: sfu.packets(Kind.AUDIO) > 60 and sfu.packets(Kind.VIDEO) > 40, timeout=10)
        await eventually(lambda: any(sfu.recovered(kind) for kind in Kind), timeout=15)
        before = sfu.heard[Kind.VIDEO].key_frames
        await sfu.orchestrator.say(RequestKeyFrame(capture_id="c1"))
        await eventually(lambda: sfu.heard[Kind.VIDEO].key_frames > before, timeout=10)
        body = await drained(sfu.orchestrator)
        assert body.report.foreign.keys() <= {"srtp_replay"}, "duplicates aside"
        assert all(len(sequences) > 40 for sequences in sfu.taped(settings).values())


async def test_a_wrong_key_shows_and_the_right_one_mends_it(sfu: Sfu, start_node: Start) -> None:
    async with start_node():
        await sfu.forward(ours=random_key("AEAD_AES_128_GCM"))
        wrong = random_key("AEAD_AES_128_GCM")
        await sfu.confirm(tuple(stream.model_copy(update={"srtp": wrong}) for stream in sfu.streams))
        await eventually(lambda: {sfu.state(kind) for kind in Kind} == {StreamState.UNDECRYPTABLE}, timeout=15)
        report = sfu.orchestrator.captures["c1"]
        assert report.error is None
        assert report.foreign["srtp_auth"] >= 100
        await sfu.confirm(sfu.streams)
        await eventually(lambda: sfu.state(Kind.AUDIO) is StreamState.RECEIVING, timeout=15)
        await drained(sfu.orchestrator)


async def test_a_killed_worker_is_followed_by_one_that_decrypts(sfu: Sfu, start_node: Start) -> None:
    async with start_node() as settings:
        about_to_roll_over = Delivery(first_sequence=65500)
        await sfu.forward(delivery=about_to_roll_over, ours=random_key("AES_CM_128_HMAC_SHA1_80"))
        for _ in range(2):
            before = sfu.packets(Kind.AUDIO), sfu.packets(Kind.VIDEO)
            await eventually(lambda: sfu.packets(Kind.AUDIO) > before[0] + 60, timeout=15)  # noqa: B023 - called at once
            await eventually(lambda: sfu.packets(Kind.VIDEO) > before[1] + 60, timeout=15)  # noqa: B023 - called at once
            os.kill(worker_pid(), signal.SIGKILL)
        before = sfu.packets(Kind.AUDIO), sfu.packets(Kind.VIDEO)
        await eventually(lambda: sfu.packets(Kind.AUDIO) > before[0] + 60, timeout=15)
        await drained(sfu.orchestrator)
        assert {kind: missing(sequences) for kind, sequences in sfu.taped(settings).items()} == dict.fromkeys(Kind, 0)


@pytest.mark.parametrize("rtcp_mux", [True, False])
async def test_streams_that_share_a_port_are_told_apart_and_answered_from_it(
    sfu: Sfu, start_node: Start, rtcp_mux: bool
) -> None:
    async with start_node() as settings:
        await sfu.forward(RARE_KEY_FRAMES, bundled=True, rtcp_mux=rtcp_mux)
        await eventually(lambda: min(sfu.packets(kind) for kind in Kind) > 40, timeout=10)
        before = sfu.heard[Kind.VIDEO].key_frames
        # Without muxing, where to answer is known from the first report.
        await eventually(lambda: _reported(settings), timeout=10)
        await sfu.orchestrator.say(RequestKeyFrame(capture_id="c1"))
        await eventually(lambda: sfu.heard[Kind.VIDEO].key_frames > before, timeout=10)
        await drained(sfu.orchestrator)
        assert {kind: missing(sequences) for kind, sequences in sfu.taped(settings).items()} == dict.fromkeys(Kind, 0)


def _reported(settings: NodeSettings) -> bool:
    folder = settings.state_dir / "storage" / CAPTURE.tape_prefix
    return any(
        record.kind == 1 and record.stream == 1
        for path in folder.glob("*.tape")
        for record in read_records(path.read_bytes())
    )


async def test_a_mute_is_told_from_silence(sfu: Sfu, start_node: Start) -> None:
    async with start_node():
        await sfu.forward()
        await eventually(lambda: sfu.state(Kind.VIDEO) is StreamState.RECEIVING, timeout=10)
        publisher = sfu.rooms.publisher("room", "peer")
        publisher.send(video=False)
        await eventually(lambda: sfu.state(Kind.VIDEO) is StreamState.MUTED, timeout=15)
        assert sfu.state(Kind.AUDIO) is StreamState.RECEIVING
        publisher.send()
        await eventually(lambda: sfu.state(Kind.VIDEO) is StreamState.RECEIVING, timeout=10)
        await sfu.rooms.close()
        await eventually(lambda: sfu.state(Kind.VIDEO) is StreamState.STALLED, timeout=15)
        await drained(sfu.orchestrator)
