"""SRTP and SRTCP with every suite."""

from base64 import b64encode

import pytest

from edumeet_recording.media.errors import MediaError
from edumeet_recording.media.rtcp import PictureLoss, ReceiverReport, build_rtcp
from edumeet_recording.media.rtp import build_rtp
from edumeet_recording.media.srtp import (
    SrtpAuthenticationError,
    SrtpReceiver,
    SrtpReplayError,
    SrtpSender,
    packet_index,
)

SUITES = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AEAD_AES_128_GCM": 28,
    "AEAD_AES_256_GCM": 44,
}
RTCP = build_rtcp(ReceiverReport(1), PictureLoss(1, 2))


def key(length: int, first: int = 0) -> str:
    """A key that differs with `first`."""
    return b64encode(bytes(range(first, first + length))).decode()


def rtp(sequence: int = 1) -> bytes:
    """A packet."""
    return build_rtp(payload_type=96, sequence=sequence, timestamp=0, ssrc=7, payload=b"payload")


@pytest.fixture(params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    """Each suite in turn."""
    return request.param


def test_what_is_protected_comes_out(suite: str) -> None:
    sender, receiver = SrtpSender(suite, key(SUITES[suite])), SrtpReceiver(suite, key(SUITES[suite]))
    assert b"payload" not in sender.protect_rtp(rtp())
    assert receiver.unprotect_rtp(memoryview(sender.protect_rtp(rtp()))) == rtp()
    assert receiver.unprotect_rtcp(sender.protect_rtcp(RTCP)) == RTCP


def test_another_key_is_told(suite: str) -> None:
    sender, receiver = SrtpSender(suite, key(SUITES[suite])), SrtpReceiver(suite, key(SUITES[suite], first=1))
    with pytest.raises(SrtpAuthenticationError):
        receiver.unprotect_rtp(sender.protect_rtp(rtp()))
    with pytest.raises(SrtpAuthenticationError):
        receiver.unprotect_rtcp(sender.protect_rtcp(RTCP))


def test_a_duplicate_is_no_wrong_key(suite: str) -> None:
    sender, receiver = SrtpSender(suite, key(SUITES[suite])), SrtpReceiver(suite, key(SUITES[suite]))
    receiver.unprotect_rtp(sender.protect_rtp(rtp()))
    with pytest.raises(SrtpReplayError):
        receiver.unprotect_rtp(sender.protect_rtp(rtp()))


def test_late_retransmissions_are_taken_and_older_ones_told(suite: str) -> None:
    sender, receiver = SrtpSender(suite, key(SUITES[suite])), SrtpReceiver(suite, key(SUITES[suite]))
    lost = [sender.protect_rtp(rtp(sequence)) for sequence in (1000, 1200)]
    receiver.unprotect_rtp(sender.protect_rtp(rtp(999)))
    for sequence in range(1201, 2100):
        receiver.unprotect_rtp(sender.protect_rtp(rtp(sequence)))
    assert receiver.unprotect_rtp(lost[1]) == rtp(1200)
    with pytest.raises(SrtpReplayError):
        receiver.unprotect_rtp(lost[0])


@pytest.mark.parametrize(
    ("reached", "goes_on_at"), [(70, 71), (65_530, 65_540), (200_000, 200_001), (200_000, 230_000)]
)
def test_a_stream_is_followed_from_where_another_was_with_it(suite: str, reached: int, goes_on_at: int) -> None:
    sender = SrtpSender(suite, key(SUITES[suite]))
    for index in range(0, goes_on_at, 0x4000):
        sender.protect_rtp(rtp(index & 0xFFFF))
    missing = sender.protect_rtp(rtp((goes_on_at - 50) & 0xFFFF))
    follower, stranger = (SrtpReceiver(suite, key(SUITES[suite])) for _ in range(2))
    follower.follow(7, reached)
    packet = sender.protect_rtp(rtp(goes_on_at & 0xFFFF))
    assert follower.unprotect_rtp(packet) == rtp(goes_on_at & 0xFFFF)
    if goes_on_at - 50 != reached:
        assert follower.unprotect_rtp(missing) == rtp((goes_on_at - 50) & 0xFFFF), "sent again, it may still come"
    if goes_on_at > 0xFFFF:
        with pytest.raises(SrtpAuthenticationError):
            stranger.unprotect_rtp(packet)


@pytest.mark.parametrize(
    ("sequence", "near", "index"), [(5, 4, 5), (3, 65_530, 65_539), (65_530, 65_539, 65_530), (9, 200_000, 196_617)]
)
def test_an_index_is_the_nearest(sequence: int, near: int, index: int) -> None:
    assert packet_index(sequence, near) == index


@pytest.mark.parametrize("data", [b"", b"\x80", bytes(20), b"\x80" * 12, b"\x80" * 2000])
def test_garbage_is_refused(suite: str, data: bytes) -> None:
    receiver, sender = SrtpReceiver(suite, key(SUITES[suite])), SrtpSender(suite, key(SUITES[suite]))
    with pytest.raises(MediaError):
        receiver.unprotect_rtp(data)
    with pytest.raises(MediaError):
        receiver.unprotect_rtcp(data)
    if len(data) != 20:  # libsrtp protects anything of the length of a header
        with pytest.raises(MediaError):
            sender.protect_rtp(data[:2] if len(data) < 100 else data)


@pytest.mark.parametrize("text", ["", "?", "ä", key(27), key(29), key(31), key(43), key(45)])
def test_a_key_of_the_wrong_length_is_refused(suite: str, text: str) -> None:
    with pytest.raises(MediaError):
        SrtpReceiver(suite, text)
    with pytest.raises(MediaError):
        SrtpSender(suite, text)


def test_an_unknown_suite_is_refused() -> None:
    with pytest.raises(MediaError, match="unknown SRTP suite"):
        SrtpReceiver("F8_128_HMAC_SHA1_80", key(30))
