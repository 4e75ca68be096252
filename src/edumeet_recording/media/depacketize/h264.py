"""H.264 access units from RTP payloads (RFC 6184, packetization modes 0 and 1)."""

from functools import lru_cache

from edumeet_recording.media.depacketize.assembly import Picture
from edumeet_recording.media.depacketize.bits import BitReader
from edumeet_recording.media.errors import MediaError

_START_CODE = b"\0\0\0\1"
_SLICE, _PARTITION_A, _IDR, _SPS, _STAP_A, _FU_A = 1, 2, 5, 7, 24, 28
_MAX_SPS_BYTES = 1024
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
"""profile_idc with chroma format and scaling lists in the SPS (H.264 §7.3.2.1.1)."""


def resolution(key_frame: bytes) -> tuple[int, int]:
    """Width and height in pixels, of the first SPS of an Annex B access unit; `MediaError` where there is none."""
    at = key_frame.find(b"\0\0\1") + 3
    while 3 <= at < len(key_frame):
        following = key_frame.find(b"\0\0\1", at)
        if key_frame[at] & 0x1F == _SPS:
            return sps_resolution(key_frame[at : following if following > 0 else None][:_MAX_SPS_BYTES])
        at = following + 3
    raise MediaError("no SPS in the access unit")


@lru_cache(maxsize=64)  # the same few come back with every key frame
def sps_resolution(nal: bytes) -> tuple[int, int]:
    """Width and height in pixels after cropping, of an SPS NAL unit with its header byte (H.264 §7.3.2.1.1)."""
    bits = BitReader(nal[1:].replace(b"\0\0\3", b"\0\0"))
    profile = bits.read(8)
    bits.read(16)  # constraints, level
    bits.ue()
    chroma = _skip_high_profile(bits) if profile in _HIGH_PROFILES else 1
    bits.ue()  # log2_max_frame_num
    _skip_picture_order(bits)
    bits.ue()  # max_num_ref_frames
    bits.read(1)
    width, rows = 16 * (bits.ue() + 1), 16 * (bits.ue() + 1)
    fields = 2 - bits.read(1)
    bits.read(fields)  # mb_adaptive_frame_field where there are fields, direct_8x8_inference
    left, right, top, bottom = (bits.ue() for _ in range(4)) if bits.read(1) else (0, 0, 0, 0)
    unit_x = 2 if chroma in (1, 2) else 1
    unit_y = (2 if chroma == 1 else 1) * fields
    width -= unit_x * (left + right)
    height = rows * fields - unit_y * (top + bottom)
    if not (0 < width <= 0xFFFF and 0 < height <= 0xFFFF):
        raise MediaError("an SPS of no size")
    return width, height


def _skip_high_profile(bits: BitReader) -> int:
    """Chroma format; 0 also where the planes are separate."""
    chroma = bits.ue()
    if chroma == 3 and bits.read(1):
        chroma = 0
    bits.ue()  # bit depths
    bits.ue()
    bits.read(1)
    if bits.read(1):
        for index in range(12 if chroma == 3 else 8):
            if bits.read(1):
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return chroma


def _skip_scaling_list(bits: BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
            last = following or last


def _skip_picture_order(bits: BitReader) -> None:
    kind = bits.ue()
    if kind == 0:
        bits.ue()
    elif kind == 1:
        bits.read(1)
        bits.se()
        bits.se()
        count = bits.ue()
        if count > 255:
            raise MediaError("an SPS with more than 255 reference frames in its cycle")
        for _ in range(count):
            bits.se()


class H264Builder:
    """A `PictureBuilder`: NAL units with start codes (Annex B), parameter sets where they were sent.

    What comes before the first slice of an access unit belongs to it, also where the sender gave it a timestamp or a
    marker of its own. Only an IDR picture with its SPS known is a key frame.
    """

    def __init__(self) -> None:
        self._parts: list[bytes | memoryview] = []
        self._fragmented = False
        self._slices = 0
        self._idr = False
        self._sps_inside = False
        self._after_hole = False
        self._size: tuple[int, int] | None = None
        self._keys_carry_sps = False

    def resume(self) -> bool:
        """Never: H.264 numbers reference pictures only."""
        self._after_hole = True
        return False

    def add(self, payload: memoryview) -> None:
        """Take a payload: one NAL unit, several (STAP-A), or a part of one (FU-A)."""
        kind = payload[0] & 0x1F
        if kind == _FU_A:
            self._add_fragment(payload)
            return
        if self._fragmented:
            raise MediaError("the end of a fragmented NAL unit is missing")
        if kind == _STAP_A:
            self._add_aggregate(payload)
        elif 0 < kind < _STAP_A:
            self._begin(payload[0], payload[1:])
        else:
            raise MediaError(f"NAL unit type {kind} is not of packetization modes 0 and 1")

    def _begin(self, header: int, body: memoryview) -> None:
        kind = header & 0x1F
        if kind in (_SLICE, _PARTITION_A, _IDR):
            # first_mb_in_slice is 0 where the first bit is 1 (Exp-Golomb).
            if not self._slices and not (body and body[0] & 0x80):
                raise MediaError("the first slice of a picture is missing")
            self._slices += 1
            self._idr = kind == _IDR
        elif kind == _SPS:
            self._sps_inside = True
        self._parts += _START_CODE, bytes([header]), body

    def _add_aggregate(self, payload: memoryview) -> None:
        """STAP-A (§5.7.1): each NAL unit after its 16-bit size."""
        at = 1
        while at < len(payload):
            start = at + 2
            at = start + int.from_bytes(payload[at:start])
            if at > len(payload) or at == start:
                raise MediaError("a NAL unit of an aggregate is cut off")
            self._begin(payload[start], payload[start + 1 : at])

    def _add_fragment(self, payload: memoryview) -> None:
        """FU-A (§5.8): indicator, header with start and end bits, part of the NAL unit."""
        if len(payload) < 3:
            raise MediaError("a fragment without data")
        header = payload[1]
        starts = header > 0x7F
        if starts == self._fragmented:
            raise MediaError("a part of a fragmented NAL unit is missing")
        if starts:
            self._begin(payload[0] & 0xE0 | header & 0x1F, payload[2:])
        else:
            self._parts.append(payload[2:])
        self._fragmented = not header & 0x40

    def finish(self) -> Picture | None:
        """The access unit; None while there is no slice in it."""
        if self._fragmented:
            raise MediaError("the end of a fragmented NAL unit is missing")
        if not self._slices:
            return None
        data = b"".join(self._parts)
        if self._sps_inside:
            self._size = resolution(data)
        elif self._idr and self._after_hole and self._keys_carry_sps:
            raise MediaError("the parameter sets of a key frame were lost")
        picture = Picture(data, False)
        if self._idr and self._size:
            self._keys_carry_sps = self._sps_inside
            picture = Picture(data, True, *self._size)
        self.reset()
        return picture

    def reset(self) -> None:
        """Forget the access unit begun."""
        self._parts.clear()
        self._fragmented = self._idr = self._sps_inside = self._after_hole = False
        self._slices = 0
