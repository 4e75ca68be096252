"""A session description by which FFmpeg receives RTP streams (`ffmpeg -i …sdp`; RFC 8866)."""

from collections.abc import Iterable
from dataclasses import dataclass

from edumeet_recording.domain.codecs import CLOCK_RATE_HZ, Codec, kind_of


@dataclass(frozen=True, slots=True)
class SdpStream:
    """One stream, received on `port`; FFmpeg wants a port for each."""

    codec: Codec
    port: int
    payload_type: int
    channels: int = 1


def build_sdp(address: str, streams: Iterable[SdpStream]) -> str:
    """The description of `streams`, received at `address`."""
    family = "IP6" if ":" in address else "IP4"
    lines = ["v=0", f"o=- 0 0 IN {family} {address}", "s=-", f"c=IN {family} {address}", "t=0 0"]
    for stream in streams:
        # Opus is always declared with two channels, whatever it carries (RFC 7587 §7).
        channels = 2 if stream.codec is Codec.OPUS else stream.channels
        encoding = f"{stream.codec.upper()}/{CLOCK_RATE_HZ[stream.codec]}" + (f"/{channels}" if channels > 1 else "")
        lines.append(f"m={kind_of(stream.codec)} {stream.port} RTP/AVP {stream.payload_type}")
        lines.append(f"a=rtpmap:{stream.payload_type} {encoding}")
        if stream.codec is Codec.H264:
            lines.append(f"a=fmtp:{stream.payload_type} packetization-mode=1")
    return "\r\n".join([*lines, ""])
