"""Whatever dies, is lost, comes twice or late: every job ends, is recorded once a role, and keeps what was accepted.

Hypothesis chooses what happens to three nodes, two replicas and what is on its way between them; then all is mended,
and reckoned up.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
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

    @precondition(lambda self: len(self.accepted) < JOBS_AT_MOST)
    @rule(replica=replica, redundancy=st.sampled_from((1, 1, 2)))
    def start(self, replica: int, redundancy: int) -> None:
        self.accepted[self.run(self.service.start(replica, redundancy))] = set()

    @precondition(lambda self: self.accepted)
    @rule(number=st.integers(0, JOBS_AT_MOST - 1), replica=replica)
    def stop(self, number: int, replica: int) -> None:
        self.run(self.service.replicas[replica].stop(self.job(number), None))

    @precondition(lambda self: self.accepted)
    @rule(number=st.integers(0, JOBS_AT_MOST - 1), replica=replica)
    def cancel(self, number: int, replica: int) -> None:
        job_id = self.job(number)
        if self.run(self.status(job_id)) not in FINAL:
            self.run(self.service.replicas[replica].cancel(job_id, None))
            self.cancelled.add(job_id)

    @precondition(lambda self: self.accepted)
    @rule(number=st.integers(0, JOBS_AT_MOST - 1))
    def media_comes(self, number: int) -> None:
        self.receive(self.job(number))

    @rule(name=node, well=st.booleans())
    def finalizing_ends(self, name: str, well: bool) -> None:
        each = self.nodes[name]
        for job_id, attempt in list(each.finalizing):
            each.finish(job_id, attempt, well=well)

    @rule(name=node)
    def work_is_done(self, name: str) -> None:
        if self.nodes[name].work:
            self.nodes[name].work.popleft()()

    @rule(name=node)
    def a_chunk_is_full(self, name: str) -> None:
        self.nodes[name].close_chunks()

    @rule(name=node)
    def beat(self, name: str) -> None:
        self.nodes[name].beat()

    @rule(name=node, replica=replica, twice=st.booleans())
    def the_orchestrator_hears(self, name: str, replica: int, twice: bool) -> None:
        if self.nodes[name].up:
            message = self.nodes[name].up.popleft()
            for _ in range(1 + twice):
                self.hear(name, message, replica)

    @rule(name=node, replica=replica)
    def the_orchestrator_hears_of_a_closed_link(self, name: str, replica: int) -> None:
        if self.nodes[name].late:
            self.run(self.service.hear(name, self.nodes[name].late.popleft(), replica))

    @rule(name=node)
    def what_a_closed_link_carried_is_lost(self, name: str) -> None:
        self.nodes[name].late.clear()

    @rule(name=node, replica=replica)
    def the_orchestrator_speaks(self, name: str, replica: int) -> None:
        if self.nodes[name].linked:
            self.nodes[name].down.append(self.run(self.service.desired(name, replica)))

    @rule(name=node)
    def the_node_hears(self, name: str) -> None:
        if self.nodes[name].down:
            self.nodes[name].hear()

    @rule(name=node)
    def the_link_breaks(self, name: str) -> None:
        self.nodes[name].disconnect()

    @rule(name=node)
    def the_node_connects(self, name: str) -> None:
        self.nodes[name].connect()

    @rule(name=node)
    def the_machine_dies(self, name: str) -> None:
        self.nodes[name].kill()

    @rule(name=node)
    def the_agent_dies(self, name: str) -> None:
        if self.nodes[name].runs:
            self.nodes[name].kill_agent()

    @rule(name=node)
    def the_worker_dies(self, name: str) -> None:
        self.nodes[name].replace_worker()

    @rule(name=node)
    def the_node_starts(self, name: str) -> None:
        if not self.nodes[name].runs:
            self.nodes[name].start()
            self.nodes[name].connect()

    @rule(name=node, draining=st.booleans(), replica=replica)
    def drain(self, name: str, draining: bool, replica: int) -> None:
        self.run(self.service.replicas[replica].set_draining(name, draining))

    @rule(seconds=st.sampled_from((0.5, 2.0, 6.0, 15.0, 70.0)))
    def time_passes(self, seconds: float) -> None:
        self.service.clock.advance(seconds)

    @rule(data=st.data())
    def a_loop_ticks(self, data: st.DataObject) -> None:
        self.run(self.service.ticks[data.draw(st.sampled_from(sorted(self.service.ticks)))]())

    @rule(rounds=st.integers(1, 3))
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
        """All live and hear each other; every recording is stopped, and must end."""
        for name, each in self.nodes.items():
            if not each.runs:
                each.start()
            each.connect()
            self.run(self.service.replicas[0].set_draining(name, False))
        for job_id in self.accepted:
            self.run(self.service.replicas[0].stop(job_id, None))
        calm = 0
        for _ in range(ROUNDS):
            self.one_round()
            statuses = [self.run(self.status(job_id)) for job_id in self.accepted]
            calm = calm + 1 if all(status in FINAL for status in statuses) else 0
            if calm == CALM_ROUNDS:
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

    def hear(self, name: str, message: NodeMessage, replica: int) -> None:
        """An orchestrator hears a node, and answers on its link."""
        ack = self.run(self.service.hear(name, message, replica))
        if ack is not None:
            self.nodes[name].down.append(ack)

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
            max_examples=20, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
