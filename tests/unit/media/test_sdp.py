"""Session descriptions for FFmpeg."""

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.media.sdp import SdpStream, build_sdp


def test_streams_are_described_line_by_line() -> None:
    streams = [
        SdpStream(Codec.OPUS, 5004, 100),
        SdpStream(Codec.H264, 5006, 103),
        SdpStream(Codec.PCMA, 5008, 8, channels=2),
        SdpStream(Codec.PCMU, 5010, 0),
    ]
    assert build_sdp("127.0.0.1", streams).split("\r\n") == [
        "v=0",
        "o=- 0 0 IN IP4 127.0.0.1",
        "s=-",
        "c=IN IP4 127.0.0.1",
        "t=0 0",
        "m=audio 5004 RTP/AVP 100",
        "a=rtpmap:100 OPUS/48000/2",
        "m=video 5006 RTP/AVP 103",
        "a=rtpmap:103 H264/90000",
        "a=fmtp:103 packetization-mode=1",
        "m=audio 5008 RTP/AVP 8",
        "a=rtpmap:8 PCMA/8000/2",
        "m=audio 5010 RTP/AVP 0",
        "a=rtpmap:0 PCMU/8000",
        "",
    ]


def test_ipv6_is_named() -> None:
    assert "c=IN IP6 ::1\r\n" in build_sdp("::1", [])
