"""Two nodes are apart where the widest level that both name differs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.domain.failure_domain import NAME, FailureDomain, parse_failure_domain

NAMES = st.none() | st.from_regex(NAME, fullmatch=True)
DOMAINS = st.builds(FailureDomain, NAMES, NAMES, NAMES)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("h1", "host=h1", "host h1"),
        ("h1", "h2", None),
        ("rack=r1,host=h1", "rack=r1,host=h2", "rack r1"),
        ("rack=r1,host=h1", "rack=r2,host=h1", None),
        ("zone=a,rack=r1", "rack=r1,zone=b", None),
        ("zone=a,host=h1", "zone=a,host=h2", "zone a"),
        ("zone=a,host=h1", "host=h1", "host h1"),
        ("zone=a", "host=h1", None),
    ],
)
def test_the_widest_level_that_both_name_decides(one: str, other: str, shared: str | None) -> None:
    assert parse_failure_domain(one).shared_with(parse_failure_domain(other)) == shared


@given(DOMAINS, DOMAINS)
def test_it_is_mutual(one: FailureDomain, other: FailureDomain) -> None:
    assert one.shared_with(other) == other.shared_with(one)


@given(DOMAINS.filter(lambda domain: bool(str(domain))))
def test_what_is_written_is_read_again(domain: FailureDomain) -> None:
    assert parse_failure_domain(str(domain)) == domain


@pytest.mark.parametrize("text", ["", "zone=", "row=7", "host=a,b", "zone=a b", "a/b", "zone=a,"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not like|is named twice"):
        parse_failure_domain(text)
