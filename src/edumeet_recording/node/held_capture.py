"""One capture as the node's core sees it: pure bookkeeping of state, chunks and numbers."""

from dataclasses import dataclass, field, replace

from edumeet_recording.domain.capture import CaptureState, StreamState
from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.node.events import AdoptedCapture
from edumeet_recording.node.worker_link import Assign, CaptureNumbers, StreamSpec, SuiteAndKey, TrackNumbers
from edumeet_recording.wire.node_link import CaptureReport, Port, SrtpKey, Stream, StreamStats


@dataclass(slots=True)
class HeldCapture:
    """`streams` empty: left by an earlier life of the node, only to be shipped.

    `slot`: the worker that has it. `read_out`: no worker will close another chunk of it.
    """

    capture_id: str
    job_id: str
    epoch: int
    tape_prefix: str
    streams: tuple[Stream, ...] = ()
    confirmed: bool = False
    slot: int | None = None
    state: CaptureState = CaptureState.ASSIGNED
    ip: str | None = None
    ports: tuple[Port, ...] = ()
    first_packet_at: float | None = None
    error: str | None = None
    draining: bool = False
    read_out: bool = False
    next_seq: int = 0
    stored: int = 0
    unshipped: set[int] = field(default_factory=set[int])
    _numbers: CaptureNumbers | None = None
    _before: dict[int, TrackNumbers] = field(default_factory=dict[int, TrackNumbers])
    """Sums of the workers that died with this capture."""
    _foreign_before: dict[str, int] = field(default_factory=dict[str, int])

    @classmethod
    def adopted(cls, adopted: AdoptedCapture) -> "HeldCapture":
        """One that a worker holds already."""
        holding = adopted.holding
        assign = holding.assign
        return cls(
            assign.capture_id,
            assign.job_id,
            assign.epoch,
            assign.tape_prefix,
            tuple(_stream(spec) for spec in assign.streams),
            assign.confirmed,
            slot=adopted.slot,
            state=CaptureState.PREPARED if holding.first_packet_at is None else CaptureState.RECEIVING,
            ip=adopted.ip,
            ports=adopted.ports,
            first_packet_at=holding.first_packet_at,
            draining=holding.draining,
            next_seq=assign.first_seq,
            stored=adopted.stored,
            unshipped={chunk.seq for chunk in adopted.chunks},
            _numbers=holding.numbers,
        )

    @property
    def over(self) -> bool:
        """True once all it had is stored."""
        return self.read_out and not self.unshipped

    def key(self, seq: int) -> str:
        """Where a chunk is stored."""
        return f"{self.tape_prefix}/{seq:06d}.tape"

    def chunk_closed(self, seq: int) -> bool:
        """Note a chunk in the spool; False where it is known already. Chunks are told in order."""
        if seq < self.next_seq:
            return False
        self.unshipped.add(seq)
        self.next_seq = seq + 1
        return True

    def assign(self) -> Assign:
        """The order for a worker to go on with it."""
        return Assign(
            self.capture_id,
            self.job_id,
            self.epoch,
            self.tape_prefix,
            self.next_seq,
            self.confirmed,
            self.specs(),
        )

    def specs(self) -> tuple[StreamSpec, ...]:
        """The streams for a worker."""
        reached = {track.index: track for track in self._tracks()}
        return tuple(_spec(stream, reached.get(stream.index)) for stream in self.streams)

    def count(self, numbers: CaptureNumbers) -> None:
        """Note the live numbers of the present worker."""
        self._numbers = numbers

    @property
    def lost_its_place(self) -> bool:
        """True where a new worker cannot decrypt what the one before could."""
        unreadable = {track.index for track in self._numbers_now() if track.state == StreamState.UNDECRYPTABLE}
        return any(index in unreadable and track.packets > 0 for index, track in self._before.items())

    def worker_lost(self) -> None:
        """What the worker had counted stays counted."""
        self._before = {track.index: track for track in self._tracks()}
        self._foreign_before = self._foreign()
        self._numbers = None

    def report(self) -> CaptureReport:
        """What the orchestrator is told of it."""
        return CaptureReport(
            capture_id=self.capture_id,
            epoch=self.epoch,
            state=self.state,
            ip=self.ip,
            ports=self.ports,
            first_packet_at=self.first_packet_at,
            streams=tuple(_stats(track) for track in self._tracks()),
            foreign=self._foreign(),
            unshipped_chunks=len(self.unshipped),
            error=self.error,
        )

    def _numbers_now(self) -> tuple[TrackNumbers, ...]:
        return () if self._numbers is None else self._numbers.tracks

    def _tracks(self) -> tuple[TrackNumbers, ...]:
        if self._numbers is None:
            return tuple(self._before.values())
        return tuple(_sum(self._before.get(track.index), track) for track in self._numbers.tracks)

    def _foreign(self) -> dict[str, int]:
        foreign = dict(self._foreign_before)
        if self._numbers is not None:
            for cause, count in self._numbers.foreign.items():
                foreign[cause] = foreign.get(cause, 0) + count
        return foreign


def _spec(stream: Stream, reached: TrackNumbers | None) -> StreamSpec:
    """`reached`: where the worker before was with it; of no use where the sender is now another."""
    goes_on = reached is not None and stream.ssrc in (None, reached.ssrc)
    return StreamSpec(
        index=stream.index,
        kind=stream.kind,
        codec=stream.codec,
        payload_type=stream.payload_type,
        clock_rate=stream.clock_rate,
        ssrc=stream.ssrc,
        rtx_payload_type=stream.rtx_payload_type,
        rtx_ssrc=stream.rtx_ssrc,
        source_ip=stream.source_ip,
        source_port=stream.source_port,
        srtp=stream.srtp and (stream.srtp.suite, stream.srtp.key_base64),
        srtp_ours=stream.srtp_ours and (stream.srtp_ours.suite, stream.srtp_ours.key_base64),
        latched_ssrc=reached.ssrc if reached else None,
        srtp_index=reached.srtp_index if reached and goes_on else None,
    )


def _stream(spec: StreamSpec) -> Stream:
    """Back from what a worker was told; it needs no channels."""
    return Stream(
        index=spec.index,
        kind=Kind(spec.kind),
        codec=Codec(spec.codec),
        payload_type=spec.payload_type,
        clock_rate=spec.clock_rate,
        ssrc=spec.ssrc,
        rtx_payload_type=spec.rtx_payload_type,
        rtx_ssrc=spec.rtx_ssrc,
        source_ip=spec.source_ip,
        source_port=spec.source_port,
        srtp=_key(spec.srtp),
        srtp_ours=_key(spec.srtp_ours),
    )


def _key(suite_and_key: SuiteAndKey | None) -> SrtpKey | None:
    if suite_and_key is None:
        return None
    suite, key_base64 = suite_and_key
    return SrtpKey.model_validate({"suite": suite, "key_base64": key_base64})


def _sum(before: TrackNumbers | None, now: TrackNumbers) -> TrackNumbers:
    if before is None:
        return now
    return replace(
        now,
        packets=before.packets + now.packets,
        bytes=before.bytes + now.bytes,
        lost=before.lost + now.lost,
        reordered=before.reordered + now.reordered,
        recovered=before.recovered + now.recovered,
        key_frames=before.key_frames + now.key_frames,
        last_packet_at=now.last_packet_at or before.last_packet_at,
        srtp_index=before.srtp_index if now.srtp_index is None else now.srtp_index,
        state=before.state if now.state == StreamState.WAITING else now.state,
    )


def _stats(track: TrackNumbers) -> StreamStats:
    return StreamStats(
        index=track.index,
        packets=track.packets,
        bytes=track.bytes,
        lost=track.lost,
        reordered=track.reordered,
        recovered=track.recovered,
        jitter_ms=track.jitter_ms,
        key_frames=track.key_frames,
        last_packet_at=track.last_packet_at,
        state=StreamState(track.state),
        bitrate_bps=track.bitrate_bps,
        key_frame_overdue=track.key_frame_overdue,
    )
