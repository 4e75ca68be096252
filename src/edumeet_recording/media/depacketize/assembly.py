"""Video frames from packets, for any codec: which are whole, and which a decoder can use after loss."""

from typing import NamedTuple, Protocol

from edumeet_recording.media.depacketize.base import Frame
from edumeet_recording.media.errors import MediaError
from edumeet_recording.media.rtp import RtpPacket

MAX_FRAME_BYTES = 8 * 1024 * 1024
"""A frame that grows beyond this is damaged: a sender may never end one."""


class Picture(NamedTuple):
    """What a codec makes of a frame's packets. Sizes, in pixels, are those of key frames."""

    data: bytes
    key: bool
    width: int | None = None
    height: int | None = None


class PictureBuilder(Protocol):
    """The part of a depacketizer that knows the codec. It is given the payloads of one frame without holes."""

    def add(self, payload: memoryview) -> None:
        """Take the frame's next payload. Raises `MediaError` where it is malformed, or its beginning is missing."""
        ...

    def resume(self) -> bool:
        """Told after the first payload of a frame that comes after a hole: True where that held no other frame."""
        ...

    def finish(self) -> Picture | None:
        """The frame; None where what came is no picture yet but belongs to the next. Raises `MediaError` where its end
        is missing or it is malformed."""
        ...

    def reset(self) -> None:
        """Forget the frame begun."""
        ...


class VideoDepacketizer:
    """A `Depacketizer` of video.

    A frame ends with the marker bit, or where the timestamp changes. After a damaged frame, and after a hole between
    two frames that may have held whole ones, only a key frame comes out: a decoder would show the rest smeared.
    """

    def __init__(self, builder: PictureBuilder) -> None:
        self.damaged = 0
        self.dropped_until_key = 0
        self.waiting_key = True
        self._builder = builder
        self._expected: int | None = None
        self._gap = False
        self._open = False
        self._whole = True
        self._size = 0
        self._timestamp = 0
        self._arrival_ns = 0
        self._first_sequence = 0
        self._last_sequence = 0

    def push(self, sequence: int, timestamp: int, arrival_ns: int, packet: RtpPacket) -> list[Frame]:
        """Take one packet; see `Depacketizer`."""
        if sequence != self._expected:
            self._gap = True
            self._whole = False
        self._expected = sequence + 1
        payload = packet.payload
        if not payload:
            return []  # padding only: probes of the sender's congestion control
        frames = self._close() if self._open and timestamp != self._timestamp else []
        if not self._open:
            self._begin(sequence, timestamp, arrival_ns)
        self._last_sequence = sequence
        if self._whole:
            self._add(payload)
        if packet.marker:
            frames += self._close()
        return frames

    def flush(self) -> list[Frame]:
        """Nothing whole is ever left: a last frame without a marker may have lost its end."""
        self._whole = False
        return self._close() if self._open else []

    def _begin(self, sequence: int, timestamp: int, arrival_ns: int) -> None:
        self._open = self._whole = True
        self._timestamp = timestamp
        self._arrival_ns = arrival_ns
        self._first_sequence = sequence

    def _add(self, payload: memoryview) -> None:
        self._size += len(payload)
        try:
            self._builder.add(payload)
        except MediaError:
            self._whole = False
        if self._size > MAX_FRAME_BYTES:
            self._whole = False
        if self._gap:
            self._gap = False
            if not self._builder.resume():
                self.waiting_key = True

    def _finish(self) -> Picture | None:
        try:
            return self._builder.finish()
        except MediaError:
            self._whole = False
            return None

    def _close(self) -> list[Frame]:
        self._open = False
        picture = self._finish() if self._whole else None
        if not self._whole:
            self._builder.reset()
            self._size = 0
            self.damaged += 1
            self.waiting_key = True
            return []
        if picture is None:
            return []
        self._size = 0
        if picture.key:
            self.waiting_key = False
        elif self.waiting_key:
            self.dropped_until_key += 1
            return []
        return [
            Frame(
                self._timestamp,
                self._arrival_ns,
                picture.data,
                picture.key,
                picture.width,
                picture.height,
                self._first_sequence,
                self._last_sequence,
            )
        ]
