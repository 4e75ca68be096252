"""Makes one job's file of its tape: fetch, scan, write, transcode where needed, check, report, store."""

import asyncio
import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from av.error import FFmpegError

from edumeet_recording.domain.codecs import Container
from edumeet_recording.domain.errors import OrchestratorError
from edumeet_recording.media import report
from edumeet_recording.media.ffmpeg import conversion, convert_argv
from edumeet_recording.media.probe import decode, probe
from edumeet_recording.media.timeline import TrackTimeline
from edumeet_recording.node.demux import Source
from edumeet_recording.node.fetch import ChunkStore, FetchedCapture, FetchedTape, fetch
from edumeet_recording.node.frames import SourceReader, frames, readers
from edumeet_recording.node.mux import FORMAT, INTERMEDIATE, Muxer, decodable
from edumeet_recording.node.scan import Scan, Track, scan
from edumeet_recording.node.transcode import TranscodeFailed, transcode
from edumeet_recording.wire.node_link import FinalizeDone, FinalizedStream, FinalizeFailed, FinalizeTask

PHASES = ("fetch", "scan", "write", "transcode", "check", "store")
Say = Callable[[str, float], None]


class FileStore(ChunkStore, Protocol):
    """Where the tape comes from and the file goes to."""

    async def put_file(self, key: str, path: Path) -> None:
        """Store a file. Raises `Unavailable`."""
        ...

    async def put_bytes(self, key: str, data: bytes) -> None:
        """Store bytes. Raises `Unavailable`."""
        ...


class _NoMediaError(Exception):
    """There is nothing on the tape to make a file of."""


@dataclass(frozen=True, slots=True)
class _Written:
    """What the second pass wrote. `start_ns`: the wall clock at the file's start, epoch nanoseconds."""

    timelines: Sequence[TrackTimeline]
    by_source: Mapping[Source, SourceReader]
    start_ns: int

    @property
    def duration_s(self) -> float:
        return max(timeline.summary.end_s for timeline in self.timelines)


async def assemble(
    task: FinalizeTask, store: FileStore, work_dir: Path, ffmpeg: str, say: Say
) -> FinalizeDone | FinalizeFailed:
    """Carry out the task in `work_dir`, which may be left full; `say` hears phases, each with its fraction."""
    try:
        return await _make(task, store, work_dir, ffmpeg, say)
    except _NoMediaError as error:
        return _failed(task, str(error), no_media=True, retryable=False)
    except TranscodeFailed as error:
        full = "No space left on device" in str(error)
        return _failed(task, f"the disk is full: {error}" if full else str(error))
    except OrchestratorError as error:
        return _failed(task, error.message)
    except (FFmpegError, OSError) as error:
        full = error.errno == errno.ENOSPC
        return _failed(task, f"the disk is full: {error}" if full else str(error))


def _failed(task: FinalizeTask, error: str, *, no_media: bool = False, retryable: bool = True) -> FinalizeFailed:
    return FinalizeFailed(job_id=task.job_id, attempt=task.attempt, error=error, no_media=no_media, retryable=retryable)


async def _make(task: FinalizeTask, store: FileStore, work_dir: Path, ffmpeg: str, say: Say) -> FinalizeDone:
    tape_dir = work_dir / "tape"
    await asyncio.to_thread(tape_dir.mkdir, parents=True, exist_ok=True)
    tape = await fetch(store, task, tape_dir, lambda fraction: say("fetch", fraction))
    scanned = _decodable(scan(tape.captures, task.output, _per_chunk("scan", tape, say)))
    if not scanned.tracks:
        raise _NoMediaError("; ".join(["nothing on the tape can be decoded", *scanned.warnings, *tape.warnings]))

    container = task.output.container
    path = work_dir / f"file.{container}"
    need = conversion(container, [track.codec for track in scanned.tracks], task.output.quality)
    if need is None:
        written = _write(path, FORMAT[container], tape, scanned.tracks, say)
        await asyncio.to_thread(shutil.rmtree, tape_dir)
    else:
        between = work_dir / f"frames.{INTERMEDIATE}"
        written = _write(between, INTERMEDIATE, tape, scanned.tracks, say)
        await asyncio.to_thread(shutil.rmtree, tape_dir)
        need = replace(
            need,
            width=max(timeline.summary.max_width for timeline in written.timelines),
            height=max(timeline.summary.max_height for timeline in written.timelines),
        )
        argv = convert_argv(ffmpeg, str(between), str(path), need)
        await transcode(argv, written.duration_s, lambda fraction: say("transcode", fraction))
    made = "copy" if need is None else need.quality

    say("check", 0.0)
    file = _check(f"{task.output_prefix}/{task.file_stem}.{container}", path, container, made)
    say("store", 0.0)
    done = _done(task, file, _report(task, tape, scanned, written, file), written.start_ns)
    await store.put_file(done.file_key, path)
    await store.put_bytes(done.report_key, json.dumps(done.report, indent=2).encode())
    say("store", 1.0)
    return done


def _decodable(scanned: Scan) -> Scan:
    """Without the tracks that are not what they say they are."""
    tracks = [track for track in scanned.tracks if decodable(track)]
    warnings = [
        f"{track.kind} stream {track.stream.index}: its first frame does not decode"
        for track in scanned.tracks
        if track not in tracks
    ]
    numbered = [replace(track, number=number) for number, track in enumerate(tracks)]
    return replace(scanned, tracks=numbered, warnings=[*scanned.warnings, *warnings])


def _per_chunk(phase: str, tape: FetchedTape, say: Say) -> Callable[[], None]:
    done = 0

    def on_chunk() -> None:
        nonlocal done
        done += 1
        say(phase, done / tape.chunks)

    return on_chunk


def _write(path: Path, format_name: str, tape: FetchedTape, tracks: Sequence[Track], say: Say) -> _Written:
    """Second pass: every frame of the tape into a file, untouched."""
    timelines = [TrackTimeline(track.kind) for track in tracks]
    by_source = readers(tracks)
    start_ns = None
    with Muxer(path, format_name, tracks) as muxer:
        for timed in frames(tape.captures, by_source, _per_chunk("write", tape, say)):
            if start_ns is None:
                start_ns = timed.pts_ns
            sample = timelines[timed.track].add(timed, start_ns)
            if sample is not None:
                muxer.write(sample)
    if start_ns is None:
        raise _NoMediaError("nothing on the tape can be decoded")
    return _Written(timelines, by_source, start_ns)


def _check(key: str, path: Path, container: Container, made: str) -> report.FileFacts:
    probed = probe(path)
    return report.FileFacts(
        key=key,
        bytes=path.stat().st_size,
        sha256=_sha256(path),
        container=container,
        made=made,
        probe=probed,
        decoded=decode(path, probed.duration_s),
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _report(
    task: FinalizeTask, tape: FetchedTape, scanned: Scan, written: _Written, file: report.FileFacts
) -> dict[str, object]:
    notes = [*tape.warnings, *scanned.warnings]
    if scanned.foreign:
        notes.append(f"{scanned.foreign} datagrams on the tape are none of the streams'")
    return report.build(
        job_id=task.job_id,
        attempt=task.attempt,
        started_at=written.start_ns / 1e9,
        file=file,
        tracks=[_track_facts(track, tape.captures, written) for track in scanned.tracks],
        notes=notes,
    )


def _track_facts(track: Track, captures: Sequence[FetchedCapture], written: _Written) -> report.TrackFacts:
    return report.TrackFacts(
        index=track.stream.index,
        kind=track.kind,
        codec=track.codec,
        clock=track.clock,
        summary=written.timelines[track.number].summary,
        sources=[_source_facts(source, track, captures, written.by_source[source]) for source in track.sources],
        nudge_ns=track.nudge_ns,
    )


def _source_facts(
    source: Source, track: Track, captures: Sequence[FetchedCapture], reader: SourceReader
) -> report.SourceFacts:
    capture, seen = captures[source.capture].capture, track.sources[source]
    return report.SourceFacts(
        capture_id=capture.capture_id,
        node_id=capture.node_id,
        epoch=capture.epoch,
        role=capture.role,
        ssrc=source.ssrc,
        packets=seen.packets,
        bytes=seen.bytes,
        lost=reader.reorderer.lost,
        reordered=reader.reorderer.reordered,
        recovered=reader.reorderer.recovered,
        duplicates=reader.reorderer.duplicates,
        retransmitted=seen.retransmitted,
        damaged=reader.depacketizer.damaged,
        dropped_until_key=reader.depacketizer.dropped_until_key,
    )


def _done(task: FinalizeTask, file: report.FileFacts, made: dict[str, object], start_ns: int) -> FinalizeDone:
    duration_s = file.probe.duration_s
    return FinalizeDone(
        job_id=task.job_id,
        attempt=task.attempt,
        file_key=file.key,
        report_key=f"{task.output_prefix}/report.json",
        bytes=file.bytes,
        sha256=file.sha256,
        duration_s=round(duration_s, 3),
        started_at=start_ns / 1e9,
        ended_at=start_ns / 1e9 + duration_s,
        streams=tuple(
            FinalizedStream(
                kind=stream.kind,
                codec=stream.codec,
                width=stream.width,
                height=stream.height,
                channels=stream.channels,
                duration_s=round(stream.end_s - stream.start_s, 3),
            )
            for stream in file.probe.streams
        ),
        warnings=report.warnings_of(made),
        report=made,
    )
