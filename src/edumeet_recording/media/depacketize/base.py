"""What every depacketizer takes and gives: packets of one stream in sequence order in, whole frames out."""

from typing import NamedTuple, Protocol

from edumeet_recording.media.rtp import RtpPacket


class Frame(NamedTuple):
    """One coded picture, or the audio of one packet.

    `timestamp` (units of the RTP clock), `first_sequence` and `last_sequence` are unwrapped; `arrival_ns` is when the
    first packet came; `width` and `height` (pixels) are known at key frames of video. Audio frames are all `key`.
    """

    timestamp: int
    arrival_ns: int
    data: bytes
    key: bool
    width: int | None
    height: int | None
    first_sequence: int
    last_sequence: int


class Depacketizer(Protocol):
    """Rebuilds the frames of one stream.

    Packets come in sequence order, without duplicates; a hole in `sequence` is loss. Nothing here raises on hostile
    payloads: what cannot be a whole frame is dropped and counted. Payloads must stay unchanged until the frame they
    belong to is out.
    """

    damaged: int
    """Frames dropped for a part that is missing or malformed."""
    dropped_until_key: int
    """Whole frames dropped because what they refer to is missing."""
    waiting_key: bool
    """True while nothing but a key frame can come out."""

    def push(self, sequence: int, timestamp: int, arrival_ns: int, packet: RtpPacket) -> list[Frame]:
        """Take one packet, its sequence number and timestamp unwrapped; give the frames that are complete by it."""
        ...

    def flush(self) -> list[Frame]:
        """Give what the end of the stream completes."""
        ...
