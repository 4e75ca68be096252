"""A node's core, and what happens to it."""

from typing import Any

import pytest

from edumeet_recording.domain.capture import StreamState
from edumeet_recording.domain.codecs import Codec, Container, Kind
from edumeet_recording.node.core import NodeCore
from edumeet_recording.node.events import (
    Beat,
    DesiredReceived,
    PortsOpened,
    WorkerSaid,
)
from edumeet_recording.node.instructions import (
    Send,
)
from edumeet_recording.node.worker_link import (
    CaptureNumbers,
    ChunkClosed,
    TrackNumbers,
)
from edumeet_recording.wire.node_link import (
    CaptureReport,
    Desired,
    DesiredCapture,
    FinalizeTask,
    Heartbeat,
    NodeLoad,
    OutputOptions,
    Port,
    Stream,
    TapeChunk,
)

AUDIO = Stream(index=0, kind=Kind.AUDIO, codec=Codec.OPUS, payload_type=100, clock_rate=48000)
CAPTURE = DesiredCapture(capture_id="c1", job_id="j1", epoch=1, tape_prefix="tapes/c1", streams=(AUDIO,))
OTHER = CAPTURE.model_copy(update={"capture_id": "c2", "tape_prefix": "tapes/c2"})
PORTS = (Port(index=0, port=40000, rtcp_port=40001),)
TASK = FinalizeTask(
    job_id="j1",
    attempt=1,
    output_prefix="out",
    file_stem="f",
    output=OutputOptions(container=Container.MKV),
    captures=(),
)


def desired(*captures: DesiredCapture, revision: int = 1, finalize: tuple[FinalizeTask, ...] = ()) -> DesiredReceived:
    return DesiredReceived(Desired(revision=revision, captures=captures, finalize=finalize))


def closed(seq: int, capture_id: str = "c1") -> ChunkClosed:
    return ChunkClosed(capture_id, seq, bytes=100, records=2, first_ns=1, last_ns=2)


def stored(seq: int) -> TapeChunk:
    return TapeChunk(seq=seq, key=f"tapes/c1/{seq:06d}.tape", bytes=100, sha256="00")


def numbers(packets: int, capture_id: str = "c1", state: StreamState | None = None, **foreign: int) -> CaptureNumbers:
    track = TrackNumbers(
        index=0,
        ssrc=7,
        packets=packets,
        bytes=10 * packets,
        lost=1,
        reordered=0,
        recovered=0,
        jitter_ms=0.5,
        key_frames=0,
        last_packet_at=5.0 if packets else None,
        state=state or (StreamState.RECEIVING if packets else StreamState.WAITING),
        bitrate_bps=80 * packets,
    )
    return CaptureNumbers(capture_id, (track,), foreign)


def said(message: Any, slot: int = 0) -> WorkerSaid:
    return WorkerSaid(slot, message)


def reported(instructions: list[Any]) -> list[CaptureReport]:
    return [report for each in instructions if isinstance(each, Send) for report in each.message.captures]


def beat(core: NodeCore, load: NodeLoad | None = None) -> Heartbeat:
    *_, send = core.handle(Beat(load or NodeLoad()))
    assert isinstance(send, Send)
    assert isinstance(send.message, Heartbeat)
    return send.message


@pytest.fixture
def core() -> NodeCore:
    return NodeCore(workers=2, slots=1)


@pytest.fixture
def recording(core: NodeCore) -> NodeCore:
    core.handle(desired(CAPTURE))
    core.handle(PortsOpened("c1", "10.0.0.1", PORTS))
    return core
