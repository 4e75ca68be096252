"""The node process: what it is made of, started and ended in one task group."""

import asyncio
import os
import socket
import time
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from math import ceil
from pathlib import Path

import structlog
from pydantic import SecretStr

from edumeet_recording.config import NodeSettings, environment_of_child
from edumeet_recording.node.adoption import Found, find_workers
from edumeet_recording.node.calibration import keep_calibration, kept_calibration
from edumeet_recording.node.capacity import CapacityMeter
from edumeet_recording.node.core import NodeCore
from edumeet_recording.node.events import Beat, ChunkShipped, Leaving, Started, Stopping
from edumeet_recording.node.finalizing import Finalizers
from edumeet_recording.node.inventory import Inventory
from edumeet_recording.node.journal import Journal
from edumeet_recording.node.link import Link
from edumeet_recording.node.load import LoadMeter
from edumeet_recording.node.machine import cores
from edumeet_recording.node.ports import PortPool
from edumeet_recording.node.registration import Identity, held_state, own_ip
from edumeet_recording.node.shell import Inbox, Shell
from edumeet_recording.node.shipper import Shipper
from edumeet_recording.node.status import status_app
from edumeet_recording.node.supervisor import Supervisor
from edumeet_recording.storage.regional import RegionalStore
from edumeet_recording.web import serve
from edumeet_recording.wire.node_link import NodeLoad

SPOOL = "spool"
WORKERS = "workers"
"""Folders of the node: its tape, and where its capture processes listen."""
BEAT_S = 1.0
MEASURE_S = 0.8
"""A measurement that takes longer waits for a disk that hangs, and the heartbeat for neither."""
SHIPPING_S = 3.5
"""Time to ship what is left when the process is asked to end; the rest is for its next life."""

_log = structlog.get_logger(__name__)


async def run_node(settings: NodeSettings, stop: asyncio.Event, leave: asyncio.Event) -> None:
    """Run a node until `stop`; then drain, ship what can be shipped in a few seconds, and leave no child.

    With `leave` it first waits for its captures to be moved to other nodes, and its finalizations to end.

    Raises `Conflict` where another node works in the same STATE_DIR, `Unavailable` where its address is unknown,
    `InvalidRequest` where NODE_FAILURE_DOMAIN is not one.
    """
    folder = settings.state_dir.absolute() / "node"
    with held_state(folder):
        identity = Identity(folder / "identity.json", settings.node_id)
        found = await find_workers(folder / WORKERS, identity.node_id, folder / SPOOL)
        with _listening(settings, [door for each in found for door in each.doors]) as listening:
            await _Node(settings, folder, identity, listening, found).run(stop, leave)


class _Node:
    """The parts of one node."""

    def __init__(
        self, settings: NodeSettings, folder: Path, identity: Identity, listening: socket.socket, found: list[Found]
    ) -> None:
        workers = settings.capture_processes or ceil(cores(settings.node_cpus))
        url = settings.node_url or _own_url(settings, listening)
        self.listening = listening
        self.leave_deadline_s = settings.leave_deadline_s
        self.inbox = Inbox()
        self.core = NodeCore(workers, settings.processing_slots)
        self.inventory = Inventory(folder / SPOOL)
        self.journal = Journal(folder / "journal.jsonl", first_seq=time.time_ns() // 1_000_000)
        self.meter = LoadMeter(
            self.inventory.spool,
            self.inventory.bytes,
            warn_percent=settings.disk_warn_percent,
            refuse_percent=settings.disk_refuse_percent,
            now=time.monotonic(),
        )
        self.capacity = CapacityMeter(
            cores(settings.node_cpus), kept_calibration(folder), partial(keep_calibration, folder), time.monotonic()
        )
        self.link = Link(settings, identity, url, self.journal, self.inbox.tell)
        self.supervisor = Supervisor(
            workers=workers,
            found=found,
            inventory=self.inventory,
            folder=folder / WORKERS,
            door=listening,
            arguments=(
                *(identity.node_id, str(self.inventory.spool)),
                *(str(settings.chunk_seconds), str(settings.capture_alone_s)),
            ),
            ports=PortPool(
                settings.media_bind_ip,
                settings.rtp_port_min,
                settings.rtp_port_max,
                settings.receive_buffer_bytes,
                _warn_of_small_buffer,
            ),
            media_ip=settings.media_ip or own_ip(settings.media_bind_ip, settings.orchestrator_url),
            tell=self.inbox.tell,
        )
        self.shipper = Shipper(
            RegionalStore.open(settings),
            lambda capture_id, chunk: self.inbox.tell(ChunkShipped(capture_id, chunk)),
        )
        self.finalizers = Finalizers(folder / "work", environment_of_child(_variables(settings)), self.inbox.tell)
        self.shell = Shell(
            core=self.core,
            inbox=self.inbox,
            inventory=self.inventory,
            journal=self.journal,
            supervisor=self.supervisor,
            shipper=self.shipper,
            finalizers=self.finalizers,
            link=self.link,
        )
        self.app = status_app(identity.node_id, lambda: self.link.beat, lambda: self.link.up)
        _log.info("node starts", node_id=identity.node_id, url=url, workers=workers)

    async def run(self, stop: asyncio.Event, leave: asyncio.Event) -> None:
        """Until `stop`, and then what is left to do."""
        adopted = await asyncio.to_thread(self.supervisor.adopt)
        held = {each.holding.assign.capture_id for each in adopted}
        left = await asyncio.to_thread(lambda: tuple(self.inventory.left(held)))
        self.inbox.tell(Started(left, adopted, self.journal.pending, self.finalizers.unfinished))
        web_stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(serve(self.app, self.listening, web_stop, lambda: None))
            loops = [
                group.create_task(run())
                for run in (
                    self.supervisor.run,
                    self.shipper.run,
                    self.finalizers.run,
                    self.shell.run,
                    self.link.run,
                    self._beat,
                )
            ]
            leaving = group.create_task(self._leave(leave, stop))
            await stop.wait()
            leaving.cancel()
            self.supervisor.ends_workers = True
            self.shell.settled.clear()
            self.inbox.tell(Stopping())
            try:
                async with asyncio.timeout(SHIPPING_S):
                    await self.shell.settled.wait()
            except TimeoutError:
                _log.warning("not everything is shipped: the next start goes on")
            web_stop.set()
            for loop in loops:
                loop.cancel()

    async def _leave(self, leave: asyncio.Event, stop: asyncio.Event) -> None:
        """Stop once nothing is left to do here, or it takes too long."""
        await leave.wait()
        self.shell.empty.clear()
        self.inbox.tell(Leaving())
        try:
            async with asyncio.timeout(self.leave_deadline_s):
                await self.shell.empty.wait()
        except TimeoutError:
            _log.warning("leaving before all is moved and done", seconds=self.leave_deadline_s)
        stop.set()

    def _measure(self, pids: tuple[int, ...], promised_mcpu: int) -> NodeLoad:
        now = time.monotonic()
        return self.capacity.measure(self.meter.measure(now), pids, promised_mcpu, now)

    async def _beat(self) -> None:
        """Measure and tell once a second."""
        loop, warned, load = asyncio.get_running_loop(), False, await asyncio.to_thread(self._measure, (), 0)
        while True:
            began = loop.time()
            pids, promised = (os.getpid(), *self.supervisor.pids.values()), self.core.promised_mcpu
            with suppress(TimeoutError):
                async with asyncio.timeout(MEASURE_S):
                    load = await asyncio.to_thread(self._measure, pids, promised)
            warning = "; ".join(filter(None, (load.warning, self.shipper.trouble(loop.time())))) or None
            if warning is not None and not warned:
                _log.warning("the node needs to be looked at", warning=warning)
            elif warning is None and warned:
                _log.info("the node is as it should be again")
            warned = warning is not None
            self.inbox.tell(Beat(load.model_copy(update={"warning": warning})))
            await asyncio.sleep(max(0.0, began + BEAT_S - loop.time()))


def _listening(settings: NodeSettings, doors: list[socket.socket]) -> socket.socket:
    """The socket of /health: the one that the workers have kept, where it is the one that is wanted."""
    kept: socket.socket | None = None
    for door in doors:
        host, port = door.getsockname()[:2]
        if kept is None and host == settings.node_host and settings.node_port in (0, port):
            kept = door
        else:
            door.close()
    if kept is not None:
        return kept
    family = socket.AF_INET6 if ":" in settings.node_host else socket.AF_INET
    return socket.create_server((settings.node_host, settings.node_port), family=family)


def _own_url(settings: NodeSettings, listening: socket.socket) -> str:
    ip = own_ip(listening.getsockname()[0], settings.orchestrator_url)
    host = f"[{ip}]" if ip_address(ip).version == 6 else ip
    return f"http://{host}:{listening.getsockname()[1]}"


def _variables(settings: NodeSettings) -> dict[str, str]:
    """The settings as a child's environment has them."""
    return {
        name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings
    }


def _warn_of_small_buffer(asked: int, granted: int) -> None:
    _log.warning("small receive buffers: raise net.core.rmem_max", asked_bytes=asked, granted_bytes=granted)
