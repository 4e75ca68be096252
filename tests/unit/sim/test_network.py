from itertools import groupby, pairwise

import pytest

from edumeet_recording.sim.network import Conditions, Network

COUNT = 20_000
PERIOD_S = 0.01


def _run(conditions: Conditions, seed: str = "seed") -> list[tuple[float, ...]]:
    network = Network(conditions, seed)
    return [network.arrivals(number * PERIOD_S) for number in range(COUNT)]


def test_a_good_network_delivers_at_once() -> None:
    assert _run(Conditions()) == [(number * PERIOD_S,) for number in range(COUNT)]


def test_the_same_seed_gives_the_same_network() -> None:
    conditions = Conditions(loss=0.1, jitter_s=0.02, reorder=0.1, duplicate=0.1)

    assert _run(conditions) == _run(conditions)
    assert _run(conditions) != _run(conditions, "another seed")


@pytest.mark.parametrize(("loss", "burst"), [(0.02, 1), (0.05, 1), (0.05, 5), (0.3, 10)])
def test_loss_and_its_bursts(loss: float, burst: float) -> None:
    arrivals = _run(Conditions(loss=loss, burst=burst))

    runs = [len(list(run)) for lost, run in groupby(arrivals, key=lambda times: not times) if lost]
    expected_run = burst if burst > 1 else 1.0
    assert sum(runs) / COUNT == pytest.approx(loss, rel=0.25)
    assert sum(runs) / len(runs) == pytest.approx(expected_run, rel=0.25)


def test_jitter_delays_but_keeps_the_order() -> None:
    arrivals = [times[0] for times in _run(Conditions(delay_s=0.1, jitter_s=0.05))]

    delays = [arrival - number * PERIOD_S for number, arrival in enumerate(arrivals)]
    assert all(before <= after for before, after in pairwise(arrivals))
    assert min(delays) == pytest.approx(0.1, abs=0.01)
    assert max(delays) == pytest.approx(0.15, abs=0.001)


def test_reordered_and_duplicated_ones_are_as_many_as_asked_for() -> None:
    arrivals = _run(Conditions(reorder=0.1, duplicate=0.05))

    overtaken = sum(before[0] > after[0] for before, after in pairwise(arrivals))
    assert overtaken / COUNT == pytest.approx(0.1, rel=0.2)
    assert sum(len(times) == 2 for times in arrivals) / COUNT == pytest.approx(0.05 * 0.9, rel=0.2)


@pytest.mark.parametrize("wrong", [{"loss": 1.0}, {"loss": -0.1}, {"burst": 0.5}])
def test_impossible_conditions_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="share below 1"):
        Conditions(**wrong)
