"""The report of a finished file: what came, what was lost, how the clock ran, how it was made, what to beware of."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from edumeet_recording.domain.codecs import Codec, FileFormat, Kind
from edumeet_recording.media.clock import TrackClock
from edumeet_recording.media.probe import Decoded, Probe
from edumeet_recording.media.timeline import TrackSummary

VERSION = 1
LOSS_WARN = 0.01
DRIFT_WARN_PPM = 300
OFFSET_WARN_MS = 80
DURATION_TOLERANCE_S = 0.5
GAPS_WARN_S = 1.0
CUT_SHORT_WARN_S = 0.5


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What came from one SSRC of one capture. `lost`: packets that never came, to no capture; `damaged`: frames with
    missing parts; `filled`: packets that other captures had and this had not, and `gave` the other way round."""

    capture_id: str
    node_id: str
    epoch: int
    role: str
    ssrc: int
    packets: int
    bytes: int
    lost: int
    reordered: int
    recovered: int
    duplicates: int
    retransmitted: int
    damaged: int
    dropped_until_key: int
    filled: int = 0
    gave: int = 0


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """What is known of one track of the file."""

    index: int
    kind: Kind
    codec: Codec
    clock: TrackClock
    summary: TrackSummary
    sources: Sequence[SourceFacts]
    nudge_ns: int | None
    av_offset_ms: tuple[float, float, float] | None = None
    """How far video is shown after the audio of the same moment at start, middle and end; None: not known."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file. `start_s`: where it begins in the recording; `made`: `copy`, or the quality it was encoded with.

    `encoder`: what encoded the video, None where nothing did. Size in pixels, 0 without video.
    """

    key: str
    bytes: int
    sha256: str
    format: FileFormat
    made: str
    encoder: str | None
    start_s: float
    width: int
    height: int
    probe: Probe
    decoded: Decoded
    filled: int = 0
    """Packets of silence that were put into gaps."""

    @property
    def name(self) -> str:
        """The last segment of its key."""
        return self.key.rpartition("/")[2]


class AssetKind(StrEnum):
    """What lies beside the file."""

    POSTER = "poster"
    THUMBNAIL = "thumbnail"
    WAVEFORM = "waveform"
    PART = "part"
    MANIFEST = "manifest"


@dataclass(frozen=True, slots=True)
class AssetFacts:
    """Something stored beside the file. Pictures have a size in pixels, and `at_s`: where in the recording."""

    kind: AssetKind
    key: str
    bytes: int
    sha256: str
    at_s: float | None = None
    width: int | None = None
    height: int | None = None


def build(
    *,
    job_id: str,
    attempt: int,
    started_at: float,
    files: Sequence[FileFacts],
    assets: Sequence[AssetFacts],
    tracks: Sequence[TrackFacts],
    notes: Sequence[str],
    stopped_at: float | None = None,
    cut_short: bool = False,
) -> dict[str, object]:
    """The report as JSON values; times in seconds, `startedAt` since the epoch.

    `stopped_at` since the epoch; `cut_short`: no node is known to have recorded until then.
    `files` is one, or the parts of a recording that was cut; `parts` is empty where it is whole.
    """
    file = files[0]
    lasts_s = duration_s(files)
    early_s = 0.0 if stopped_at is None else max(0.0, stopped_at - started_at - lasts_s)
    is_short = cut_short and early_s >= CUT_SHORT_WARN_S
    ending = [f"no node is known to have recorded the last {early_s:.1f} s"] if is_short else []
    return {
        "version": VERSION,
        "jobId": job_id,
        "attempt": attempt,
        "startedAt": started_at,
        "durationS": round(lasts_s, 3),
        "endsBeforeStopS": round(early_s, 3),
        "file": {
            "key": file.key,
            "bytes": file.bytes,
            "sha256": file.sha256,
            "format": file.format,
            "made": file.made,
            "encoder": file.encoder,
        },
        "parts": parts(files),
        "assets": [_asset(asset) for asset in assets],
        "streams": [_stream(track) for track in tracks],
        "avOffsetMs": _av_offsets(tracks),
        "checks": {
            "framesWritten": sum(track.summary.frames for track in tracks),
            "framesFound": _frames(files),
            "framesDecoded": sum(one.decoded.frames for one in files),
            "decodeErrors": sum(one.decoded.errors for one in files),
            "decodedS": round(sum(one.decoded.seconds for one in files), 3),
        },
        "warnings": [*notes, *ending, *_track_warnings(tracks), *_file_warnings(files, tracks)],
    }


def parts(files: Sequence[FileFacts]) -> list[dict[str, object]]:
    """The parts of a recording that was cut; none where it is whole."""
    return [
        {
            "name": one.name,
            "startS": round(one.start_s, 3),
            "durationS": round(one.probe.duration_s, 3),
            "width": one.width,
            "height": one.height,
            "bytes": one.bytes,
            "sha256": one.sha256,
        }
        for one in (files if len(files) > 1 else ())
    ]


def duration_s(files: Sequence[FileFacts]) -> float:
    """How long the recording is: to the end of its last part."""
    return files[-1].start_s + files[-1].probe.duration_s


def _asset(asset: AssetFacts) -> dict[str, object]:
    name = asset.key.rpartition("/")[2]
    told: dict[str, object] = {"name": name, "kind": asset.kind, "bytes": asset.bytes, "sha256": asset.sha256}
    if asset.at_s is not None:
        told |= {"atS": round(asset.at_s, 3), "width": asset.width, "height": asset.height}
    return told


def _frames(files: Sequence[FileFacts]) -> int:
    """What came of the tape, in the files."""
    return sum(sum(stream.frames for stream in one.probe.streams) - one.filled for one in files)


def warnings_of(made: Mapping[str, object]) -> tuple[str, ...]:
    """The warnings of a report that `build` made."""
    warnings = made["warnings"]
    return tuple(str(text) for text in warnings) if isinstance(warnings, list) else ()


def _stream(track: TrackFacts) -> dict[str, object]:
    summary = track.summary
    return {
        "index": track.index,
        "kind": track.kind,
        "codec": track.codec,
        "startS": round(summary.start_s, 3),
        "endS": round(summary.end_s, 3),
        "frames": summary.frames,
        "bytes": summary.bytes,
        "duplicateFrames": summary.duplicates,
        "keyFrames": summary.key_frames,
        "packets": _total(track, "packets"),
        "lost": _total(track, "lost"),
        "recovered": _total(track, "recovered"),
        "reordered": _total(track, "reordered"),
        "damagedFrames": _total(track, "damaged"),
        "droppedUntilKey": _total(track, "dropped_until_key"),
        "driftPpm": _drift_ppm(track.clock),
        "clockResidualMs": [list(line.residuals_ms) for line in track.clock.lines],
        "senderReportNudgeMs": None if track.nudge_ns is None else round(track.nudge_ns / 1e6, 3),
        "gapCount": summary.gap_count,
        "gapS": round(summary.gap_s, 3),
        "gaps": [
            {"atS": round(gap.at_s, 3), "durationS": round(gap.duration_s, 3), "cause": gap.cause}
            for gap in summary.gaps
        ],
        "resolutions": [
            {"atS": round(one.at_s, 3), "width": one.width, "height": one.height} for one in summary.resolutions
        ],
        "sources": [asdict(source) for source in track.sources],
    }


def _total(track: TrackFacts, name: str) -> int:
    return sum(getattr(source, name) for source in track.sources)


def _drift_ppm(clock: TrackClock) -> float | None:
    return next((round(line.drift * 1e6, 2) for line in clock.lines if line.drift is not None), None)


def _av_offsets(tracks: Sequence[TrackFacts]) -> dict[str, float] | None:
    """Of the first video track whose sender reported enough to tell."""
    known = next((track.av_offset_ms for track in tracks if track.av_offset_ms is not None), None)
    return None if known is None else dict(zip(("start", "middle", "end"), known, strict=True))


def _track_warnings(tracks: Iterable[TrackFacts]) -> Iterable[str]:
    for track in tracks:
        name, summary = f"{track.kind} stream {track.index}", track.summary
        lost, packets = _total(track, "lost"), _total(track, "packets")
        if lost > LOSS_WARN * (lost + packets):
            yield f"{name}: {100 * lost / (lost + packets):.1f} % of the packets were lost"
        if damaged := _total(track, "damaged") + _total(track, "dropped_until_key"):
            yield f"{name}: {damaged} frames were dropped because parts of them, or of what they refer to, were missing"
        if summary.gap_s >= GAPS_WARN_S:
            yield f"{name}: {summary.gap_count} gaps, {summary.gap_s:.1f} s in all"
        drift = _drift_ppm(track.clock)
        if drift is not None and abs(drift) > DRIFT_WARN_PPM:
            yield f"{name}: the sender's clock drifts by {drift:.0f} ppm"
    offsets = _av_offsets(list(tracks))
    if offsets and max(map(abs, offsets.values())) > OFFSET_WARN_MS:
        yield f"audio and video may be apart by {max(map(abs, offsets.values())):.0f} ms"


def _file_warnings(files: Sequence[FileFacts], tracks: Sequence[TrackFacts]) -> Iterable[str]:
    by_copy = files[0].made == "copy"
    for track in tracks:
        changes = len(track.summary.resolutions) - 1
        if by_copy and changes > 0:
            cut = f": the recording is cut into {len(files)} parts" if len(files) > 1 else ""
            yield f"video stream {track.index}: the picture changes its size {changes} times{cut}"
    written = sum(track.summary.frames for track in tracks)
    if by_copy and written != _frames(files):
        yield f"{written} frames were written and {_frames(files)} are in the file"
    expected = max(track.summary.end_s for track in tracks)
    if abs(expected - duration_s(files)) > DURATION_TOLERANCE_S:
        yield f"the file lasts {duration_s(files):.1f} s, the tape {expected:.1f} s"
    if errors := sum(one.decoded.errors for one in files):
        yield f"{errors} frames do not decode"
    if not all(stream.monotonic for one in files for stream in one.probe.streams):
        yield "timestamps in the file go back"
