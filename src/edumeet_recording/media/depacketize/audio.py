"""Audio frames from packets: each packet is one."""

from collections.abc import Callable

from edumeet_recording.media.depacketize.base import Frame
from edumeet_recording.media.errors import MediaError
from edumeet_recording.media.rtp import RtpPacket


class AudioDepacketizer:
    """A `Depacketizer` of audio. `duration` gives a payload's samples, or raises `MediaError` where it is malformed."""

    def __init__(self, duration: Callable[[memoryview], int]) -> None:
        self.damaged = 0
        self.dropped_until_key = 0
        self.waiting_key = False
        self._duration = duration

    def push(self, sequence: int, timestamp: int, arrival_ns: int, packet: RtpPacket) -> list[Frame]:
        """Take one packet; see `Depacketizer`."""
        payload = packet.payload
        if not payload:
            return []
        try:
            self._duration(payload)
        except MediaError:
            self.damaged += 1
            return []
        return [Frame(timestamp, arrival_ns, bytes(payload), True, None, None, sequence, sequence)]

    def flush(self) -> list[Frame]:
        """Nothing is ever held back."""
        return []
