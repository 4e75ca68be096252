"""The digest by which a retry is known: releases that are mixed, or follow each other, must find the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from edumeet_recording.api.auth import Principal
from edumeet_recording.api.new_recording import new_job
from edumeet_recording.wire.http import StartRecording

RELEASED = json.loads((Path(__file__).parents[2] / "data" / "wire-0.1.0" / "http.json").read_text())
STARTS: dict[str, Any] = {
    each["body"]["peerId"]: each["body"]
    for each in RELEASED
    if each["path"] == "/api/recordings/start" and each["status"] == 201
}
DIGESTS = {
    "alice": "203edd094d876bb84cc6f1cd500eb016545528d507192fb9a699fdaa62ab3d10",
    "carol": "53a506fc245e8b6530a8cd8de0ebbc93d6c0dd25893162d213a816baf93c2e9d",
    "dave": "d3246b71607caf47571351c5858352f5ae07ea7ede6cdee8cf50b986dd5a87df",
}
"""What 0.1.0 kept for these requests."""


def digest(body: dict[str, Any]) -> str:
    return new_job(
        StartRecording.model_validate(body), Principal("t", frozenset(), None, 0.0), "key"
    ).request_sha256.hex()


@pytest.mark.parametrize("peer", STARTS)
def test_a_retry_of_what_the_last_release_took_is_the_same_request(peer: str) -> None:
    assert digest(STARTS[peer]) == DIGESTS[peer]


def test_what_a_newer_field_asks_for_makes_another_request() -> None:
    body = STARTS["alice"]
    asked = [{"allowedRegions": ["eu"]}, {"options": body["options"] | {"redundancy": 2}}]
    assert len({digest(body), *(digest(body | each) for each in asked)}) == 3
