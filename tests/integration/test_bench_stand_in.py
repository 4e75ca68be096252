"""The stand-in for the orchestrator that benches and tests of a node use."""

import logging

import pytest

from edumeet_recording.bench.one_node import one_node
from edumeet_recording.domain.errors import Unavailable


async def test_what_fails_beside_it_is_told_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(Unavailable, match="too busy"):
        async with one_node():
            raise Unavailable("the node was too busy")
    assert not caplog.records
