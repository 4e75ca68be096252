"""RTCP packets, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.media.errors import MediaError
from edumeet_recording.media.rtcp import (
    NTP_UNIX_OFFSET_S,
    Bye,
    FullIntraRequest,
    Nack,
    PictureLoss,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    build_rtcp,
    middle_of_ntp,
    ntp_from_seconds,
    parse_rtcp,
    seconds_from_ntp,
)

U8, U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))
BLOCKS = st.lists(
    st.builds(ReportBlock, U32, U8, st.integers(-(2**23), 2**23 - 1), U32, U32, U32, U32), max_size=31
).map(tuple)
CNAME = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
PACKETS: list[st.SearchStrategy[RtcpPacket]] = [
    st.builds(SenderReport, U32, U64, U32, U32, U32, BLOCKS),
    st.builds(ReceiverReport, U32, BLOCKS),
    st.builds(SourceDescription, st.lists(st.tuples(U32, CNAME), max_size=31).map(tuple)),
    st.builds(Bye, st.lists(U32, max_size=31).map(tuple)),
    st.builds(PictureLoss, U32, U32),
    st.builds(FullIntraRequest, U32, st.lists(st.tuples(U32, U8), max_size=5).map(tuple)),
]


@given(st.lists(st.one_of(PACKETS), max_size=6))
def test_what_is_built_parses(packets: list[RtcpPacket]) -> None:
    assert parse_rtcp(build_rtcp(*packets)) == packets


@given(start=U16, steps=st.lists(st.integers(1, 40), max_size=300))
def test_nack_asks_for_exactly_these(start: int, steps: list[int]) -> None:
    true = [start]
    for step in steps:
        true.append(true[-1] + step)
    nack = Nack(1, 2, tuple(sequence % 65536 for sequence in true))
    assert parse_rtcp(build_rtcp(nack)) == [nack]


def test_nack_on_the_wire() -> None:
    nack = Nack(1, 2, (65534, 65535, 14, 15))
    assert nack.encode() == bytes.fromhex("81cd0004 00000001 00000002 fffe 8001 000f 0000")
    assert Nack(1, 2, (7, 7)).encode() == Nack(1, 2, (7,)).encode()


def test_picture_loss_on_the_wire() -> None:
    assert PictureLoss(1, 2).encode() == bytes.fromhex("81ce0002 00000001 00000002")


def test_receiver_report_on_the_wire() -> None:
    block = ReportBlock(2, fraction_lost=64, lost=-1, highest_sequence=65536 + 5, jitter=6, last_sr=7, delay_since_sr=8)
    assert ReceiverReport(1, (block,)).encode() == bytes.fromhex(
        "81c90007 00000001 00000002 40ffffff 00010005 00000006 00000007 00000008"
    )


def test_cumulative_loss_is_clamped() -> None:
    for lost, written in ((2**24, 2**23 - 1), (-(2**24), -(2**23))):
        (report,) = parse_rtcp(ReceiverReport(1, (ReportBlock(2, 0, lost, 0, 0),)).encode())
        assert isinstance(report, ReceiverReport)
        assert report.reports[0].lost == written


def test_source_description_on_the_wire() -> None:
    # Two items, the CNAME second; the chunk ends with nulls up to the word.
    data = bytes.fromhex("81ca0004 00000009 0201 61 01 03 626364 00 000000")
    assert parse_rtcp(data) == [SourceDescription(((9, "bcd"),))]
    assert SourceDescription(((9, "bc"),)).encode() == bytes.fromhex("81ca0003 00000009 01026263 00000000")


def test_bye_may_give_a_reason() -> None:
    assert parse_rtcp(bytes.fromhex("81cb0002 00000009 03616263")) == [Bye((9,))]


def test_unknown_packets_are_passed_over() -> None:
    xr = bytes.fromhex("80cf0001 00000001")
    transport_cc = bytes.fromhex("8fcd0002 00000001 00000002")
    remb = bytes.fromhex("8fce0002 00000001 00000002")
    assert parse_rtcp(xr + transport_cc + remb + PictureLoss(1, 2).encode()) == [PictureLoss(1, 2)]


def test_padding_is_removed() -> None:
    padded = bytes.fromhex("a1cd0004 00000001 00000002 00070000 00000004")
    assert parse_rtcp(padded) == [Nack(1, 2, (7,))]


@pytest.mark.parametrize(
    "data",
    [
        "80",
        "40c90001 00000001",
        "80c90002 00000001",
        "80c80001 00000001",
        "81c90001 00000001",
        "81ca0001 00000001",
        "81ca0002 00000001 01ff6162",
        "81ca0000",
        "82cb0001 00000001",
        "81cd0001 00000001",
        "81cd0003 00000001 00000002 0007",
        "84ce0003 00000001 00000002 00000003",
        "a1cd0000",
        "a1cd0002 00000001 00000000",
        "a1cd0002 00000001 000000ff",
    ],
)
def test_malformed_packets_are_refused(data: str) -> None:
    with pytest.raises(MediaError):
        parse_rtcp(bytes.fromhex(data))


@given(
    first=st.integers(0x80, 0xBF), kind=st.integers(199, 207), body=st.binary(max_size=80), tail=st.binary(max_size=8)
)
def test_random_bytes_raise_nothing_else(first: int, kind: int, body: bytes, tail: bytes) -> None:
    whole = body[: len(body) // 4 * 4]
    for data in (body, bytes([first, kind, 0, len(whole) // 4]) + whole + tail):
        try:
            packets = parse_rtcp(data)
        except MediaError:
            continue
        assert len(packets) <= len(data) // 4


@given(st.floats(0, 2**32 - 1))
def test_ntp_keeps_seconds(seconds: float) -> None:
    assert seconds_from_ntp(ntp_from_seconds(seconds)) == pytest.approx(seconds, abs=1e-6)


def test_ntp_of_a_known_time() -> None:
    ntp = ntp_from_seconds(1_700_000_000.5 + NTP_UNIX_OFFSET_S)
    assert ntp == (1_700_000_000 + 2_208_988_800 << 32) + 2**31
    assert middle_of_ntp(ntp) == ntp // 2**16 % 2**32
    assert SenderReport(1, ntp, 0, 0, 0).ntp_seconds == 1_700_000_000.5 + NTP_UNIX_OFFSET_S
