"""Ranges and file names of downloads, and the cursors of pages."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.api.downloads import ByteRange, download_name, wanted_range
from edumeet_recording.api.paging import decode_cursor, encode_cursor
from edumeet_recording.domain.codecs import FileFormat
from edumeet_recording.domain.errors import InvalidRequest
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.store.views import PageEnd, StoredRecording


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("", None),
        ("bytes=0-99", ByteRange(0, 100)),
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=0-", ByteRange(0, 100)),
        ("bytes=99-", ByteRange(99, 100)),
        ("bytes=40-1000", ByteRange(40, 100)),
        ("bytes=-10", ByteRange(90, 100)),
        ("bytes=-1000", ByteRange(0, 100)),
        ("bytes = 1 - 2", ByteRange(1, 3)),
        ("bytes=100-", "unsatisfiable"),
        ("bytes=-0", "unsatisfiable"),
        ("bytes=2-1", None),
        ("bytes=-", None),
        ("bytes=0-1,4-5", None),
        ("bytes=a-b", None),
        ("items=0-1", None),
        ("bytes=" + "9" * 40 + "-", None),
    ],
)
def test_a_range_is_read_as_rfc_9110_says(header: str | None, wanted: object) -> None:
    assert wanted_range(header, 100) == wanted


def test_no_range_of_nothing_can_be_had() -> None:
    assert wanted_range("bytes=0-", 0) == "unsatisfiable"


@given(st.text(), st.integers(0, 1000))
def test_no_header_leads_out_of_the_file(header: str, size: int) -> None:
    wanted = wanted_range(f"bytes={header}", size)
    assert wanted is None or wanted == "unsatisfiable" or 0 <= wanted.start < wanted.end <= size


def stored(room_id: str, peer_id: str) -> StoredRecording:
    return StoredRecording(
        job_id="job-1",
        status=JobStatus.COMPLETED,
        format=FileFormat.WEBM,
        room_id=room_id,
        peer_id=peer_id,
        began_at=datetime(2027, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1))),
        file_key="recordings/job-1/file.webm",
        file_bytes=1,
        file_sha256="00",
        report=None,
    )


def test_the_file_is_named_by_room_peer_and_time() -> None:
    assert download_name(stored("room-123", "peer 4/5")) == "room-123-peer_4_5-20270102T020405Z.webm"


@given(st.text(), st.text())
def test_no_file_name_is_dangerous(room_id: str, peer_id: str) -> None:
    name = download_name(stored(room_id, peer_id))
    stem, dot, suffix = name.rpartition(".")
    assert dot
    assert suffix == "webm"
    assert stem.replace("-", "").replace("_", "").isalnum()
    assert name.isascii()
    assert len(name) < 120


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2099, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
    st.from_regex(r"\A[a-z0-9]{1,32}\Z"),
)
def test_a_cursor_leads_back_to_where_the_page_ended(at: datetime, job_id: str) -> None:
    end = PageEnd(at, job_id)
    assert decode_cursor(encode_cursor(end)) == end


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.hex()))
def test_no_other_text_is_a_cursor(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_cursor(text)
    assert refused.value.field == "cursor"
