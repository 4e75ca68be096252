"""The client's methods for capacity, recommendations, decisions, alerts and history, against the real API."""

from datetime import timedelta

import httpx2
from tests.integration.api.conftest import Orchestrator
from tests.unit.api.fakes import token

from edumeet_recording.client import RecordingClient
from edumeet_recording.control.metrics import metrics_tick
from edumeet_recording.domain.scaling import Action


async def test_what_the_api_answers_is_what_the_client_says(orchestrator: Orchestrator) -> None:
    service = orchestrator.service
    await service.room_server()
    await service.start()
    await metrics_tick(service.commands.db)
    await service.pool.execute(
        "INSERT INTO scaling_events (at, region, action, reason) VALUES (now(), 'eu', 'start', 'trend'), "
        "(now(), 'us', 'drain', 'surplus')"
    )
    transport = httpx2.ASGITransport(orchestrator.app)
    async with RecordingClient("http://orchestrator", token(), transport=transport) as client:
        (region,) = (await client.capacity()).regions
        assert (region.region, region.demand_mcpu > 0, region.capacity_mcpu) == ("eu", True, 0)
        for dry_run in (True, False):
            answer = await client.evaluate_scaling(dry_run=dry_run)
            assert answer.dry_run is dry_run
            assert [step.action for step in answer.regions[0].steps] == [Action.START]
        assert [each.action for each in await client.scaling_history()] == ["drain", "start"]
        assert [each.action for each in await client.scaling_history(region="eu", most=1)] == ["start"]
        assert await client.alerts("all") == ()
        now = (await client.metrics()).timestamp
        span = {"since": now - timedelta(minutes=30), "until": now + timedelta(minutes=1)}
        (step,) = (await client.metrics_history(**span, step_s=3600, aggregate="max")).items
        assert step.regional_metrics["eu"].demand == region.demand_mcpu
