"""From tape to file: every codec in every container, copied or made anew, in changing sizes, and hostile."""

import random
from dataclasses import replace
from fractions import Fraction

import av
import pytest
from tests.integration.finalizer import Finalizer, three_sizes
from tests.integration.synthetic_tape import Datagram, Sent, audio, capture, task, video

from edumeet_recording.domain.codecs import Codec, Container, Quality
from edumeet_recording.media.rtp import is_rtcp, parse_rtp
from edumeet_recording.sim import content
from edumeet_recording.sim.analyse import presence
from edumeet_recording.sim.content import Shape

COPIES = [
    (Codec.VP8, Container.WEBM),
    (Codec.VP8, Container.MKV),
    (Codec.VP9, Container.WEBM),
    (Codec.VP9, Container.MP4),
    (Codec.H264, Container.MP4),
    (Codec.H264, Container.MKV),
    (Codec.AV1, Container.MP4),
    (Codec.AV1, Container.WEBM),
    (Codec.AV1, Container.MKV),
]


@pytest.mark.parametrize(("codec", "container"), COPIES)
async def test_copies_what_the_container_takes(finalizer: Finalizer, codec: Codec, container: Container) -> None:
    sent = audio(Codec.OPUS, 6), video(codec, 6)

    done, found = await finalizer.done(task(capture(finalizer.store, *sent), container=container))

    assert done.warnings == ()
    assert abs(done.duration_s - 6) < 0.1
    assert found.decode_errors == found.disordered == 0
    assert found.video is not None
    assert found.video.frames == 150
    assert found.audio is not None
    assert presence(found.audio.beeps, 5) == presence(found.video.flashes, 5) == 1
    assert (found.offset_p95_ms or 0) < 20


@pytest.mark.parametrize(
    ("codec", "container", "quality", "made"),
    [
        (Codec.VP8, Container.MP4, None, "h264"),
        (Codec.H264, Container.WEBM, None, "vp9"),
        (Codec.VP8, Container.MP4, Quality.LOW, "h264"),
        (Codec.H264, Container.WEBM, Quality.HIGH, "vp9"),
    ],
)
async def test_transcodes_what_it_does_not_take(
    finalizer: Finalizer, codec: Codec, container: Container, quality: Quality | None, made: str
) -> None:
    sent = audio(Codec.OPUS, 6), video(codec, 6)

    done, found = await finalizer.done(task(capture(finalizer.store, *sent), container=container, quality=quality))

    assert {stream.codec for stream in done.streams} == {made, "opus"}
    assert done.warnings == ()
    assert found.decode_errors == found.disordered == 0
    assert found.video is not None
    assert found.video.frames == 150
    assert (found.offset_p95_ms or 0) < 25
    assert abs(done.duration_s - 6) < 0.1
    assert "transcode" in dict(finalizer.said)


@pytest.mark.parametrize(("container", "made"), [(Container.MKV, "opus"), (Container.MP4, "aac")])
async def test_g711_is_encoded_anew_beside_copied_video(finalizer: Finalizer, container: Container, made: str) -> None:
    sent = audio(Codec.PCMU, 6), video(Codec.H264, 6)

    done, found = await finalizer.done(task(capture(finalizer.store, *sent), container=container))

    assert {stream.codec for stream in done.streams} == {"h264", made}
    assert (found.offset_p95_ms or 0) < 25
    assert len(found.offsets_s) >= 5


@pytest.mark.parametrize(
    ("codec", "container"),
    [
        (Codec.VP8, Container.WEBM),
        (Codec.VP9, Container.MP4),
        (Codec.H264, Container.MP4),
        (Codec.H264, Container.MKV),
        (Codec.AV1, Container.MP4),
    ],
)
async def test_a_change_of_size_is_kept_by_copy_and_told(
    finalizer: Finalizer, codec: Codec, container: Container
) -> None:
    done, found = await finalizer.done(task(three_sizes(finalizer.store, codec), container=container))

    assert found.video is not None
    assert found.video.sizes == ((160, 90), (320, 180), (90, 160))
    assert found.decode_errors == 0
    assert any("changes its size 2 times" in warning for warning in done.warnings)


async def test_a_change_of_size_is_fitted_into_one_by_transcode(finalizer: Finalizer) -> None:
    done, found = await finalizer.done(task(three_sizes(finalizer.store, Codec.VP8), container=Container.MP4))

    assert found.video is not None
    assert found.video.sizes == ((320, 180),)
    assert found.video.frames == 300
    assert (found.offset_p95_ms or 0) < 25
    assert done.warnings == ()


@pytest.mark.parametrize("container", [Container.MP4, Container.MKV])
async def test_b_frames_are_shown_in_order(finalizer: Finalizer, container: Container) -> None:
    """What a plain `ffmpeg -f rtp` sends: WebRTC has no B-frames, x264's defaults have."""
    done, found = await finalizer.done(
        task(capture(finalizer.store, audio(Codec.OPUS, 8), with_b_frames(8)), container=container)
    )

    assert found.decode_errors == found.disordered == 0
    assert found.video is not None
    numbers = [number for number, _ in found.video.numbers]
    assert numbers == sorted(numbers)
    assert len(numbers) == 200
    # The encoder holds a frame back, and without sender reports nothing says so.
    assert (found.offset_p95_ms or 0) < 60
    assert done.warnings == ()


@pytest.mark.parametrize("codec", [Codec.VP8, Codec.VP9, Codec.H264, Codec.AV1])
@pytest.mark.parametrize("keep_bytes", [0, 2, 12])
@pytest.mark.parametrize("container", [Container.MKV, Container.MP4])
async def test_a_hostile_video_leaves_the_audio_whole(
    finalizer: Finalizer, codec: Codec, keep_bytes: int, container: Container
) -> None:
    chance = random.Random(keep_bytes)
    hostile = video(codec, 6).map(
        lambda one: replace(one, payload=one.payload[:keep_bytes] + chance.randbytes(len(one.payload)))
    )

    done, found = await finalizer.done(
        task(capture(finalizer.store, audio(Codec.OPUS, 6), hostile), container=container)
    )

    assert found.audio is not None
    assert presence(found.audio.beeps, 5) == 1
    assert done.warnings


def with_b_frames(seconds: int) -> Sent:
    """H.264 by x264's defaults, packed by libavformat; each frame leaves when it is encoded."""
    written: list[bytes] = []

    class Wire:
        def write(self, data: bytes) -> int:
            written.append(bytes(data))
            return len(data)

    shape = Shape(160, 90, 25)
    datagrams: list[Datagram] = []
    with av.open(Wire(), "w", format="rtp", options={"packetsize": "1200"}) as wire:
        encoder = wire.add_stream("libx264", rate=25, options={"bf": "3", "rc-lookahead": "0", "g": "50"})
        encoder.width, encoder.height, encoder.pix_fmt = shape.width, shape.height, "yuv420p"
        for number in range(seconds * 25 + 1):
            frame = None
            if number < seconds * 25:
                frame = av.VideoFrame.from_ndarray(content.frame(number, shape, 0), format="yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, 25)
            for packet in encoder.encode(frame):
                wire.mux(packet)
                for packed in (parse_rtp(data) for data in written if not is_rtcp(data)):
                    datagrams.append(
                        Datagram(number / 25, len(datagrams), packed.timestamp, packed.marker, bytes(packed.payload))
                    )
                written.clear()
    return Sent(Codec.H264, tuple(datagrams), 1)
