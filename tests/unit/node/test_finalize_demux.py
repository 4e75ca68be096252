"""Records of one capture sorted into sources."""

import pytest

from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.media.rtcp import Bye, SenderReport, build_rtcp
from edumeet_recording.media.rtp import build_rtp
from edumeet_recording.media.tape import Record, RecordKind
from edumeet_recording.node.demux import CaptureDemux, Source
from edumeet_recording.wire.node_link import Stream

VIDEO = Stream(
    index=1,
    kind=Kind.VIDEO,
    codec=Codec.VP8,
    payload_type=101,
    ssrc=5,
    clock_rate=90000,
    rtx_payload_type=102,
    rtx_ssrc=6,
)


def record(payload_type: int, ssrc: int, sequence: int, payload: bytes = b"media", *, stream: int = 1) -> Record:
    data = build_rtp(payload_type=payload_type, sequence=sequence, timestamp=900, ssrc=ssrc, payload=payload)
    return Record(1, stream, RecordKind.RTP, memoryview(data))


def test_what_was_sent_before_it_was_published_anew_is_known_too() -> None:
    changed = {"ssrc": 50, "payload_type": 103, "codec": Codec.H264, "rtx_ssrc": 51, "rtx_payload_type": 104}
    demux = CaptureDemux(0, [VIDEO, VIDEO.model_copy(update=changed)])
    records = (record(101, 5, 7), record(103, 50, 1), record(102, 6, 1, b"\0\x07x"), record(103, 5, 8))

    seen = [demux.glance(one) for one in records]

    assert [glimpse and glimpse.source.ssrc for glimpse in seen] == [5, 50, 5, None]
    assert [demux.stream_of(Source(0, 1, ssrc)).codec for ssrc in (5, 50)] == [Codec.VP8, Codec.H264]
    assert demux.foreign == 1


def test_media_is_given_whole() -> None:
    demux = CaptureDemux(3, [VIDEO])
    given = record(101, 5, 7)

    glimpse = demux.glance(given)

    assert glimpse is not None
    assert glimpse.source == Source(3, 1, 5)
    assert glimpse.sequence % 0x10000 == 7
    assert not glimpse.again
    ordered = demux.ordered(glimpse, given)
    assert ordered is not None
    assert bytes(ordered.packet.payload) == b"media"


def test_a_retransmission_takes_its_original_place() -> None:
    demux = CaptureDemux(0, [VIDEO])
    first = demux.glance(record(101, 5, 300))
    demux.glance(record(101, 5, 302))
    given = record(102, 6, 9, (301).to_bytes(2) + b"lost")

    glimpse = demux.glance(given)

    assert first is not None
    assert glimpse is not None
    assert glimpse.again
    assert glimpse.source == first.source
    assert glimpse.sequence == first.sequence + 1
    ordered = demux.ordered(glimpse, given)
    assert ordered is not None
    assert bytes(ordered.packet.payload) == b"lost"


@pytest.mark.parametrize(
    "given",
    [
        record(96, 5, 1),
        record(101, 99, 1),
        record(102, 6, 1, b"\1"),
        record(102, 7, 1, b"\0\1x"),
        Record(1, 1, RecordKind.RTP, memoryview(b"short")),
        Record(1, 1, RecordKind.RTP, memoryview(b"\xb0\x7f" + bytes(10))),
    ],
    ids=["payload type", "ssrc", "rtx without number", "rtx ssrc", "short", "cut off"],
)
def test_what_is_none_of_ours_is_counted(given: Record) -> None:
    demux = CaptureDemux(0, [VIDEO])
    demux.glance(record(101, 5, 300))

    assert demux.glance(given) is None
    assert demux.foreign == 1


def test_a_retransmission_before_any_media_has_no_place() -> None:
    demux = CaptureDemux(0, [VIDEO])

    assert demux.glance(record(102, 6, 9, b"\0\1x")) is None


def test_what_does_not_parse_past_its_header_is_no_packet() -> None:
    demux = CaptureDemux(0, [VIDEO])
    data = bytearray(record(101, 5, 1).payload)
    data[0] |= 0x10
    given = Record(1, 1, RecordKind.RTP, memoryview(data[:12]))

    glimpse = demux.glance(given)

    assert glimpse is not None
    assert demux.ordered(glimpse, given) is None


def test_streams_that_are_not_wanted_are_passed_over() -> None:
    demux = CaptureDemux(0, [VIDEO])

    assert demux.glance(record(100, 4, 1, stream=0)) is None
    assert demux.foreign == 0


def test_an_ssrc_that_was_not_announced_is_a_source_of_its_own() -> None:
    demux = CaptureDemux(0, [VIDEO.model_copy(update={"ssrc": None})])

    seen = [demux.glance(record(101, ssrc, 1)) for ssrc in (5, 8)]

    assert [one and one.source.ssrc for one in seen] == [5, 8]


def test_sender_reports_find_their_source() -> None:
    demux = CaptureDemux(0, [VIDEO])
    glimpse = demux.glance(record(101, 5, 1))
    assert glimpse is not None
    compound = build_rtcp(SenderReport(5, 3 << 31, 990, 1, 1), Bye((5,)), SenderReport(77, 1, 1, 1, 1))

    (report,) = demux.reports(Record(2, 1, RecordKind.RTCP, memoryview(compound)))

    assert report == (glimpse.source, 1_500_000_000, glimpse.timestamp + 90)
    assert list(demux.reports(record(101, 5, 2))) == []
    assert list(demux.reports(Record(2, 1, RecordKind.RTCP, memoryview(b"\x80\xc8\xff\xff")))) == []
    assert demux.foreign == 1


def test_the_second_pass_takes_what_the_first_saw() -> None:
    broken = Record(1, 1, RecordKind.RTP, memoryview(b"\x90" + record(101, 5, 9).payload[1:12]))
    records = [
        record(101, 5, 7),
        record(102, 6, 1, (8).to_bytes(2) + b"again"),
        broken,
        record(101, 5, 0xFFFF),
        record(101, 5, 0),
        record(99, 5, 1),
        record(101, 5, 1, stream=4),
    ]
    first, second = CaptureDemux(0, [VIDEO]), CaptureDemux(0, [VIDEO])

    for one in records:
        glimpse = first.glance(one)
        item = None if glimpse is None else first.ordered(glimpse, one)
        assert second.take(one) == (None if glimpse is None or item is None else (glimpse.source, item))
