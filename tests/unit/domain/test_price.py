"""What a capture costs a node."""

from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.domain.price import Price, capacity_mcpu, price
from edumeet_recording.domain.request import RequestStream, SrtpParameters


def stream(kind: Kind, srtp: SrtpParameters | None = None) -> RequestStream:
    codec = Codec.OPUS if kind is Kind.AUDIO else Codec.VP8
    return RequestStream(0, kind, codec, 100, 1, 5004, None, 48000, None, srtp)


def test_video_costs_more_than_audio_and_both_more_than_nothing() -> None:
    nothing, audio, video = price([]), price([stream(Kind.AUDIO)]), price([stream(Kind.VIDEO)])
    assert 0 < nothing.mcpu < audio.mcpu < video.mcpu
    assert 0 == nothing.bytes_per_s < audio.bytes_per_s < video.bytes_per_s


def test_streams_add_up() -> None:
    both = price([stream(Kind.AUDIO), stream(Kind.VIDEO)])
    audio, video, nothing = price([stream(Kind.AUDIO)]), price([stream(Kind.VIDEO)]), price([])
    assert both == Price(
        audio.mcpu + video.mcpu - nothing.mcpu,
        audio.network_bytes_per_s + video.network_bytes_per_s,
        audio.disk_bytes_per_s + video.disk_bytes_per_s,
    )


def test_encryption_costs_processor_and_network_but_no_disk() -> None:
    plain, secret = price([stream(Kind.VIDEO)]), price([stream(Kind.VIDEO, SrtpParameters("suite", "key"))])
    assert secret == price([stream(Kind.VIDEO)], encrypted=True)
    assert secret.mcpu > plain.mcpu
    assert secret.network_bytes_per_s > plain.network_bytes_per_s
    assert secret.disk_bytes_per_s == plain.disk_bytes_per_s


def test_capacity_leaves_room_for_the_system() -> None:
    assert 0 < capacity_mcpu(4) < 4000
