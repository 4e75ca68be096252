"""Where simulated nodes run: each registers, keeps its link, beats, and answers at /health."""

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

import structlog

from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.sim.fleet.http import LeanClient
from edumeet_recording.sim.fleet.link import LeanLink
from edumeet_recording.sim.fleet.node import FleetNode, Observer

VERSION = version("edumeet-recording")
SLICES = 50
"""Beats are spread over their interval in so many portions."""
BEAT_S = 1.0
BEATS_PER_S = 1000
"""Of all nodes at most: with more of them each beats less often. A day that is lived fast must leave room for what is
done in it; what ten thousand beats a second cost is measured by `bench/links.py`."""
AGAIN_S = 1.0
REGISTRATIONS = 8
"""At a time, with each replica."""

log = structlog.get_logger()


@dataclass(slots=True)
class Machine:
    """One node's machine. `boots_until`: monotonic seconds from which on it serves."""

    node_id: str
    region: str
    base_url: str
    boots_until: float
    link: LeanLink | None = None
    node: FleetNode | None = None
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def runs(self) -> bool:
        """True while it is linked."""
        return self.link is not None


class Machines:
    """All nodes of a simulation. `urls` of the replicas are given out in turn; `cores` are each node's."""

    def __init__(self, urls: Sequence[str], cores: float, health_url: str, observer: Observer, secret: str) -> None:
        self._clients = {url: LeanClient(url, {"X-Registration-Secret": secret}, REGISTRATIONS) for url in urls}
        self._urls = itertools.cycle(urls)
        self._cores = cores
        self._health_url = health_url
        self._observer = observer
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.all: dict[str, Machine] = {}

    def start(self, tasks: asyncio.TaskGroup, node_id: str, region: str, boot_s: float) -> None:
        """Have a machine; its node serves after `boot_s`."""
        self.all[node_id] = machine = Machine(node_id, region, next(self._urls), time.monotonic() + boot_s)
        self._tasks[node_id] = tasks.create_task(self._run(machine))

    def stop(self, node_id: str) -> None:
        """Have it no more, if it is there: at once, as a drained node ends, and as a machine fails."""
        machine = self.all.pop(node_id, None)
        if machine is None:
            return
        self._tasks.pop(node_id).cancel()
        if machine.link is not None:
            machine.link.abort()

    def close(self) -> None:
        """Stop all."""
        for node_id in list(self.all):
            self.stop(node_id)
        for client in self._clients.values():
            client.close()

    async def beat(self) -> None:
        """Have every linked node say its heartbeat each second, or less often where there are many; until cancelled."""
        due = time.monotonic()
        for portion in itertools.count():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += max(BEAT_S, len(self.all) / BEATS_PER_S) / SLICES
            linked = [each for each in self.all.values() if each.link is not None]
            for machine in linked[portion % SLICES :: SLICES]:
                if machine.node is not None:
                    machine.node.beat()

    async def _run(self, machine: Machine) -> None:
        await asyncio.sleep(max(0.0, machine.boots_until - time.monotonic()))
        token = ""
        while True:
            try:
                token = token or await self._register(machine)
                await self._linked(machine, token)
            except Unavailable as error:
                log.info("node_without_link", node_id=machine.node_id, reason=error.message)
            machine.base_url = next(self._urls)
            await asyncio.sleep(AGAIN_S)

    async def _register(self, machine: Machine) -> str:
        body = {
            "nodeId": machine.node_id,
            "url": f"{self._health_url}/nodes/{machine.node_id}",
            "region": machine.region,
            "specs": {"cpuCores": self._cores, "ram": 2**32, "hasGPU": False, "diskSpace": 2**36},
            "processingSlots": 64,
            "version": VERSION,
        }
        answer = await self._clients[machine.base_url].post(
            "/api/nodes/ffmpeg-nodes/register", json.dumps(body).encode()
        )
        if answer.status not in (200, 201):
            raise Unavailable(f"registration was answered with {answer.status}: {answer.body[:200]!r}")
        return json.loads(answer.body)["token"]

    async def _linked(self, machine: Machine, token: str) -> None:
        """Until the link is gone."""
        machine.lost.clear()
        # what it holds outlives its link, as a real node's does
        node = machine.node = machine.node or FleetNode(machine.node_id, self._observer, _epoch_s)

        def hear(text: str) -> None:
            if not node.hear(text):
                link.abort()

        url = f"{machine.base_url.replace('http', 'ws', 1)}/api/nodes/ffmpeg-nodes/{machine.node_id}/link"
        link = await LeanLink.connect(url, token, hear, machine.lost.set)
        node.linked(link.send, VERSION)
        machine.link = link
        try:
            await machine.lost.wait()
        finally:
            machine.link = None


def _epoch_s() -> float:
    return time.time_ns() / 1e9
