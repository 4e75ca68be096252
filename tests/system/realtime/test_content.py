"""Every content scenario at once through a whole service: what is in the files, and what the reports say."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests import rtp_ports
from tests.leftovers import children

from edumeet_recording.domain.codecs import Kind
from edumeet_recording.sim.scenarios import HOSTILE, NACK_RESTORES, SCENARIOS
from edumeet_recording.sim.trial import Trial, put_to_trial, recording_service

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

IGNORED = ("2 % loss, nack ignored", "5 % loss, nack ignored")
UNTOLD = 3
"""At 2 % loss, one packet before the first that came and two in the last moment are bad luck; more would be a fault."""
ANSWERED = ("2 % loss", "2 % loss, rtx")
CLEAN = tuple(name for name, scenario in SCENARIOS.items() if not scenario.delivery.conditions and not scenario.steps)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("content")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trials(folder: Path) -> AsyncIterator[dict[str, Trial]]:
    before = children()
    async with recording_service(folder, rtp_ports.SETTINGS) as (client, server):
        yield await put_to_trial(client, server, SCENARIOS.values(), folder)
    assert children() <= before


@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_file_is_what_was_sent(trials: dict[str, Trial], name: str) -> None:
    assert trials[name].verdict.failures == ()


@pytest.mark.parametrize("name", CLEAN)
async def test_where_nothing_is_wrong_nothing_is_reported(trials: dict[str, Trial], name: str) -> None:
    for stream in trials[name].report["streams"]:
        assert (stream["lost"], stream["gapCount"], stream["damagedFrames"]) == (0, 0, 0), stream
    assert trials[name].report["warnings"] == []


@pytest.mark.parametrize(
    ("name", "gaps"), [("mute and unmute", (3, "pause")), ("publisher comes back", (2, "restart"))]
)
async def test_a_pause_is_one_gap_in_each_stream(trials: dict[str, Trial], name: str, gaps: tuple[float, str]) -> None:
    seconds, cause = gaps
    for stream in trials[name].report["streams"]:
        (gap,) = stream["gaps"]
        assert gap["cause"] == cause
        assert gap["durationS"] == pytest.approx(seconds, abs=0.5)


async def test_another_ssrc_goes_on_in_the_same_file(trials: dict[str, Trial]) -> None:
    for stream in trials["publisher comes back, new ssrc"].report["streams"]:
        assert len(stream["sources"]) == 2
        assert [gap["durationS"] for gap in stream["gaps"]] == [pytest.approx(6, abs=0.7)]


@pytest.mark.parametrize("kind", Kind)
async def test_what_comes_late_starts_late(trials: dict[str, Trial], kind: Kind) -> None:
    late = {stream["kind"]: stream["startS"] for stream in trials[f"{kind} late"].report["streams"]}

    assert late[kind] > 3
    assert min(late.values()) == 0


async def test_dtx_left_packets_out_and_is_no_gap(trials: dict[str, Trial]) -> None:
    dtx, usual = trials["dtx"], trials["vp8 in webm"]

    assert dtx.reported(Kind.AUDIO)["packets"] < 0.5 * usual.reported(Kind.AUDIO)["packets"]
    assert dtx.reported(Kind.AUDIO)["gapCount"] == 0


async def test_every_size_of_the_picture_is_there(trials: dict[str, Trial]) -> None:
    trial = trials["640, 320, 1280, upright"]

    assert [(one["width"], one["height"]) for one in trial.reported(Kind.VIDEO)["resolutions"]] == [
        (640, 360),
        (320, 180),
        (1280, 720),
        (360, 640),
    ]


async def test_the_numbers_did_wrap(trials: dict[str, Trial]) -> None:
    trial = trials["timestamps wrap"]
    wrapped_at = trial.scenario.media.timestamps_wrap_s
    assert wrapped_at is not None
    numbers = trial.verdict.content.video.numbers if trial.verdict.content.video else ()
    shown = [number / trial.scenario.media.shape.fps for number, _ in numbers]
    assert shown[0] < wrapped_at < shown[-1]
    for kind, passage in trials["sequence numbers wrap"].passages.items():
        assert passage.sent > 65_536 - 65_400, kind


@pytest.mark.parametrize("name", [*IGNORED, *ANSWERED])
@pytest.mark.parametrize("kind", Kind)
async def test_the_report_counts_what_the_network_lost(trials: dict[str, Trial], name: str, kind: Kind) -> None:
    trial = trials[name]
    passage = trial.passages[kind]

    assert passage.lost > 0
    # The sender ends a moment after the recording: what came in between was for nobody.
    assert trial.reported(kind)["lost"] == pytest.approx(passage.missing, abs=2)
    assert trial.reported(kind)["recovered"] == pytest.approx(passage.lost - passage.missing - passage.untold, abs=2)


@pytest.mark.parametrize("name", IGNORED)
async def test_loss_is_warned_of(trials: dict[str, Trial], name: str) -> None:
    warnings = trials[name].report["warnings"]

    assert any("packets were lost" in warning for warning in warnings)
    assert any("frames were dropped" in warning for warning in warnings)
    assert warnings == list(trials[name].verdict.recording.warnings)


@pytest.mark.parametrize("name", ANSWERED)
async def test_nack_brings_back_what_was_lost(trials: dict[str, Trial], name: str) -> None:
    for kind, passage in trials[name].passages.items():
        assert passage.sent - passage.untold - passage.missing >= NACK_RESTORES * (passage.sent - passage.untold)
        assert passage.untold <= UNTOLD, "what was lost before the first or after the last packet that came"
        assert trials[name].reported(kind)["recovered"] > 0


async def test_audio_gaps_keep_their_place(trials: dict[str, Trial]) -> None:
    """Sound that was lost is not made up for by moving the rest: every beep is where it was in time."""
    audio = trials["5 % loss, nack ignored"].verdict.content.audio
    assert audio is not None
    assert all(abs((beep - audio.beeps[0] + 0.5) % 1 - 0.5) < 0.06 for beep in audio.beeps)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_checksum_is_that_of_the_stored_object(trials: dict[str, Trial], folder: Path, name: str) -> None:
    file = trials[name].report["file"]
    stored = (folder / ".state" / "storage" / file["key"]).read_bytes()

    assert hashlib.sha256(stored).hexdigest() == file["sha256"]
    assert len(stored) == file["bytes"]


async def test_no_name_holds_what_somebody_typed(trials: dict[str, Trial], folder: Path) -> None:
    recording = trials["hostile names"].verdict.recording
    assert (recording.room_id, recording.peer_id) == (HOSTILE, HOSTILE)
    storage = folder / ".state" / "storage"
    names = [str(path.relative_to(storage)) for path in storage.rglob("*")]
    assert any(recording.job_id in name for name in names)
    for name in names:
        assert all(character.isascii() and (character.isalnum() or character in "-_./") for character in name), name
        assert "evil" not in name
        assert ".." not in name
