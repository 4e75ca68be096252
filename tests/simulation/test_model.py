"""Whatever dies, is lost, comes twice or late: every job ends, is recorded once a role, and keeps what was accepted.

Hypothesis chooses what happens to three nodes, two replicas and what is on its way between them; then all is mended,
and reckoned up.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.postgres import empty_tables
from tests.simulation.simulated_node import SimulatedNode, Storage
from tests.simulation.simulated_service import SimulatedService

from edumeet_recording.control import health
from edumeet_recording.domain.job import FINAL, JobStatus
from edumeet_recording.store.db import open_pool
from edumeet_recording.wire.node_link import NodeMessage

NODES = ("node-1", "node-2", "node-3")
ROUNDS = 150
CALM_ROUNDS = 13
"""In seconds: what came late has woken its job by then."""
JOBS_AT_MOST = 4

node = st.sampled_from(NODES)
replica = st.sampled_from((0, 1))
number = st.integers(0, 23)
T = TypeVar("T")


class Model(RuleBasedStateMachine):
    """The service, its nodes, and what was accepted of each job."""

    dsn = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self._pool = open_pool(self.dsn, 4)
        self.run(empty_tables(self.dsn))
        self.pool = self.run(self._pool.__aenter__())
        self.service = SimulatedService(self.pool, lambda host: host not in NODES or self.nodes[host].runs)
        self.storage = Storage()
        self.nodes = {node_id: SimulatedNode(node_id, self.storage) for node_id in NODES}
        self.accepted: dict[str, set[int]] = {}
        self.cancelled: set[str] = set()
        self.packets = 0
        self.run(self.service.begin(list(NODES)))
        for each in self.nodes.values():
            each.connect()

    def run(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return self.runner.run(awaited())

    @initialize()
    def begin(self) -> None:
        self.start(0, 1)

    @precondition(lambda self: len(self.accepted) < JOBS_AT_MOST)
    @rule(replica=replica, redundancy=st.sampled_from((1, 2)))
    def start(self, replica: int, redundancy: int) -> None:
        self.accepted[self.run(self.service.start(replica, redundancy))] = set()

    @rule(number=number, replica=replica)
    def stop(self, number: int, replica: int) -> None:
        self.run(self.service.replicas[replica].stop(self.job(number), None))

    @rule(number=number, replica=replica)
    def cancel(self, number: int, replica: int) -> None:
        job_id = self.job(number)
        if self.run(self.status(job_id)) not in FINAL:
            self.run(self.service.replicas[replica].cancel(job_id, None))
            self.cancelled.add(job_id)

    @rule(number=number)
    def media_comes(self, number: int) -> None:
        self.receive(self.job(number))

    @rule(number=number, replica=replica, oddly=st.booleans())
    def something_moves(self, number: int, replica: int, oddly: bool) -> None:
        """One of the things that wait: work, or a message. Oddly: finalizing fails, the message comes twice."""
        moves = [move for each in self.nodes.values() for move in self.moves(each, replica, oddly)]
        if moves:
            moves[number % len(moves)]()

    def moves(self, each: SimulatedNode, replica: int, oddly: bool) -> Iterator[Callable[[], None]]:
        """What can go on at a node, and on its way."""
        if each.work:
            yield lambda: each.work.popleft()()
        for job_id, attempt in each.finalizing:
            yield partial(each.finish, job_id, attempt, well=not oddly)
        if each.up:
            yield lambda: self.hear(each.node_id, each.up.popleft(), replica, times=1 + oddly)
        if each.late:
            yield each.late.clear if oddly else lambda: self.hear(each.node_id, each.late.popleft(), replica)
        if each.down:
            yield each.hear
        if each.linked:
            yield lambda: each.down.append(self.run(self.service.desired(each.node_id, replica)))
            yield each.close_chunks
            yield each.beat

    @rule(name=node, strike=st.sampled_from(("kill", "kill_agent", "replace_worker", "disconnect")))
    def something_breaks(self, name: str, strike: str) -> None:
        getattr(self.nodes[name], strike)()

    @rule(name=node)
    def something_comes_back(self, name: str) -> None:
        if not self.nodes[name].runs:
            self.nodes[name].start()
        self.nodes[name].connect()

    @rule(name=node, strike=st.sampled_from(("kill", "kill_agent")), well=st.booleans())
    def something_restarts(self, name: str, strike: str, well: bool) -> None:
        """Before anybody has noticed: what it is told first is still of its earlier life."""
        self.something_breaks(name, strike)
        self.something_comes_back(name)
        if well:
            self.one_round()

    @rule(name=node, draining=st.booleans(), replica=replica)
    def drain(self, name: str, draining: bool, replica: int) -> None:
        self.run(self.service.replicas[replica].set_draining(name, draining))

    @rule(seconds=st.sampled_from((0.5, 2.0, 6.0, 15.0, 70.0)))
    def time_passes(self, seconds: float) -> None:
        self.service.clock.advance(seconds)

    @rule(number=number)
    def a_loop_ticks(self, number: int) -> None:
        ticks = list(self.service.ticks.values())
        self.run(ticks[number % len(ticks)]())

    @rule(rounds=st.sampled_from((1, 3, 10)))
    def all_is_well_for_a_while(self, rounds: int) -> None:
        """Without this hardly any recording would ever get anywhere."""
        for _ in range(rounds):
            self.one_round()

    @invariant()
    def one_live_capture_a_role(self) -> None:
        twice = self.run(
            self.pool.fetch(
                "SELECT job_id, role FROM captures WHERE wanted AND NOT leaving AND state NOT IN ('drained', 'lost') "
                "GROUP BY job_id, role HAVING count(*) > 1"
            )
        )
        assert twice == []

    def teardown(self) -> None:
        try:
            self.mend()
            self.reckon()
        finally:
            self.run(self._pool.__aexit__(None, None, None))
            self.runner.close()

    def mend(self) -> None:
        """Every recording is stopped, and must end with the nodes that live; then the others come back with theirs."""
        if not any(each.runs for each in self.nodes.values()):
            self.nodes[NODES[0]].start()
        for name, each in self.nodes.items():
            each.connect()
            self.run(self.service.replicas[0].set_draining(name, False))
        for job_id in self.accepted:
            self.run(self.service.replicas[0].stop(job_id, None))
        self.until_calm(1)
        for each in self.nodes.values():
            if not each.runs:
                each.start()
            each.connect()
        self.until_calm(CALM_ROUNDS)

    def until_calm(self, rounds: int) -> None:
        """Until every job has been over for so many rounds."""
        calm = 0
        for _ in range(ROUNDS):
            self.one_round()
            statuses = [self.run(self.status(job_id)) for job_id in self.accepted]
            calm = calm + 1 if all(status in FINAL for status in statuses) else 0
            if calm == rounds:
                return
        raise AssertionError(f"some never end: {statuses}")

    def one_round(self) -> None:
        """A second in which nothing goes wrong."""
        self.service.clock.advance(1)
        for name, each in self.nodes.items():
            each.beat()
            each.work_off()
            while each.up:
                self.hear(name, each.up.popleft(), 0)
        for tick in self.service.ticks.values():
            self.run(tick())
        for name, each in self.nodes.items():
            if each.linked:
                each.down.append(self.run(self.service.desired(name, 0)))
            while each.down:
                each.hear()
        for job_id in self.accepted:
            self.receive(job_id)

    def hear(self, name: str, message: NodeMessage, replica: int, *, times: int = 1) -> None:
        """An orchestrator hears a node, and answers on its link, where that is still there."""
        for _ in range(times):
            answer = self.run(self.service.hear(name, message, replica))
            if answer is not None and self.nodes[name].linked:
                self.nodes[name].down.append(answer)

    def reckon(self) -> None:
        for job_id, accepted in self.accepted.items():
            row = self.run(self.pool.fetchrow("SELECT * FROM recording_jobs WHERE id = $1", job_id))
            assert row is not None
            self.events_tell_the_story(job_id)
            if job_id in self.cancelled or row["status"] == JobStatus.CANCELLED:
                assert row["status"] == JobStatus.CANCELLED
                assert not accepted or job_id in self.cancelled
            elif row["status"] == JobStatus.COMPLETED:
                lacking = accepted - self.storage.files[row["file_key"]]
                assert not lacking, f"{job_id} lacks packets {lacking}"
            else:
                assert row["reason"] == "finalize_error" or not accepted, (row["reason"], row["reason_detail"])
        self.nothing_is_left()

    def events_tell_the_story(self, job_id: str) -> None:
        rows = self.run(
            self.pool.fetch("SELECT seq, type, status FROM job_events WHERE job_id = $1 ORDER BY seq", job_id)
        )
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
        ends = [number for number, row in enumerate(rows) if row["type"] == row["status"] and row["status"] in FINAL]
        assert ends[-1] == len(rows) - 1
        assert all(rows[end + 1]["type"] == JobStatus.PROCESSING for end in ends[:-1])

    def nothing_is_left(self) -> None:
        for each in self.nodes.values():
            assert each.spool == {}
            assert each.held == {}
            assert each.journal == {}
        assert self.run(self.pool.fetchval("SELECT sum(load_mcpu) FROM ffmpeg_nodes")) == 0

    def receive(self, job_id: str) -> None:
        """A packet of the job comes to every node that has ports open for it."""
        self.packets += 1
        at = self.service.clock.now.timestamp()
        taken = [each.receive(job_id, self.packets, at) for each in self.nodes.values()]
        if any(taken):
            self.accepted[job_id].add(self.packets)

    def job(self, number: int) -> str:
        return list(self.accepted)[number % len(self.accepted)]

    async def status(self, job_id: str) -> str:
        return await self.pool.fetchval("SELECT status::text FROM recording_jobs WHERE id = $1", job_id)


def test_nothing_accepted_is_lost(simulated_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PROBE_PAUSE_S", 0)
    monkeypatch.setattr(Model, "dsn", simulated_dsn)
    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
