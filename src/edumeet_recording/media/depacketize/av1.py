"""AV1 temporal units from RTP payloads (AOM, "RTP Payload Format For AV1", v1.0)."""

from collections.abc import Iterator
from functools import lru_cache

from edumeet_recording.media.depacketize.assembly import Picture
from edumeet_recording.media.depacketize.bits import BitReader
from edumeet_recording.media.errors import MediaError

_SEQUENCE_HEADER, _TEMPORAL_DELIMITER, _FRAME_HEADER, _FRAME, _TILE_LIST, _PADDING = 1, 2, 3, 6, 8, 15
_NOT_FORWARDED = frozenset({_TEMPORAL_DELIMITER, _TILE_LIST, _PADDING})
"""OBU types that a receiver ignores (§5)."""
_MAX_HEADER_BYTES = 1024
_DELIMITER = b"\x12\x00"


def resolution(key_frame: bytes) -> tuple[int, int]:
    """Largest frame width and height in pixels, of the temporal unit's sequence header. Raises `MediaError`."""
    for kind, payload in _obus(key_frame):
        if kind == _SEQUENCE_HEADER:
            return _sequence_size(payload[:_MAX_HEADER_BYTES])
    raise MediaError("no sequence header in the temporal unit")


def _obus(unit: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and payload of each OBU of the low-overhead format (AV1 §5.2)."""
    at = 0
    while at < len(unit):
        header = unit[at]
        start = at + (2 if header & 0x04 else 1)
        size, start = read_leb128(unit, start)
        at = start + size
        if not header & 0x02 or at > len(unit):
            raise MediaError("not a temporal unit in the low-overhead format")
        yield header >> 3 & 0x0F, unit[start:at]


@lru_cache(maxsize=64)  # the same few come back with every key frame
def _sequence_size(payload: bytes) -> tuple[int, int]:
    """Of `sequence_header_obu` (AV1 §5.5.1)."""
    bits = BitReader(payload)
    bits.read(4)  # profile, still_picture
    if bits.read(1):  # reduced_still_picture_header
        bits.read(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    return bits.read(width_bits) + 1, bits.read(height_bits) + 1


def _skip_operating_points(bits: BitReader) -> None:
    delay_bits = 0
    if bits.read(1):  # timing_info
        bits.read(64)
        if bits.read(1):
            bits.ue()
        if bits.read(1):  # decoder_model_info
            delay_bits = bits.read(5) + 1
            bits.read(42)
    initial_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if delay_bits and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if initial_delay and bits.read(1):
            bits.read(4)


def read_leb128(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """A number in little-endian base 128 (AV1 §4.10.5) and where it ends. Raises `MediaError`."""
    value = 0
    for shift in range(0, 56, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise MediaError("a LEB128 number does not end")


def write_leb128(value: int) -> bytes:
    """`value` in little-endian base 128, as short as can be."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Av1Builder:
    """A `PictureBuilder`: a temporal unit in the low-overhead format, a temporal delimiter first."""

    def __init__(self) -> None:
        self._obus: list[bytes] = [_DELIMITER]
        self._fragment: list[memoryview] = []
        self._key: bool | None = None

    def resume(self) -> bool:
        """Never: without the dependency descriptor AV1 packets do not number their frames."""
        return False

    def add(self, payload: memoryview) -> None:
        """Take a payload: OBU elements after the aggregation header (§4.4)."""
        header = payload[0]
        if (header > 0x7F) != bool(self._fragment):
            raise MediaError("a part of a fragmented OBU is missing")
        elements = list(_elements(payload, header >> 4 & 0x03))
        for index, element in enumerate(elements):
            self._fragment.append(element)
            if index < len(elements) - 1 or not header & 0x40:
                self._end_obu()

    def _end_obu(self) -> None:
        obu = b"".join(self._fragment)
        self._fragment.clear()
        start = 2 if obu and obu[0] & 0x04 else 1
        if len(obu) < start:
            raise MediaError("an OBU without a header")
        head, kind = obu[0], obu[0] >> 3 & 0x0F
        body = obu[start:]
        if head & 0x02:
            size, begin = read_leb128(obu, start)
            if begin + size > len(obu):
                raise MediaError("an OBU is longer than its element")
            body = obu[begin : begin + size]
        if kind in _NOT_FORWARDED:
            return
        if kind in (_FRAME, _FRAME_HEADER) and self._key is None:
            # The first three bits: show_existing_frame, frame_type (AV1 §5.9.2); still pictures do not come by RTP.
            self._key = bool(body) and body[0] >> 5 == 0
        self._obus.append(bytes([head | 0x02]) + obu[1:start] + write_leb128(len(body)) + body)

    def finish(self) -> Picture:
        """The temporal unit. A key frame is one that begins with its sequence header: without it, it may be cut off."""
        if self._fragment or len(self._obus) == 1:
            raise MediaError("the end of a temporal unit is missing")
        data = b"".join(self._obus)
        key = self._key and self._obus[1][0] >> 3 & 0x0F == _SEQUENCE_HEADER
        picture = Picture(data, True, *resolution(data)) if key else Picture(data, False)
        self.reset()
        return picture

    def reset(self) -> None:
        """Forget the temporal unit begun."""
        self._obus = [_DELIMITER]
        self._fragment.clear()
        self._key = None


def _elements(payload: memoryview, count: int) -> Iterator[memoryview]:
    """OBU elements: each after its size, but the last where the header counts them."""
    at = 1
    index = 0
    while at < len(payload):
        index += 1
        size = len(payload) - at
        if index != count:
            size, at = read_leb128(payload, at)
        if not 0 < size <= len(payload) - at:
            raise MediaError("an OBU element is cut off")
        yield payload[at : at + size]
        at += size
    if index < max(count, 1):
        raise MediaError("an OBU element is missing")
