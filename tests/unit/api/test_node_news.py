"""What counts as news of a node, and that a large fleet is written in pieces like a small one."""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime

import pytest
from tests.unit.api.fakes import ROOM

from edumeet_recording.api.node_news import LOADS_EVERY, Told, changed
from edumeet_recording.api.node_pages import written
from edumeet_recording.wire.views import FFmpegNodeView, Node, NodeList

AT = datetime(2027, 1, 1, tzinfo=UTC)
NODE = FFmpegNodeView(
    id="node-1",
    url="http://node-1",
    region="north",
    is_healthy=True,
    is_linked=True,
    is_draining=False,
    accepts_captures=True,
    capacity_mcpu=1600,
    load_mcpu=0,
    captures=0,
    processing_slots=1,
    specs={},
    load={"cpuPercent": 1.0},
    registered_at=AT,
)
KEY = ("ffmpeg-node", "node-1")


@pytest.mark.parametrize(
    ("change", "told", "told_later"),
    [
        ({}, False, False),
        ({"last_heartbeat": AT}, False, False),
        ({"load": {"cpuPercent": 2.0}}, False, True),
        ({"captures": 1}, True, True),
    ],
)
def test_what_a_node_measures_is_told_now_and_then(change: dict[str, object], told: bool, told_later: bool) -> None:
    now = NODE.model_copy(update=change)
    for tick, expected in ((LOADS_EVERY - 1, told), (LOADS_EVERY, told_later)):
        news = changed({KEY: Told(NODE, 0)}, {KEY: now}, [KEY], tick)
        assert news == ([(NODE, now)] if expected else [])


def test_nodes_that_come_and_go_are_told() -> None:
    assert changed({}, {KEY: NODE}, [], 1) == [(NODE, NODE)]
    assert changed({KEY: Told(NODE, 0)}, {}, [KEY], 1) == [(NODE, None)]
    assert changed({}, {}, [KEY], 1) == [], "it came and went unseen"


def test_one_that_was_not_looked_at_is_not_gone() -> None:
    assert changed({KEY: Told(NODE, 0)}, {}, [], 1) == []


@pytest.mark.parametrize(
    "pages", [[[]], [[ROOM]], [[], [NODE]], [[ROOM], [], [NODE]], [[ROOM], [NODE, NODE.model_copy(update={"id": "2"})]]]
)
async def test_in_pieces_it_is_the_same_message(pages: list[list[Node]]) -> None:
    async def read() -> AsyncGenerator[Sequence[Node]]:
        for page in pages:
            yield page

    text = "".join([piece async for piece in await written(NodeList(items=()), read())])
    whole = NodeList(items=tuple(node for page in pages for node in page))
    assert text == whole.model_dump_json(by_alias=True)
