"""The time of a recording as a drawing: a bar a stream, its gaps by cause, changes of size, parts, and the sound."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edumeet_recording.media.markup import Markup, element
from edumeet_recording.media.timeline import GapCause

WIDTH = 1000
"""Of the drawing, in its own units; the page scales it."""
LEFT, RIGHT = 90, 20
LANE = 30
BAR = 18
WAVE = 60
AXIS = 22
LEAST = 1.5
"""What is shorter than this is drawn as wide, to be seen."""
TICKS_S = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
MAX_TICKS = 10
COLUMNS = 600
"""Of the waveform."""


def clock(seconds: float) -> str:
    """1:02:03, or 2:03 below an hour."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def timeline(
    streams: Sequence[Mapping[str, Any]],
    parts: Sequence[Mapping[str, Any]],
    duration_s: float,
    waveform: Mapping[str, Any] | None,
) -> Markup:
    """An SVG of all streams of a report over `duration_s`."""
    scale = (WIDTH - LEFT - RIGHT) / max(duration_s, 0.001)
    lanes = [_lane(stream, LANE * number, scale) for number, stream in enumerate(streams)]
    below = LANE * len(lanes)
    if waveform is not None:
        lanes.append(_sound(waveform, below, scale))
        below += WAVE
    cuts = [
        element("line", x1=_x(part["startS"], scale), x2=_x(part["startS"], scale), y1=0, y2=below, class_="cut")
        for part in parts[1:]
    ]
    return element(
        "svg",
        *_grid(duration_s, scale, below),
        *lanes,
        *cuts,
        viewBox=f"0 0 {WIDTH} {below + AXIS}",
        role="img",
        aria_label="Timeline of the streams and their gaps",
    )


def legend() -> Markup:
    """What the colours of gaps mean."""
    return element(
        "p",
        "Gaps: ",
        *(element("span", element("i", class_=f"gap-{cause}"), f" {cause} ") for cause in GapCause),
        class_="legend",
    )


def _x(seconds: float, scale: float) -> float:
    return round(LEFT + max(0.0, seconds) * scale, 2)


def _lane(stream: Mapping[str, Any], top: float, scale: float) -> Markup:
    name = f"{stream['kind']} {stream['index']}"
    start_s, end_s = stream["startS"], stream["endS"]
    bar = element(
        "rect",
        element("title", f"{name}: {clock(start_s)} to {clock(end_s)}"),
        x=_x(start_s, scale),
        y=top + 4,
        width=round(max((end_s - start_s) * scale, LEAST), 2),
        height=BAR,
        class_=f"bar-{stream['kind']}",
    )
    label = element("text", name, x=0, y=top + 18)
    return element("g", label, bar, *_gaps(stream, top, scale), *_sizes(stream, top, scale))


def _gaps(stream: Mapping[str, Any], top: float, scale: float) -> Iterator[Markup]:
    for gap in stream["gaps"]:
        at_s, lasts_s = gap["atS"], gap["durationS"]
        yield element(
            "rect",
            element("title", f"{gap['cause']} at {clock(at_s)} for {lasts_s:.2f} s"),
            x=_x(at_s, scale),
            y=top + 4,
            width=round(max(lasts_s * scale, LEAST), 2),
            height=BAR,
            class_=f"gap-{gap['cause']}",
        )


def _sizes(stream: Mapping[str, Any], top: float, scale: float) -> Iterator[Markup]:
    """Where the picture changes its size."""
    for size in stream["resolutions"][1:]:
        x = _x(size["atS"], scale)
        title = element("title", f"{size['width']} x {size['height']} from {clock(size['atS'])}")
        yield element("path", title, d=f"M{x - 4} {top} h8 l-4 7 z", class_="size")


def _sound(waveform: Mapping[str, Any], top: float, scale: float) -> Markup:
    """The waveform (audiowaveform's JSON, one channel), thinned out to `COLUMNS`."""
    data, pixels = waveform["data"], waveform["length"]
    pixel_s = waveform["samples_per_pixel"] / waveform["sample_rate"]
    step = max(1, -(-pixels // COLUMNS))
    middle, half = top + WAVE / 2, (WAVE / 2 - 2) / 128
    strokes: list[str] = []
    for first in range(0, pixels, step):
        seen = data[2 * first : 2 * min(first + step, pixels)]
        x = _x((first + step / 2) * pixel_s, scale)
        strokes.append(f"M{x} {middle - max(seen) * half:.1f}V{middle - min(seen) * half + 0.5:.1f}")
    return element("path", d="".join(strokes), class_="wave", stroke_width=round(max(step * pixel_s * scale, 0.5), 2))


def _grid(duration_s: float, scale: float, bottom: float) -> Iterator[Markup]:
    step = next((one for one in TICKS_S if duration_s / one <= MAX_TICKS), TICKS_S[-1])
    for at_s in range(0, int(duration_s) + 1, step):
        x = _x(at_s, scale)
        yield element("line", x1=x, x2=x, y1=0, y2=bottom, class_="tick")
        yield element("text", clock(at_s), x=x, y=bottom + 16, class_="time")
