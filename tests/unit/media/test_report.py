"""What the report says, and what it warns of."""

import json
from dataclasses import replace
from typing import Any

import pytest

from edumeet_recording.domain.codecs import Codec, FileFormat, Kind
from edumeet_recording.media import report
from edumeet_recording.media.clock import Line, TrackClock
from edumeet_recording.media.probe import Decoded, Probe, ProbedStream
from edumeet_recording.media.timeline import Gap, GapCause, Resolution, TrackSummary

SOURCE = report.SourceFacts(
    capture_id="capture",
    node_id="node-1",
    epoch=1,
    role="primary",
    ssrc=5,
    packets=1000,
    bytes=100_000,
    lost=0,
    reordered=3,
    recovered=2,
    duplicates=0,
    retransmitted=1,
    damaged=0,
    dropped_until_key=0,
)


def clock(drift: float | None = 1e-5, residuals: tuple[float, float, float] = (0.1, 0.2, 0.3)) -> TrackClock:
    return TrackClock((Line(90000, 0, 0, drift, residuals),), {})


def track(kind: Kind, *, lost: int = 0, damaged: int = 0, of: TrackClock | None = None) -> report.TrackFacts:
    return report.TrackFacts(
        index=0 if kind is Kind.AUDIO else 1,
        kind=kind,
        codec=Codec.OPUS if kind is Kind.AUDIO else Codec.VP8,
        clock=of or clock(),
        summary=TrackSummary(frames=10, end_s=10.0, resolutions=[Resolution(0, 640, 360)]),
        sources=[replace(SOURCE, lost=lost, damaged=damaged)],
        nudge_ns=None if kind is Kind.AUDIO else 12_000_000,
    )


def file(
    *, made: str = "copy", frames: int = 10, end_s: float = 10.0, errors: int = 0, monotonic: bool = True
) -> report.FileFacts:
    streams = tuple(
        ProbedStream(kind, "x", None, None, None, frames, 0.0, end_s, monotonic) for kind in (Kind.VIDEO, Kind.AUDIO)
    )
    return report.FileFacts(
        key="recordings/job/1/job.webm",
        bytes=1000,
        sha256="00",
        format=FileFormat.WEBM,
        made=made,
        encoder=None,
        start_s=0.0,
        width=640,
        height=360,
        probe=Probe(end_s, streams),
        decoded=Decoded(20, errors, 10.0),
    )


def built(
    *tracks: report.TrackFacts,
    of: report.FileFacts | list[report.FileFacts] | None = None,
    stopped_at: float | None = None,
    cut_short: bool = False,
) -> dict[str, Any]:
    given = tracks or (track(Kind.VIDEO), track(Kind.AUDIO))
    return report.build(
        job_id="job",
        attempt=2,
        started_at=1.5,
        files=of if isinstance(of, list) else [of or file()],
        assets=[
            report.AssetFacts(report.AssetKind.POSTER, "recordings/job/1/poster.jpg", 9, "11", 1.0, 640, 360),
            report.AssetFacts(report.AssetKind.WAVEFORM, "recordings/job/1/waveform.json", 5, "22"),
        ],
        tracks=given,
        notes=["chunk 3 is missing"],
        stopped_at=stopped_at,
        cut_short=cut_short,
    )


def test_a_good_recording_has_no_warning_but_the_notes() -> None:
    made = built()

    assert report.warnings_of(made) == ("chunk 3 is missing",)
    assert json.loads(json.dumps(made)) == made


@pytest.mark.parametrize(("stopped_at", "early_s", "told"), [(14.7, 3.2, True), (11.9, 0.4, False), (11.0, 0, False)])
def test_what_lacks_before_the_stop_is_told(stopped_at: float, early_s: float, told: bool) -> None:
    """The recording begins at 1.5 s and lasts 10 s; it may end early in peace, as where its peer has left."""
    in_peace, cut_short = (built(stopped_at=stopped_at, cut_short=cut_short) for cut_short in (False, True))
    assert in_peace["endsBeforeStopS"] == cut_short["endsBeforeStopS"] == early_s
    assert report.warnings_of(in_peace) == ("chunk 3 is missing",)
    assert (report.warnings_of(cut_short)[1:] == ("no node is known to have recorded the last 3.2 s",)) == told


def test_numbers_of_all_sources_are_added_up() -> None:
    one = track(Kind.VIDEO)

    (stream,) = json.loads(json.dumps(built(replace(one, sources=[SOURCE, SOURCE]))["streams"]))

    assert stream["packets"] == 2000
    assert stream["recovered"] == 4
    assert stream["driftPpm"] == pytest.approx(10)
    assert stream["senderReportNudgeMs"] == 12
    assert len(stream["sources"]) == 2


def test_the_offset_between_audio_and_video_is_told_where_there_are_both() -> None:
    assert built(track(Kind.AUDIO))["avOffsetMs"] is None
    late = replace(track(Kind.VIDEO), av_offset_ms=(5.0, 0.0, 90.0))
    made = built(late, track(Kind.AUDIO))
    assert made["avOffsetMs"] == {"start": 5.0, "middle": 0.0, "end": 90.0}
    assert any("apart by 90 ms" in text for text in report.warnings_of(made))


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (track(Kind.VIDEO, lost=50), "4.8 % of the packets were lost"),
        (track(Kind.VIDEO, damaged=2), "2 frames were dropped"),
        (track(Kind.VIDEO, of=clock(drift=5e-4)), "drifts by 500 ppm"),
        (
            replace(
                track(Kind.VIDEO),
                summary=TrackSummary(
                    frames=20, end_s=10.0, gap_count=1, gap_s=3.0, gaps=[Gap(1.0, 3.0, GapCause.PAUSE)]
                ),
            ),
            "1 gaps, 3.0 s in all",
        ),
        (
            replace(
                track(Kind.VIDEO),
                summary=TrackSummary(
                    frames=20, end_s=10.0, resolutions=[Resolution(0, 640, 360), Resolution(5, 320, 180)]
                ),
            ),
            "changes its size 1 times",
        ),
    ],
)
def test_what_is_wrong_with_a_stream_is_a_warning(facts: report.TrackFacts, text: str) -> None:
    assert any(text in warning for warning in report.warnings_of(built(facts)))


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (file(frames=9), "20 frames were written and 18 are in the file"),
        (file(end_s=9.0), "the file lasts 9.0 s, the tape 10.0 s"),
        (file(errors=3), "3 frames do not decode"),
        (file(monotonic=False), "go back"),
    ],
)
def test_what_is_wrong_with_the_file_is_a_warning(facts: report.FileFacts, text: str) -> None:
    assert any(text in warning for warning in report.warnings_of(built(of=facts)))


def test_a_transcode_may_have_another_number_of_frames() -> None:
    assert report.warnings_of(built(of=file(made="medium", frames=9))) == ("chunk 3 is missing",)


def test_parts_are_told_and_counted_together() -> None:
    first = file(frames=6, end_s=6.0)
    second = replace(file(frames=4, end_s=4.0), key="recordings/job/1/job-part2.webm", start_s=6.0, width=320)

    made = built(of=[first, second])

    assert report.warnings_of(made) == ("chunk 3 is missing",)
    assert made["durationS"] == 10
    assert [(part["name"], part["startS"], part["width"]) for part in made["parts"]] == [
        ("job.webm", 0, 640),
        ("job-part2.webm", 6, 320),
    ]


def test_a_whole_file_has_no_parts_and_lists_what_lies_beside_it() -> None:
    made = built()

    assert made["parts"] == []
    poster, waveform = made["assets"]
    assert poster == {
        "name": "poster.jpg",
        "kind": "poster",
        "bytes": 9,
        "sha256": "11",
        "atS": 1.0,
        "width": 640,
        "height": 360,
    }
    assert waveform == {"name": "waveform.json", "kind": "waveform", "bytes": 5, "sha256": "22"}


def test_silence_that_was_put_in_is_not_what_was_written() -> None:
    assert report.warnings_of(built(of=replace(file(frames=13), filled=6))) == ("chunk 3 is missing",)
