"""What the service has in hand, as the simulation's clock sees it."""

from edumeet_recording.sim.fleet.day import Session
from edumeet_recording.sim.fleet.measure import Recording, Watch

HERE = Recording(Session(1, "here", 0, 0, 10), asked_at=0, answered_at=1)


def test_a_recording_is_in_hand_until_its_first_packet_and_from_its_end_until_its_file() -> None:
    watch = Watch(lambda: 5.0)
    seen: list[int] = []
    for said in (
        watch.asked,
        lambda: watch.accepted("a", HERE),
        lambda: watch.receiving("a", "node"),
        lambda: watch.ended("a"),
        lambda: watch.finalized("a"),
    ):
        said()
        seen.append(watch.in_hand)
    assert seen == [1, 1, 0, 1, 0]
    assert watch.without_media == 0


def test_what_is_refused_or_ends_without_a_packet_is_not_in_hand() -> None:
    watch = Watch(lambda: 5.0)
    watch.asked()
    watch.refused("no")
    watch.asked()
    watch.accepted("a", HERE)
    assert watch.waiting() == {"here": 1}
    watch.ended("a")
    assert (watch.in_hand, watch.refusals, watch.waiting()) == (0, ["no"], {})
    assert watch.without_media == 1


def test_a_packet_may_come_before_the_answer() -> None:
    watch = Watch(lambda: 5.0)
    watch.asked()
    watch.receiving("a", "node")
    watch.accepted("a", HERE)
    assert watch.in_hand == 0
