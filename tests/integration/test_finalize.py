"""From tape to file: what goes wrong on the way to the tape, and what a decoder finds in the file."""

from dataclasses import replace

import pytest
from tests.integration.finalizer import Finalizer, renumbered, streams
from tests.integration.synthetic_tape import Datagram, Network, Sent, audio, capture, task, video

from edumeet_recording.domain.capture import CaptureRole
from edumeet_recording.domain.codecs import Codec, Container, Kind
from edumeet_recording.sim.analyse import presence
from edumeet_recording.wire.node_link import FinalizeFailed


@pytest.mark.parametrize("container", Container)
async def test_video_that_comes_late_starts_late(finalizer: Finalizer, container: Container) -> None:
    late = video(Codec.VP9, 20).where(lambda one: one.sent_s >= 10)

    done, found = await finalizer.done(task(capture(finalizer.store, audio(Codec.OPUS, 20), late), container=container))

    assert found.video is not None
    assert found.video.frames == 250
    assert 9.98 < found.video.numbers[0][1] < 10.02
    assert (found.offset_p95_ms or 0) < 20
    assert abs(done.duration_s - 20) < 0.1


async def test_audio_that_comes_late_starts_late(finalizer: Finalizer) -> None:
    late = audio(Codec.OPUS, 20).where(lambda one: one.sent_s >= 10)

    done, found = await finalizer.done(
        task(capture(finalizer.store, late, video(Codec.VP8, 20)), container=Container.MP4)
    )

    assert len(found.offsets_s) >= 9
    assert (found.offset_p95_ms or 0) < 25
    assert abs(done.duration_s - 20) < 0.1


@pytest.mark.parametrize("kind", Kind)
async def test_one_kind_alone(finalizer: Finalizer, kind: Kind) -> None:
    sent = audio(Codec.OPUS, 6), video(Codec.VP8, 6)

    done, _ = await finalizer.done(task(capture(finalizer.store, *sent), container=Container.WEBM, include=(kind,)))

    assert [stream.kind for stream in done.streams] == [kind]
    assert done.warnings == ()
    assert abs(done.duration_s - 6) < 0.1


async def test_a_mute_is_a_gap_in_its_place(finalizer: Finalizer) -> None:
    def heard(one: Datagram) -> bool:
        return not 4 <= one.sent_s < 34

    # A producer's pause shows as a timestamp jump; sequence numbers go on.
    sent = [renumbered(one.where(heard)) for one in (audio(Codec.OPUS, 40), video(Codec.VP8, 40))]

    done, found = await finalizer.done(task(capture(finalizer.store, *sent), container=Container.WEBM))

    assert abs(done.duration_s - 40) < 0.1
    assert len(found.offsets_s) >= 8
    assert (found.offset_p95_ms or 0) < 20
    for stream in streams(done):
        assert stream["gapCount"] == 1
        (gap,) = stream["gaps"]
        assert gap["cause"] == "pause"
        assert gap["atS"] == pytest.approx(4, abs=0.1)
        assert gap["durationS"] == pytest.approx(30, abs=0.1)


async def test_loss_leaves_no_broken_picture(finalizer: Finalizer) -> None:
    sent = audio(Codec.OPUS, 20), video(Codec.VP8, 20)

    done, found = await finalizer.done(
        task(capture(finalizer.store, *sent, network=Network(loss=0.02, jitter_s=0.05)), container=Container.WEBM)
    )

    assert found.decode_errors == found.disordered == 0
    assert (found.offset_p95_ms or 0) < 60
    sound, picture = sorted(streams(done), key=lambda stream: stream["kind"])
    assert 10 <= sound["lost"] <= 40
    assert picture["droppedUntilKey"] > 0
    assert any("packets were lost" in warning for warning in done.warnings)


async def test_retransmissions_fill_the_holes(finalizer: Finalizer) -> None:
    picture = video(Codec.VP8, 10)
    lost = {one.sequence for number, one in enumerate(picture.datagrams) if number % 20 == 7}
    late = picture.map(lambda one: replace(one, sent_s=one.sent_s + 0.3) if one.sequence in lost else one)

    done, found = await finalizer.done(
        task(capture(finalizer.store, audio(Codec.OPUS, 10), late), container=Container.WEBM)
    )

    assert found.video is not None
    assert found.video.frames == 250
    (stream,) = (one for one in streams(done) if one["kind"] == "video")
    assert stream["lost"] == 0
    assert stream["recovered"] > 0


async def test_rtx_fills_the_holes(finalizer: Finalizer) -> None:
    picture = video(Codec.VP8, 10)
    lost = [one for number, one in enumerate(picture.datagrams) if number % 20 == 7]
    rtx = Sent(
        Codec.VP8,
        tuple(
            replace(
                one,
                sent_s=one.sent_s + 0.3,
                sequence=number,
                payload=(one.sequence & 0xFFFF).to_bytes(2) + one.payload,
            )
            for number, one in enumerate(lost)
        ),
        picture.index,
        ssrc=77,
        payload_type=99,
    )
    stream = picture.stream.model_copy(update={"rtx_ssrc": 77, "rtx_payload_type": 99})
    sound = audio(Codec.OPUS, 10)
    holed = picture.where(lambda one: one not in lost)

    done, found = await finalizer.done(
        task(capture(finalizer.store, sound, holed, rtx, streams=(sound.stream, stream)), container=Container.WEBM)
    )

    assert found.video is not None
    assert found.video.frames == 250
    assert done.warnings == ()


async def test_a_publisher_that_comes_back_stays_on_the_timeline(finalizer: Finalizer) -> None:
    """Same SSRC, wild timestamps and sequence numbers: one file, the picture where it was in time."""
    sound = audio(Codec.OPUS, 20)
    before = video(Codec.VP8, 8)
    after = video(Codec.VP8, 8, first_number=12 * 25, first_sequence=30_000, first_timestamp=0x4000_0000)
    both = replace(before, datagrams=before.datagrams + after.datagrams)

    done, found = await finalizer.done(task(capture(finalizer.store, sound, both), container=Container.WEBM))

    assert found.video is not None
    assert found.video.frames == 400
    assert (found.offset_p95_ms or 0) < 25
    (stream,) = (one for one in streams(done) if one["kind"] == "video")
    (gap,) = stream["gaps"]
    assert gap["cause"] == "restart"
    assert stream["lost"] == 0


async def test_another_ssrc_in_another_epoch_goes_on(finalizer: Finalizer) -> None:
    sent = audio(Codec.OPUS, 20), video(Codec.VP8, 20)
    first = [one.where(lambda datagram: datagram.sent_s < 8) for one in sent]
    second = [
        replace(one.where(lambda datagram: datagram.sent_s >= 12), ssrc=9000 + one.index).map(
            lambda datagram: replace(datagram, sequence=datagram.sequence + 12_345)
        )
        for one in sent
    ]

    done, found = await finalizer.done(
        task(
            capture(finalizer.store, *first),
            capture(finalizer.store, *second, capture_id="second", epoch=2),
            container=Container.WEBM,
        )
    )

    assert found.video is not None
    assert found.video.frames == 400
    assert (found.offset_p95_ms or 0) < 20
    assert abs(done.duration_s - 20) < 0.1
    for stream in streams(done):
        (gap,) = stream["gaps"]
        assert gap["cause"] == "handover"
        assert gap["durationS"] == pytest.approx(4, abs=0.1)


def as_another_consumer_sends(sent: Sent) -> Sent:
    """The same packets as another mediasoup consumer of the same producer has them."""
    return replace(sent, ssrc=9000 + sent.index, payload_type=120 + sent.index).map(
        lambda one: replace(one, sequence=one.sequence + 777, timestamp=(one.timestamp + 1_000_000) & 0xFFFFFFFF)
    )


@pytest.mark.parametrize(("codec", "container"), [(Codec.VP8, Container.WEBM), (Codec.H264, Container.MP4)])
async def test_two_captures_fill_each_others_holes(finalizer: Finalizer, codec: Codec, container: Container) -> None:
    """Nothing is sent again, and the clock of the standby's node is wrong by seconds."""
    sent = [audio(Codec.OPUS, 40), video(codec, 40)]
    lossy = Network(loss=0.02, overtaken=0.01)

    done, found = await finalizer.done(
        task(
            capture(finalizer.store, *sent, network=replace(lossy, seed=3)),
            capture(
                finalizer.store,
                *map(as_another_consumer_sends, sent),
                network=replace(lossy, seed=5, latency_s=0.03, ahead_s=lambda _: 1.7),
                capture_id="standby",
                role=CaptureRole.STANDBY,
            ),
            container=container,
        )
    )

    assert found.decode_errors == found.disordered == 0
    assert found.audio is not None
    assert presence(found.audio.beeps, 39) == 1
    assert (found.offset_p95_ms or 0) < 20
    assert abs(done.duration_s - 40) < 0.1
    sound, picture = sorted(streams(done), key=lambda stream: stream["kind"])
    assert sound["frames"] >= 0.995 * 2000
    assert picture["frames"] >= 0.995 * 1000
    # The sound is beeps in silence, packets that are all alike: those fill holes frame by frame.
    primary, standby = sorted(picture["sources"], key=lambda source: source["role"])
    assert primary["filled"] == standby["gave"] > 0.01 * primary["packets"]
    assert standby["filled"] == primary["gave"] > 0.01 * standby["packets"]
    assert primary["lost"] + primary["filled"] == pytest.approx(0.02 * primary["packets"], rel=0.5)


async def test_a_standby_goes_on_alone_where_the_primary_died(finalizer: Finalizer) -> None:
    sent = [audio(Codec.OPUS, 20), video(Codec.VP8, 20)]

    done, found = await finalizer.done(
        task(
            capture(finalizer.store, *(one.where(lambda datagram: datagram.sent_s < 11.3) for one in sent)),
            capture(
                finalizer.store,
                *map(as_another_consumer_sends, sent),
                network=Network(ahead_s=lambda _: -0.9),
                capture_id="standby",
                role=CaptureRole.STANDBY,
            ),
            container=Container.WEBM,
        )
    )

    assert found.video is not None
    assert found.video.frames == 500
    assert found.decode_errors == found.disordered == 0
    assert (found.offset_p95_ms or 0) < 20
    assert abs(done.duration_s - 20) < 0.1
    assert [stream["gapCount"] for stream in streams(done)] == [0, 0]


@pytest.mark.parametrize("errors_s", [(0.0,), (0.02, -0.02, 0.01)])
async def test_sender_reports_undo_what_the_sender_delays(finalizer: Finalizer, errors_s: tuple[float, ...]) -> None:
    """Video leaves the sender 70 ms later than audio of the same moment: only its reports tell."""
    sound = audio(Codec.OPUS, 20).with_reports(5, clock_s=77_000, error_s=errors_s)
    picture = video(Codec.VP8, 20).with_reports(1, clock_s=77_000, error_s=errors_s)
    late = picture.map(lambda one: replace(one, sent_s=one.sent_s + 0.07))

    done, found = await finalizer.done(task(capture(finalizer.store, sound, late), container=Container.WEBM))

    assert (found.offset_p95_ms or 0) < 30
    (stream,) = (one for one in streams(done) if one["kind"] == "video")
    assert stream["senderReportNudgeMs"] == pytest.approx(-70, abs=25)


async def test_chunks_that_are_missing_or_broken_are_gaps_with_a_warning(finalizer: Finalizer) -> None:
    made = capture(finalizer.store, audio(Codec.OPUS, 20), video(Codec.VP8, 20))
    del finalizer.store.objects[made.chunks[1].key]
    finalizer.store.objects[made.chunks[3].key] += b"x"

    done, found = await finalizer.done(task(made, container=Container.WEBM))

    assert any("is missing" in warning for warning in done.warnings)
    assert any("is broken" in warning for warning in done.warnings)
    assert abs(done.duration_s - 20) < 0.1
    assert (found.offset_p95_ms or 0) < 20
    assert [gap["cause"] for gap in streams(done)[0]["gaps"]] == ["loss", "loss"]


async def test_nothing_on_the_tape_is_no_media(finalizer: Finalizer) -> None:
    empty = capture(finalizer.store, video(Codec.VP8, 2).where(lambda one: not one.key))

    for captures in ((), (empty,)):
        outcome = await finalizer.outcome(task(*captures, container=Container.WEBM))

        assert isinstance(outcome, FinalizeFailed)
        assert outcome.no_media
        assert not outcome.retryable
