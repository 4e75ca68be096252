"""From placed frames to samples: monotonic, gaps with causes, one of each where sources overlap."""

import pytest

from edumeet_recording.domain.codecs import Kind
from edumeet_recording.media.clock import NS, Observer, align
from edumeet_recording.media.depacketize import Frame
from edumeet_recording.media.timeline import (
    HOLD_NS,
    MAX_LISTED,
    Gap,
    GapCause,
    Holdback,
    Resolution,
    Sample,
    SourceTimeline,
    TimedFrame,
    TrackTimeline,
)

MS = 1_000_000
START_NS = 1_800_000_000 * NS
FRAME = Frame(0, 0, b"picture", True, 640, 360, 0, 0)


def timed(
    at_ms: float,
    *,
    source: str = "a",
    rank: int = 0,
    line: int = 0,
    key: bool = True,
    lost: int = 0,
    data: bytes | None = None,
    duration_ms: float = 0,
    size: tuple[int, int] = (640, 360),
) -> TimedFrame:
    frame = FRAME._replace(key=key, data=data or f"{at_ms}".encode(), width=size[0], height=size[1])
    at_ns = START_NS + round(at_ms * MS)
    return TimedFrame(0, source, rank, line, round(at_ms * 90), at_ns, at_ns, round(duration_ms * MS), lost, frame)


def heard(at_ms: float, *, source: str = "a", line: int = 0, lost: int = 0) -> TimedFrame:
    return timed(at_ms, source=source, line=line, lost=lost, duration_ms=20)


def samples(timeline: TrackTimeline, frames: list[TimedFrame]) -> list[Sample | None]:
    return [timeline.add(frame, START_NS) for frame in frames]


def times_ms(made: list[Sample | None]) -> list[float]:
    return [sample.pts_us / 1000 for sample in made if sample is not None]


def test_times_count_from_the_start_and_never_go_back() -> None:
    timeline = TrackTimeline(Kind.VIDEO)

    made = samples(timeline, [timed(0), timed(40, key=False), timed(30, key=False), timed(80, key=False)])

    assert times_ms(made) == [0, 40, 40.001, 80]
    assert timeline.summary.frames == 4
    assert timeline.summary.key_frames == 1
    assert timeline.summary.end_s == pytest.approx(0.13)


def test_a_late_start_is_kept() -> None:
    timeline = TrackTimeline(Kind.AUDIO)
    samples(timeline, [heard(10_000), heard(10_020)])

    assert timeline.summary.start_s == 10
    assert timeline.summary.end_s == pytest.approx(10.04)
    assert timeline.summary.gaps == []


@pytest.mark.parametrize(
    ("frames", "gap"),
    [
        ([heard(0), heard(100, lost=4)], Gap(0.02, 0.08, GapCause.LOSS)),
        ([heard(0), heard(30_000)], Gap(0.02, 29.98, GapCause.PAUSE)),
        ([heard(0), heard(5000, line=1)], Gap(0.02, 4.98, GapCause.RESTART)),
        ([heard(0), heard(5000, source="b")], Gap(0.02, 4.98, GapCause.HANDOVER)),
        ([heard(0), heard(400)], None),
        ([heard(0), heard(40, lost=1)], None),
        ([heard(0), heard(70, lost=1)], None),
    ],
)
def test_gaps_of_audio_have_causes(frames: list[TimedFrame], gap: Gap | None) -> None:
    timeline = TrackTimeline(Kind.AUDIO)
    samples(timeline, frames)

    assert timeline.summary.gaps == ([gap] if gap else [])
    assert timeline.summary.gap_count == (gap is not None)


@pytest.mark.parametrize(
    ("frames", "cause"),
    [
        ([timed(0), timed(2000, lost=9)], GapCause.LOSS),
        ([timed(0), timed(30_000)], GapCause.PAUSE),
        ([timed(0), timed(400, key=False)], None),
    ],
)
def test_gaps_of_video_have_causes(frames: list[TimedFrame], cause: GapCause | None) -> None:
    timeline = TrackTimeline(Kind.VIDEO)
    samples(timeline, frames)

    assert [gap.cause for gap in timeline.summary.gaps] == ([cause] if cause else [])


def test_gaps_beyond_a_number_are_only_counted() -> None:
    timeline = TrackTimeline(Kind.AUDIO)
    samples(timeline, [heard(100 * number, lost=number) for number in range(MAX_LISTED + 10)])

    assert len(timeline.summary.gaps) == MAX_LISTED
    assert timeline.summary.gap_count == MAX_LISTED + 9


def test_audio_holes_are_filled_from_the_other_capture_and_no_frame_comes_twice() -> None:
    timeline = TrackTimeline(Kind.AUDIO)
    frames = [heard(at) for at in (0, 20, 60, 80)] + [heard(at, source="b") for at in (0, 20, 40, 60, 80)]

    made = samples(timeline, sorted(frames, key=lambda frame: (frame.dts_ns, frame.source)))

    assert times_ms(made) == [0, 20, 40, 60, 80]
    assert timeline.summary.duplicates == 4
    assert timeline.summary.gap_count == 0


def test_audio_by_another_clock_follows_only_where_there_is_room() -> None:
    timeline = TrackTimeline(Kind.AUDIO)

    made = samples(timeline, [heard(0), heard(8, source="b", line=1), heard(18, source="b", line=1)])

    assert times_ms(made) == [0, 18]


def test_video_holes_are_filled_where_both_carry_the_same_pictures() -> None:
    timeline = TrackTimeline(Kind.VIDEO)
    frames = [
        timed(0),
        timed(0, source="b"),
        timed(40, source="b", key=False),
        timed(80, key=False),
        timed(80, source="b", key=False),
    ]

    assert times_ms(samples(timeline, frames)) == [0, 40, 80]


def test_video_of_another_layer_is_never_mixed_in() -> None:
    timeline = TrackTimeline(Kind.VIDEO)
    frames = [
        timed(0, data=b"large"),
        timed(0, source="b", data=b"small"),
        timed(40, source="b", key=False),
        timed(80, key=False),
        timed(120, source="b", key=True),
        timed(160, key=False),
    ]

    assert times_ms(samples(timeline, frames)) == [0, 80, 160]


@pytest.mark.parametrize(("rank", "at_ms", "taken"), [(1, 40, True), (0, 40, False), (0, 600, True)])
def test_video_changes_captures_at_a_key_frame_of_a_newer_one_or_over_a_hole(
    rank: int, at_ms: float, taken: bool
) -> None:
    timeline = TrackTimeline(Kind.VIDEO)

    made = samples(timeline, [timed(0), timed(at_ms, source="b", line=1, rank=rank)])

    assert (made[1] is not None) is taken


def test_sizes_are_told_when_they_change() -> None:
    timeline = TrackTimeline(Kind.VIDEO)
    samples(timeline, [timed(0), timed(1000), timed(2000, size=(360, 640)), timed(3000, size=(0, 0))])

    summary = timeline.summary
    assert summary.resolutions == [Resolution(0, 640, 360), Resolution(2, 360, 640)]
    assert (summary.max_width, summary.max_height) == (640, 640)


def test_b_frames_are_decoded_in_the_order_they_were_sent() -> None:
    shown = [0, 120, 40, 80, 240, 160, 200]
    observer = Observer(90000)
    for number, at_ms in enumerate(shown):
        observer.observe(number, at_ms * 90, START_NS + number * 40 * MS, number)
    source = SourceTimeline(
        track=0, source="a", rank=0, clock=align({"a": observer}), reorder_depth=observer.reorder_depth
    )
    placed = [
        source.place(FRAME._replace(timestamp=at_ms * 90, first_sequence=number), duration_ns=0, lost=0)
        for number, at_ms in enumerate(shown)
    ]
    timeline = TrackTimeline(Kind.VIDEO)

    made = [sample for frame in placed if (sample := timeline.add(frame, placed[0].pts_ns))]

    assert [sample.pts_us / 1000 for sample in made] == shown
    assert all(sample.dts_us <= sample.pts_us for sample in made)
    decoded = [sample.dts_us for sample in made]
    assert decoded == sorted(set(decoded))


def test_frames_without_b_frames_are_decoded_when_they_are_shown() -> None:
    observer = Observer(90000)
    observer.observe(1, 900, START_NS, 0)
    source = SourceTimeline(track=2, source="a", rank=1, clock=align({"a": observer}), reorder_depth=0)

    placed = source.place(FRAME._replace(timestamp=900, first_sequence=1), duration_ns=7, lost=3)

    assert (placed.pts_ns, placed.dts_ns) == (START_NS, START_NS)
    assert (placed.track, placed.rank, placed.duration_ns, placed.lost) == (2, 1, 7, 3)


def test_frames_are_sorted_for_as_long_as_they_are_held() -> None:
    held = Holdback()
    for at_ms in (50, 0, 40):
        held.push([timed(at_ms)])

    early = [frame.pts_ns for frame in held.ready(START_NS + 45 * MS + HOLD_NS)]

    assert early == [START_NS, START_NS + 40 * MS]
    assert [frame.pts_ns for frame in held.rest()] == [START_NS + 50 * MS]
