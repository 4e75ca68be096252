"""A page that parses, shows what the report says, asks for nothing, and is hurt by nothing that was typed."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from edumeet_recording.media.markup import VOID
from edumeet_recording.media.report_page import Subject, page
from edumeet_recording.media.report_timeline import COLUMNS, WIDTH, clock

HOSTILE = """<script>alert("x")</script>'&"""
SUBJECT = Subject(
    room_id=f"room {HOSTILE}",
    peer_id=f"peer {HOSTILE}",
    display_name=None,
    status="completed",
    reason=f"reason {HOSTILE}",
    file_name=f"file {HOSTILE}",
)
SOURCE = {
    "node_id": f"node {HOSTILE}",
    "epoch": 1,
    "role": "primary",
    "ssrc": 7,
    "packets": 99,
    "bytes": 5000,
    "lost": 1,
}
VIDEO: dict[str, Any] = {
    "index": 1,
    "kind": "video",
    "codec": "vp8",
    "startS": 10.0,
    "endS": 100.0,
    "frames": 2250,
    "keyFrames": 20,
    "damagedFrames": 3,
    "droppedUntilKey": 4,
    "packets": 99,
    "lost": 1,
    "recovered": 2,
    "gapCount": 2,
    "gapS": 5.5,
    "driftPpm": -12.34,
    "gaps": [
        {"atS": 20.0, "durationS": 5.0, "cause": "loss"},
        {"atS": 30.0, "durationS": 0.5, "cause": "pause"},
    ],
    "resolutions": [{"atS": 10.0, "width": 320, "height": 180}, {"atS": 50.0, "width": 1280, "height": 720}],
    "sources": [SOURCE, SOURCE | {"role": "standby", "filled": 5, "gave": 6}],
}
AUDIO = VIDEO | {"index": 0, "kind": "audio", "codec": "opus", "resolutions": [], "lost": 0, "driftPpm": None}
ASSET = {"name": "poster.jpg", "kind": "poster", "bytes": 9, "sha256": "ab" * 32}
REPORT: dict[str, Any] = {
    "jobId": "4f0c",
    "startedAt": 1_800_000_000.0,
    "durationS": 100.0,
    "endsBeforeStopS": 3.24,
    "file": {"bytes": 12_345_678, "sha256": "cd" * 32, "format": "mp4", "made": "high", "encoder": "libx264"},
    "parts": [{"startS": 0.0}, {"startS": 50.0}],
    "assets": [ASSET],
    "streams": [VIDEO, AUDIO],
    "avOffsetMs": {"start": 1.2, "middle": -3.4, "end": -0.1},
    "checks": {"framesFound": 2250, "framesDecoded": 2250, "decodeErrors": 0},
    "warnings": [f"warning {HOSTILE}"],
}
WAVE = {"sample_rate": 48000, "samples_per_pixel": 4800, "length": 1000, "data": [-100, 90] * 1000}


class Parsed(HTMLParser):
    """Elements, attributes and text of a page whose elements all end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str, class_: str | None = None) -> list[dict[str, str | None]]:
        return [
            attributes
            for name, attributes in self.elements
            if name == tag and class_ in (None, attributes.get("class"))
        ]


@pytest.fixture
def parsed() -> Parsed:
    return Parsed(page(REPORT, SUBJECT, poster=b"jpeg", waveform=WAVE))


def test_what_was_typed_is_text(parsed: Parsed) -> None:
    text = "".join(parsed.text)

    for what in ("peer", "room", "reason", "file", "warning", "node"):
        assert f"{what} {HOSTILE}" in text
    assert parsed.all("script") == []
    assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)


def test_nothing_is_asked_of_anybody(parsed: Parsed) -> None:
    text = page(REPORT, SUBJECT, poster=b"jpeg", waveform=WAVE)

    assert [image["src"] for image in parsed.all("img")] == ["data:image/jpeg;base64,anBlZw=="]
    assert not re.search(r"https?:|url\(|@import|<link|<iframe", text)


def test_it_says_what_the_report_says(parsed: Parsed) -> None:
    text = " ".join(parsed.text)

    for said in (
        "1:40 (100.0 s)",
        "3.2 s before the recording was stopped",
        "2027-01-15 08:00:00 UTC",
        "mp4, 12.3 MB, made by high by libx264",
        "1280 x 720",
        "1 (1.00 %)",
        "1 ms at the start, -3 ms at the middle, 0 ms at the end",
        "2250 frames found",
        "-12.3",
        "cd" * 32,
        "ab" * 32,
    ):
        assert said in text


def test_time_is_drawn_to_scale(parsed: Parsed) -> None:
    bar, _ = parsed.all("rect", "bar-video") + parsed.all("rect", "bar-audio")
    losses, pauses = parsed.all("rect", "gap-loss"), parsed.all("rect", "gap-pause")
    per_s = float(bar["width"] or 0) / 90

    assert len(losses) == len(pauses) == 2
    assert float(losses[0]["width"] or 0) == pytest.approx(5 * per_s, abs=0.1)
    assert float(losses[0]["x"] or 0) - float(bar["x"] or 0) == pytest.approx(10 * per_s, abs=0.1)
    assert float(bar["x"] or 0) + float(bar["width"] or 0) < WIDTH
    assert len(parsed.all("line", "cut")) == 1
    assert len(parsed.all("path", "size")) == 1
    (wave,) = parsed.all("path", "wave")
    assert COLUMNS / 2 < (wave["d"] or "").count("M") <= COLUMNS


def test_little_is_enough() -> None:
    parsed = Parsed(page({}, SUBJECT, poster=None, waveform=None))

    assert "Nothing to complain of." in parsed.text
    assert parsed.all("table") == parsed.all("img") == []


def test_a_name_goes_before_an_id() -> None:
    named = Subject("room", "peer", "Ada", "completed", None, "file")

    assert Parsed(page(REPORT, named, poster=None, waveform=None)).text[0] == "Report: Ada in room"


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (61.6, "1:02"), (3600, "1:00:00"), (36061, "10:01:01")])
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_days_have_ticks_too() -> None:
    parsed = Parsed(page({"durationS": 40 * 86400.0}, SUBJECT, poster=None, waveform=None))

    assert len(parsed.all("line", "tick")) == 41


@pytest.mark.parametrize(("count", "shown"), [(999, "999 bytes"), (1500, "1.5 kB"), (2_000_000_000, "2.0 GB")])
def test_sizes(count: int, shown: str) -> None:
    report = REPORT | {"file": REPORT["file"] | {"bytes": count}}

    assert shown in "".join(Parsed(page(report, SUBJECT, poster=None, waveform=None)).text)
