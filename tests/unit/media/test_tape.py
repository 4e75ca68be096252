"""A chunk is readable as far as it was written, and what is none is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.media.tape import (
    MAGIC,
    MAX_HEADER_BYTES,
    RECORD,
    ChunkHeader,
    RecordKind,
    TapeError,
    decode_header,
    encode_header,
    read_records,
)

HEADER = ChunkHeader("job", "capture", 3, 7, "tapes/job/capture")
ENCODED = encode_header(HEADER)


def record(arrival_ns: int, payload: bytes, stream: int = 1, kind: RecordKind = RecordKind.RTP) -> bytes:
    return RECORD.pack(arrival_ns, len(payload), stream, kind) + payload


def test_what_is_written_is_read() -> None:
    chunk = ENCODED + record(5, b"media") + record(6, b"", stream=255, kind=RecordKind.RTCP)

    assert decode_header(chunk) == (HEADER, len(ENCODED))
    read = [(each.arrival_ns, each.stream, each.kind, bytes(each.payload)) for each in read_records(chunk)]
    assert read == [(5, 1, RecordKind.RTP, b"media"), (6, 255, RecordKind.RTCP, b"")]


@given(st.lists(st.binary(max_size=20), max_size=5), st.data())
def test_a_chunk_that_was_cut_off_has_its_whole_records(payloads: list[bytes], data: st.DataObject) -> None:
    chunk, ends = ENCODED, [len(ENCODED)]
    for payload in payloads:
        chunk += record(1, payload)
        ends.append(len(chunk))
    cut = data.draw(st.integers(len(ENCODED), len(chunk)))

    assert len(list(read_records(chunk[:cut]))) == sum(end <= cut for end in ends) - 1


def test_what_a_crash_left_empty_ends_a_chunk() -> None:
    chunk = ENCODED + record(5, b"media") + bytes(4096)
    assert [each.arrival_ns for each in read_records(chunk)] == [5]


@pytest.mark.parametrize(
    ("chunk", "reason"),
    [
        (b"", "not a tape chunk"),
        (MAGIC, "not a tape chunk"),
        (b"EDUTAPE2" + ENCODED[8:], "not a tape chunk"),
        (ENCODED[:-1], "cut off"),
        (MAGIC + (MAX_HEADER_BYTES + 1).to_bytes(4, "little") + bytes(MAX_HEADER_BYTES + 1), "cut off"),
        (MAGIC + b"\2\0\0\0[]", "does not parse"),
        (MAGIC + b"\2\0\0\0{}", "does not parse"),
        (MAGIC + b"\2\0\0\0{!", "does not parse"),
        (MAGIC + b"\2\0\0\0\xff\xff", "does not parse"),
    ],
)
def test_what_is_no_chunk_is_refused(chunk: bytes, reason: str) -> None:
    with pytest.raises(TapeError, match=reason):
        decode_header(chunk)
