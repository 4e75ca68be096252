"""VP9 frames from RTP payloads (RFC 9628)."""

from edumeet_recording.media.depacketize.assembly import Picture
from edumeet_recording.media.depacketize.bits import BitReader
from edumeet_recording.media.depacketize.picture_id import picture_id
from edumeet_recording.media.errors import MediaError

_SYNC_CODE = 0x498342
_SRGB = 7
_MAX_SUPERFRAME = 8


def resolution(key_frame: bytes) -> tuple[int, int]:
    """Width and height in pixels, of the uncompressed header (VP9 bitstream specification §6.2).

    Raises `MediaError` where it is no key frame.
    """
    bits = BitReader(key_frame[:16])
    if bits.read(2) != 2:
        raise MediaError("not a VP9 frame")
    profile = bits.read(1) | bits.read(1) << 1
    bits.read(1 if profile == 3 else 0)
    if bits.read(2):
        raise MediaError("not a VP9 key frame")
    bits.read(2)  # show_frame, error_resilient_mode
    if bits.read(24) != _SYNC_CODE:
        raise MediaError("a VP9 key frame without sync code")
    if profile >= 2:
        bits.read(1)  # bit depth
    if bits.read(3) != _SRGB:
        bits.read(4 if profile & 1 else 1)  # range, subsampling
    elif profile & 1:
        bits.read(1)
    return bits.read(16) + 1, bits.read(16) + 1


def is_key(frame: bytes) -> bool:
    """True for a key frame: neither `show_existing_frame` nor a `frame_type` other than 0. Raises `MediaError`."""
    if not frame or frame[0] >> 6 != 2:
        raise MediaError("not a VP9 frame")
    profile_3 = frame[0] & 0x30 == 0x30
    return not frame[0] & (0x06 if profile_3 else 0x0C)


class Vp9Builder:
    """A `PictureBuilder`: the layer frames of a picture; several spatial layers become a superframe (annex B there)."""

    def __init__(self) -> None:
        self._layers: list[list[memoryview]] = []
        self._ended = True
        self._picture: tuple[int, int] | None = None
        self._base_layer = True
        self._next_picture: int | None = None

    def resume(self) -> bool:
        """True where the picture id is the one after the last, and no lower spatial layer is missing."""
        return self._picture is not None and self._base_layer and self._picture[0] == self._next_picture

    def add(self, payload: memoryview) -> None:
        """Take a payload: its descriptor tells whether it begins or ends a layer frame (B and E bits, §4.2)."""
        flags = payload[0]
        try:
            at = self._descriptor(payload, flags)
        except IndexError as error:
            raise MediaError("the VP9 descriptor is cut off") from error
        begins = bool(flags & 0x08)
        if begins != self._ended:
            raise MediaError("a VP9 frame begins where none should, or not where one should")
        if at >= len(payload):
            raise MediaError("a VP9 payload without data")
        if begins:
            self._layers.append([])
        self._layers[-1].append(payload[at:])
        self._ended = bool(flags & 0x04)

    def _descriptor(self, payload: memoryview, flags: int) -> int:
        """Where the data begins; remembers picture id and layer of the picture's first payload."""
        at = 1
        first = not self._layers
        if flags & 0x80:
            picture, range_, at = picture_id(payload, at)
            if first:
                self._picture = picture, range_
        if flags & 0x20:
            if first:
                self._base_layer = not payload[at] & 0x0E
            at += 1 if flags & 0x10 else 2
        if flags & 0x50 == 0x50:
            at = _after_references(payload, at)
        if flags & 0x02:
            at = _after_scalability(payload, at)
        return at

    def finish(self) -> Picture:
        """The picture, with a superframe index where it has several layers."""
        if not self._ended:
            raise MediaError("the end of a VP9 frame is missing")
        frames = [b"".join(parts) for parts in self._layers]
        key = is_key(frames[0])
        size = resolution(frames[0]) if key else (None, None)
        picture = Picture(frames[0] if len(frames) == 1 else _superframe(frames), key, *size)
        self._next_picture = (self._picture[0] + 1) % self._picture[1] if self._picture else None
        self.reset()
        return picture

    def reset(self) -> None:
        """Forget the picture begun."""
        self._layers.clear()
        self._ended = True
        self._picture = None
        self._base_layer = True


def _after_references(payload: memoryview, at: int) -> int:
    """Flexible mode: at most three reference indices, each telling whether another follows."""
    for _ in range(3):
        at += 1
        if not payload[at - 1] & 0x01:
            return at
    raise MediaError("a VP9 frame of more than three references")


def _after_scalability(payload: memoryview, at: int) -> int:
    """The scalability structure (§4.2.1)."""
    flags = payload[at]
    at += 1
    if flags & 0x10:
        at += 4 * ((flags >> 5) + 1)
    if flags & 0x08:
        pictures = payload[at]
        at += 1
        for _ in range(pictures):
            at += 1 + (payload[at] >> 2 & 0x03)
    return at


def _superframe(frames: list[bytes]) -> bytes:
    """The frames of one picture, and the index by which a decoder splits them (VP9 bitstream specification annex B)."""
    if len(frames) > _MAX_SUPERFRAME:
        raise MediaError("a VP9 picture of more than 8 layer frames")
    width = -(-max(map(len, frames)).bit_length() // 8)
    marker = bytes([0xC0 | width - 1 << 3 | len(frames) - 1])
    sizes = b"".join(len(frame).to_bytes(width, "little") for frame in frames)
    return b"".join(frames) + marker + sizes + marker
