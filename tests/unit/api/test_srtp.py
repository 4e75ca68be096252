"""SRTP in a start request: a key of the suite's size, and only where the caller sends."""

import base64

import pytest
from pydantic import ValidationError

from edumeet_recording.api.auth import Principal
from edumeet_recording.api.new_recording import new_job
from edumeet_recording.domain.errors import InvalidRequest
from edumeet_recording.domain.request import SrtpParameters
from edumeet_recording.wire.http import StartRecording

KEY = base64.b64encode(bytes(28)).decode()
READER = Principal("tester", frozenset(), None, 0.0)


def body(forwarding: str = "client", **srtp: str) -> StartRecording:
    stream = {"kind": "audio", "port": 5004, "payloadType": 111, "ssrc": 1, "codecName": "opus", "srtp": srtp}
    return StartRecording.model_validate(
        {"roomServerId": "r", "roomId": "r", "peerId": "p", "rtpStreams": [stream], "forwarding": forwarding}
    )


def test_the_callers_key_is_kept_with_its_stream() -> None:
    (stream,) = new_job(body(suite="AEAD_AES_128_GCM", keyBase64=KEY), READER, None).rtp_streams
    assert stream.srtp == SrtpParameters("AEAD_AES_128_GCM", KEY)


@pytest.mark.parametrize(
    "srtp",
    [
        {"suite": "AEAD_AES_256_GCM", "keyBase64": KEY},
        {"suite": "AEAD_AES_128_GCM", "keyBase64": "!" * 38},
        {"suite": "AEAD_AES_128_GCM", "keyBase64": "A" * 2000},
        {"suite": "NULL", "keyBase64": KEY},
        {"suite": "AEAD_AES_128_GCM"},
        {"suite": "AEAD_AES_128_GCM", "keyBase64": KEY, "mki": "1"},
    ],
)
def test_what_is_no_key_of_the_suite_is_refused(srtp: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        body(**srtp)


def test_a_room_server_tells_its_own_key() -> None:
    with pytest.raises(InvalidRequest) as refused:
        new_job(body("room-server", suite="AEAD_AES_128_GCM", keyBase64=KEY), READER, None)
    assert refused.value.field == "rtpStreams.0.srtp"
