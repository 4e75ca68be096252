import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.leftovers import children
from tests.waiting import eventually

from edumeet_recording.domain.codecs import Container
from edumeet_recording.node.events import Event, FinalizeEnded, FinalizeProgressed
from edumeet_recording.node.finalizing import Finalizers
from edumeet_recording.wire.node_link import FinalizeFailed, FinalizeTask, OutputOptions

TASK = FinalizeTask(
    job_id="j1", attempt=2, output_prefix="o", file_stem="f", output=OutputOptions(container=Container.MKV), captures=()
)
ECHO = """
import json, sys
task = json.loads(sys.stdin.readline())
print(json.dumps({"phase": "mux", "fraction": 0.5}))
print("not a line of ours")
print(json.dumps({"type": "finalize_failed", "jobId": task["jobId"], "attempt": task["attempt"], "error": "x"}))
"""
DIES = "import sys; print('last words', file=sys.stderr); sys.exit(3)"
OBEYS = 'import time; print(\'{"phase": "mux", "fraction": 0}\', flush=True); time.sleep(60)'
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + OBEYS


@asynccontextmanager
async def finalizing(folder: Path, program: str) -> AsyncIterator[tuple[Finalizers, list[Event]]]:
    told: list[Event] = []
    finalizers = Finalizers(folder / "work", {}, told.append, (sys.executable, "-c", program))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(finalizers.run())
        finalizers.start(TASK)
        yield finalizers, told
        running.cancel()


def ended(told: list[Event]) -> FinalizeEnded | None:
    return next((event for event in told if isinstance(event, FinalizeEnded)), None)


async def test_the_last_line_is_the_outcome(tmp_path: Path) -> None:
    async with finalizing(tmp_path, ECHO) as (_, told):
        outcome = (await eventually(lambda: ended(told))).outcome
    assert isinstance(outcome, FinalizeFailed)
    assert (outcome.job_id, outcome.attempt, outcome.error) == ("j1", 2, "x")
    (progress,) = [event.progress for event in told if isinstance(event, FinalizeProgressed)]
    assert (progress.phase, progress.fraction) == ("mux", 0.5)


async def test_an_end_without_an_outcome_can_be_tried_again_and_quotes_the_last_words(tmp_path: Path) -> None:
    async with finalizing(tmp_path, DIES) as (_, told):
        outcome = (await eventually(lambda: ended(told))).outcome
    assert isinstance(outcome, FinalizeFailed)
    assert outcome.retryable
    assert "code 3" in outcome.error
    assert "last words" in outcome.error


@pytest.mark.parametrize("program", [OBEYS, DEAF])
async def test_a_child_that_is_stopped_ends_without_an_outcome(tmp_path: Path, program: str) -> None:
    async with finalizing(tmp_path, program) as (finalizers, told):
        await eventually(lambda: told)
        finalizers.stop("j1", 2)
        finalizers.stop("unknown", 1)
        assert (await eventually(lambda: ended(told), timeout=6)).outcome is None
        assert list((tmp_path / "work").iterdir()) == []


async def test_no_child_outlives_the_node(tmp_path: Path) -> None:
    before = children()
    async with finalizing(tmp_path, DEAF) as (_, told):
        await eventually(lambda: told)
        assert children() - before
    assert not children() - before


async def test_what_an_earlier_life_was_at_is_known_and_what_it_ended_is_not(tmp_path: Path) -> None:
    async with finalizing(tmp_path, ECHO) as (_, told):
        await eventually(lambda: ended(told))
    assert Finalizers(tmp_path / "work", {}, told.append).unfinished == ()
    async with finalizing(tmp_path, OBEYS) as (_, told):
        await eventually(lambda: told)
        (tmp_path / "work" / "of-an-older-release").mkdir()
        assert Finalizers(tmp_path / "work", {}, told.append).unfinished == (("j1", 2),)
    assert list((tmp_path / "work").iterdir()) == []
