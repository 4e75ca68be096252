"""A day of a fleet that records nothing, in seconds: a real orchestrator gets its nodes as pods, and loses one."""

from pathlib import Path

import pytest

from edumeet_recording.sim.fleet.figures import figures
from edumeet_recording.sim.fleet.plots import draw
from edumeet_recording.sim.fleet.scenario import Scenario
from edumeet_recording.sim.fleet.simulation import live


@pytest.mark.timeout(180)
async def test_a_day_passes(tmp_path: Path) -> None:
    scenario = Scenario(nodes=6, recordings=60, regions=2, minutes=0.2, replicas=1, failures=1, autoscaled=True, seed=1)
    lived = await live(scenario, tmp_path)
    result = figures(lived)
    assert (result.recordings, lived.watch.refusals) == (60, [])
    assert result.start_p50_s > 0
    started = {each.region for each in lived.watch.samples if each.nodes_running}
    assert started == {place.name for place in scenario.places}
    # the fleet was larger at its busiest than where it was smallest
    paid = [each.nodes_paid for each in lived.watch.samples if each.region == "eu-north-1"]
    assert max(paid) > min(paid)
    assert draw(lived, result, tmp_path).exists()
    assert all((tmp_path / name).stat().st_size > 0 for name in ("regions.png", "live.png", "times.png", "cost.png"))
