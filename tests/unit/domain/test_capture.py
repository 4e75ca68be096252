import pytest

from edumeet_recording.domain.capture import StreamState, event_of

S = StreamState


@pytest.mark.parametrize(
    ("before", "now", "event"),
    [
        (S.WAITING, S.RECEIVING, None),
        (S.RECEIVING, S.MUTED, None),
        (S.MUTED, S.RECEIVING, None),
        (S.RECEIVING, S.STALLED, "stream_stalled"),
        (S.MUTED, S.STALLED, "stream_stalled"),
        (S.STALLED, S.STALLED, None),
        (S.STALLED, S.MUTED, "stream_recovered"),
        (S.STALLED, S.NO_KEY_FRAME, "stream_recovered"),
        (S.WAITING, S.UNDECRYPTABLE, "srtp_error"),
        (S.STALLED, S.UNDECRYPTABLE, "srtp_error"),
        (S.UNDECRYPTABLE, S.RECEIVING, "stream_recovered"),
        (S.UNDECRYPTABLE, S.STALLED, "stream_stalled"),
    ],
)
def test_only_what_is_broken_or_mended_is_an_event(before: S, now: S, event: str | None) -> None:
    assert event_of(before, now) == event
