"""The clock against a simulated sender and network: the true time of every packet is known."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edumeet_recording.media.clock import NS, Observer, Shift, TrackClock, align, av_offsets_ms, nudge, sender_offsets
from edumeet_recording.media.reorder import Extender

EPOCH_NS = 1_800_000_000 * NS
WRAP = 1 << 32


@dataclass
class Simulated:
    """A source: what it sent, by the true time of sending (seconds), and the clock that observed it."""

    rate: int
    drift_ppm: float = 0.0
    base: int = 0
    latency_s: float = 0.01
    jitter_s: float = 0.0
    loss: float = 0.0
    seed: int = 1
    first_sequence: int = 0
    sent: list[tuple[float, int, int]] = field(default_factory=list[tuple[float, int, int]])

    def __post_init__(self) -> None:
        self.observer = Observer(self.rate)
        self._extender = Extender(self.rate)
        self._chance = random.Random(self.seed)
        self._sequence = self.first_sequence

    def timestamp(self, at_s: float) -> int:
        return (self.base + round(at_s * (1 + self.drift_ppm / 1e6) * self.rate)) & 0xFFFFFFFF

    def send(self, start_s: float, end_s: float, every_s: float = 0.1, extra_s: float = 0.0) -> "Simulated":
        """Send packets evenly, `extra_s` later than usual on the way."""
        for number in range(round((end_s - start_s) / every_s)):
            at_s = start_s + number * every_s
            self._sequence += 1
            if self._chance.random() < self.loss:
                continue
            late = self.latency_s + extra_s + self._chance.random() * self.jitter_s
            extended = self._extender.extend(self._sequence & 0xFFFF, self.timestamp(at_s))
            self.observer.observe(*extended, EPOCH_NS + round((at_s + late) * NS), len(self.sent))
            self.sent.append((at_s, *extended))
        return self

    def report(self, at_s: float, ntp_s: float, extra_s: float = 0.0) -> None:
        timestamp = self._extender.timestamp(self.timestamp(at_s))
        self.observer.report(round(ntp_s * NS), timestamp, EPOCH_NS + round((at_s + self.latency_s + extra_s) * NS))

    def errors_ms(self, clock: TrackClock, source: str = "one") -> list[float]:
        """How far each packet is placed from when it was sent plus the smallest latency."""
        return [
            (clock.place(source, sequence, timestamp).wall_ns - EPOCH_NS) / 1e6 - (at_s + self.latency_s) * 1e3
            for at_s, sequence, timestamp in self.sent
        ]


def worst(errors: list[float]) -> float:
    return max(map(abs, errors))


def clock_of(**sources: Simulated) -> TrackClock:
    return align({name: source.observer for name, source in sources.items()})


@pytest.mark.parametrize(("drift_ppm", "rate"), [(-100, 48000), (0, 48000), (100, 90000), (400, 90000)])
def test_two_hours_of_drift(drift_ppm: float, rate: int) -> None:
    source = Simulated(rate, drift_ppm=drift_ppm, base=WRAP - 5 * rate, jitter_s=0.03).send(0, 7200, every_s=0.5)

    clock = clock_of(one=source)

    (line,) = clock.lines
    assert line.drift is not None
    assert line.drift * 1e6 == pytest.approx(-drift_ppm, abs=2)
    assert worst(source.errors_ms(clock)) < 15


def test_a_short_recording_has_no_drift_to_speak_of() -> None:
    source = Simulated(48000, drift_ppm=100, jitter_s=0.03).send(0, 30, every_s=0.02)

    clock = clock_of(one=source)

    assert clock.lines[0].drift is None
    assert worst(source.errors_ms(clock)) < 10


@settings(max_examples=25, deadline=None)
@given(
    source=st.builds(
        Simulated,
        rate=st.sampled_from([8000, 48000, 90000]),
        drift_ppm=st.floats(-200, 200),
        base=st.integers(0, WRAP - 1),
        jitter_s=st.floats(0, 0.05),
        loss=st.floats(0, 0.2),
        seed=st.integers(0, 2**32),
        first_sequence=st.integers(0, 0xFFFF),
    ),
    pause_s=st.floats(0, 300),
)
def test_every_packet_is_near_its_true_time(source: Simulated, pause_s: float) -> None:
    source.send(0, 40).send(40 + pause_s, 100 + pause_s)

    clock = clock_of(one=source)

    assert len(clock.lines) == 1
    # With ten packets a second, a second's smallest is within a third of the jitter of the least, nearly always.
    assert worst(source.errors_ms(clock)) < 5 + source.jitter_s * 350


@settings(max_examples=25, deadline=None)
@given(jump=st.integers(20, 40_000), forwards=st.booleans(), sequence=st.integers(0, 0xFFFF), gap_s=st.floats(0, 20))
def test_a_restart_keeps_its_place_in_time(jump: int, forwards: bool, sequence: int, gap_s: float) -> None:
    """A publisher comes back with the same SSRC: its timestamps are anywhere, and so are its sequence numbers."""
    source = Simulated(90000).send(0, 30)
    source.base += (jump if forwards else -jump) * 90000
    source._sequence = sequence
    source.send(30 + gap_s, 60 + gap_s)

    clock = clock_of(one=source)

    assert len(clock.lines) == 2
    assert worst(source.errors_ms(clock)) < 1


def test_a_stalled_network_changes_nothing() -> None:
    source = Simulated(48000).send(0, 20, every_s=0.02)
    for late_ms in range(3000, 0, -20):
        at_s = 20 + (3000 - late_ms) / 1000
        source.send(at_s, at_s + 0.02, every_s=0.02, extra_s=late_ms / 1000)
    source.send(23, 40, every_s=0.02)

    clock = clock_of(one=source)

    assert len(clock.lines) == 1
    assert worst(source.errors_ms(clock)) < 1


def test_a_few_seconds_of_late_packets_change_nothing() -> None:
    source = Simulated(48000).send(0, 20).send(20, 24, extra_s=0.9).send(24, 25, extra_s=0.45).send(25, 60)

    clock = clock_of(one=source)

    assert len(clock.lines) == 1
    assert worst(source.errors_ms(clock)) < 1


def test_a_sender_that_stood_still_is_placed_by_arrival_after() -> None:
    source = Simulated(48000).send(0, 20)
    # Its clock stops for 2 s, and nothing in the timestamps says so.
    source.base -= 2 * 48000
    source.send(22, 42)

    clock = clock_of(one=source)

    assert len(clock.lines) == 2
    assert worst(source.errors_ms(clock)) < 1


def test_late_packets_at_the_start_do_not_set_the_clock() -> None:
    source = Simulated(48000).send(0, 5, extra_s=0.4).send(5, 60)

    clock = clock_of(one=source)

    assert worst(source.errors_ms(clock)) < 1


def test_a_few_late_packets_alone_are_no_clock_of_their_own() -> None:
    source = Simulated(48000).send(0, 20).send(20, 20.5, extra_s=4).send(26, 60)

    clock = clock_of(one=source)

    assert worst(source.errors_ms(clock)) < 1


def test_congestion_for_a_quarter_of_the_time_does_not_bend_the_line() -> None:
    source = Simulated(90000, drift_ppm=50, jitter_s=0.005)
    for minute in range(20):
        source.send(60 * minute, 60 * minute + 60, extra_s=0.3 if minute % 4 == 3 else 0.0)

    clock = clock_of(one=source)

    assert worst(source.errors_ms(clock)) < 5


def test_captures_of_one_sender_share_its_clock() -> None:
    """Another SSRC and another node's latency, the publisher's timestamps: the same frame is the same place."""
    first = Simulated(90000, base=WRAP - 30 * 90000).send(0, 60)
    second = Simulated(90000, base=WRAP - 30 * 90000, latency_s=0.03, first_sequence=500).send(40, 100)

    clock = clock_of(one=first, two=second)

    assert len(clock.lines) == 1
    places = {clock.place("one", sequence, stamp)[:2] for at, sequence, stamp in first.sent if at >= 40}
    others = {clock.place("two", sequence, stamp)[:2] for at, sequence, stamp in second.sent if at < 60}
    assert places == others


def test_captures_known_to_hold_the_same_packets_share_a_clock_whatever_their_numbers_and_nodes_say() -> None:
    first = Simulated(90000, base=WRAP - 30 * 90000).send(0, 60)
    second = Simulated(90000, base=700 * 90000, latency_s=5.01).send(40, 100)
    observers = {"one": first.observer, "two": second.observer}
    apart = next(stamp for at, _, stamp in first.sent if at == 40) - second.sent[0][2]

    clock = align(observers, {"two": Shift(apart, 5 * NS)})

    assert len(clock.lines) == 1
    places = {clock.place("one", sequence, stamp) for at, sequence, stamp in first.sent if at >= 40}
    others = {clock.place("two", sequence, stamp) for at, sequence, stamp in second.sent if at < 60}
    assert places == others


def test_captures_of_different_senders_do_not() -> None:
    first = Simulated(90000, base=1000).send(0, 30)
    second = Simulated(90000, base=77_000_000).send(35, 60)

    clock = clock_of(one=first, two=second)

    assert len(clock.lines) == 2
    assert worst(first.errors_ms(clock, "one")) < 1
    assert worst(second.errors_ms(clock, "two")) < 1


def test_b_frames_are_seen() -> None:
    observer = Observer(90000)
    for number, shown in enumerate([0, 0, 3, 1, 1, 2, 6, 4, 5]):
        observer.observe(number, shown * 3600, EPOCH_NS + number * NS // 25, number)

    assert observer.reorder_depth == 1


def test_late_packets_say_nothing() -> None:
    source = Simulated(48000).send(0, 10)
    source.observer.observe(3, source.sent[2][2], EPOCH_NS + 100 * NS, 0)

    assert worst(source.errors_ms(clock_of(one=source))) < 1


Offsets = list[tuple[int, int]]


def reported(video_lag_s: float, error_s: float, *, first_at: float = 1, reports: int = 30) -> int | None:
    """The nudge where video takes `video_lag_s` longer from the sender's clock to ours."""
    return nudge(*offsets_of(video_lag_s, error_s, first_at=first_at, reports=reports))


def offsets_of(
    video_lag_s: float, error_s: float, *, first_at: float = 1, reports: int = 30
) -> tuple[Offsets, Offsets]:
    """What the sender reports of video and audio say."""
    chance = random.Random(3)
    sound = Simulated(48000).send(0, 60)
    picture = Simulated(90000, latency_s=0.01 + video_lag_s).send(0, 60)
    for number in range(reports):
        for source in (sound, picture):
            at_s = first_at + number
            source.report(at_s, 5000 + at_s + chance.uniform(-error_s, error_s))
    video, audio = (sender_offsets(clock_of(one=source), "one", source.observer) for source in (picture, sound))
    return video, audio


@pytest.mark.parametrize("error_s", [0, 0.02])
def test_sender_reports_bring_video_back_to_audio(error_s: float) -> None:
    by = reported(0.06, error_s, first_at=5)

    assert by is not None
    assert by / 1e6 == pytest.approx(-60, abs=12)


def test_sender_reports_that_are_few_or_absurd_are_ignored() -> None:
    assert reported(0.06, 0, reports=1) is None
    assert reported(0.5, 0) is None
    assert nudge([], []) is None


def test_the_offset_of_video_is_told_for_each_third() -> None:
    offsets = av_offsets_ms(*offsets_of(0.06, 0.02))

    assert offsets is not None
    assert offsets == pytest.approx((60, 60, 60), abs=20)
    assert av_offsets_ms(*offsets_of(0.06, 0, reports=1)) is None


def test_packets_that_come_late_are_no_offset() -> None:
    video, audio = offsets_of(0, 0)
    late = [(arrival + NS, offset) for arrival, offset in video]

    assert av_offsets_ms(late, audio) == pytest.approx((0, 0, 0), abs=10)
