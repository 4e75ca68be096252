from itertools import pairwise

import pytest

from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.media.depacketize.opus import opus_duration
from edumeet_recording.sim.content import Shape
from edumeet_recording.sim.encode import AudioEncoder, Burst, VideoEncoder

BEFORE_WRAP = 2**32 - 10_000


def _video(codec: Codec, numbers: list[int], *, forced: int | None = None) -> list[Burst]:
    encoder = VideoEncoder(
        codec, shape=Shape(), index=0, bit_rate=300_000, key_frame_interval_s=2, first_timestamp=BEFORE_WRAP
    )
    try:
        return [encoder.encode(number, force_key=number == forced) for number in numbers]
    finally:
        encoder.close()


@pytest.mark.parametrize("codec", [Codec.VP8, Codec.VP9, Codec.H264])
def test_key_frames_come_by_interval_and_when_asked_for_only(codec: Codec) -> None:
    bursts = _video(codec, list(range(60)), forced=5)

    keys = [number for number, burst in enumerate(bursts) if burst.key]
    assert keys[:2] == [0, 5]
    assert keys[2:] in ([50], [55])
    for number, burst in enumerate(bursts):
        assert [piece.marker for piece in burst.pieces] == [False] * (len(burst.pieces) - 1) + [True]
        assert {piece.timestamp for piece in burst.pieces} == {(BEFORE_WRAP + 3600 * number) & 0xFFFFFFFF}
        assert max(len(piece.payload) for piece in burst.pieces) <= 1188


def test_over_a_pause_the_timestamps_stay_those_of_media_time() -> None:
    video = _video(Codec.VP8, [0, 1, 100, 101])
    encoder = AudioEncoder(Codec.OPUS, index=0, first_timestamp=BEFORE_WRAP)
    audio = [encoder.encode(number) for number in (0, 1, 100, 101)]
    encoder.close()

    for bursts, step in ((video, 3600), (audio, 960)):
        stamps = [burst.pieces[0].timestamp for burst in bursts]
        assert [(stamp - stamps[0]) & 0xFFFFFFFF for stamp in stamps] == [0, step, 100 * step, 101 * step]


@pytest.mark.parametrize(("codec", "size"), [(Codec.PCMU, 160), (Codec.PCMA, 160), (Codec.OPUS, None)])
def test_audio_goes_out_in_blocks_of_20_ms(codec: Codec, size: int | None) -> None:
    encoder = AudioEncoder(codec, index=0, first_timestamp=0)
    bursts = [encoder.encode(number) for number in range(10)]
    encoder.close()

    assert {burst.kind for burst in bursts} == {Kind.AUDIO}
    assert all(burst.key and len(burst.pieces) == 1 for burst in bursts)
    payloads = [burst.pieces[0].payload for burst in bursts]
    if size is None:
        assert {opus_duration(payload) for payload in payloads} == {960}
    else:
        assert {len(payload) for payload in payloads} == {size}


def test_opus_takes_its_look_ahead_off_the_timestamp() -> None:
    encoder = AudioEncoder(Codec.OPUS, index=0, first_timestamp=0)

    burst = encoder.encode(0)
    encoder.close()

    assert burst.pieces[0].timestamp == -312 & 0xFFFFFFFF


def test_dtx_leaves_out_silence_and_no_beep() -> None:
    encoder = AudioEncoder(Codec.OPUS, index=0, first_timestamp=0, dtx=True)
    sent = [number for number in range(150) if encoder.encode(number).pieces]
    encoder.close()

    assert len(sent) < 90
    assert {50, 51, 52, 53, 54, 100, 101, 102, 103, 104} <= set(sent)
    assert max(after - before for before, after in pairwise(sent)) == 20


def test_another_size_begins_with_a_key_frame_and_goes_on_in_time() -> None:
    encoder = VideoEncoder(
        Codec.VP8, shape=Shape(), index=0, bit_rate=300_000, key_frame_interval_s=60, first_timestamp=BEFORE_WRAP
    )
    bursts = [encoder.encode(number, force_key=False) for number in range(5)]
    encoder.resize(Shape(160, 90))
    bursts += [encoder.encode(number, force_key=False) for number in range(5, 10)]
    encoder.close()

    assert [number for number, burst in enumerate(bursts) if burst.key] == [0, 5]
    stamps = [burst.pieces[0].timestamp for burst in bursts]
    assert stamps == [(BEFORE_WRAP + 3600 * number) & 0xFFFFFFFF for number in range(10)]
