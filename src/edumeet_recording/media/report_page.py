"""The report of a recording as a page for people: one file that asks for nothing else, and runs no script."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from edumeet_recording.media.markup import Markup, element, joined
from edumeet_recording.media.report_timeline import clock, legend, timeline

SECURITY_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What the page needs of its browser, as a Content-Security-Policy."""

_STYLE = Markup("""
:root{color-scheme:light dark;--line:#8884;--soft:#8882;--ok:#2e7d32;--bad:#c62828;--audio:#1976d2;--video:#00897b}
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:2rem 0 .5rem}
header{display:flex;gap:1.5rem;align-items:flex-start;flex-wrap:wrap}header>div{flex:1 1 20rem;min-width:0}
img{max-width:20rem;max-height:14rem;border-radius:6px;border:1px solid var(--line)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:1rem 0}dt{opacity:.7}
dd{margin:0;overflow-wrap:anywhere}.status{color:#fff;background:var(--bad);border-radius:4px;padding:.1rem .5rem}
.status.completed{background:var(--ok)}.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .5rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{font-weight:600;background:var(--soft)}code{font-size:.85em}
.warnings{border-left:4px solid #ef6c00;padding:.4rem 1rem;background:#ef6c0018}.warnings ul{margin:0;padding-left:1rem}
svg{width:100%;height:auto;display:block}svg text{font-size:12px;fill:currentColor}svg .time{text-anchor:middle}
.tick{stroke:var(--line)}.cut{stroke:currentColor;stroke-dasharray:4 3}.size{fill:currentColor}
.bar-audio{fill:var(--audio)}.bar-video{fill:var(--video)}.wave{stroke:var(--audio);fill:none}
.gap-loss{fill:#e53935;background:#e53935}.gap-pause{fill:#b0bec5;background:#b0bec5}
.gap-restart{fill:#fb8c00;background:#fb8c00}.gap-handover{fill:#8e24aa;background:#8e24aa}
.legend i{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-left:.8em}
""")


@dataclass(frozen=True, slots=True)
class Subject:
    """What the report is of, as people call it: all of it may have been typed by anybody."""

    room_id: str
    peer_id: str
    display_name: str | None
    status: str
    reason: str | None
    file_name: str


def page(
    report: Mapping[str, Any], subject: Subject, *, poster: bytes | None, waveform: Mapping[str, Any] | None
) -> str:
    """The whole page. `report` is what `report.build` made; `poster` a JPEG, `waveform` audiowaveform's JSON."""
    name = subject.display_name or subject.peer_id
    title = f"{name} in {subject.room_id}"
    streams = report.get("streams", ())
    body = [
        _header(report, subject, title, poster),
        _warnings(report.get("warnings", ())),
        element("h2", "Timeline"),
        timeline(streams, report.get("parts", ()), report.get("durationS", 0.0), waveform),
        legend(),
        *_section("Streams", _STREAM_COLUMNS, [_stream_row(stream) for stream in streams]),
        *_section("Where they came from", _SOURCE_COLUMNS, [row for stream in streams for row in _source_rows(stream)]),
        *_section("Files", ("name", "bytes", "SHA-256"), list(_file_rows(report, subject.file_name))),
    ]
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width,initial-scale=1"),
        element("title", f"Report: {title}"),
        element("style", _STYLE),
    ]
    return "<!doctype html>" + element("html", element("head", *head), element("body", *body), lang="en")


def _header(report: Mapping[str, Any], subject: Subject, title: str, poster: bytes | None) -> Markup:
    status = element("span", subject.status, class_=f"status {subject.status}")
    told = element(
        "div",
        element("h1", title),
        element("p", status, f" {subject.reason or ''}"),
        element("dl", *(joined(element("dt", term), element("dd", text)) for term, text in _facts(report))),
    )
    if poster is None:
        return element("header", told)
    data = f"data:image/jpeg;base64,{base64.b64encode(poster).decode()}"
    return element("header", told, element("img", src=data, alt="A picture of the recording"))


def _facts(report: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield "Recording", report.get("jobId", "")
    if (started := report.get("startedAt")) is not None:
        yield "Started", f"{datetime.fromtimestamp(started, UTC):%Y-%m-%d %H:%M:%S} UTC"
    yield "Duration", f"{clock(report.get('durationS', 0.0))} ({report.get('durationS', 0.0):.1f} s)"
    if (early_s := report.get("endsBeforeStopS", 0.0)) >= 1:
        yield "Ends", f"{early_s:.1f} s before the recording was stopped"
    file = report.get("file", {})
    by = f" by {file['encoder']}" if file.get("encoder") else ""
    yield "File", f"{file.get('format', '')}, {_size(file.get('bytes', 0))}, made by {file.get('made', '')}{by}"
    if (offsets := report.get("avOffsetMs")) is not None:
        yield "Video after audio", ", ".join(f"{round(value)} ms at the {at}" for at, value in offsets.items())
    checks = report.get("checks", {})
    if checks:
        errors, decoded = checks["decodeErrors"], checks["framesDecoded"]
        yield "Checked", f"{checks['framesFound']} frames found, {decoded} decoded, {errors} errors"


def _warnings(texts: Sequence[str]) -> Markup:
    if not texts:
        return element("p", "Nothing to complain of.")
    return element("div", element("ul", *(element("li", text) for text in texts)), class_="warnings")


def _section(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[Markup]:
    """A heading and a table, unless there is nothing in it."""
    if not rows:
        return []
    head = element("tr", *(element("th", name) for name in columns))
    body = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    return [element("h2", title), element("div", element("table", head, *body), class_="scroll")]


_STREAM_COLUMNS = (
    "stream",
    "codec",
    "from",
    "to",
    "frames",
    "key",
    "dropped",
    "size",
    "packets",
    "lost",
    "recovered",
    "gaps",
    "s",
    "drift ppm",
)


def _stream_row(stream: Mapping[str, Any]) -> list[object]:
    sizes = stream["resolutions"]
    largest = max(sizes, key=lambda one: one["width"] * one["height"], default=None)
    lost, packets, drift = stream["lost"], stream["packets"], stream["driftPpm"]
    share = f" ({100 * lost / (lost + packets):.2f} %)" if lost else ""
    return [
        f"{stream['kind']} {stream['index']}",
        stream["codec"],
        clock(stream["startS"]),
        clock(stream["endS"]),
        stream["frames"],
        stream["keyFrames"],
        stream["damagedFrames"] + stream["droppedUntilKey"],
        f"{largest['width']} x {largest['height']}" if largest else "",
        packets,
        f"{lost}{share}",
        stream["recovered"],
        stream["gapCount"],
        f"{stream['gapS']:.2f}",
        "" if drift is None else f"{drift:+.1f}",
    ]


_SOURCE_COLUMNS = ("stream", "node", "epoch", "role", "SSRC", "packets", "bytes", "lost", "from others", "to others")


def _source_rows(stream: Mapping[str, Any]) -> Iterable[list[object]]:
    for source in stream["sources"]:
        yield [
            f"{stream['kind']} {stream['index']}",
            source["node_id"],
            source["epoch"],
            source["role"],
            source["ssrc"],
            source["packets"],
            _size(source["bytes"]),
            source["lost"],
            source.get("filled", 0),
            source.get("gave", 0),
        ]


def _file_rows(report: Mapping[str, Any], file_name: str) -> Iterable[list[object]]:
    if file := report.get("file"):
        yield [file_name, file["bytes"], element("code", file["sha256"])]
    for asset in report.get("assets", ()):
        yield [asset["name"], asset["bytes"], element("code", asset["sha256"])]


def _size(count: int) -> str:
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= least:
            return f"{count / least:.1f} {unit}"
    return f"{count} bytes"
