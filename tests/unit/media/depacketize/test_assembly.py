"""Which video frames are whole, by a codec of one byte: `B` begins, `m` is in the middle, `K`/`k` make a key frame."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.media.depacketize.vectors import packet

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.media.depacketize import Depacketizer, depacketizer_for
from edumeet_recording.media.depacketize.assembly import MAX_FRAME_BYTES, Picture, VideoDepacketizer
from edumeet_recording.media.errors import MediaError


class LetterBuilder:
    """A codec whose payloads are letters: `K` begins a key frame, `B` another one, `h` belongs to the next frame."""

    def __init__(self, *, numbered: bool = False) -> None:
        self.data = b""
        self.numbered = numbered

    def resume(self) -> bool:
        """As it was made."""
        return self.numbered

    def add(self, payload: memoryview) -> None:
        """Take letters."""
        begun = bool(self.data.strip(b"h"))
        if payload[0] in b"KB" if begun else payload[0] not in b"KBh":
            raise MediaError("out of place")
        self.data += payload

    def finish(self) -> Picture | None:
        """The letters."""
        if not self.data.strip(b"h"):
            return None
        if b"x" in self.data:
            raise MediaError("malformed")
        data, self.data = self.data, b""
        return Picture(data, b"K" in data)

    def reset(self) -> None:
        """Forget them."""
        self.data = b""


def run(text: str, *, numbered: bool = False) -> tuple[str, int, int, bool]:
    """Push a row of packets: letters, a dot where there is a marker; `-` is lost, `~` padding, `/` a new timestamp."""
    depacketizer = VideoDepacketizer(LetterBuilder(numbered=numbered))
    frames: list[bytes] = []
    timestamp = 0
    for sequence, word in enumerate(text.split()):
        letters = word.lstrip("/")
        timestamp += 3000 * (len(word) - len(letters))
        if letters != "-":
            payload = letters.rstrip(".").replace("~", "").encode()
            pushed = depacketizer.push(sequence, timestamp, sequence, packet(payload, marker=letters.endswith(".")))
            frames += [frame.data for frame in pushed]
    frames += [frame.data for frame in depacketizer.flush()]
    return b" ".join(frames).decode(), depacketizer.damaged, depacketizer.dropped_until_key, depacketizer.waiting_key


@pytest.mark.parametrize(
    ("sent", "frames", "damaged", "dropped"),
    [
        ("K m m. /B. /B m.", "Kmm B Bm", 0, 0),
        ("/B. /B m. /K. /B.", "K B", 0, 2),
        ("m m. /K. /B.", "K B", 1, 0),
        ("K m /B m /B.", "Km Bm B", 0, 0),
        ("K. /B - m. /B. /K. /B.", "K K B", 1, 1),
        ("K. /- m. /B. /K.", "K K", 1, 1),
        ("K. /B m - /B m. /K.", "K K", 1, 1),
        ("K. - /B. /B. /K.", "K K", 0, 2),
        ("K. ~ /B ~ m. ~ /B.", "K Bm B", 0, 0),
        ("K. /B - ~ m. /K.", "K K", 1, 0),
        ("K. - ~ /B. /K.", "K K", 0, 1),
        ("K. - /K. /B.", "K K B", 0, 0),
        ("K. /K - . /B. /K.", "K K", 1, 1),
        ("K. /Bx. /B. /K.", "K K", 1, 1),
        ("K. /B B m. /B. /K.", "K K", 1, 1),
        ("h. /h /K. /B.", "hhK B", 0, 0),
        ("K. /h. - /B. /K.", "K K", 0, 1),
        ("K. /B m", "K", 1, 0),
        ("K. B. B.", "K B B", 0, 0),
    ],
)
def test_frames_that_can_be_decoded(sent: str, frames: str, damaged: int, dropped: int) -> None:
    assert run(sent)[:3] == (frames, damaged, dropped)


def test_waiting_is_told() -> None:
    assert run("")[3]
    assert run("B.")[3]
    assert not run("K. /B.")[3]
    assert run("K. - /B.")[3]
    assert run("K. /B -")[3]


@pytest.mark.parametrize(
    ("sent", "frames", "damaged", "dropped"),
    [
        ("K. - /B. /B.", "K B B", 0, 0),
        ("- /B. /K.", "K", 0, 1),
        ("K. /B - m. /B. /K.", "K K", 1, 1),
    ],
)
def test_numbered_pictures_survive_holes_between_them(sent: str, frames: str, damaged: int, dropped: int) -> None:
    assert run(sent, numbered=True)[:3] == (frames, damaged, dropped)


def test_a_frame_that_never_ends_is_given_up() -> None:
    depacketizer = VideoDepacketizer(LetterBuilder())
    depacketizer.push(0, 0, 0, packet(b"K"))
    size = 1 << 20
    for sequence in range(1, MAX_FRAME_BYTES // size + 3):
        depacketizer.push(sequence, 0, 0, packet(bytes(size)))
    assert not depacketizer.push(100, 0, 0, packet(b"m", marker=True))
    assert depacketizer.damaged == 1
    assert [frame.data for frame in depacketizer.push(101, 1, 0, packet(b"K", marker=True))] == [b"K"]


def test_many_frames_may_be_larger_together() -> None:
    depacketizer = VideoDepacketizer(LetterBuilder())
    for sequence in range(12):
        payload = b"K" + bytes(1 << 20)
        assert len(depacketizer.push(sequence, sequence, 0, packet(payload, marker=True))) == 1


def test_headers_without_end_are_given_up() -> None:
    depacketizer = VideoDepacketizer(LetterBuilder())
    for sequence in range(12):
        depacketizer.push(sequence, sequence, 0, packet(b"h" * (1 << 20), marker=True))
    assert depacketizer.damaged == 1


@pytest.mark.parametrize("codec", list(Codec))
@settings(max_examples=50)
@given(data=st.data())
def test_random_payloads_never_raise(codec: Codec, data: st.DataObject) -> None:
    depacketizer: Depacketizer = depacketizer_for(codec)
    pushes = data.draw(
        st.lists(
            st.tuples(st.integers(1, 2), st.integers(0, 1), st.binary(max_size=60), st.booleans()),
            max_size=40,
        )
    )
    sequence = timestamp = frames = 0
    for step, new_frame, payload, marker in pushes:
        sequence += step
        timestamp += new_frame
        frames += len(depacketizer.push(sequence, timestamp, 0, packet(payload, marker=marker)))
    frames += len(depacketizer.flush())
    assert frames + depacketizer.damaged + depacketizer.dropped_until_key <= len(pushes)
