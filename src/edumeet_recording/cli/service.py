"""What every command that speaks to a running service shares: its options, its client, and how it is run."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from edumeet_recording.cli.settings import load
from edumeet_recording.client import RecordingClient
from edumeet_recording.config import ClientSettings
from edumeet_recording.telemetry import configure_logging

Url = Annotated[
    str | None,
    typer.Option(help="URL of the service. \\[env: EDUMEET_RECORDING_URL; http://127.0.0.1:8080]", show_default=False),
]
Token = Annotated[
    str | None,
    typer.Option(help="Token to present. \\[env: EDUMEET_RECORDING_TOKEN]", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.")]


def ask(url: str | None, token: str | None, work: Callable[[RecordingClient], Awaitable[None]]) -> None:
    """Run `work` with a client of the service that the options, or else the settings, name."""
    # retries are told by the error they end in; a warning before it would be a second line
    configure_logging("error", "console")
    given = {name: value for name, value in (("url", url), ("token", token)) if value is not None}
    settings = load(ClientSettings, **given)

    async def run() -> None:
        async with RecordingClient(settings.url, settings.token.get_secret_value()) as client:
            await work(client)

    asyncio.run(run())
