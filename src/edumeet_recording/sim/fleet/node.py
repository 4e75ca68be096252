"""A node that records nothing: it says of each capture what a real one would, as soon as it would."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edumeet_recording.domain.capture import CaptureState, StreamState
from edumeet_recording.sim.fleet.link import frame_of
from edumeet_recording.wire import node_link as wire

CHUNK_SHA256 = "0" * 64
LOAD = wire.NodeLoad(cpu_percent=10.0, memory_bytes=2**28, disk_free_bytes=2**36, disk_used_percent=10.0)


class Observer(Protocol):
    """Who measures the fleet."""

    def assigned(self, job_id: str, node_id: str) -> None:
        """A node was told of a capture."""
        ...

    def receiving(self, job_id: str, node_id: str) -> None:
        """Its first packet is there."""
        ...

    def finalized(self, job_id: str) -> None:
        """Its file is made."""
        ...


@dataclass(frozen=True, slots=True)
class _Capture:
    desired: wire.DesiredCapture
    report: wire.CaptureReport


class FleetNode:
    """Pure but for what it is given: `clock` is epoch seconds. One life, one link after another."""

    def __init__(self, node_id: str, observer: Observer, clock: Callable[[], float]) -> None:
        self.node_id = node_id
        self._send: Callable[[bytes], None] = _nowhere
        self._clock = clock
        self._observer = observer
        self._captures: dict[str, _Capture] = {}
        self._finalized: set[tuple[str, int]] = set()
        self._journal: dict[int, wire.JournalEntry] = {}
        self._next_seq = 1
        self._next_port = 40000
        self._heartbeat: bytes | None = None

    @property
    def captures(self) -> int:
        """How many it has."""
        return len(self._captures)

    def linked(self, send: Callable[[bytes], None], version: str) -> None:
        """A link is there that `send` puts frames on: say hello, and all that was not acknowledged."""
        self._send = send
        self._send(frame_of(wire.Hello(node_id=self.node_id, version=version).to_json()))
        self.beat()
        if self._journal:
            self._send(frame_of(wire.Journal(entries=tuple(self._journal.values())).to_json()))

    def beat(self) -> None:
        """The heartbeat, made anew only where something has changed."""
        if self._heartbeat is None:
            reports = tuple(each.report for each in self._captures.values())
            load = LOAD.model_copy(update={"captures": len(reports)})
            self._heartbeat = frame_of(wire.Heartbeat(load=load, captures=reports).to_json())
        self._send(self._heartbeat)

    def hear(self, text: str) -> bool:
        """Do what the orchestrator says; False where it sends us away."""
        match wire.ORCHESTRATOR_MESSAGE.validate_json(text):
            case wire.Desired() as desired:
                self._reconcile(desired)
            case wire.Ack(up_to=up_to):
                self._journal = {seq: entry for seq, entry in self._journal.items() if seq > up_to}
            case wire.RequestKeyFrame():
                pass
            case wire.Goaway():
                return False
        return True

    def _reconcile(self, desired: wire.Desired) -> None:
        wanted = {each.capture_id: each for each in desired.captures}
        gone = [each for each in self._captures.values() if each.desired.capture_id not in wanted]
        changed = [report for each in desired.captures if (report := self._progress(each)) is not None]
        entries = [body for each in gone for body in self._drain(each)]
        entries += [
            self._finalize(task) for task in desired.finalize if (task.job_id, task.attempt) not in self._finalized
        ]
        if changed:
            self._send(frame_of(wire.Report(captures=tuple(changed)).to_json()))
        if changed or gone:
            self._heartbeat = None
        if entries:
            self._note(entries)

    def _progress(self, desired: wire.DesiredCapture) -> wire.CaptureReport | None:
        """Where a capture is now, if that is news: ports open at once, and media as soon as it is known whose."""
        held = self._captures.get(desired.capture_id)
        first_packet_at = held.report.first_packet_at if held else None
        if desired.confirmed and first_packet_at is None:
            first_packet_at = self._clock()
        if held is not None and first_packet_at == held.report.first_packet_at:
            return None
        report = wire.CaptureReport(
            capture_id=desired.capture_id,
            epoch=desired.epoch,
            state=CaptureState.PREPARED if first_packet_at is None else CaptureState.RECEIVING,
            ip="127.0.0.1",
            ports=held.report.ports if held else self._ports(desired),
            first_packet_at=first_packet_at,
            streams=tuple(_numbers(stream, first_packet_at) for stream in desired.streams),
        )
        if held is None:
            self._observer.assigned(desired.job_id, self.node_id)
        if first_packet_at is not None:
            self._observer.receiving(desired.job_id, self.node_id)
        self._captures[desired.capture_id] = _Capture(desired, report)
        return report

    def _ports(self, desired: wire.DesiredCapture) -> tuple[wire.Port, ...]:
        ports: list[wire.Port] = []
        for stream in desired.streams:
            ports.append(wire.Port(index=stream.index, port=self._next_port, rtcp_port=self._next_port + 1))
            self._next_port = 40000 + (self._next_port - 39998) % 10000
        return tuple(ports)

    def _drain(self, capture: _Capture) -> list[wire.JournalBody]:
        del self._captures[capture.desired.capture_id]
        drained = capture.report.model_copy(update={"state": CaptureState.DRAINED})
        now_ns = round(self._clock() * 1e9)
        chunk = wire.TapeChunk(
            seq=0,
            key=f"{capture.desired.tape_prefix}/0.tape",
            bytes=1000,
            sha256=CHUNK_SHA256,
            records=10,
            first_ns=now_ns - 10**9,
            last_ns=now_ns,
        )
        had_media = capture.report.first_packet_at is not None
        stored = [wire.ChunkStored(capture_id=capture.desired.capture_id, chunk=chunk)] if had_media else []
        return [
            *stored,
            wire.CaptureDrained(
                capture_id=capture.desired.capture_id, epoch=capture.desired.epoch, chunks=len(stored), report=drained
            ),
        ]

    def _finalize(self, task: wire.FinalizeTask) -> wire.JournalBody:
        self._finalized.add((task.job_id, task.attempt))
        self._observer.finalized(task.job_id)
        now = self._clock()
        return wire.FinalizeDone(
            job_id=task.job_id,
            attempt=task.attempt,
            file_key=f"{task.output_prefix}/{task.file_stem}.{task.output.container}",
            report_key=f"{task.output_prefix}/report.json",
            bytes=1000,
            sha256=CHUNK_SHA256,
            duration_s=1.0,
            started_at=now - 1,
            ended_at=now,
            streams=(),
        )

    def _note(self, bodies: list[wire.JournalBody]) -> None:
        entries = tuple(wire.JournalEntry(seq=self._next_seq + number, body=body) for number, body in enumerate(bodies))
        self._next_seq += len(entries)
        self._journal.update({entry.seq: entry for entry in entries})
        self._send(frame_of(wire.Journal(entries=entries).to_json()))


def _numbers(stream: wire.Stream, first_packet_at: float | None) -> wire.StreamStats:
    state = StreamState.WAITING if first_packet_at is None else StreamState.RECEIVING
    return wire.StreamStats(index=stream.index, state=state, last_packet_at=first_packet_at)


def _nowhere(_frame: bytes) -> None:
    return None
