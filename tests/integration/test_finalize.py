"""From tape to file: synthetic tapes of real encoders' packets, and what a decoder finds in the file."""

import asyncio
import errno
import hashlib
import json
import os
import random
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from tests.integration.synthetic_tape import Datagram, Network, Sent, TapeStore, audio, capture, task, video
from tests.waiting import eventually

from edumeet_recording.domain.capture import CaptureRole
from edumeet_recording.domain.codecs import Codec, Container, Kind, Quality
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.media.rtp import is_rtcp, parse_rtp
from edumeet_recording.node.assemble import assemble
from edumeet_recording.node.mux import Muxer
from edumeet_recording.node.transcode import Converter
from edumeet_recording.sim import content
from edumeet_recording.sim.analyse import ContentReport, analyse, presence
from edumeet_recording.sim.content import Shape
from edumeet_recording.wire.node_link import FinalizeDone, FinalizeFailed, FinalizeTask, TaskCapture


class Finalizer:
    """Finalizes tasks in a folder and judges the file."""

    def __init__(self, folder: Path) -> None:
        self.store = TapeStore(folder / "storage")
        self.said: list[tuple[str, float]] = []
        self.converter = Converter(get_ffmpeg_exe())
        self._work_dir = folder / "work"

    async def outcome(self, given: FinalizeTask) -> FinalizeDone | FinalizeFailed:
        return await assemble(
            given, self.store, self._work_dir, self.converter, lambda phase, at: self.said.append((phase, at))
        )

    async def done(self, given: FinalizeTask) -> tuple[FinalizeDone, ContentReport]:
        outcome = await self.outcome(given)
        assert isinstance(outcome, FinalizeDone), outcome
        return outcome, analyse(self.store.path(outcome.file_key))


@pytest.fixture
def finalizer(tmp_path: Path) -> Finalizer:
    return Finalizer(tmp_path)


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


async def test_the_report_says_what_was_stored(finalizer: Finalizer) -> None:
    done, _ = await finalizer.done(
        task(capture(finalizer.store, audio(Codec.OPUS, 6), video(Codec.H264, 6)), container=Container.MP4)
    )

    stored = finalizer.store.path(done.file_key).read_bytes()
    told = json.loads(finalizer.store.objects[done.report_key])
    assert told == done.report
    assert told["file"]["sha256"] == done.sha256 == hashlib.sha256(stored).hexdigest()
    assert told["file"]["bytes"] == done.bytes == len(stored)
    assert told["checks"]["framesWritten"] == told["checks"]["framesFound"] == 450
    assert stored.index(b"moov") < stored.index(b"mdat")
    assert finalizer.said[-1] == ("store", 1.0)


def streams(done: FinalizeDone) -> list[dict[str, Any]]:
    return json.loads(json.dumps(done.report["streams"]))


def renumbered(sent: Sent) -> Sent:
    """Without holes in the sequence numbers."""
    first = sent.datagrams[0].sequence
    numbers = {one.sequence: first + number for number, one in enumerate(sent.datagrams)}
    return sent.map(lambda one: replace(one, sequence=numbers[one.sequence]))


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


def three_sizes(store: TapeStore, codec: Codec) -> TaskCapture:
    """160x90, then 320x180, then portrait, each for four seconds, as a simulcast sender does it."""
    parts = [
        video(codec, 4, shape=shape, first_number=100 * number)
        for number, shape in enumerate((Shape(160, 90, 25), Shape(320, 180, 25), Shape(90, 160, 25)))
    ]
    joined = replace(parts[0], datagrams=tuple(one for part in parts for one in part.datagrams))
    first = joined.datagrams[0].sequence
    datagrams = tuple(replace(one, sequence=first + number) for number, one in enumerate(joined.datagrams))
    return capture(store, audio(Codec.OPUS, 12), replace(joined, datagrams=datagrams))


class Child:
    """The finalize process on a task, with its storage in a folder."""

    def __init__(self, folder: Path) -> None:
        self.store = TapeStore(folder / "storage")
        self._folder = folder

    @asynccontextmanager
    async def running(
        self, given: FinalizeTask, **environment: str
    ) -> AsyncGenerator[asyncio.subprocess.Process, None]:
        for key, data in self.store.objects.items():
            target = self.store.path(key)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "edumeet_recording.node.finalize",
            "--work-dir",
            str(self._folder / "work"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "STORAGE_URL": self.store.folder.as_uri(), **environment},
        )
        assert process.stdin is not None
        process.stdin.write(given.to_json().encode())
        process.stdin.close()
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def lines(self, given: FinalizeTask, **environment: str) -> list[dict[str, Any]]:
        """What it printed, once it has exited with 0."""
        async with self.running(given, **environment) as process:
            printed, _ = await process.communicate()
            assert process.returncode == 0
        return [json.loads(line) for line in printed.splitlines()]


@pytest.fixture
def child(tmp_path: Path) -> Child:
    return Child(tmp_path)


async def test_the_process_prints_progress_and_what_it_made(child: Child) -> None:
    sent = audio(Codec.OPUS, 6), video(Codec.VP8, 6)

    *progress, last = await child.lines(task(capture(child.store, *sent), container=Container.MP4))

    done = FinalizeDone.model_validate(last)
    assert analyse(child.store.path(done.file_key)).duration_s == pytest.approx(6, abs=0.1)
    assert {line["phase"] for line in progress} >= {"fetch", "scan", "write", "transcode", "check", "store"}
    fractions = [line["fraction"] for line in progress]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    stored = json.loads(child.store.path(done.report_key).read_bytes())
    assert stored["file"]["sha256"] == done.sha256


async def test_a_failing_ffmpeg_fails_with_its_last_words(child: Child, tmp_path: Path) -> None:
    made = task(capture(child.store, video(Codec.VP8, 2)), container=Container.MP4)

    for words, expected in (("no such filter", "no such filter"), ("No space left on device", "the disk is full")):
        ffmpeg = script(tmp_path / "ffmpeg", f"echo '{words}' >&2; exit 3")
        failed = FinalizeFailed.model_validate((await child.lines(made, FFMPEG_BIN=str(ffmpeg)))[-1])

        assert expected in failed.error
        assert failed.retryable
        assert not failed.no_media


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_its_end_is_ffmpegs_end(child: Child, tmp_path: Path, number: signal.Signals) -> None:
    pid_file = tmp_path / "pid"
    ffmpeg = script(tmp_path / "ffmpeg", f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 60")
    made = task(capture(child.store, video(Codec.VP8, 2)), container=Container.MP4)

    async with child.running(made, FFMPEG_BIN=str(ffmpeg)) as process:
        await eventually(pid_file.exists, timeout=20)
        pid = int(pid_file.read_text())
        assert os.getpgid(pid) not in (os.getpgid(0), process.pid)
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 2) == -number
        await eventually(lambda: not Path(f"/proc/{pid}/cmdline").exists(), timeout=2)


async def test_storage_that_is_away_is_worth_another_attempt(finalizer: Finalizer) -> None:
    made = capture(finalizer.store, video(Codec.VP8, 2))

    class Away(TapeStore):
        async def get(self, key: str) -> bytes:
            raise Unavailable(f"the bucket of {key} is away")

    finalizer.store = Away(finalizer.store.folder)
    outcome = await finalizer.outcome(task(made, container=Container.WEBM))

    assert isinstance(outcome, FinalizeFailed)
    assert outcome.error.endswith("is away")
    assert outcome.retryable


async def test_a_full_disk_is_worth_another_attempt(finalizer: Finalizer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Muxer, "write", full)

    outcome = await finalizer.outcome(task(capture(finalizer.store, video(Codec.VP8, 2)), container=Container.WEBM))

    assert isinstance(outcome, FinalizeFailed)
    assert outcome.error.startswith("the disk is full")
    assert outcome.retryable


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


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
