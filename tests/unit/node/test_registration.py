"""What a node says it dies together with: what it was told, and this machine."""

import pytest

from edumeet_recording.domain.errors import InvalidRequest
from edumeet_recording.node.registration import own_failure_domain


def test_unless_told_otherwise_it_is_this_machine_for_every_process_on_it() -> None:
    one, other = own_failure_domain("", "node-1"), own_failure_domain("", "node-2")
    assert one == other
    assert isinstance(one, str)


def test_a_host_alone_is_plain_text_as_the_first_release_sent_it() -> None:
    assert own_failure_domain("h1", "node-1") == own_failure_domain("host=h1", "node-1") == "h1"


def test_more_is_named_by_level() -> None:
    assert own_failure_domain("rack=r7, zone=eu-1a,host=h1", "node-1") == {"zone": "eu-1a", "rack": "r7", "host": "h1"}
    told = own_failure_domain("zone=eu-1a", "node-1")
    assert isinstance(told, dict)
    assert set(told) == {"zone", "host"}


def test_nonsense_is_refused_by_the_name_of_its_setting() -> None:
    with pytest.raises(InvalidRequest, match="NODE_FAILURE_DOMAIN: 'shelf=3' is not like"):
        own_failure_domain("shelf=3", "node-1")
