import pytest

from edumeet_recording.domain.capture import StreamState
from edumeet_recording.domain.codecs import Kind
from edumeet_recording.node.stream_state import UNDECRYPTABLE_PACKETS, stream_state

S = 1_000_000_000


def state(
    at: float,
    *,
    kind: Kind = Kind.AUDIO,
    last: float = 0.0,
    report: float = 0.0,
    key_frames: int = 1,
    undecryptable: int = 0,
) -> StreamState:
    return stream_state(
        round(at * S),
        kind,
        last_ns=round(last * S),
        last_sr_ns=round(report * S),
        key_frames=key_frames,
        undecryptable=undecryptable,
    )


def test_a_stream_waits_until_something_comes() -> None:
    assert state(100) is StreamState.WAITING


def test_pauses_of_dtx_are_no_silence() -> None:
    assert state(102.4, last=100) is StreamState.RECEIVING


@pytest.mark.parametrize(("kind", "patience"), [(Kind.AUDIO, 12), (Kind.VIDEO, 5)])
def test_without_packets_and_reports_it_stalls_after_a_while(kind: Kind, patience: float) -> None:
    assert state(100 + patience - 0.1, kind=kind, last=100, report=99) is StreamState.RECEIVING
    assert state(100 + patience, kind=kind, last=100, report=99) is StreamState.STALLED
    assert state(100 + patience, kind=kind, last=100) is StreamState.STALLED


def test_reports_that_go_on_tell_a_mute_from_a_stall() -> None:
    assert state(104, last=100, report=100.2) is StreamState.RECEIVING, "that report says nothing of later"
    assert state(106, last=100, report=105) is StreamState.MUTED
    assert state(1000, last=100, report=996) is StreamState.MUTED
    assert state(1012, last=100, report=1000) is StreamState.STALLED, "and now the reports have ended too"
    assert state(1012.5, last=1012, report=1000) is StreamState.RECEIVING


def test_video_needs_a_key_frame() -> None:
    assert state(101, kind=Kind.VIDEO, last=100, key_frames=0) is StreamState.NO_KEY_FRAME
    assert state(101, kind=Kind.AUDIO, last=100, key_frames=0) is StreamState.RECEIVING
    assert state(106, kind=Kind.VIDEO, last=100, key_frames=0) is StreamState.STALLED


def test_packets_of_another_key_show_after_some() -> None:
    assert state(101, undecryptable=UNDECRYPTABLE_PACKETS - 1) is StreamState.WAITING
    assert state(101, undecryptable=UNDECRYPTABLE_PACKETS) is StreamState.UNDECRYPTABLE
    assert state(101, last=100, undecryptable=UNDECRYPTABLE_PACKETS) is StreamState.UNDECRYPTABLE
