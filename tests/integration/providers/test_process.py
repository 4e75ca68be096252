"""Nodes as processes: what they are started with, how they end with their owner, and what is kept of them."""

import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.integration.providers.conftest import NOWHERE, Kind, opened
from tests.waiting import eventually

from edumeet_recording.providers.base import InstanceState

WAIT_S = 40.0
OWNER = """
import asyncio, sys
from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.providers.choice import open_provider

async def main():
    settings = OrchestratorSettings(_env_file=None, autoscale_provider="process", state_dir=sys.argv[1])
    async with asyncio.TaskGroup() as tasks:
        provider = await open_provider(settings, sys.argv[2], tasks)
        await provider.start("eu-north-1", "node-a", {})
        await asyncio.Event().wait()

asyncio.run(main())
"""


def environment(pid: str) -> Mapping[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


async def test_a_node_is_told_what_it_needs(process_kind: Kind, tmp_path: Path) -> None:
    secret = {"registration_secret": "of the orchestrator", "storage_secret_key": "of the storage"}
    async with opened(**process_kind.settings, **secret) as provider:
        await provider.start("eu-north-1", "node-a", {"reason": "a test"})
        pid = (await eventually(process_kind.running, WAIT_S))["node-a"]
        told = environment(pid)
        assert {
            "ORCHESTRATOR_URL": NOWHERE,
            "NODE_ID": "node-a",
            "NODE_REGION": "eu-north-1",
            "STATE_DIR": str(tmp_path / "fleet/node-a"),
            "STORAGE_URL": (tmp_path / "storage").as_uri(),
            "STORAGE_SECRET_KEY": "of the storage",
            "REGISTRATION_SECRET": "of the orchestrator",
            "CAPTURE_PROCESSES": "1",
        }.items() <= told.items()
        assert not {"JWT_SECRET", "DATABASE_URL"} & told.keys()
        wanted = json.loads((tmp_path / "fleet/node-a/wanted.json").read_text())
        assert wanted == {"region": "eu-north-1", "labels": {"reason": "a test"}}


async def test_why_a_node_ends_is_told(process_kind: Kind) -> None:
    settings: dict[str, Any] = process_kind.settings | {"autoscale_node_settings": {"RTP_PORT_MIN": "none"}}
    async with opened(**settings) as provider:
        await provider.start("eu-north-1", "node-a", {})

        async def failed() -> str | None:
            (instance,) = await provider.instances()
            return instance.detail if instance.state is InstanceState.FAILED else None

        detail = await eventually(failed, WAIT_S)
        assert detail.startswith("exit code 2: ")
        assert "RTP_PORT_MIN" in detail


async def test_no_node_outlives_its_owner(process_kind: Kind, tmp_path: Path) -> None:
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", OWNER, str(tmp_path), NOWHERE)
    await eventually(process_kind.running, WAIT_S)
    owner.send_signal(signal.SIGKILL)
    await owner.wait()

    async def none() -> bool:
        return not await process_kind.running()

    await eventually(none, WAIT_S)


async def test_a_folder_with_tape_stays(process_kind: Kind, tmp_path: Path) -> None:
    folders = {name: tmp_path / "fleet" / name for name in ("node-a", "node-b")}
    async with opened(**process_kind.settings) as provider:
        for name in folders:
            await provider.start("eu-north-1", name, {})

        async def both() -> bool:
            return (await process_kind.running()).keys() == folders.keys()

        await eventually(both, WAIT_S)
        tape = folders["node-a"] / "node/spool/left"
        tape.parent.mkdir(parents=True, exist_ok=True)
        tape.touch()
        for name in folders:
            await provider.stop(name)

        async def gone() -> bool:
            return not await provider.instances()

        await eventually(gone, WAIT_S)
    assert {name: folder.exists() for name, folder in folders.items()} == {"node-a": True, "node-b": False}
    async with opened(**process_kind.settings) as provider:
        assert [each.node_id for each in await provider.instances()] == ["node-a"]
