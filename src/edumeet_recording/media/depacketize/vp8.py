"""VP8 frames from RTP payloads (RFC 7741)."""

import struct
from typing import NamedTuple

from edumeet_recording.media.depacketize.assembly import Picture
from edumeet_recording.media.depacketize.picture_id import picture_id
from edumeet_recording.media.errors import MediaError

_START_CODE = b"\x9d\x01\x2a"
_SIZE = struct.Struct("<HH")


def resolution(key_frame: bytes) -> tuple[int, int]:
    """Width and height in pixels (RFC 6386 §9.1). Raises `MediaError` where it is no key frame."""
    if len(key_frame) < 10 or key_frame[0] & 1 or key_frame[3:6] != _START_CODE:
        raise MediaError("not a VP8 key frame")
    width, height = _SIZE.unpack_from(key_frame, 6)
    return width & 0x3FFF, height & 0x3FFF


class Numbered(NamedTuple):
    """A payload without the numbers that an SFU makes anew for each receiver, and its picture id modulo `range`."""

    contents: bytes
    picture: int
    range: int


def split(payload: memoryview) -> Numbered:
    """Tell picture id and TL0PICIDX from the rest (§4.2); a payload that has none is all contents, its range 1."""
    if len(payload) < 5 or not payload[0] & 0x80 or not payload[1] & 0x80:
        return Numbered(bytes(payload), 0, 1)
    picture, range_, end = picture_id(payload, 2)
    return Numbered(bytes(payload[:2]) + bytes(payload[end + (payload[1] >> 6 & 1) :]), picture, range_)


def renumbered(payload: memoryview, by: int) -> memoryview:
    """A payload that has a picture id with another, `by` higher."""
    _, picture, range_ = split(payload)
    picture = (picture + by) % range_
    number = (picture | 0x8000).to_bytes(2) if range_ == 0x8000 else bytes([picture])
    return memoryview(bytes(payload[:2]) + number + bytes(payload[2 + len(number) :]))


class Vp8Builder:
    """A `PictureBuilder`: a frame's payloads joined, without their descriptors."""

    def __init__(self) -> None:
        self._parts: list[memoryview] = []
        self._picture: tuple[int, int] | None = None
        self._next_picture: int | None = None

    def resume(self) -> bool:
        """True where the picture id is the one after the last."""
        return self._picture is not None and self._picture[0] == self._next_picture

    def add(self, payload: memoryview) -> None:
        """Take a payload: its descriptor tells whether it begins a frame."""
        at = 1
        first = payload[0]
        try:
            if first & 0x80:
                at = self._extension(payload, begins=not self._parts)
        except IndexError as error:
            raise MediaError("the VP8 descriptor is cut off") from error
        begins = first & 0x17 == 0x10
        if begins == bool(self._parts):
            raise MediaError("a VP8 frame begins where none should, or not where one should")
        if at >= len(payload):
            raise MediaError("a VP8 payload without data")
        self._parts.append(payload[at:])

    def _extension(self, payload: memoryview, *, begins: bool) -> int:
        """Where the data begins; remembers the picture id (§4.2)."""
        flags = payload[1]
        at = 2
        if flags & 0x80:
            picture, range_, at = picture_id(payload, at)
            if begins:
                self._picture = picture, range_
        return at + (1 if flags & 0x40 else 0) + (1 if flags & 0x30 else 0)

    def finish(self) -> Picture:
        """The frame as the encoder made it."""
        data = b"".join(self._parts)
        picture = Picture(data, True, *resolution(data)) if not data[0] & 1 else Picture(data, False)
        self._next_picture = (self._picture[0] + 1) % self._picture[1] if self._picture else None
        self.reset()
        return picture

    def reset(self) -> None:
        """Forget the frame begun."""
        self._parts.clear()
        self._picture = None
