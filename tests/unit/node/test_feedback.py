import base64
from dataclasses import replace

import pytest
from tests.unit.node.test_reception import AUDIO, DELTA, KEY, VIDEO, S, foreign, reception, rtp, take

from edumeet_recording.domain.capture import StreamState
from edumeet_recording.media.rtcp import (
    Nack,
    PictureLoss,
    ReceiverReport,
    RtcpPacket,
    SenderReport,
    build_rtcp,
    parse_rtcp,
)
from edumeet_recording.media.srtp import SrtpReceiver, SrtpSender
from edumeet_recording.node.feedback import REPORT_INTERVAL_NS, Feedback
from edumeet_recording.node.stream_state import UNDECRYPTABLE_PACKETS
from edumeet_recording.node.worker_link import StreamSpec, SuiteAndKey

KEY_BYTES = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AEAD_AES_128_GCM": 28,
    "AEAD_AES_256_GCM": 44,
}


def key(suite: str, fill: int) -> SuiteAndKey:
    return suite, base64.b64encode(bytes([fill]) * KEY_BYTES[suite]).decode()


def secret(suite: str, *, ours: bool = True, ssrc: int | None = 10) -> StreamSpec:
    return StreamSpec(
        0, "audio", "opus", 100, 48000, ssrc=ssrc, srtp=key(suite, 1), srtp_ours=key(suite, 2) if ours else None
    )


def feedback() -> Feedback:
    return Feedback(ssrc=1, cname="c@recorder")


def said(datagrams: list[bytes]) -> list[RtcpPacket]:
    return [packet for datagram in datagrams for packet in parse_rtcp(datagram)]


def test_a_gap_is_asked_for_in_one_packed_datagram() -> None:
    one = reception(VIDEO)
    take(one, *(rtp(11, 101, sequence, payload=KEY) for sequence in (1, 4, 20)))
    (datagram,) = feedback().repair(S, one.tracks[0])
    assert len(datagram) == 12 + 4 * 2, "a first sequence number, and a mask for the 16 after it"
    assert parse_rtcp(datagram) == [Nack(1, 11, (2, 3, *range(5, 20)))]


def test_audio_is_asked_for_too() -> None:
    one = reception(AUDIO)
    take(one, rtp(sequence=1), rtp(sequence=3))
    assert said(feedback().repair(S, one.tracks[0])) == [Nack(1, 10, (2,))]


def test_what_never_comes_back_costs_a_key_frame() -> None:
    one = reception(VIDEO)
    take(one, rtp(11, 101, 1, 0, KEY), rtp(11, 101, 3, 6000, DELTA))
    voice = feedback()
    steps = [(step, packet) for step in range(60) for packet in said(voice.due(S + step * S // 20, one.tracks[0]))]
    asked = [step / 20 for step, packet in steps if packet == PictureLoss(1, 11)]
    assert len([packet for _, packet in steps if packet == Nack(1, 11, (2,))]) == 10
    assert len(asked) == 1
    assert 1.0 < asked[0] < 1.6


def test_a_stream_that_stalls_is_asked_for_a_key_frame_once_until_it_lives() -> None:
    one = reception(VIDEO)
    take(one, rtp(11, 101, payload=KEY))
    voice = feedback()
    (track,) = one.tracks
    assert said(voice.due(2 * S, track)) == []
    assert one.numbers(60 * S).tracks[0].state == StreamState.STALLED
    assert PictureLoss(1, 11) in said(voice.due(60 * S, track))
    assert voice.due(60 * S + 1, track) == []
    take(one, rtp(11, 101, 2, 3000, KEY), at_ns=61 * S)
    one.numbers(61 * S)
    assert not voice.due(61 * S + 1, track)
    assert PictureLoss(1, 11) not in [packet for step in range(61, 90) for packet in said(voice.due(step * S, track))]


def test_a_key_frame_that_somebody_wants_is_asked_for_at_once() -> None:
    one = reception(VIDEO)
    take(one, rtp(11, 101, payload=KEY))
    assert said(feedback().ask_key_frame(S, one.tracks[0])) == [PictureLoss(1, 11)]


def test_the_share_lost_is_of_the_time_since_the_last_report() -> None:
    one = reception(AUDIO)
    take(one, rtp(sequence=1), rtp(sequence=3))
    voice = feedback()
    fractions: list[int] = []
    for beat in range(1, 4):
        for packet in said(voice.due(beat * REPORT_INTERVAL_NS, one.tracks[0])):
            if isinstance(packet, ReceiverReport):
                fractions += [block.fraction_lost for block in packet.reports]
    assert fractions == [256 // 3, 0]


@pytest.mark.parametrize("suite", KEY_BYTES)
def test_srtp_is_decrypted_before_the_tape_and_srtcp_both_ways(suite: str) -> None:
    one = reception(secret(suite))
    theirs = SrtpSender(*key(suite, 1))
    report = build_rtcp(SenderReport(10, 0, 0, 0, 0))
    records = take(one, *(theirs.protect_rtp(rtp(sequence=i)) for i in (1, 2, 4)), theirs.protect_rtcp(report))
    assert [bytes(record.payload) for record in records] == [rtp(sequence=1), rtp(sequence=2), rtp(sequence=4), report]
    assert foreign(one) == {}
    (datagram,) = feedback().repair(S, one.tracks[0])
    assert parse_rtcp(SrtpReceiver(*key(suite, 2)).unprotect_rtcp(datagram)) == [Nack(1, 10, (3,))]


def test_a_stream_that_has_rolled_over_is_gone_on_with_by_the_next_process_and_the_one_after() -> None:
    spec, theirs = secret("AEAD_AES_128_GCM"), SrtpSender(*key("AEAD_AES_128_GCM", 1))
    one = reception(spec, VIDEO)
    take(one, theirs.protect_rtp(rtp(sequence=65535)), rtp(11, 101, 65535), rtp(11, 101, 0))
    assert [track.srtp_index for track in one.numbers(S).tracks] == [65535, None], "in the clear it does not matter"
    for index in (65_536, 65_537, 90_000, 120_000, 131_073):
        assert len(take(one, theirs.protect_rtp(rtp(sequence=index & 0xFFFF)))) == 1
        reached = one.numbers(S).tracks[0].srtp_index
        assert reached == index
        one = reception(replace(spec, srtp_index=reached), VIDEO)
        assert one.numbers(S).tracks[0].srtp_index == reached
    update = replace(spec, ssrc=12, srtp_index=None)
    one.update((update, VIDEO), confirmed=True)
    assert one.numbers(S).tracks[0].srtp_index is None, "another sender begins anew"


def test_what_another_key_encrypted_is_counted_and_shows() -> None:
    one = reception(secret("AEAD_AES_128_GCM"))
    other = SrtpSender(*key("AEAD_AES_128_GCM", 9))
    assert take(one, *(other.protect_rtp(rtp(sequence=i)) for i in range(UNDECRYPTABLE_PACKETS))) == []
    assert foreign(one) == {"srtp_auth": UNDECRYPTABLE_PACKETS}
    assert one.numbers(S).tracks[0].state == StreamState.UNDECRYPTABLE
    assert take(one, other.protect_rtcp(build_rtcp(SenderReport(10, 0, 0, 0, 0)))) == []
    right = SrtpSender(*key("AEAD_AES_128_GCM", 1))
    assert len(take(one, right.protect_rtp(rtp(sequence=1)), right.protect_rtp(rtp(sequence=2)))) == 2
    assert one.numbers(2 * S).tracks[0].state == StreamState.RECEIVING


def test_what_has_come_before_or_is_no_srtp_is_counted() -> None:
    one = reception(secret("AES_CM_128_HMAC_SHA1_80"))
    packet = SrtpSender(*key("AES_CM_128_HMAC_SHA1_80", 1)).protect_rtp(rtp())
    take(one, packet)
    assert take(one, packet, rtp(sequence=2)[:13]) == []
    assert foreign(one) == {"srtp_replay": 1, "srtp": 1}


def test_streams_of_one_key_are_decrypted_and_answered_alike_retransmissions_too() -> None:
    suite = "AES_CM_128_HMAC_SHA1_80"
    video = replace(VIDEO, srtp=key(suite, 1), srtp_ours=key(suite, 2), rtx_ssrc=12, rtx_payload_type=102)
    both, theirs, ours = reception(secret(suite), video), SrtpSender(*key(suite, 1)), SrtpReceiver(*key(suite, 2))
    packets = [
        rtp(sequence=1),
        rtp(sequence=3),
        rtp(11, 101, 1),
        rtp(11, 101, 3),
        rtp(12, 102, 9, payload=b"\0\2" + KEY),
    ]
    assert [bytes(record.payload) for record in take(both, *map(theirs.protect_rtp, packets))] == packets
    voice = feedback()
    heard = [parse_rtcp(ours.unprotect_rtcp(data)) for track in both.tracks for data in voice.repair(S, track)]
    assert heard == [[Nack(1, 10, (2,))]]
    assert both.numbers(S).tracks[1].recovered == 1


def test_what_is_no_key_opens_nothing_and_harms_nothing() -> None:
    bad = StreamSpec(0, "audio", "opus", 100, 48000, ssrc=10, srtp=("AEAD_AES_128_GCM", "c2hvcnQ="))
    both = reception(bad, VIDEO)
    records = take(both, *(rtp(sequence=i) for i in range(UNDECRYPTABLE_PACKETS)), rtp(11, 101))
    assert [record.stream for record in records] == [1]
    assert both.numbers(S).tracks[0].state == StreamState.UNDECRYPTABLE


def test_an_unannounced_stream_is_taken_only_once_it_decrypts() -> None:
    one = reception(secret("AEAD_AES_256_GCM", ssrc=None))
    assert take(one, SrtpSender(*key("AEAD_AES_256_GCM", 9)).protect_rtp(rtp(ssrc=5))) == []
    assert len(take(one, SrtpSender(*key("AEAD_AES_256_GCM", 1)).protect_rtp(rtp(ssrc=6)))) == 1
    assert one.tracks[0].ssrc == 6


def test_a_key_that_is_announced_later_opens_what_was_held() -> None:
    waiting = reception(AUDIO, confirmed=False)
    take(waiting, SrtpSender(*key("AEAD_AES_128_GCM", 1)).protect_rtp(rtp()))
    waiting.update((secret("AEAD_AES_128_GCM"),), confirmed=True)
    assert waiting.count == 1


def test_a_sender_without_a_key_of_ours_is_answered_in_the_clear() -> None:
    one = reception(secret("AEAD_AES_128_GCM", ours=False))
    sender = SrtpSender(*key("AEAD_AES_128_GCM", 1))
    take(one, sender.protect_rtp(rtp(sequence=1)), sender.protect_rtp(rtp(sequence=3)))
    assert said(feedback().due(S, one.tracks[0])) == [Nack(1, 10, (2,))]


def test_nothing_is_said_where_our_key_is_none() -> None:
    suite = "AEAD_AES_128_GCM"
    bad = (suite, "c2hvcnQ=")
    one = reception(StreamSpec(0, "audio", "opus", 100, 48000, ssrc=10, srtp=key(suite, 1), srtp_ours=bad))
    sender = SrtpSender(*key(suite, 1))
    take(one, sender.protect_rtp(rtp(sequence=1)), sender.protect_rtp(rtp(sequence=3)))
    assert feedback().due(S, one.tracks[0]) == []


def test_live_numbers_tell_the_rate_since_the_last() -> None:
    one = reception(AUDIO)
    assert one.numbers(S).tracks[0].bitrate_bps == 0
    take(one, *(rtp(sequence=i, payload=bytes(80)) for i in range(50)))
    size = len(rtp(payload=bytes(80)))
    assert one.numbers(3 * S).tracks[0].bitrate_bps == 50 * size * 8 // 2
    assert one.numbers(3 * S).tracks[0].bitrate_bps == 0
