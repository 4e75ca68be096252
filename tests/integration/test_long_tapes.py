"""Two hours on a tape, most of them muted: what the clocks do in the meantime must not show at the end."""

from dataclasses import replace
from pathlib import Path

import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from tests.integration.synthetic_tape import Datagram, Network, Sent, TapeStore, audio, capture, task, video

from edumeet_recording.domain.codecs import CLOCK_RATE_HZ, Codec, Container
from edumeet_recording.media.rtcp import SenderReport, ntp_from_seconds
from edumeet_recording.node.assemble import assemble
from edumeet_recording.node.transcode import Converter
from edumeet_recording.sim.analyse import analyse, presence
from edumeet_recording.wire.node_link import FinalizeDone

HOURS_S = 7200
SPOKEN_S = 20
BEGINNINGS_S = (0, HOURS_S // 2, HOURS_S - SPOKEN_S)
REPORTS_FROM_S, REPORTS_EVERY_S = 5, 5
SENDER_CLOCK_S = 77_000
ERRORS_S = (0.02, -0.02, 0.007, -0.013)


def at_the_beginning_in_the_middle_and_at_the_end(sent: Sent, drift: float) -> Sent:
    """`sent` three times in two hours, by a sender whose clock is fast by `drift`, and its reports all the time."""
    rate = CLOCK_RATE_HZ[sent.codec]
    datagrams: list[Datagram] = []
    for begins_s in BEGINNINGS_S:
        later = len(datagrams)
        datagrams += (
            replace(
                one,
                sent_s=(begins_s + one.sent_s) / (1 + drift),
                sequence=one.sequence + later,
                timestamp=(one.timestamp + begins_s * rate) & 0xFFFFFFFF,
            )
            for one in sent.datagrams
        )
    times = [float(at_s) for at_s in range(REPORTS_FROM_S, HOURS_S, REPORTS_EVERY_S)]
    first = datagrams[0]
    reports = tuple(
        SenderReport(
            ssrc=sent.stream.ssrc or 0,
            ntp=ntp_from_seconds(SENDER_CLOCK_S + at_s * (1 + drift) + ERRORS_S[number % len(ERRORS_S)]),
            rtp_timestamp=(first.timestamp + round((at_s * (1 + drift) - first.sent_s) * rate)) & 0xFFFFFFFF,
            packets=0,
            octets=0,
        )
        for number, at_s in enumerate(times)
    )
    return replace(sent, datagrams=tuple(datagrams), reports=reports, report_at_s=tuple(times))


@pytest.mark.parametrize("drift_ppm", [-100, 100])
async def test_two_hours_of_drift_end_in_sync(tmp_path: Path, drift_ppm: int) -> None:
    drift = drift_ppm / 1e6
    sound, picture = (
        at_the_beginning_in_the_middle_and_at_the_end(sent, drift)
        for sent in (audio(Codec.OPUS, SPOKEN_S), video(Codec.VP8, SPOKEN_S))
    )
    store = TapeStore(tmp_path / "storage")
    taped = capture(store, sound, picture, network=Network(jitter_s=0.03))

    done = await assemble(
        task(taped, container=Container.WEBM), store, tmp_path / "work", Converter(get_ffmpeg_exe()), lambda *_: None
    )

    assert isinstance(done, FinalizeDone)
    found = analyse(store.path(done.file_key))
    assert found.decode_errors == found.disordered == 0
    assert found.audio is not None
    assert found.video is not None
    # Between what is said it is silent for an hour: the first beep after that has no beginning to be seen.
    said = SPOKEN_S * len(BEGINNINGS_S) - len(BEGINNINGS_S)
    assert presence(found.audio.beeps, said) == presence(found.video.flashes, said) == 1
    third = len(found.offsets_s) // 3
    for part in (found.offsets_s[:third], found.offsets_s[third : 2 * third], found.offsets_s[2 * third :]):
        assert max(map(abs, part)) < 0.08
    # By our clock, not by the sender's: the last beep is where it was heard.
    heard_s = (HOURS_S - 1) / (1 + drift)
    assert found.audio.beeps[-1] == pytest.approx(heard_s, abs=0.08)
    assert done.duration_s == pytest.approx(HOURS_S / (1 + drift), abs=0.1)
