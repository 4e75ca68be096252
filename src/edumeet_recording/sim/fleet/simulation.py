"""A simulated day: real orchestrators and a real PostgreSQL as processes, the fleet and the callers in this one."""

import asyncio
import json
import secrets
import socket
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from edumeet_recording.api.auth import Scope, issue_token
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.price import capacity_mcpu
from edumeet_recording.regional_settings import RegionScaling
from edumeet_recording.sim.fleet.clock import DayClock
from edumeet_recording.sim.fleet.cluster import NAMESPACE, Cluster, application, kubeconfig
from edumeet_recording.sim.fleet.day import DAY_S, Crowd, Session
from edumeet_recording.sim.fleet.http import LeanClient
from edumeet_recording.sim.fleet.machines import Machines
from edumeet_recording.sim.fleet.measure import Recording, Sample, Watch
from edumeet_recording.sim.fleet.rooms import FleetRooms
from edumeet_recording.sim.fleet.scenario import BOOT_S, SESSION_MCPU, Scenario
from edumeet_recording.sim.fleet.virtual import VirtualDay, live_virtually
from edumeet_recording.sim.processes import OwnProcess, own_process, raise_file_limit
from edumeet_recording.sim.room_link import Registration, RoomLink
from edumeet_recording.store.embedded import embedded_postgres
from edumeet_recording.web import serve

ROUNDING_MCPU = 0.5
CALLERS = 64
SETTLE_S = 20.0
READY_S, READY_S_A_NODE = 20.0, 0.05
"""A whole fleet takes its time to register."""
FILES_A_NODE, OTHER_FILES = 2, 1000
POLL_S = 0.05
SERVER_END_S = 10.0
SAMPLES = 480
"""Of a day: every three minutes."""


@dataclass(frozen=True, slots=True)
class Lived:
    """A day that was simulated: `virtual` for the policy's waits and cost, `watch` for what the service takes.

    `cpu_s` of each orchestrator; `took_s` of the real clock, more than was planned where the service fell behind.
    """

    scenario: Scenario
    sessions: tuple[Session, ...]
    sessions_a_node: int
    virtual: VirtualDay
    watch: Watch
    cpu_s: dict[str, float]
    took_s: float


async def live(scenario: Scenario, folder: Path, say: Callable[[str], None] = lambda _text: None) -> Lived:
    """Simulate the day in `folder` (absolute), where logs are left; `say` hears each hour how far it is.

    Raises `Unavailable` where a part is missing.
    """
    try:
        return await _live(scenario, folder, say)
    except* Unavailable as failures:
        raise failures.exceptions[0] from None


async def _live(scenario: Scenario, folder: Path, say: Callable[[str], None]) -> Lived:
    planned = scenario.plan()
    fit = scenario.sessions_a_node(planned)
    virtual = live_virtually(scenario, planned, fit)
    watch = Watch(time.monotonic)
    raise_file_limit(OTHER_FILES + FILES_A_NODE * scenario.nodes)
    async with _Simulation.opened(scenario, fit, watch, folder) as simulation:
        began = time.monotonic()
        await simulation.run(planned, say)
        took_s = time.monotonic() - began
        cpu_s = {process.name: process.cpu_s() for process in simulation.replicas}
    return Lived(scenario, tuple(planned), fit, virtual, watch, cpu_s, took_s)


@dataclass(slots=True)
class _Simulation:
    scenario: Scenario
    watch: Watch
    clock: DayClock
    machines: Machines
    cluster: Cluster
    rooms: dict[str, FleetRooms]
    replicas: list[OwnProcess]
    callers: list[LeanClient]

    @classmethod
    @asynccontextmanager
    async def opened(cls, scenario: Scenario, fit: int, watch: Watch, folder: Path) -> AsyncGenerator["_Simulation"]:
        """All of it, ready for the day; gone when the block is left."""
        jwt_secret, registration_secret = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        async with AsyncExitStack() as stack:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096))
            cluster_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            dsn = await stack.enter_async_context(embedded_postgres(folder / "state"))
            settings = _settings(scenario, fit, kubeconfig(folder / "kubeconfig", cluster_url)) | {
                "DATABASE_URL": dsn,
                "JWT_SECRET": jwt_secret,
                "REGISTRATION_SECRET": registration_secret,
                "STORAGE_URL": (folder / "storage").as_uri(),
            }
            replicas = [
                await stack.enter_async_context(
                    own_process(f"orchestrator-{number}", "orchestrator", "--json", settings=settings, folder=folder)
                )
                for number in range(scenario.replicas)
            ]
            urls = [(await replica.answer())["url"] for replica in replicas]
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            machines = Machines(
                urls, (fit * SESSION_MCPU + ROUNDING_MCPU) / capacity_mcpu(1), cluster_url, watch, registration_secret
            )
            cluster = Cluster(machines, tasks, BOOT_S / scenario.speed)
            rooms = {place.name: FleetRooms(scenario.seed) for place in scenario.places}
            stop = asyncio.Event()
            background = [
                tasks.create_task(machines.beat()),
                *(tasks.create_task(_room_server(urls[0], registration_secret, *each)) for each in rooms.items()),
            ]
            serving = tasks.create_task(serve(application(cluster), listening, stop, lambda: None))
            callers = [LeanClient(url, _authorization(jwt_secret), CALLERS) for url in urls]
            clock = DayClock(scenario.speed, lambda: watch.in_hand)
            simulation = cls(scenario, watch, clock, machines, cluster, rooms, replicas, callers)
            if not scenario.autoscaled:
                for number in range(scenario.nodes):
                    place = scenario.places[number % scenario.regions]
                    machines.start(tasks, f"node-{number}", place.name, 0)
            try:
                await simulation.ready()
                yield simulation
            finally:
                stop.set()
                machines.close()
                for caller in callers:
                    caller.close()
                for task in background:
                    task.cancel()
                # uvicorn logs its own cancellation
                await asyncio.wait([serving], timeout=SERVER_END_S)

    async def ready(self) -> None:
        """Until each region has a node, or all their nodes."""
        most_s = READY_S + (0 if self.scenario.autoscaled else self.scenario.nodes * READY_S_A_NODE)
        try:
            async with asyncio.timeout(most_s):
                while not self._is_ready():  # noqa: ASYNC110 - nodes come and go, and nobody tells
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            words = self.replicas[0].last_words()
            raise Unavailable(f"not every region has a node after {most_s:g} s: {words}") from error

    def _is_ready(self) -> bool:
        running = [each.region for each in self.machines.all.values() if each.runs]
        return {*running} == self.rooms.keys() and (self.scenario.autoscaled or len(running) == self.scenario.nodes)

    async def run(self, planned: Sequence[Session], say: Callable[[str], None]) -> None:
        """The day, and a while for what is still under way at its end."""
        async with asyncio.TaskGroup() as tasks:
            works = self.clock.run(), self._sample(planned), self._fail_machines(), self._tell_hours(say)
            beside = [tasks.create_task(work) for work in works]
            async with asyncio.TaskGroup() as calls:
                for session in planned:
                    await self.clock.until(session.begins_s)
                    calls.create_task(self._record(session))
            await asyncio.sleep(min(SETTLE_S, BOOT_S / self.scenario.speed))
            for task in beside:
                task.cancel()

    async def _record(self, session: Session) -> None:
        """Start one, and stop it when its time is over."""
        caller = self.callers[session.number % len(self.callers)]
        asked_at = time.monotonic()
        self.watch.asked()
        try:
            answer = await caller.post("/api/recordings/start", _start_of(session))
        except Unavailable as error:
            self.watch.refused(error.message)
            return
        if answer.status != 201:
            self.watch.refused(f"{answer.status} {answer.body[:200]!r}")
            return
        job_id = json.loads(answer.body)["jobId"]
        self.watch.accepted(job_id, Recording(session, asked_at, time.monotonic()))
        await self.clock.until(session.ends_s)
        self.watch.ended(job_id)
        try:
            stopped = await caller.post(f"/api/recordings/{job_id}/stop")
        except Unavailable as error:
            self.watch.refusals.append(error.message)
            return
        if stopped.status != 200:
            self.watch.refusals.append(f"stop: {stopped.status} {stopped.body[:200]!r}")

    async def _sample(self, planned: Sequence[Session]) -> None:
        """Look at the fleet now and then; room servers tell who is in their rooms."""
        here = {place: [each for each in planned if each.region == place] for place in self.rooms}
        recorded = {place: Crowd((each.begins_s, each.ends_s) for each in ours) for place, ours in here.items()}
        there = {place: Crowd((each.joins_s, each.ends_s) for each in ours) for place, ours in here.items()}
        for number in range(1, SAMPLES):
            at_s = number * DAY_S / SAMPLES
            await self.clock.until(at_s)
            waiting = self.watch.waiting()
            machines = list(self.machines.all.values())
            for place, rooms in self.rooms.items():
                rooms.peers = there[place].at(at_s)
                self.watch.samples.append(
                    Sample(
                        at_s=at_s,
                        region=place,
                        sessions=recorded[place].at(at_s),
                        waiting=waiting.get(place, 0),
                        nodes_paid=sum(each.region == place for each in machines),
                        nodes_running=sum(each.region == place and each.runs for each in machines),
                    )
                )

    async def _tell_hours(self, say: Callable[[str], None]) -> None:
        began = time.monotonic()
        for hour in range(1, 24):
            await self.clock.until(hour * 3600)
            minutes = (time.monotonic() - began) / 60
            nodes, asked = sum(each.runs for each in self.machines.all.values()), len(self.watch.recordings)
            say(f"{hour:02d}:00, after {minutes:.1f} min: {nodes} nodes, {asked} recordings so far")

    async def _fail_machines(self) -> None:
        """Evenly over the day, each time the machine that records most."""
        for number in range(self.scenario.failures):
            await self.clock.until((number + 0.5) / self.scenario.failures * DAY_S)
            running = [each for each in self.machines.all.values() if each.node is not None and each.runs]
            if running:
                victim = max(running, key=lambda each: each.node.captures if each.node else 0)
                self.watch.failed(victim.node_id)
                self.cluster.fail(victim.node_id)


def _settings(scenario: Scenario, fit: int, kubeconfig_file: Path) -> dict[str, str]:
    """Of the orchestrators: what is a time of the day runs as fast as the day."""
    policy = scenario.policy(fit)
    faster = {
        name: getattr(policy, name) / scenario.speed
        for name in ("lead_time_s", "up_cooldown_s", "down_cooldown_s", "shrink_after_s")
    }
    given = RegionScaling.model_validate(asdict(replace(policy, **faster))).model_dump(by_alias=True)
    return {
        "PORT": "0",
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "warning",
        "AUTOSCALE_PROVIDER": "kubernetes" if scenario.autoscaled else "advisory",
        "AUTOSCALE_POLICY": json.dumps({"*": given, **{place.name: {} for place in scenario.places}}),
        "KUBECONFIG": str(kubeconfig_file),
        "KUBERNETES_NAMESPACE": NAMESPACE,
        "QUEUE_LIMIT": str(scenario.recordings),
        # nodes tell no new packets, and have no tape that could be deleted
        "MEDIA_ENDED_TIMEOUT_S": str(DAY_S),
        "TAPE_RETENTION_S": str(DAY_S),
        "METRICS_INTERVAL_S": "1",
        # what a whole region does at the full hour waits for PostgreSQL more than for a core
        "DATABASE_POOL_SIZE": "20",
        # nodes share their machine with the service: who is late is not to be taken for dead
        "HEARTBEAT_TIMEOUT_S": "30",
        "PREPARE_TIMEOUT_S": "60",
    }


async def _room_server(url: str, secret: str, region: str, rooms: FleetRooms) -> None:
    us = Registration(
        orchestrator_url=url,
        server_id=f"rooms-{region}",
        url="http://127.0.0.1:9",
        region=region,
        secret=secret,
        use_link=True,
    )
    await RoomLink(us, rooms).run()


def _authorization(jwt_secret: str) -> dict[str, str]:
    now = time.time_ns() / 1e9
    token = issue_token(jwt_secret, subject="fleet", scopes=tuple(Scope), tenant=None, ttl_s=DAY_S, now=now)
    return {"Authorization": f"Bearer {token}"}


def _start_of(session: Session) -> bytes:
    return json.dumps(
        {
            "roomServerId": f"rooms-{session.region}",
            "roomId": f"room-{session.number}",
            "peerId": f"peer-{session.number}",
            "rtpStreams": [
                {"kind": "audio", "codecName": "opus", "payloadType": 111, "ssrc": 1, "port": 5004},
                {"kind": "video", "codecName": "vp8", "payloadType": 96, "ssrc": 2, "port": 5006},
            ],
        }
    ).encode()
