"""The whole service as processes of this machine, each of which can be killed, with a network that can fail between.

PostgreSQL, storage, orchestrators and nodes meet through proxies: `database_net`, `storage_net`, one for clients and
room servers (`api_net`), and one for each node, towards the orchestrators; who probes its /health meets it itself.
"""

import secrets
import socket
import sysconfig
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import httpx2

from edumeet_recording.api.auth import Scope, issue_token
from edumeet_recording.client import RecordingClient
from edumeet_recording.config import CommonSettings
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.sim.faults.diary import Diary
from edumeet_recording.sim.faults.disk import SmallDisk, small_disk
from edumeet_recording.sim.faults.part import Part
from edumeet_recording.sim.faults.proxy import Proxy, Weather, proxy
from edumeet_recording.sim.faults.rooms import RoomPart
from edumeet_recording.sim.faults.waiting import until
from edumeet_recording.sim.processes import own_process, process
from edumeet_recording.sim.room_server import SimulatorOptions

ROOM_SERVER = "room-server-1"
TENANT = "university"
BUCKET = "recordings"
READY_TIMEOUT_S = 60.0
_KEYS = {"STORAGE_ACCESS_KEY": "an-access-key", "STORAGE_SECRET_KEY": "a-secret-key"}
_PORTS_A_NODE = 400
_DATABASE = "edumeet_recording.sim.faults.database"
_LEADS, _LEADS_NO_MORE = '"leading"', '"leadership_lost"'


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be there. `s3`: an S3 server, else a folder; settings are by variable, over what the parts need.

    `small_disks`: each node has one of its own, where that is permitted. `first_port`: from there on each node has 400
    UDP ports of its own. Nodes are in `regions` in turn, the room server in the first.
    """

    replicas: int = 1
    nodes: int = 2
    s3: bool = False
    small_disks: bool = False
    first_port: int = 41_000
    regions: tuple[str, ...] = ("default",)
    orchestrator_settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    node_settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class NodePart:
    """A node, and its way to the orchestrators; RTP comes to it past that. `disk` None: it is everybody's."""

    part: Part
    link_net: Proxy
    ports: range
    disk: SmallDisk | None

    def cut_off(self, diary: Diary) -> float:
        """The node does not reach the orchestrators any more; when that was."""
        self.link_net.turn(Weather.CUT)
        return diary.note("cut off", part=self.part.name)

    def join(self, diary: Diary) -> float:
        """The node reaches the orchestrators again; when that was."""
        self.link_net.turn(Weather.FAIR)
        return diary.note("joined again", part=self.part.name)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What runs, and the way to it. `storage` is how this process reaches the objects, past every proxy."""

    folder: Path
    diary: Diary
    database: Part
    database_net: Proxy
    storage_net: Proxy
    storage: CommonSettings
    orchestrators: dict[str, Part]
    api_net: Proxy
    nodes: dict[str, NodePart]
    rooms: RoomPart
    client: RecordingClient
    tenant: RecordingClient
    """Sees, and starts, what is the tenant's."""

    @property
    def dsn(self) -> str:
        """Of the database, past the proxy."""
        return self.database.answer["dsn"]

    async def restart_database(self) -> float:
        """Start PostgreSQL again, behind the same proxy; when it answered."""
        await self.database.start()
        self.database_net.targets = [int(self.database.answer["port"])]
        return time.time_ns() / 1e9

    def leader(self) -> str | None:
        """The orchestrator that leads by its own account, None where none does."""
        for name, part in self.orchestrators.items():
            told = [line for line in part.log_lines() if _LEADS in line or _LEADS_NO_MORE in line]
            if told and _LEADS in told[-1]:
                return name
        return None

    async def healthy_nodes(self) -> set[str]:
        """Ids of the nodes that the service takes for healthy. Raises as the client does."""
        return {each.id for each in await self.client.nodes() if each.kind == "ffmpeg-node" and each.is_healthy}

    async def healthy(self) -> bool:
        """Whether every node that is planned is healthy, the room server registered, and an orchestrator leads."""
        return self.leader() is not None and self.rooms.is_registered and await self.healthy_nodes() >= set(self.nodes)


@asynccontextmanager
async def deployed(folder: Path, plan: Plan) -> AsyncGenerator[Deployment]:
    """The service, up and healthy; all of it is ended when the block is left, what was killed and what was not.

    `folder` is there, and empty: it keeps logs, states and objects. Raises `Unavailable` where something does not come.
    """
    builder = _Builder(folder, plan, Diary(folder / "diary.jsonl"))
    async with AsyncExitStack() as stack:
        deployment = await builder.build(stack)
        await until(deployment.healthy, "every node is healthy", READY_TIMEOUT_S)
        yield deployment


@dataclass(frozen=True, slots=True)
class _Builder:
    folder: Path
    plan: Plan
    diary: Diary
    jwt_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    async def build(self, stack: AsyncExitStack) -> Deployment:
        """Start everything, from the database up."""
        database_net = await stack.enter_async_context(proxy())
        storage_net = await stack.enter_async_context(proxy())
        api_net = await stack.enter_async_context(proxy())
        database = await self._part(stack, "database", (str(self.folder / "database" / "state"),), {}, module=_DATABASE)
        database_net.targets = [int(database.answer["port"])]
        storage = await self._storage(stack, storage_net)
        dsn = urlsplit(database.answer["dsn"])
        behind = dsn._replace(netloc=f"{dsn.netloc.rpartition(':')[0]}:{database_net.port}").geturl()
        orchestrators = await self._orchestrators(stack, behind, storage)
        ports = [urlsplit(each.answer["url"]).port or 0 for each in orchestrators.values()]
        api_net.targets = ports
        rooms = await self._rooms(stack, api_net.url)
        return Deployment(
            folder=self.folder,
            diary=self.diary,
            database=database,
            database_net=database_net,
            storage_net=storage_net,
            storage=_direct(storage, storage_net),
            orchestrators=orchestrators,
            api_net=api_net,
            nodes={
                each.part.name: each for each in [await self._node(stack, n, ports, storage) for n in self._numbers]
            },
            rooms=rooms,
            client=await stack.enter_async_context(RecordingClient(api_net.url, self._token(None))),
            tenant=await stack.enter_async_context(RecordingClient(api_net.url, self._token(TENANT))),
        )

    async def _rooms(self, stack: AsyncExitStack, url: str) -> RoomPart:
        options = SimulatorOptions(
            server_id=ROOM_SERVER, region=self.plan.regions[0], orchestrator_url=url, port=_free_port(), peers={}
        )
        rooms = RoomPart(options, self.diary)
        stack.push_async_callback(rooms.end)
        await rooms.start()
        return rooms

    def _token(self, tenant: str | None) -> str:
        now, scopes = time.time_ns() / 1e9, tuple(Scope)
        return issue_token(self.jwt_secret, subject="faults", scopes=scopes, tenant=tenant, ttl_s=86400, now=now)

    @property
    def _numbers(self) -> range:
        return range(1, self.plan.nodes + 1)

    async def _storage(self, stack: AsyncExitStack, net: Proxy) -> dict[str, str]:
        """Settings of a storage that is there."""
        root = self.folder / "storage"
        (root / BUCKET).mkdir(parents=True)
        if not self.plan.s3:
            return {"STORAGE_URL": (root / BUCKET).as_uri()}
        port = _free_port()
        program = Path(sysconfig.get_path("scripts")) / "rclone"
        keys = ",".join(_KEYS.values())
        command = (str(program), "serve", "s3", str(root), f"--addr=127.0.0.1:{port}", f"--auth-key={keys}")
        await stack.enter_async_context(
            process("storage", *command, environment={"HOME": str(self.folder)}, folder=self.folder)
        )
        net.targets = [port]
        await until(partial(_answers, net.url), "the storage answers", READY_TIMEOUT_S)
        return {
            "STORAGE_URL": f"s3://{BUCKET}",
            "STORAGE_ENDPOINT": net.url,
            "STORAGE_ALLOW_HTTP": "true",
            **_KEYS,
        }

    async def _orchestrators(self, stack: AsyncExitStack, dsn: str, storage: Mapping[str, str]) -> dict[str, Part]:
        made: dict[str, Part] = {}
        for number in range(1, self.plan.replicas + 1):
            name = f"orchestrator-{number}"
            settings = {
                **storage,
                "DATABASE_URL": dsn,
                "JWT_SECRET": self.jwt_secret,
                "STATE_DIR": str(self.folder / name / "state"),
                "PORT": str(_free_port()),
                "LOG_FORMAT": "json",
                **self.plan.orchestrator_settings,
            }
            made[name] = await self._part(stack, name, ("orchestrator", "--json"), settings)
        return made

    async def _node(
        self, stack: AsyncExitStack, number: int, orchestrators: list[int], storage: Mapping[str, str]
    ) -> NodePart:
        name = f"node-{number}"
        link_net = await stack.enter_async_context(proxy(orchestrators))
        first = self.plan.first_port + (number - 1) * _PORTS_A_NODE
        ports = range(first, first + _PORTS_A_NODE)
        settings = {
            **storage,
            "ORCHESTRATOR_URL": link_net.url,
            "STATE_DIR": str(self.folder / name / "state"),
            "NODE_ID": name,
            "NODE_REGION": self.plan.regions[(number - 1) % len(self.plan.regions)],
            # as if each were a machine of its own
            "NODE_FAILURE_DOMAIN": name,
            "RTP_PORT_MIN": str(ports[0]),
            "RTP_PORT_MAX": str(ports[-1]),
            "CAPTURE_PROCESSES": "1",
            "LOG_FORMAT": "json",
            **self.plan.node_settings,
        }
        (self.folder / name).mkdir()
        disk = stack.enter_context(small_disk(self.folder / name / "state")) if self.plan.small_disks else None
        part = await self._part(stack, name, ("node",), settings, answers=False)
        return NodePart(part, link_net, ports, disk)

    async def _part(
        self,
        stack: AsyncExitStack,
        name: str,
        arguments: tuple[str, ...],
        settings: Mapping[str, str],
        *,
        module: str = "edumeet_recording",
        answers: bool = True,
    ) -> Part:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        made = partial(own_process, name, *arguments, settings=settings, folder=folder, module=module)
        part = Part(name, made, folder, self.diary, answers=answers)
        stack.push_async_callback(part.end)
        await part.start()
        return part


def _direct(storage: Mapping[str, str], net: Proxy) -> CommonSettings:
    """The same storage without the proxy in between."""
    values = {name.lower(): value for name, value in storage.items()}
    if net.targets:
        values["storage_endpoint"] = f"http://127.0.0.1:{net.targets[0]}"
    return CommonSettings.model_validate(values)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def _answers(url: str) -> bool:
    async with httpx2.AsyncClient(trust_env=False) as client:
        try:
            await client.get(url, timeout=1)
        except httpx2.HTTPError as error:
            raise Unavailable(f"{url} does not answer: {error!r}") from error
    return True
