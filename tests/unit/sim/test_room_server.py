import pytest

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.sim.publisher import PeerMedia
from edumeet_recording.sim.room_server import parse_peer


@pytest.mark.parametrize(
    ("text", "media"),
    [
        ("alice=opus+vp8", PeerMedia(audio=Codec.OPUS, video=Codec.VP8, index=2)),
        ("alice=h264+opus", PeerMedia(audio=Codec.OPUS, video=Codec.H264, index=2)),
        ("alice=opus", PeerMedia(audio=Codec.OPUS, video=None, index=2)),
        ("alice=av1", PeerMedia(audio=None, video=Codec.AV1, index=2)),
    ],
)
def test_a_peer_is_named_with_its_codecs(text: str, media: PeerMedia) -> None:
    assert parse_peer(text, 2) == ("alice", media)


@pytest.mark.parametrize("text", ["", "alice", "alice=", "=opus", "alice=opus+divx"])
def test_other_words_name_no_peer(text: str) -> None:
    with pytest.raises(ValueError, match=r"not like|not a valid"):
        parse_peer(text, 0)


def test_a_peer_publishes_something() -> None:
    with pytest.raises(ValueError, match="audio or video"):
        PeerMedia(audio=None, video=None)
