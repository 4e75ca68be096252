from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import av
import pytest

from edumeet_recording.domain.codecs import Kind
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.sim import content
from edumeet_recording.sim.content import Shape
from edumeet_recording.sim.publisher import PeerMedia, SentEvent
from edumeet_recording.sim.verdict import Bounds, Verdict, judge
from edumeet_recording.wire.views import Recording, RecordingFile

BEGAN = datetime(2026, 11, 22, tzinfo=UTC)
SECONDS = 6
MEDIA = PeerMedia(audio=None, shape=Shape(160, 90, 25), index=1)
PLAN = tuple(SentEvent(Kind.VIDEO, second, BEGAN.timestamp() + second) for second in range(SECONDS))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of picture, which begin half a second after a flash."""
    made = tmp_path_factory.mktemp("verdict") / "file.mkv"
    with av.open(str(made), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "qp": "20"})
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        for number in range(SECONDS * 25):
            image = av.VideoFrame.from_ndarray(content.frame(number, MEDIA.shape, 1), format="yuv420p")
            image.time_base, image.pts = Fraction(1, 25), number
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
    return made


def judged(path: Path, **changes: object) -> Verdict:
    recording = Recording.model_construct(
        job_id="job",
        status=changes.pop("status", JobStatus.COMPLETED),
        started_at=BEGAN,
        stopped_at=BEGAN + timedelta(seconds=SECONDS),
        streams=(),
        file=RecordingFile.model_construct(sha256="sum"),
    )
    report = {"startedAt": BEGAN.timestamp(), "file": {"sha256": changes.pop("sha256", "sum")}}
    media, plan = changes.pop("media", MEDIA), changes.pop("plan", PLAN)
    return judge(recording, path, report, media, plan, **changes)  # type: ignore[arg-type] - what the test names


def test_a_file_that_is_as_it_must_be(path: Path) -> None:
    verdict = judged(path, bounds=Bounds(psnr_db=30))

    assert verdict.failures == ()
    assert verdict.presence == 1
    assert verdict.fidelity is not None


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({"sha256": "another"}, "another checksum"),
        ({"media": PeerMedia(audio=None, shape=MEDIA.shape, index=2)}, "looks like another peer"),
        ({"media": PeerMedia(shape=MEDIA.shape, index=1)}, "a stream is missing"),
        ({"bounds": Bounds(psnr_db=90)}, "dB like the one sent"),
        ({"plan": tuple(event._replace(sent_at=event.sent_at + 0.5) for event in PLAN)}, "of beeps and flashes"),
        ({"plan": PLAN[2:], "sent_at": (BEGAN.timestamp() - 1, BEGAN.timestamp() + SECONDS)}, "7.00 s were sent"),
    ],
)
def test_each_thing_that_should_not_be_so_is_said(path: Path, changes: dict[str, object], failure: str) -> None:
    (said,) = judged(path, **changes).failures

    assert failure in said


def test_what_was_sent_on_until_the_stop_was_heard_may_be_in_the_file(path: Path) -> None:
    began = BEGAN.timestamp()

    assert judged(path, sent_at=(began, began + SECONDS + 2)).failures == ()


def test_a_recording_without_a_file_is_not_judged(path: Path) -> None:
    with pytest.raises(ValueError, match="has no file"):
        judged(path, status=JobStatus.FAILED)
