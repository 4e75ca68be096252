"""The commands that run: the whole service on one machine, its two kinds of process, and a simulated room server.

What they run is imported when they run: those who only ask a service should not wait for it.
"""

import asyncio
import time
from typing import Annotated

import structlog
import typer
from pydantic import SecretStr

from edumeet_recording.api.auth import Authenticator
from edumeet_recording.cli.printing import print_json
from edumeet_recording.cli.running import run_until_signalled
from edumeet_recording.cli.service import Json
from edumeet_recording.cli.settings import BadSettings, load
from edumeet_recording.cli.tokens import own_secret, secret_file
from edumeet_recording.config import CommonSettings, NodeSettings, OrchestratorSettings
from edumeet_recording.telemetry import configure_logging

SHARED_KEY_HINT = "set JWT_SECRET where several replicas run: they must share it"


def orchestrator(
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's URL as JSON once it answers.")] = False,
) -> None:
    """Run an orchestrator: API, placement and control loops. Settings come from the environment and .env.

    Without DATABASE_URL it runs a PostgreSQL of its own in STATE_DIR; without a JWT key it makes one there.

    [dim]JWT_SECRET=$(openssl rand -hex 32) edumeet-recording orchestrator[/dim]
    """
    from edumeet_recording.server.main import run_orchestrator

    settings = _with_a_key(load(OrchestratorSettings))

    def started(url: str) -> None:
        if as_json:
            print_json({"url": url})

    run_until_signalled(lambda stop: run_orchestrator(settings, stop, started))


def node(
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure what this machine can take, keep it for the node, and end.")
    ] = False,
) -> None:
    """Run an FFmpeg node: it receives RTP, keeps it on tape, and makes the files. Settings come from the environment.

    SIGTERM has it hand its recordings over to other nodes first, LEAVE_DEADLINE_S at most; Ctrl-C ends it in seconds.
    It needs ORCHESTRATOR_URL, the REGISTRATION_SECRET where there is one, the storage settings, and its UDP ports open.

    [dim]ORCHESTRATOR_URL=https://recording.example.org MEDIA_BIND_IP=0.0.0.0 edumeet-recording node[/dim]
    """
    from edumeet_recording.node.main import run_node

    settings = load(NodeSettings)
    _log_as(settings)
    if calibrate:
        _calibrate(settings)
        return
    leave = asyncio.Event()
    run_until_signalled(lambda stop: run_node(settings, stop, leave), leave)


def up(as_json: Json = False) -> None:
    """Run everything on this machine until Ctrl-C: PostgreSQL, the orchestrator, one node, and storage in a folder.

    Prints the URLs, a token, and what to try. All it keeps is in STATE_DIR.
    """
    from edumeet_recording.cli.all_in_one import run_all_in_one

    settings = load(OrchestratorSettings)
    if not settings.jwt_secret.get_secret_value():
        # also beside a public key, which can sign no token for whoever typed this
        settings = settings.model_copy(update={"jwt_secret": SecretStr(own_secret(settings.state_dir))})
    settings = _with_a_key(settings)
    run_until_signalled(lambda stop: run_all_in_one(settings, stop, as_json=as_json))


def demo(
    seconds: Annotated[float, typer.Option(min=3, help="How long the first act records.")] = 15,
    as_json: Json = False,
) -> None:
    """Record three simulated peers into mp4, webm and mkv on two nodes, then decode the files and check them.

    Then record four more where there are no nodes: the autoscaler starts some, and gives one back while it records.
    Everything runs on this machine and is gone afterwards, but for the files and logs in build/demo. Exits with 0 only
    if every check held.
    """
    from edumeet_recording.cli.demonstration import demonstrate

    configure_logging("error", "console")
    raise typer.Exit(demonstrate(seconds, as_json=as_json))


def simulate_room(
    *,
    server_id: Annotated[str, typer.Option(help="Id of the room server.")] = "room-server-1",
    room: Annotated[str, typer.Option(help="Id of its only room.")] = "room-1",
    peer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=CODEC[+CODEC]", help="A peer; once for each.", show_default="alice=opus+vp8"),
    ] = None,
    host: Annotated[str, typer.Option(help="Address it serves on and sends from.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of its HTTP interface; 0: any.")] = 0,
    link: Annotated[bool, typer.Option("--link", help="Open a link, as a server that cannot be reached does.")] = False,
) -> None:
    """Run a room server that is not there: its peers send real RTP, with a beep and a flash a second.

    It registers at ORCHESTRATOR_URL, with REGISTRATION_SECRET where there is one.

    [dim]edumeet-recording simulate-room --peer alice=opus+vp8 --peer bob=opus+h264 --peer carol=opus[/dim]
    """
    from edumeet_recording.sim.room_server import SimulatedRoomServer, SimulatorOptions, parse_peer

    settings = load(NodeSettings)
    _log_as(settings)
    try:
        peers = dict(parse_peer(text, index) for index, text in enumerate(peer or ["alice=opus+vp8"]))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--peer") from error
    options = SimulatorOptions(
        server_id=server_id,
        host=host,
        port=port,
        media_ip=host,
        orchestrator_url=settings.orchestrator_url,
        registration_secret=settings.registration_secret.get_secret_value(),
        use_link=link,
        room_id=room,
        peers=peers,
    )

    async def work(stop: asyncio.Event) -> None:
        async with SimulatedRoomServer(options):
            await stop.wait()

    run_until_signalled(work)


def _calibrate(settings: NodeSettings) -> None:
    from edumeet_recording.bench.calibrate import calibrate
    from edumeet_recording.node.calibration import keep_calibration

    folder = settings.state_dir.absolute() / "node"
    folder.mkdir(parents=True, exist_ok=True)
    found = asyncio.run(calibrate(folder))
    keep_calibration(folder, found)
    print_json(found.model_dump(by_alias=True))


def _log_as(settings: CommonSettings) -> None:
    configure_logging(settings.log_level, settings.log_format)


def _with_a_key(settings: OrchestratorSettings) -> OrchestratorSettings:
    """The settings with a key to verify tokens with; one of our own where none is set.

    Raises `BadSettings` before anything is started where the key is none.
    """
    _log_as(settings)
    if not (settings.jwt_secret.get_secret_value() or settings.jwt_public_key or settings.jwt_jwks_url):
        structlog.get_logger().warning(
            "own_jwt_secret", file=str(secret_file(settings.state_dir)), hint=SHARED_KEY_HINT
        )
        settings = settings.model_copy(update={"jwt_secret": SecretStr(own_secret(settings.state_dir))})
    try:
        Authenticator(settings, time.monotonic)
    except ValueError as error:
        raise BadSettings(str(error)) from error
    return settings
