"""A live peer: encodes its content in real time, in a thread of its own, while somebody listens."""

import asyncio
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from edumeet_recording.domain.codecs import CLOCK_RATE_HZ, Codec, Kind
from edumeet_recording.sim.content import Shape
from edumeet_recording.sim.encode import BLOCK_S, AudioEncoder, Burst, VideoEncoder

LATENCY_S = 0.02
"""From media time to the first packet, for both kinds: a block of audio is complete only after its 20 ms."""

_PLANNED_EVENTS = 4 * 86400


@dataclass(frozen=True, slots=True)
class PeerMedia:
    """What a peer publishes. `index` picks pitch and colour; `…_starts_s`: when a kind is first published.

    `dtx`: silence is left out; `timestamps_wrap_s`: media time at which RTP timestamps come to 0 again, None for any.
    """

    audio: Codec | None = Codec.OPUS
    video: Codec | None = Codec.VP8
    index: int = 0
    shape: Shape = field(default_factory=Shape)
    bit_rate: int = 300_000
    key_frame_interval_s: float = 4.0
    audio_starts_s: float = 0.0
    video_starts_s: float = 0.0
    dtx: bool = False
    timestamps_wrap_s: float | None = None

    def __post_init__(self) -> None:
        if self.audio is None and self.video is None:
            raise ValueError("a peer publishes audio or video")

    def codec(self, kind: Kind) -> Codec | None:
        """The codec of a kind, None where it is not published."""
        return self.audio if kind is Kind.AUDIO else self.video


class SentEvent(NamedTuple):
    """A beep or a flash that left the encoder: that of media second `second`, due at `sent_at` (epoch seconds)."""

    kind: Kind
    second: int
    sent_at: float


Listener = Callable[[Burst, float], None]
"""Takes a burst, and when it was due by the monotonic clock: an overloaded machine delivers later."""


class Publisher:
    """One peer's microphone and camera. Use it from the event loop it was made in; `close` it at the end.

    With nobody listening to a kind nothing is encoded, as when it is muted; what follows begins with a key frame.
    """

    def __init__(self, media: PeerMedia) -> None:
        self.media = media
        self._closed: set[Kind] = set()
        self._loop = asyncio.get_running_loop()
        self._listeners: dict[Kind, list[Listener]] = {kind: [] for kind in Kind}
        self._plan: deque[SentEvent] = deque(maxlen=_PLANNED_EVENTS)
        self._tracks = _tracks(media)
        self._stopped = threading.Event()
        self._began = time.monotonic()
        self._epoch = time.time_ns() / 1e9 - self._began
        self._thread = threading.Thread(target=self._run, name=f"publisher-{media.index}", daemon=True)
        self._thread.start()

    def codec(self, kind: Kind) -> Codec | None:
        """What a kind is published with now; None where it is not, or its producer is closed."""
        return None if kind in self._closed else self.media.codec(kind)

    def produce(self, kind: Kind, *, on: bool) -> None:
        """Switches a camera or microphone on or off: not a mute, its producer is closed, and another one opened."""
        if on:
            self._closed.discard(kind)
        else:
            self._closed.add(kind)

    def attach(self, kind: Kind, listener: Listener) -> Callable[[], None]:
        """Calls `listener` with every burst of a kind that is published from now on; the answer ends that."""
        listeners, track = self._listeners[kind], self._tracks[kind]
        listeners.append(listener)
        track.heard = True

        def detach() -> None:
            listeners.remove(listener)
            track.heard = bool(listeners)

        return detach

    def request_key_frame(self) -> None:
        """Makes the next picture a key frame; all requests before it together ask for one."""
        if Kind.VIDEO in self._tracks:
            self._tracks[Kind.VIDEO].key_wanted = True

    def send(self, *, audio: bool = True, video: bool = True) -> None:
        """Mutes or unmutes: a producer pause, media time goes on."""
        for kind, wanted in ((Kind.AUDIO, audio), (Kind.VIDEO, video)):
            if kind in self._tracks:
                self._tracks[kind].muted = not wanted

    def resize(self, shape: Shape) -> None:
        """From the next picture on, a key frame, they have this size; the frame rate cannot change."""
        self._tracks[Kind.VIDEO].shape_wanted = shape

    def media_time_s(self) -> float:
        """Seconds of media so far."""
        return time.monotonic() - self._began

    def plan(self) -> tuple[SentEvent, ...]:
        """Every beep and flash that was sent so far."""
        return tuple(self._plan.copy())

    async def close(self) -> None:
        """Ends the thread; nothing is delivered any more."""
        self._stopped.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        tracks = list(self._tracks.values())
        try:
            while True:
                track = min(tracks, key=_Track.due_s)
                due = self._began + track.due_s()
                if self._stopped.wait(max(0.0, due - time.monotonic())):
                    return
                at, burst = track.step()
                if burst is not None:
                    self._loop.call_soon_threadsafe(self._deliver, burst, due)
                    if at.denominator == 1:
                        self._plan.append(SentEvent(burst.kind, int(at), self._epoch + due))
        finally:
            for track in tracks:
                track.encoder.close()

    def _deliver(self, burst: Burst, due: float) -> None:
        if not self._stopped.is_set():
            for listener in tuple(self._listeners[burst.kind]):
                listener(burst, due)


class _Track:
    """One kind of a peer: its place in media time, and whether it flows."""

    def __init__(self, encoder: AudioEncoder | VideoEncoder, period_s: Fraction, starts_s: float) -> None:
        self.encoder = encoder
        self.heard = self.muted = self.key_wanted = False
        self.shape_wanted: Shape | None = None
        self._period_s, self._starts_s = period_s, starts_s
        self._number = 0
        self._flowing = False

    def due_s(self) -> float:
        """When the next frame is to be sent, seconds after media time 0."""
        return float(self._number * self._period_s) + LATENCY_S

    def step(self) -> tuple[Fraction, Burst | None]:
        """The next frame's media time, and the frame unless the track is silent."""
        number = self._number
        at = number * self._period_s
        self._number += 1
        if self.muted or not self.heard or at < self._starts_s:
            self._flowing = False
            return at, None
        force_key = self.key_wanted or not self._flowing
        self.key_wanted, self._flowing = False, True
        if isinstance(self.encoder, VideoEncoder):
            if self.shape_wanted is not None:
                self.encoder.resize(self.shape_wanted)
                self.shape_wanted, force_key = None, True
            return at, self.encoder.encode(number, force_key=force_key)
        burst = self.encoder.encode(number)
        return at, burst if burst.pieces else None


def _tracks(media: PeerMedia) -> dict[Kind, _Track]:
    tracks: dict[Kind, _Track] = {}
    if media.audio is not None:
        first = _first_timestamp(media, media.audio)
        microphone = AudioEncoder(media.audio, index=media.index, first_timestamp=first, dtx=media.dtx)
        tracks[Kind.AUDIO] = _Track(microphone, BLOCK_S, media.audio_starts_s)
    if media.video is not None:
        camera = VideoEncoder(
            media.video,
            shape=media.shape,
            index=media.index,
            bit_rate=media.bit_rate,
            key_frame_interval_s=media.key_frame_interval_s,
            first_timestamp=_first_timestamp(media, media.video),
        )
        tracks[Kind.VIDEO] = _Track(camera, Fraction(1, media.shape.fps), media.video_starts_s)
    return tracks


def _first_timestamp(media: PeerMedia, codec: Codec) -> int:
    # Each publisher counts its RTP timestamps from a random start of its own (RFC 3550 §5.1).
    if media.timestamps_wrap_s is None:
        return secrets.randbits(32)
    return -round(media.timestamps_wrap_s * CLOCK_RATE_HZ[codec]) & 0xFFFFFFFF
