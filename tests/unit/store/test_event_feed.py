"""The order of events, against a model of transactions that draw ids and commit, roll back or linger."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from edumeet_recording.store.event_feed import EventOrder


def test_what_is_there_without_holes_goes_out_at_once() -> None:
    order = EventOrder(5)
    assert order.release([6, 7, 8], frozenset()) == 3
    assert (order.position, order.waits) == (8, False)


def test_a_hole_holds_back_until_its_writer_has_ended() -> None:
    order = EventOrder(5)
    assert order.release([6, 8], frozenset()) == 1
    order.hold(8, frozenset({"3/7"}))
    assert order.release([8], frozenset({"3/7"})) == 0
    assert order.release([7, 8], frozenset()) == 2
    assert order.position == 8


def test_an_id_that_was_rolled_back_is_given_up_when_its_writer_is_gone() -> None:
    order = EventOrder(5)
    order.release([8], frozenset())
    order.hold(8, frozenset({"3/7"}))
    assert order.release([8, 10], frozenset({"4/1"})) == 1
    assert order.position == 8


def test_a_later_hole_does_not_prolong_an_earlier_one() -> None:
    order = EventOrder(0)
    order.release([2], frozenset())
    order.hold(2, frozenset({"a"}))
    order.release([2, 4], frozenset({"a", "b"}))
    order.hold(4, frozenset({"b"}))
    assert order.release([2, 4], frozenset({"b"})) == 1


class Writers(RuleBasedStateMachine):
    """Several transactions write events; one reader follows as `EventFeed.poll` does."""

    open_transactions: Bundle[str] = Bundle("open_transactions")

    @initialize(position=st.integers(0, 3))
    def begin(self, position: int) -> None:
        self.order = EventOrder(position)
        self.last_id = position
        self.started = 0
        self.drawn: dict[str, list[int]] = {}
        self.visible: list[int] = []
        self.delivered: list[int] = []

    @rule(target=open_transactions)
    def start(self) -> str:
        self.started += 1
        self.drawn[f"1/{self.started}"] = []
        return f"1/{self.started}"

    @rule(transaction=open_transactions)
    def write(self, transaction: str) -> None:
        self.last_id += 1
        self.drawn[transaction].append(self.last_id)

    @rule(transaction=consumes(open_transactions))
    def commit(self, transaction: str) -> None:
        self.visible = sorted(self.visible + self.drawn.pop(transaction))

    @rule(transaction=consumes(open_transactions))
    def roll_back(self, transaction: str) -> None:
        del self.drawn[transaction]

    @rule(most=st.integers(1, 4))
    def poll(self, most: int) -> None:
        for _ in range(2):
            writers = frozenset(self.drawn) if self.order.waits else frozenset[str]()
            ids = [each for each in self.visible if each > self.order.position][:most]
            count = self.order.release(ids, writers)
            self.delivered += ids[:count]
            if count == len(ids):
                break
            self.order.hold(ids[-1], frozenset(self.drawn))

    @invariant()
    def nothing_is_skipped_or_repeated(self) -> None:
        if hasattr(self, "order"):
            assert self.delivered == [each for each in self.visible if each <= self.order.position]
            assert all(each > self.order.position for drawn in self.drawn.values() for each in drawn)

    def teardown(self) -> None:
        """Once every transaction has ended, everything gets out."""
        if hasattr(self, "order"):
            for transaction in list(self.drawn):
                self.commit(transaction)
            for _ in range(3 * len(self.visible) + 3):
                self.poll(4)
            assert self.delivered == self.visible


TestWriters = Writers.TestCase
TestWriters.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
