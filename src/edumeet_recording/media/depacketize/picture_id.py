"""Picture ids, which count the frames of VP8 (RFC 7741 §4.2) and VP9 (RFC 9628 §4.2) in 7 or 15 bits."""


def picture_id(payload: memoryview, at: int) -> tuple[int, int, int]:
    """The id at an offset, what it is modulo, and the offset after it. Raises `IndexError` where it is cut off."""
    first = payload[at]
    if first & 0x80:
        return (first & 0x7F) << 8 | payload[at + 1], 0x8000, at + 2
    return first, 0x80, at + 1
