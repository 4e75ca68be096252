"""`edumeet-recording up`: an orchestrator and a node in one process, and what to try with them."""

import asyncio
import shlex
import shutil
import sys
from pathlib import Path

from rich.text import Text

from edumeet_recording.api.auth import Scope
from edumeet_recording.cli.printing import print_answer
from edumeet_recording.cli.settings import load
from edumeet_recording.cli.tokens import issue
from edumeet_recording.client import RecordingClient
from edumeet_recording.config import NodeSettings, OrchestratorSettings
from edumeet_recording.node.main import run_node
from edumeet_recording.server.main import run_orchestrator

COMMAND = "edumeet-recording"
UP_TOKEN_S = 30 * 86400
NODE_POLL_S = 0.05


async def run_all_in_one(settings: OrchestratorSettings, stop: asyncio.Event, *, as_json: bool) -> None:
    """The orchestrator, then a node; at the end the node first, so that what it still has to say is heard."""
    url = ""
    answering, orchestrator_stop = asyncio.Event(), asyncio.Event()

    def started(at: str) -> None:
        nonlocal url
        url = at
        answering.set()

    token = issue(settings.jwt_secret.get_secret_value(), tuple(Scope), None, UP_TOKEN_S, "up")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_orchestrator(settings, orchestrator_stop, started))
        await answering.wait()
        async with asyncio.TaskGroup() as node_tasks:
            node_tasks.create_task(run_node(load(NodeSettings, orchestrator_url=url), stop, asyncio.Event()))
            await _node_is_healthy(url, token, stop)
            if not stop.is_set():
                answer: dict[str, object] = {"url": url, "token": token, "docs": f"{url}/docs"}
                print_answer(answer, _welcome(url, token), as_json=as_json)
        orchestrator_stop.set()


async def _node_is_healthy(url: str, token: str, stop: asyncio.Event) -> None:
    async with RecordingClient(url, token) as client:
        while not stop.is_set():
            if any(each.kind == "ffmpeg-node" and each.is_healthy for each in await client.nodes()):
                return
            await asyncio.sleep(NODE_POLL_S)


def command() -> str:
    """What to type in another shell: the name where that is found, else the path in our environment."""
    return COMMAND if shutil.which(COMMAND) else shlex.quote(str(Path(sys.executable).with_name(COMMAND)))


def _welcome(url: str, token: str) -> Text:
    typed = command()
    lines = (
        "The service is up; Ctrl-C ends it.",
        "",
        f"  API            {url}/api",
        f"  documentation  {url}/docs",
        "",
        "Paste into another shell:",
        "",
        f"  export URL={url} TOKEN={token}",
        "  export EDUMEET_RECORDING_URL=$URL EDUMEET_RECORDING_TOKEN=$TOKEN",
        "",
        "and try, for one:",
        "",
        f"  ORCHESTRATOR_URL=$URL {typed} simulate-room --peer alice=opus+vp8 &",
        f"  {typed} recordings start room-server-1 room-1 alice --stream opus:111:1:5004",
        f"  {typed} recordings watch",
    )
    return Text("\n".join(lines))
