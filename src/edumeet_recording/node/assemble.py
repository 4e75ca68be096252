"""Makes one job's file of its tape: fetch, scan, write, transcode where needed, check, picture, report, store."""

import asyncio
import errno
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from av.error import FFmpegError

from edumeet_recording.domain.codecs import CopyPolicy, file_format
from edumeet_recording.domain.errors import OrchestratorError, Unavailable
from edumeet_recording.media import report
from edumeet_recording.media.ffmpeg import LIBAVFORMAT, Conversion, NotCopyable, conversion
from edumeet_recording.media.timeline import TrackTimeline
from edumeet_recording.node.besides import Besides, checked, make_assets
from edumeet_recording.node.fetch import ChunkStore, FetchedTape, fetch
from edumeet_recording.node.findings import Written, notes_of, track_facts
from edumeet_recording.node.frames import frames
from edumeet_recording.node.mux import INTERMEDIATE, decodable
from edumeet_recording.node.parts import PartWriter
from edumeet_recording.node.pictures import Waveform
from edumeet_recording.node.reader import readers
from edumeet_recording.node.scan import Scan, scan
from edumeet_recording.node.transcode import Converter, TranscodeFailed, convert
from edumeet_recording.wire.node_link import FinalizeDone, FinalizedStream, FinalizeFailed, FinalizeTask

PHASES = ("fetch", "scan", "write", "transcode", "check", "store")
Say = Callable[[str, float], None]


class FileStore(ChunkStore, Protocol):
    """Where the tape comes from and the file goes to."""

    async def put_file(self, key: str, path: Path) -> None:
        """Store a file. Raises `Unavailable`."""
        ...

    def adopt(self, key: str, path: Path) -> bool:
        """Store a file as a second name of the same bytes on disk; False where that cannot be."""
        ...

    async def put_bytes(self, key: str, data: bytes) -> None:
        """Store bytes. Raises `Unavailable`."""
        ...


class _NoMediaError(Exception):
    """There is nothing on the tape to make a file of."""


@dataclass(frozen=True, slots=True)
class _Made:
    """The files, the first with the task's name, and how they came about."""

    written: Written
    paths: Sequence[Path]
    made: str
    encoder: str | None
    notes: Sequence[str]


async def assemble(
    task: FinalizeTask, store: FileStore, work_dir: Path, converter: Converter, say: Say
) -> FinalizeDone | FinalizeFailed:
    """Carry out the task in `work_dir`, which may be left full; `say` hears phases, each with its fraction."""
    try:
        return await _make(task, store, work_dir, converter, say)
    except _NoMediaError as error:
        return _failed(task, str(error), no_media=True, retryable=False)
    except NotCopyable as error:
        return _failed(task, str(error), retryable=False)
    except TranscodeFailed as error:
        return _disk_full(task, error) if error.disk_full else _failed(task, str(error))
    except OrchestratorError as error:
        return _failed(task, error.message, unavailable=isinstance(error, Unavailable))
    except (FFmpegError, OSError) as error:
        return _disk_full(task, error) if error.errno == errno.ENOSPC else _failed(task, str(error))


def _disk_full(task: FinalizeTask, error: Exception) -> FinalizeFailed:
    return _failed(task, f"the disk is full: {error}", unavailable=True)


def _failed(
    task: FinalizeTask, error: str, *, no_media: bool = False, retryable: bool = True, unavailable: bool = False
) -> FinalizeFailed:
    return FinalizeFailed(
        job_id=task.job_id,
        attempt=task.attempt,
        error=error,
        no_media=no_media,
        retryable=retryable,
        unavailable=unavailable,
    )


async def _make(task: FinalizeTask, store: FileStore, work_dir: Path, converter: Converter, say: Say) -> FinalizeDone:
    tape_dir = work_dir / "tape"
    await asyncio.to_thread(tape_dir.mkdir, parents=True, exist_ok=True)
    tape = await fetch(store, task, tape_dir, lambda fraction: say("fetch", fraction))
    scanned = _decodable(scan(tape.captures, task.output, _per_chunk("scan", tape, say)))
    if not scanned.tracks:
        raise _NoMediaError("; ".join(["nothing on the tape can be decoded", *scanned.warnings, *tape.warnings]))
    made = await _files(task, tape, scanned, work_dir, converter=converter, say=say)

    say("check", 0.0)
    wave = Waveform(made.written.duration_s) if task.output.thumbnails else None
    files = [
        checked(
            f"{task.output_prefix}/{path.name}",
            path,
            part,
            made=made.made,
            encoder=made.encoder,
            filled=made.written.filled,
            wave=wave,
        )
        for path, part in zip(made.paths, made.written.parts, strict=True)
    ]
    besides = make_assets(task, files, made.paths, wave)
    told = report.build(
        job_id=task.job_id,
        attempt=task.attempt,
        started_at=made.written.start_ns / 1e9,
        files=files,
        assets=besides.facts,
        tracks=[track_facts(track, tape.captures, made.written) for track in scanned.tracks],
        notes=[*notes_of(tape, scanned), *made.notes, *besides.notes],
        stopped_at=task.stopped_at,
        cut_short=task.cut_short,
    )
    say("store", 0.0)
    done = _done(task, files, told, made.written.start_ns)
    await _store(store, done, made.paths, files, besides)
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


async def _files(
    task: FinalizeTask, tape: FetchedTape, scanned: Scan, work_dir: Path, *, converter: Converter, say: Say
) -> _Made:
    """The files, by copy where that will do. The tape is gone then: both together may not fit on the disk."""
    output = task.output
    file = file_format(output.container, include_video=output.include_video)
    need = conversion(
        [track.codec for track in scanned.tracks],
        container=output.container,
        include_video=output.include_video,
        quality=output.quality,
        copy=output.copy_policy,
        args=output.ffmpeg_args,
    )
    path = work_dir / f"{task.file_stem}.{file}"
    if need is None:
        cut = output.copy_policy is CopyPolicy.REQUIRE
        written = _write(PartWriter(path, LIBAVFORMAT[file], scanned.tracks, cut=cut), tape, scanned, say)
        await asyncio.to_thread(shutil.rmtree, work_dir / "tape")
        return _Made(written, [part.path for part in written.parts], "copy", None, ())
    between = work_dir / f"frames.{INTERMEDIATE}"
    written = _write(PartWriter(between, INTERMEDIATE, scanned.tracks, cut=False), tape, scanned, say)
    await asyncio.to_thread(shutil.rmtree, work_dir / "tape")
    need = _fitted(need, written)
    converted = await convert(
        converter,
        between,
        path,
        need,
        duration_s=written.duration_s,
        on_fraction=lambda fraction: say("transcode", fraction),
    )
    between.unlink()
    return _Made(written, [path], need.quality, converted.encoder, converted.notes)


def _fitted(need: Conversion, written: Written) -> Conversion:
    summaries = [timeline.summary for timeline in written.timelines]
    width, height = max(one.max_width for one in summaries), max(one.max_height for one in summaries)
    return replace(need, width=width, height=height)


def _write(writer: PartWriter, tape: FetchedTape, scanned: Scan, say: Say) -> Written:
    """Second pass: every frame of the tape into a file, untouched."""
    timelines = [TrackTimeline(track.kind) for track in scanned.tracks]
    by_source = readers(scanned.tracks)
    start_ns = None
    with writer:
        for timed in frames(scanned.captures, by_source, scanned.twins, _per_chunk("write", tape, say)):
            if start_ns is None:
                start_ns = timed.pts_ns
            sample = timelines[timed.track].add(timed, start_ns)
            if sample is not None:
                writer.write(sample, timed.frame)
    if start_ns is None:
        raise _NoMediaError("nothing on the tape can be decoded")
    return Written(writer.parts, writer.filled, timelines, by_source, start_ns)


async def _store(
    store: FileStore, done: FinalizeDone, paths: Sequence[Path], files: Sequence[report.FileFacts], besides: Besides
) -> None:
    """The report last but the file: where it is, all it lists is."""
    for key, data in besides.contents.items():
        await store.put_bytes(key, data)
    for file, path in zip(files, paths, strict=True):
        await asyncio.to_thread(_settle, path)
        if not await asyncio.to_thread(store.adopt, file.key, path):
            await store.put_file(file.key, path)
    await store.put_bytes(done.report_key, json.dumps(done.report, indent=2).encode())


def _settle(path: Path) -> None:
    """Have a file on the disk, not only on its way there: a second name is no copy."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _done(
    task: FinalizeTask, files: Sequence[report.FileFacts], told: dict[str, object], start_ns: int
) -> FinalizeDone:
    first, duration_s = files[0], report.duration_s(files)
    return FinalizeDone(
        job_id=task.job_id,
        attempt=task.attempt,
        file_key=first.key,
        report_key=f"{task.output_prefix}/report.json",
        bytes=first.bytes,
        sha256=first.sha256,
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
            for stream in first.probe.streams
        ),
        warnings=report.warnings_of(told),
        report=told,
    )
