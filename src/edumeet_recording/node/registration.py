"""Who this node is: its id and token, kept under the state directory, and its registration with the orchestrator."""

import fcntl
import json
import os
import shutil
import socket
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import structlog
from pydantic import ValidationError

from edumeet_recording.config import NodeSettings
from edumeet_recording.domain.errors import Conflict, Forbidden, InvalidRequest, Unavailable
from edumeet_recording.domain.failure_domain import UNNAMED, parse_failure_domain
from edumeet_recording.node.machine import cores, memory
from edumeet_recording.wire.base import Message

_log = structlog.get_logger(__name__)

_TIMEOUT_S = 10.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_GPU_DEVICES = (Path("/dev/dri/renderD128"), Path("/dev/nvidia0"))


class _Registered(Message):
    node_id: str
    token: str


class Identity:
    """The node's id, made once, and its token, which is only good for this node. The file is readable by us alone.

    `known_as` is what the orchestrator was told of the node when it gave the token.
    """

    def __init__(self, path: Path, node_id: str) -> None:
        self._path = path
        known = json.loads(path.read_text()) if path.exists() else {}
        self.node_id: str = node_id or known.get("nodeId") or f"node-{uuid.uuid4()}"
        self.token: str = known.get("token", "") if known.get("nodeId") == self.node_id else ""
        self.known_as: dict[str, Any] = known.get("knownAs", {})
        if known.get("nodeId") != self.node_id:
            self._save()

    def keep(self, token: str, known_as: dict[str, Any]) -> None:
        """Keep the token, and what it was given for."""
        self.token, self.known_as = token, known_as
        self._save()

    def forget(self) -> None:
        """The token does not hold any more."""
        self.keep("", {})

    def _save(self) -> None:
        new = self._path.with_suffix(".new")
        new.unlink(missing_ok=True)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            json.dump({"nodeId": self.node_id, "token": self.token, "knownAs": self.known_as}, file)
        new.replace(self._path)


@contextmanager
def held_state(folder: Path) -> Generator[None]:
    """The state directory for this process alone. Raises `Conflict` where another node has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another node works in {folder}: give each its own STATE_DIR") from None
        yield


async def introduce(
    client: httpx2.AsyncClient, settings: NodeSettings, identity: Identity, body: dict[str, Any]
) -> None:
    """Have a token, and the orchestrator know what we are in this life: our address, say, may not be that of the last.

    `body` is an `introduction`. Raises `Forbidden` where it refuses us, `Unavailable` where it does not answer.
    """
    if not identity.token:
        await _register(client, settings, identity, body)
    elif identity.known_as != body:
        try:
            await _register(client, settings, identity, body)
        except Forbidden as error:
            # such as without the secret, which the token has made needless so far
            _log.warning("the orchestrator keeps what it knew of this node", reason=error.message)


def introduction(settings: NodeSettings, node_id: str, url: str) -> dict[str, Any]:
    """What a registration says, the same for a whole life: it looks at a disk, which may hang later. `url`: of our
    /health. Raises `InvalidRequest` where NODE_FAILURE_DOMAIN is not one.
    """
    return {
        "nodeId": node_id,
        "url": url,
        "region": settings.node_region,
        "specs": _specs(settings),
        "failureDomain": own_failure_domain(settings.node_failure_domain, node_id),
        "processingSlots": settings.processing_slots,
        "version": version("edumeet-recording"),
    }


async def _register(
    client: httpx2.AsyncClient, settings: NodeSettings, identity: Identity, body: dict[str, Any]
) -> None:
    headers = {"Authorization": f"Bearer {identity.token}"} if identity.token else {}
    if secret := settings.registration_secret.get_secret_value():
        headers["X-Registration-Secret"] = secret
    try:
        answer = await client.post(
            f"{settings.orchestrator_url.rstrip('/')}/api/nodes/ffmpeg-nodes/register",
            json=body,
            headers=headers,
            timeout=_TIMEOUT_S,
        )
    except httpx2.HTTPError as error:
        raise Unavailable(f"the orchestrator does not answer: {error!r}") from error
    if answer.status_code in (401, 403, 409):
        raise Forbidden(f"the orchestrator refuses this node: {answer.status_code} {answer.text[:500]}")
    if not answer.is_success:
        raise Unavailable(f"registration was answered with {answer.status_code} {answer.text[:500]}")
    try:
        identity.keep(_Registered.model_validate_json(answer.text).token, body)
    except ValidationError as error:
        raise Unavailable(f"the answer to registration does not parse: {error}") from error


def own_failure_domain(named: str, node_id: str) -> str | dict[str, str]:
    """What NODE_FAILURE_DOMAIN says, as a registration takes it; the host is this machine unless it is named.

    A host alone goes as plain text, which orchestrators of release 0.1.0 take too. Raises `InvalidRequest`.
    """
    try:
        domain = parse_failure_domain(named) if named else UNNAMED
    except ValueError as error:
        raise InvalidRequest(f"NODE_FAILURE_DOMAIN: {error}") from error
    host = domain.host or _machine() or node_id
    levels = {"zone": domain.zone, "rack": domain.rack, "host": host}
    return {level: name for level, name in levels.items() if name} if domain.zone or domain.rack else host


def _machine() -> str:
    """What all processes and containers on this kernel have in common, and nobody else."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""


def own_ip(bind_ip: str, orchestrator_url: str) -> str:
    """Where others reach a socket bound to `bind_ip`: for the wildcard, our address on the way to the orchestrator."""
    if not ip_address(bind_ip).is_unspecified:
        return bind_ip
    family = socket.AF_INET6 if ip_address(bind_ip).version == 6 else socket.AF_INET
    orchestrator = urlsplit(orchestrator_url)
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((orchestrator.hostname or "", orchestrator.port or 443))  # sends nothing
        except OSError as error:
            raise Unavailable(f"no route to {orchestrator.hostname}: set MEDIA_IP ({error})") from error
        return probe.getsockname()[0]


def _specs(settings: NodeSettings) -> dict[str, float | bool]:
    return {
        "cpuCores": cores(settings.node_cpus),
        "ram": memory().total,
        "hasGPU": any(device.exists() for device in _GPU_DEVICES),
        "diskSpace": shutil.disk_usage(settings.state_dir).total,
    }
