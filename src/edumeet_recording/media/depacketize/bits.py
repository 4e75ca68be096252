"""Reading the headers of coded video bit by bit."""

from edumeet_recording.media.errors import MediaError


class BitReader:
    """Reads unsigned numbers from the most significant bit on; past the end it raises `MediaError`."""

    __slots__ = ("_left", "_value")

    def __init__(self, data: bytes | memoryview) -> None:
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)

    def read(self, bits: int) -> int:
        """The next `bits` bits."""
        self._left -= bits
        if self._left < 0:
            raise MediaError("the header is cut off")
        return self._value >> self._left & (1 << bits) - 1

    def ue(self) -> int:
        """Unsigned Exp-Golomb code (H.264 §9.1), which is also AV1's uvlc (§4.10.3)."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 32:
                raise MediaError("an Exp-Golomb code of more than 32 bits")
        return (1 << zeros) - 1 + self.read(zeros)

    def se(self) -> int:
        """Signed Exp-Golomb code (H.264 §9.1.1)."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)
