"""Tapes made in memory: real encoders' packets of beeps and flashes, put through a seeded network on paper."""

import asyncio
import hashlib
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from edumeet_recording.domain.capture import CaptureRole
from edumeet_recording.domain.codecs import CLOCK_RATE_HZ, Codec, Container, CopyPolicy, Kind, Quality, kind_of
from edumeet_recording.domain.errors import NotFound
from edumeet_recording.media.rtcp import SenderReport, build_rtcp, ntp_from_seconds
from edumeet_recording.media.rtp import build_rtp
from edumeet_recording.media.tape import RECORD, ChunkHeader, RecordKind, encode_header
from edumeet_recording.sim.content import Shape
from edumeet_recording.sim.encode import AudioEncoder, Piece, VideoEncoder
from edumeet_recording.wire.node_link import FinalizeTask, OutputOptions, Stream, TapeChunk, TaskCapture

NS = 1_000_000_000
EPOCH_NS = 1_800_000_000 * NS
CHUNK_NS = 4 * NS


@dataclass(frozen=True)
class Datagram:
    """What is sent at `sent_s` of the meeting; `sequence` is not wrapped."""

    sent_s: float
    sequence: int
    timestamp: int
    marker: bool
    payload: bytes
    key: bool = True


@dataclass(frozen=True)
class Sent:
    """A stream as a room server sends it."""

    codec: Codec
    datagrams: tuple[Datagram, ...]
    index: int
    ssrc: int = 0
    payload_type: int = 0
    reports: tuple[SenderReport, ...] = ()
    report_at_s: tuple[float, ...] = ()

    @property
    def stream(self) -> Stream:
        return Stream(
            index=self.index,
            kind=kind_of(self.codec),
            codec=self.codec,
            payload_type=self.payload_type or 100 + self.index,
            ssrc=self.ssrc or 5000 + self.index,
            clock_rate=CLOCK_RATE_HZ[self.codec],
            channels=2 if self.codec is Codec.OPUS else None,
        )

    def where(self, keep: Callable[[Datagram], bool]) -> "Sent":
        """Only some of the datagrams, as if the others had been lost."""
        return replace(self, datagrams=tuple(one for one in self.datagrams if keep(one)))

    def map(self, change: Callable[[Datagram], Datagram]) -> "Sent":
        return replace(self, datagrams=tuple(change(one) for one in self.datagrams))

    def with_reports(self, every_s: float, *, clock_s: float, error_s: Iterable[float] = (0.0,)) -> "Sent":
        """Sender reports: the sender's clock is `clock_s` at the meeting's start, each report off by the next error."""
        errors = list(error_s)
        last = self.datagrams[-1].sent_s
        times = [every_s * (number + 1) for number in range(int(last / every_s))]
        first = self.datagrams[0]
        reports = tuple(
            SenderReport(
                ssrc=self.stream.ssrc or 0,
                ntp=ntp_from_seconds(clock_s + at + errors[number % len(errors)]),
                rtp_timestamp=(first.timestamp + round((at - first.sent_s) * CLOCK_RATE_HZ[self.codec])) & 0xFFFFFFFF,
                packets=0,
                octets=0,
            )
            for number, at in enumerate(times)
        )
        return replace(self, reports=reports, report_at_s=tuple(times))


@cache
def _video(
    codec: Codec, seconds: int, shape: Shape, first_number: int
) -> tuple[tuple[float, bool, tuple[Piece, ...]], ...]:
    encoder = VideoEncoder(codec, shape=shape, index=0, bit_rate=200_000, key_frame_interval_s=2, first_timestamp=0)
    made: list[tuple[float, bool, tuple[Piece, ...]]] = []
    for number in range(first_number, first_number + seconds * shape.fps):
        burst = encoder.encode(number, force_key=not made)
        made.append((number / shape.fps, burst.key, burst.pieces))
    encoder.close()
    return tuple(made)


@cache
def _audio(codec: Codec, seconds: int) -> tuple[tuple[float, bool, tuple[Piece, ...]], ...]:
    encoder = AudioEncoder(codec, index=0, first_timestamp=0)
    made = tuple((number / 50, True, encoder.encode(number).pieces) for number in range(seconds * 50))
    encoder.close()
    return made


def _sent(
    frames: Iterable[tuple[float, bool, tuple[Piece, ...]]],
    codec: Codec,
    index: int,
    first_sequence: int,
    first_timestamp: int,
) -> Sent:
    datagrams: list[Datagram] = []
    for at, key, pieces in frames:
        for number, piece in enumerate(pieces):
            datagrams.append(
                Datagram(
                    at + number * 0.0005,
                    first_sequence + len(datagrams),
                    (piece.timestamp + first_timestamp) & 0xFFFFFFFF,
                    piece.marker,
                    piece.payload,
                    key,
                )
            )
    return Sent(codec, tuple(datagrams), index)


def video(
    codec: Codec,
    seconds: int,
    *,
    index: int = 1,
    shape: Shape | None = None,
    first_sequence: int = 60_000,
    first_timestamp: int = 0xFFFF_0000,
    first_number: int = 0,
) -> Sent:
    """A flash a second; sequence and timestamp are about to wrap unless told otherwise."""
    frames = _video(codec, seconds, shape or Shape(160, 90, 25), first_number)
    return _sent(frames, codec, index, first_sequence, first_timestamp)


def audio(
    codec: Codec,
    seconds: int,
    *,
    index: int = 0,
    first_sequence: int = 65_500,
    first_timestamp: int = 0xFFFF_FF00,
) -> Sent:
    """A beep a second."""
    return _sent(_audio(codec, seconds), codec, index, first_sequence, first_timestamp)


@dataclass(frozen=True)
class Network:
    """What happens between sender and tape; all of it seeded. `ahead_s`: how fast the node's clock is by `sent_s`."""

    latency_s: float = 0.005
    jitter_s: float = 0.002
    loss: float = 0.0
    overtaken: float = 0.0
    ahead_s: Callable[[float], float] = lambda _: 0.0
    seed: int = 1

    def carry(self, sent: Sent) -> Iterator[tuple[int, Datagram]]:
        """Arrival time and datagram of what gets through."""
        chance = random.Random(f"{self.seed}/{sent.index}")
        for datagram in sent.datagrams:
            late = self.latency_s + chance.random() * self.jitter_s
            late += 0.02 if chance.random() < self.overtaken else 0
            if chance.random() >= self.loss:
                yield EPOCH_NS + round((datagram.sent_s + late) * NS), datagram

    def by_the_nodes_clock(self, arrival_ns: int) -> int:
        """What the node's clock shows at a true time."""
        return arrival_ns + round(self.ahead_s((arrival_ns - EPOCH_NS) / NS) * NS)


@dataclass
class TapeStore:
    """Chunks and files in memory and a folder, as an object store would keep them."""

    folder: Path
    objects: dict[str, bytes] = field(default_factory=dict[str, bytes])

    async def get(self, key: str) -> bytes:
        try:
            return self.objects[key]
        except KeyError:
            raise NotFound(key) from None

    async def put_file(self, key: str, path: Path) -> None:
        await asyncio.to_thread(self._copy, path, self.path(key))

    def adopt(self, *_: object) -> bool:
        return False

    async def put_bytes(self, key: str, data: bytes) -> None:
        self.objects[key] = data

    def path(self, key: str) -> Path:
        """Where a stored file is."""
        return self.folder / key

    def _copy(self, path: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def capture(
    store: TapeStore,
    *sent: Sent,
    network: Network | None = None,
    capture_id: str = "capture",
    epoch: int = 1,
    role: CaptureRole = CaptureRole.PRIMARY,
    streams: tuple[Stream, ...] | None = None,
) -> TaskCapture:
    """Put these streams on a tape, in chunks of four seconds."""
    network = network or Network()
    records: list[tuple[int, int, int, bytes]] = []
    for one in sent:
        for arrival_ns, datagram in network.carry(one):
            data = build_rtp(
                payload_type=one.stream.payload_type,
                sequence=datagram.sequence,
                timestamp=datagram.timestamp,
                ssrc=one.stream.ssrc or 0,
                payload=datagram.payload,
                marker=datagram.marker,
            )
            records.append((arrival_ns, one.index, RecordKind.RTP, data))
        for at_s, report in zip(one.report_at_s, one.reports, strict=True):
            arrival_ns = EPOCH_NS + round((at_s + network.latency_s) * NS)
            records.append((arrival_ns, one.index, RecordKind.RTCP, build_rtcp(report)))
    records.sort(key=lambda record: record[0])
    records = [(network.by_the_nodes_clock(at), *rest) for at, *rest in records]
    chunks = [_chunk(store, capture_id, epoch, seq, part) for seq, part in _by_chunk(records)]
    return TaskCapture(
        capture_id=capture_id,
        node_id="node-1",
        epoch=epoch,
        role=role,
        streams=streams or tuple(dict.fromkeys(one.stream for one in sent)),
        chunks=tuple(chunks),
    )


def _by_chunk(records: list[tuple[int, int, int, bytes]]) -> Iterator[tuple[int, list[tuple[int, int, int, bytes]]]]:
    parts: dict[int, list[tuple[int, int, int, bytes]]] = {}
    for record in records:
        parts.setdefault((record[0] - EPOCH_NS) // CHUNK_NS, []).append(record)
    yield from enumerate(parts.values())


def _chunk(
    store: TapeStore, capture_id: str, epoch: int, seq: int, records: list[tuple[int, int, int, bytes]]
) -> TapeChunk:
    header = ChunkHeader(job_id="job", capture_id=capture_id, epoch=epoch, seq=seq, tape_prefix="tape")
    body = b"".join(RECORD.pack(at, len(data), stream, kind) + data for at, stream, kind, data in records)
    data = encode_header(header) + body
    key = f"tape/{capture_id}/{seq:08d}"
    store.objects[key] = data
    return TapeChunk(seq=seq, key=key, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), records=len(records))


def task(
    *captures: TaskCapture,
    container: Container,
    quality: Quality | None = None,
    include: tuple[Kind, ...] = (Kind.AUDIO, Kind.VIDEO),
    copy: CopyPolicy = CopyPolicy.PREFER,
    thumbnails: bool = True,
    ffmpeg_args: tuple[str, ...] = (),
) -> FinalizeTask:
    """The task of making the file of these captures."""
    return FinalizeTask(
        job_id="job",
        attempt=1,
        output_prefix="recordings/job",
        file_stem="peer",
        output=OutputOptions(
            container=container,
            quality=quality,
            include_audio=Kind.AUDIO in include,
            include_video=Kind.VIDEO in include,
            copy_policy=copy,
            thumbnails=thumbnails,
            ffmpeg_args=ffmpeg_args,
        ),
        captures=captures,
    )
