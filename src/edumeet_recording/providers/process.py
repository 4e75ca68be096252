"""Nodes as processes of this machine, children of the orchestrator.

A node's folder in `STATE_DIR/fleet` is its STATE_DIR and has its log; while the folder is there the node is wanted. So
an orchestrator that starts again has its nodes again, under the same ids, and they ship what they had on disk. Nodes
end with the orchestrator: told by it where it ends in order, by the kernel where it is killed.
"""

import asyncio
import json
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from edumeet_recording.config import OrchestratorSettings, environment_of_child
from edumeet_recording.lifeline import die_with_parent
from edumeet_recording.providers.base import Instance, InstanceState, ProviderRefused, check_node_id
from edumeet_recording.providers.launch import secrets_of_node, settings_of_node

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
"""Before a node that ended by itself is started again; each time twice as long."""
CLEAN_END_S = 5.0
"""What a node promises to need after SIGINT."""

_LAST_LINES = 3

log = structlog.get_logger()


@dataclass(slots=True)
class _Child:
    """A node's process, and the next one after a crash; `stopping` is set once it shall not be started again."""

    node_id: str
    region: str
    folder: Path
    state: InstanceState = InstanceState.STARTING
    detail: str = ""
    process: asyncio.subprocess.Process | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)

    def last_words(self) -> str:
        return " | ".join((self.folder / "log").read_text(errors="replace").splitlines()[-_LAST_LINES:])


class ProcessProvider:
    """A `Provider` of processes; `tasks` owns what watches over them."""

    name = "process"

    def __init__(self, settings: OrchestratorSettings, orchestrator_url: str, tasks: asyncio.TaskGroup) -> None:
        self._settings = settings
        self._orchestrator_url = orchestrator_url
        self._tasks = tasks
        self._folder = settings.state_dir.absolute() / "fleet"
        self._children: dict[str, _Child] = {}
        for wanted in self._folder.glob("*/wanted.json"):
            self._keep(wanted.parent.name, json.loads(wanted.read_text())["region"])

    async def start(self, region: str, node_id: str, labels: Mapping[str, str]) -> None:
        """Start a node's process. Raises `ProviderRefused` while one of that id ends."""
        check_node_id(node_id)
        if child := self._children.get(node_id):
            if child.stopping.is_set():
                raise ProviderRefused(f"{node_id} is still ending")
            return
        folder = self._folder / node_id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "wanted.json").write_text(json.dumps({"region": region, "labels": dict(labels)}))
        self._keep(node_id, region)

    async def stop(self, node_id: str) -> None:
        """Have it drain (SIGTERM), then end (SIGINT), then killed. Its folder goes too, unless tape is left in it."""
        child = self._children.get(node_id)
        if child is not None and not child.stopping.is_set():
            grace_s = self._settings.autoscale_stop_grace_s
            self._end(child, ((signal.SIGTERM, grace_s), (signal.SIGINT, CLEAN_END_S)), forget=True)

    async def instances(self) -> Sequence[Instance]:
        """All that are to run or still end."""
        return [Instance(each.node_id, each.region, each.state, each.detail) for each in self._children.values()]

    async def aclose(self) -> None:
        """End all nodes; they are wanted again when the orchestrator starts again."""
        children = list(self._children.values())
        for child in children:
            if child.stopping.is_set():
                child.signal(signal.SIGINT)  # a second signal ends it at once
            else:
                self._end(child, ((signal.SIGINT, CLEAN_END_S),), forget=False)
        for child in children:
            await child.ended.wait()

    def _keep(self, node_id: str, region: str) -> None:
        self._children[node_id] = child = _Child(node_id, region, self._folder / node_id)
        self._tasks.create_task(self._run(child))

    def _end(self, child: _Child, ladder: Sequence[tuple[signal.Signals, float]], *, forget: bool) -> None:
        child.stopping.set()
        child.state = InstanceState.STOPPING
        self._tasks.create_task(self._descend(child, ladder, forget=forget))

    async def _descend(self, child: _Child, ladder: Sequence[tuple[signal.Signals, float]], *, forget: bool) -> None:
        for number, seconds in ladder:
            child.signal(number)
            try:
                async with asyncio.timeout(seconds):
                    await child.ended.wait()
            except TimeoutError:
                log.warning("node_does_not_end", node_id=child.node_id, signal=number.name, after_s=seconds)
            else:
                break
        child.signal(signal.SIGKILL)
        await child.ended.wait()
        if forget:
            await asyncio.to_thread(_remove, child.folder)
        # last, so that no new node of this id meets what is left of the old one
        del self._children[child.node_id]

    async def _run(self, child: _Child) -> None:
        """Have the node run until it is to end."""
        pause_s = FIRST_PAUSE_S
        try:
            while not child.stopping.is_set():
                try:
                    await self._live(child)
                except OSError as error:
                    log.warning("node_cannot_be_started", node_id=child.node_id, reason=str(error))
                    child.state, child.detail = InstanceState.FAILED, str(error)
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await child.stopping.wait()
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        finally:
            child.ended.set()

    async def _live(self, child: _Child) -> None:
        """One life of its process, from start to exit."""
        child.process = process = await self._spawn(child)
        if child.stopping.is_set():
            child.signal(signal.SIGTERM)  # asked while it was being made
        else:
            child.state, child.detail = InstanceState.RUNNING, f"process {process.pid}"
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            # the orchestrator falls, and nobody will take the next step
            await _end_now(child, process)
            raise
        log.info("node_ended", node_id=child.node_id, exit_code=code, asked=child.stopping.is_set())
        if not child.stopping.is_set():
            child.state, child.detail = InstanceState.FAILED, f"exit code {code}: {child.last_words()}"

    async def _spawn(self, child: _Child) -> asyncio.subprocess.Process:
        variables = (
            secrets_of_node(self._settings)
            | settings_of_node(self._settings, self._orchestrator_url, child.region, child.node_id)
            | {"STATE_DIR": str(child.folder)}
        )
        with (child.folder / "log").open("ab") as output:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "edumeet_recording",
                "node",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=child.folder,
                env=environment_of_child(variables),
                # Ctrl-C is for us, who then end it in turn
                start_new_session=True,
                preexec_fn=partial(die_with_parent, signal.SIGTERM),
            )


async def _end_now(child: _Child, process: asyncio.subprocess.Process) -> None:
    child.signal(signal.SIGINT)
    try:
        async with asyncio.timeout(CLEAN_END_S):
            await process.wait()
    except TimeoutError:
        child.signal(signal.SIGKILL)
        await process.wait()


def _remove(folder: Path) -> None:
    """A node's folder, unless tape is left that is in no storage yet."""
    if any(path.is_file() for path in (folder / "node" / "spool").rglob("*")):
        log.warning("node_left_tape", folder=str(folder), hint="it is shipped when the orchestrator starts again")
        return
    shutil.rmtree(folder, ignore_errors=True)
