"""Nothing but what `element` makes is markup."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.media.markup import Markup, element, joined


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (element("p", "a < b & c"), "<p>a &lt; b &amp; c</p>"),
        (element("p", element("b", 1), " <i>"), "<p><b>1</b> &lt;i&gt;</p>"),
        (element("img", src='"><script>', alt=None), '<img src="&quot;&gt;&lt;script&gt;">'),
        (element("path", stroke_width=2, class_="a'b"), '<path stroke-width="2" class="a&#x27;b"></path>'),
        (element("meta", name="viewport"), '<meta name="viewport">'),
        (joined(Markup("<hr>"), "<hr>"), "<hr>&lt;hr&gt;"),
    ],
)
def test_text_is_escaped_and_elements_are_not(made: Markup, expected: str) -> None:
    assert made == expected


@given(st.text())
def test_no_text_opens_an_element_or_ends_an_attribute(text: str) -> None:
    made = element("p", text, title=text)

    assert made.count("<") == made.count(">") == 2
    assert made.count('"') == 2
