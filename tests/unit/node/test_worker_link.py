import pytest

from edumeet_recording.node.worker_link import (
    AskKeyFrame,
    Assign,
    CaptureNumbers,
    ChunkClosed,
    Drain,
    Drained,
    End,
    FirstPacket,
    Greeting,
    Holding,
    Numbers,
    Order,
    Said,
    StreamSpec,
    TrackNumbers,
    Unwritable,
    Update,
    decode,
    encode,
)

STREAMS = (
    StreamSpec(0, "audio", "opus", 100, 48000, ssrc=5, srtp=("AEAD_AES_128_GCM", "a2V5")),
    StreamSpec(1, "video", "vp8", 101, 90000),
)
NUMBERS = CaptureNumbers("c", (TrackNumbers(0, 5, 1, 2, 3, 4, 5, 0.5, 6, None, "receiving", 7),), {"ssrc": 1})


@pytest.mark.parametrize(
    "message",
    [
        Assign("c", "j", 1, "tapes/c", 4, confirmed=True, streams=STREAMS),
        Update("c", confirmed=False, streams=STREAMS),
        Drain("c"),
        AskKeyFrame("c"),
        End(),
        Greeting(1, "node-1", "/spool", 2),
        Holding(Assign("c", "j", 1, "tapes/c", 4, confirmed=True, streams=STREAMS), NUMBERS, 1.5, draining=False),
        Numbers((NUMBERS, NUMBERS)),
        Numbers(()),
        FirstPacket("c", 1.5),
        ChunkClosed("c", 1, 2, 3, 4, 5),
        Drained(NUMBERS),
        Unwritable("No space left on device"),
        Unwritable(None),
    ],
)
def test_every_message_comes_back_as_it_was(message: Order | Said) -> None:
    assert decode(encode(message)) == message


def test_a_field_of_a_later_release_is_passed_over() -> None:
    assert decode(b'{"type":"Drain","capture_id":"c","hurry":true}') == Drain("c")


@pytest.mark.parametrize("packet", [b"{}", b"[]", b"x", b'{"type":"Drain"}', b'{"type":"Fly"}'])
def test_what_is_no_message_is_refused(packet: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(packet)
