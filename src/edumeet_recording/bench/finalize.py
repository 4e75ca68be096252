"""What finalizing costs: an hour of one peer (Opus and 1.2 Mb/s VP8), from its tape to a webm by copy.

The tape is really encoded media, looped, with sender reports and a packet in two hundred overtaken. Processor time is
that of the whole finalize process as a node runs it: start, checksums, thumbnails, waveform and check included.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from edumeet_recording.bench import clip
from edumeet_recording.config import environment_of_child
from edumeet_recording.domain.capture import CaptureRole
from edumeet_recording.domain.codecs import CLOCK_RATE_HZ, Codec, Container, Kind
from edumeet_recording.media.rtcp import SenderReport, build_rtcp, ntp_from_seconds
from edumeet_recording.media.rtp import build_rtp, parse_rtp
from edumeet_recording.media.tape import RECORD, ChunkHeader, RecordKind, encode_header
from edumeet_recording.node.finalizing import COMMAND
from edumeet_recording.wire.node_link import FinalizeDone, FinalizeTask, OutputOptions, Stream, TapeChunk, TaskCapture

HOUR_S = 3600
NS = 1_000_000_000
EPOCH_NS = 1_800_000_000 * NS
CHUNK_S = clip.SECONDS
REPORT_S = 2
OVERTAKEN = 1 / 200
RESULT = Path("build/bench/finalize.json")
TARGETS = {"cpu_s_per_hour": 20.0, "peak_rss_mb": 300.0}

_STREAMS = {
    Kind.AUDIO: Stream(
        index=0,
        kind=Kind.AUDIO,
        codec=Codec.OPUS,
        payload_type=clip.AUDIO_PAYLOAD_TYPE,
        ssrc=1,
        clock_rate=CLOCK_RATE_HZ[Codec.OPUS],
        channels=2,
    ),
    Kind.VIDEO: Stream(
        index=1,
        kind=Kind.VIDEO,
        codec=Codec.VP8,
        payload_type=clip.VIDEO_PAYLOAD_TYPE,
        ssrc=2,
        clock_rate=CLOCK_RATE_HZ[Codec.VP8],
    ),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One finalization of `media_s` seconds."""

    media_s: float
    cpu_s: float
    wall_s: float
    peak_rss_bytes: int

    @property
    def figures(self) -> dict[str, float]:
        """What the targets are about. `realtime_factor`: media seconds a second of waiting."""
        return {
            "cpu_s_per_hour": round(self.cpu_s * HOUR_S / self.media_s, 2),
            "peak_rss_mb": round(self.peak_rss_bytes / 1e6, 1),
            "realtime_factor": round(self.media_s / self.wall_s, 1),
        }


class _Tape:
    """The clip, looped: one chunk a round."""

    def __init__(self) -> None:
        parsed = [(one.at, _STREAMS[one.kind], parse_rtp(one.data)) for one in clip.make_clip()]
        self._packets = [(at, stream, packet, bytes(packet.payload)) for at, stream, packet in parsed]
        self._first = {
            stream.kind: packet.timestamp - round(at * stream.clock_rate)
            for at, stream, packet, _ in reversed(self._packets)
        }
        self._sequences = dict.fromkeys(_STREAMS, 0)
        self._chance = random.Random(1)  # noqa: S311 - repeatable is the point

    def chunk(self, number: int) -> bytes:
        """The records of round `number`, in the order they came."""
        begin = number * CHUNK_S
        records = sorted([*self._media(begin), *self._reports(begin)], key=lambda one: one[0])
        header = ChunkHeader(job_id="bench", capture_id="bench", epoch=1, seq=number, tape_prefix="tape")
        body = b"".join(RECORD.pack(at, len(data), stream, kind) + data for at, stream, kind, data in records)
        return encode_header(header) + body

    def _media(self, begin: int) -> Iterator[tuple[int, int, int, bytes]]:
        place, before = 0, -1.0
        for at, stream, packet, payload in self._packets:
            place, before = place + 1 if at == before else 0, at
            self._sequences[stream.kind] += 1
            data = build_rtp(
                payload_type=packet.payload_type,
                sequence=self._sequences[stream.kind],
                timestamp=packet.timestamp + begin * stream.clock_rate,
                ssrc=stream.ssrc or 0,
                payload=payload,
                marker=packet.marker,
            )
            # A tenth of a millisecond between packets that leave together; what is overtaken comes 5 ms late.
            late_s = place * 1e-4 + (0.005 if self._chance.random() < OVERTAKEN else 0)
            yield EPOCH_NS + round((begin + at + late_s) * NS), stream.index, RecordKind.RTP, data

    def _reports(self, begin: int) -> Iterator[tuple[int, int, int, bytes]]:
        for at in range(begin, begin + CHUNK_S, REPORT_S):
            for stream in _STREAMS.values():
                report = SenderReport(
                    ssrc=stream.ssrc or 0,
                    ntp=ntp_from_seconds(77_000 + at),
                    rtp_timestamp=(self._first[stream.kind] + at * stream.clock_rate) & 0xFFFFFFFF,
                    packets=0,
                    octets=0,
                )
                yield EPOCH_NS + at * NS, stream.index, RecordKind.RTCP, build_rtcp(report)


def make_task(storage: Path, seconds: int) -> FinalizeTask:
    """Lay a tape of `seconds` into a folder; the task to make its file."""
    tape = _Tape()
    chunks: list[TapeChunk] = []
    (storage / "tape").mkdir(parents=True)
    for seq in range(seconds // CHUNK_S):
        data = tape.chunk(seq)
        key = f"tape/{seq:08d}"
        (storage / key).write_bytes(data)
        chunks.append(TapeChunk(seq=seq, key=key, bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))
    capture = TaskCapture(
        capture_id="bench",
        node_id="bench",
        epoch=1,
        role=CaptureRole.PRIMARY,
        streams=tuple(_STREAMS.values()),
        chunks=tuple(chunks),
    )
    return FinalizeTask(
        job_id="bench",
        attempt=1,
        output_prefix="recordings/bench",
        file_stem="bench",
        output=OutputOptions(container=Container.WEBM),
        captures=(capture,),
    )


def measure(folder: Path, seconds: int) -> Measured:
    """Make the tape in `folder`, then the file, in a process of its own. Raises `RuntimeError` where that fails."""
    task = make_task(folder / "storage", seconds)
    environment = environment_of_child({"STORAGE_URL": (folder / "storage").as_uri()})
    (folder / "task.json").write_text(task.to_json())
    began = time.monotonic()
    with (folder / "task.json").open() as given, (folder / "said").open("w+") as said:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [*COMMAND, "--work-dir", str(folder / "work")], stdin=given, stdout=said, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.monotonic() - began
        said.seek(0)
        last = said.read().splitlines()[-1]
    if '"finalize_done"' not in last:
        raise RuntimeError(f"finalizing failed: {last[:500]}")
    done = FinalizeDone.model_validate_json(last)
    return Measured(done.duration_s, usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss * 1024)


def _print(measured: Measured) -> None:
    table = Table(title=f"{measured.media_s:.0f} s of Opus and 1.2 Mb/s VP8, tape to webm by copy")
    for column in ("CPU s", "waited s", "peak RSS MB"):
        table.add_column(column, justify="right")
    table.add_row(f"{measured.cpu_s:.1f}", f"{measured.wall_s:.1f}", f"{measured.peak_rss_bytes / 1e6:.0f}")
    console = Console()
    console.print(table)
    for name, limit in TARGETS.items():
        value = measured.figures[name]
        console.print(f"{'[green]✓' if value <= limit else '[red]✗'}[/] {name} {value} (at most {limit})")


def main() -> None:
    """Measure, print, and write the figures; exit code 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=HOUR_S)
    options = parser.parse_args()
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        measured = measure(Path(folder), options.seconds)
    _print(measured)
    RESULT.write_text(json.dumps({**measured.figures, "media_s": measured.media_s}, indent=2) + "\n")
    sys.exit(any(measured.figures[name] > limit for name, limit in TARGETS.items()))


if __name__ == "__main__":
    main()
